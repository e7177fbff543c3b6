// SPDX-License-Identifier: Apache-2.0
#include "core/base/log.h"

#include <atomic>
#include <mutex>
#include <shared_mutex>

namespace bp::log {
namespace {

struct State {
  std::shared_mutex mutex;  // guards sink and user together
  Sink sink = nullptr;
  void* user = nullptr;
  std::atomic<int32_t> lowest{static_cast<int32_t>(Level::kOff)};
};

// Leaked on purpose: plugins may log while static objects are being destroyed.
State& state() {
  static State* instance = new State;
  return *instance;
}

}  // namespace

void set_sink(Sink sink, void* user, Level lowest) noexcept {
  State& s = state();
  std::unique_lock lock(s.mutex);
  s.sink = sink;
  s.user = user;
  const Level effective = sink == nullptr ? Level::kOff : lowest;
  s.lowest.store(static_cast<int32_t>(effective), std::memory_order_relaxed);
}

bool enabled(Level level) noexcept {
  return static_cast<int32_t>(level) >= state().lowest.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view message) noexcept {
  if (!enabled(level)) return;
  State& s = state();
  std::shared_lock lock(s.mutex);
  if (s.sink == nullptr) return;
  try {
    s.sink(s.user, level, message);
  } catch (...) {  // a host's sink must not bring the library down
  }
}

}  // namespace bp::log
