// SPDX-License-Identifier: Apache-2.0
// bp.memory/1: allocation, mapping, budget.
#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "sdk/conformance/check.h"
#include "sdk/conformance/older_caller.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {
namespace {

Verdict heaps_are_sound(Context& context) {
  const bp_memory_api& api = context.memory_api();
  uint32_t count = 0;
  BP_TRY(context.call("heaps", api.heaps, context.device, static_cast<bp_heap*>(nullptr),
                      uint64_t{sizeof(bp_heap)}, 0u, &count));
  BP_EXPECT(count > 0 && count <= 32, "{} heaps", count);
  // A caller whose heaps are larger: only the stride says where the next one is.
  constexpr uint64_t kStride = sizeof(bp_heap) + 24;
  std::vector<std::byte> memory(kStride * (count + 1), std::byte{0xC9});
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t size = sizeof(bp_heap);
    std::memcpy(memory.data() + kStride * i, &size, sizeof size);
  }
  uint32_t again = 0;
  BP_TRY(context.call("heaps", api.heaps, context.device, reinterpret_cast<bp_heap*>(memory.data()),
                      kStride, count, &again));
  BP_EXPECT(again == count, "heaps says {}, then {}", count, again);
  for (uint32_t i = 0; i < count; ++i) {
    bp_heap heap;
    std::memcpy(&heap, memory.data() + kStride * i, sizeof heap);
    BP_EXPECT(heap.size == sizeof heap, "heap {}: the size field was changed to {}", i, heap.size);
    BP_EXPECT(heap.flags < 16, "heap {}: flags {:#x}", i, heap.flags);
    BP_EXPECT(heap.bytes > 0, "heap {} has 0 bytes", i);
    BP_EXPECT(heap.max_allocation_bytes > 0 && heap.max_allocation_bytes <= heap.bytes,
              "heap {}: one buffer of at most {} bytes in a heap of {}", i,
              heap.max_allocation_bytes, heap.bytes);
    BP_EXPECT(heap.alignment != 0 && (heap.alignment & (heap.alignment - 1)) == 0,
              "heap {}: an alignment of {}", i, heap.alignment);
    for (uint64_t b = sizeof heap; b < kStride; ++b) {
      BP_EXPECT(memory[kStride * i + b] == std::byte{0xC9}, "heap {}: wrote behind the caller's",
                i);
    }
  }
  OlderCaller<bp_heap> older(offsetof(bp_heap, max_allocation_bytes));
  BP_TRY(context.call("heaps", api.heaps, context.device, older.get(), uint64_t{sizeof(bp_heap)},
                      1u, &again));
  BP_EXPECT(older.is_intact(), "heaps wrote behind a smaller caller's size");
  return pass("{} heaps, the first of {} MiB", count, context.heaps[0].bytes >> 20);
}

Verdict allocates_any_size(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  uint32_t buffers = 0;
  for (uint32_t heap = 0; heap < context.heaps.size(); ++heap) {
    std::vector<Buffer> alive;
    std::vector<std::vector<std::byte>> wanted;
    for (const uint64_t bytes :
         std::initializer_list<uint64_t>{1, 2, 3, 7, 31, 61, 127, 257, 1021, 4093, 4095, 4096, 4097,
                                         65535, 65536, 65537, 1048573, 3 << 20}) {
      if (bytes > context.heaps[heap].max_allocation_bytes) continue;
      alive.push_back(BP_TRY(context.allocate(bytes, heap)));
      wanted.push_back(pattern(bytes, static_cast<uint32_t>(bytes)));
      BP_TRY(queue.write(alive.back(), 0, wanted.back()));
    }
    BP_TRY(queue.finish());
    // All at once, so that buffers which share memory show.
    for (size_t i = 0; i < alive.size(); ++i) {
      BP_TRY(expect_bytes(BP_TRY(queue.content(alive[i])), wanted[i],
                          fmt::format("heap {}, a buffer of {} bytes", heap, alive[i].bytes())));
    }
    buffers += static_cast<uint32_t>(alive.size());
  }
  return pass("{} buffers, whole and apart", buffers);
}

