// SPDX-License-Identifier: Apache-2.0
// An op of a plan as this plugin works with it: the flat records of bp.kernel/1, checked once and
// turned into fixed-size values that keep no pointer into the host's memory except string views
// that are read during match and prepare only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backplane/formats.h"
#include "backplane/plugin_glue.h"

namespace bp::cpu {

inline constexpr uint32_t kMaxRank = 4;
inline constexpr uint32_t kMaxInputs = 12;
inline constexpr uint32_t kMaxOutputs = 2;
inline constexpr uint32_t kMaxAttributes = 16;

// Formats by number, for switches inside the plugin only. The first ones stand in the order of
// kWeightFormats; op.cc asserts that.
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
  kUnknown,
};
inline constexpr size_t kWeightFormatCount = 15;

Format parse_format(std::string_view name) noexcept;

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

}  // namespace bp::cpu
