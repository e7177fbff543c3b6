// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers that files only name: GGUF's tokenizer.ggml.pre, and the families whose files
// hold ranks or merges and nothing else.
#pragma once

#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

struct NamedPreTokenizer {
  std::vector<text::NormalizerStep> normalizer;
  std::vector<text::PreTokenizerStep> steps;
  bool ignore_merges = false;
  bool add_bos = false;  // the family's habit, where the file says nothing
};

// The rules behind a name ("llama-bpe", "qwen2", "gpt-2", …; "" is "default"), or UNIMPLEMENTED
// with the name.
Result<NamedPreTokenizer> named_pre_tokenizer(std::string_view name);

}  // namespace bp