Verdict refuses_impossible_allocations(Context& context) {
  const bp_memory_api& api = context.memory_api();
  const auto alloc = [&](uint32_t heap, uint64_t bytes) {
    bp_buffer* buffer = nullptr;
    const bp_status status = api.alloc(context.device, heap, bytes, &buffer, nullptr);
    if (status == BP_OK && buffer != nullptr) api.free(buffer, nullptr);
    return status;
  };
  BP_TRY(expect_status(alloc(0, 0), BP_INVALID_ARGUMENT, "alloc of 0 bytes"));
  BP_TRY(expect_refusal(alloc(static_cast<uint32_t>(context.heaps.size()), 64),
                        "alloc in a heap that does not exist"));
  BP_TRY(expect_refusal(alloc(UINT32_MAX, 64), "alloc in heap 4294967295"));
  for (uint32_t heap = 0; heap < context.heaps.size(); ++heap) {
    for (const uint64_t bytes : {uint64_t{1} << 60, UINT64_MAX - 4095, UINT64_MAX}) {
      BP_TRY(expect_status(alloc(heap, bytes), BP_EXHAUSTED,
                           fmt::format("alloc of {} bytes in heap {}", bytes, heap)));
    }
  }
  BP_TRY(context.call("status after EXHAUSTED", context.device_api().status, context.device));
  Queue queue = BP_TRY(Queue::open(context));
  const Buffer buffer = BP_TRY(context.allocate(1000));
  const std::vector<std::byte> wanted = pattern(1000, 3);
  BP_TRY(queue.write(buffer, 0, wanted));
  BP_TRY(expect_bytes(BP_TRY(queue.content(buffer)), wanted, "a buffer after EXHAUSTED"));
  BP_TRY(context.call("free of NULL", api.free, static_cast<bp_buffer*>(nullptr)));
  return pass("0 bytes INVALID_ARGUMENT, too many EXHAUSTED, the device lives on");
}

