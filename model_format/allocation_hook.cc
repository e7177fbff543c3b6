// SPDX-License-Identifier: Apache-2.0
// In a file of its own, so that the compiler does not see through a replaced operator new and
// complain about free().
#include "model_format/allocation_hook.h"

#include <cstdlib>
#include <new>

namespace bp::testing {

constinit thread_local int64_t allocations_left = -1;

}  // namespace bp::testing

namespace {

void* allocate_or_null(std::size_t size) {
  using bp::testing::allocations_left;
  if (allocations_left == 0) return nullptr;
  if (allocations_left > 0) --allocations_left;
  return std::malloc(size == 0 ? 1 : size);
}

}  // namespace

void* operator new(std::size_t size) {
  if (void* memory = allocate_or_null(size)) return memory;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size) {
  return operator new(size);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate_or_null(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return allocate_or_null(size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
