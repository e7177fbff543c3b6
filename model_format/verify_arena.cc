// SPDX-License-Identifier: Apache-2.0
// Values that live at the same time have disjoint memory, for every choice of symbols.
//
// A value lives from the step that writes it to the last step that reads it (an output to the
// end). The live values are kept ordered by their offset at the largest symbols. All of them are
// pairwise "always below" or "always above" each other, so that a new value which is always above
// its lower neighbour and always below its upper one is disjoint from all. n log n.
#include <map>
#include <vector>

#include "model_format/verify_parts.h"

namespace bp::verify {
namespace {

constexpr uint32_t kNever = UINT32_MAX;

class ArenaChecker {
 public:
  explicit ArenaChecker(const PlanContext& context)
      : context_(context), last_use_(context.plan.values()->size(), kNever) {
    const auto& steps = *context.plan.steps();
    for (uint32_t s = 0; s < steps.size(); ++s) {
      for (const int32_t index : *steps.Get(s)->outputs()) note_use(index, s);
      for (const int32_t index : *steps.Get(s)->inputs()) note_use(index, s);
    }
  }

  Status check_step(uint32_t s) {
    const fb::Step& step = *context_.plan.steps()->Get(s);
    BP_TRY(take_over_residual(step, s));
    for (const int32_t index : *step.outputs()) BP_TRY(insert(static_cast<uint32_t>(index)));
    for (const int32_t index : *step.outputs()) retire(index, s);
    for (const int32_t index : *step.inputs()) retire(index, s);
    return {};
  }

 private:
  struct Place {
    uint32_t value;
    LinearForm begin;
    LinearForm end;
  };

  const fb::Value& value(uint32_t index) const { return *context_.plan.values()->Get(index); }

  bool placed(int32_t index) const {
    if (index < 0) return false;
    const fb::Role role = value(static_cast<uint32_t>(index)).role();
    return role == fb::Role::Scratch || role == fb::Role::Output;
  }

  void note_use(int32_t index, uint32_t step) {
    if (!placed(index)) return;
    const auto i = static_cast<uint32_t>(index);
    last_use_[i] = value(i).role() == fb::Role::Output ? kNever : step;
  }

  Result<Place> place_of(uint32_t index) const {
    Place place{index, BP_TRY(read_linear(context_, value(index).arena_offset())), {}};
    const LinearForm bytes = BP_TRY(read_linear(context_, value(index).arena_bytes()));
    if (!try_add(place.begin, bytes, &place.end)) {
      return error(Code::kCorrupt, "value '{}' is too large", view(value(index).name()));
    }
    return place;
  }

  // A residual that dies in this step, and is read through that slot only, may hand its memory to
  // the step's output: each of its elements is read before the same element is written.
  Status take_over_residual(const fb::Step& step, uint32_t s) {
    const int slot = find_op(view(step.op()), step.version())->slot("residual");
    if (slot < 0) return {};
    const int32_t residual = step.inputs()->Get(static_cast<uint32_t>(slot));
    if (!placed(residual) || last_use_[static_cast<uint32_t>(residual)] != s) return {};
    for (uint32_t i = 0; i < step.inputs()->size(); ++i) {
      if (i != static_cast<uint32_t>(slot) && step.inputs()->Get(i) == residual) return {};
    }
    const Place from = BP_TRY(place_of(static_cast<uint32_t>(residual)));
    const Place to = BP_TRY(place_of(static_cast<uint32_t>(step.outputs()->Get(0))));
    if (from.begin == to.begin) retire(residual, s);
    return {};
  }

  Status insert(uint32_t index) {
    const Place place = BP_TRY(place_of(index));
    const uint64_t key = value_at_maximum(place.begin, context_.bounds);
    const auto above = live_.lower_bound(key);
    if (above != live_.end() && !always_at_most(place.end, above->second.begin, context_.bounds)) {
      return overlap(index, above->second.value);
    }
    if (above != live_.begin()) {
      const Place& below = std::prev(above)->second;
      if (!always_at_most(below.end, place.begin, context_.bounds)) {
        return overlap(index, below.value);
      }
    }
    live_.emplace(key, place);
    return {};
  }

  Status overlap(uint32_t a, uint32_t b) const {
    return error(Code::kCorrupt, "values '{}' and '{}' live at the same time and may share memory",
                 view(value(a).name()), view(value(b).name()));
  }

  // Forgets a value whose last step this is; does nothing for one that is forgotten already.
  void retire(int32_t index, uint32_t s) {
    if (!placed(index) || last_use_[static_cast<uint32_t>(index)] != s) return;
    const Result<LinearForm> begin =
        read_linear(context_, value(static_cast<uint32_t>(index)).arena_offset());
    if (!begin.ok()) return;
    const auto found = live_.find(value_at_maximum(begin.value(), context_.bounds));
    if (found != live_.end() && found->second.value == static_cast<uint32_t>(index)) {
      live_.erase(found);
    }
  }

  const PlanContext& context_;
  std::vector<uint32_t> last_use_;  // step, or kNever
  std::map<uint64_t, Place> live_;  // by offset at the largest symbols
};

}  // namespace

Status check_arena(const PlanContext& context) {
  ArenaChecker checker(context);
  for (uint32_t s = 0; s < context.plan.steps()->size(); ++s) {
    BP_TRY(checker.check_step(s).with_context("step {}", s));
  }
  return {};
}

}  // namespace bp::verify
