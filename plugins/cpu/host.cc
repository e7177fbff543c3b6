// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/host.h"

#include <atomic>

namespace bp::cpu {
namespace {
std::atomic<const bp_host*> current{nullptr};
}  // namespace

const bp_host* host() noexcept {
  return current.load(std::memory_order_acquire);
}

void set_host(const bp_host* host) noexcept {
  current.store(host, std::memory_order_release);
}

uint32_t worker_count() noexcept {
  const bp_host* const services = host();
  if (services == nullptr || services->workers == nullptr) return 1;
  const uint32_t workers = services->workers(services->user);
  return workers == 0 ? 1 : workers;
}

}  // namespace bp::cpu
