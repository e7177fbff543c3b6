// SPDX-License-Identifier: Apache-2.0
// One op as bp.kernel/1 shows it to a provider, with the weights that belong to it.
//
// Dimensions use the five symbols of docs/ops.md in the order below, which is the order in which
// their ranges and values are passed.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "backplane/plugin.h"
#include "sdk/conformance/weight.h"

namespace bp::conformance {

enum Symbol : int32_t { kTokens, kSequences, kOutputs, kPages, kBlocks, kSymbols };
using SymbolValues = std::array<uint64_t, kSymbols>;
using SymbolRanges = std::array<bp_symbol_range, kSymbols>;

inline bp_dim constant(uint64_t extent) {
  return {-1, 0, 0, extent};
}
inline bp_dim dim(Symbol symbol, uint64_t offset = 0) {
  return {symbol, 0, 1, offset};
}
uint64_t evaluate(const bp_dim& dim, const SymbolValues& symbols);

// Ranges as the runtime passes them: pools are as large as they are, the rest starts at 1.
SymbolRanges ranges_up_to(const SymbolValues& maximum);
SymbolValues maximum_of(const SymbolRanges& ranges);

struct Operand {
  int32_t role = BP_ROLE_NONE;
  std::string format;
  std::vector<bp_dim> dims;
  std::shared_ptr<const Weight> weight;

  bool is_memory() const { return role != BP_ROLE_NONE && role != BP_ROLE_WEIGHT; }
  uint64_t bytes(const SymbolValues& symbols) const;
};

struct Attribute {
  std::string name;
  int32_t kind = 0;
  int64_t int_value = 0;
  double float_value = 0;
  std::string string_value;
};

class OpRecord {
 public:
  explicit OpRecord(std::string name_of_op = {}) : name(std::move(name_of_op)) {}

  OpRecord& absent();
  OpRecord& input(std::string format, std::vector<bp_dim> dims);
  OpRecord& state(std::string format, std::vector<bp_dim> dims);
  OpRecord& weight(Weight weight);
  OpRecord& output(std::string format, std::vector<bp_dim> dims);
  OpRecord& attribute(std::string of, int64_t value);
  OpRecord& attribute(std::string of, int value) {
    return attribute(std::move(of), int64_t{value});
  }
  OpRecord& attribute(std::string of, double value);
  OpRecord& attribute(std::string of, std::string value);
  Attribute* find(const std::string& wanted);

  // Public, so that tests of refusals can break any of them.
  std::string name;
  uint32_t version = 1;
  std::vector<Operand> inputs;
  std::vector<Operand> outputs;
  std::vector<Attribute> attributes;

  const Weight& weight_at(size_t slot) const { return *inputs[slot].weight; }
};

// The flat records of an OpRecord; pointers into it and into the record that it was made from.
class FlatOp {
 public:
  // `padding` bytes of garbage follow every operand and attribute, as in a newer host's structs.
  explicit FlatOp(const OpRecord& record, uint32_t padding = 0);
  FlatOp(const FlatOp&) = delete;
  FlatOp& operator=(const FlatOp&) = delete;
  const bp_op& op() const noexcept { return op_; }

 private:
  std::vector<std::byte> inputs_, outputs_, attributes_;
  bp_op op_{};
};

}  // namespace bp::conformance
