// SPDX-License-Identifier: Apache-2.0
// The device that kernels are bound to: its tables, its limits, and calls that answer with a
// Status.
#pragma once

#include <string>
#include <string_view>

#include "backplane/plugin_glue.h"
#include "core/base/status.h"
#include "kernels/ir/caps.h"

namespace bp::kernels {

// What a device plugin answered, as a Status. `what` says what was tried.
inline Status status_from(bp_status status, const bp_error& detail, std::string_view what) {
  if (status == BP_OK) return {};
  const std::string_view text(detail.text, strnlen(detail.text, sizeof detail.text));
  Status out = error(static_cast<Code>(status), "{}: {}", what, text);
  out.set_native(detail.native);
  return out;
}

// Calls a slot with an error record as last argument.
template <typename... Params, typename... Args>
Status call(std::string_view what, bp_status (*slot)(Params...), Args... args) {
  bp_error detail = BP_ERROR_INIT;
  const bp_status status = slot(args..., &detail);
  return status_from(status, detail, what);
}

// Ends a slot of our own: the failure goes into the caller's record.
inline bp_status report(const Status& status, bp_error* error) {
  if (status.ok()) return BP_OK;
  return glue::fail_native(error, static_cast<bp_status>(status.code()), status.native(), "%.*s",
                           static_cast<int>(status.message().size()), status.message().data());
}

// Valid from bind to unbind. Immutable.
struct Device {
  const bp_host* host = nullptr;
  bp_device* handle = nullptr;
  const bp_memory_api* memory = nullptr;
  const bp_stream_api* stream = nullptr;
  const bp_module_api* module = nullptr;
  const bp_gemm_api* gemm = nullptr;  // null: a host that knows none
  Caps caps;
  uint64_t offset_alignment = 16;  // of a buffer argument
  uint64_t max_allocation_bytes = ~uint64_t{0};
  bool heap_is_mapped = false;    // the best heap is coherently visible to the host
  uint64_t import_alignment = 0;  // host memory is used in place at these addresses; 0: copied
  uint64_t max_grid[2] = {65535, 65535};
  uint64_t cache_bytes = 0;  // of the last level; 0: unknown
  std::string identity;      // name, architecture and driver, for what is kept on disk
};

}  // namespace bp::kernels
