// SPDX-License-Identifier: Apache-2.0
#include "compiler/architectures/weight_finder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace bp::compiler {

Result<size_t> WeightFinder::use(const std::string& tensor, std::vector<uint64_t> shape) {
  const std::optional<size_t> index = source_.find(tensor);
  if (!index.has_value()) {
    return error(Code::kCorrupt, "the checkpoint has no tensor '{}'", tensor);
  }
  const SourceTensor& found = source_.tensors()[*index];
  if (found.shape != shape) {
    return error(Code::kCorrupt, "tensor '{}' has the shape [{}], but the settings ask for [{}]",
                 tensor, fmt::join(found.shape, ", "), fmt::join(shape, ", "));
  }
  used_[*index] = true;
  return *index;
}

Result<std::string> WeightFinder::format_of(const std::vector<WeightPart>& parts,
                                            uint64_t columns) const {
  const SourceTensor& first = source_.tensors()[parts[0].tensor];
  std::string source_format = first.format;
  for (const WeightPart& part : parts) {
    // Experts that are stored in different formats have to meet in one that holds them all.
    if (source_.tensors()[part.tensor].format != source_format) source_format = "f16";
  }
  return choose_format_(first.name, source_format, columns);
}

Result<Weight> WeightFinder::matrix(std::string name, const Slice& slice, uint64_t columns) {
  Weight weight;
  weight.name = std::move(name);
  weight.shape = {slice.rows, columns};
  const size_t index = BP_TRY(use(slice.tensor, {slice.tensor_rows, columns}));
  weight.parts = {{index, slice.first_row, slice.rows}};
  weight.format = BP_TRY(format_of(weight.parts, columns));
  return weight;
}

Result<Weight> WeightFinder::stacked(std::string name, const Slice& slice, uint64_t experts,
                                     uint64_t columns) {
  Weight weight;
  weight.name = std::move(name);
  weight.shape = {experts, slice.rows, columns};
  const size_t index = BP_TRY(use(slice.tensor, {experts, slice.tensor_rows, columns}));
  if (slice.rows == slice.tensor_rows) {
    weight.parts = {{index, 0, experts * slice.rows}};
  } else {
    for (uint64_t e = 0; e < experts; ++e) {
      weight.parts.push_back({index, e * slice.tensor_rows + slice.first_row, slice.rows});
    }
  }
  weight.format = BP_TRY(format_of(weight.parts, columns));
  return weight;
}

Result<Weight> WeightFinder::gathered(std::string name, const std::vector<std::string>& tensors,
                                      uint64_t rows, uint64_t columns) {
  Weight weight;
  weight.name = std::move(name);
  weight.shape = {tensors.size(), rows, columns};
  for (const std::string& tensor : tensors) {
    const size_t index = BP_TRY(use(tensor, {rows, columns}));
    weight.parts.push_back({index, 0, rows});
  }
  weight.format = BP_TRY(format_of(weight.parts, columns));
  return weight;
}

Result<Weight> WeightFinder::vector(std::string name, const std::string& tensor, uint64_t length,
                                    float add) {
  Weight weight;
  weight.name = std::move(name);
  weight.format = "f32";
  weight.shape = {length};
  weight.add = add;
  const size_t index = BP_TRY(use(tensor, {length}));
  weight.parts = {{index, 0, 1}};
  return weight;
}

Result<Weight> WeightFinder::matrix_f32(std::string name, const std::string& tensor, uint64_t rows,
                                        uint64_t columns) {
  Weight weight;
  weight.name = std::move(name);
  weight.format = "f32";
  weight.shape = {rows, columns};
  const size_t index = BP_TRY(use(tensor, {rows, columns}));
  weight.parts = {{index, 0, rows}};
  return weight;
}

Status WeightFinder::check_all_used(const TensorNames& names) const {
  for (size_t i = 0; i < used_.size(); ++i) {
    if (used_[i]) continue;
    const std::string& name = source_.tensors()[i].name;
    const auto starts = [&name](const std::string& prefix) { return name.starts_with(prefix); };
    const auto ends = [&name](const std::string& suffix) { return name.ends_with(suffix); };
    if (std::any_of(names.ignored_prefixes.begin(), names.ignored_prefixes.end(), starts) ||
        std::any_of(names.ignored_suffixes.begin(), names.ignored_suffixes.end(), ends)) {
      continue;
    }
    return error(Code::kUnimplemented,
                 "tensor '{}' has no place in this architecture; leaving it out would change what "
                 "the model computes",
                 name);
  }
  return {};
}

}  // namespace bp::compiler
