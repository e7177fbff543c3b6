// SPDX-License-Identifier: Apache-2.0
#include "compiler/architectures/architecture.h"

#include <algorithm>
#include <array>

namespace bp::compiler {

std::span<const Architecture* const> architectures() {
  static constexpr std::array<const Architecture*, 9> kAll = {
      &kGemma2, &kGemma3, &kLlama, &kMistral, &kMixtral, &kPhi3, &kQwen2, &kQwen3, &kQwen3Moe};
  return kAll;
}

std::string architecture_names() {
  std::string names;
  for (const Architecture* architecture : architectures()) {
    if (!names.empty()) names += ", ";
    names += architecture->name;
  }
  return names;
}

Result<const Architecture*> find_hf_architecture(const Json& config) {
  const std::string type = BP_TRY(json_string(config, "model_type").with_context("config.json"));
  for (const Architecture* architecture : architectures()) {
    if (architecture->from_hf == nullptr) continue;
    if (std::ranges::find(architecture->hf_types, type) != architecture->hf_types.end()) {
      return architecture;
    }
  }
  return error(Code::kUnimplemented, "model_type '{}' is not supported; supported are {}", type,
               architecture_names());
}

Result<const Architecture*> find_gguf_architecture(const GgufMetadata& metadata) {
  const std::string type = BP_TRY(metadata.get_string("general.architecture"));
  for (const Architecture* architecture : architectures()) {
    if (architecture->from_gguf == nullptr) continue;
    if (std::ranges::find(architecture->gguf_types, type) != architecture->gguf_types.end()) {
      return architecture;
    }
  }
  return error(Code::kUnimplemented,
               "the GGUF architecture '{}' is not supported; supported are {}", type,
               architecture_names());
}

}  // namespace bp::compiler
