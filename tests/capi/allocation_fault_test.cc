// SPDX-License-Identifier: Apache-2.0
// Every allocation that opening, generating and closing make fails once, one after the other: the
// call says EXHAUSTED (or finds another way), nothing crashes, nothing leaks into the next try.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "backplane/backplane.h"
#include "tests/capi/demo_model.h"

namespace {

// Counts down on the testing thread only; the thread pool and GoogleTest are left alone.
thread_local int64_t fail_in = -1;
thread_local int64_t allocations = 0;

void* allocate(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  if (fail_in >= 0 && fail_in-- == 0) return nullptr;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(bytes == 0 ? 1 : bytes);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  void* memory = allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Where GCC inlines one half of a pair below and not the other, it takes them for strangers.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

void* operator new(std::size_t bytes) {
  return allocate_or_throw(bytes, 0);
}
void* operator new[](std::size_t bytes) {
  return allocate_or_throw(bytes, 0);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes, 0);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes, 0);
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
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

// Opens, generates a few tokens, closes. The first failure ends it.
bp_status use_once(bp_error* error) {
  bp_model* model = nullptr;
  bp_session* session = nullptr;
  bp_status status = bp_model_open(bp::demo_model_path().c_str(), nullptr, &model, error);
  bp_session_options options = BP_SESSION_OPTIONS_INIT;
  options.device = {"cpu", 3};
  options.context_tokens = 64;
  if (status == BP_OK) status = bp_session_create(model, &options, &session, error);
  const char messages[] = R"([{"role": "user", "content": "A fox"}])";
  bp_chat_request request = BP_CHAT_REQUEST_INIT;
  request.messages = {messages, std::strlen(messages)};
  if (status == BP_OK) status = bp_session_feed_chat(session, &request, nullptr, error);
  bp_generate_options generate = BP_GENERATE_OPTIONS_INIT;
  generate.max_tokens = 3;
  if (status == BP_OK) {
    status = bp_session_generate(session, &generate, nullptr, nullptr, nullptr, error);
  }
  bp_session_destroy(session);
  bp_model_close(model);
  return status;
}

TEST(AllocationFault, every_failed_allocation_is_a_named_error) {
  bp_error error = BP_ERROR_INIT;
  ASSERT_EQ(use_once(&error), BP_OK) << error.text;  // plugins are loaded, pools exist
  allocations = 0;
  ASSERT_EQ(use_once(&error), BP_OK) << error.text;
  const int64_t total = allocations;
  ASSERT_GT(total, 1000);
  // The vocabulary alone makes thousands of equal allocations; a prime stride visits them all over
  // the place, and the first and last ones are visited one by one.
  int64_t visited = 0, refused = 0;
  for (int64_t n = 0; n < total; n += n < 300 || n > total - 300 ? 1 : 37) {
    fail_in = n;
    const bp_status status = use_once(&error);
    fail_in = -1;
    ++visited;
    refused += status != BP_OK ? 1 : 0;
    ASSERT_TRUE(status == BP_OK || status == BP_EXHAUSTED || status == BP_INTERNAL)
        << n << ": " << bp_status_name(status) << " " << error.text;
    if (status == BP_INTERNAL) ADD_FAILURE() << n << ": " << error.text;
  }
  EXPECT_EQ(use_once(&error), BP_OK) << error.text;
  EXPECT_GT(refused, visited / 2);
  std::printf("%lld allocations, %lld failed one by one, %lld refused\n",
              static_cast<long long>(total), static_cast<long long>(visited),
              static_cast<long long>(refused));
}

}  // namespace
