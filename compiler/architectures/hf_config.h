// SPDX-License-Identifier: Apache-2.0
// What the families' config.json files have in common: sizes, rotary settings in both spellings
// (rope_theta + rope_scaling, and rope_parameters), windows, activations, tensor names.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "compiler/architectures/decoder.h"
#include "compiler/import/json.h"

namespace bp::compiler {

// Defaults of a family, for settings that its files leave out.
struct HfDefaults {
  double rope_theta = 10000;
  double norm_eps = 1e-6;
  uint64_t context_length = 2048;
  uint64_t head_dim = 0;  // 0: dim / heads
  bool tied_output = false;
};

// Sizes, norm_eps, activation, names, tied output, attention scale 1 / sqrt(head_dim), and layers
// without windows that all use rope 0 (which the caller adds). Refuses what no family here
// implements (quantization_config, alibi, …) unless `known` names it.
Result<DecoderSpec> read_hf_decoder(std::string_view architecture, const Json& config,
                                    const TensorSource& source, const HfDefaults& defaults,
                                    std::initializer_list<std::string_view> known = {});

// The rotary table of a config. `layer_type` selects among tables by layer ("full_attention") and
// is empty for families that have one. `spec` gives rotary_dim and the context length.
// UNIMPLEMENTED names an unknown rope type or an unknown setting of a known one.
Result<Rope> read_hf_rope(const Json& config, const DecoderSpec& spec, double default_theta,
                          std::string_view layer_type = {});

// partial_rotary_factor, wherever the config has it; 1 when it has none.
Result<double> read_hf_rotary_share(const Json& config);

// The window of each layer from `layer_types` and sliding_window. Without layer_types, a layer i
// is windowed where is_windowed(i) says so.
Status read_hf_windows(const Json& config, uint64_t window,
                       bool (*is_windowed)(const Json&, uint64_t), DecoderSpec* spec);

// "model.layers.{}.self_attn.q_proj" and so on.
TensorNames hf_names();

}  // namespace bp::compiler
