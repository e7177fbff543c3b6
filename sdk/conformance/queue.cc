// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/queue.h"

#include <algorithm>

namespace bp::conformance {

Result<Queue> Queue::open(const Context& context) {
  Queue queue(context);
  BP_TRY(
      context.call("stream create", context.stream_api().create, context.device, &queue.stream_));
  BP_EXPECT(queue.stream_ != nullptr, "create returned OK and no stream");
  BP_TRY(context.call("timeline_create", context.stream_api().timeline_create, context.device,
                      &queue.timeline_));
  BP_EXPECT(queue.timeline_ != nullptr, "timeline_create returned OK and no timeline");
  return queue;
}

Queue::Queue(Queue&& other) noexcept
    : context_(other.context_),
      stream_(std::exchange(other.stream_, nullptr)),
      timeline_(std::exchange(other.timeline_, nullptr)),
      value_(other.value_) {}

Queue::~Queue() {
  if (stream_ != nullptr) context_->stream_api().destroy(stream_, nullptr);
  if (timeline_ != nullptr) context_->stream_api().timeline_destroy(timeline_, nullptr);
}

Status Queue::write(const Buffer& to, uint64_t offset, std::span<const std::byte> from) const {
  return context_->call("write", context_->stream_api().write, stream_, to.handle(), offset,
                        static_cast<const void*>(from.data()), uint64_t{from.size()});
}

Status Queue::read(std::span<std::byte> to, const Buffer& from, uint64_t offset) const {
  return context_->call("read", context_->stream_api().read, stream_, static_cast<void*>(to.data()),
                        from.handle(), offset, uint64_t{to.size()});
}

Status Queue::copy(const Buffer& to, uint64_t to_offset, const Buffer& from, uint64_t from_offset,
                   uint64_t bytes) const {
  return context_->call("copy", context_->stream_api().copy, stream_, to.handle(), to_offset,
                        from.handle(), from_offset, bytes);
}

Status Queue::fill(const Buffer& to, uint64_t offset, uint64_t bytes, uint32_t word) const {
  return context_->call("fill", context_->stream_api().fill, stream_, to.handle(), offset, bytes,
                        word);
}

Status Queue::finish() {
  context_->alive();
  ++value_;
  BP_TRY(context_->call("signal", context_->stream_api().signal, stream_, timeline_, value_));
  return context_->call("host_wait", context_->stream_api().host_wait, timeline_, value_,
                        context_->options.timeout_ns);
}

Status Queue::destroy_stream() {
  return context_->call("stream destroy", context_->stream_api().destroy,
                        std::exchange(stream_, nullptr));
}

Result<std::vector<std::byte>> Queue::content(const Buffer& of) {
  std::vector<std::byte> out(of.bytes());
  BP_TRY(read(out, of, 0));
  BP_TRY(finish());
  return out;
}

std::vector<std::byte> pattern(size_t bytes, uint32_t seed) {
  std::vector<std::byte> out(bytes);
  uint32_t state = seed * 2654435761u + 12345u;
  for (std::byte& byte : out) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<std::byte>(state >> 24);
  }
  return out;
}

Status expect_bytes(std::span<const std::byte> got, std::span<const std::byte> want,
                    std::string_view what) {
  BP_EXPECT(got.size() == want.size(), "{}: {} bytes, expected {}", what, got.size(), want.size());
  const auto at = std::mismatch(got.begin(), got.end(), want.begin());
  if (at.first == got.end()) return {};
  return fail("{}: byte {} of {} is 0x{:02x}, expected 0x{:02x}", what, at.first - got.begin(),
              got.size(), static_cast<unsigned>(*at.first), static_cast<unsigned>(*at.second));
}

}  // namespace bp::conformance
