// SPDX-License-Identifier: Apache-2.0
// The filters: value | name(arguments).
#pragma once

#include <string_view>

#include "core/base/status.h"
#include "core/text/template/machine.h"

namespace bp::jinja {

using FilterFunction = Result<Value> (*)(Machine& machine, const Value& value,
                                         Arguments& arguments);

struct FilterEntry {
  std::string_view name;
  FilterFunction call;
};

// Null when there is no filter of that name.
const FilterEntry* find_filter(std::string_view name);

// What an attribute argument ("a.b.0", or an index) picks out of each item.
class AttributePath {
 public:
  static Result<AttributePath> parse(Heap& heap, const Value& path);
  // A missing attribute becomes `fallback` if there is one.
  Result<Value> get(Machine& machine, const Value& item, const Value* fallback = nullptr) const;

 private:
  std::vector<Value> parts_;
};

// Lower case for strings unless `case_sensitive`: what sorting and grouping compare by.
Result<Value> comparison_key(Machine& machine, const Value& value, bool case_sensitive);

// The table's parts, by file.
Result<Value> filter_abs(Machine&, const Value&, Arguments&);
Result<Value> filter_attr(Machine&, const Value&, Arguments&);
Result<Value> filter_batch(Machine&, const Value&, Arguments&);
Result<Value> filter_capitalize(Machine&, const Value&, Arguments&);
Result<Value> filter_center(Machine&, const Value&, Arguments&);
Result<Value> filter_default(Machine&, const Value&, Arguments&);
Result<Value> filter_dictsort(Machine&, const Value&, Arguments&);
Result<Value> filter_escape(Machine&, const Value&, Arguments&);
Result<Value> filter_filesizeformat(Machine&, const Value&, Arguments&);
Result<Value> filter_first(Machine&, const Value&, Arguments&);
Result<Value> filter_float(Machine&, const Value&, Arguments&);
Result<Value> filter_forceescape(Machine&, const Value&, Arguments&);
Result<Value> filter_format(Machine&, const Value&, Arguments&);
Result<Value> filter_groupby(Machine&, const Value&, Arguments&);
Result<Value> filter_indent(Machine&, const Value&, Arguments&);
Result<Value> filter_int(Machine&, const Value&, Arguments&);
Result<Value> filter_items(Machine&, const Value&, Arguments&);
Result<Value> filter_join(Machine&, const Value&, Arguments&);
Result<Value> filter_last(Machine&, const Value&, Arguments&);
Result<Value> filter_length(Machine&, const Value&, Arguments&);
Result<Value> filter_list(Machine&, const Value&, Arguments&);
Result<Value> filter_lower(Machine&, const Value&, Arguments&);
Result<Value> filter_map(Machine&, const Value&, Arguments&);
Result<Value> filter_max(Machine&, const Value&, Arguments&);
Result<Value> filter_min(Machine&, const Value&, Arguments&);
Result<Value> filter_reject(Machine&, const Value&, Arguments&);
Result<Value> filter_rejectattr(Machine&, const Value&, Arguments&);
Result<Value> filter_replace(Machine&, const Value&, Arguments&);
Result<Value> filter_reverse(Machine&, const Value&, Arguments&);
Result<Value> filter_round(Machine&, const Value&, Arguments&);
Result<Value> filter_safe(Machine&, const Value&, Arguments&);
Result<Value> filter_select(Machine&, const Value&, Arguments&);
Result<Value> filter_selectattr(Machine&, const Value&, Arguments&);
Result<Value> filter_slice(Machine&, const Value&, Arguments&);
Result<Value> filter_sort(Machine&, const Value&, Arguments&);
Result<Value> filter_string(Machine&, const Value&, Arguments&);
Result<Value> filter_sum(Machine&, const Value&, Arguments&);
Result<Value> filter_title(Machine&, const Value&, Arguments&);
Result<Value> filter_tojson(Machine&, const Value&, Arguments&);
Result<Value> filter_trim(Machine&, const Value&, Arguments&);
Result<Value> filter_truncate(Machine&, const Value&, Arguments&);
Result<Value> filter_unique(Machine&, const Value&, Arguments&);
Result<Value> filter_upper(Machine&, const Value&, Arguments&);
Result<Value> filter_wordcount(Machine&, const Value&, Arguments&);

}  // namespace bp::jinja
