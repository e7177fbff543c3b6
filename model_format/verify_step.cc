// SPDX-License-Identifier: Apache-2.0
// Attributes and shapes of one step, held against op_table.h. Roles, kinds and indices have been
// checked before.
#include <array>
#include <cmath>
#include <optional>

#include "core/base/checked.h"
#include "model_format/verify_parts.h"

namespace bp::verify {
namespace {

std::optional<uint64_t> constant_of(const fb::Dim& dim) {
  if (dim.symbol() != -1) return std::nullopt;
  return dim.offset();
}

bool same(const fb::Dim& a, const fb::Dim& b) {
  return a.symbol() == b.symbol() && a.scale() == b.scale() && a.offset() == b.offset();
}

class ShapeChecker {
 public:
  ShapeChecker(const PlanContext& context, const OpSpec& op, const fb::Step& step)
      : context_(context), op_(op), step_(step) {
    for (const char letter : {'T', 'S', 'O', 'P', 'B'}) {
      const int32_t symbol = context.symbol_of_letter[static_cast<uint8_t>(letter)];
      if (symbol >= 0) bind(letter, fb::Dim(symbol, 0, 1, 0));
    }
  }

  Status run() {
    BP_TRY(check_attributes());
    for (uint32_t i = 0; i < op_.inputs.size(); ++i) {
      if (step_.inputs()->Get(i) == -1) continue;
      BP_TRY(match(op_.inputs[i], value(step_.inputs()->Get(i))));
    }
    for (uint32_t i = 0; i < op_.outputs.size(); ++i) {
      BP_TRY(match(op_.outputs[i], value(step_.outputs()->Get(i))));
    }
    if (op_.name == "linear_glu" || op_.name == "moe_linear_glu") return check_glu();
    if (op_.name == "rope_kv_write") return check_rope_kv_write();
    if (op_.name == "attention") return check_heads();
    if (op_.name == "moe_route") return check_route();
    return {};
  }

 private:
  const fb::Value& value(int32_t index) const {
    return *context_.plan.values()->Get(static_cast<uint32_t>(index));
  }
  bool present(std::string_view input) const {
    const int slot = op_.slot(input);
    return slot >= 0 && step_.inputs()->Get(static_cast<uint32_t>(slot)) != -1;
  }
  std::optional<fb::Dim>& bound(char letter) { return dims_[static_cast<uint8_t>(letter)]; }
  void bind(char letter, const fb::Dim& dim) { bound(letter) = dim; }
  // A letter's value where it is bound to a constant, else 0, which no dimension is.
  uint64_t number(char letter) {
    return bound(letter) ? constant_of(*bound(letter)).value_or(0) : 0;
  }

  // ---- attributes ------------------------------------------------------------------------------

  Status check_int(const AttributeSpec& spec, int64_t number) {
    if (number < spec.minimum || number > spec.maximum) {
      return error(Code::kCorrupt, "is {}; {} to {} are possible", number, spec.minimum,
                   spec.maximum);
    }
    if (spec.letter != 0) bind(spec.letter, fb::Dim(-1, 0, 0, static_cast<uint64_t>(number)));
    return {};
  }

  Status check_value(const AttributeSpec& spec, const fb::Attribute& attribute) {
    if (attribute.value() == nullptr) return error(Code::kCorrupt, "has no value");
    if (spec.type == AttributeType::kInt) {
      const fb::IntValue* number = attribute.value_as_IntValue();
      if (number == nullptr) return error(Code::kCorrupt, "is not an integer");
      return check_int(spec, number->value());
    }
    if (spec.type == AttributeType::kFloat) {
      const fb::FloatValue* number = attribute.value_as_FloatValue();
      if (number == nullptr) return error(Code::kCorrupt, "is not a float");
      if (!std::isfinite(number->value()) || (spec.minimum == 0 && number->value() < 0)) {
        return error(Code::kCorrupt, "is {}, which is not finite or negative", number->value());
      }
      return {};
    }
    const fb::StringValue* text = attribute.value_as_StringValue();
    if (text == nullptr) return error(Code::kCorrupt, "is not a string");
    BP_TRY(check_name(text->value(), "attribute", 0));
    return check_choice(spec, view(text->value()));
  }

  static Status check_choice(const AttributeSpec& spec, std::string_view chosen) {
    std::string_view rest = spec.choices;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(' '), rest.size());
      if (rest.substr(0, end) == chosen) return {};
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return error(Code::kIncompatible, "is '{}'; this program knows: {}", chosen, spec.choices);
  }

