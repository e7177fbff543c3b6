// SPDX-License-Identifier: Apache-2.0
#include "core/plan/flat_plan.h"

#include <algorithm>
#include <cstring>

#include "backplane/formats.h"
#include "core/base/checked.h"
#include "core/base/limits.h"

namespace bp {
namespace {

bp_string view_of(const flatbuffers::String* text) {
  if (text == nullptr) return {nullptr, 0};
  return {text->c_str(), text->size()};
}

int32_t role_of(fb::Role role) {
  switch (role) {
    case fb::Role::Weight:
      return BP_ROLE_WEIGHT;
    case fb::Role::Input:
      return BP_ROLE_INPUT;
    case fb::Role::Output:
      return BP_ROLE_OUTPUT;
    case fb::Role::State:
      return BP_ROLE_STATE;
    case fb::Role::Scratch:
      return BP_ROLE_SCRATCH;
  }
  return BP_ROLE_NONE;
}

bp_attribute flatten(const fb::Attribute& attribute) {
  bp_attribute out{};
  out.size = sizeof(out);
  out.name = view_of(attribute.name());
  if (const auto* integer = attribute.value_as_IntValue()) {
    out.kind = BP_ATTRIBUTE_INT;
    out.int_value = integer->value();
  } else if (const auto* number = attribute.value_as_FloatValue()) {
    out.kind = BP_ATTRIBUTE_FLOAT;
    out.float_value = number->value();
  } else if (const auto* text = attribute.value_as_StringValue()) {
    out.kind = BP_ATTRIBUTE_STRING;
    out.string_value = view_of(text->value());
  }
  return out;
}

}  // namespace

Result<uint64_t> evaluate(const fb::Linear& linear, const SymbolValues& symbols) {
  uint64_t sum = linear.offset();
  if (linear.terms() == nullptr) return sum;
  for (const fb::Term* term : *linear.terms()) {
    if (term->symbol() >= symbols.size()) return error(Code::kCorrupt, "unknown symbol in a size");
    sum = BP_TRY(checked_add(sum, BP_TRY(checked_mul(term->scale(), symbols[term->symbol()]))));
  }
  return sum;
}

namespace {

Result<uint64_t> extent_of(const fb::Dim& dim, const SymbolValues& symbols) {
  if (dim.symbol() < 0) return dim.offset();
  if (static_cast<size_t>(dim.symbol()) >= symbols.size()) {
    return error(Code::kCorrupt, "unknown symbol in a shape");
  }
  const uint64_t scaled =
      BP_TRY(checked_mul(dim.scale(), symbols[static_cast<size_t>(dim.symbol())]));
  return checked_add(dim.offset(), scaled);
}

}  // namespace

Result<uint64_t> element_count(const fb::Value& value, const SymbolValues& symbols) {
  uint64_t count = 1;
  if (value.shape() == nullptr) return count;
  for (const fb::Dim* dim : *value.shape()) {
    count = BP_TRY(checked_mul(count, BP_TRY(extent_of(*dim, symbols))));
  }
  return count;
}

Result<std::shared_ptr<const FlatPlan>> FlatPlan::create(std::shared_ptr<const ModelFile> file,
                                                         std::string_view kv_format) try {
  if (kv_format != "f16" && kv_format != "f32" && kv_format != "bf16" && kv_format != "q8") {
    return error(Code::kInvalidArgument, "KV format '{}' is unknown; there are f16, f32, bf16, q8",
                 kv_format);
  }
  std::shared_ptr<FlatPlan> flat(new FlatPlan(std::move(file), kv_format));
  BP_TRY(flat->check_heads());
  BP_TRY(flat->find_symbols());
  flat->flatten_values();
  flat->flatten_steps();
  return std::shared_ptr<const FlatPlan>(std::move(flat));
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "reading the plan: {}", thrown.what());
}

Status FlatPlan::find_symbols() {
  const auto& symbols = *plan().symbols();
  symbols_.count = symbols.size();
  for (uint32_t i = 0; i < symbols.size(); ++i) {
    const std::string_view name = symbols.Get(i)->name()->string_view();
    const auto index = static_cast<int32_t>(i);
    if (name == "tokens")
      symbols_.tokens = index;
    else if (name == "sequences")
      symbols_.sequences = index;
    else if (name == "outputs")
      symbols_.outputs = index;
    else if (name == "pages")
      symbols_.pages = index;
    else if (name == "blocks")
      symbols_.blocks = index;
    else
      return error(Code::kIncompatible,
                   "the plan has a symbol '{}' that this version does not "
                   "know; a newer backplane made it",
                   name);
  }
  if (std::min({symbols_.tokens, symbols_.sequences, symbols_.outputs, symbols_.pages,
                symbols_.blocks}) < 0) {
    return error(Code::kCorrupt,
                 "the plan lacks one of the symbols tokens, sequences, outputs, "
                 "pages, blocks");
  }
  return {};
}

