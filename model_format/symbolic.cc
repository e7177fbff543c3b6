// SPDX-License-Identifier: Apache-2.0
#include "model_format/symbolic.h"

#include "core/base/checked.h"

namespace bp {
namespace {

__extension__ using Wide = __int128;

Result<uint64_t> symbol_value(int64_t index, std::span<const uint64_t> symbols) {
  if (index < 0 || static_cast<uint64_t>(index) >= symbols.size()) {
    return error(Code::kCorrupt, "symbol {} is not among the {} of the plan", index,
                 symbols.size());
  }
  return symbols[static_cast<size_t>(index)];
}

}  // namespace

Result<uint64_t> evaluate(const fb::Dim& dim, std::span<const uint64_t> symbols) {
  if (dim.symbol() < 0) return dim.offset();
  const uint64_t value = BP_TRY(symbol_value(dim.symbol(), symbols));
  return checked_add(BP_TRY(checked_mul(dim.scale(), value)), dim.offset());
}

Result<uint64_t> evaluate(const fb::Linear& linear, std::span<const uint64_t> symbols) {
  uint64_t sum = linear.offset();
  if (linear.terms() == nullptr) return sum;
  for (const fb::Term* term : *linear.terms()) {
    const uint64_t value = BP_TRY(symbol_value(term->symbol(), symbols));
    sum = BP_TRY(checked_add(sum, BP_TRY(checked_mul(term->scale(), value))));
  }
  return sum;
}

bool try_add(const LinearForm& a, const LinearForm& b, LinearForm* out) noexcept {
  LinearForm sum;
  if (!try_add(a.constant, b.constant, &sum.constant) || sum.constant > limits::kMaxArenaBytes) {
    return false;
  }
  for (size_t i = 0; i < sum.scale.size(); ++i) {
    if (!try_add(a.scale[i], b.scale[i], &sum.scale[i]) || sum.scale[i] > limits::kMaxArenaBytes) {
      return false;
    }
  }
  *out = sum;
  return true;
}

bool always_at_most(const LinearForm& a, const LinearForm& b, const SymbolBounds& bounds) noexcept {
  Wide least = Wide{b.constant} - Wide{a.constant};
  for (size_t i = 0; i < bounds.count; ++i) {
    const Wide slope = Wide{b.scale[i]} - Wide{a.scale[i]};
    least += slope * (slope >= 0 ? bounds.minimum[i] : bounds.maximum[i]);
  }
  return least >= 0;
}

uint64_t value_at_maximum(const LinearForm& form, const SymbolBounds& bounds) noexcept {
  Wide value = form.constant;
  for (size_t i = 0; i < bounds.count; ++i) value += Wide{form.scale[i]} * bounds.maximum[i];
  return value > Wide{limits::kMaxArenaBytes} ? UINT64_MAX : static_cast<uint64_t>(value);
}

}  // namespace bp
