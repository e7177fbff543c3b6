// SPDX-License-Identifier: Apache-2.0
#include "compiler/architectures/hf_config.h"

#include <algorithm>
#include <cmath>

#include "compiler/architectures/rotary.h"
#include "core/base/limits.h"

namespace bp::compiler {
namespace {

// Settings that change what is computed and that families set only when they mean it. Present with
// any other value than "off", they are refused unless the family reads them.
constexpr std::string_view kUnknownMaths[] = {
    "alibi",
    "attention_chunk_size",
    "attention_multiplier",
    "attn_logit_softcapping",
    "clip_qkv",
    "dual_chunk_attention_config",
    "embedding_multiplier",
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "no_rope_layers",
    "partial_rotary_factor",
    "qk_layernorm",
    "quantization_config",
    "residual_multiplier",
    "use_bidirectional_attention",
    "use_parallel_residual",
    "use_qk_norm",
};

bool is_off(const Json& value) {
  if (value.is_null()) return true;
  if (value.is_boolean()) return !value.get_ref<const bool&>();
  if (value.is_number()) {  // 0 turns a term off, 1 a factor
    const double number = value.get<double>();
    return number == 0 || number == 1;
  }
  return value.is_structured() && value.empty();
}

Status refuse_unknown_maths(const Json& config, std::initializer_list<std::string_view> known) {
  for (const std::string_view key : kUnknownMaths) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const Json* value = json_find(config, key);
    if (value == nullptr || is_off(*value)) continue;
    if (key == "quantization_config") {
      return error(Code::kUnimplemented,
                   "the checkpoint is quantized already (quantization_config); convert the "
                   "original one, or its GGUF");
    }
    return error(Code::kUnimplemented, "config.json sets '{}', which is not implemented", key);
  }
  return {};
}

Result<std::string> read_activation(const Json& config) {
  std::string name = BP_TRY(json_string_or(config, "hidden_activation", ""));
  if (name.empty()) name = BP_TRY(json_string_or(config, "hidden_act", "silu"));
  if (name == "silu" || name == "swish") return std::string("silu");
  if (name == "gelu") return std::string("gelu");
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return std::string("gelu_tanh");
  return error(Code::kUnimplemented, "the activation '{}' is not implemented", name);
}

// The settings that describe the rope of a layer type: {…} or nothing.
const Json* rope_settings(const Json& config, std::string_view layer_type) {
  const Json* settings = json_find(config, "rope_parameters");
  if (settings != nullptr && !layer_type.empty()) {
    if (const Json* nested = json_find(*settings, layer_type); nested != nullptr) return nested;
    // A flat table in a family of several is that of full attention.
    if (json_find(*settings, "rope_type") == nullptr) settings = nullptr;
  }
  if (settings == nullptr) settings = json_find(config, "rope_scaling");
  return settings;
}

Status allow_only(const Json& settings, std::initializer_list<std::string_view> names) {
  for (const auto& item : settings.items()) {
    if (item.value().is_null()) continue;
    if (item.key() == "rope_type" || item.key() == "type" || item.key() == "rope_theta" ||
        item.key() == "partial_rotary_factor" ||
        std::find(names.begin(), names.end(), item.key()) != names.end()) {
      continue;
    }
    return error(Code::kUnimplemented, "the rope setting '{}' is not implemented", item.key());
  }
  return {};
}

Result<double> positive(const Json& object, std::string_view key) {
  const double value = BP_TRY(json_f64(object, key));
  if (std::isfinite(value) && value > 0) return value;
  return error(Code::kCorrupt, "'{}' is {}, which is not positive", key, value);
}

Result<std::vector<float>> read_factors(const Json& settings, std::string_view key,
                                        uint64_t count) {
  const Json* list = json_find(settings, key);
  if (list == nullptr || !list->is_array() || list->size() != count) {
    return error(Code::kCorrupt, "the rope setting '{}' is no list of {} numbers", key, count);
  }
  std::vector<float> out;
  for (const Json& item : *list) {
    if (!item.is_number()) return error(Code::kCorrupt, "'{}' holds something else", key);
    out.push_back(item.get<float>());
    if (!(std::isfinite(out.back()) && out.back() > 0)) {
      return error(Code::kCorrupt, "'{}' holds a factor that is not positive", key);
    }
  }
  return out;
}

// The context that the frequencies were trained for. Beside the rope settings it wins.
Result<double> original_context(const Json& config, const Json& settings, const DecoderSpec& spec) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  if (json_find(config, kKey) != nullptr) return positive(config, kKey);
  if (json_find(settings, kKey) != nullptr) return positive(settings, kKey);
  return static_cast<double>(spec.context_length);
}

