// SPDX-License-Identifier: Apache-2.0
#include "compiler/graph/graph.h"

#include <fmt/format.h>

namespace bp::compiler {

ValueId Graph::add_value(Value value) {
  values.push_back(std::move(value));
  return static_cast<ValueId>(values.size() - 1);
}

ValueId Graph::add_scratch(std::string name, std::vector<Dim> shape, std::string format) {
  Value value;
  value.name = std::move(name);
  value.format = std::move(format);
  value.shape = std::move(shape);
  return add_value(std::move(value));
}

ValueId Graph::add_weight(Weight weight) {
  Value value;
  value.name = weight.name;
  value.role = Role::kWeight;
  value.format = weight.format;
  for (const uint64_t n : weight.shape) value.shape.push_back(constant(n));
  value.weight = static_cast<int32_t>(weights.size());
  weights.push_back(std::move(weight));
  return add_value(std::move(value));
}

ValueId Graph::add_node(std::string op, std::vector<ValueId> inputs, Attributes attributes,
                        int32_t layer, std::string name, std::vector<Dim> shape) {
  const ValueId output = add_scratch(std::move(name), std::move(shape));
  nodes.push_back({std::move(op), std::move(inputs), {output}, std::move(attributes), layer});
  return output;
}

const Weight& Graph::weight_of(ValueId value) const {
  return weights[static_cast<size_t>(values[static_cast<size_t>(value)].weight)];
}

Status Graph::check() const {
  std::vector<bool> made(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const Role role = values[i].role;
    made[i] = role == Role::kWeight || role == Role::kInput || role == Role::kState;
    if (role == Role::kWeight && static_cast<size_t>(values[i].weight) >= weights.size()) {
      return error(Code::kInternal, "value '{}' names weight {}", values[i].name, values[i].weight);
    }
  }
  const auto in_range = [this](ValueId v) {
    return v >= 0 && static_cast<size_t>(v) < values.size();
  };
  for (const Node& node : nodes) {
    for (const ValueId v : node.inputs) {
      if (v == kAbsent) continue;
      if (!in_range(v) || !made[static_cast<size_t>(v)]) {
        return error(Code::kInternal, "op '{}' of layer {} uses value {} before it is made",
                     node.op, node.layer, v);
      }
    }
    for (const ValueId v : node.outputs) {
      if (!in_range(v) || made[static_cast<size_t>(v)]) {
        return error(Code::kInternal, "op '{}' of layer {} makes value {} twice", node.op,
                     node.layer, v);
      }
      made[static_cast<size_t>(v)] = true;
    }
  }
  return {};
}

namespace {

std::string dim_text(const Dim& dim) {
  if (dim.symbol == Symbol::kConstant) return std::to_string(dim.offset);
  std::string text(1, "TSOPB"[static_cast<size_t>(dim.symbol)]);
  if (dim.scale != 1) text = fmt::format("{}{}", dim.scale, text);
  if (dim.offset != 0) text += fmt::format("+{}", dim.offset);
  return text;
}

}  // namespace

std::string Graph::to_string() const {
  std::string text;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    text += fmt::format("{} {}", i, node.op);
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const ValueId v = node.inputs[k];
      text += k == 0 ? " " : ", ";
      text += v == kAbsent ? "-" : values[static_cast<size_t>(v)].name;
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const Value& value = values[static_cast<size_t>(node.outputs[k])];
      text += k == 0 ? " -> " : ", ";
      text += value.name + " [";
      for (size_t d = 0; d < value.shape.size(); ++d) {
        text += (d == 0 ? "" : ", ") + dim_text(value.shape[d]);
      }
      text += "]";
    }
    text += "\n";
  }
  return text;
}

int64_t int_attribute(const Node& node, std::string_view name, int64_t fallback) {
  const auto it = node.attributes.find(name);
  if (it == node.attributes.end()) return fallback;
  const int64_t* value = std::get_if<int64_t>(&it->second);
  return value == nullptr ? fallback : *value;
}

double float_attribute(const Node& node, std::string_view name, double fallback) {
  const auto it = node.attributes.find(name);
  if (it == node.attributes.end()) return fallback;
  const double* value = std::get_if<double>(&it->second);
  return value == nullptr ? fallback : *value;
}

std::string string_attribute(const Node& node, std::string_view name, std::string_view fallback) {
  const auto it = node.attributes.find(name);
  if (it == node.attributes.end()) return std::string(fallback);
  const std::string* value = std::get_if<std::string>(&it->second);
  return value == nullptr ? std::string(fallback) : *value;
}

}  // namespace bp::compiler
