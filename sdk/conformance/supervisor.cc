// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

namespace bp::conformance {
namespace {

using Json = nlohmann::json;

// A plugin that dies more often than this is not worth more processes.
constexpr int kMostChildren = 25;
constexpr const char* kSetup = "negotiation.load";

// What is known of a child while it runs.
struct Child {
  bool done = false;     // it said so itself
  bool running = false;  // a check is under way
  std::string check;
  uint64_t next = 0;  // number of the first check that has not begun
};

void take_event(const Json& event, Child& child, Report& report) {
  const std::string kind = event.value("event", "");
  if (kind == "plugin") {
    report.begin_plugin(event.value("id", ""), event.value("version", ""));
  } else if (kind == "device") {
    report.begin_device(event.value("id", ""), event.value("name", ""));
  } else if (kind == "unusable") {
    report.set_unusable(event.value("why", ""));
  } else if (kind == "start") {
    child.running = true;
    child.check = event.value("name", "");
    child.next = event.value("index", uint64_t{0}) + 1;
  } else if (kind == "end") {
    child.running = false;
    const std::string status = event.value("status", "fail");
    const Verdict::Kind verdict = status == "pass"   ? Verdict::Kind::kPass
                                  : status == "skip" ? Verdict::Kind::kSkip
                                                     : Verdict::Kind::kFail;
    report.add({child.check, verdict, event.value("detail", "")});
    for (const Json& counts : event.value("coverage", Json::array())) {
      report.add_coverage({counts.value("op", ""), counts.value("format", "")},
                          {counts.value("asked", uint64_t{0}), counts.value("claimed", uint64_t{0}),
                           counts.value("runs", uint64_t{0})});
    }
  } else if (kind == "done") {
    child.done = true;
  }
}

// Reads lines until the pipe ends or nothing comes for `patience_ms`; false in the latter case.
bool listen(int pipe, int patience_ms, Child& child, Report& report) {
  std::string text;
  char chunk[65536];
  while (true) {
    pollfd entry{pipe, POLLIN, 0};
    const int ready = ::poll(&entry, 1, patience_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t bytes = ::read(pipe, chunk, sizeof chunk);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) return true;
    text.append(chunk, static_cast<size_t>(bytes));
    size_t begin = 0;
    for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
      if (end > begin) {
        const Json event = Json::parse(text.begin() + static_cast<ptrdiff_t>(begin),
                                       text.begin() + static_cast<ptrdiff_t>(end), nullptr, false);
        if (event.is_object()) take_event(event, child, report);
      }
      begin = end + 1;
    }
    text.erase(0, begin);
  }
}

std::string cause_of_death(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("the process died of signal {} ({})", WTERMSIG(status),
                       ::strsignal(WTERMSIG(status)));
  }
  return fmt::format("the process ended with status {} in the middle of it", WEXITSTATUS(status));
}

}  // namespace

Status supervise(const Settings& settings, Report& report) {
  uint64_t first = 0;
  // A single wait may last for the timeout; compilers and references give no sign of life.
  const auto patience_ms = static_cast<int>(2 * settings.options.timeout_ns / 1'000'000 + 4'000);
  for (int attempt = 0; attempt < kMostChildren; ++attempt) {
    int ends[2];
    BP_EXPECT(::pipe(ends) == 0, "no pipe: {}", std::strerror(errno));
    std::fflush(nullptr);
    const pid_t process = ::fork();
    BP_EXPECT(process >= 0, "no child process: {}", std::strerror(errno));
    if (process == 0) {
      ::close(ends[0]);
      run_checks(settings, first, ends[1]);
      std::fflush(nullptr);
      ::_exit(0);  // a plugin's exit handlers are not part of the contract
    }
    ::close(ends[1]);
    Child child;
    child.next = first;
    const bool ended = listen(ends[0], patience_ms, child, report);
    if (!ended) ::kill(process, SIGKILL);
    ::close(ends[0]);
    int status = 0;
    while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
    }
    if (child.done) return {};
    const std::string cause =
        ended ? cause_of_death(status)
              : fmt::format("hung: no sign of life for {} s", patience_ms / 1000);
    report.add({child.running ? child.check : "between checks", Verdict::Kind::kFail, cause});
    if (child.next == first || (child.running && child.check == kSetup)) return {};
    first = child.next;
  }
  report.add({"all further checks", Verdict::Kind::kFail,
              fmt::format("given up after {} processes", kMostChildren)});
  return {};
}

}  // namespace bp::conformance
