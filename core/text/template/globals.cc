// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/globals.h"

#include "core/text/template/arguments.h"
#include "core/text/template/chat_template.h"
#include "core/text/template/civil_time.h"
#include "core/text/template/print.h"

namespace bp::jinja {
namespace {

Result<Value> range(Machine& machine, Arguments& arguments) {
  BP_TRY(expect_positional("range", arguments, 1, 3));
  const Bound bound = BP_TRY(Bound::bind("range", arguments, {"start", "stop", "step"}, 1));
  for (size_t i = 0; i < 3; ++i) {
    if (bound.given(i) && bound[i]->is_none()) {
      return error(Code::kInvalidArgument, "'NoneType' object cannot be interpreted as an integer");
    }
  }
  const int64_t first = BP_TRY(bound.integer(0, 0));
  if (!bound.given(1)) return machine.heap().range(0, first, 1);
  return machine.heap().range(first, BP_TRY(bound.integer(1, 0)), BP_TRY(bound.integer(2, 1)));
}

// The entries that dict() and namespace() are made from: a mapping or pairs, then keywords.
Result<std::vector<std::pair<Value, Value>>> entries_of(Machine& machine, Arguments& arguments) {
  std::vector<std::pair<Value, Value>> entries;
  if (arguments.positional.size() > 1) {
    return error(Code::kInvalidArgument, "dict expected at most 1 argument, got {}",
                 arguments.positional.size());
  }
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is_dict()) {
      entries = source.dict().entries;
    } else {
      size_t i = 0;
      for (const Value& pair : BP_TRY(iterate(machine.heap(), source))) {
        const std::vector<Value> parts = BP_TRY(iterate(machine.heap(), pair));
        if (parts.size() != 2) {
          return error(Code::kInvalidArgument,
                       "dictionary update sequence element #{} has length {}; 2 is required", i,
                       parts.size());
        }
        entries.emplace_back(parts[0], parts[1]);
        ++i;
      }
    }
  }
  for (const auto& [name, value] : arguments.keyword) {
    entries.emplace_back(Value::string(Text(name, false)), value);
  }
  return entries;
}

Result<Value> dict(Machine& machine, Arguments& arguments) {
  return machine.heap().dict(BP_TRY(entries_of(machine, arguments)), false);
}

Result<Value> make_namespace(Machine& machine, Arguments& arguments) {
  // Through a dictionary, so that equal names are merged.
  const Value merged = BP_TRY(dict(machine, arguments));
  std::vector<std::pair<std::string, Value>> attributes;
  for (const auto& [key, value] : merged.dict().entries) {
    if (key.is_string()) attributes.emplace_back(std::string(key.bytes()), value);
  }
  return machine.make_namespace(std::move(attributes));
}

Result<Value> raise_exception(Machine& machine, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("raise_exception", arguments, {"message"}, 1));
  const Text message = BP_TRY(to_text(machine.heap(), *bound[0]));
  return error(Code::kInvalidArgument, "{}", message.bytes());
}

Result<Value> strftime_now(Machine& machine, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("strftime_now", arguments, {"format"}, 1));
  if (!bound[0]->is_string()) {
    return error(Code::kInvalidArgument, "strftime() argument 1 must be str, not {}",
                 type_name(*bound[0]));
  }
  if (!machine.inputs().now_local_seconds) {
    return error(Code::kFailedPrecondition,
                 "the template asks for the current time, and the caller gave none "
                 "(ChatInputs::now_local_seconds)");
  }
  std::string text;
  BP_TRY(machine.heap().step(bound[0]->bytes().size()));
  BP_TRY(machine.heap().reserve_string(bound[0]->bytes().size() * 16));
  BP_TRY(format_time(bound[0]->bytes(), *machine.inputs().now_local_seconds, &text));
  return machine.heap().string(std::move(text), bound[0]->content());
}

constexpr FunctionEntry kFunctions[] = {
    {"range", range},
    {"dict", dict},
    {"namespace", make_namespace},
    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now},
};

}  // namespace

std::span<const FunctionEntry> global_functions() {
  return kFunctions;
}

Value global_value(const FunctionEntry& entry) {
  auto object = std::make_shared<FunctionObject>();
  object->entry = &entry;
  return Value::object(Kind::kFunction, std::move(object));
}

}  // namespace bp::jinja