Result<Rope> read_llama3(const Json& config, const Json& settings, const DecoderSpec& spec,
                         double theta) {
  BP_TRY(allow_only(settings, {"factor", "low_freq_factor", "high_freq_factor",
                               "original_max_position_embeddings"}));
  Llama3Scaling scaling;
  scaling.factor = BP_TRY(positive(settings, "factor"));
  scaling.low_factor = BP_TRY(positive(settings, "low_freq_factor"));
  scaling.high_factor = BP_TRY(positive(settings, "high_freq_factor"));
  scaling.original_context = BP_TRY(original_context(config, settings, spec));
  if (scaling.high_factor <= scaling.low_factor) {
    return error(Code::kCorrupt, "high_freq_factor {} is not above low_freq_factor {}",
                 scaling.high_factor, scaling.low_factor);
  }
  return llama3_rope(spec.rotary_dim, theta, scaling);
}

Result<Rope> read_long(const Json& config, const Json& settings, const DecoderSpec& spec,
                       double theta) {
  BP_TRY(allow_only(settings, {"short_factor", "long_factor", "factor", "attention_factor",
                               "original_max_position_embeddings"}));
  LongScaling scaling;
  scaling.short_factors = BP_TRY(read_factors(settings, "short_factor", spec.rotary_dim / 2));
  scaling.long_factors = BP_TRY(read_factors(settings, "long_factor", spec.rotary_dim / 2));
  const double original = BP_TRY(original_context(config, settings, spec));
  if (original < 2 || original > static_cast<double>(limits::kMaxContext)) {
    return error(Code::kCorrupt, "original_max_position_embeddings is {}", original);
  }
  scaling.long_from = static_cast<uint64_t>(original);
  const double ratio = json_find(settings, "factor") != nullptr
                           ? BP_TRY(positive(settings, "factor"))
                           : static_cast<double>(spec.context_length) / original;
  if (json_find(settings, "attention_factor") != nullptr) {
    scaling.attention_factor = BP_TRY(positive(settings, "attention_factor"));
  } else if (ratio > 1) {
    scaling.attention_factor = std::sqrt(1 + std::log(ratio) / std::log(original));
  }
  return long_rope(spec.rotary_dim, theta, scaling);
}

}  // namespace

TensorNames hf_names() {
  TensorNames names;
  names.embedding = "model.embed_tokens";
  names.final_norm = "model.norm";
  names.output = "lm_head";
  names.layer = "model.layers.{}.";
  names.attention_norm = "input_layernorm";
  names.q = "self_attn.q_proj";
  names.k = "self_attn.k_proj";
  names.v = "self_attn.v_proj";
  names.attention_output = "self_attn.o_proj";
  names.ffn_norm = "post_attention_layernorm";
  names.gate = "mlp.gate_proj";
  names.up = "mlp.up_proj";
  names.down = "mlp.down_proj";
  // Old checkpoints saved the frequencies that the rope settings give.
  names.ignored_suffixes = {".rotary_emb.inv_freq"};
  return names;
}

Result<DecoderSpec> read_hf_decoder(std::string_view architecture, const Json& config,
                                    const TensorSource& source, const HfDefaults& defaults,
                                    std::initializer_list<std::string_view> known) {
  BP_TRY(refuse_unknown_maths(config, known));
  DecoderSpec spec;
  spec.architecture = architecture;
  spec.names = hf_names();
  spec.vocabulary = BP_TRY(json_u64(config, "vocab_size"));
  spec.dim = BP_TRY(json_u64(config, "hidden_size"));
  spec.ffn_dim = BP_TRY(json_u64(config, "intermediate_size"));
  spec.heads = BP_TRY(json_u64(config, "num_attention_heads"));
  spec.kv_heads = BP_TRY(json_u64_or(config, "num_key_value_heads", spec.heads));
  if (spec.heads == 0) return error(Code::kCorrupt, "num_attention_heads is 0");
  spec.head_dim = BP_TRY(json_u64_or(
      config, "head_dim", defaults.head_dim != 0 ? defaults.head_dim : spec.dim / spec.heads));
  spec.rotary_dim = spec.head_dim;
  spec.context_length =
      BP_TRY(json_u64_or(config, "max_position_embeddings", defaults.context_length));
  spec.norm_eps = BP_TRY(json_f64_or(config, "rms_norm_eps", defaults.norm_eps));
  spec.activation = BP_TRY(read_activation(config));
  spec.attention_scale = 1 / std::sqrt(static_cast<double>(spec.head_dim));
  spec.attention_bias = BP_TRY(json_bool_or(config, "attention_bias", false));
  const uint64_t layers = BP_TRY(json_u64(config, "num_hidden_layers"));
  if (layers == 0 || layers > limits::kMaxLayers) {
    return error(Code::kCorrupt, "num_hidden_layers is {}, outside 1 … {}", layers,
                 limits::kMaxLayers);
  }
  spec.layers.resize(layers);
  // A family's files leave the setting out when it has the family's usual value; a checkpoint
  // without an output matrix can only mean the embedding.
  spec.tied_output =
      BP_TRY(json_bool_or(config, "tie_word_embeddings",
                          defaults.tied_output || !source.find("lm_head.weight").has_value()));
  if (spec.tied_output) spec.names.ignored_suffixes.push_back("lm_head.weight");
  return spec;
}

