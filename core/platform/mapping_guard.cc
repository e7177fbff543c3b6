// SPDX-License-Identifier: Apache-2.0
#include "core/platform/mapping_guard.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <mutex>

namespace bp {
namespace {

// Read by a signal handler, hence lock-free and without allocation. `begin` 0 is free, kClaimed is
// being filled in.
struct Slot {
  std::atomic<uintptr_t> begin{0};
  std::atomic<uintptr_t> end{0};
  std::atomic<bool> damaged{false};
};
constexpr uintptr_t kClaimed = 1;

constinit std::array<Slot, 1024> slots;
constinit std::mutex install_mutex;
bool installed = false;  // under install_mutex
// Set before the handler is installed, constant afterwards.
struct sigaction previous_action {};
uintptr_t page_bytes = 0;

bool replace_lost_page(uintptr_t address) noexcept {
  for (Slot& slot : slots) {
    const uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    if (begin <= kClaimed || address < begin ||
        address >= slot.end.load(std::memory_order_relaxed)) {
      continue;
    }
    void* page = reinterpret_cast<void*>(address & ~(page_bytes - 1));
    if (::mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED) {
      return false;
    }
    slot.damaged.store(true, std::memory_order_release);
    return true;
  }
  return false;
}

void on_sigbus(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool repaired = info != nullptr && info->si_code == BUS_ADRERR &&
                        replace_lost_page(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved_errno;
  if (repaired) return;
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    previous_action.sa_sigaction(number, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(number);
  } else {
    // Back to what it was: the faulting instruction runs again and ends the process as usual.
    ::sigaction(SIGBUS, &previous_action, nullptr);
  }
}

}  // namespace

Status install_mapping_guard() {
  const std::lock_guard lock(install_mutex);
  if (installed) return {};
  page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  if (::sigaction(SIGBUS, nullptr, &previous_action) != 0) {
    return error(Code::kUnavailable, "cannot ask for the SIGBUS handler (errno {})", errno);
  }
  struct sigaction action {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  if (::sigaction(SIGBUS, &action, nullptr) != 0) {
    return error(Code::kUnavailable, "cannot install a SIGBUS handler (errno {})", errno);
  }
  installed = true;
  return {};
}

GuardedRange::GuardedRange(const void* begin, uint64_t size_bytes) noexcept {
  if (begin == nullptr || size_bytes == 0) return;
  for (size_t i = 0; i < slots.size(); ++i) {
    uintptr_t expected = 0;
    if (!slots[i].begin.compare_exchange_strong(expected, kClaimed)) continue;
    slots[i].damaged.store(false, std::memory_order_relaxed);
    slots[i].end.store(reinterpret_cast<uintptr_t>(begin) + size_bytes, std::memory_order_relaxed);
    slots[i].begin.store(reinterpret_cast<uintptr_t>(begin), std::memory_order_release);
    slot_ = static_cast<int>(i);
    return;
  }
}

GuardedRange::~GuardedRange() {
  if (slot_ >= 0) slots[static_cast<size_t>(slot_)].begin.store(0, std::memory_order_release);
}

bool GuardedRange::damaged() const noexcept {
  return slot_ >= 0 && slots[static_cast<size_t>(slot_)].damaged.load(std::memory_order_acquire);
}

}  // namespace bp