Verdict maps_memory(Context& context) {
  const bp_memory_api& api = context.memory_api();
  Queue queue = BP_TRY(Queue::open(context));
  uint32_t mapped = 0;
  for (uint32_t heap = 0; heap < context.heaps.size(); ++heap) {
    constexpr uint64_t kBytes = 10'007;
    const Buffer buffer = BP_TRY(context.allocate(kBytes, heap));
    const bool visible = (context.heaps[heap].flags & BP_HEAP_HOST_VISIBLE) != 0;
    void* host = nullptr;
    const bp_status status = api.map(buffer.handle(), &host, nullptr);
    if (!visible) {
      BP_TRY(expect_status(status, BP_UNIMPLEMENTED,
                           fmt::format("map in heap {}, not host-visible", heap)));
      continue;
    }
    BP_TRY(expect_status(status, BP_OK, fmt::format("map in heap {}", heap)));
    BP_EXPECT(host != nullptr, "map returned OK and NULL");
    BP_EXPECT(reinterpret_cast<uintptr_t>(host) % context.heaps[heap].alignment == 0,
              "heap {} promises an alignment of {}, map gave {}", heap,
              context.heaps[heap].alignment, host);
    const bool coherent = (context.heaps[heap].flags & BP_HEAP_HOST_COHERENT) != 0;
    const std::vector<std::byte> wanted = pattern(kBytes, 11 + heap);
    std::memcpy(host, wanted.data(), kBytes);
    if (!coherent) {
      BP_TRY(context.call("flush", api.flush, buffer.handle(), uint64_t{0}, kBytes));
    }
    BP_TRY(expect_bytes(BP_TRY(queue.content(buffer)), wanted, "what the host wrote"));
    BP_TRY(queue.fill(buffer, 4, 9'000, 0x01020304u));
    BP_TRY(queue.finish());
    if (!coherent) {
      BP_TRY(context.call("invalidate", api.invalidate, buffer.handle(), uint64_t{0}, kBytes));
    }
    uint32_t word = 0;
    std::memcpy(&word, static_cast<std::byte*>(host) + 9'000, sizeof word);
    BP_EXPECT(word == 0x01020304u, "the host reads {:#x} after a fill with 0x1020304", word);
    BP_TRY(context.call("unmap", api.unmap, buffer.handle()));
    ++mapped;
  }
  if (mapped == 0) return skip("no heap is host-visible");
  return pass("{} of {} heaps, both directions", mapped, context.heaps.size());
}

Verdict budget_is_plausible(Context& context) {
  const bp_memory_api& api = context.memory_api();
  uint64_t free_bytes = 0;
  uint64_t total = 0;
  const bp_status status = api.budget(context.device, &free_bytes, &total, nullptr);
  if (status == BP_UNIMPLEMENTED) return skip("budget is not offered");
  BP_TRY(expect_status(status, BP_OK, "budget"));
  BP_EXPECT(total > 0 && free_bytes <= total, "{} of {} bytes free", free_bytes, total);
  const uint64_t bytes = std::min<uint64_t>(256u << 20, free_bytes / 8);
  if (bytes < (16u << 20)) return skip("only {} bytes are free", free_bytes);
  uint64_t during = 0;
  {
    Queue queue = BP_TRY(Queue::open(context));
    const Buffer buffer = BP_TRY(context.allocate(bytes));
    BP_TRY(queue.fill(buffer, 0, bytes / 4 * 4, 1));
    BP_TRY(queue.finish());
    BP_TRY(context.call("budget", api.budget, context.device, &during, &total));
  }
  uint64_t after = 0;
  BP_TRY(context.call("budget", api.budget, context.device, &after, &total));
  BP_EXPECT(during <= total && after <= total, "more free than there is");
  // Others use the same memory at the same time, so only gross errors can be told.
  BP_EXPECT(after > free_bytes / 2, "{} MiB free before, {} MiB after everything was freed",
            free_bytes >> 20, after >> 20);
  return pass("{} MiB free, {} with {} MiB allocated, {} after", free_bytes >> 20, during >> 20,
              bytes >> 20, after >> 20);
}

// Allocates and frees more than there is in all: leaked buffers would exhaust the device.
Verdict freed_memory_comes_back(Context& context) {
  uint64_t bytes = std::min<uint64_t>(context.heaps[0].max_allocation_bytes / 8, 1ull << 30);
  bp_buffer* buffer = nullptr;
  const bp_memory_api& api = context.memory_api();
  while (bytes > 4096 && api.alloc(context.device, 0, bytes, &buffer, nullptr) != BP_OK) {
    bytes /= 2;
  }
  if (buffer == nullptr) return fail("not even {} bytes can be allocated", bytes);
  BP_TRY(context.call("free", api.free, buffer));
  const uint64_t rounds = std::min<uint64_t>(2 * context.heaps[0].bytes / bytes + 1, 200);
  for (uint64_t i = 0; i < rounds; ++i) {
    const auto one = context.allocate(bytes);
    if (!one.ok()) {
      return fail("{} MiB could be allocated {} times, then: {}", bytes >> 20, i,
                  one.status().message());
    }
  }
  // Many small ones, freed in another order than they came.
  std::vector<Buffer> small;
  for (uint64_t i = 0; i < 500; ++i) small.push_back(BP_TRY(context.allocate(64 + 13 * (i % 29))));
  for (size_t i = 0; i < small.size(); i += 2) small[i] = Buffer();
  while (!small.empty()) small.pop_back();
  return pass("{} times {} MiB, 500 small buffers", rounds, bytes >> 20);
}

}  // namespace

void add_memory_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"memory.heaps", N::kDevice, "heaps, their limits, strides of newer callers",
                 heaps_are_sound});
  out.push_back({"memory.alloc", N::kDevice, "1 byte, primes, pages and one more or less",
                 allocates_any_size});
  out.push_back({"memory.alloc.refused", N::kDevice,
                 "0 bytes and more than there is; usable afterwards",
                 refuses_impossible_allocations});
  out.push_back({"memory.map", N::kDevice, "map, flush, invalidate; alignment", maps_memory});
  out.push_back(
      {"memory.budget", N::kDevice, "free bytes are plausible and recover", budget_is_plausible});
  out.push_back(
      {"memory.leaks", N::kDevice, "freed memory can be allocated again", freed_memory_comes_back});
}

}  // namespace bp::conformance
