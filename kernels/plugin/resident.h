// SPDX-License-Identifier: Apache-2.0
// Weights on a device: used in place where the device reads host memory at full speed, uploaded
// once otherwise, and shared by all kernels that use the same rows of the same tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "backplane/formats.h"
#include "kernels/plugin/device.h"

namespace bp::kernels {

// A range of a device buffer.
struct Place {
  bp_buffer* buffer = nullptr;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// Where the planes of a part of a tensor are, at most so many.
class Resident {
 public:
  Resident(const Device& device, size_t planes) : device_(device) {
    buffers_.reserve(planes);
    planes_.reserve(planes);
  }
  ~Resident();
  Resident(const Resident&) = delete;
  Resident& operator=(const Resident&) = delete;
  // Takes over a buffer of the device. Never fails, so that none is lost.
  void own(bp_buffer* buffer) noexcept { buffers_.push_back(buffer); }
  void add_plane(const Place& place) noexcept { planes_.push_back(place); }
  const std::vector<Place>& planes() const noexcept { return planes_; }

 private:
  const Device& device_;
  std::vector<bp_buffer*> buffers_;
  std::vector<Place> planes_;
};

// Blocks [first, first + count) of every plane; blocks are those of the format, row by row.
struct BlockRange {
  uint64_t first = 0;
  uint64_t count = 0;
  friend auto operator<=>(const BlockRange&, const BlockRange&) = default;
};

class ResidentStore {
 public:
  explicit ResidentStore(const Device& device) : device_(device) {}
  ~ResidentStore();

  // The planes of `weight`, whose bytes stay valid as long as the result is held. EXHAUSTED when
  // the device has no room. `*copied` tells whether the host's pages are still read.
  Result<std::shared_ptr<const Resident>> place(const bp_weight& weight, const WeightFormat& format,
                                                BlockRange range, bool* copied);
  // Bytes that place() allocates for so many blocks.
  uint64_t resident_bytes(const WeightFormat& format, uint64_t blocks) const;

 private:
  struct Plane {
    const std::byte* data;
    uint64_t bytes;
  };
  Result<std::shared_ptr<const Resident>> import(const std::vector<Plane>& planes);
  Result<std::shared_ptr<const Resident>> upload(const std::vector<Plane>& planes);
  Status fill(bp_buffer* buffer, const std::vector<Plane>& planes,
              const std::vector<Place>& places);
  void close_stream() noexcept;

  using Key = std::pair<const void*, BlockRange>;
  struct Known {
    std::weak_ptr<const Resident> resident;
    bool copied;
  };
  const Device& device_;
  std::mutex mutex_;
  std::map<Key, Known> known_;
  bp_stream* stream_ = nullptr;  // for uploads
  bp_timeline* timeline_ = nullptr;
  uint64_t signalled_ = 0;
};

}  // namespace bp::kernels
