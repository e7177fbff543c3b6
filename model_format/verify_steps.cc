// SPDX-License-Identifier: Apache-2.0
// The step list: known ops, operands of the right kind, everything written once and before it is
// read. The order of the list is the order of execution, so a cycle is a use before definition.
#include <vector>

#include "backplane/formats.h"
#include "model_format/verify_parts.h"

namespace bp::verify {
namespace {

class StepChecker {
 public:
  explicit StepChecker(const PlanContext& context)
      : context_(context), written_(context.plan.values()->size(), false) {}

  Status check(const fb::Step& step) {
    const OpSpec& op = *BP_TRY(find(step));
    const uint64_t layers = context_.model.hyper_parameters()->layers();
    if (step.layer() < -1 || step.layer() >= static_cast<int64_t>(layers)) {
      return error(Code::kCorrupt, "belongs to layer {} of {}", step.layer(), layers);
    }
    if (length(step.inputs()) != op.inputs.size() || length(step.outputs()) != op.outputs.size()) {
      return error(Code::kCorrupt,
                   "has {} inputs and {} outputs; {} version {} has {} and {} slots",
                   length(step.inputs()), length(step.outputs()), op.name, op.version,
                   op.inputs.size(), op.outputs.size());
    }
    for (uint32_t i = 0; i < op.inputs.size(); ++i) {
      BP_TRY(check_input(op.inputs[i], step.inputs()->Get(i))
                 .with_context("input '{}'", op.inputs[i].name));
    }
    BP_TRY(check_caches(op, step));
    for (uint32_t i = 0; i < op.outputs.size(); ++i) {
      BP_TRY(check_output(op.outputs[i], step.outputs()->Get(i))
                 .with_context("output '{}'", op.outputs[i].name));
    }
    return check_step_shapes(context_, op, step);
  }

  // Nothing may be left that a step reads or the caller expects and nobody writes.
  Status finish() const {
    for (uint32_t i = 0; i < written_.size(); ++i) {
      const fb::Value& value = *context_.plan.values()->Get(i);
      const bool must = value.role() == fb::Role::Output || value.role() == fb::Role::Scratch ||
                        value.role() == fb::Role::State;
      if (must && !written_[i]) {
        return error(Code::kCorrupt, "no step writes value '{}'", view(value.name()));
      }
    }
    return {};
  }

 private:
  Result<const OpSpec*> find(const fb::Step& step) const {
    BP_TRY(check_name(step.op(), "op", 0));
    const std::string_view name = view(step.op());
    const OpSpec* op = find_op(name, step.version());
    if (op != nullptr) return op;
    const uint32_t newest = newest_op_version(name);
    if (newest == 0) {
      return error(Code::kIncompatible, "op '{}' is unknown to this program; use a newer one",
                   name);
    }
    if (step.version() == 0) return error(Code::kCorrupt, "op '{}' has version 0", name);
    return error(Code::kIncompatible,
                 "op '{}' version {} is unknown to this program, which knows up to {}; use a newer "
                 "one",
                 name, step.version(), newest);
  }

  Result<const fb::Value*> value_at(int32_t index) const {
    if (index < 0 || static_cast<uint32_t>(index) >= written_.size()) {
      return error(Code::kCorrupt, "is value {} of {}", index, written_.size());
    }
    return context_.plan.values()->Get(static_cast<uint32_t>(index));
  }

  Status check_input(const OperandSpec& spec, int32_t index) const {
    if (index == -1) {
      if (spec.optional) return {};
      return error(Code::kCorrupt, "is absent, but not optional");
    }
    const fb::Value& value = *BP_TRY(value_at(index));
    const fb::Role role = value.role();
    const std::string_view format = view(value.format());
    const bool computed = role == fb::Role::Scratch || role == fb::Role::Output;
    bool fits = false;
    switch (spec.kind) {
      case OperandKind::kActivation:
        fits = computed && format == "f32";
        break;
      case OperandKind::kIndices:
        fits = computed && format == "i32";
        break;
      case OperandKind::kWeight:
        fits = role == fb::Role::Weight;
        break;
      case OperandKind::kVector:
        fits = role == fb::Role::Weight && format == "f32";
        break;
      case OperandKind::kState:
        fits = role == fb::Role::State;
        break;
      case OperandKind::kInput:
        fits = role == fb::Role::Input &&
               (spec.input == "rope/" ? value.rope() >= 0 : view(value.name()) == spec.input);
        break;
    }
    if (!fits) {
      return error(Code::kCorrupt, "cannot be value '{}' ({}, role {})", view(value.name()), format,
                   fb::EnumNameRole(role));
    }
    if (computed && !written_[static_cast<uint32_t>(index)]) {
      return error(Code::kCorrupt, "reads value '{}' before a step has written it",
                   view(value.name()));
    }
    return {};
  }

  // rope_kv_write fills its caches, each for the first and only time; others read them.
  Status check_caches(const OpSpec& op, const fb::Step& step) {
    const bool writes = op.name == "rope_kv_write";
    for (uint32_t i = 0; i < op.inputs.size(); ++i) {
      if (op.inputs[i].kind != OperandKind::kState) continue;
      const auto index = static_cast<uint32_t>(step.inputs()->Get(i));
      if (written_[index] == writes) {
        return error(Code::kCorrupt, "cache '{}' is {}",
                     view(context_.plan.values()->Get(index)->name()),
                     writes ? "written twice" : "read before a step has written it");
      }
      if (writes) written_[index] = true;
    }
    return {};
  }

  Status check_output(const OperandSpec& spec, int32_t index) {
    const fb::Value& value = *BP_TRY(value_at(index));
    const std::string_view format = spec.kind == OperandKind::kIndices ? "i32" : "f32";
    if ((value.role() != fb::Role::Scratch && value.role() != fb::Role::Output) ||
        view(value.format()) != format) {
      return error(Code::kCorrupt, "cannot be value '{}' ({}, role {})", view(value.name()),
                   view(value.format()), fb::EnumNameRole(value.role()));
    }
    if (written_[static_cast<uint32_t>(index)]) {
      return error(Code::kCorrupt, "writes value '{}' a second time", view(value.name()));
    }
    written_[static_cast<uint32_t>(index)] = true;
    return {};
  }

  const PlanContext& context_;
  std::vector<bool> written_;
};

}  // namespace

Status check_steps(const PlanContext& context) {
  const uint64_t count = length(context.plan.steps());
  if (count == 0 || count > limits::kMaxSteps) {
    return error(Code::kCorrupt, "{} steps; 1 to {} are possible", count, limits::kMaxSteps);
  }
  StepChecker checker(context);
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Step& step = *context.plan.steps()->Get(i);
    Status status = checker.check(step);
    if (!status.ok()) {
      // The op's name is safe to show only once it has been checked.
      const bool named = check_name(step.op(), "op", i).ok();
      return std::move(status).with_context("step {} ({})", i, named ? view(step.op()) : "?");
    }
  }
  return checker.finish();
}

}  // namespace bp::verify