Result<double> read_hf_rotary_share(const Json& config) {
  double share = 1;
  if (const Json* settings = rope_settings(config, {}); settings != nullptr) {
    share = BP_TRY(json_f64_or(*settings, "partial_rotary_factor", share));
  }
  share = BP_TRY(json_f64_or(config, "partial_rotary_factor", share));
  if (share > 0 && share <= 1) return share;
  return error(Code::kCorrupt, "partial_rotary_factor is {}, outside 0 … 1", share);
}

Result<Rope> read_hf_rope(const Json& config, const DecoderSpec& spec, double default_theta,
                          std::string_view layer_type) {
  const Json* settings = rope_settings(config, layer_type);
  double theta = default_theta;
  std::string type = "default";
  static const Json kNone = Json::object();
  if (json_find(config, "rope_theta") != nullptr && layer_type != "sliding_attention") {
    theta = BP_TRY(positive(config, "rope_theta"));
  }
  if (settings != nullptr) {
    if (!settings->is_object()) return error(Code::kCorrupt, "the rope settings are no object");
    type = BP_TRY(json_string_or(*settings, "type", type));
    type = BP_TRY(json_string_or(*settings, "rope_type", type));
    if (json_find(*settings, "rope_theta") != nullptr) {
      theta = BP_TRY(positive(*settings, "rope_theta"));
    }
  } else {
    settings = &kNone;
  }
  if (spec.rotary_dim < 2 || spec.rotary_dim % 2 != 0) {
    return error(Code::kCorrupt, "{} elements of a head cannot be rotated in pairs",
                 spec.rotary_dim);
  }
  if (type == "default") {
    BP_TRY(allow_only(*settings, {"original_max_position_embeddings"}));
    return plain_rope(spec.rotary_dim, theta);
  }
  if (type == "linear") {
    BP_TRY(allow_only(*settings, {"factor"}));
    return linear_rope(spec.rotary_dim, theta, BP_TRY(positive(*settings, "factor")));
  }
  if (type == "llama3") return read_llama3(config, *settings, spec, theta);
  // Phi-3's first files had two more names for it.
  const bool has_factors = json_find(*settings, "short_factor") != nullptr;
  if (type == "longrope" || type == "su" || (type == "yarn" && has_factors)) {
    return read_long(config, *settings, spec, theta);
  }
  return error(Code::kUnimplemented,
               "the rope type '{}' is not implemented; default, linear, llama3 and longrope are",
               type);
}

Status read_hf_windows(const Json& config, uint64_t window,
                       bool (*is_windowed)(const Json&, uint64_t), DecoderSpec* spec) {
  const Json* types = json_find(config, "layer_types");
  if (types != nullptr && (!types->is_array() || types->size() != spec->layers.size())) {
    return error(Code::kCorrupt, "layer_types is no list of {} entries", spec->layers.size());
  }
  for (uint64_t i = 0; i < spec->layers.size(); ++i) {
    bool windowed = is_windowed(config, i);
    if (types != nullptr) {
      const Json& type = (*types)[i];
      if (type == "sliding_attention") {
        windowed = true;
      } else if (type == "full_attention") {
        windowed = false;
      } else {
        return error(Code::kUnimplemented, "layer_types has the entry {}, which is not implemented",
                     type.dump(-1, ' ', false, Json::error_handler_t::replace));
      }
    }
    spec->layers[i].window = windowed ? window : 0;
  }
  return {};
}

}  // namespace bp::compiler