Status FlatPlan::check_heads() const {
  if (kv_format_ != "q8") return {};
  for (uint32_t i = 0; i < plan().values()->size(); ++i) {
    const fb::Value& value = *plan().values()->Get(i);
    if (format_of(i) != kv_format_ || value.shape() == nullptr || value.shape()->size() == 0) {
      continue;
    }
    const fb::Dim& row = *value.shape()->Get(value.shape()->size() - 1);
    if (row.symbol() < 0 && row.offset() % kCacheBlock == 0) continue;
    return error(Code::kInvalidArgument,
                 "KV format 'q8' takes heads of a multiple of {} elements, and those of this model "
                 "have {}; choose f16",
                 kCacheBlock, row.offset());
  }
  return {};
}

std::string_view FlatPlan::format_of(uint32_t value) const noexcept {
  const std::string_view format = plan().values()->Get(value)->format()->string_view();
  return format == "kv" ? std::string_view(kv_format_) : format;
}

void FlatPlan::flatten_values() {
  const auto& values = *plan().values();
  dims_.resize(values.size());
  for (uint32_t i = 0; i < values.size(); ++i) {
    const auto* shape = values.Get(i)->shape();
    if (shape == nullptr) continue;
    for (const fb::Dim* dim : *shape) {
      dims_[i].push_back({dim->symbol(), 0, dim->scale(), dim->offset()});
    }
  }
}

bp_operand FlatPlan::operand_of(int32_t value) const {
  bp_operand operand{};
  operand.size = sizeof(operand);
  if (value < 0) return operand;  // role NONE
  const auto index = static_cast<uint32_t>(value);
  const std::string_view format = format_of(index);
  operand.role = role_of(plan().values()->Get(index)->role());
  operand.format = {format.data(), format.size()};
  operand.dims = dims_[index].data();
  operand.rank = static_cast<uint32_t>(dims_[index].size());
  operand.value = index;
  return operand;
}

void FlatPlan::flatten_steps() {
  const auto& steps = *plan().steps();
  struct Extent {
    size_t inputs, outputs, attributes;
  };
  std::vector<Extent> starts;  // pointers are set once the arrays have stopped growing
  for (const fb::Step* step : steps) {
    bp_op op{};
    op.size = sizeof(op);
    op.version = step->version();
    op.name = view_of(step->op());
    op.operand_stride = sizeof(bp_operand);
    op.attribute_stride = sizeof(bp_attribute);
    op.layer = step->layer();
    Extent start{operands_.size(), 0, attributes_.size()};
    for (const int32_t input : *step->inputs()) operands_.push_back(operand_of(input));
    start.outputs = operands_.size();
    for (const int32_t output : *step->outputs()) operands_.push_back(operand_of(output));
    op.input_count = step->inputs()->size();
    op.output_count = step->outputs()->size();
    if (step->attributes() != nullptr) {
      for (const fb::Attribute* a : *step->attributes()) attributes_.push_back(flatten(*a));
      op.attribute_count = step->attributes()->size();
    }
    starts.push_back(start);
    ops_.push_back(op);
  }
  for (size_t i = 0; i < ops_.size(); ++i) {
    ops_[i].inputs = operands_.data() + starts[i].inputs;
    ops_[i].outputs = operands_.data() + starts[i].outputs;
    ops_[i].attributes = attributes_.data() + starts[i].attributes;
  }
}

Result<uint64_t> FlatPlan::value_bytes(uint32_t value, const SymbolValues& symbols) const {
  const fb::Value& entry = *plan().values()->Get(value);
  const uint32_t rank = entry.shape() == nullptr ? 0 : entry.shape()->size();
  const uint64_t row = rank == 0 ? 1 : BP_TRY(extent_of(*entry.shape()->Get(rank - 1), symbols));
  uint64_t bytes = 0;
  if (!row_bytes(format_of(value), row, &bytes)) {
    return error(Code::kIncompatible,
                 "value '{}' has rows of {} in format '{}', which no buffer can have",
                 entry.name()->string_view(), row, format_of(value));
  }
  for (uint32_t d = 0; d + 1 < rank; ++d) {
    bytes = BP_TRY(checked_mul(bytes, BP_TRY(extent_of(*entry.shape()->Get(d), symbols))));
  }
  return bytes;
}

std::vector<bp_weight> FlatPlan::weights_of(uint32_t step) const {
  const auto& inputs = *plan().steps()->Get(step)->inputs();
  std::vector<bp_weight> weights(inputs.size());
  for (uint32_t i = 0; i < inputs.size(); ++i) {
    bp_weight& weight = weights[i];
    weight.size = sizeof(weight);
    if (inputs.Get(i) < 0) continue;
    const fb::Value& value = *plan().values()->Get(static_cast<uint32_t>(inputs.Get(i)));
    if (value.role() != fb::Role::Weight) continue;
    const auto tensor = static_cast<uint32_t>(value.tensor());
    const fb::Tensor& entry = *file_->model().tensors()->Get(tensor);
    weight.id = tensor;
    weight.plane_count = std::min<uint32_t>(entry.planes()->size(), BP_MAX_PLANES);
    for (uint32_t p = 0; p < weight.plane_count; ++p) {
      const auto bytes = file_->plane(tensor, p);
      weight.planes[p] = bytes.data();
      weight.bytes[p] = bytes.size();
    }
    if (entry.sha256() != nullptr && entry.sha256()->size() == sizeof(weight.digest)) {
      std::memcpy(weight.digest, entry.sha256()->data(), sizeof(weight.digest));
    }
  }
  return weights;
}

}  // namespace bp
