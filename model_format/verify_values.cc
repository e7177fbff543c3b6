// SPDX-License-Identifier: Apache-2.0
// Symbols, rotary tables and values of a plan, each for itself.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include "backplane/formats.h"
#include "core/base/checked.h"
#include "model_format/verify_parts.h"

namespace bp::verify {
namespace {

// ---- dimensions ---------------------------------------------------------------------------------

Status check_dim(const PlanContext& context, const fb::Dim& dim) {
  if (dim.reserved() != 0) return error(Code::kCorrupt, "has a reserved field that is not 0");
  if (dim.symbol() < 0) {
    if (dim.symbol() != -1 || dim.scale() != 0 || dim.offset() == 0 ||
        dim.offset() > limits::kMaxTensorElements) {
      return error(Code::kCorrupt, "is a constant of symbol {}, scale {}, value {}", dim.symbol(),
                   dim.scale(), dim.offset());
    }
    return {};
  }
  const auto symbol = static_cast<uint32_t>(dim.symbol());
  if (symbol >= context.bounds.count) {
    return error(Code::kCorrupt, "names symbol {} of {}", symbol, context.bounds.count);
  }
  uint64_t largest;
  if (dim.scale() == 0 || !try_mul(dim.scale(), context.bounds.maximum[symbol], &largest) ||
      !try_add(largest, dim.offset(), &largest) || largest > limits::kMaxTensorElements) {
    return error(Code::kCorrupt, "{} × symbol {} + {} is constant or may exceed {}", dim.scale(),
                 symbol, dim.offset(), limits::kMaxTensorElements);
  }
  return {};
}

Status check_shape(const PlanContext& context, const fb::Value& value) {
  const uint64_t rank = length(value.shape());
  if (rank == 0 || rank > limits::kMaxTensorRank || !aligned_for_u64(value.shape())) {
    return error(Code::kCorrupt, "has {} dimensions (1 to {} are possible), or they are misaligned",
                 rank, limits::kMaxTensorRank);
  }
  for (uint32_t d = 0; d < rank; ++d) {
    BP_TRY(check_dim(context, *value.shape()->Get(d)).with_context("dimension {}", d));
  }
  return {};
}

bool is_constant(const fb::Dim& dim, uint64_t value) noexcept {
  return dim.symbol() == -1 && dim.offset() == value;
}

// Compares a shape with one of input_table(): words of one letter, perhaps with "+1".
bool shape_reads(const PlanContext& context, const fb::Value& value, std::string_view pattern) {
  uint32_t d = 0;
  while (!pattern.empty()) {
    const size_t end = std::min(pattern.find(' '), pattern.size());
    const std::string_view word = pattern.substr(0, end);
    pattern.remove_prefix(std::min(end + 1, pattern.size()));
    const int32_t symbol = context.symbol_of_letter[static_cast<uint8_t>(word[0])];
    if (d >= value.shape()->size() || symbol < 0 ||
        !is_symbol(*value.shape()->Get(d), symbol, word.size() > 1 ? 1 : 0)) {
      return false;
    }
    ++d;
  }
  return d == value.shape()->size();
}

// ---- roles --------------------------------------------------------------------------------------

Status check_weight(const PlanContext& context, const fb::Value& value) {
  const uint64_t tensors = length(context.model.tensors());
  if (value.tensor() < 0 || static_cast<uint64_t>(value.tensor()) >= tensors) {
    return error(Code::kCorrupt, "refers to tensor {} of {}", value.tensor(), tensors);
  }
  const fb::Tensor& tensor = *context.model.tensors()->Get(static_cast<uint32_t>(value.tensor()));
  if (view(tensor.format()) != view(value.format())) {
    return error(Code::kCorrupt, "has format {}, its tensor '{}' has {}", view(value.format()),
                 view(tensor.name()), view(tensor.format()));
  }
  bool same = tensor.shape()->size() == value.shape()->size();
  for (uint32_t d = 0; same && d < value.shape()->size(); ++d) {
    same = is_constant(*value.shape()->Get(d), tensor.shape()->Get(d));
  }
  if (!same)
    return error(Code::kCorrupt, "has another shape than its tensor '{}'", view(tensor.name()));
  return {};
}

Status check_rope_input(const PlanContext& context, const fb::Value& value) {
  const uint64_t ropes = length(context.plan.ropes());
  if (value.rope() < 0 || static_cast<uint64_t>(value.rope()) >= ropes) {
    return error(Code::kCorrupt, "refers to rotary table {} of {}", value.rope(), ropes);
  }
  const auto rope = static_cast<uint32_t>(value.rope());
  if (view(value.name()) != "rope/" + std::to_string(rope)) {
    return error(Code::kCorrupt, "belongs to rotary table {}, so its name has to be 'rope/{}'",
                 rope, rope);
  }
  const int32_t tokens = context.symbol_of_letter['T'];
  if (view(value.format()) != "f32" || value.shape()->size() != 2 ||
      !is_symbol(*value.shape()->Get(0), tokens, 0) ||
      !is_constant(*value.shape()->Get(1), context.plan.ropes()->Get(rope)->rotary_dim())) {
    return error(Code::kCorrupt, "is not f32 [tokens, rotary_dim]");
  }
  return {};
}

Status check_input(const PlanContext& context, const fb::Value& value) {
  const std::string_view name = view(value.name());
  if (value.rope() != -1 || name.starts_with("rope/")) return check_rope_input(context, value);
  for (const InputSpec& spec : input_table()) {
    if (spec.name != name) continue;
    if (view(value.format()) != "i32" || !shape_reads(context, value, spec.shape)) {
      return error(Code::kCorrupt, "is not i32 [{}], as this input has to be", spec.shape);
    }
    return {};
  }
  return error(Code::kIncompatible, "is an input that this program does not know; use a newer one");
}

Status check_state(const PlanContext& context, const fb::Value& value) {
  if (view(value.format()) != "kv") {
    return error(Code::kIncompatible, "is a state of format '{}'; this program knows 'kv' only",
                 view(value.format()));
  }
  const auto& shape = *value.shape();
  if (shape.size() != 4 || !is_symbol(*shape.Get(0), context.symbol_of_letter['P'], 0) ||
      shape.Get(1)->symbol() != -1 || !is_constant(*shape.Get(2), context.plan.page_size()) ||
      shape.Get(3)->symbol() != -1) {
    return error(Code::kCorrupt, "is not [pages, kv_heads, {}, head_dim]",
                 context.plan.page_size());
  }
  return {};
}

Status check_output(const PlanContext& context, const fb::Value& value) {
  const uint64_t vocabulary = context.model.hyper_parameters()->vocabulary();
  if (view(value.name()) != "logits") {
    return error(Code::kIncompatible,
                 "is an output that this program does not know; use a newer "
                 "one");
  }
  if (view(value.format()) != "f32" || value.shape()->size() != 2 ||
      !is_symbol(*value.shape()->Get(0), context.symbol_of_letter['O'], 0) ||
      !is_constant(*value.shape()->Get(1), vocabulary)) {
    return error(Code::kCorrupt, "is not f32 [outputs, {}]", vocabulary);
  }
  return {};
}

// ---- arena --------------------------------------------------------------------------------------

// Bytes of a value as a linear function: only its first dimension may depend on a symbol.
Result<LinearForm> shape_bytes(const PlanContext& context, const fb::Value& value) {
  uint64_t rest = element_bytes(view(value.format()));
  if (rest == 0 || (view(value.format()) != "f32" && view(value.format()) != "i32")) {
    return error(Code::kCorrupt, "has format '{}'; activations are f32 or i32",
                 view(value.format()));
  }
  bool fits = true;
  for (uint32_t d = 1; d < value.shape()->size(); ++d) {
    const fb::Dim& dim = *value.shape()->Get(d);
    if (dim.symbol() != -1) {
      return error(Code::kCorrupt, "dimension {} depends on a symbol; only the first one may", d);
    }
    fits = fits && try_mul(rest, dim.offset(), &rest);
  }
  const fb::Dim& first = *value.shape()->Get(0);
  LinearForm bytes;
  fits = fits && try_mul(rest, first.offset(), &bytes.constant);
  if (first.symbol() != -1) {
    fits = fits && try_mul(rest, first.scale(), &bytes.scale[static_cast<size_t>(first.symbol())]);
  }
  if (!fits || value_at_maximum(bytes, context.bounds) == UINT64_MAX) {
    return error(Code::kCorrupt, "may need more than {} bytes", limits::kMaxArenaBytes);
  }
  return bytes;
}

Status check_place(const PlanContext& context, const LinearForm& arena, const fb::Value& value) {
  const LinearForm needed = BP_TRY(shape_bytes(context, value));
  const LinearForm offset =
      BP_TRY(read_linear(context, value.arena_offset()).with_context("arena offset"));
  const LinearForm bytes =
      BP_TRY(read_linear(context, value.arena_bytes()).with_context("arena bytes"));
  const auto unaligned = [](uint64_t c) { return c % 64 != 0; };
  if (unaligned(offset.constant) ||
      std::any_of(offset.scale.begin(), offset.scale.end(), unaligned)) {
    return error(Code::kCorrupt, "has an arena offset that is not always a multiple of 64");
  }
  if (!always_at_most(needed, bytes, context.bounds)) {
    return error(Code::kCorrupt, "has less room in the arena than its shape needs");
  }
  LinearForm end;
  if (!try_add(offset, bytes, &end) || !always_at_most(end, arena, context.bounds)) {
    return error(Code::kCorrupt, "reaches past the end of the arena");
  }
  return {};
}

Status check_role(const PlanContext& context, const LinearForm& arena, const fb::Value& value) {
  const bool placed = value.role() == fb::Role::Output || value.role() == fb::Role::Scratch;
  if (!placed && (value.arena_offset() != nullptr || value.arena_bytes() != nullptr)) {
    return error(Code::kCorrupt, "has a place in the arena, which its role does not allow");
  }
  if ((value.role() != fb::Role::Weight && value.tensor() != -1) ||
      (value.role() != fb::Role::Input && value.rope() != -1)) {
    return error(Code::kCorrupt,
                 "refers to a tensor or rotary table, which its role does not allow");
  }
  switch (value.role()) {
    case fb::Role::Weight:
      return check_weight(context, value);
    case fb::Role::Input:
      return check_input(context, value);
    case fb::Role::State:
      return check_state(context, value);
    case fb::Role::Output:
      BP_TRY(check_output(context, value));
      break;
    case fb::Role::Scratch:
      break;
    default:
      return error(Code::kIncompatible, "has role {}, which this program does not know",
                   static_cast<int>(value.role()));
  }
  return check_place(context, arena, value);
}

Status check_unique_names(const PlanContext& context) {
  const auto& values = *context.plan.values();
  std::vector<NameIndex::Entry> names;
  names.reserve(values.size());
  for (uint32_t i = 0; i < values.size(); ++i)
    names.push_back({name_hash(view(values.Get(i)->name())), i});
  const auto name = [&](const NameIndex::Entry& entry) {
    return view(values.Get(entry.index)->name());
  };
  std::sort(names.begin(), names.end(), [&](const auto& a, const auto& b) {
    return a.hash != b.hash ? a.hash < b.hash : name(a) < name(b);
  });
  for (size_t i = 1; i < names.size(); ++i) {
    if (names[i - 1].hash == names[i].hash && name(names[i - 1]) == name(names[i])) {
      return error(Code::kCorrupt, "values {} and {} have the same name '{}'", names[i - 1].index,
                   names[i].index, name(names[i]));
    }
  }
  return {};
}

Status check_rope(const fb::Rope& rope) {
  const uint64_t pairs = rope.rotary_dim() / 2;
  const uint64_t long_pairs = length(rope.long_frequencies());
  if (rope.rotary_dim() == 0 || rope.rotary_dim() % 2 != 0 ||
      rope.rotary_dim() > limits::kMaxRotaryDim || length(rope.frequencies()) != pairs) {
    return error(Code::kCorrupt,
                 "rotates {} elements (an even number up to {} is possible) with {} "
                 "frequencies",
                 rope.rotary_dim(), limits::kMaxRotaryDim, length(rope.frequencies()));
  }
  if ((long_pairs != 0 && long_pairs != pairs) || (long_pairs != 0) != (rope.long_from() != 0) ||
      rope.long_from() > limits::kMaxContext) {
    return error(Code::kCorrupt, "has {} frequencies for contexts above {}", long_pairs,
                 rope.long_from());
  }
  bool finite =
      std::isfinite(rope.attention_factor()) && std::isfinite(rope.long_attention_factor());
  for (uint32_t i = 0; i < pairs; ++i) {
    finite = finite && std::isfinite(rope.frequencies()->Get(i)) &&
             (long_pairs == 0 || std::isfinite(rope.long_frequencies()->Get(i)));
  }
  if (!finite) return error(Code::kCorrupt, "has a frequency or factor that is not finite");
  return {};
}

}  // namespace

bool is_symbol(const fb::Dim& dim, int32_t symbol, uint64_t offset) noexcept {
  return symbol >= 0 && dim.symbol() == symbol && dim.scale() == 1 && dim.offset() == offset;
}

Result<LinearForm> read_linear(const PlanContext& context, const fb::Linear* linear) {
  if (linear == nullptr) return error(Code::kCorrupt, "is missing");
  LinearForm form;
  form.constant = linear->offset();
  if (length(linear->terms()) > context.bounds.count || !aligned_for_u64(linear->terms())) {
    return error(Code::kCorrupt, "has {} terms for {} symbols, or they are misaligned",
                 length(linear->terms()), context.bounds.count);
  }
  for (uint32_t i = 0; i < length(linear->terms()); ++i) {
    const fb::Term& term = *linear->terms()->Get(i);
    if (term.symbol() >= context.bounds.count || term.reserved() != 0 || term.scale() == 0 ||
        term.scale() > limits::kMaxArenaBytes ||
        (i > 0 && term.symbol() <= linear->terms()->Get(i - 1)->symbol())) {
      return error(Code::kCorrupt,
                   "has term {} (symbol {}, scale {}) that is dangling, zero, too "
                   "large or out of order",
                   i, term.symbol(), term.scale());
    }
    form.scale[term.symbol()] = term.scale();
  }
  if (value_at_maximum(form, context.bounds) == UINT64_MAX) {
    return error(Code::kCorrupt, "may exceed {} bytes", limits::kMaxArenaBytes);
  }
  return form;
}

Status check_symbols(PlanContext& context) {
  context.symbol_of_letter.fill(-1);
  const uint64_t count = length(context.plan.symbols());
  if (count > limits::kMaxSymbols) {
    return error(Code::kCorrupt, "{} symbols; at most {} are possible", count, limits::kMaxSymbols);
  }
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Symbol& symbol = *context.plan.symbols()->Get(i);
    BP_TRY(check_name(symbol.name(), "symbol", i));
    const char letter = symbol_letter(view(symbol.name()));
    if (letter == 0) {
      return error(Code::kIncompatible, "symbol '{}' is unknown to this program; use a newer one",
                   view(symbol.name()));
    }
    int32_t& slot = context.symbol_of_letter[static_cast<uint8_t>(letter)];
    if (slot != -1) return error(Code::kCorrupt, "two symbols '{}'", view(symbol.name()));
    slot = static_cast<int32_t>(i);
    if (symbol.maximum() == 0 || symbol.maximum() > limits::kMaxSymbolValue ||
        symbol.minimum() > symbol.maximum()) {
      return error(Code::kCorrupt, "symbol '{}' runs from {} to {}; at most {} is possible",
                   view(symbol.name()), symbol.minimum(), symbol.maximum(),
                   limits::kMaxSymbolValue);
    }
    context.bounds.minimum[i] = symbol.minimum();
    context.bounds.maximum[i] = symbol.maximum();
  }
  context.bounds.count = static_cast<uint32_t>(count);
  if (context.plan.page_size() == 0 || context.plan.page_size() > limits::kMaxPageSize) {
    return error(Code::kCorrupt, "a page of {} positions; 1 to {} are possible",
                 context.plan.page_size(), limits::kMaxPageSize);
  }
  return {};
}

