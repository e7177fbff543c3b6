// SPDX-License-Identifier: Apache-2.0
#include "compiler/architectures/gguf_config.h"

#include <cmath>

#include "compiler/architectures/rotary.h"
#include "core/base/limits.h"

namespace bp::compiler {
namespace {

// A vector of `count` positive factors.
Result<std::vector<float>> read_factors(const TensorSource& source, size_t index, uint64_t count) {
  const SourceTensor& tensor = source.tensors()[index];
  if (tensor.elements() != count || tensor.rows() != 1) {
    return error(Code::kCorrupt, "tensor '{}' has {} elements instead of {}", tensor.name,
                 tensor.elements(), count);
  }
  std::vector<float> factors(count);
  BP_TRY(source.dequantize_rows(index, 0, 1, factors));
  for (const float factor : factors) {
    if (!(std::isfinite(factor) && factor > 0)) {
      return error(Code::kCorrupt, "tensor '{}' holds the rope factor {}", tensor.name, factor);
    }
  }
  return factors;
}

Result<Rope> read_long(const GgufConfig& config, const TensorSource& source,
                       const DecoderSpec& spec, double base) {
  const auto long_index = source.find("rope_factors_long.weight");
  const auto short_index = source.find("rope_factors_short.weight");
  if (!long_index.has_value() || !short_index.has_value()) {
    return error(Code::kCorrupt, "only one of rope_factors_long and rope_factors_short is there");
  }
  LongScaling scaling;
  scaling.long_factors = BP_TRY(read_factors(source, *long_index, spec.rotary_dim / 2));
  scaling.short_factors = BP_TRY(read_factors(source, *short_index, spec.rotary_dim / 2));
  scaling.attention_factor = BP_TRY(config.f64_or("rope.scaling.attn_factor", 1));
  scaling.long_from =
      BP_TRY(config.u64_or("rope.scaling.original_context_length", spec.context_length));
  return long_rope(spec.rotary_dim, base, scaling);
}

// A setting that other files give per layer.
Status refuse_array(const GgufConfig& config, std::string_view leaf) {
  const GgufValue* value = config.metadata().find(config.key(leaf));
  if (value == nullptr || !value->is_array) return {};
  return error(Code::kUnimplemented, "'{}' differs from layer to layer, which is not implemented",
               config.key(leaf));
}

}  // namespace

Result<double> GgufConfig::f64_or(std::string_view leaf, double fallback) const {
  const double value = BP_TRY(metadata_.get_f64_or(key(leaf), fallback));
  if (std::isfinite(value) && value >= 0) return value;
  return error(Code::kCorrupt, "'{}' is {}", key(leaf), value);
}

TensorNames gguf_names() {
  TensorNames names;
  names.embedding = "token_embd";
  names.final_norm = "output_norm";
  names.output = "output";
  names.layer = "blk.{}.";
  names.attention_norm = "attn_norm";
  names.q = "attn_q";
  names.k = "attn_k";
  names.v = "attn_v";
  names.qkv = "attn_qkv";
  names.attention_output = "attn_output";
  names.ffn_norm = "ffn_norm";
  names.gate = "ffn_gate";
  names.up = "ffn_up";
  names.down = "ffn_down";
  names.router = "ffn_gate_inp";
  names.stacked_gate = "ffn_gate_exps.weight";
  names.stacked_up = "ffn_up_exps.weight";
  names.stacked_gate_up = "ffn_gate_up_exps.weight";
  names.stacked_down = "ffn_down_exps.weight";
  names.expert_gate = "ffn_gate.{}.weight";
  names.expert_up = "ffn_up.{}.weight";
  names.expert_down = "ffn_down.{}.weight";
  // Read as settings, not as weights.
  names.ignored_prefixes = {"rope_freqs.weight", "rope_factors_long.weight",
                            "rope_factors_short.weight"};
  return names;
}

Result<DecoderSpec> read_gguf_decoder(std::string_view architecture, const GgufConfig& config,
                                      const TensorSource& source) {
  for (const std::string_view leaf :
       {"attention.head_count", "attention.head_count_kv", "feed_forward_length"}) {
    BP_TRY(refuse_array(config, leaf));
  }
  DecoderSpec spec;
  spec.architecture = architecture;
  spec.names = gguf_names();
  const auto embedding = source.find("token_embd.weight");
  if (!embedding.has_value()) {
    return error(Code::kCorrupt, "the file has no tensor 'token_embd.weight'");
  }
  spec.vocabulary = source.tensors()[*embedding].rows();
  spec.dim = BP_TRY(config.u64("embedding_length"));
  spec.ffn_dim = BP_TRY(config.u64_or("feed_forward_length", 0));
  spec.heads = BP_TRY(config.u64("attention.head_count"));
  spec.kv_heads = BP_TRY(config.u64_or("attention.head_count_kv", spec.heads));
  if (spec.heads == 0) return error(Code::kCorrupt, "attention.head_count is 0");
  spec.head_dim = BP_TRY(config.u64_or("attention.key_length", spec.dim / spec.heads));
  const uint64_t value_length = BP_TRY(config.u64_or("attention.value_length", spec.head_dim));
  if (value_length != spec.head_dim) {
    return error(Code::kUnimplemented, "values of {} elements beside keys of {} in a head",
                 value_length, spec.head_dim);
  }
  spec.rotary_dim = BP_TRY(config.u64_or("rope.dimension_count", spec.head_dim));
  spec.context_length = BP_TRY(config.u64("context_length"));
  spec.norm_eps = BP_TRY(config.f64_or("attention.layer_norm_rms_epsilon", 1e-5));
  if (spec.head_dim == 0) return error(Code::kCorrupt, "attention.key_length is 0");
  spec.attention_scale =
      BP_TRY(config.f64_or("attention.scale", 1 / std::sqrt(static_cast<double>(spec.head_dim))));
  const uint64_t layers = BP_TRY(config.u64("block_count"));
  if (layers == 0 || layers > limits::kMaxLayers) {
    return error(Code::kCorrupt, "block_count is {}, outside 1 … {}", layers, limits::kMaxLayers);
  }
  spec.layers.resize(layers);
  spec.tied_output = !source.find("output.weight").has_value();
  return spec;
}

Result<Rope> read_gguf_rope(const GgufConfig& config, const TensorSource& source,
                            const DecoderSpec& spec) {
  const double base = BP_TRY(config.f64_or("rope.freq_base", 10000));
  if (base <= 0) return error(Code::kCorrupt, "rope.freq_base is {}", base);
  if (spec.rotary_dim < 2 || spec.rotary_dim % 2 != 0) {
    return error(Code::kCorrupt, "{} elements of a head cannot be rotated in pairs",
                 spec.rotary_dim);
  }
  const std::string type = BP_TRY(config.string_or("rope.scaling.type", "none"));
  if (source.find("rope_factors_long.weight").has_value() ||
      source.find("rope_factors_short.weight").has_value()) {
    return read_long(config, source, spec, base);
  }
  // rope.scale_linear is what files had before rope.scaling came.
  double factor = BP_TRY(config.f64_or("rope.scale_linear", 1));
  if (type == "linear") {
    factor = BP_TRY(config.f64_or("rope.scaling.factor", factor));
  } else if (type != "none" && !(type == "longrope" || type == "")) {
    return error(Code::kUnimplemented, "the rope scaling '{}' is not implemented", type);
  }
  if (factor <= 0) return error(Code::kCorrupt, "the rope scaling factor is {}", factor);
  Rope rope = linear_rope(spec.rotary_dim, base, factor);
  if (const auto index = source.find("rope_freqs.weight"); index.has_value()) {
    const auto factors = BP_TRY(read_factors(source, *index, spec.rotary_dim / 2));
    divide_frequencies(rope, factors);
  }
  rope.attention_factor = static_cast<float>(BP_TRY(config.f64_or("rope.scaling.attn_factor", 1)));
  return rope;
}

Status read_gguf_experts(const GgufConfig& config, DecoderSpec* spec) {
  spec->experts = BP_TRY(config.u64_or("expert_count", 0));
  if (spec->experts == 0) return {};
  spec->experts_used = BP_TRY(config.u64("expert_used_count"));
  spec->expert_ffn_dim = BP_TRY(config.u64_or("expert_feed_forward_length", spec->ffn_dim));
  const uint64_t shared = BP_TRY(config.u64_or("expert_shared_count", 0));
  if (shared != 0) return error(Code::kUnimplemented, "shared experts are not implemented");
  const double scale = BP_TRY(config.f64_or("expert_weights_scale", 1));
  if (scale != 1 && scale != 0) {
    return error(Code::kUnimplemented, "expert_weights_scale {} is not implemented", scale);
  }
  spec->normalize_experts =
      BP_TRY(config.metadata().get_bool_or(config.key("expert_weights_norm"), true));
  return {};
}

}  // namespace bp::compiler
