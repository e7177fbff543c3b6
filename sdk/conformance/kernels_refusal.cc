// SPDX-License-Identifier: Apache-2.0
// bp.kernel/1: what a provider has to say NO to, and what prepare() has to refuse.
#include "sdk/conformance/check.h"
#include "sdk/conformance/op_run.h"
#include "sdk/conformance/samples.h"

namespace bp::conformance {
namespace {

// One way of breaking a record; false where it cannot be broken that way.
struct Change {
  const char* what;
  std::function<bool(OpRecord&)> apply;
};

Operand* weight_of(OpRecord& record) {
  for (Operand& operand : record.inputs) {
    if (operand.role == BP_ROLE_WEIGHT) return &operand;
  }
  return nullptr;
}

bool remove_attribute(OpRecord& record, std::initializer_list<std::string_view> names) {
  for (size_t i = 0; i < record.attributes.size(); ++i) {
    for (const std::string_view name : names) {
      if (record.attributes[i].name != name || record.name == "linear") continue;
      record.attributes.erase(record.attributes.begin() + static_cast<ptrdiff_t>(i));
      return true;
    }
  }
  return false;
}

std::vector<Change> changes_of_names() {
  return {
      {"an unknown op", [](OpRecord& r) { return r.name += "_of_tomorrow", true; }},
      {"no name", [](OpRecord& r) { return r.name.clear(), true; }},
      {"version 2", [](OpRecord& r) { return r.version = 2, true; }},
      {"version 0", [](OpRecord& r) { return r.version = 0, true; }},
      {"an unknown attribute", [](OpRecord& r) { return r.attribute("frobnicate", 1), true; }},
      {"an attribute of another kind",
       [](OpRecord& r) {
         if (r.attributes.empty()) return false;
         Attribute& first = r.attributes[0];
         first.kind = first.kind == BP_ATTRIBUTE_STRING ? BP_ATTRIBUTE_INT : BP_ATTRIBUTE_STRING;
         first.string_value = "zebra";
         return true;
       }},
      {"an attribute of an unknown kind",
       [](OpRecord& r) { return !r.attributes.empty() && (r.attributes[0].kind = 77, true); }},
      {"an unknown activation",
       [](OpRecord& r) {
         Attribute* found = r.find("activation");
         return found != nullptr && (found->string_value = "tanh_of_doom", true);
       }},
      {"a required attribute left out",
       [](OpRecord& r) {
         return remove_attribute(r, {"eps", "activation", "heads", "experts_used"});
       }},
      {"heads that are no multiple of kv_heads",
       [](OpRecord& r) {
         Attribute* found = r.find("kv_heads");
         return found != nullptr && (found->int_value = 3, true);
       }},
      {"0 heads",
       [](OpRecord& r) {
         Attribute* found = r.find("kv_heads");
         return found != nullptr && (found->int_value = 0, true);
       }},
      {"a head_dim that the caches do not have",
       [](OpRecord& r) {
         Attribute* found = r.find("head_dim");
         return found != nullptr && (found->int_value = 32, true);
       }},
      {"more experts used than there are",
       [](OpRecord& r) {
         Attribute* found = r.find("experts_used");
         return found != nullptr && (found->int_value = 9, true);
       }},
  };
}

std::vector<Change> changes_of_operands() {
  return {
      {"an unknown weight format",
       [](OpRecord& r) {
         Operand* weight = weight_of(r);
         return weight != nullptr && (weight->format = "q9_of_tomorrow", true);
       }},
      {"an unknown activation format",
       [](OpRecord& r) { return r.inputs[0].format = "f8_of_tomorrow", true; }},
      {"an output of an unknown format",
       [](OpRecord& r) { return r.outputs[0].format = "f8_of_tomorrow", true; }},
      {"an unknown slot",
       [](OpRecord& r) {
         return r.input("f32", {dim(kTokens), constant(256)}), true;
       }},
      {"no first input", [](OpRecord& r) { return r.inputs[0] = Operand(), true; }},
      {"no weight",
       [](OpRecord& r) {
         Operand* weight = weight_of(r);
         return weight != nullptr && (*weight = Operand(), true);
       }},
      {"no inputs", [](OpRecord& r) { return r.inputs.clear(), true; }},
      {"no outputs", [](OpRecord& r) { return r.outputs.clear(), true; }},
      {"an output too many", [](OpRecord& r) { return r.outputs.push_back(r.outputs[0]), true; }},
      {"a weight where x belongs",
       [](OpRecord& r) { return r.inputs[0].role = BP_ROLE_WEIGHT, true; }},
      {"x with a dimension more",
       [](OpRecord& r) { return r.inputs[0].dims.push_back(constant(1)), true; }},
      {"a weight with a dimension more",
       [](OpRecord& r) {
         Operand* weight = weight_of(r);
         return weight != nullptr && (weight->dims.insert(weight->dims.begin(), constant(1)), true);
       }},
      {"a rank of 100",
       [](OpRecord& r) { return r.inputs[0].dims.assign(100, constant(1)), true; }},
      {"a rank of 0", [](OpRecord& r) { return r.inputs[0].dims.clear(), true; }},
      {"an output with a dimension less",
       [](OpRecord& r) { return r.outputs[0].dims.pop_back(), true; }},
  };
}

std::vector<Change> changes_of_extents() {
  const auto weight_extent = [](const char* what, bool last, uint64_t extent) {
    return Change{what, [last, extent](OpRecord& r) {
                    Operand* weight = weight_of(r);
                    if (weight == nullptr) return false;
                    (last ? weight->dims.back() : weight->dims.front()) = constant(extent);
                    return true;
                  }};
  };
  return {
      {"x of other columns than the op's",
       [](OpRecord& r) {
         // A router of more experts is as good as any.
         if (r.inputs[0].dims.size() < 2 || r.name == "moe_route") return false;
         r.inputs[0].dims.back().offset += 256;
         return true;
       }},
      {"an output of other columns than the op's",
       [](OpRecord& r) { return r.outputs[0].dims.back() = constant(1000), true; }},
      {"an output of other rows than the input's",
       [](OpRecord& r) { return r.outputs[0].dims[0] = constant(5), true; }},
      weight_extent("a weight of 255 columns", true, 255),
      weight_extent("a weight of 0 columns", true, 0),
      weight_extent("a weight of 2^63 columns", true, uint64_t{1} << 63),
      weight_extent("a weight of 2^62 + 256 columns", true, (uint64_t{1} << 62) + 256),
      {"a weight whose rows depend on a symbol",
       [](OpRecord& r) {
         Operand* weight = weight_of(r);
         return weight != nullptr && (weight->dims.front() = dim(kTokens), true);
       }},
      {"a symbol that does not exist",
       [](OpRecord& r) { return r.inputs[0].dims[0].symbol = 99, true; }},
  };
}

Verdict refuse_changes(Context& context, const std::vector<Change>& changes) {
  uint32_t refused = 0;
  uint32_t claimed = 0;
  for (const std::string_view format : {"f32", "q4_k"}) {
    for (const OpRecord& sample : sample_records(format)) {
      const bp_match base = BP_TRY(match_op(context, sample, sample_ranges()));
      if (base.verdict == BP_MATCH_YES) ++claimed;
      for (const Change& change : changes) {
        OpRecord record = sample;
        if (!change.apply(record)) continue;
        const bp_match answer = BP_TRY(match_op(context, record, sample_ranges())
                                           .with_context("'{}' with {}", sample.name, change.what));
        BP_EXPECT(answer.verdict == BP_MATCH_NO, "'{}' with {} is claimed", sample.name,
                  change.what);
        // Whoever prepares it all the same gets a failure and no kernel.
        const FlatOp flat(record);
        std::vector<bp_weight> weights(record.inputs.size() + 1);
        for (size_t i = 0; i < record.inputs.size(); ++i) {
          weights[i].size = sizeof(bp_weight);
          if (record.inputs[i].weight != nullptr) {
            weights[i] = weight_record(*record.inputs[i].weight, 1);
          }
        }
        const SymbolRanges ranges = sample_ranges();
        bp_kernel* kernel = nullptr;
        uint32_t flags = 0;
        const bp_status status = context.kernel_api().prepare(
            context.target, &flat.op(), ranges.data(), uint32_t{kSymbols}, weights.data(),
            sizeof(bp_weight), &kernel, &flags, nullptr);
        BP_TRY(expect_refusal(status, fmt::format("prepare of '{}' with {}, which match declined",
                                                  sample.name, change.what)));
        ++refused;
      }
    }
  }
  if (claimed == 0) return skip("the provider claims none of the samples");
  return pass("{} broken records declined, {} samples claimed", refused, claimed);
}

Verdict refuses_broken_weights(Context& context) {
  uint32_t refused = 0;
  for (const char* op : {"embed", "linear", "linear_glu", "moe_linear"}) {
    const OpRecord record = sample_record(op, "q5_k");
    const SymbolRanges ranges = sample_ranges();
    const bp_match match = BP_TRY(match_op(context, record, ranges));
    if (match.verdict != BP_MATCH_YES) continue;
    const FlatOp flat(record);
    for (int way = 0; way < 4; ++way) {
      std::vector<bp_weight> weights(record.inputs.size());
      for (size_t i = 0; i < weights.size(); ++i) {
        weights[i].size = sizeof(bp_weight);
        if (record.inputs[i].role != BP_ROLE_WEIGHT) continue;
        weights[i] = weight_record(*record.inputs[i].weight, 1);
        if (way == 0) weights[i].plane_count = 0;
        if (way == 1) weights[i].plane_count = 3;
        if (way == 2) weights[i].planes[1] = nullptr;
        if (way == 3) weights[i].bytes[0] -= 1;
      }
      const char* const what[] = {"no planes", "a plane missing", "a plane that is NULL",
                                  "a plane that is a byte short"};
      bp_kernel* kernel = nullptr;
      uint32_t flags = 0;
      const bp_status status = context.kernel_api().prepare(
          context.target, &flat.op(), ranges.data(), uint32_t{kSymbols}, weights.data(),
          sizeof(bp_weight), &kernel, &flags, nullptr);
      if (status == BP_OK && kernel != nullptr) context.kernel_api().release(kernel, nullptr);
      BP_TRY(expect_refusal(status, fmt::format("prepare of '{}' with {}", op, what[way])));
      ++refused;
    }
  }
  if (refused == 0) return skip("the provider claims none of the ops");
  return pass("{} prepares refused", refused);
}

}  // namespace

void add_refusal_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"kernels.refuses.names", N::kKernels,
                 "unknown ops, versions and attributes are declined",
                 [](Context& context) { return refuse_changes(context, changes_of_names()); }});
  out.push_back({"kernels.refuses.operands", N::kKernels,
                 "unknown formats and slots, missing operands, wrong ranks are declined",
                 [](Context& context) { return refuse_changes(context, changes_of_operands()); }});
  out.push_back({"kernels.refuses.shapes", N::kKernels,
                 "shapes that do not fit together, or into 64 bits, are declined",
                 [](Context& context) { return refuse_changes(context, changes_of_extents()); }});
  out.push_back({"kernels.refuses.weights", N::kKernels,
                 "weights without the planes of their format are refused", refuses_broken_weights});
}

}  // namespace bp::conformance
