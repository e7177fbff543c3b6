// SPDX-License-Identifier: Apache-2.0
#include "core/plan/bound_plan.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "core/base/log.h"
#include "core/plugin/tables.h"

namespace bp {
namespace {
constexpr uint32_t kNowhere = UINT32_MAX;
}

// The best provider of one device for one step.
struct BoundPlan::Choice {
  bool possible = false;
  Provider provider;
  bp_match match{};
  std::string reason;  // why not, when it is not possible
};

SymbolValues symbol_values(const PlanSymbols& symbols, const PlanLimits& limits) {
  SymbolValues values(symbols.count);
  values[static_cast<size_t>(symbols.tokens)] = limits.tokens;
  values[static_cast<size_t>(symbols.sequences)] = limits.sequences;
  values[static_cast<size_t>(symbols.outputs)] = limits.outputs;
  values[static_cast<size_t>(symbols.pages)] = limits.pages;
  values[static_cast<size_t>(symbols.blocks)] = limits.blocks;
  return values;
}

BoundPlan::BoundPlan(std::shared_ptr<const FlatPlan> flat,
                     std::vector<std::shared_ptr<Device>> devices, const PlanLimits& limits)
    : flat_(std::move(flat)),
      devices_(std::move(devices)),
      limits_(limits),
      placements_(flat_->ops().size()),
      memory_(devices_.size()),
      targets_(flat_->ops().size()),
      kernels_(flat_->ops().size()) {
  for (const uint64_t maximum : symbol_values(flat_->symbols(), limits_)) {
    ranges_.push_back({1, 1, maximum});
  }
  // Pools are as large as they are for the whole life of a session.
  for (const int32_t fixed : {flat_->symbols().pages, flat_->symbols().blocks}) {
    bp_symbol_range& range = ranges_[static_cast<size_t>(fixed)];
    range.minimum = range.typical = range.maximum;
  }
}

Result<std::shared_ptr<BoundPlan>> BoundPlan::place(std::shared_ptr<const FlatPlan> flat,
                                                    std::vector<std::shared_ptr<Device>> devices,
                                                    const PlanLimits& limits, bool strict) try {
  std::shared_ptr<BoundPlan> plan(new BoundPlan(std::move(flat), std::move(devices), limits));
  std::vector<std::vector<Choice>> choices;
  for (uint32_t d = 0; d < plan->devices_.size(); ++d) {
    choices.push_back(BP_TRY(plan->match_device(d)));
  }
  BP_TRY(plan->assign(choices, strict));
  return plan;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "placing the plan: {}", thrown.what());
}

namespace {

// Is `a` to be preferred over `b`? Both can run the step.
bool better(const bp_match& a, const std::string& a_id, const bp_match& b,
            const std::string& b_id) {
  const bool a_reference = (a.flags & BP_MATCH_REFERENCE) != 0;
  const bool b_reference = (b.flags & BP_MATCH_REFERENCE) != 0;
  if (a_reference != b_reference) return b_reference;
  if (a.estimated_ns != b.estimated_ns && a.estimated_ns != 0 && b.estimated_ns != 0) {
    return a.estimated_ns < b.estimated_ns;
  }
  if (a.priority != b.priority) return a.priority > b.priority;
  return a_id < b_id;
}

}  // namespace

Result<std::vector<BoundPlan::Choice>> BoundPlan::match_device(uint32_t device) const {
  const auto& ops = flat_->ops();
  std::vector<Choice> choices(ops.size());
  std::vector<bp_match> answers(ops.size());
  for (const Provider& provider : devices_[device]->providers()) {
    std::fill(answers.begin(), answers.end(), bp_match{});
    for (bp_match& answer : answers) answer.size = sizeof(bp_match);
    const Status status = call_plugin(
        provider.plugin->id(), "matching", provider.plugin->kernel_api().match, provider.target,
        ops.data(), uint64_t{sizeof(bp_op)}, static_cast<uint32_t>(ops.size()), ranges_.data(),
        static_cast<uint32_t>(ranges_.size()), answers.data(), uint64_t{sizeof(bp_match)});
    if (status.code() == Code::kExhausted) return Status(status);
    if (!status.ok()) {  // a broken provider must not take the device down with it
      log::warning("{}", status.message());
      continue;
    }
    for (size_t i = 0; i < ops.size(); ++i) {
      answers[i].reason[BP_MATCH_REASON_BYTES - 1] = '\0';
      if (answers[i].verdict != BP_MATCH_YES) {
        if (!choices[i].possible) choices[i].reason = answers[i].reason;
        continue;
      }
      if (!choices[i].possible || better(answers[i], provider.plugin->id(), choices[i].match,
                                         choices[i].provider.plugin->id())) {
        choices[i] = {true, provider, answers[i], {}};
      }
    }
  }
  return choices;
}

