// SPDX-License-Identifier: Apache-2.0
// Mistral 7B and successors: Llama with a sliding window, which newer versions set to null. Its
// GGUF files call themselves "llama".
#include "compiler/architectures/architecture.h"
#include "compiler/architectures/hf_config.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"mistral"};

bool always(const Json&, uint64_t) {
  return true;
}

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  HfDefaults defaults;
  defaults.context_length = 4096 * 32;
  DecoderSpec spec = BP_TRY(read_hf_decoder("mistral", config, source, defaults));
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 10000)));
  // Absent is not null here: the first Mistral left its window of 4096 to the default.
  const bool null_window =
      config.contains("sliding_window") && json_find(config, "sliding_window") == nullptr;
  const uint64_t window = null_window ? 0 : BP_TRY(json_u64_or(config, "sliding_window", 4096));
  BP_TRY(read_hf_windows(config, window, always, &spec));
  return spec;
}

}  // namespace

const Architecture kMistral = {"mistral", "Mistral", kHfTypes, {}, from_hf, nullptr};

}  // namespace bp::compiler
