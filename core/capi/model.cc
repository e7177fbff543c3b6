// SPDX-License-Identifier: Apache-2.0
// Opening and describing models.
#include "core/capi/boundary.h"
#include "core/capi/handles.h"

namespace {

using bp::capi::guard;
using bp::capi::view;

constexpr bp_model_options kDefaults = BP_MODEL_OPTIONS_INIT;

std::string_view text_of(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : text->string_view();
}

bp::Status finish_open(std::shared_ptr<const bp::ModelFile> file, const bp_model_options& options,
                       bp_model** out) {
  if (options.verify_digests != 0) BP_TRY(file->verify_digests());
  auto model = BP_TRY(bp::Model::create(std::move(file)));
  *out = new bp_model{std::move(model)};
  return {};
}

}  // namespace

extern "C" {

bp_status bp_model_open(const char* path, const bp_model_options* options, bp_model** out,
                        bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(path, "path"));
    BP_TRY(bp::capi::require(out, "out"));
    const bp_model_options read = BP_TRY(bp::capi::read_options(options, kDefaults));
    bp::OpenOptions open;
    open.copy_weights = read.copy_weights != 0;
    auto file = BP_TRY(bp::ModelFile::open(path, open));
    return finish_open(std::move(file), read, out).with_context("'{}'", path);
  });
}

bp_status bp_model_open_memory(const void* data, uint64_t bytes, const bp_model_options* options,
                               bp_model** out, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(data, "data"));
    BP_TRY(bp::capi::require(out, "out"));
    const bp_model_options read = BP_TRY(bp::capi::read_options(options, kDefaults));
    const std::span<const std::byte> span(static_cast<const std::byte*>(data), bytes);
    auto file = BP_TRY(bp::ModelFile::open_memory(span, nullptr));
    return finish_open(std::move(file), read, out);
  });
}

bp_status bp_model_open_reader(bp_read_fn read, void* user, uint64_t bytes,
                               const bp_model_options* options, bp_model** out, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(reinterpret_cast<const void*>(read), "read"));
    BP_TRY(bp::capi::require(out, "out"));
    const bp_model_options given = BP_TRY(bp::capi::read_options(options, kDefaults));
    const auto read_at = [&](uint64_t offset, std::span<std::byte> to) -> bp::Status {
      const bp_status status = read(user, offset, to.data(), to.size());
      if (status == BP_OK) return {};
      const bool known = status < BP_OK && status >= BP_INTERNAL;
      return bp::error(known ? static_cast<bp::Code>(status) : bp::Code::kUnavailable,
                       "the reader gave status {} for {} bytes at {}", status, to.size(), offset);
    };
    auto file = BP_TRY(bp::ModelFile::open_source(bytes, read_at));
    return finish_open(std::move(file), given, out);
  });
}

void bp_model_close(bp_model* model) {
  guard(nullptr, [&]() -> bp::Status {
    delete model;
    return {};
  });
}

bp_status bp_model_describe(const bp_model* model, bp_model_info* out, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(model, "model"));
    const bp::Model& m = *model->model;
    const bp::fb::Model& file = m.file().model();
    bp_model_info info{};
    info.has_tokenizer = m.text().tokenizer != nullptr ? 1 : 0;
    info.has_chat_template = m.text().has_template() ? 1 : 0;
    info.layers = static_cast<uint32_t>(m.hyper_parameters().layers());
    info.vocabulary = m.hyper_parameters().vocabulary();
    info.context_length = m.hyper_parameters().context_length();
    info.parameters = m.parameter_count();
    info.file_bytes = m.file().size_bytes();
    info.name = view(text_of(file.name()));
    info.architecture = view(text_of(file.architecture()));
    info.weights_format = view(text_of(file.weights_format()));
    info.licence = view(text_of(file.licence()));
    return bp::capi::write_output(out, info);
  });
}

}  // extern "C"
