// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/op_record.h"

#include <cstring>

#include "backplane/plugin_glue.h"

namespace bp::conformance {
namespace {

// Appends a struct and the padding behind it, which its size field counts.
template <class T>
void append(std::vector<std::byte>& out, T record, uint32_t padding) {
  record.size = static_cast<uint32_t>(sizeof record + padding);
  const size_t at = out.size();
  out.resize(at + record.size, std::byte{0xBD});
  std::memcpy(out.data() + at, &record, sizeof record);
}

bp_operand operand_record(const Operand& operand, uint32_t value) {
  bp_operand out{};
  out.role = operand.role;
  if (operand.role == BP_ROLE_NONE) return out;
  out.format = glue::text(operand.format);
  out.dims = operand.dims.data();
  out.rank = static_cast<uint32_t>(operand.dims.size());
  out.value = value;
  return out;
}

}  // namespace

uint64_t evaluate(const bp_dim& of, const SymbolValues& symbols) {
  const uint64_t symbol = of.symbol < 0 ? 0 : symbols[static_cast<size_t>(of.symbol)];
  return of.scale * symbol + of.offset;
}

SymbolRanges ranges_up_to(const SymbolValues& maximum) {
  SymbolRanges out;
  for (size_t i = 0; i < kSymbols; ++i) {
    const bool fixed = i == kPages || i == kBlocks;
    out[i] = {fixed ? maximum[i] : 1, fixed ? maximum[i] : 1, maximum[i]};
  }
  return out;
}

SymbolValues maximum_of(const SymbolRanges& ranges) {
  SymbolValues out{};
  for (size_t i = 0; i < kSymbols; ++i) out[i] = ranges[i].maximum;
  return out;
}

uint64_t Operand::bytes(const SymbolValues& symbols) const {
  if (dims.empty()) return element_bytes(format);
  uint64_t out = 0;
  if (!row_bytes(format, evaluate(dims.back(), symbols), &out)) return 0;
  for (size_t i = 0; i + 1 < dims.size(); ++i) out *= evaluate(dims[i], symbols);
  return out;
}

OpRecord& OpRecord::absent() {
  inputs.emplace_back();
  return *this;
}
OpRecord& OpRecord::input(std::string format, std::vector<bp_dim> dims) {
  inputs.push_back({BP_ROLE_INPUT, std::move(format), std::move(dims), nullptr});
  return *this;
}
OpRecord& OpRecord::state(std::string format, std::vector<bp_dim> dims) {
  inputs.push_back({BP_ROLE_STATE, std::move(format), std::move(dims), nullptr});
  return *this;
}
OpRecord& OpRecord::weight(Weight weight) {
  Operand operand{BP_ROLE_WEIGHT, std::string(weight.format->name), {}, nullptr};
  for (const uint64_t extent : weight.dims) operand.dims.push_back(constant(extent));
  operand.weight = std::make_shared<const Weight>(std::move(weight));
  inputs.push_back(std::move(operand));
  return *this;
}
OpRecord& OpRecord::output(std::string format, std::vector<bp_dim> dims) {
  outputs.push_back({BP_ROLE_OUTPUT, std::move(format), std::move(dims), nullptr});
  return *this;
}
OpRecord& OpRecord::attribute(std::string of, int64_t value) {
  attributes.push_back({std::move(of), BP_ATTRIBUTE_INT, value, 0, {}});
  return *this;
}
OpRecord& OpRecord::attribute(std::string of, double value) {
  attributes.push_back({std::move(of), BP_ATTRIBUTE_FLOAT, 0, value, {}});
  return *this;
}
OpRecord& OpRecord::attribute(std::string of, std::string value) {
  attributes.push_back({std::move(of), BP_ATTRIBUTE_STRING, 0, 0, std::move(value)});
  return *this;
}
Attribute* OpRecord::find(const std::string& wanted) {
  for (Attribute& attribute : attributes) {
    if (attribute.name == wanted) return &attribute;
  }
  return nullptr;
}

FlatOp::FlatOp(const OpRecord& record, uint32_t padding) {
  uint32_t value = 0;
  for (const Operand& operand : record.inputs) {
    append(inputs_, operand_record(operand, value++), padding);
  }
  for (const Operand& operand : record.outputs) {
    append(outputs_, operand_record(operand, value++), padding);
  }
  for (const Attribute& attribute : record.attributes) {
    bp_attribute out{};
    out.kind = attribute.kind;
    out.name = glue::text(attribute.name);
    out.int_value = attribute.int_value;
    out.float_value = attribute.float_value;
    out.string_value = glue::text(attribute.string_value);
    append(attributes_, out, padding);
  }
  op_.size = sizeof op_;
  op_.version = record.version;
  op_.name = glue::text(record.name);
  op_.inputs = reinterpret_cast<const bp_operand*>(inputs_.data());
  op_.outputs = reinterpret_cast<const bp_operand*>(outputs_.data());
  op_.attributes = reinterpret_cast<const bp_attribute*>(attributes_.data());
  op_.input_count = static_cast<uint32_t>(record.inputs.size());
  op_.output_count = static_cast<uint32_t>(record.outputs.size());
  op_.attribute_count = static_cast<uint32_t>(record.attributes.size());
  op_.operand_stride = static_cast<uint32_t>(sizeof(bp_operand) + padding);
  op_.attribute_stride = static_cast<uint32_t>(sizeof(bp_attribute) + padding);
  op_.layer = 3;
}

}  // namespace bp::conformance
