// SPDX-License-Identifier: Apache-2.0
// What a checkpoint says about text: tokenizer, chat templates, ids that end an answer, sampling
// defaults. Everything here is optional; what is missing becomes a note.
#pragma once

#include <string>
#include <vector>

#include "compiler/convert/checkpoint.h"
#include "model_format/bpm_generated.h"

namespace bp::compiler {

// Fills tokenizer, chat_templates and generation of the model. `vocabulary` is the number of rows
// of the embedding. A tokenizer that is there but cannot be read is an error: UNIMPLEMENTED or
// CORRUPT with its name.
Status read_model_text(const Checkpoint& checkpoint, uint64_t vocabulary, fb::ModelT* model,
                       std::vector<std::string>* notes);

}  // namespace bp::compiler
