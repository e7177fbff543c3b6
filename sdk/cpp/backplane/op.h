// SPDX-License-Identifier: Apache-2.0
// An op of a plan as kernel providers work with it: the flat records of bp.kernel/1, checked once
// and turned into fixed-size values that keep no pointer into the host's memory except string
// views, which are good during match and prepare only. What each op needs is checked in
// op_shapes.h.
//
// Header-only, no dependency beyond the standard library; plain values, any thread.
#pragma once

#include <array>
#include <cinttypes>
#include <cmath>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "backplane/formats.h"
#include "backplane/plugin_glue.h"

namespace bp::ops {

inline constexpr uint32_t kMaxRank = 4;
inline constexpr uint32_t kMaxInputs = 12;
inline constexpr uint32_t kMaxOutputs = 2;
inline constexpr uint32_t kMaxAttributes = 16;

// Formats by number, for switches inside a provider only. The first ones stand in the order of
// kWeightFormats, which is asserted below.
enum class Format : uint8_t {
  kF32,
  kF16,
  kBf16,
  kQ8G32,
  kQ4G32,
  kQ4G32Z,
  kQ5G32,
  kQ5G32Z,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIq4Nl,
  kMxfp4,
  kI32,
  kQ8,  // of caches alone
  kUnknown,
};
inline constexpr size_t kWeightFormatCount = 15;

Format parse_format(std::string_view name) noexcept;
// The name that parse_format reads; empty for kUnknown.
std::string_view format_name(Format format) noexcept;

// Why an op is refused. Keeps the first reason.
class Reason {
 public:
  // Always false, so that a check can `return reason.no("…")`.
  [[gnu::format(printf, 2, 3)]] bool no(const char* format, ...) noexcept;
  const char* text() const noexcept { return text_; }

 private:
  char text_[BP_MATCH_REASON_BYTES] = {};
};

struct Operand {
  int32_t role = BP_ROLE_NONE;
  Format format = Format::kUnknown;
  uint32_t rank = 0;
  uint32_t value = 0;  // number in the plan; equal numbers are the same value
  std::array<bp_dim, kMaxRank> dims{};

  bool present() const noexcept { return role != BP_ROLE_NONE; }
  bool is_weight() const noexcept { return role == BP_ROLE_WEIGHT; }
  // The constant extent of a dimension, or false when it depends on a symbol.
  bool constant_dim(uint32_t index, uint64_t* out) const noexcept;
};

struct Attribute {
  std::string_view name;
  int32_t kind = 0;
  int64_t int_value = 0;
  double float_value = 0;
  std::string_view string_value;
};

struct Op {
  std::string_view name;
  uint32_t version = 0;
  int32_t layer = -1;
  uint32_t input_count = 0;
  uint32_t output_count = 0;
  uint32_t attribute_count = 0;
  std::array<Operand, kMaxInputs> inputs{};
  std::array<Operand, kMaxOutputs> outputs{};
  std::array<Attribute, kMaxAttributes> attributes{};

  // Slot `index`, an absent operand when the op has fewer.
  const Operand& input(uint32_t index) const noexcept;
  const Operand& output(uint32_t index) const noexcept;

  // Attributes; a wrong kind or a missing required one is refused. Optional ones keep *out.
  bool int_attribute(std::string_view name, bool required, int64_t minimum, int64_t maximum,
                     int64_t* out, Reason& reason) const noexcept;
  bool float_attribute(std::string_view name, bool required, double* out,
                       Reason& reason) const noexcept;
  bool string_attribute(std::string_view name, bool required, std::string_view* out,
                        Reason& reason) const noexcept;

 private:
  const Attribute* find(std::string_view name) const noexcept;
};

// Reads the record; refuses what does not fit the limits above.
bool parse_op(const bp_op& record, Op* out, Reason& reason) noexcept;

// Extent of a dimension at the given symbols, or false when a symbol is missing or it overflows.
bool evaluate_dim(const bp_dim& dim, const uint64_t* symbols, uint32_t symbol_count,
                  uint64_t* out) noexcept;

// Bytes of an operand that is no weight, at the given extents of its dimensions; false when they
// overflow or the format does not take such rows.
bool operand_bytes(const Operand& operand, const uint64_t* extents, uint64_t* out) noexcept;

// Do the two dimensions have the same extent whatever the symbols are?
bool same_dim(const bp_dim& a, const bp_dim& b) noexcept;

// ---- checks that the op families share; each refuses with a reason that names the slot ---------

bool check_counts(const Op& op, uint32_t least_inputs, uint32_t most_inputs, uint32_t outputs,
                  Reason& reason) noexcept;
// Only attributes in `known` may be there.
bool check_attributes(const Op& op, std::initializer_list<std::string_view> known,
                      Reason& reason) noexcept;
// A present, non-weight operand of that format and rank.
bool check_value(const Operand& operand, Format format, uint32_t rank, const char* slot,
                 Reason& reason) noexcept;
// A present weight of the rank, all dimensions constant, columns a multiple of the block.
bool check_weight(const Operand& operand, uint32_t rank, const char* slot, Reason& reason) noexcept;
// A present f32 weight [extent].
bool check_vector(const Operand& operand, uint64_t extent, const char* slot,
                  Reason& reason) noexcept;
// Dimension `index` is the constant `extent`.
bool check_extent(const Operand& operand, uint32_t index, uint64_t extent, const char* slot,
                  Reason& reason) noexcept;
// The dimensions are equal for every symbol value.
bool check_same(const Operand& a, uint32_t a_index, const Operand& b, uint32_t b_index,
                const char* slot, Reason& reason) noexcept;

// Ranges of the symbols that a prepared kernel has to serve.
struct Ranges {
  const bp_symbol_range* symbols = nullptr;
  uint32_t count = 0;

