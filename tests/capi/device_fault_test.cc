// SPDX-License-Identifier: Apache-2.0
// A whole model on a stand-in driver each of whose calls fails once, and whose device is lost once
// at each of them: memory is refused, code does not compile or load, launches fail, anything fails.
// Each time the request ends with a named error that has the driver's own number, or finds another
// way and gives exactly the undisturbed tokens. Nothing is left behind; the session, its model and
// the device can be used again, or opened anew after a loss; and sessions on the CPU and on the
// other device go on.
//
// These may find another way while the request runs, and nothing else may:
//  - recording a pass (its launches, and the calls that begin, end and instantiate it): the pass is
//    put on the device step by step;
//  - loading kept code: it is compiled anew;
//  - registering weights where device and host share memory: they are copied;
//  - trying the library of matrix products: our own kernels stay;
//  - opening a device of ROCm that is lost just then and that nobody else has open: it is reset.
// Calls that release something fail without anybody being told, who could do nothing about it.
//
// BACKPLANE_TEST_STRIDE=n visits every n-th call only, where all kinds of call or launches are
// counted; allocations, loads and compilations are few, and each is visited.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

#include "tests/capi/device_scenario.h"

namespace bp::device_faults {
namespace {

constexpr uint64_t kMaxCalls = 20'000;  // more than a request makes

struct Fault {
  const char* name;
  int64_t native;                   // the number that the driver gives
  std::vector<bp_status> statuses;  // what the request may say then
  const char* says;                 // words of the error
  bool is_cold = false;             // nothing compiled is kept from before
};

// What came of visiting a fault call by call.
struct Tally {
  uint64_t visited = 0;
  uint64_t failed = 0;
  uint64_t found_another_way = 0;  // struck while the request ran, which gave its tokens
  uint64_t at_the_end = 0;         // struck when all was over
};

uint64_t stride_of(const Fault& fault) {
  const std::string name = fault.name;
  if (name == "fail_alloc" || name == "fail_load" || name == "fail_compile") return 1;
  return std::strtoull(variable("BACKPLANE_TEST_STRIDE", "1").c_str(), nullptr, 10);
}

// Sessions that no fault may reach, on the CPU and on the second device, and what they say.
struct Bystanders {
  Model model = open_model();
  Session cpu = create(model.get(), "cpu").session;
  Session neighbour = create(model.get(), device(1)).session;
  Tokens cpu_tokens, tokens;

  Bystanders() {
    if (cpu == nullptr || neighbour == nullptr) return;
    cpu_tokens = generate(cpu.get()).tokens;
    tokens = generate(neighbour.get()).tokens;
  }
};

class DeviceFault : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { bystanders_ = new Bystanders; }
  static void TearDownTestSuite() {
    delete bystanders_;
    bystanders_ = nullptr;
    EXPECT_EQ(Mock::live(), (std::map<std::string, uint64_t>()));
  }

  void SetUp() override {
    ASSERT_FALSE(bystanders_->cpu_tokens.empty());
    ASSERT_FALSE(bystanders_->tokens.empty()) << "set BACKPLANE_MOCK_DEVICES=2";
    for (int i = 0; i < 2; ++i) {
      const Model model = open_model();
      expect_right(use(model.get(), device(0)), "undisturbed");
    }
    live_ = Mock::live();
    bp_session_stats stats{};
    stats.size = sizeof stats;
    ASSERT_EQ(bp_session_describe(bystanders_->neighbour.get(), &stats, nullptr), BP_OK);
    launches_per_pass_ = stats.launches_per_token;
  }

  static void expect_right(const Outcome& outcome, const std::string& when) {
    EXPECT_EQ(outcome.status, BP_OK) << when << ": " << outcome.text;
    EXPECT_EQ(outcome.tokens, bystanders_->tokens) << when;
  }

  static void expect_named(const Outcome& outcome, const Fault& fault, const std::string& when) {
    const bool is_expected = std::find(fault.statuses.begin(), fault.statuses.end(),
                                       outcome.status) != fault.statuses.end();
    EXPECT_TRUE(is_expected) << when << ": " << bp_status_name(outcome.status) << " "
                             << outcome.text;
    // The library of products has numbers and words of its own.
    const bool is_by_library = outcome.text.find("BLASLt") != std::string::npos;
    if (is_by_library) {
      EXPECT_NE(outcome.native, 0) << when << ": " << outcome.text;
      return;
    }
    EXPECT_EQ(outcome.native, fault.native) << when << ": " << outcome.text;
    EXPECT_NE(outcome.text.find(fault.says), std::string::npos) << when << ": " << outcome.text;
  }

  static void expect_lost(const Outcome& outcome, const std::string& when) {
    EXPECT_EQ(outcome.status, BP_DEVICE_LOST) << when << ": " << outcome.text;
    EXPECT_FALSE(outcome.text.empty()) << when;
  }

