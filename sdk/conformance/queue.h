// SPDX-License-Identifier: Apache-2.0
// A stream with a timeline of its own, and the calls on both that checks make. Every wait is
// bounded by the run's timeout. Used by one thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "sdk/conformance/context.h"

namespace bp::conformance {

class Queue {
 public:
  static Result<Queue> open(const Context& context);
  Queue(Queue&& other) noexcept;
  Queue& operator=(Queue&&) = delete;
  ~Queue();

  bp_stream* stream() const noexcept { return stream_; }
  bp_timeline* timeline() const noexcept { return timeline_; }

  Status write(const Buffer& to, uint64_t offset, std::span<const std::byte> from) const;
  Status read(std::span<std::byte> to, const Buffer& from, uint64_t offset) const;
  Status copy(const Buffer& to, uint64_t to_offset, const Buffer& from, uint64_t from_offset,
              uint64_t bytes) const;
  Status fill(const Buffer& to, uint64_t offset, uint64_t bytes, uint32_t word) const;
  // Signals the next value of the timeline and waits for it.
  Status finish();
  // Destroys the stream now, which waits for its work; the timeline stays.
  Status destroy_stream();

  // The bytes of a whole buffer once everything before has run.
  Result<std::vector<std::byte>> content(const Buffer& of);

 private:
  explicit Queue(const Context& context) : context_(&context) {}
  const Context* context_;
  bp_stream* stream_ = nullptr;
  bp_timeline* timeline_ = nullptr;
  uint64_t value_ = 0;
};

// Bytes that differ from their neighbours and from other seeds.
std::vector<std::byte> pattern(size_t bytes, uint32_t seed);
// A failure that names the first byte that differs.
Status expect_bytes(std::span<const std::byte> got, std::span<const std::byte> want,
                    std::string_view what);

}  // namespace bp::conformance
