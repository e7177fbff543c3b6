// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/check.h"

namespace bp::conformance {

std::vector<Check> all_checks() {
  std::vector<Check> out;
  add_negotiation_checks(out);
  add_device_checks(out);
  add_memory_checks(out);
  add_import_checks(out);
  add_stream_checks(out);
  add_timeline_checks(out);
  add_capture_checks(out);
  add_module_checks(out);
  add_gemm_checks(out);
  add_match_checks(out);
  add_refusal_checks(out);
  add_row_kernel_checks(out);
  add_linear_kernel_checks(out);
  add_expert_kernel_checks(out);
  add_rope_kernel_checks(out);
  add_attention_kernel_checks(out);
  add_launch_checks(out);
  add_closing_checks(out);
  return out;
}

}  // namespace bp::conformance
