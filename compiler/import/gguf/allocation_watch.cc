// SPDX-License-Identifier: Apache-2.0
// A file of its own: where the compiler sees an inlined free() beside a call of operator new it
// warns of a mismatch.
#include "compiler/import/gguf/allocation_watch.h"

#include <cstdlib>
#include <new>

namespace bp {

std::atomic<size_t>& largest_allocation() {
  static std::atomic<size_t> largest{0};
  return largest;
}

}  // namespace bp

namespace {

void* allocate(size_t bytes) noexcept {
  std::atomic<size_t>& largest = bp::largest_allocation();
  size_t seen = largest.load();
  while (bytes > seen && !largest.compare_exchange_weak(seen, bytes)) {
  }
  return std::malloc(bytes == 0 ? 1 : bytes);
}

void* allocate_or_throw(size_t bytes) {
  if (void* memory = allocate(bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

// All forms, so that no allocation is freed by another library's operator delete.
void* operator new(size_t bytes) {
  return allocate_or_throw(bytes);
}
void* operator new[](size_t bytes) {
  return allocate_or_throw(bytes);
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes);
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
