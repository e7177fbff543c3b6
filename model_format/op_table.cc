// SPDX-License-Identifier: Apache-2.0
#include "model_format/op_table.h"

#include <algorithm>
#include <array>

namespace bp {
namespace {

using enum OperandKind;
using enum AttributeType;

constexpr std::string_view kActivations = "none silu gelu gelu_tanh";
constexpr std::string_view kGluActivations = "silu gelu gelu_tanh";

// ---- dense --------------------------------------------------------------------------------------

constexpr OperandSpec kEmbedIn[] = {
    {"token_ids", kInput, "", false, "token_ids"},
    {"table", kWeight, "V n"},
};
constexpr OperandSpec kEmbedOut[] = {{"y", kActivation, "T n"}};
constexpr AttributeSpec kEmbedAttributes[] = {{"scale", kFloat, false, 0, INT64_MIN}};

constexpr OperandSpec kRmsNormIn[] = {
    {"x", kActivation, "r n"},
    {"gain", kVector, "n"},
    {"residual", kActivation, "r n", true},
};
constexpr OperandSpec kNormOut[] = {{"y", kActivation, "r n"}};
constexpr AttributeSpec kNormAttributes[] = {{"eps", kFloat, true}};

constexpr OperandSpec kLayerNormIn[] = {
    {"x", kActivation, "r n"},
    {"gain", kVector, "n"},
    {"bias", kVector, "n", true},
    {"residual", kActivation, "r n", true},
};

constexpr OperandSpec kLinearIn[] = {
    {"x", kActivation, "r K"},
    {"weight", kWeight, "N K"},
    {"bias", kVector, "N", true},
    {"residual", kActivation, "r N", true},
};
constexpr OperandSpec kLinearOut[] = {{"y", kActivation, "r N"}};
constexpr AttributeSpec kLinearAttributes[] = {
    {"activation", kString, false, 0, 0, 0, kActivations},
    {"softcap", kFloat, false},
};

// Rows of the weight and of the bias are F or 2F: see check_glu in verify_step.cc.
constexpr OperandSpec kLinearGluIn[] = {
    {"x", kActivation, "r K"},
    {"weight", kWeight, "W K"},
    {"bias", kVector, "b", true},
    {"up", kWeight, "F K", true},
};
constexpr OperandSpec kLinearGluOut[] = {{"y", kActivation, "r F"}};
constexpr AttributeSpec kGluAttributes[] = {
    {"activation", kString, true, 0, 0, 0, kGluActivations}};

// ---- attention ----------------------------------------------------------------------------------

// The width of slot 0 depends on whether k and v come with it: see check_rope_kv_write.
constexpr OperandSpec kRopeKvWriteIn[] = {
    {"q", kActivation, "T Q"},
    {"k", kActivation, "T GD", true},
    {"v", kActivation, "T GD", true},
    {"rope", kInput, "T R", true, "rope/"},
    {"q_norm", kVector, "D", true},
    {"k_norm", kVector, "D", true},
    {"positions", kInput, "", false, "positions"},
    {"sequence_of", kInput, "", false, "sequence_of"},
    {"page_table", kInput, "", false, "page_table"},
    {"k_cache", kState, "P G Z D"},
    {"v_cache", kState, "P G Z D"},
};
constexpr OperandSpec kRopeKvWriteOut[] = {{"q", kActivation, "T HD"}};
constexpr AttributeSpec kRopeKvWriteAttributes[] = {
    {"heads", kInt, true, 'H', 1},        {"kv_heads", kInt, true, 'G', 1},
    {"head_dim", kInt, true, 'D', 1},     {"rotary_dim", kInt, true, 'R', 0},
    {"interleaved", kInt, true, 0, 0, 1}, {"page_size", kInt, true, 'Z', 1},
    {"norm_eps", kFloat, false},
};

constexpr OperandSpec kAttentionIn[] = {
    {"q", kActivation, "T HD"},
    {"k_cache", kState, "P G Z D"},
    {"v_cache", kState, "P G Z D"},
    {"query_start", kInput, "", false, "query_start"},
    {"context_length", kInput, "", false, "context_length"},
    {"page_table", kInput, "", false, "page_table"},
};
constexpr OperandSpec kAttentionOut[] = {{"y", kActivation, "T HD"}};
constexpr AttributeSpec kAttentionAttributes[] = {
    {"heads", kInt, true, 'H', 1},     {"kv_heads", kInt, true, 'G', 1},
    {"head_dim", kInt, true, 'D', 1},  {"window", kInt, true, 0, 0},
    {"page_size", kInt, true, 'Z', 1}, {"scale", kFloat, true, 0, INT64_MIN},
    {"softcap", kFloat, true},
};

constexpr OperandSpec kGatherRowsIn[] = {
    {"x", kActivation, "T n"},
    {"rows", kInput, "", false, "output_rows"},
};
constexpr OperandSpec kGatherRowsOut[] = {{"y", kActivation, "O n"}};

// ---- experts ------------------------------------------------------------------------------------

constexpr OperandSpec kMoeRouteIn[] = {{"logits", kActivation, "T E"}};
constexpr OperandSpec kMoeRouteOut[] = {{"ids", kIndices, "T k"}, {"weights", kActivation, "T k"}};
constexpr AttributeSpec kMoeRouteAttributes[] = {
    {"experts_used", kInt, true, 'k', 1},
    {"normalize", kInt, true, 0, 0, 1},
};

constexpr OperandSpec kMoeLinearGluIn[] = {
    {"x", kActivation, "T K"},
    {"weight", kWeight, "E W K"},
    {"ids", kIndices, "T k"},
    {"up", kWeight, "E F K", true},
};
constexpr OperandSpec kMoeLinearGluOut[] = {{"y", kActivation, "T k F"}};

constexpr OperandSpec kMoeLinearIn[] = {
    {"x", kActivation, "T k F"},
    {"weight", kWeight, "E N F"},
    {"ids", kIndices, "T k"},
    {"weights", kActivation, "T k"},
    {"residual", kActivation, "T N", true},
};
constexpr OperandSpec kMoeLinearOut[] = {{"y", kActivation, "T N"}};

constexpr OpSpec kOps[] = {
    {"embed", 1, kEmbedIn, kEmbedOut, kEmbedAttributes},
    {"rms_norm", 1, kRmsNormIn, kNormOut, kNormAttributes},
    {"layer_norm", 1, kLayerNormIn, kNormOut, kNormAttributes},
    {"linear", 1, kLinearIn, kLinearOut, kLinearAttributes},
    {"linear_glu", 1, kLinearGluIn, kLinearGluOut, kGluAttributes},
    {"rope_kv_write", 1, kRopeKvWriteIn, kRopeKvWriteOut, kRopeKvWriteAttributes},
    {"attention", 1, kAttentionIn, kAttentionOut, kAttentionAttributes},
    {"gather_rows", 1, kGatherRowsIn, kGatherRowsOut, {}},
    {"moe_route", 1, kMoeRouteIn, kMoeRouteOut, kMoeRouteAttributes},
    {"moe_linear_glu", 1, kMoeLinearGluIn, kMoeLinearGluOut, kGluAttributes},
    {"moe_linear", 1, kMoeLinearIn, kMoeLinearOut, {}},
};

constexpr InputSpec kInputs[] = {
    {"token_ids", "T"},      {"positions", "T"},    {"sequence_of", "T"}, {"query_start", "S+1"},
    {"context_length", "S"}, {"page_table", "S B"}, {"output_rows", "O"},
};

}  // namespace

int OpSpec::slot(std::string_view input_name) const noexcept {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].name == input_name) return static_cast<int>(i);
  }
  return -1;
}

const AttributeSpec* OpSpec::attribute(std::string_view attribute_name) const noexcept {
  for (const AttributeSpec& spec : attributes) {
    if (spec.name == attribute_name) return &spec;
  }
  return nullptr;
}

std::span<const OpSpec> op_table() noexcept {
  return kOps;
}

const OpSpec* find_op(std::string_view name, uint32_t version) noexcept {
  for (const OpSpec& op : kOps) {
    if (op.name == name && op.version == version) return &op;
  }
  return nullptr;
}

uint32_t newest_op_version(std::string_view name) noexcept {
  uint32_t newest = 0;
  for (const OpSpec& op : kOps) {
    if (op.name == name) newest = std::max(newest, op.version);
  }
  return newest;
}

std::span<const InputSpec> input_table() noexcept {
  return kInputs;
}

char symbol_letter(std::string_view symbol_name) noexcept {
  static constexpr std::array<std::pair<std::string_view, char>, 5> kSymbols = {
      {{"tokens", 'T'}, {"sequences", 'S'}, {"outputs", 'O'}, {"pages", 'P'}, {"blocks", 'B'}}};
  for (const auto& [name, letter] : kSymbols) {
    if (name == symbol_name) return letter;
  }
  return 0;
}

}  // namespace bp