  // The failed session once more, and a new one that is made beside it and outlives it: both are
  // right, or know that the device is lost as long as the failed one holds it.
  static void use_again(bp_model* model, Session* failed, const std::string& when) {
    const Outcome again = generate(failed->get());
    if (again.status == BP_OK) expect_right(again, when + ", the same session");
    if (again.status != BP_OK) expect_lost(again, when + ", the same session");
    const Created beside = create(model, device(0));
    Outcome outcome = beside.outcome;
    if (outcome.status == BP_OK) outcome = generate(beside.session.get());
    failed->reset();
    if (outcome.status != BP_OK) return expect_lost(outcome, when + ", a session beside it");
    expect_right(outcome, when + ", a session beside it");
    expect_right(generate(beside.session.get()), when + ", a session that outlives it");
  }

  static void expect_bystanders(const std::string& when) {
    const Outcome cpu = generate(bystanders_->cpu.get());
    EXPECT_EQ(cpu.status, BP_OK) << when << ", the CPU: " << cpu.text;
    EXPECT_EQ(cpu.tokens, bystanders_->cpu_tokens) << when << ", the CPU";
    expect_right(generate(bystanders_->neighbour.get()), when + ", the other device");
  }

  // Lets the n-th call fail. False when a request makes fewer.
  bool visit(const Fault& fault, uint64_t n, Tally* tally) {
    const std::string when = std::string(fault.name) + " " + std::to_string(n);
    if (fault.is_cold) forget_kernels();
    Model model = open_model();
    Mock::set(fault.name, n);
    Created created = create(model.get(), device(0));
    const Outcome outcome =
        created.session == nullptr ? created.outcome : generate(created.session.get());
    const bool struck_running = Mock::get(fault.name) == 0;
    if (outcome.status == BP_OK) {
      expect_right(outcome, when);
      tally->found_another_way += struck_running ? 1 : 0;
    } else {
      EXPECT_TRUE(struck_running) << when << ": " << outcome.text;
      Mock::set(fault.name, 0);
      ++tally->failed;
      expect_named(outcome, fault, when);
      if (created.session != nullptr) use_again(model.get(), &created.session, when);
      expect_right(use(model.get(), device(0)), when + ", a new session");
    }
    created.session.reset();
    model.reset();
    const bool struck = Mock::get(fault.name) == 0;
    Mock::set(fault.name, 0);
    ++tally->visited;
    tally->at_the_end += struck && !struck_running ? 1 : 0;
    EXPECT_EQ(Mock::live(), live_) << "left behind by " << when;
    EXPECT_EQ(Mock::get("misuse"), 0u) << "dead handle after " << when;
    EXPECT_EQ(Mock::get("overruns"), 0u) << when;
    expect_bystanders(when);
    return struck;
  }

  // How often that fault may strike in an undisturbed request.
  uint64_t count(const Fault& fault) {
    if (fault.is_cold) forget_kernels();
    Mock::set(fault.name, kMaxCalls);
    {
      const Model model = open_model();
      expect_right(use(model.get(), device(0)), "counting");
    }
    const uint64_t left = Mock::get(fault.name);
    Mock::set(fault.name, 0);
    return kMaxCalls - left;
  }

  Tally at_every_call(const Fault& fault) {
    const uint64_t calls = count(fault), stride = stride_of(fault);
    EXPECT_GT(calls, 0u);
    EXPECT_LT(calls, kMaxCalls);
    Tally tally;
    uint64_t n = 1;
    for (; n < kMaxCalls && visit(fault, n, &tally); n += stride) {
      if (HasFailure()) return tally;
    }
    // Polling may need a call more or less from run to run.
    EXPECT_NEAR(static_cast<double>(n), static_cast<double>(calls),
                static_cast<double>(stride + 8));
    std::printf(
        "%s%s: %llu calls, every %llu visited; %llu requests failed, %llu found another way, %llu "
        "were over\n",
        fault.name, fault.is_cold ? ", nothing kept" : "", static_cast<unsigned long long>(calls),
        static_cast<unsigned long long>(stride), static_cast<unsigned long long>(tally.failed),
        static_cast<unsigned long long>(tally.found_another_way),
        static_cast<unsigned long long>(tally.at_the_end));
    std::fflush(stdout);
    return tally;
  }

