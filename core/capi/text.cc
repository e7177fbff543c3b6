// SPDX-License-Identifier: Apache-2.0
// Tokenizer and chat template of a model.
#include <utility>

#include "core/capi/boundary.h"
#include "core/capi/handles.h"

namespace bp::capi {

Result<ChatInputs> chat_inputs_of(const bp_chat_request* request) {
  constexpr bp_chat_request kDefaults = BP_CHAT_REQUEST_INIT;
  BP_TRY(require(request, "request"));
  const bp_chat_request read = BP_TRY(read_options(request, kDefaults));
  ChatInputs inputs;
  inputs.add_generation_prompt = read.add_generation_prompt != 0;
  const auto messages = BP_TRY(read_text(read.messages.data, read.messages.length, "messages"));
  inputs.messages = BP_TRY(parse_chat_json(messages).with_context("messages"));
  if (!inputs.messages.is_array()) {
    return error(Code::kInvalidArgument, "messages are not a JSON list");
  }
  const auto tools = BP_TRY(read_text(read.tools.data, read.tools.length, "tools"));
  if (!tools.empty()) inputs.tools = BP_TRY(parse_chat_json(tools).with_context("tools"));
  const auto variables = BP_TRY(read_text(read.variables.data, read.variables.length, "variables"));
  if (!variables.empty()) {
    inputs.variables = BP_TRY(parse_chat_json(variables).with_context("variables"));
    if (!inputs.variables.is_object()) {
      return error(Code::kInvalidArgument, "variables are not a JSON object");
    }
  }
  return inputs;
}

}  // namespace bp::capi

namespace {

using bp::capi::guard;

// The two-call pattern: `*count` is the whole size, at most `capacity` elements are written.
template <typename T>
bp::Status give(std::span<const T> what, T* out, uint64_t capacity, uint64_t* count) {
  BP_TRY(bp::capi::require(count, "the size output"));
  if (capacity != 0) BP_TRY(bp::capi::require(out, "the output array"));
  std::copy_n(what.begin(), std::min<uint64_t>(capacity, what.size()), out);
  *count = what.size();
  return {};
}

}  // namespace

extern "C" {

bp_status bp_model_tokenize(const bp_model* model, const char* text, uint64_t length,
                            uint32_t flags, int32_t* ids, uint64_t capacity, uint64_t* count,
                            bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(model, "model"));
    const auto bytes = BP_TRY(bp::capi::read_text(text, length, "text"));
    bp::text::EncodeOptions options;
    if ((flags & BP_TEXT_NO_BOS) != 0) options.bos = bp::text::Affix::kNever;
    options.parse_special = (flags & BP_TEXT_PARSE_SPECIAL) != 0;
    const auto* tokenizer = BP_TRY(model->model->text().require_tokenizer());
    const std::vector<int32_t> result = BP_TRY(tokenizer->encode(bytes, options));
    return give<int32_t>(result, ids, capacity, count);
  });
}

bp_status bp_model_detokenize(const bp_model* model, const int32_t* ids, uint64_t count,
                              int32_t keep_special, char* text, uint64_t capacity, uint64_t* length,
                              bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(model, "model"));
    if (count != 0) BP_TRY(bp::capi::require(ids, "ids"));
    const auto* tokenizer = BP_TRY(model->model->text().require_tokenizer());
    const std::string result = BP_TRY(tokenizer->decode({ids, count}, keep_special == 0));
    return give<char>(result, text, capacity, length);
  });
}

bp_status bp_model_apply_template(const bp_model* model, const bp_chat_request* request, char* text,
                                  uint64_t capacity, uint64_t* length, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(model, "model"));
    bp::ChatInputs inputs = BP_TRY(bp::capi::chat_inputs_of(request));
    const bp::RenderedPrompt prompt = BP_TRY(model->model->text().render(std::move(inputs)));
    return give<char>(prompt.text, text, capacity, length);
  });
}

bp_status bp_model_tokenize_chat(const bp_model* model, const bp_chat_request* request,
                                 int32_t* ids, uint64_t capacity, uint64_t* count,
                                 bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(model, "model"));
    bp::ChatInputs inputs = BP_TRY(bp::capi::chat_inputs_of(request));
    const std::vector<int32_t> result = BP_TRY(model->model->text().tokenize(std::move(inputs)));
    return give<int32_t>(result, ids, capacity, count);
  });
}

}  // extern "C"
