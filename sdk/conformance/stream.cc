// SPDX-License-Identifier: Apache-2.0
// bp.stream/1: moving bytes at awkward places, order inside a stream, ranges that leave a buffer.
#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "sdk/conformance/check.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {
namespace {

struct Range {
  uint64_t offset, bytes;
};
constexpr uint64_t kBufferBytes = 70'001;
constexpr Range kRanges[] = {{0, 1},       {1, 1},      {3, 5},          {7, 64},
                             {15, 4095},   {4093, 4},   {4096, 4096},    {4097, 65'537},
                             {69'999, 2},  {0, 70'001}, {65'535, 4'466}, {12'345, 6'789},
                             {64, 1 << 16}};

// A buffer filled with a background, and what it should hold now.
struct Mirror {
  Buffer buffer;
  std::vector<std::byte> content;
};

Result<Mirror> create_mirror(const Context& context, Queue& queue, uint32_t seed) {
  Mirror out{BP_TRY(context.allocate(kBufferBytes)), pattern(kBufferBytes, seed)};
  BP_TRY(queue.write(out.buffer, 0, out.content));
  return out;
}

Verdict writes_anywhere(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  Mirror mirror = BP_TRY(create_mirror(context, queue, 1));
  uint32_t seed = 100;
  for (const Range& range : kRanges) {
    const std::vector<std::byte> patch = pattern(range.bytes, ++seed);
    BP_TRY(queue.write(mirror.buffer, range.offset, patch));
    std::copy(patch.begin(), patch.end(),
              mirror.content.begin() + static_cast<ptrdiff_t>(range.offset));
    BP_TRY(expect_bytes(BP_TRY(queue.content(mirror.buffer)), mirror.content,
                        fmt::format("after a write of {} bytes at {}", range.bytes, range.offset)));
  }
  return pass("{} offsets and sizes", std::size(kRanges));
}

Verdict reads_anywhere(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  const Mirror mirror = BP_TRY(create_mirror(context, queue, 2));
  for (const Range& range : kRanges) {
    // A margin on both sides shows what a read writes too much.
    constexpr size_t kMargin = 64;
    std::vector<std::byte> got(range.bytes + 2 * kMargin, std::byte{0xEE});
    std::vector<std::byte> want = got;
    std::copy_n(mirror.content.begin() + static_cast<ptrdiff_t>(range.offset), range.bytes,
                want.begin() + kMargin);
    BP_TRY(queue.read({got.data() + kMargin, range.bytes}, mirror.buffer, range.offset));
    BP_TRY(queue.finish());
    BP_TRY(expect_bytes(got, want,
                        fmt::format("a read of {} bytes at {}, with margins of {}", range.bytes,
                                    range.offset, kMargin)));
  }
  return pass("{} offsets and sizes", std::size(kRanges));
}

Verdict copies_anywhere(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  const Mirror from = BP_TRY(create_mirror(context, queue, 3));
  Mirror to = BP_TRY(create_mirror(context, queue, 4));
  uint32_t copies = 0;
  for (const Range& range : kRanges) {
    for (const uint64_t shift : std::initializer_list<uint64_t>{0, 1, 5, 4096}) {
      if (range.offset + shift + range.bytes > kBufferBytes) continue;
      BP_TRY(queue.copy(to.buffer, range.offset + shift, from.buffer, range.offset, range.bytes));
      std::copy_n(from.content.begin() + static_cast<ptrdiff_t>(range.offset), range.bytes,
                  to.content.begin() + static_cast<ptrdiff_t>(range.offset + shift));
      BP_TRY(expect_bytes(BP_TRY(queue.content(to.buffer)), to.content,
                          fmt::format("after a copy of {} bytes from {} to {}", range.bytes,
                                      range.offset, range.offset + shift)));
      ++copies;
    }
  }
  BP_TRY(expect_bytes(BP_TRY(queue.content(from.buffer)), from.content, "the source of copies"));
  // Within one buffer, apart from each other.
  BP_TRY(queue.copy(to.buffer, 40'001, to.buffer, 3, 20'000));
  std::copy_n(to.content.begin() + 3, 20'000, to.content.begin() + 40'001);
  BP_TRY(expect_bytes(BP_TRY(queue.content(to.buffer)), to.content, "a copy inside one buffer"));
  return pass("{} copies", copies + 1);
}

Verdict fills_to_the_last_word(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  Mirror mirror = BP_TRY(create_mirror(context, queue, 5));
  uint32_t word = 0x12345678u;
  uint32_t fills = 0;
  for (const Range& range :
       {Range{0, 4}, Range{4, 4}, Range{4, 12}, Range{16, 60}, Range{252, 4100},
        Range{4096, 65'536}, Range{0, 70'000}, Range{69'996, 4}, Range{8, 4 * 997}}) {
    for (const uint32_t value : {word, 0u, 0x7Fu}) {
      BP_TRY(queue.fill(mirror.buffer, range.offset, range.bytes, value));
      for (uint64_t i = 0; i < range.bytes; i += 4) {
        std::memcpy(mirror.content.data() + range.offset + i, &value, sizeof value);
      }
      BP_TRY(
          expect_bytes(BP_TRY(queue.content(mirror.buffer)), mirror.content,
                       fmt::format("after a fill of {} bytes at {}", range.bytes, range.offset)));
      ++fills;
    }
    word = word * 2654435761u + 1;
  }
  const bp_stream_api& api = context.stream_api();
  for (const Range& range : {Range{2, 4}, Range{0, 6}, Range{1, 3}}) {
    BP_TRY(expect_status(
        api.fill(queue.stream(), mirror.buffer.handle(), range.offset, range.bytes, 0, nullptr),
        BP_INVALID_ARGUMENT, fmt::format("a fill of {} bytes at {}", range.bytes, range.offset)));
  }
  BP_TRY(expect_bytes(BP_TRY(queue.content(mirror.buffer)), mirror.content,
                      "after fills that were refused"));
  return pass("{} fills; odd offsets and sizes refused", fills);
}

Verdict keeps_order(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  constexpr uint64_t kWords = 4096;
  const Buffer a = BP_TRY(context.allocate(kWords * 4));
  const Buffer b = BP_TRY(context.allocate(kWords * 4));
  // Each step depends on the one before; nothing waits in between.
  std::vector<uint32_t> seen(200);
  for (uint32_t i = 0; i < seen.size(); ++i) {
    BP_TRY(queue.fill(a, 0, kWords * 4, i));
    BP_TRY(queue.copy(b, 0, a, 0, kWords * 4));
    BP_TRY(queue.fill(a, 0, kWords * 4, ~0u));
    BP_TRY(queue.read(std::as_writable_bytes(std::span(&seen[i], 1)), b, (kWords - 1) * 4));
  }
  BP_TRY(queue.finish());
  for (uint32_t i = 0; i < seen.size(); ++i) {
    BP_EXPECT(seen[i] == i, "read {} saw {}: fill, copy, fill and read changed places", i, seen[i]);
  }
  return pass("{} fills, copies and reads in their order", 4 * seen.size());
}

Verdict sources_may_be_reused(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  constexpr size_t kBytes = 100'003;
  const Buffer buffer = BP_TRY(context.allocate(8 * kBytes));
  std::vector<std::byte> wanted;
  std::vector<std::byte> source(kBytes);
  for (uint32_t i = 0; i < 8; ++i) {
    const std::vector<std::byte> next = pattern(kBytes, 50 + i);
    source = next;
    BP_TRY(queue.write(buffer, i * kBytes, source));
    std::fill(source.begin(), source.end(), std::byte{0xDD});
    wanted.insert(wanted.end(), next.begin(), next.end());
  }
  BP_TRY(expect_bytes(BP_TRY(queue.content(buffer)), wanted, "writes whose source was reused"));
  return pass("8 writes from one array, overwritten after each call");
}

Verdict refuses_foreign_ranges(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  const bp_stream_api& api = context.stream_api();
  Mirror mirror = BP_TRY(create_mirror(context, queue, 6));
  const Buffer other = BP_TRY(context.allocate(4096));
  std::vector<std::byte> host(kBufferBytes + 64, std::byte{0x5A});
  bp_buffer* const buffer = mirror.buffer.handle();
  for (const Range& range :
       {Range{kBufferBytes, 1}, Range{0, kBufferBytes + 1}, Range{kBufferBytes - 1, 2},
        Range{UINT64_MAX, 2}, Range{UINT64_MAX - 3, 8}, Range{8, UINT64_MAX - 4}}) {
    const std::string what =
        fmt::format("{} bytes at {} of a buffer of {}", range.bytes, range.offset, kBufferBytes);
    BP_TRY(expect_status(
        api.write(queue.stream(), buffer, range.offset, host.data(), range.bytes, nullptr),
        BP_INVALID_ARGUMENT, "write of " + what));
    BP_TRY(expect_status(
        api.read(queue.stream(), host.data(), buffer, range.offset, range.bytes, nullptr),
        BP_INVALID_ARGUMENT, "read of " + what));
    BP_TRY(expect_status(
        api.copy(queue.stream(), other.handle(), 0, buffer, range.offset, range.bytes, nullptr),
        BP_INVALID_ARGUMENT, "copy from " + what));
    BP_TRY(expect_status(
        api.copy(queue.stream(), buffer, range.offset, other.handle(), 0, range.bytes, nullptr),
        BP_INVALID_ARGUMENT, "copy to " + what));
    BP_TRY(expect_status(
        api.fill(queue.stream(), buffer, range.offset / 4 * 4, range.bytes / 4 * 4 + 4, 0, nullptr),
        BP_INVALID_ARGUMENT, "fill of " + what));
  }
  // Nothing at all, at the end: allowed or refused, but harmless.
  api.write(queue.stream(), buffer, kBufferBytes, host.data(), 0, nullptr);
  api.copy(queue.stream(), buffer, 0, other.handle(), 4096, 0, nullptr);
  api.fill(queue.stream(), buffer, 70'000, 0, 0, nullptr);
  BP_TRY(expect_bytes(BP_TRY(queue.content(mirror.buffer)), mirror.content,
                      "a buffer after refused work"));
  BP_TRY(context.call("status", context.device_api().status, context.device));
  return pass("every range that leaves its buffer is INVALID_ARGUMENT");
}

Verdict destroys_with_work_pending(Context& context) {
  constexpr uint64_t kBytes = 16u << 20;
  const Buffer a = BP_TRY(context.allocate(kBytes));
  const Buffer b = BP_TRY(context.allocate(kBytes));
  {
    Queue queue = BP_TRY(Queue::open(context));
    for (uint32_t i = 0; i < 8; ++i) {
      BP_TRY(queue.fill(a, 0, kBytes, i));
      BP_TRY(queue.copy(b, 0, a, 0, kBytes));
    }
    BP_TRY(queue.destroy_stream());
  }
  Queue queue = BP_TRY(Queue::open(context));
  uint32_t ends[2] = {};
  BP_TRY(queue.read(std::as_writable_bytes(std::span(&ends[0], 1)), b, 0));
  BP_TRY(queue.read(std::as_writable_bytes(std::span(&ends[1], 1)), b, kBytes - 4));
  BP_TRY(queue.finish());
  BP_EXPECT(ends[0] == 7 && ends[1] == 7,
            "destroy did not wait: {} and {} where the last fill left 7", ends[0], ends[1]);
  return pass("16 pieces of work of 16 MiB ran before destroy returned");
}

Verdict many_streams(Context& context) {
  std::vector<Queue> queues;
  std::vector<Buffer> buffers;
  for (uint32_t i = 0; i < 16; ++i) {
    queues.push_back(BP_TRY(Queue::open(context)));
    buffers.push_back(BP_TRY(context.allocate(65'536)));
  }
  for (uint32_t round = 0; round < 8; ++round) {
    for (uint32_t i = 0; i < queues.size(); ++i) {
      BP_TRY(queues[i].fill(buffers[i], 0, 65'536, round * 100 + i));
    }
  }
  for (uint32_t i = 0; i < queues.size(); ++i) {
    const std::vector<std::byte> got = BP_TRY(queues[i].content(buffers[i]));
    uint32_t word = 0;
    std::memcpy(&word, got.data() + 65'532, sizeof word);
    BP_EXPECT(word == 700 + i, "stream {} left {}, expected {}", i, word, 700 + i);
  }
  return pass("16 streams side by side");
}

}  // namespace

void add_stream_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"stream.write", N::kDevice, "awkward offsets and sizes, neighbours untouched",
                 writes_anywhere});
  out.push_back(
      {"stream.read", N::kDevice, "complete once a later signal was waited for", reads_anywhere});
  out.push_back({"stream.copy", N::kDevice, "between and inside buffers", copies_anywhere});
  out.push_back({"stream.fill", N::kDevice, "every word of the range and none beside it",
                 fills_to_the_last_word});
  out.push_back({"stream.order", N::kDevice, "work of one stream runs in order", keeps_order});
  out.push_back({"stream.write.reuse", N::kDevice,
                 "the source of a write may be reused when the call returns",
                 sources_may_be_reused});
  out.push_back(
      {"stream.ranges", N::kDevice, "ranges outside buffers are refused", refuses_foreign_ranges});
  out.push_back({"stream.destroy", N::kDevice, "destroy waits for the stream's work",
                 destroys_with_work_pending});
  out.push_back({"stream.many", N::kDevice, "streams are independent of each other", many_streams});
}

}  // namespace bp::conformance