  // Largest and typical extent of a dimension; false when it overflows or has no such symbol.
  bool maximum(const bp_dim& dim, uint64_t* out) const noexcept;
  bool typical(const bp_dim& dim, uint64_t* out) const noexcept;
};

// ---- definitions ------------------------------------------------------------------------------

namespace internal {

constexpr bool stands_at(Format format, std::string_view name) {
  return kWeightFormats[static_cast<size_t>(format)].name == name;
}
static_assert(kWeightFormats.size() == kWeightFormatCount);
static_assert(stands_at(Format::kF32, "f32") && stands_at(Format::kF16, "f16") &&
              stands_at(Format::kBf16, "bf16") && stands_at(Format::kQ8G32, "q8_g32") &&
              stands_at(Format::kQ4G32, "q4_g32") && stands_at(Format::kQ4G32Z, "q4_g32z") &&
              stands_at(Format::kQ5G32, "q5_g32") && stands_at(Format::kQ5G32Z, "q5_g32z") &&
              stands_at(Format::kQ2K, "q2_k") && stands_at(Format::kQ3K, "q3_k") &&
              stands_at(Format::kQ4K, "q4_k") && stands_at(Format::kQ5K, "q5_k") &&
              stands_at(Format::kQ6K, "q6_k") && stands_at(Format::kIq4Nl, "iq4_nl") &&
              stands_at(Format::kMxfp4, "mxfp4"));

// Names come from a model file; a message shows at most this much of one.
inline constexpr size_t kShownBytes = 32;
inline int shown(std::string_view text) noexcept {
  return static_cast<int>(text.size() < kShownBytes ? text.size() : kShownBytes);
}

inline bool parse_operand(const bp_operand& record, Operand* out, Reason& reason) noexcept {
  *out = Operand{};
  out->role = record.role;
  if (record.role == BP_ROLE_NONE) return true;
  const std::string_view format = glue::view(record.format);
  out->format = parse_format(format);
  if (out->format == Format::kUnknown) {
    return reason.no("unknown format '%.*s'", shown(format), format.data());
  }
  if (record.rank == 0 || record.rank > kMaxRank || record.dims == nullptr) {
    return reason.no("an operand of rank %u", record.rank);
  }
  out->rank = record.rank;
  out->value = record.value;
  for (uint32_t i = 0; i < record.rank; ++i) out->dims[i] = record.dims[i];
  return true;
}

}  // namespace internal

inline Format parse_format(std::string_view name) noexcept {
  for (size_t i = 0; i < kWeightFormats.size(); ++i) {
    if (kWeightFormats[i].name == name) return static_cast<Format>(i);
  }
  return name == "i32" ? Format::kI32 : name == "q8" ? Format::kQ8 : Format::kUnknown;
}

inline std::string_view format_name(Format format) noexcept {
  if (static_cast<size_t>(format) < kWeightFormatCount) {
    return kWeightFormats[static_cast<size_t>(format)].name;
  }
  return format == Format::kI32 ? "i32" : format == Format::kQ8 ? "q8" : "";
}

inline bool Reason::no(const char* format, ...) noexcept {
  if (text_[0] != '\0') return false;
  va_list arguments;
  va_start(arguments, format);
  glue::print_text_v(text_, sizeof text_, format, arguments);
  va_end(arguments);
  return false;
}

inline bool Operand::constant_dim(uint32_t index, uint64_t* out) const noexcept {
  if (index >= rank) return false;
  if (dims[index].symbol != -1 && dims[index].scale != 0) return false;
  *out = dims[index].offset;
  return true;
}

inline const Operand& Op::input(uint32_t index) const noexcept {
  static const Operand absent{};
  return index < input_count ? inputs[index] : absent;
}
inline const Operand& Op::output(uint32_t index) const noexcept {
  static const Operand absent{};
  return index < output_count ? outputs[index] : absent;
}

inline const Attribute* Op::find(std::string_view wanted) const noexcept {
  for (uint32_t i = 0; i < attribute_count; ++i) {
    if (attributes[i].name == wanted) return &attributes[i];
  }
  return nullptr;
}

inline bool Op::int_attribute(std::string_view wanted, bool required, int64_t minimum,
                              int64_t maximum, int64_t* out, Reason& reason) const noexcept {
  const Attribute* const found = find(wanted);
  if (found == nullptr) {
    return !required || reason.no("attribute '%s' is missing", wanted.data());
  }
  if (found->kind != BP_ATTRIBUTE_INT) return reason.no("attribute '%s' is no int", wanted.data());
  if (found->int_value < minimum || found->int_value > maximum) {
    return reason.no("attribute '%s' is %" PRId64 ", supported are %" PRId64 " to %" PRId64,
                     wanted.data(), found->int_value, minimum, maximum);
  }
  *out = found->int_value;
  return true;
}

inline bool Op::float_attribute(std::string_view wanted, bool required, double* out,
                                Reason& reason) const noexcept {
  const Attribute* const found = find(wanted);
  if (found == nullptr) {
    return !required || reason.no("attribute '%s' is missing", wanted.data());
  }
  if (found->kind != BP_ATTRIBUTE_FLOAT || !std::isfinite(found->float_value)) {
    return reason.no("attribute '%s' is no finite float", wanted.data());
  }
  *out = found->float_value;
  return true;
}

inline bool Op::string_attribute(std::string_view wanted, bool required, std::string_view* out,
                                 Reason& reason) const noexcept {
  const Attribute* const found = find(wanted);
  if (found == nullptr) {
    return !required || reason.no("attribute '%s' is missing", wanted.data());
  }
  if (found->kind != BP_ATTRIBUTE_STRING) {
    return reason.no("attribute '%s' is no string", wanted.data());
  }
  *out = found->string_value;
  return true;
}

inline bool parse_op(const bp_op& record, Op* out, Reason& reason) noexcept {
  out->name = glue::view(record.name);
  out->version = record.version;
  out->layer = record.layer;
  if (record.input_count > kMaxInputs || record.output_count > kMaxOutputs ||
      record.attribute_count > kMaxAttributes) {
    return reason.no("%u inputs, %u outputs and %u attributes are more than any known op has",
                     record.input_count, record.output_count, record.attribute_count);
  }
  out->input_count = record.input_count;
  out->output_count = record.output_count;
  out->attribute_count = record.attribute_count;
  for (uint32_t i = 0; i < record.input_count; ++i) {
    const bp_operand operand =
        glue::read_struct(glue::strided(record.inputs, i, record.operand_stride));
    if (!internal::parse_operand(operand, &out->inputs[i], reason)) return false;
  }
  for (uint32_t i = 0; i < record.output_count; ++i) {
    const bp_operand operand =
        glue::read_struct(glue::strided(record.outputs, i, record.operand_stride));
    if (!internal::parse_operand(operand, &out->outputs[i], reason)) return false;
  }
  for (uint32_t i = 0; i < record.attribute_count; ++i) {
    const bp_attribute attribute =
        glue::read_struct(glue::strided(record.attributes, i, record.attribute_stride));
    out->attributes[i] = {glue::view(attribute.name), attribute.kind, attribute.int_value,
                          attribute.float_value, glue::view(attribute.string_value)};
  }
  return true;
}

inline bool evaluate_dim(const bp_dim& dim, const uint64_t* symbols, uint32_t symbol_count,
                         uint64_t* out) noexcept {
  uint64_t product = 0;
  if (dim.symbol >= 0) {
    if (static_cast<uint32_t>(dim.symbol) >= symbol_count) return false;
    if (__builtin_mul_overflow(dim.scale, symbols[dim.symbol], &product)) return false;
  }
  return !__builtin_add_overflow(product, dim.offset, out);
}

inline bool operand_bytes(const Operand& operand, const uint64_t* extents, uint64_t* out) noexcept {
  if (operand.rank == 0 || operand.rank > kMaxRank) return false;
  if (!row_bytes(format_name(operand.format), extents[operand.rank - 1], out)) return false;
  for (uint32_t d = 0; d + 1 < operand.rank; ++d) {
    if (__builtin_mul_overflow(*out, extents[d], out)) return false;
  }
  return true;
}

namespace internal {

inline bool extremum(const Ranges& ranges, const bp_dim& dim, uint64_t bp_symbol_range::*field,
                     uint64_t* out) noexcept {
  uint64_t product = 0;
  if (dim.symbol >= 0) {
    if (static_cast<uint32_t>(dim.symbol) >= ranges.count) return false;
    const uint64_t symbol = ranges.symbols[dim.symbol].*field;
    if (__builtin_mul_overflow(dim.scale, symbol, &product)) return false;
  }
  return !__builtin_add_overflow(product, dim.offset, out);
}

}  // namespace internal

inline bool Ranges::maximum(const bp_dim& dim, uint64_t* out) const noexcept {
  return internal::extremum(*this, dim, &bp_symbol_range::maximum, out);
}
inline bool Ranges::typical(const bp_dim& dim, uint64_t* out) const noexcept {
  return internal::extremum(*this, dim, &bp_symbol_range::typical, out);
}

inline bool same_dim(const bp_dim& a, const bp_dim& b) noexcept {
  const bool a_constant = a.symbol < 0 || a.scale == 0;
  const bool b_constant = b.symbol < 0 || b.scale == 0;
  if (a.offset != b.offset || a_constant != b_constant) return false;
  return a_constant || (a.symbol == b.symbol && a.scale == b.scale);
}

inline bool check_counts(const Op& op, uint32_t least_inputs, uint32_t most_inputs,
                         uint32_t outputs, Reason& reason) noexcept {
  if (op.version != 1) return reason.no("version %u of the op, known is 1", op.version);
  if (op.input_count < least_inputs) {
    return reason.no("%u inputs, at least %u are needed", op.input_count, least_inputs);
  }
  for (uint32_t i = most_inputs; i < op.input_count; ++i) {
    if (op.inputs[i].present()) return reason.no("unknown input slot %u", i);
  }
  if (op.output_count != outputs) {
    return reason.no("%u outputs, %u are known", op.output_count, outputs);
  }
  return true;
}

inline bool check_attributes(const Op& op, std::initializer_list<std::string_view> known,
                             Reason& reason) noexcept {
  for (uint32_t i = 0; i < op.attribute_count; ++i) {
    bool found = false;
    for (const std::string_view name : known) found = found || name == op.attributes[i].name;
    if (!found) {
      return reason.no("unknown attribute '%.*s'", internal::shown(op.attributes[i].name),
                       op.attributes[i].name.data());
    }
  }
  return true;
}

inline bool check_value(const Operand& operand, Format format, uint32_t rank, const char* slot,
                        Reason& reason) noexcept {
  if (!operand.present()) return reason.no("%s is missing", slot);
  if (operand.is_weight()) return reason.no("%s is a weight", slot);
  if (operand.format != format) return reason.no("%s has an unsupported format", slot);
  if (operand.rank != rank) {
    return reason.no("%s has rank %u, expected is %u", slot, operand.rank, rank);
  }
  return true;
}

inline bool check_weight(const Operand& operand, uint32_t rank, const char* slot,
                         Reason& reason) noexcept {
  if (!operand.is_weight()) return reason.no("%s is no weight", slot);
  if (operand.rank != rank) {
    return reason.no("%s has rank %u, expected is %u", slot, operand.rank, rank);
  }
  if (static_cast<size_t>(operand.format) >= kWeightFormatCount) {
    return reason.no("%s has no weight format", slot);
  }
  const WeightFormat& format = kWeightFormats[static_cast<size_t>(operand.format)];
  uint64_t elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    uint64_t extent = 0;
    if (!operand.constant_dim(i, &extent)) return reason.no("%s has no constant shape", slot);
    // Bytes of any format stay below 8 per element.
    if (extent == 0 || __builtin_mul_overflow(elements, extent, &elements) ||
        elements > UINT64_MAX / 8) {
      return reason.no("%s has an impossible shape", slot);
    }
    if (i + 1 == rank && extent % format.block_elements != 0) {
      return reason.no("%s: %" PRIu64 " columns are no multiple of %u", slot, extent,
                       format.block_elements);
    }
  }
  return true;
}

inline bool check_vector(const Operand& operand, uint64_t extent, const char* slot,
                         Reason& reason) noexcept {
  if (!check_weight(operand, 1, slot, reason)) return false;
  if (operand.format != Format::kF32) return reason.no("%s is not f32", slot);
  return check_extent(operand, 0, extent, slot, reason);
}

inline bool check_extent(const Operand& operand, uint32_t index, uint64_t extent, const char* slot,
                         Reason& reason) noexcept {
  uint64_t found = 0;
  if (!operand.constant_dim(index, &found)) {
    return reason.no("%s: dimension %u is not constant", slot, index);
  }
  if (found != extent) {
    return reason.no("%s: dimension %u is %" PRIu64 ", expected is %" PRIu64, slot, index, found,
                     extent);
  }
  return true;
}

inline bool check_same(const Operand& a, uint32_t a_index, const Operand& b, uint32_t b_index,
                       const char* slot, Reason& reason) noexcept {
  if (!same_dim(a.dims[a_index], b.dims[b_index])) {
    return reason.no("%s: dimensions %u and %u differ", slot, a_index, b_index);
  }
  return true;
}

}  // namespace bp::ops
