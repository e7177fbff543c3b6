// SPDX-License-Identifier: Apache-2.0
// The ops of docs/ops.md as data: slots, kinds of operands, shapes and attributes. The verifier
// holds every plan against this table; the compiler may ask it for slot numbers.
//
// Constant data, readable from any thread. Adding an op, a version or an attribute means adding a
// row here; a row that was released never changes.
//
// Shapes are written as words, outermost first: one word a dimension.
//   T S O P B   the symbols tokens, sequences, outputs, pages, blocks, scale 1, offset 0
//   other letter  any dimension, but the same one wherever the letter occurs in the step; a letter
//                 that an attribute names (heads = H, …) is that attribute's value
//   several letters  the product of such constants: "HD"
//   empty         fixed elsewhere: inputs by their name, the rest by a rule in verify_step.cc
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace bp {

enum class OperandKind : uint8_t {
  kActivation,  // f32, role scratch, or output where it is written
  kIndices,     // i32, role scratch
  kWeight,      // any weight format, role weight
  kVector,      // f32, role weight
  kInput,       // role input, of the name that `input` gives
  kState,       // KV cache
};

struct OperandSpec {
  std::string_view name;
  OperandKind kind;
  std::string_view shape;
  bool optional = false;
  std::string_view input = {};  // kInput: name of the value, or "rope/" for any rotary table
};

enum class AttributeType : uint8_t { kInt, kFloat, kString };

struct AttributeSpec {
  std::string_view name;
  AttributeType type;
  bool required;
  char letter = 0;      // integer attributes that shapes refer to
  int64_t minimum = 0;  // integers: inclusive range. Floats: minimum 0 forbids negatives
  int64_t maximum = INT64_MAX;
  std::string_view choices = {};  // strings: the allowed ones, separated by spaces
};

struct OpSpec {
  std::string_view name;
  uint32_t version;
  std::span<const OperandSpec> inputs;
  std::span<const OperandSpec> outputs;
  std::span<const AttributeSpec> attributes;

  // Slot of an input, or −1.
  int slot(std::string_view input_name) const noexcept;
  const AttributeSpec* attribute(std::string_view attribute_name) const noexcept;
};

// Every op in every version.
std::span<const OpSpec> op_table() noexcept;
// Null when there is no such op or version.
const OpSpec* find_op(std::string_view name, uint32_t version) noexcept;
// Newest version of an op that is known here; 0 when the op is unknown.
uint32_t newest_op_version(std::string_view name) noexcept;

// The inputs of a plan. Shapes as above; "S+1" is one word too.
struct InputSpec {
  std::string_view name;
  std::string_view shape;
};
std::span<const InputSpec> input_table() noexcept;

// The letter of a symbol ("tokens" → 'T'), 0 for unknown names.
char symbol_letter(std::string_view symbol_name) noexcept;

}  // namespace bp
