// SPDX-License-Identifier: Apache-2.0
#include "compiler/architectures/gemma.h"

#include <cmath>
#include <cstring>

namespace bp::compiler {
namespace {

// To the nearest value with `mantissa_bits` explicit bits, ties to even. For values of the size of
// an embedding scale, far from the ends of any type's range.
double round_mantissa(double value, int mantissa_bits) {
  int exponent;
  const double fraction = std::frexp(value, &exponent);  // [0.5, 1)
  const double unit = std::ldexp(1.0, mantissa_bits + 1);
  return std::ldexp(std::nearbyint(fraction * unit) / unit, exponent);
}

}  // namespace

Status finish_hf_gemma(const Json& config, const TensorSource& source, DecoderSpec* spec) {
  spec->names.ffn_norm = "pre_feedforward_layernorm";
  spec->names.post_attention_norm = "post_attention_layernorm";
  spec->names.post_ffn_norm = "post_feedforward_layernorm";
  spec->gain_offset = 1;
  const double scalar = BP_TRY(json_f64_or(config, "query_pre_attn_scalar", 256));
  if (!(scalar > 0)) return error(Code::kCorrupt, "query_pre_attn_scalar is {}", scalar);
  spec->attention_scale = 1 / std::sqrt(scalar);
  spec->embedding_scale = std::sqrt(static_cast<double>(spec->dim));
  const auto embedding = source.find(spec->names.embedding + ".weight");
  if (!embedding.has_value()) return {};  // building the graph says so
  const std::string& format = source.tensors()[*embedding].format;
  const int bits = format == "bf16" ? 7 : format == "f16" ? 10 : 23;
  spec->embedding_scale = round_mantissa(spec->embedding_scale, bits);
  return {};
}

Status finish_gguf_gemma(const GgufConfig& config, uint64_t layers_27b, DecoderSpec* spec) {
  spec->names.post_attention_norm = "post_attention_norm";
  spec->names.post_ffn_norm = "post_ffw_norm";
  spec->activation = "gelu_tanh";
  spec->embedding_scale = std::sqrt(static_cast<double>(spec->dim));
  if (!config.has("attention.scale") && spec->layers.size() == layers_27b) {
    spec->attention_scale =
        1 / std::sqrt(static_cast<double>(spec->dim) / static_cast<double>(spec->heads));
  }
  return {};
}

}  // namespace bp::compiler
