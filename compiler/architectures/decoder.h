// SPDX-License-Identifier: Apache-2.0
// What the supported families have in common, as data: a decoder-only transformer with RMS norms,
// rotary positions, grouped attention and gated feed-forward blocks. An architecture file reads a
// checkpoint's settings into a DecoderSpec; build_decoder() makes the graph of it.
//
//   h = scale · embedding[ids]
//   h = h + post?(attention(norm(h)));   h = h + post?(feed_forward(norm(h)))      for each layer
//   logits = softcap?(output · norm(h))
//
// Plain values; one thread at a time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "compiler/graph/graph.h"
#include "compiler/import/tensor_source.h"

namespace bp::compiler {

// How a checkpoint calls its tensors. Those of a layer follow `layer` ("model.layers.{}."); a
// checkpoint may have either of two layouts where two are named. Empty: this family has none.
// Names of matrices and gains are given without ".weight", which a ".bias" may stand beside.
struct TensorNames {
  std::string embedding, final_norm, output;
  std::string layer;
  std::string attention_norm, q, k, v, qkv, attention_output, q_norm, k_norm;
  std::string post_attention_norm;  // on the branch, before the sum
  std::string ffn_norm, gate, up, gate_up, down, post_ffn_norm;
  std::string router;
  // All experts in one tensor, full names.
  std::string stacked_gate, stacked_up, stacked_gate_up, stacked_down;
  // One tensor for each expert ("…experts.{}.w1"), full names.
  std::string expert_gate, expert_up, expert_down;
  // Prefixes and suffixes of tensors that are no part of the text model's maths.
  std::vector<std::string> ignored_prefixes, ignored_suffixes;
};

struct LayerSpec {
  uint64_t window = 0;   // 0: sees everything
  uint32_t rope = 0;     // index into DecoderSpec::ropes
  bool experts = false;  // a mixture of experts instead of one feed-forward block
};

struct DecoderSpec {
  std::string architecture;  // canonical name, "llama"
  uint64_t vocabulary = 0;
  uint64_t dim = 0;
  uint64_t heads = 0;
  uint64_t kv_heads = 0;
  uint64_t head_dim = 0;
  uint64_t rotary_dim = 0;
  uint64_t ffn_dim = 0;
  uint64_t context_length = 0;
  uint64_t experts = 0;
  uint64_t experts_used = 0;
  uint64_t expert_ffn_dim = 0;
  bool normalize_experts = true;

  double norm_eps = 1e-6;
  float gain_offset = 0;  // added to stored norm gains: 1 where they are offsets from 1
  double attention_scale = 0;
  double attention_softcap = 0;
  double logit_softcap = 0;
  double embedding_scale = 1;
  std::string activation = "silu";
  bool interleaved = false;     // rotary pairs side by side
  bool tied_output = false;     // the embedding is the output matrix
  bool attention_bias = false;  // q, k and v must have a bias (others may)

  std::vector<Rope> ropes;
  std::vector<LayerSpec> layers;
  TensorNames names;
};

// The model file's format for source tensors of these formats with that many columns.
using FormatChooser = std::function<Result<std::string>(
    const std::string& tensor, const std::string& source_format, uint64_t columns)>;

// Checks a spec for what no file can be trusted with: zero or absurd sizes, heads that do not
// divide. CORRUPT names the value.
Status check_spec(const DecoderSpec& spec);

// The unfused graph. Every tensor of the source must find its place: one that is missing or has
// another shape is CORRUPT, one that is left over is UNIMPLEMENTED, because ignoring it would
// change the maths; both are named.
Result<Graph> build_decoder(const DecoderSpec& spec, const TensorSource& source,
                            const FormatChooser& choose_format);

}  // namespace bp::compiler