std::vector<uint32_t> BoundPlan::agree_on_devices(
    const std::vector<std::vector<Choice>>& choices) const {
  const auto& ops = flat_->ops();
  const auto first_from = [&](size_t step, uint32_t from) {
    for (uint32_t d = from; d < choices.size(); ++d) {
      if (choices[d][step].possible) return d;
    }
    return kNowhere;
  };
  std::vector<uint32_t> device_of(ops.size());
  for (size_t i = 0; i < ops.size(); ++i) device_of[i] = first_from(i, 0);
  // Steps that share state move together, towards later devices, until nothing moves any more.
  // Every round moves a step forward, so there are at most steps × devices rounds.
  for (bool moved = true; moved;) {
    moved = false;
    std::map<uint32_t, uint32_t> device_of_state;
    for (const bool applying : {false, true}) {
      for (size_t i = 0; i < ops.size(); ++i) {
        for (uint32_t k = 0; k < ops[i].input_count; ++k) {
          const bp_operand& operand = ops[i].inputs[k];
          if (operand.role != BP_ROLE_STATE) continue;
          uint32_t& latest = device_of_state.try_emplace(operand.value, 0).first->second;
          if (!applying) {
            latest = std::max(latest, device_of[i]);
          } else if (device_of[i] < latest) {
            device_of[i] = latest == kNowhere ? kNowhere : first_from(i, latest);
            moved = true;
          }
        }
      }
    }
  }
  return device_of;
}

Status BoundPlan::assign(const std::vector<std::vector<Choice>>& choices, bool strict) {
  const std::vector<uint32_t> device_of = agree_on_devices(choices);
  for (size_t i = 0; i < device_of.size(); ++i) {
    const std::string_view op(flat_->ops()[i].name.data, flat_->ops()[i].name.length);
    const std::string& reason = choices[0][i].reason;
    if (device_of[i] == kNowhere) {
      return error(Code::kUnimplemented, "no device can run step {} ('{}'): {}", i, op,
                   reason.empty() ? "no kernel provider knows it" : reason);
    }
    if (device_of[i] != 0 && strict) {
      return error(Code::kFailedPrecondition, "strict placement: {} cannot run step {} ('{}'): {}",
                   devices_[0]->id(), i, op,
                   choices[0][i].possible ? "its cache must be on another device" : reason);
    }
    const Choice& choice = choices[device_of[i]][i];
    StepPlacement& placement = placements_[i];
    placement.device = device_of[i];
    placement.provider = choice.provider.plugin;
    placement.variant = choice.match.reason;
    placement.launches = std::max(choice.match.launches, 1u);
    placement.capture_safe = (choice.match.flags & BP_MATCH_CAPTURE_SAFE) != 0;
    if (device_of[i] != 0) {
      placement.fallback = choices[0][i].possible ? "its cache must be on another device"
                           : reason.empty()       ? "no kernel provider knows it"
                                                  : reason;
    }
    targets_[i] = choice.provider.target;
    PlanMemory& memory = memory_[device_of[i]];
    memory.workspace_bytes = std::max(memory.workspace_bytes, choice.match.workspace_bytes);
    memory.zeroed_bytes = std::max<uint64_t>(memory.zeroed_bytes, choice.match.zeroed_bytes);
    memory.resident_bytes += choice.match.resident_bytes;
  }
  return {};
}

