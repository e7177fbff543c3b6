// SPDX-License-Identifier: Apache-2.0
// The table of filters, and what several of them share.
#include "core/text/template/filters.h"

#include <algorithm>
#include <iterator>

#include "core/text/template/number_text.h"
#include "core/text/template/print.h"
#include "core/text/template/text_ops.h"

namespace bp::jinja {
namespace {

constexpr FilterEntry kFilters[] = {
    {"abs", filter_abs},
    {"attr", filter_attr},
    {"batch", filter_batch},
    {"capitalize", filter_capitalize},
    {"center", filter_center},
    {"count", filter_length},
    {"d", filter_default},
    {"default", filter_default},
    {"dictsort", filter_dictsort},
    {"e", filter_escape},
    {"escape", filter_escape},
    {"filesizeformat", filter_filesizeformat},
    {"first", filter_first},
    {"float", filter_float},
    {"forceescape", filter_forceescape},
    {"format", filter_format},
    {"groupby", filter_groupby},
    {"indent", filter_indent},
    {"int", filter_int},
    {"items", filter_items},
    {"join", filter_join},
    {"last", filter_last},
    {"length", filter_length},
    {"list", filter_list},
    {"lower", filter_lower},
    {"map", filter_map},
    {"max", filter_max},
    {"min", filter_min},
    {"reject", filter_reject},
    {"rejectattr", filter_rejectattr},
    {"replace", filter_replace},
    {"reverse", filter_reverse},
    {"round", filter_round},
    {"safe", filter_safe},
    {"select", filter_select},
    {"selectattr", filter_selectattr},
    {"slice", filter_slice},
    {"sort", filter_sort},
    {"string", filter_string},
    {"sum", filter_sum},
    {"title", filter_title},
    {"tojson", filter_tojson},
    {"trim", filter_trim},
    {"truncate", filter_truncate},
    {"unique", filter_unique},
    {"upper", filter_upper},
    {"wordcount", filter_wordcount},
};

}  // namespace

const FilterEntry* find_filter(std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(kFilters), std::end(kFilters), name,
                       [](const FilterEntry& e, std::string_view n) { return e.name < n; });
  return found != std::end(kFilters) && found->name == name ? found : nullptr;
}

Result<AttributePath> AttributePath::parse(Heap& heap, const Value& path) {
  AttributePath out;
  if (path.is_none()) return out;
  if (!path.is_string()) {
    out.parts_.push_back(path);
    return out;
  }
  for (const Text& part : BP_TRY(split_text(heap, path.text(), ".", -1, false))) {
    const std::string& bytes = part.bytes();
    const bool digits =
        !bytes.empty() && bytes.find_first_not_of("0123456789") == std::string::npos;
    if (digits) {
      const auto index = BP_TRY(parse_integer(bytes));
      out.parts_.push_back(Value::integer(index.value_or(0)));
    } else {
      out.parts_.push_back(BP_TRY(heap.string(part)));
    }
  }
  return out;
}

Result<Value> AttributePath::get(Machine& machine, const Value& item, const Value* fallback) const {
  Value value = item;
  for (const Value& part : parts_) {
    BP_TRY(machine.heap().step());
    value = BP_TRY(machine.item(value, part));
    if (fallback != nullptr && !fallback->is_none() && value.is_undefined()) value = *fallback;
  }
  return value;
}

Result<Value> comparison_key(Machine& machine, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is_string()) return value;
  return machine.heap().string(
      BP_TRY(change_case(machine.heap(), value.text(), CaseChange::kLower)));
}

}  // namespace bp::jinja
