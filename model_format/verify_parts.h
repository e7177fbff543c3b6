// SPDX-License-Identifier: Apache-2.0
// The parts of verify_model(), one file each, in the order in which they run; every part relies
// on what the parts before it have established. Not for use outside the verifier.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "core/base/status.h"
#include "model_format/bpm_generated.h"
#include "model_format/op_table.h"
#include "model_format/symbolic.h"
#include "model_format/verify.h"

namespace bp::verify {

// An absent vector counts as empty.
template <typename T>
uint64_t length(const flatbuffers::Vector<T>* vector) noexcept {
  return vector == nullptr ? 0 : vector->size();
}

// FlatBuffers' verifier does not look at the alignment of 8-byte elements.
template <typename T>
bool aligned_for_u64(const flatbuffers::Vector<T>* vector) noexcept {
  return vector == nullptr || reinterpret_cast<uintptr_t>(vector->Data()) % alignof(uint64_t) == 0;
}

inline std::string_view view(const flatbuffers::String* text) noexcept {
  return text == nullptr ? std::string_view() : text->string_view();
}

bool is_utf8(std::string_view text) noexcept;
// A name: 1 to kMaxNameBytes bytes of UTF-8 without control characters. `what` and `index` say in
// the message whose name it is.
Status check_name(const flatbuffers::String* name, std::string_view what, uint64_t index);
// Free text, possibly absent: UTF-8 of at most `max_bytes`.
Status check_text(const flatbuffers::String* text, uint64_t max_bytes, std::string_view what);

// verify_weights.cc: segments and tensors.
Status check_weights(const fb::Model& model, uint64_t plan_bytes, uint64_t file_bytes,
                     NameIndex* tensor_names);
// verify_text.cc: provenance, hyper-parameters, tokenizer, templates.
Status check_descriptions(const fb::Model& model);

// What the plan's parts share.
struct PlanContext {
  const fb::Model& model;
  const fb::Plan& plan;
  SymbolBounds bounds{};
  // Symbol of a letter of op_table.h ('T', 'S', …), −1 where the plan has none.
  std::array<int32_t, 128> symbol_of_letter{};
};

// Does `dim` read as `symbol` × 1 + offset?
bool is_symbol(const fb::Dim& dim, int32_t symbol, uint64_t offset) noexcept;
// Reads a memory plan. CORRUPT when terms are unordered, dangling or above kMaxArenaBytes.
Result<LinearForm> read_linear(const PlanContext& context, const fb::Linear* linear);

// verify_values.cc: symbols, ropes, values.
Status check_symbols(PlanContext& context);
Status check_ropes(const PlanContext& context);
Status check_values(const PlanContext& context);
// verify_steps.cc: the step list. verify_step.cc: the operands and attributes of one step.
Status check_steps(const PlanContext& context);
Status check_step_shapes(const PlanContext& context, const OpSpec& op, const fb::Step& step);
// verify_arena.cc: memory of values that live at the same time.
Status check_arena(const PlanContext& context);

}  // namespace bp::verify
