// SPDX-License-Identifier: Apache-2.0
// The model as a list of operations on named values: what architectures build, passes rewrite and
// lower() (compiler/passes/lower.h) turns into the plan of a model file.
//
// Nodes stand in the order of execution, which every pass keeps valid: a value is made before it
// is used. Ops are those of docs/ops.md and, before the passes have run, these smaller ones, which
// exist only here:
//
//   activation   (x) → y                      attribute kind: silu, gelu, gelu_tanh
//   multiply     (a, b) → y                   element by element
//   add          (a, b) → y
//   softcap      (x) → y                      attribute cap: cap × tanh(x / cap)
//   head_norm    (x [T, h·D], gain [D]) → y   RMS norm of each head; attributes head_dim, eps
//   rope         (x [T, h·D], table) → y      attributes head_dim, rotary_dim, interleaved
//   kv_write     (k, v, positions, sequence_of, page_table, k cache, v cache) → nothing
//   expert_linear(x [T, K], w [E, N, K], ids [T, k]) → y [T, k, N]
//
// Plain data. A Graph belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/status.h"

namespace bp::compiler {

// Positions in a KV page. 16 keeps the waste of a short sequence small and a page of one head a
// few KiB, enough for a kernel to stream.
inline constexpr uint32_t kPageSize = 16;

enum class Symbol : int8_t {
  kConstant = -1,
  kTokens = 0,
  kSequences = 1,
  kOutputs = 2,
  kPages = 3,
  kBlocks = 4,
};

struct Dim {  // scale × symbol + offset; a constant is its offset
  Symbol symbol = Symbol::kConstant;
  uint64_t scale = 0;
  uint64_t offset = 0;
  bool operator==(const Dim&) const = default;
};
inline Dim constant(uint64_t n) {
  return {Symbol::kConstant, 0, n};
}
inline Dim symbolic(Symbol s, uint64_t offset = 0) {
  return {s, 1, offset};
}

enum class Role : uint8_t { kWeight, kInput, kOutput, kState, kScratch };

using ValueId = int32_t;
inline constexpr ValueId kAbsent = -1;  // an optional operand that is not there

struct Value {
  std::string name;
  Role role = Role::kScratch;
  std::string format = "f32";
  std::vector<Dim> shape;
  int32_t weight = -1;  // kWeight: index into Graph::weights
  int32_t rope = -1;    // kInput: index into Graph::ropes
};

using Attribute = std::variant<int64_t, double, std::string>;
using Attributes = std::map<std::string, Attribute, std::less<>>;

struct Node {
  std::string op;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  Attributes attributes;
  int32_t layer = -1;
};

// Rows [first_row, first_row + rows) of a source tensor, seen as a matrix of its last dimension.
struct WeightPart {
  size_t tensor = 0;  // index into TensorSource::tensors()
  uint64_t first_row = 0;
  uint64_t rows = 0;
  bool operator==(const WeightPart&) const = default;
};

// A tensor of the model file: rows of source tensors, one after the other.
struct Weight {
  std::string name;
  std::string format;           // of the model file
  std::vector<uint64_t> shape;  // outermost first
  float add = 0;                // added to every element (gains stored as an offset from 1)
  std::vector<WeightPart> parts;
};

struct Rope {
  uint32_t rotary_dim = 0;
  std::vector<float> frequencies;  // [rotary_dim / 2], radians per position
  float attention_factor = 1;      // multiplies cos and sin
  std::vector<float> long_frequencies;
  float long_attention_factor = 1;
  uint64_t long_from = 0;  // the long ones serve contexts above this; 0: there are none
  bool operator==(const Rope&) const = default;
};

struct Graph {
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<Weight> weights;
  std::vector<Rope> ropes;
  uint64_t max_context = 0;  // positions that the model was made for

  ValueId add_value(Value value);
  ValueId add_scratch(std::string name, std::vector<Dim> shape, std::string format = "f32");
  // A value for a weight that is moved into the graph.
  ValueId add_weight(Weight weight);
  // Appends a node with one fresh f32 scratch output of that name and shape.
  ValueId add_node(std::string op, std::vector<ValueId> inputs, Attributes attributes,
                   int32_t layer, std::string name, std::vector<Dim> shape);

  const Weight& weight_of(ValueId value) const;

  // INTERNAL when a node uses a value before it is made, a value is made twice, or an index is out
  // of range: a pass has a bug.
  Status check() const;
  // One line a node: "3 linear h0, layers/0/q -> q0 [T, 64]". For tests and people.
  std::string to_string() const;
};

// Typed reads of attributes that the graph's own builders wrote.
int64_t int_attribute(const Node& node, std::string_view name, int64_t fallback = 0);
double float_attribute(const Node& node, std::string_view name, double fallback = 0);
std::string string_attribute(const Node& node, std::string_view name, std::string_view fallback);

}  // namespace bp::compiler
