// SPDX-License-Identifier: Apache-2.0
// Phi-3, Phi-3.5 mini, Phi-4 mini: q|k|v and gate|up stored as one matrix each, a window, rotation
// of a part of each head, and LongRoPE in the long-context variants.
#include "compiler/architectures/architecture.h"
#include "compiler/architectures/gguf_config.h"
#include "compiler/architectures/hf_config.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"phi3"};
constexpr std::string_view kGgufTypes[] = {"phi3"};

bool always(const Json&, uint64_t) {
  return true;
}

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  HfDefaults defaults;
  defaults.context_length = 4096;
  defaults.norm_eps = 1e-5;
  DecoderSpec spec =
      BP_TRY(read_hf_decoder("phi3", config, source, defaults, {"partial_rotary_factor"}));
  spec.names.qkv = "self_attn.qkv_proj";
  spec.names.gate_up = "mlp.gate_up_proj";
  const double share = BP_TRY(read_hf_rotary_share(config));
  spec.rotary_dim = static_cast<uint64_t>(static_cast<double>(spec.head_dim) * share);
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 10000)));
  BP_TRY(read_hf_windows(config, BP_TRY(json_u64_or(config, "sliding_window", 0)), always, &spec));
  return spec;
}

Result<DecoderSpec> from_gguf(const GgufMetadata& metadata, const TensorSource& source) {
  const GgufConfig config(metadata, "phi3");
  DecoderSpec spec = BP_TRY(read_gguf_decoder("phi3", config, source));
  spec.names.gate_up = "ffn_up";  // twice as many rows as one: gate, then up
  spec.ropes.push_back(BP_TRY(read_gguf_rope(config, source, spec)));
  const uint64_t window = BP_TRY(config.u64_or("attention.sliding_window", 0));
  for (LayerSpec& layer : spec.layers) layer.window = window;
  return spec;
}

}  // namespace

const Architecture kPhi3 = {
    "phi3", "Phi-3, Phi-3.5 mini, Phi-4 mini", kHfTypes, kGgufTypes, from_hf, from_gguf};

}  // namespace bp::compiler
