// SPDX-License-Identifier: Apache-2.0
// Mixtral: Mistral whose feed-forward blocks are mixtures of experts. Its GGUF files call
// themselves "llama".
#include "compiler/architectures/architecture.h"
#include "compiler/architectures/hf_config.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"mixtral"};

bool always(const Json&, uint64_t) {
  return true;
}

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  HfDefaults defaults;
  defaults.context_length = 4096 * 32;
  defaults.norm_eps = 1e-5;
  DecoderSpec spec = BP_TRY(read_hf_decoder("mixtral", config, source, defaults));
  // Published checkpoints have the block under its old name, transformers 5 in memory the new one.
  const bool old_names = source.find("model.layers.0.block_sparse_moe.gate.weight").has_value();
  const std::string block = old_names ? "block_sparse_moe" : "mlp";
  TensorNames& names = spec.names;
  names.router = block + ".gate";
  names.stacked_gate_up = block + ".experts.gate_up_proj";
  names.stacked_down = block + ".experts.down_proj";
  names.expert_gate = block + ".experts.{}.w1.weight";
  names.expert_down = block + ".experts.{}.w2.weight";
  names.expert_up = block + ".experts.{}.w3.weight";
  const char* count_key =
      config.contains("num_local_experts") ? "num_local_experts" : "num_experts";
  spec.experts = BP_TRY(json_u64_or(config, count_key, 8));
  spec.experts_used = BP_TRY(json_u64_or(config, "num_experts_per_tok", 2));
  spec.expert_ffn_dim = spec.ffn_dim;
  for (LayerSpec& layer : spec.layers) layer.experts = true;
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 1e6)));
  BP_TRY(read_hf_windows(config, BP_TRY(json_u64_or(config, "sliding_window", 0)), always, &spec));
  return spec;
}

}  // namespace

const Architecture kMixtral = {"mixtral", "Mixtral", kHfTypes, {}, from_hf, nullptr};

}  // namespace bp::compiler
