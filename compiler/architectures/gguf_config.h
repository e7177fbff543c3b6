// SPDX-License-Identifier: Apache-2.0
// What the families' GGUF metadata have in common.
#pragma once

#include <string_view>

#include "compiler/architectures/decoder.h"
#include "compiler/import/gguf/gguf_metadata.h"

namespace bp::compiler {

// Reads "<architecture>.<key>", as GGUF spells all settings of a family.
class GgufConfig {
 public:
  // `prefix` is general.architecture: "llama".
  GgufConfig(const GgufMetadata& metadata, std::string_view prefix)
      : metadata_(metadata), prefix_(std::string(prefix) + ".") {}

  std::string key(std::string_view leaf) const { return prefix_ + std::string(leaf); }
  bool has(std::string_view leaf) const { return metadata_.has(key(leaf)); }
  Result<uint64_t> u64(std::string_view leaf) const { return metadata_.get_u64(key(leaf)); }
  Result<uint64_t> u64_or(std::string_view leaf, uint64_t fallback) const {
    return metadata_.get_u64_or(key(leaf), fallback);
  }
  // Finite and not negative, or CORRUPT.
  Result<double> f64_or(std::string_view leaf, double fallback) const;
  Result<std::string> string_or(std::string_view leaf, std::string_view fallback) const {
    return metadata_.get_string_or(key(leaf), fallback);
  }
  const GgufMetadata& metadata() const { return metadata_; }

 private:
  const GgufMetadata& metadata_;
  std::string prefix_;
};

// Sizes, norm_eps, names, tied output, attention scale (attention.scale or 1 / sqrt(head_dim)),
// and layers without windows that use rope 0 (which the caller adds). Settings per layer (arrays
// of heads, of feed-forward lengths) are UNIMPLEMENTED.
Result<DecoderSpec> read_gguf_decoder(std::string_view architecture, const GgufConfig& config,
                                      const TensorSource& source);

// The rotary table: rope.freq_base, rope.scaling.*, and the factors in rope_freqs.weight or
// rope_factors_{long,short}.weight.
Result<Rope> read_gguf_rope(const GgufConfig& config, const TensorSource& source,
                            const DecoderSpec& spec);

// Experts: expert_count, expert_used_count, expert_feed_forward_length; no layer is marked.
Status read_gguf_experts(const GgufConfig& config, DecoderSpec* spec);

// "blk.{}.attn_q" and so on.
TensorNames gguf_names();

}  // namespace bp::compiler
