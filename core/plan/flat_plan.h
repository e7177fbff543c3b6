// SPDX-License-Identifier: Apache-2.0
// The plan of a model file as the flat records that kernel providers read: bp_op, bp_operand,
// bp_dim, bp_attribute. Providers never see a FlatBuffer.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/plugin.h"
#include "core/base/status.h"
#include "model_format/reader.h"

namespace bp {

// Indices of the symbols of docs/ops.md in a plan, as every plan must name them.
struct PlanSymbols {
  int32_t tokens = -1;
  int32_t sequences = -1;
  int32_t outputs = -1;
  int32_t pages = -1;
  int32_t blocks = -1;
  uint32_t count = 0;
};

// Values of all symbols, indexed as in the plan.
using SymbolValues = std::vector<uint64_t>;

// offset + Σ scale × symbol; CORRUPT when it overflows.
Result<uint64_t> evaluate(const fb::Linear& linear, const SymbolValues& symbols);
// Elements of a shape. CORRUPT when it overflows.
Result<uint64_t> element_count(const fb::Value& value, const SymbolValues& symbols);

// Immutable; owns the arrays that the records point to, and keeps the file open.
class FlatPlan {
 public:
  // `kv_format` replaces the format "kv" of cache values: "f16", "f32", "bf16" or "q8".
  static Result<std::shared_ptr<const FlatPlan>> create(std::shared_ptr<const ModelFile> file,
                                                        std::string_view kv_format);

  const ModelFile& file() const noexcept { return *file_; }
  const fb::Plan& plan() const noexcept { return file_->plan(); }
  const PlanSymbols& symbols() const noexcept { return symbols_; }
  const std::vector<bp_op>& ops() const noexcept { return ops_; }
  const std::string& kv_format() const noexcept { return kv_format_; }
  // Format of a value with "kv" replaced.
  std::string_view format_of(uint32_t value) const noexcept;
  // Bytes of an input or state value: dense rows of a plain format, or a cache (docs/ops.md).
  Result<uint64_t> value_bytes(uint32_t value, const SymbolValues& symbols) const;
  // The weights of a step, one entry per input; plane_count 0 where the input is no weight.
  std::vector<bp_weight> weights_of(uint32_t step) const;

 private:
  FlatPlan(std::shared_ptr<const ModelFile> file, std::string_view kv_format)
      : file_(std::move(file)), kv_format_(kv_format) {}
  Status find_symbols();
  // INVALID_ARGUMENT when the cache's format does not take the model's heads.
  Status check_heads() const;
  void flatten_values();
  void flatten_steps();
  bp_operand operand_of(int32_t value) const;

  std::shared_ptr<const ModelFile> file_;
  std::string kv_format_;
  PlanSymbols symbols_;
  std::vector<std::vector<bp_dim>> dims_;  // by value
  std::vector<bp_operand> operands_;       // of all steps, one after the other
  std::vector<bp_attribute> attributes_;   // likewise
  std::vector<bp_op> ops_;
};

}  // namespace bp
