// SPDX-License-Identifier: Apache-2.0
// Quantities that depend on the sizes of a pass: dimensions (scale × symbol + offset) and memory
// plans (offset + Σ scale × symbol), evaluated for chosen symbols or compared for all of them.
//
// Pure functions and plain values, callable from any thread. Symbols are indexed as in
// Plan.symbols.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/base/status.h"
#include "model_format/bpm_generated.h"
#include "model_format/format_limits.h"

namespace bp {

// The value for chosen symbols, symbols[i] being that of Plan.symbols[i]. CORRUPT on overflow or
// a symbol that `symbols` lacks; cannot happen for verified models and symbols inside their bounds.
Result<uint64_t> evaluate(const fb::Dim& dim, std::span<const uint64_t> symbols);
Result<uint64_t> evaluate(const fb::Linear& linear, std::span<const uint64_t> symbols);

// The smallest and largest value that each symbol may take: a box.
struct SymbolBounds {
  uint32_t count = 0;
  std::array<uint64_t, limits::kMaxSymbols> minimum{};
  std::array<uint64_t, limits::kMaxSymbols> maximum{};
};

// constant + Σ scale[i] × symbol i. All coefficients are at most kMaxArenaBytes, so that sums and
// differences of a few forms are exact in 128 bits.
struct LinearForm {
  uint64_t constant = 0;
  std::array<uint64_t, limits::kMaxSymbols> scale{};

  bool operator==(const LinearForm&) const = default;
};

// a + b, coefficient by coefficient. False when one exceeds kMaxArenaBytes.
[[nodiscard]] bool try_add(const LinearForm& a, const LinearForm& b, LinearForm* out) noexcept;

// Is a ≤ b for every choice of symbols inside the bounds? Exact: over a box, a linear function
// takes its minimum in a corner, and the corner is chosen coefficient by coefficient.
[[nodiscard]] bool always_at_most(const LinearForm& a, const LinearForm& b,
                                  const SymbolBounds& bounds) noexcept;

// The value where every symbol is largest, or UINT64_MAX when that is above kMaxArenaBytes.
[[nodiscard]] uint64_t value_at_maximum(const LinearForm& form,
                                        const SymbolBounds& bounds) noexcept;

}  // namespace bp