uint32_t BoundPlan::fallback_count() const noexcept {
  return static_cast<uint32_t>(std::count_if(placements_.begin(), placements_.end(),
                                             [](const auto& p) { return p.device != 0; }));
}

uint32_t BoundPlan::launches() const noexcept {
  uint32_t total = 0;
  for (const StepPlacement& placement : placements_) total += placement.launches;
  return total;
}

Status BoundPlan::tell_placements() {
  const auto& ops = flat_->ops();
  for (size_t first = 0; first < ops.size(); ++first) {
    bp_target* const target = targets_[first];
    if (told_.contains(target)) continue;
    std::vector<uint32_t> chosen(ops.size());
    for (size_t i = 0; i < ops.size(); ++i) chosen[i] = targets_[i] == target ? 1 : 0;
    Plugin& provider = *placements_[first].provider;
    const auto told = told_.emplace(target, Told{&provider, nullptr}).first;
    Status status =
        call_plugin(provider.id(), "placing the plan", provider.kernel_api().place, target,
                    ops.data(), uint64_t{sizeof(bp_op)}, static_cast<uint32_t>(ops.size()),
                    static_cast<const uint32_t*>(chosen.data()), ranges_.data(),
                    static_cast<uint32_t>(ranges_.size()), &told->second.placement);
    if (status.ok() || status.code() == Code::kUnimplemented) continue;
    told_.erase(told);  // to be asked again
    return status;
  }
  return {};
}

Status BoundPlan::prepare_step(uint32_t step) {
  const std::vector<bp_weight> weights = flat_->weights_of(step);
  Plugin& provider = *placements_[step].provider;
  bp_op op = flat_->ops()[step];
  op.placement = told_[targets_[step]].placement;
  op.step = step;
  return call_plugin(provider.id(), "preparing a kernel", provider.kernel_api().prepare,
                     targets_[step], static_cast<const bp_op*>(&op), ranges_.data(),
                     static_cast<uint32_t>(ranges_.size()), weights.data(),
                     uint64_t{sizeof(bp_weight)}, &kernels_[step], &kernel_flags_[step])
      .with_context("step {} ('{}', layer {})", step,
                    std::string_view(op.name.data, op.name.length), op.layer);
}

void BoundPlan::release_copied_weights() {
  std::set<uint32_t> copied, needed;
  for (uint32_t i = 0; i < kernels_.size(); ++i) {
    auto& set = (kernel_flags_[i] & BP_KERNEL_COPIED_WEIGHTS) != 0 ? copied : needed;
    for (const bp_weight& weight : flat_->weights_of(i)) {
      if (weight.plane_count != 0) set.insert(static_cast<uint32_t>(weight.id));
    }
  }
  for (const uint32_t tensor : copied) {
    if (!needed.contains(tensor)) flat_->file().release(tensor);
  }
}

Status BoundPlan::prepare(const Progress& progress) try {
  const std::lock_guard lock(preparing_);
  if (prepared_) return {};
  BP_TRY(tell_placements());
  const auto steps = static_cast<uint32_t>(kernels_.size());
  kernel_flags_.resize(steps);
  for (uint32_t i = 0; i < steps; ++i) {
    if (progress && !progress(i, steps)) {
      return error(Code::kCancelled, "cancelled while preparing kernels, step {} of {}", i, steps);
    }
    if (kernels_[i] == nullptr) BP_TRY(prepare_step(i));
  }
  release_copied_weights();
  prepared_ = true;
  return {};
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "preparing kernels: {}", thrown.what());
}

BoundPlan::~BoundPlan() {
  bp_error detail = BP_ERROR_INIT;
  for (size_t i = 0; i < kernels_.size(); ++i) {
    if (kernels_[i] != nullptr) placements_[i].provider->kernel_api().release(kernels_[i], &detail);
  }
  for (const auto& [target, told] : told_) {
    if (told.placement == nullptr) continue;
    told.provider->kernel_api().placement_release(told.placement, &detail);
  }
}

}  // namespace bp
