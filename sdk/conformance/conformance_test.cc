// SPDX-License-Identifier: Apache-2.0
// The program on plugins with known faults: each fault has to fail the check that is about it. The
// same plugin without a fault passes, so it is the fault that fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sdk/conformance/report.h"

namespace bp::conformance {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

const char* const kFaulty = BP_CONFORMANCE_DIR "/faulty.plugin.json";
const char* const kNull = BP_BINARY_DIR "/tests/null/null.plugin.json";

struct Execution {
  int exit_code = -1;
  std::string out;
  Json report() const { return Json::parse(out, nullptr, false); }
};

Execution run(const std::string& arguments, const std::string& fault = "") {
  ::setenv("BACKPLANE_TEST_FAULT", fault.c_str(), 1);
  // Huge allocations are meant to fail, under AddressSanitizer as well.
  ::setenv("ASAN_OPTIONS", "allocator_may_return_null=1:detect_leaks=0", 1);
  Execution out;
  const std::string command = BP_CONFORMANCE_PROGRAM " " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return out;
  std::array<char, 4096> chunk;
  for (size_t bytes; (bytes = std::fread(chunk.data(), 1, chunk.size(), pipe)) > 0;) {
    out.out.append(chunk.data(), bytes);
  }
  const int status = ::pclose(pipe);
  out.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}

// The report of a run, through a file, so that log messages do not mix with it.
Json report_of(const std::string& arguments, const std::string& fault, int* exit_code) {
  const std::string path = ::testing::TempDir() + "conformance-" + std::to_string(::getpid());
  const Execution done = run(arguments + " --json " + path, fault);
  *exit_code = done.exit_code;
  std::ifstream file(path);
  Json out = Json::parse(file, nullptr, false);
  std::filesystem::remove(path);
  if (out.is_discarded()) ADD_FAILURE() << "no report: " << done.out;
  return out;
}

// Status and detail of a check on any device, "absent" when it did not run.
std::pair<std::string, std::string> check_of(const Json& report, const std::string& name) {
  std::vector<Json> lists = {report.value("checks", Json::array())};
  for (const Json& device : report.value("devices", Json::array())) {
    lists.push_back(device.value("checks", Json::array()));
  }
  for (const Json& list : lists) {
    for (const Json& check : list) {
      if (check.value("name", "") == name) {
        return {check.value("status", ""), check.value("detail", "")};
      }
    }
  }
  return {"absent", ""};
}

struct Fault {
  const char* name;
  const char* check;   // that has to fail
  const char* detail;  // a part of what it says
};

constexpr Fault kFaults[] = {
    {"invents_interfaces", "negotiation.interface.unknown", "answered with a table"},
    {"ignores_struct_size", "device.sizes", "wrote behind a caller's"},
    {"shares_buffers", "memory.alloc", "a buffer of"},
    {"reports_internal", "memory.alloc.refused", "got INTERNAL, expected EXHAUSTED"},
    {"forgets_read_only", "memory.import.file", ""},
    {"leaks_buffers", "device.open", "close"},
    {"ignores_copy_offset", "stream.copy", "after a copy"},
    {"crashes", "stream.read", "died of signal"},
    {"drops_fill_tail", "stream.fill", "after a fill"},
    {"never_signals", "timeline.rises", "time was up"},
    {"waits_for_ever", "timeline.deadline", "hung"},
    {"ignores_waits", "timeline.early_wait", "before its wait was over"},
    {"returns_wrong_numbers", "gemm.products", "instead of"},
    {"forgets_gemm_strides", "gemm.products", "none of the product's"},
    {"multiplies_all_tokens", "gemm.shorter", "none of the product's"},
    {"multiplies_anything", "gemm.refused", "0 tokens"},
    {"binds_to_anything", "kernels.bind.foreign", "got OK, expected INCOMPATIBLE"},
    {"claims_everything", "kernels.refuses.names", "an unknown op is claimed"},
    {"claims_everything", "kernels.refuses.operands", "is claimed"},
    {"claims_everything", "kernels.refuses.shapes", "is claimed"},
    {"forgets_strides", "kernels.match.strides", "answered differently"},
    {"claims_copied_weights", "kernels.linear.q4_g32", "linear q4_g32"},
    {"claims_copied_weights", "kernels.embed.f16", "embed f16"},
    {"ignores_operand_offset", "kernels.linear.f32", "before the first operand"},
    {"writes_past_output", "kernels.rms_norm", "0 bytes behind the end of output 0"},
    {"writes_into_input", "kernels.gather_rows", "inside input 0"},
    {"returns_wrong_numbers", "kernels.linear.q6_k", "expected"},
    {"returns_wrong_numbers", "kernels.linear_glu.mxfp4", "expected"},
    {"returns_wrong_numbers", "kernels.moe_linear.f16", "expected"},
    {"returns_wrong_numbers", "kernels.embed.q4_k", "expected"},
    {"returns_wrong_numbers", "kernels.attention.f16", "expected"},
    {"returns_wrong_numbers", "kernels.rope_kv_write.bf16", "expected"},
    {"returns_wrong_numbers", "kernels.moe_route", "expected"},
    {"returns_noise", "kernels.rms_norm", "claimed to be deterministic"},
};

std::string exactly(const std::string& name) {
  std::string out = "^";
  for (const char c : name) out += c == '.' ? std::string("[.]") : std::string(1, c);
  return out + "$";
}

class Faults : public ::testing::TestWithParam<Fault> {};

TEST_P(Faults, fail_the_check_that_is_about_them) {
  const Fault& fault = GetParam();
  const std::string arguments =
      std::string(kFaulty) + " --quick --timeout 1 --filter '" + exactly(fault.check) + "'";
  int exit_code = -1;
  const Json report = report_of(arguments, fault.name, &exit_code);
  const auto [status, detail] = check_of(report, fault.check);
  EXPECT_EQ(status, "fail") << detail;
  std::string wanted = fault.detail;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  // A sanitizer reports the crash and ends the process itself.
  if (wanted == "died of signal") wanted = "in the middle of it";
#endif
  EXPECT_THAT(detail, HasSubstr(wanted));
  EXPECT_EQ(exit_code, 1);
}

TEST_P(Faults, are_what_fails_it) {
  const Fault& fault = GetParam();
  const std::string arguments =
      std::string(kFaulty) + " --quick --filter '" + exactly(fault.check) + "'";
  int exit_code = -1;
  const Json report = report_of(arguments, "", &exit_code);
  const auto [status, detail] = check_of(report, fault.check);
  EXPECT_EQ(status, "pass") << detail;
  EXPECT_EQ(exit_code, 0);
}

INSTANTIATE_TEST_SUITE_P(All, Faults, ::testing::ValuesIn(kFaults), [](const auto& test) {
  std::string name = std::string(test.param.name) + "_" + test.param.check;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return name;
});

// What the table of tolerances allows is not failed, whatever the seed.
class Roundings : public ::testing::TestWithParam<const char*> {};

TEST_P(Roundings, of_activations_are_within_the_bounds) {
  for (const int seed : {1, 2}) {
    int exit_code = -1;
    const Json report = report_of(
        std::string(kFaulty) + " --quick --filter 'linear' --seed " + std::to_string(seed),
        GetParam(), &exit_code);
    EXPECT_EQ(report["summary"]["fail"], 0) << report.dump(1);
    EXPECT_EQ(exit_code, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Roundings,
                         ::testing::Values("rounds_to_int8", "rounds_to_int8_by_256",
                                           "rounds_to_bf16"));

TEST(Program, goes_on_after_a_crash) {
  int exit_code = -1;
  const Json report =
      report_of(std::string(kFaulty) + " --quick --filter '^stream[.](read|order|copy)$'",
                "crashes", &exit_code);
  EXPECT_EQ(check_of(report, "stream.read").first, "fail");
  EXPECT_EQ(check_of(report, "stream.copy").first, "pass");
  EXPECT_EQ(check_of(report, "stream.order").first, "pass");
  EXPECT_EQ(exit_code, 1);
}

TEST(Program, certifies_the_template) {
  int exit_code = -1;
  const Json report = report_of(kNull, "", &exit_code);
  EXPECT_EQ(exit_code, 0) << report.dump(1);
  EXPECT_EQ(report["plugin"], "null");
  EXPECT_EQ(report["summary"]["fail"], 0);
  EXPECT_EQ(report["devices"][0]["id"], "null:0");
  EXPECT_GT(report["summary"]["pass"], 25);
}

TEST(Program, says_when_the_machine_cannot_run_the_plugin) {
  const Execution plain = run(kFaulty, "has_no_driver");
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_THAT(plain.out, HasSubstr("skipped: the plugin cannot run on this machine"));
  EXPECT_THAT(plain.out, HasSubstr("libnobody.so.1 is absent"));
  EXPECT_EQ(run(std::string(kFaulty) + " --require-usable", "has_no_driver").exit_code, 1);
}

TEST(Program, counts_coverage_by_op_and_format) {
  int exit_code = -1;
  const Json report = report_of(
      std::string(kFaulty) + " --quick --filter '^kernels[.]embed[.]q4_k$'", "", &exit_code);
  ASSERT_EQ(report["coverage"].size(), 1u) << report.dump(1);
  const Json& row = report["coverage"][0];
  EXPECT_EQ(row["op"], "embed");
  EXPECT_EQ(row["format"], "q4_k");
  EXPECT_EQ(row["claimed"], row["asked"]);
  EXPECT_GT(row["runs"], row["claimed"]);
}

TEST(Program, writes_json_alone_to_stdout) {
  const Execution done = run(std::string(kNull) + " --json - --filter '^device'");
  EXPECT_EQ(done.exit_code, 0);
  EXPECT_TRUE(done.report().is_object()) << done.out;
}

TEST(Program, refuses_wrong_usage) {
  EXPECT_EQ(run("").exit_code, 2);
  EXPECT_EQ(run("/nowhere/x.plugin.json").exit_code, 2);
  EXPECT_EQ(run(std::string(kNull) + " --filter '('").exit_code, 2);
  EXPECT_EQ(run(std::string(kNull) + " --filter no_check_is_called_this").exit_code, 2);
  EXPECT_EQ(run(std::string(kNull) + " --unknown").exit_code, 2);
  EXPECT_EQ(run("--help").exit_code, 0);
  EXPECT_THAT(run("--list").out, HasSubstr("kernels.attention.bf16"));
}

}  // namespace
}  // namespace bp::conformance