Status check_ropes(const PlanContext& context) {
  const uint64_t count = length(context.plan.ropes());
  if (count > limits::kMaxRopes) {
    return error(Code::kCorrupt, "{} rotary tables; at most {} are possible", count,
                 limits::kMaxRopes);
  }
  for (uint32_t i = 0; i < count; ++i) {
    BP_TRY(check_rope(*context.plan.ropes()->Get(i)).with_context("rotary table {}", i));
  }
  return {};
}

Status check_values(const PlanContext& context) {
  const uint64_t count = length(context.plan.values());
  if (count == 0 || count > limits::kMaxValues) {
    return error(Code::kCorrupt, "{} values; 1 to {} are possible", count, limits::kMaxValues);
  }
  const LinearForm arena =
      BP_TRY(read_linear(context, context.plan.arena_bytes()).with_context("size of the arena"));
  uint32_t outputs = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Value& value = *context.plan.values()->Get(i);
    BP_TRY(check_name(value.name(), "value", i));
    BP_TRY(check_name(value.format(), "format of value", i));
    BP_TRY(check_shape(context, value).with_context("value '{}'", view(value.name())));
    BP_TRY(check_role(context, arena, value).with_context("value '{}'", view(value.name())));
    if (value.role() == fb::Role::Output) ++outputs;
  }
  if (outputs != 1) return error(Code::kCorrupt, "{} outputs; there has to be one", outputs);
  return check_unique_names(context);
}

}  // namespace bp::verify
