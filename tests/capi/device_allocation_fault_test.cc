// SPDX-License-Identifier: Apache-2.0
// Memory of the host that is refused while a model runs on a stand-in driver: to the library, to
// the plugin of the device and to that of kernels, one allocation after the other. The request says
// EXHAUSTED or finds another way, and nothing stays on the device.
//
// The driver itself is spared: plugins and stand-in carry a runtime of their own, whose malloc()
// comes from their own code, and that is how they are told apart. Sanitizers bring their own
// malloc() and one runtime for all, so they see the library alone, in allocation_fault_test.cc.
#include "tests/capi/device_scenario.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define BP_OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BP_OWN_MALLOC 0
#endif
#endif
#ifndef BP_OWN_MALLOC
#define BP_OWN_MALLOC 1
#endif

#if BP_OWN_MALLOC

#include <link.h>

#include <cstring>
#include <new>

namespace {

enum Whom { kLibrary, kDevicePlugin, kKernelPlugin, kWhoms };

// Counts down on the testing thread only; the thread pool and GoogleTest are left alone.
thread_local Whom refused_to = kLibrary;
thread_local int64_t refused_in = -1;
thread_local uint64_t asked[kWhoms] = {};

bool is_refused(Whom whom) {
  ++asked[whom];
  return whom == refused_to && refused_in >= 0 && refused_in-- == 0;
}

struct Range {
  uintptr_t begin = 0, end = 0;
  bool has(const void* address) const {
    return reinterpret_cast<uintptr_t>(address) - begin < end - begin;
  }
};
Range plugins[kWhoms];  // no bytes for the library

// Finds the plugins, which must be loaded.
int find_plugins(dl_phdr_info* info, size_t, void*) {
  const std::string_view name = info->dlpi_name;
  const std::string device = bp::device_faults::device(0);
  const std::string backend = "libbackplane-" + device.substr(0, device.find(':')) + ".so";
  const Whom whom = name.ends_with(backend)                     ? kDevicePlugin
                    : name.ends_with("libbackplane-kernels.so") ? kKernelPlugin
                                                                : kLibrary;
  for (int i = 0; whom != kLibrary && i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
    plugins[whom].begin = info->dlpi_addr + part.p_vaddr;
    plugins[whom].end = plugins[whom].begin + part.p_memsz;
  }
  return 0;
}

bool is_refused_at(const void* caller) {
  for (const Whom whom : {kDevicePlugin, kKernelPlugin}) {
    if (plugins[whom].has(caller)) return is_refused(whom);
  }
  return false;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (is_refused(kLibrary)) return nullptr;
  if (alignment <= alignof(std::max_align_t)) return std::malloc(bytes == 0 ? 1 : bytes);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}
void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  void* memory = allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

extern "C" void* __libc_malloc(std::size_t bytes);
extern "C" void* __libc_memalign(std::size_t alignment, std::size_t bytes);
extern "C" void* malloc(std::size_t bytes) {
  return is_refused_at(__builtin_return_address(0)) ? nullptr : __libc_malloc(bytes);
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  return is_refused_at(__builtin_return_address(0)) ? nullptr : __libc_memalign(alignment, bytes);
}

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

namespace bp::device_faults {
namespace {

class DeviceAllocationFault : public ::testing::Test {
 protected:
  void SetUp() override {
    const Model model = open_model();
    cpu_ = create(model.get(), "cpu").session;
    ASSERT_NE(cpu_, nullptr);
    cpu_tokens_ = generate(cpu_.get()).tokens;
    for (int i = 0; i < 2; ++i) {
      const Outcome outcome = use();
      ASSERT_EQ(outcome.status, BP_OK) << outcome.text;
      tokens_ = outcome.tokens;
    }
    dl_iterate_phdr(&find_plugins, nullptr);
    live_ = Mock::live();
  }

  // All of a request but for the opening of the model, and its end.
  static Outcome use() {
    const Model model = open_model();
    refused_in = wanted_;
    Created created = create(model.get(), device(0));
    Outcome out = created.outcome;
    if (out.status == BP_OK) out = generate(created.session.get());
    created.session.reset();
    is_struck_ = refused_in < 0;
    refused_in = -1;
    return out;
  }

  // Allocations of an undisturbed request.
  static uint64_t count(Whom whom, bool cold) {
    if (cold) forget_kernels();
    const uint64_t before = asked[whom];
    EXPECT_EQ(use().status, BP_OK);
    return asked[whom] - before;
  }

  void refuse(Whom whom, bool cold, uint64_t visits) {
    const uint64_t total = count(whom, cold);
    const uint64_t stride = std::max<uint64_t>(total / visits, 1) | 1;
    uint64_t visited = 0, refused = 0;
    for (uint64_t n = 0; n < total; n += stride, ++visited) {
      if (cold) forget_kernels();
      refused_to = whom;
      wanted_ = static_cast<int64_t>(n);
      const Outcome outcome = use();
      wanted_ = -1;
      const std::string when = "allocation " + std::to_string(n);
      if (!is_struck_) {  // counts differ a little from run to run
        EXPECT_EQ(outcome.status, BP_OK) << when << ": " << outcome.text;
        EXPECT_GT(n + total / 20, total) << when << " is never made";
        break;
      }
      refused += outcome.status == BP_OK ? 0 : 1;
      if (outcome.status == BP_OK) {
        EXPECT_EQ(outcome.tokens, tokens_) << when;
      } else {
        EXPECT_EQ(outcome.status, BP_EXHAUSTED)
            << when << ": " << bp_status_name(outcome.status) << " " << outcome.text;
        EXPECT_FALSE(outcome.text.empty()) << when;
      }
      EXPECT_EQ(Mock::live(), live_) << "left behind by " << when << ": " << outcome.text;
      EXPECT_EQ(Mock::get("misuse"), 0u) << when;
      EXPECT_EQ(generate(cpu_.get()).tokens, cpu_tokens_) << when;
      const Outcome after = use();
      EXPECT_EQ(after.status, BP_OK) << "after " << when << ": " << after.text;
      EXPECT_EQ(after.tokens, tokens_) << "after " << when;
      if (HasFailure()) break;
    }
    std::printf("%llu allocations, %llu refused one by one, %llu requests failed\n",
                static_cast<unsigned long long>(total), static_cast<unsigned long long>(visited),
                static_cast<unsigned long long>(refused));
    std::fflush(stdout);
    EXPECT_GT(refused, 0u);
  }

  static inline int64_t wanted_ = -1;
  static inline bool is_struck_ = false;
  Session cpu_;
  Tokens cpu_tokens_, tokens_;
  std::map<std::string, uint64_t> live_;
};

TEST_F(DeviceAllocationFault, to_the_plugin_of_the_device) {
  refuse(kDevicePlugin, false, 100000);
}
TEST_F(DeviceAllocationFault, to_the_plugin_of_kernels) {
  refuse(kKernelPlugin, false, 100);
}
TEST_F(DeviceAllocationFault, to_the_plugin_of_kernels_that_compiles) {
  refuse(kKernelPlugin, true, 100);
}
TEST_F(DeviceAllocationFault, to_the_library) {
  refuse(kLibrary, false, 100);
}

}  // namespace
}  // namespace bp::device_faults

#endif  // BP_OWN_MALLOC