  Status check_attributes() {
    const uint64_t count = length(step_.attributes());
    if (count > limits::kMaxAttributes) {
      return error(Code::kCorrupt, "{} attributes; at most {} are possible", count,
                   limits::kMaxAttributes);
    }
    uint64_t seen = 0;  // bit i: attribute i of the op
    for (uint32_t i = 0; i < count; ++i) {
      const fb::Attribute& attribute = *step_.attributes()->Get(i);
      BP_TRY(check_name(attribute.name(), "attribute", i));
      const AttributeSpec* spec = op_.attribute(view(attribute.name()));
      if (spec == nullptr) {
        return error(Code::kIncompatible,
                     "attribute '{}' is unknown to this program; use a newer "
                     "one",
                     view(attribute.name()));
      }
      const uint64_t bit = uint64_t{1} << (spec - op_.attributes.data());
      if ((seen & bit) != 0) return error(Code::kCorrupt, "attribute '{}' comes twice", spec->name);
      seen |= bit;
      BP_TRY(check_value(*spec, attribute).with_context("attribute '{}'", spec->name));
    }
    for (const AttributeSpec& spec : op_.attributes) {
      const bool given = (seen >> (&spec - op_.attributes.data()) & 1) != 0;
      const bool needed =
          spec.required || (spec.name == "norm_eps" && (present("q_norm") || present("k_norm")));
      if (needed && !given) return error(Code::kCorrupt, "attribute '{}' is missing", spec.name);
    }
    return {};
  }

  // ---- shapes ----------------------------------------------------------------------------------

  bool match_word(std::string_view word, const fb::Dim& dim) {
    if (word.size() == 1) {
      std::optional<fb::Dim>& letter = bound(word[0]);
      if (letter) return same(*letter, dim);
      // A capital letter of a symbol that the plan lacks has no meaning here.
      if (std::string_view("TSOPB").find(word[0]) != std::string_view::npos) return false;
      letter = dim;
      return true;
    }
    uint64_t product = 1;
    for (const char letter : word) {
      if (!try_mul(product, number(letter), &product)) return false;
    }
    return constant_of(dim) == product;
  }

  Status match(const OperandSpec& spec, const fb::Value& operand) {
    if (spec.shape.empty()) return {};
    std::string_view rest = spec.shape;
    uint32_t d = 0;
    bool fits = true;
    while (fits && !rest.empty()) {
      const size_t end = std::min(rest.find(' '), rest.size());
      fits =
          d < operand.shape()->size() && match_word(rest.substr(0, end), *operand.shape()->Get(d));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      ++d;
    }
    if (!fits || d != operand.shape()->size()) {
      return error(Code::kCorrupt,
                   "operand '{}' (value '{}') does not have the shape [{}] that the "
                   "other operands and attributes imply",
                   spec.name, view(operand.name()), spec.shape);
    }
    return {};
  }

  Status check_glu() {
    uint64_t doubled = 0;
    const uint64_t rows = number('W');
    const bool fits = try_mul<uint64_t>(number('F'), 2, &doubled) && number('F') != 0 &&
                      rows == (present("up") ? number('F') : doubled) &&
                      (!present("bias") || number('b') == doubled);
    if (!fits) {
      return error(Code::kCorrupt, "weight with {} rows does not fit an output of {} columns", rows,
                   number('F'));
    }
    return {};
  }

  Status check_heads() {
    if (number('H') % number('G') != 0) {
      return error(Code::kCorrupt, "{} heads cannot share {} caches evenly", number('H'),
                   number('G'));
    }
    if (number('Z') != context_.plan.page_size()) {
      return error(Code::kCorrupt, "page_size is {}, the plan's is {}", number('Z'),
                   context_.plan.page_size());
    }
    return {};
  }

  Status check_rope_kv_write() {
    BP_TRY(check_heads());
    if (present("k") != present("v")) return error(Code::kCorrupt, "has only one of k and v");
    // [tokens, (H + 2G)·D] when k and v come with q, else [tokens, H·D]
    uint64_t heads = number('H');
    uint64_t extra = 0;
    uint64_t width = 0;
    if (!present("k") &&
        (!try_mul<uint64_t>(number('G'), 2, &extra) || !try_add(heads, extra, &heads))) {
      return error(Code::kCorrupt, "has too many heads");
    }
    if (!try_mul(heads, number('D'), &width) || number('Q') != width) {
      return error(Code::kCorrupt, "q has {} columns, {} heads of {} need {}", number('Q'), heads,
                   number('D'), width);
    }
    const uint64_t rotary = number('R');
    if (present("rope") != (rotary != 0) || rotary % 2 != 0 || rotary > number('D')) {
      return error(Code::kCorrupt, "rotary_dim is {} with{} rotary table and heads of {}", rotary,
                   present("rope") ? " a" : "out a", number('D'));
    }
    return {};
  }

  Status check_route() {
    if (number('k') > number('E')) {
      return error(Code::kCorrupt, "chooses {} of {} experts", number('k'), number('E'));
    }
    return {};
  }

  const PlanContext& context_;
  const OpSpec& op_;
  const fb::Step& step_;
  std::array<std::optional<fb::Dim>, 128> dims_{};
};

}  // namespace

Status check_step_shapes(const PlanContext& context, const OpSpec& op, const fb::Step& step) {
  return ShapeChecker(context, op, step).run();
}

}  // namespace bp::verify
