// SPDX-License-Identifier: Apache-2.0
// What a person sees: progress bars on terminals, log lines on stderr, and what Ctrl-C does.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>

#include "backplane/backplane.h"
#include "core/base/status.h"

namespace bp::cli {

// One line on stderr that is redrawn in place; nothing at all when stderr is no terminal, nor for
// work that is done within a third of a second.
class ProgressBar {
 public:
  enum class Unit { kBytes, kSteps };
  explicit ProgressBar(std::string label, Unit unit = Unit::kBytes);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void update(uint64_t done, uint64_t total, std::string_view phase);
  // Takes the line away, for what is printed next.
  void clear();

 private:
  std::string label_;
  Unit unit_;
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

// Ctrl-C (SIGINT) and SIGTERM while this exists: set interrupted() and cancel the session, if one
// is given. A second Ctrl-C ends the process the ordinary way. One at a time.
class InterruptScope {
 public:
  explicit InterruptScope(bp_session* session = nullptr);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;
  static bool interrupted() noexcept;
  static const std::atomic<bool>& flag() noexcept;
};

// Sends the log of the library and of the compiler to stderr. Levels: trace debug info warning
// error off.
Status start_logging(const std::string& level);

// "1.5 GiB"
std::string human_bytes(uint64_t bytes);

}  // namespace bp::cli
