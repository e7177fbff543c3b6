// SPDX-License-Identifier: Apache-2.0
// Short spellings for the small graphs of the passes' tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "compiler/graph/graph.h"

namespace bp::compiler {

class GraphFixture {
 public:
  Graph graph;

  ValueId input(std::string name, std::vector<Dim> shape = {symbolic(Symbol::kTokens)}) {
    Value value;
    value.name = std::move(name);
    value.role = Role::kInput;
    value.format = "i32";
    value.shape = std::move(shape);
    return graph.add_value(std::move(value));
  }
  // An activation that comes from nowhere: an input in the place of earlier layers.
  ValueId x(std::string name, uint64_t columns) {
    Value value;
    value.name = std::move(name);
    value.role = Role::kInput;
    value.shape = {symbolic(Symbol::kTokens), constant(columns)};
    return graph.add_value(std::move(value));
  }
  // A weight whose one part is rows 0 … of source tensor `tensor`.
  ValueId weight(std::string name, std::vector<uint64_t> shape, size_t tensor,
                 std::string format = "f16") {
    Weight w;
    w.name = std::move(name);
    w.format = std::move(format);
    uint64_t rows = 1;
    for (size_t d = 0; d + 1 < shape.size(); ++d) rows *= shape[d];
    w.parts = {{tensor, 0, rows}};
    w.shape = std::move(shape);
    return graph.add_weight(std::move(w));
  }
  ValueId state(std::string name) {
    Value value;
    value.name = std::move(name);
    value.role = Role::kState;
    value.format = "kv";
    value.shape = {symbolic(Symbol::kPages), constant(2), constant(kPageSize), constant(8)};
    return graph.add_value(std::move(value));
  }
  ValueId node(std::string op, std::vector<ValueId> inputs, Attributes attributes, std::string name,
               uint64_t columns) {
    return graph.add_node(std::move(op), std::move(inputs), std::move(attributes), 0,
                          std::move(name), {symbolic(Symbol::kTokens), constant(columns)});
  }
  ValueId linear(ValueId from, ValueId w, std::string name, uint64_t rows) {
    return node("linear", {from, w, kAbsent, kAbsent}, {}, std::move(name), rows);
  }
};

}  // namespace bp::compiler
