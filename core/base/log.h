// SPDX-License-Identifier: Apache-2.0
// Log messages leave the library through one callback; the library itself never prints.
//
// Thread-safe. The sink is called on the thread that logs, must not block for long, and must not
// log. Until a sink is set, messages are dropped.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

namespace bp::log {

enum class Level : int32_t {
  kTrace = 0,
  kDebug = 1,
  kInfo = 2,
  kWarning = 3,
  kError = 4,
  kOff = 5
};

using Sink = void (*)(void* user, Level level, std::string_view message);

// Replaces the sink (null removes it) and the lowest level that reaches it. A message that is
// being delivered on another thread may still reach the previous sink before this returns.
void set_sink(Sink sink, void* user, Level lowest) noexcept;

// Would a message of this level reach anybody? Cheap enough for hot paths.
bool enabled(Level level) noexcept;

void write(Level level, std::string_view message) noexcept;

template <typename... Args>
void message(Level level, fmt::format_string<Args...> format, Args&&... args) noexcept {
  if (!enabled(level)) return;
  try {
    write(level, fmt::format(format, std::forward<Args>(args)...));
  } catch (...) {  // out of memory: a lost log line is the smallest possible loss
  }
}
template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) noexcept {
  message(Level::kDebug, format, std::forward<Args>(args)...);
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) noexcept {
  message(Level::kInfo, format, std::forward<Args>(args)...);
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) noexcept {
  message(Level::kWarning, format, std::forward<Args>(args)...);
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) noexcept {
  message(Level::kError, format, std::forward<Args>(args)...);
}

}  // namespace bp::log
