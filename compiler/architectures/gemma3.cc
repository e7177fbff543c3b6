// SPDX-License-Identifier: Apache-2.0
// Gemma 3, the text model: q/k norms, five windowed layers to each one that sees everything, and
// another rotary table for either kind. Multimodal checkpoints are read for their text part.
#include "compiler/architectures/architecture.h"
#include "compiler/architectures/gemma.h"
#include "compiler/architectures/hf_config.h"
#include "compiler/architectures/rotary.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"gemma3_text", "gemma3"};
constexpr std::string_view kGgufTypes[] = {"gemma3"};
constexpr uint64_t kLayersOf27b = 62;
constexpr uint64_t kPattern = 6;  // the last of each so many layers sees everything
constexpr uint32_t kGlobalRope = 0;
constexpr uint32_t kLocalRope = 1;

bool is_local_layer(const Json& config, uint64_t layer) {
  Result<uint64_t> pattern = json_u64_or(config, "sliding_window_pattern", kPattern);
  if (pattern.ok() && !config.contains("sliding_window_pattern")) {
    pattern = json_u64_or(config, "_sliding_window_pattern", kPattern);
  }
  return pattern.ok() && *pattern != 0 && (layer + 1) % *pattern != 0;
}

// Where the text model's tensors are inside a multimodal checkpoint: three spellings exist.
void find_prefix(const TensorSource& source, TensorNames* names) {
  for (const std::string prefix : {"language_model.", "model.language_model.", ""}) {
    // transformers 5 has "model.language_model.layers", older ones "language_model.model.layers".
    const std::string model = prefix == "model.language_model." ? prefix : prefix + "model.";
    if (!source.find(model + "embed_tokens.weight").has_value()) continue;
    names->embedding = model + "embed_tokens";
    names->final_norm = model + "norm";
    names->layer = model + "layers.{}.";
    names->output = prefix == "language_model." ? "language_model.lm_head" : "lm_head";
    break;
  }
  for (const char* part : {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                           "model.multi_modal_projector."}) {
    names->ignored_prefixes.push_back(part);
  }
}

Result<DecoderSpec> from_text_config(const Json& config, const TensorSource& source,
                                     bool multimodal) {
  HfDefaults defaults;
  defaults.context_length = 131072;
  defaults.head_dim = 256;
  defaults.tied_output = true;
  DecoderSpec spec = BP_TRY(read_hf_decoder("gemma3", config, source, defaults,
                                            {"attn_logit_softcapping", "final_logit_softcapping"}));
  if (multimodal) find_prefix(source, &spec.names);
  BP_TRY(finish_hf_gemma(config, source, &spec));
  spec.names.q_norm = "self_attn.q_norm";
  spec.names.k_norm = "self_attn.k_norm";
  if (json_find(config, "hidden_activation") == nullptr &&
      json_find(config, "hidden_act") == nullptr) {
    spec.activation = "gelu_tanh";
  }
  spec.attention_softcap = BP_TRY(json_f64_or(config, "attn_logit_softcapping", 0));
  spec.logit_softcap = BP_TRY(json_f64_or(config, "final_logit_softcapping", 0));
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 1e6, "full_attention")));
  const Json* parameters = json_find(config, "rope_parameters");
  if (parameters != nullptr && json_find(*parameters, "sliding_attention") != nullptr) {
    spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 10000, "sliding_attention")));
  } else {
    const double base = BP_TRY(json_f64_or(config, "rope_local_base_freq", 10000));
    if (!(base > 0)) return error(Code::kCorrupt, "rope_local_base_freq is {}", base);
    spec.ropes.push_back(plain_rope(spec.rotary_dim, base));
  }
  BP_TRY(json_u64_or(config, "sliding_window_pattern", kPattern));
  const uint64_t window = BP_TRY(json_u64_or(config, "sliding_window", 4096));
  BP_TRY(read_hf_windows(config, window, is_local_layer, &spec));
  for (LayerSpec& layer : spec.layers) layer.rope = layer.window != 0 ? kLocalRope : kGlobalRope;
  return spec;
}

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  const Json* text = json_find(config, "text_config");
  if (text == nullptr) return from_text_config(config, source, false);
  Json merged = *text;
  if (!merged.is_object()) return error(Code::kCorrupt, "text_config is no object");
  // The published multimodal configs leave these to the defaults of Gemma 3.
  constexpr std::pair<const char*, uint64_t> kDefaults[] = {
      {"vocab_size", 262208},    {"hidden_size", 2304},      {"intermediate_size", 9216},
      {"num_hidden_layers", 26}, {"num_attention_heads", 8}, {"num_key_value_heads", 4}};
  for (const auto& [key, value] : kDefaults) {
    if (json_find(merged, key) == nullptr) merged[key] = value;
  }
  return from_text_config(merged, source, true);
}

// Which layers have a window: a period, or one flag for each layer.
Result<std::vector<bool>> read_gguf_pattern(const GgufConfig& config, size_t layers) {
  constexpr std::string_view kKey = "attention.sliding_window_pattern";
  std::vector<bool> local(layers);
  const GgufValue* value = config.metadata().find(config.key(kKey));
  if (value != nullptr && value->is_array) {
    const auto flags = BP_TRY(config.metadata().get_u64_array(config.key(kKey)));
    if (flags.size() != layers) {
      return error(Code::kCorrupt, "'{}' has {} entries for {} layers", config.key(kKey),
                   flags.size(), layers);
    }
    for (size_t i = 0; i < layers; ++i) local[i] = flags[i] != 0;
    return local;
  }
  const uint64_t pattern = BP_TRY(config.u64_or(kKey, kPattern));
  for (size_t i = 0; i < layers; ++i) local[i] = pattern != 0 && (i + 1) % pattern != 0;
  return local;
}

Result<DecoderSpec> from_gguf(const GgufMetadata& metadata, const TensorSource& source) {
  const GgufConfig config(metadata, "gemma3");
  DecoderSpec spec = BP_TRY(read_gguf_decoder("gemma3", config, source));
  BP_TRY(finish_gguf_gemma(config, kLayersOf27b, &spec));
  spec.names.q_norm = "attn_q_norm";
  spec.names.k_norm = "attn_k_norm";
  spec.logit_softcap = BP_TRY(config.f64_or("final_logit_softcapping", 0));
  spec.ropes.push_back(BP_TRY(read_gguf_rope(config, source, spec)));
  const double local_base = BP_TRY(config.f64_or("rope.freq_base_swa", 10000));
  if (local_base <= 0) return error(Code::kCorrupt, "rope.freq_base_swa is {}", local_base);
  spec.ropes.push_back(plain_rope(spec.rotary_dim, local_base));
  const uint64_t window = BP_TRY(config.u64_or("attention.sliding_window", 0));
  const std::vector<bool> local = BP_TRY(read_gguf_pattern(config, spec.layers.size()));
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    if (window == 0 || !local[i]) continue;
    spec.layers[i].window = window;
    spec.layers[i].rope = kLocalRope;
  }
  return spec;
}

}  // namespace

const Architecture kGemma3 = {"gemma3", "Gemma 3 (text)", kHfTypes, kGgufTypes, from_hf, from_gguf};

}  // namespace bp::compiler
