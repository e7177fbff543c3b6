// SPDX-License-Identifier: Apache-2.0
// The registry: every check by name, in the order in which they run.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sdk/conformance/context.h"

namespace bp::conformance {

struct Check {
  // What has to be there: the plugin alone, an opened device, a kernel provider bound to it.
  enum class Needs { kPlugin, kDevice, kKernels };
  std::string name;  // "stream.fill.tail"
  Needs needs = Needs::kPlugin;
  std::string about;  // one line for --list
  std::function<Verdict(Context&)> run;
};

// All checks, always in the same order.
std::vector<Check> all_checks();

// Each file of checks adds its own.
void add_negotiation_checks(std::vector<Check>& out);
void add_device_checks(std::vector<Check>& out);
void add_memory_checks(std::vector<Check>& out);
void add_import_checks(std::vector<Check>& out);
void add_stream_checks(std::vector<Check>& out);
void add_timeline_checks(std::vector<Check>& out);
void add_capture_checks(std::vector<Check>& out);
void add_module_checks(std::vector<Check>& out);
void add_gemm_checks(std::vector<Check>& out);
void add_match_checks(std::vector<Check>& out);
void add_refusal_checks(std::vector<Check>& out);
void add_row_kernel_checks(std::vector<Check>& out);
void add_linear_kernel_checks(std::vector<Check>& out);
void add_expert_kernel_checks(std::vector<Check>& out);
void add_rope_kernel_checks(std::vector<Check>& out);
void add_attention_kernel_checks(std::vector<Check>& out);
void add_launch_checks(std::vector<Check>& out);
// Last: what must hold once everything else has run.
void add_closing_checks(std::vector<Check>& out);

}  // namespace bp::conformance
