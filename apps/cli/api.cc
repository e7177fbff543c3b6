// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/api.h"

#include <cstring>

namespace bp::cli {

Status to_status(bp_status status, const bp_error& detail) {
  if (status == BP_OK) return {};
  return Status(static_cast<Code>(status), detail.text);
}

Result<ModelHandle> open_model(const std::string& path) {
  bp_model* model = nullptr;
  BP_TRY(call(bp_model_open, path.c_str(), static_cast<const bp_model_options*>(nullptr), &model));
  return ModelHandle(model);
}

Result<bp_model_info> describe(const bp_model* model) {
  bp_model_info info{};
  info.size = sizeof(info);
  BP_TRY(call(bp_model_describe, model, &info));
  return info;
}

Result<std::vector<int32_t>> tokenize(const bp_model* model, std::string_view text,
                                      uint32_t flags) {
  // One token has at least one byte, but prefix tokens come on top.
  std::vector<int32_t> ids(text.size() + 64);
  uint64_t count = 0;
  BP_TRY(call(bp_model_tokenize, model, text.data(), uint64_t{text.size()}, flags, ids.data(),
              uint64_t{ids.size()}, &count));
  if (count > ids.size()) {
    ids.resize(count);
    BP_TRY(call(bp_model_tokenize, model, text.data(), uint64_t{text.size()}, flags, ids.data(),
                uint64_t{ids.size()}, &count));
  }
  ids.resize(count);
  return ids;
}

Result<std::vector<int32_t>> tokenize_chat(const bp_model* model, const bp_chat_request& request) {
  uint64_t count = 0;
  BP_TRY(call(bp_model_tokenize_chat, model, &request, static_cast<int32_t*>(nullptr), uint64_t{0},
              &count));
  std::vector<int32_t> ids(count);
  BP_TRY(call(bp_model_tokenize_chat, model, &request, ids.data(), uint64_t{ids.size()}, &count));
  ids.resize(std::min<uint64_t>(count, ids.size()));
  return ids;
}

Result<std::string> detokenize(const bp_model* model, const std::vector<int32_t>& ids) {
  uint64_t length = 0;
  BP_TRY(call(bp_model_detokenize, model, ids.data(), uint64_t{ids.size()}, int32_t{0},
              static_cast<char*>(nullptr), uint64_t{0}, &length));
  std::string text(length, '\0');
  BP_TRY(call(bp_model_detokenize, model, ids.data(), uint64_t{ids.size()}, int32_t{0}, text.data(),
              uint64_t{text.size()}, &length));
  return text;
}

std::vector<int32_t> session_tokens(const bp_session* session) {
  const int32_t* ids = nullptr;
  uint64_t count = 0;
  if (bp_session_tokens(session, &ids, &count, nullptr) != BP_OK) return {};
  return {ids, ids + count};
}

std::vector<std::string> explanation(const bp_session* session) {
  std::vector<std::string> lines;
  bp_session_explain(
      session,
      [](void* user, const char* text, uint64_t length) {
        static_cast<std::vector<std::string>*>(user)->emplace_back(text, length);
      },
      &lines, nullptr);
  return lines;
}

}  // namespace bp::cli
