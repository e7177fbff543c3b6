// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/lower.h"

#include "compiler/passes/plan_memory.h"
#include "core/base/checked.h"
#include "core/base/limits.h"
#include "model_format/op_table.h"

namespace bp::compiler {
namespace {

// Upper bounds of the symbols: far above what a session chooses, low enough that no size computed
// from them overflows.
constexpr uint64_t kMaxRows = uint64_t{1} << 20;  // tokens, outputs
constexpr uint64_t kMaxSequences = uint64_t{1} << 16;
constexpr uint64_t kMaxPages = uint64_t{1} << 31;  // page numbers are i32
constexpr uint64_t kMaxBlocks = limits::kMaxContext / kPageSize;

std::unique_ptr<fb::LinearT> lower_linear(const LinearBytes& bytes) {
  auto out = std::make_unique<fb::LinearT>();
  out->offset = bytes.offset;
  for (uint32_t i = 0; i < kSymbolCount; ++i) {
    if (bytes.scale[i] != 0) out->terms.emplace_back(i, 0u, bytes.scale[i]);
  }
  return out;
}

fb::Role lower_role(Role role) {
  switch (role) {
    case Role::kWeight:
      return fb::Role::Weight;
    case Role::kInput:
      return fb::Role::Input;
    case Role::kOutput:
      return fb::Role::Output;
    case Role::kState:
      return fb::Role::State;
    case Role::kScratch:
      return fb::Role::Scratch;
  }
  return fb::Role::Scratch;
}

std::unique_ptr<fb::AttributeT> lower_attribute(const std::string& name, const Attribute& value) {
  auto out = std::make_unique<fb::AttributeT>();
  out->name = name;
  if (const int64_t* integer = std::get_if<int64_t>(&value)) {
    fb::IntValueT v;
    v.value = *integer;
    out->value.Set(v);
  } else if (const double* number = std::get_if<double>(&value)) {
    fb::FloatValueT v;
    v.value = *number;
    out->value.Set(v);
  } else {
    fb::StringValueT v;
    v.value = std::get<std::string>(value);
    out->value.Set(std::move(v));
  }
  return out;
}

void add_symbol(fb::PlanT& plan, const char* name, uint64_t maximum) {
  auto symbol = std::make_unique<fb::SymbolT>();
  symbol->name = name;
  symbol->minimum = 1;
  symbol->maximum = maximum;
  plan.symbols.push_back(std::move(symbol));
}

class Lowering {
 public:
  Lowering(const Graph& graph, const MemoryPlan& memory)
      : graph_(graph),
        memory_(memory),
        new_value_(graph.values.size(), -1),
        new_tensor_(graph.weights.size(), -1),
        new_rope_(graph.ropes.size(), -1) {}

  Result<LoweredPlan> run() {
    out_.plan = std::make_unique<fb::PlanT>();
    fb::PlanT& plan = *out_.plan;
    add_symbol(plan, "tokens", kMaxRows);
    add_symbol(plan, "sequences", kMaxSequences);
    add_symbol(plan, "outputs", kMaxRows);
    add_symbol(plan, "pages", kMaxPages);
    add_symbol(plan, "blocks", kMaxBlocks);
    plan.page_size = kPageSize;
    for (const Node& node : graph_.nodes) BP_TRY(add_step(node));
    plan.arena_bytes = lower_linear(memory_.arena);
    return std::move(out_);
  }

 private:
  Status add_step(const Node& node) {
    if (find_op(node.op, 1) == nullptr) {
      return error(Code::kInternal, "op '{}' of layer {} was not fused into any op of a plan",
                   node.op, node.layer);
    }
    auto step = std::make_unique<fb::StepT>();
    step->op = node.op;
    step->version = 1;
    step->layer = node.layer;
    for (const ValueId v : node.inputs) step->inputs.push_back(value(v));
    for (const ValueId v : node.outputs) step->outputs.push_back(value(v));
    for (const auto& [name, attribute] : node.attributes) {
      step->attributes.push_back(lower_attribute(name, attribute));
    }
    out_.plan->steps.push_back(std::move(step));
    return {};
  }

  int32_t value(ValueId id) {
    if (id == kAbsent) return -1;
    int32_t& renumbered = new_value_[static_cast<size_t>(id)];
    if (renumbered >= 0) return renumbered;
    const Value& from = graph_.values[static_cast<size_t>(id)];
    auto to = std::make_unique<fb::ValueT>();
    to->name = from.name;
    to->role = lower_role(from.role);
    to->format = from.format;
    for (const Dim& dim : from.shape) {
      to->shape.emplace_back(static_cast<int32_t>(dim.symbol), 0u, dim.scale, dim.offset);
    }
    if (from.weight >= 0) to->tensor = tensor(static_cast<size_t>(from.weight));
    if (from.rope >= 0) {
      to->rope = rope(static_cast<size_t>(from.rope));
      to->name = "rope/" + std::to_string(to->rope);  // the name that the runtime fills by
    }
    if (const auto& place = memory_.places[static_cast<size_t>(id)]; place.has_value()) {
      to->arena_offset = lower_linear(place->offset);
      to->arena_bytes = lower_linear(place->bytes);
    }
    renumbered = static_cast<int32_t>(out_.plan->values.size());
    out_.plan->values.push_back(std::move(to));
    return renumbered;
  }

  int32_t tensor(size_t weight) {
    int32_t& renumbered = new_tensor_[weight];
    if (renumbered < 0) {
      renumbered = static_cast<int32_t>(out_.tensors.size());
      out_.tensors.push_back(graph_.weights[weight]);
    }
    return renumbered;
  }

  int32_t rope(size_t index) {
    int32_t& renumbered = new_rope_[index];
    if (renumbered < 0) {
      const Rope& from = graph_.ropes[index];
      auto to = std::make_unique<fb::RopeT>();
      to->rotary_dim = from.rotary_dim;
      to->frequencies = from.frequencies;
      to->attention_factor = from.attention_factor;
      to->long_frequencies = from.long_frequencies;
      to->long_attention_factor = from.long_attention_factor;
      to->long_from = from.long_from;
      renumbered = static_cast<int32_t>(out_.plan->ropes.size());
      out_.plan->ropes.push_back(std::move(to));
    }
    return renumbered;
  }

  const Graph& graph_;
  const MemoryPlan& memory_;
  std::vector<int32_t> new_value_;
  std::vector<int32_t> new_tensor_;
  std::vector<int32_t> new_rope_;
  LoweredPlan out_;
};

}  // namespace

Result<LoweredPlan> lower(const Graph& graph) {
  const MemoryPlan memory = BP_TRY(plan_memory(graph));
  return Lowering(graph, memory).run();
}

}  // namespace bp::compiler
