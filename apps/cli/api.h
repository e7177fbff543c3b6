// SPDX-License-Identifier: Apache-2.0
// The C API with owners and Status, as the commands use it: nothing here that another program
// could not do through backplane.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/backplane.h"
#include "core/base/status.h"

namespace bp::cli {

// A status of the C API with its detail.
Status to_status(bp_status status, const bp_error& detail);

// Calls a C API function with a fresh error record as last argument.
template <typename... Params, typename... Args>
Status call(bp_status (*function)(Params...), Args... args) {
  bp_error detail = BP_ERROR_INIT;
  const bp_status status = function(args..., &detail);
  return to_status(status, detail);
}

struct CloseModel {
  void operator()(bp_model* model) const { bp_model_close(model); }
};
struct DestroySession {
  void operator()(bp_session* session) const { bp_session_destroy(session); }
};
using ModelHandle = std::unique_ptr<bp_model, CloseModel>;
using SessionHandle = std::unique_ptr<bp_session, DestroySession>;

inline bp_string view(std::string_view text) {
  return {text.data(), text.size()};
}
inline std::string_view view(const bp_string& text) {
  return {text.data, text.length};
}

Result<ModelHandle> open_model(const std::string& path);
Result<bp_model_info> describe(const bp_model* model);
Result<std::vector<int32_t>> tokenize(const bp_model* model, std::string_view text, uint32_t flags);
Result<std::vector<int32_t>> tokenize_chat(const bp_model* model, const bp_chat_request& request);
Result<std::string> detokenize(const bp_model* model, const std::vector<int32_t>& ids);
std::vector<int32_t> session_tokens(const bp_session* session);
// Where every step of the plan runs, a line each.
std::vector<std::string> explanation(const bp_session* session);

}  // namespace bp::cli