  static inline Bystanders* bystanders_ = nullptr;
  std::map<std::string, uint64_t> live_;  // when nothing but the bystanders is open
  uint64_t launches_per_pass_ = 0;
};

TEST_F(DeviceFault, every_allocation_may_be_refused) {
  const Tally tally = at_every_call({"fail_alloc", 2, {BP_EXHAUSTED}, "out of memory"});
  EXPECT_GT(tally.failed, 10u);
  if (!is_integrated() && !uses_library()) {
    EXPECT_EQ(tally.found_another_way, 0u);
  }
}

TEST_F(DeviceFault, every_compilation_may_fail) {
  const Tally tally =
      at_every_call({"fail_compile", 6, {BP_INCOMPATIBLE}, "does not compile", true});
  EXPECT_GT(tally.failed, 10u);
  if (!uses_library()) {
    EXPECT_EQ(tally.found_another_way, 0u);
  }
}

TEST_F(DeviceFault, fresh_code_may_fail_to_load) {
  const Tally tally =
      at_every_call({"fail_load", 200, {BP_INCOMPATIBLE}, "loading a module", true});
  EXPECT_GT(tally.failed, 10u);
  // Kernels of one text share what is kept, and the second to come finds it.
  if (!uses_library()) {
    EXPECT_LE(tally.found_another_way, 1u);
  }
}

TEST_F(DeviceFault, kept_code_that_does_not_load_is_compiled_anew) {
  const Tally tally = at_every_call({"fail_load", 200, {}, ""});
  EXPECT_EQ(tally.failed, 0u);
  EXPECT_GT(tally.found_another_way, 10u);
}

TEST_F(DeviceFault, every_launch_may_fail) {
  const Tally tally = at_every_call({"fail_launch", 701, {BP_EXHAUSTED}, "device 0"});
  EXPECT_GT(tally.failed, tally.found_another_way);
  // All launches of the one recorded pass, and none besides.
  if (!uses_library()) {
    EXPECT_LE(tally.found_another_way, launches_per_pass_);
  }
  EXPECT_GE(tally.found_another_way * stride_of({"fail_launch", 0, {}, ""}) + 1,
            launches_per_pass_);
}

// Where an event cannot be asked for, nobody can tell what has run: the device counts as lost.
TEST_F(DeviceFault, every_call_may_fail) {
  const Tally tally =
      at_every_call({"fail_call", 304, {BP_INTERNAL, BP_DEVICE_LOST}, "OS call failed"});
  EXPECT_GT(tally.failed, tally.visited / 3);
}

TEST_F(DeviceFault, the_device_may_be_lost_at_every_call) {
  const uint64_t compiled = Mock::get("compiled");
  const Tally tally = at_every_call({"lose_at", 700, {BP_DEVICE_LOST}, "illegal memory access"});
  EXPECT_GT(tally.failed, tally.visited / 2);
  EXPECT_LE(tally.found_another_way, backend() == "rocm" ? 1u : 0u);
  EXPECT_EQ(Mock::get("compiled"), compiled) << "kept code was thrown away";
}

// ---- while devices are looked for -----------------------------------------------------------

// That happens once in a process, so each fault gets one of its own: "outcome <status> <text>".
TEST(DeviceSearch, DISABLED_child) {
  Model model = open_model();
  Session cpu = create(model.get(), "cpu").session;
  ASSERT_NE(cpu, nullptr);
  const Tokens cpu_tokens = generate(cpu.get()).tokens;
  const Outcome first = use(model.get(), device(0));
  if (first.status != BP_OK) {
    EXPECT_FALSE(first.text.empty());
  }
  EXPECT_EQ(generate(cpu.get()).tokens, cpu_tokens);
  const Outcome second = use(model.get(), device(0));
  EXPECT_EQ(second.status, BP_OK) << second.text;
  if (first.status == BP_OK) {
    EXPECT_EQ(first.tokens, second.tokens);
  }
  cpu.reset();
  model.reset();
  EXPECT_EQ(Mock::live(), (std::map<std::string, uint64_t>()));
  if (HasFailure()) return;
  std::printf("outcome %d %s\n", first.status, first.text.c_str());
}

std::string ask_child(uint64_t n) {
  const std::string command = "BACKPLANE_MOCK_FAIL_CALL=" + std::to_string(n) + " '" +
                              std::filesystem::read_symlink("/proc/self/exe").string() +
                              "' --gtest_also_run_disabled_tests"
                              " --gtest_filter=DeviceSearch.DISABLED_child 2>&1";
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  std::string out;
  char line[1024];
  while (std::fgets(line, sizeof line, pipe) != nullptr) out += line;
  ::pclose(pipe);
  return out;
}

TEST(DeviceSearch, a_call_that_fails_is_told_and_the_next_request_finds_the_device) {
  // Of both devices, before one is opened; later calls belong to the request, see above.
  constexpr uint64_t kSearchCalls = 40;
  for (uint64_t n = 1; n < kSearchCalls && !HasFailure(); ++n) {
    const std::string out = ask_child(n);
    const size_t at = out.find("\noutcome ");
    ASSERT_NE(at, std::string::npos) << "fail_call " << n << ":\n" << out;
    const std::string outcome = out.substr(at + 1, out.find('\n', at + 1) - at - 1);
    EXPECT_NE(outcome.find("OS call failed"), std::string::npos) << n << ": " << outcome;
  }
}

}  // namespace
}  // namespace bp::device_faults
