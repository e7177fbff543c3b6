// SPDX-License-Identifier: Apache-2.0
// Where every intermediate result lives in the arena.
//
// A value whose size grows with a symbol gets a place that grows with the same symbol: bytes and
// offset are linear functions, so one plan serves every batch size. Values are grouped by symbol
// into regions; the region of `tokens` comes first, so its offsets have one term, and the others
// begin where the ones before them end. Inside a region a place is an interval of bytes *per unit*
// of the symbol, rounded up to 256: values that never live at the same time share bytes (interval
// packing, largest first, lowest free offset). Rounding per unit keeps every address aligned for
// every value of the symbols.
//
// An output takes over the memory of its `residual` operand (docs/ops.md allows exactly that) when
// nothing reads the residual afterwards and the op reads it in no other slot; the hidden state of
// a transformer thus stays in one place from the first layer to the last.
//
// Deterministic. O(values²) in the worst case, for values of the arena only.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "compiler/graph/graph.h"

namespace bp::compiler {

inline constexpr uint64_t kArenaAlignment = 256;
inline constexpr size_t kSymbolCount = 5;

// offset + Σ scale[i] × symbol i, bytes.
struct LinearBytes {
  uint64_t offset = 0;
  std::array<uint64_t, kSymbolCount> scale{};
  bool operator==(const LinearBytes&) const = default;
};

struct Place {
  LinearBytes offset;
  LinearBytes bytes;  // of the value itself, not rounded
};

struct MemoryPlan {
  std::vector<std::optional<Place>> places;  // by value; none for weights, inputs, states
  LinearBytes arena;                         // bytes of the whole arena
};

// INTERNAL when a value's size is not linear in at most one symbol; CORRUPT when sizes overflow.
Result<MemoryPlan> plan_memory(const Graph& graph);

}  // namespace bp::compiler
