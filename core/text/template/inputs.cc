// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/inputs.h"

#include <algorithm>
#include <array>

#include "core/base/limits.h"
#include "core/text/template/chat_template.h"

namespace bp::jinja {
namespace {

using Json = ChatJson;

// Roles that chat protocols define. A role is chosen by the program that talks the protocol, not
// typed by its user, and templates build control tokens from it ("<|" + role + "|>"); so these,
// and only these, count as scaffold.
bool is_protocol_role(std::string_view role) {
  static constexpr std::array<std::string_view, 14> kRoles = {
      "assistant", "chatbot", "context", "control", "developer", "document",     "documents",
      "function",  "ipython", "model",   "system",  "tool",      "tool_results", "user"};
  return std::find(kRoles.begin(), kRoles.end(), role) != kRoles.end();
}

// Depth-limited recursion over JSON.
class Converter {
 public:
  explicit Converter(Heap& heap) : heap_(heap) {}

  Result<Value> convert(const Json& json, uint64_t depth, bool is_message = false) {
    if (depth > limits::kMaxJsonDepth) {
      return error(Code::kExhausted, "JSON nests deeper than kMaxJsonDepth = {}",
                   limits::kMaxJsonDepth);
    }
    switch (json.type()) {
      case Json::value_t::null:
        return Value::none(true);
      case Json::value_t::boolean:
        return Value::boolean(json.get<bool>(), true);
      case Json::value_t::number_integer:
        return Value::integer(json.get<int64_t>(), true);
      case Json::value_t::number_unsigned:
        return unsigned_number(json.get<uint64_t>());
      case Json::value_t::number_float:
        return Value::real(json.get<double>(), true);
      case Json::value_t::string:
        return heap_.string(Text(json.get_ref<const std::string&>(), true));
      case Json::value_t::array: {
        std::vector<Value> items;
        items.reserve(json.size());
        for (const Json& item : json) items.push_back(BP_TRY(convert(item, depth + 1)));
        return heap_.list(std::move(items), true);
      }
      case Json::value_t::object:
        return object(json, depth, is_message);
      default:
        return error(Code::kInvalidArgument, "an input is neither JSON text nor number");
    }
  }

  Result<Value> messages(const Json& json) {
    if (!json.is_array()) {
      return error(Code::kInvalidArgument, "messages must be an array of objects");
    }
    std::vector<Value> items;
    for (const Json& message : json) {
      if (!message.is_object()) {
        return error(Code::kInvalidArgument, "every message must be an object");
      }
      items.push_back(BP_TRY(convert(message, 2, true)));
    }
    return heap_.list(std::move(items), true);
  }

 private:
  static Result<Value> unsigned_number(uint64_t number) {
    if (number <= static_cast<uint64_t>(INT64_MAX)) {
      return Value::integer(static_cast<int64_t>(number), true);
    }
    return error(Code::kInvalidArgument, "the integer {} of an input does not fit into 64 bits",
                 number);
  }

  Result<Value> object(const Json& json, uint64_t depth, bool is_message) {
    std::vector<std::pair<Value, Value>> entries;
    entries.reserve(json.size());
    for (const auto& item : json.items()) {
      Value key = BP_TRY(heap_.string(Text(item.key(), true)));
      const bool is_role = is_message && item.key() == "role" && item.value().is_string() &&
                           is_protocol_role(item.value().get_ref<const std::string&>());
      Value value = is_role ? Value::string(Text(item.value().get<std::string>(), false))
                            : BP_TRY(convert(item.value(), depth + 1));
      entries.emplace_back(std::move(key), std::move(value));
    }
    return heap_.dict(std::move(entries), true);
  }

  Heap& heap_;
};

}  // namespace

Status define_inputs(const ChatInputs& inputs, Machine* machine) {
  Converter converter(machine->heap());
  for (const auto& [name, text] : inputs.special_tokens) {
    machine->define(name, Value::string(Text(text, false)));
  }
  machine->define("messages", BP_TRY(converter.messages(inputs.messages)));
  machine->define("tools", BP_TRY(converter.convert(inputs.tools, 1).with_context("tools")));
  machine->define("documents",
                  BP_TRY(converter.convert(inputs.documents, 1).with_context("documents")));
  machine->define("add_generation_prompt", Value::boolean(inputs.add_generation_prompt));
  if (inputs.variables.is_null()) return {};
  if (!inputs.variables.is_object()) {
    return error(Code::kInvalidArgument, "the variables of a template must be an object");
  }
  for (const auto& item : inputs.variables.items()) {
    machine->define(item.key(), BP_TRY(converter.convert(item.value(), 1)));
  }
  return {};
}

}  // namespace bp::jinja
