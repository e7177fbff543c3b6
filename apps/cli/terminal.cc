// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/terminal.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/base/log.h"

namespace bp::cli {
namespace {

std::atomic<bool> interrupted_flag{false};
std::atomic<bp_session*> session_to_cancel{nullptr};
struct sigaction previous_int, previous_term;

extern "C" void on_interrupt(int number) {
  if (interrupted_flag.exchange(true)) {  // asked twice: the default action now
    ::signal(number, SIG_DFL);
    ::raise(number);
    return;
  }
  if (bp_session* session = session_to_cancel.load()) bp_session_cancel(session);  // one store
}

unsigned terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

void print_log(int32_t level, std::string_view text) {
  static constexpr const char* kNames[] = {"trace", "debug", "info", "warning", "error"};
  fmt::print(stderr, "{}: {}\n", kNames[std::clamp(level, 0, 4)], text);
}

}  // namespace

ProgressBar::ProgressBar(std::string label, Unit unit)
    : label_(std::move(label)),
      unit_(unit),
      shown_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_(start_ + std::chrono::milliseconds(200)) {}

ProgressBar::~ProgressBar() {
  clear();
}

void ProgressBar::clear() {
  if (drawn_) fmt::print(stderr, "\r\033[K");
  drawn_ = false;
}

void ProgressBar::update(uint64_t done, uint64_t total, std::string_view phase) {
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  const double share = total == 0 ? 0.0 : static_cast<double>(done) / static_cast<double>(total);
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const std::string eta =
      share > 0.01 ? fmt::format(" {:.0f} s left", elapsed / share - elapsed) : "";
  const bool bytes = unit_ == Unit::kBytes;
  const std::string text =
      fmt::format("{}{}{} {:3.0f}% {} of {}{}", label_, phase.empty() ? "" : " ", phase,
                  share * 100, bytes ? human_bytes(done) : std::to_string(done),
                  bytes ? human_bytes(total) : std::to_string(total), eta);
  const unsigned columns = terminal_columns();
  const size_t room = columns > text.size() + 4 ? columns - text.size() - 4 : 0;
  const size_t width = std::min<size_t>(room, 40);
  const auto filled = static_cast<size_t>(share * static_cast<double>(width));
  fmt::print(stderr, "\r\033[K{}{}", text.substr(0, columns - 1),
             width < 5 ? std::string()
                       : fmt::format(" [{}{}]", std::string(filled, '='),
                                     std::string(width - filled, ' ')));
  std::fflush(stderr);
}

InterruptScope::InterruptScope(bp_session* session) {
  interrupted_flag = false;
  session_to_cancel = session;
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, &previous_int);
  ::sigaction(SIGTERM, &action, &previous_term);
}

InterruptScope::~InterruptScope() {
  ::sigaction(SIGINT, &previous_int, nullptr);
  ::sigaction(SIGTERM, &previous_term, nullptr);
  session_to_cancel = nullptr;
}

bool InterruptScope::interrupted() noexcept {
  return interrupted_flag.load();
}
const std::atomic<bool>& InterruptScope::flag() noexcept {
  return interrupted_flag;
}

Status start_logging(const std::string& level) {
  static constexpr const char* kLevels[] = {"trace", "debug", "info", "warning", "error", "off"};
  const auto* found = std::find(std::begin(kLevels), std::end(kLevels), level);
  if (found == std::end(kLevels)) {
    return error(Code::kInvalidArgument,
                 "log level '{}'; there are trace, debug, info, warning, "
                 "error, off",
                 level);
  }
  const auto number = static_cast<int32_t>(found - std::begin(kLevels));
  if (number > BP_LOG_LEVEL_ERROR) return {};
  bp_log_set(
      [](void*, int32_t l, const char* text, uint64_t length) {
        print_log(l, {text, length});
      },
      nullptr, number);
  // The compiler is linked into this program and has a log of its own.
  log::set_sink(
      [](void*, log::Level l, std::string_view text) { print_log(static_cast<int32_t>(l), text); },
      nullptr, static_cast<log::Level>(number));
  return {};
}

std::string human_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace bp::cli
