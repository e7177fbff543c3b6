// SPDX-License-Identifier: Apache-2.0
// What Gemma 2 and 3 share beyond the common decoder: norms on the branches too, gains stored as
// offsets from 1 (in Hugging Face files; GGUF has them folded), a scaled embedding, alternating
// windows, an attention scale of its own.
#pragma once

#include <string>

#include "compiler/architectures/decoder.h"
#include "compiler/architectures/gguf_config.h"
#include "compiler/import/json.h"

namespace bp::compiler {

// Norm names, gain offset, attention scale, embedding scale: sqrt(dim) rounded to the type that
// the embedding is stored in, as the reference implementations do.
Status finish_hf_gemma(const Json& config, const TensorSource& source, DecoderSpec* spec);

// Norm names, the embedding scale and attention scale. `layers_27b` is the number of layers of the
// one size whose attention scale is 1 / sqrt(dim / heads) rather than 1 / sqrt(head_dim); files
// written by common converters do not state it.
Status finish_gguf_gemma(const GgufConfig& config, uint64_t layers_27b, DecoderSpec* spec);

}  // namespace bp::compiler
