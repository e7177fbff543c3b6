// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/resident.h"

#include <algorithm>
#include <cstring>

#include "core/base/checked.h"

namespace bp::kernels {
namespace {

constexpr uint64_t kPlaneAlignment = 256;  // of an uploaded plane: what any device can bind
constexpr uint64_t kCopyGrain = uint64_t{1} << 20;

// Kernels load whole words, also the last one.
uint64_t whole_words(uint64_t bytes) {
  return (bytes + 3) / 4 * 4;
}

uint64_t padded(uint64_t bytes) {
  return (bytes + kPlaneAlignment - 1) / kPlaneAlignment * kPlaneAlignment;
}

}  // namespace

Resident::~Resident() {
  for (bp_buffer* buffer : buffers_) device_.memory->free(buffer, nullptr);
}

ResidentStore::~ResidentStore() {
  close_stream();
}

void ResidentStore::close_stream() noexcept {
  if (stream_ != nullptr) device_.stream->destroy(stream_, nullptr);
  if (timeline_ != nullptr) device_.stream->timeline_destroy(timeline_, nullptr);
  stream_ = nullptr;
  timeline_ = nullptr;
  signalled_ = 0;
}

uint64_t ResidentStore::resident_bytes(const WeightFormat& format, uint64_t blocks) const {
  if (device_.import_alignment != 0) return 0;
  uint64_t total = 0;
  for (uint32_t i = 0; i < format.plane_count; ++i) {
    total += padded(blocks * format.planes[i].bytes_per_block);
  }
  return total;
}

Result<std::shared_ptr<const Resident>> ResidentStore::place(const bp_weight& weight,
                                                             const WeightFormat& format,
                                                             BlockRange range, bool* copied) {
  std::vector<Plane> planes;
  for (uint32_t i = 0; i < format.plane_count; ++i) {
    const uint64_t block = format.planes[i].bytes_per_block;
    uint64_t begin = 0, bytes = 0;
    if (weight.plane_count != format.plane_count || weight.planes[i] == nullptr ||
        !try_mul(range.first, block, &begin) || !try_mul(range.count, block, &bytes) ||
        begin > weight.bytes[i] || bytes > weight.bytes[i] - begin) {
      return error(Code::kInvalidArgument, "a {} weight whose plane {} is missing or too short",
                   format.name, i);
    }
    planes.push_back({static_cast<const std::byte*>(weight.planes[i]) + begin, bytes});
  }
  const std::lock_guard lock(mutex_);
  Known& known = known_[{planes[0].data, range}];
  std::shared_ptr<const Resident> resident = known.resident.lock();
  if (resident == nullptr) {
    known.copied = false;
    if (device_.import_alignment != 0) {
      auto imported = import(planes);
      if (imported.ok()) resident = std::move(imported).value();
    }
    if (resident == nullptr) {
      resident = BP_TRY(upload(planes));
      known.copied = true;
    }
    known.resident = resident;
  }
  *copied = known.copied;
  return resident;
}

// Whole pages around each plane; the file keeps planes 64 bytes apart, and a page that a plane
// begins on is mapped as a whole.
Result<std::shared_ptr<const Resident>> ResidentStore::import(const std::vector<Plane>& planes) {
  auto resident = std::make_shared<Resident>(device_, planes.size());
  for (const Plane& plane : planes) {
    const uint64_t alignment = device_.import_alignment;
    const auto address = reinterpret_cast<uintptr_t>(plane.data);
    const uint64_t before = address % alignment;
    if (before % device_.offset_alignment != 0) {
      return error(Code::kIncompatible, "a plane is not aligned for the device");
    }
    bp_import what{};
    what.size = sizeof what;
    what.kind = BP_IMPORT_HOST_POINTER;
    what.flags = BP_IMPORT_READ_ONLY;
    what.fd = -1;
    what.pointer = reinterpret_cast<void*>(address - before);
    what.length = (before + plane.bytes + alignment - 1) / alignment * alignment;
    bp_buffer* buffer = nullptr;
    BP_TRY(call("importing weights", device_.memory->import, device_.handle,
                static_cast<const bp_import*>(&what), &buffer));
    resident->own(buffer);
    resident->add_plane({buffer, before, whole_words(plane.bytes)});
  }
  return std::shared_ptr<const Resident>(std::move(resident));
}

Result<std::shared_ptr<const Resident>> ResidentStore::upload(const std::vector<Plane>& planes) {
  uint64_t total = 0;
  for (const Plane& plane : planes) total += padded(plane.bytes);
  auto resident = std::make_shared<Resident>(device_, planes.size());
  bp_buffer* buffer = nullptr;
  BP_TRY(call("allocating memory for weights", device_.memory->alloc, device_.handle, uint32_t{0},
              total, &buffer));
  resident->own(buffer);
  uint64_t offset = 0;
  for (const Plane& plane : planes) {
    resident->add_plane({buffer, offset, whole_words(plane.bytes)});
    offset += padded(plane.bytes);
  }
  const Status filled = fill(buffer, planes, resident->planes());
  if (filled.ok()) return std::shared_ptr<const Resident>(std::move(resident));
  // A failure poisons the timeline, and what was put on the stream still writes to the buffer: the
  // stream ends first, and the next upload gets new ones.
  close_stream();
  return Status(filled);
}

Status ResidentStore::fill(bp_buffer* buffer, const std::vector<Plane>& planes,
                           const std::vector<Place>& places) {
  if (device_.heap_is_mapped) {
    void* host = nullptr;
    BP_TRY(call("mapping memory for weights", device_.memory->map, buffer, &host));
    for (size_t i = 0; i < planes.size(); ++i) {
      auto* to = static_cast<std::byte*>(host) + places[i].offset;
      const Plane& plane = planes[i];
      const uint64_t pieces = (plane.bytes + kCopyGrain - 1) / kCopyGrain;
      glue::parallel_for(device_.host, pieces, 1, [&](uint64_t begin, uint64_t end, uint32_t) {
        const uint64_t last = std::min(end * kCopyGrain, plane.bytes);
        std::memcpy(to + begin * kCopyGrain, plane.data + begin * kCopyGrain,
                    last - begin * kCopyGrain);
      });
      std::memset(to + plane.bytes, 0, padded(plane.bytes) - plane.bytes);
    }
    return call("unmapping memory for weights", device_.memory->unmap, buffer);
  }
  if (stream_ == nullptr) {
    BP_TRY(call("creating a stream", device_.stream->create, device_.handle, &stream_));
    BP_TRY(
        call("creating a timeline", device_.stream->timeline_create, device_.handle, &timeline_));
  }
  for (size_t i = 0; i < planes.size(); ++i) {
    BP_TRY(call("uploading weights", device_.stream->write, stream_, buffer, places[i].offset,
                static_cast<const void*>(planes[i].data), planes[i].bytes));
    const uint64_t tail = padded(planes[i].bytes) - planes[i].bytes;
    if (tail == 0) continue;
    const std::byte zeros[kPlaneAlignment] = {};
    BP_TRY(call("uploading weights", device_.stream->write, stream_, buffer,
                places[i].offset + planes[i].bytes, static_cast<const void*>(zeros), tail));
  }
  BP_TRY(call("uploading weights", device_.stream->signal, stream_, timeline_, ++signalled_));
  return call("uploading weights", device_.stream->host_wait, timeline_, signalled_,
              uint64_t{UINT64_MAX});
}

}  // namespace bp::kernels
