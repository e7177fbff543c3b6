// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/spec.h"

namespace bp::text {

const char* kind_name(ModelKind kind) noexcept {
  switch (kind) {
    case ModelKind::kBpeByte:
      return "bpe_byte";
    case ModelKind::kBpeRanks:
      return "bpe_ranks";
    case ModelKind::kBpeSpm:
      return "bpe_spm";
    case ModelKind::kBpeMerges:
      return "bpe_merges";
    case ModelKind::kUnigram:
      return "unigram";
  }
  return "";
}

Result<ModelKind> kind_named(std::string_view name) {
  for (const ModelKind kind : {ModelKind::kBpeByte, ModelKind::kBpeRanks, ModelKind::kBpeSpm,
                               ModelKind::kBpeMerges, ModelKind::kUnigram}) {
    if (name == kind_name(kind)) return kind;
  }
  return error(Code::kUnimplemented, "tokenizer kind '{}' is not known", name);
}

}  // namespace bp::text
