// SPDX-License-Identifier: Apache-2.0
// Full-size copies of the tables that plugins hand out. A slot that a plugin does not have, since
// it is older or left it NULL, becomes a stub that returns UNIMPLEMENTED, so no
// call site ever tests for null.
#pragma once

#include "backplane/plugin.h"
#include "core/base/status.h"

namespace bp {

// Fills `out` from `table`, which may be shorter, longer or null (then every slot is a stub).
// CORRUPT when its size field cannot be the size of such a table.
Status copy_table(const void* table, bp_plugin_api* out);
Status copy_table(const void* table, bp_device_api* out);
Status copy_table(const void* table, bp_memory_api* out);
Status copy_table(const void* table, bp_stream_api* out);
Status copy_table(const void* table, bp_module_api* out);
Status copy_table(const void* table, bp_kernel_api* out);
Status copy_table(const void* table, bp_gemm_api* out);
Status copy_table(const void* table, bp_tune_api* out);

// A status and error record that came from a plugin, as a Status. `who` and `what` say where.
// Codes that this host does not know become INTERNAL; text that is not NUL-ended is cut.
Status status_from_plugin(bp_status status, const bp_error& detail, std::string_view who,
                          std::string_view what);

// Calls a slot with a fresh error record as last argument and turns the answer into a Status.
template <typename... Params, typename... Args>
Status call_plugin(std::string_view who, std::string_view what, bp_status (*slot)(Params...),
                   Args... args) {
  bp_error detail = BP_ERROR_INIT;
  const bp_status status = slot(args..., &detail);
  if (status == BP_OK) return {};
  return status_from_plugin(status, detail, who, what);
}

}  // namespace bp
