// SPDX-License-Identifier: Apache-2.0
// The table of model families. Each has a file here that reads its settings from a Hugging Face
// config.json, from GGUF metadata, or both.
//
// Nothing that changes the maths is ignored: a setting with a value that is not implemented is
// UNIMPLEMENTED and named, a missing or impossible one CORRUPT. An unknown family is UNIMPLEMENTED
// with the list of those that are known.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "compiler/architectures/decoder.h"
#include "compiler/import/gguf/gguf_metadata.h"
#include "compiler/import/json.h"
#include "compiler/import/tensor_source.h"

namespace bp::compiler {

struct Architecture {
  std::string_view name;
  std::string_view title;                        // "Llama 2, 3, 3.1, 3.2"
  std::span<const std::string_view> hf_types;    // values of config.json's model_type
  std::span<const std::string_view> gguf_types;  // values of general.architecture
  // `source` for facts that only tensors tell (stored types, rotary factors); no tensor is checked.
  Result<DecoderSpec> (*from_hf)(const Json& config, const TensorSource& source);
  Result<DecoderSpec> (*from_gguf)(const GgufMetadata& metadata, const TensorSource& source);
};

extern const Architecture kGemma2, kGemma3, kLlama, kMistral, kMixtral, kPhi3, kQwen2, kQwen3,
    kQwen3Moe;

// Every family, by name.
std::span<const Architecture* const> architectures();

// The family of a checkpoint. Reads the settings only, so an unknown one is refused at once.
Result<const Architecture*> find_hf_architecture(const Json& config);
Result<const Architecture*> find_gguf_architecture(const GgufMetadata& metadata);

// "gemma2, gemma3, …", for messages.
std::string architecture_names();

}  // namespace bp::compiler
