// SPDX-License-Identifier: Apache-2.0
// Qwen3-MoE: Qwen3 whose feed-forward blocks are mixtures of experts, but for some layers.
#include <algorithm>

#include "compiler/architectures/architecture.h"
#include "compiler/architectures/gguf_config.h"
#include "compiler/architectures/hf_config.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"qwen3_moe"};
constexpr std::string_view kGgufTypes[] = {"qwen3moe"};

bool always(const Json&, uint64_t) {
  return true;
}

void name_experts(TensorNames& names) {
  names.q_norm = "self_attn.q_norm";
  names.k_norm = "self_attn.k_norm";
  names.router = "mlp.gate";
  names.stacked_gate_up = "mlp.experts.gate_up_proj";
  names.stacked_down = "mlp.experts.down_proj";
  names.expert_gate = "mlp.experts.{}.gate_proj.weight";
  names.expert_up = "mlp.experts.{}.up_proj.weight";
  names.expert_down = "mlp.experts.{}.down_proj.weight";
}

// Layers that stay dense are listed, or all but each decoder_sparse_step-th are.
Status mark_layers(const Json& config, DecoderSpec* spec) {
  const uint64_t step = BP_TRY(json_u64_or(config, "decoder_sparse_step", 1));
  if (step == 0) return error(Code::kCorrupt, "decoder_sparse_step is 0");
  for (uint64_t i = 0; i < spec->layers.size(); ++i) {
    spec->layers[i].experts = spec->experts > 0 && (i + 1) % step == 0;
  }
  const Json* dense = json_find(config, "mlp_only_layers");
  if (dense == nullptr) return {};
  if (!dense->is_array()) return error(Code::kCorrupt, "mlp_only_layers is no list");
  for (const Json& item : *dense) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() >= spec->layers.size()) {
      return error(Code::kCorrupt, "mlp_only_layers names a layer that does not exist");
    }
    spec->layers[item.get<uint64_t>()].experts = false;
  }
  return {};
}

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  HfDefaults defaults;
  defaults.context_length = 32768;
  DecoderSpec spec = BP_TRY(read_hf_decoder("qwen3_moe", config, source, defaults));
  name_experts(spec.names);
  const char* count_key = config.contains("num_experts") ? "num_experts" : "num_local_experts";
  spec.experts = BP_TRY(json_u64_or(config, count_key, 128));
  spec.experts_used = BP_TRY(json_u64_or(config, "num_experts_per_tok", 8));
  spec.expert_ffn_dim = BP_TRY(json_u64_or(config, "moe_intermediate_size", 768));
  spec.normalize_experts = BP_TRY(json_bool_or(config, "norm_topk_prob", false));
  BP_TRY(mark_layers(config, &spec));
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 10000)));
  if (BP_TRY(json_bool_or(config, "use_sliding_window", false))) {
    const uint64_t window = BP_TRY(json_u64_or(config, "sliding_window", 4096));
    BP_TRY(read_hf_windows(config, window, always, &spec));
  }
  return spec;
}

Result<DecoderSpec> from_gguf(const GgufMetadata& metadata, const TensorSource& source) {
  const GgufConfig config(metadata, "qwen3moe");
  DecoderSpec spec = BP_TRY(read_gguf_decoder("qwen3_moe", config, source));
  spec.names.q_norm = "attn_q_norm";
  spec.names.k_norm = "attn_k_norm";
  BP_TRY(read_gguf_experts(config, &spec));
  // GGUF does not say which layers are dense; their tensors do.
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    spec.layers[i].experts =
        source.find("blk." + std::to_string(i) + ".ffn_gate_inp.weight").has_value();
  }
  spec.ropes.push_back(BP_TRY(read_gguf_rope(config, source, spec)));
  return spec;
}

}  // namespace

const Architecture kQwen3Moe = {"qwen3_moe", "Qwen3-MoE", kHfTypes, kGgufTypes, from_hf, from_gguf};

}  // namespace bp::compiler
