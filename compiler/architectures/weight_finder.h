// SPDX-License-Identifier: Apache-2.0
// Finds the tensors of a checkpoint that make up a weight, checks their shapes, and remembers
// which ones were used.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/architectures/decoder.h"

namespace bp::compiler {

class WeightFinder {
 public:
  WeightFinder(const TensorSource& source, const FormatChooser& choose_format)
      : source_(source), choose_format_(choose_format), used_(source.tensors().size(), false) {}

  bool has(std::string_view name) const { return source_.find(name).has_value(); }

  // A matrix [rows, columns] that is rows [first_row, first_row + rows) of a tensor with
  // `tensor_rows` rows in all.
  struct Slice {
    std::string tensor;
    uint64_t first_row = 0;
    uint64_t rows = 0;
    uint64_t tensor_rows = 0;
  };
  // NOT found is CORRUPT and says what was looked for; so is another shape.
  Result<Weight> matrix(std::string name, const Slice& slice, uint64_t columns);
  // [experts, rows, columns] from one tensor [experts, tensor_rows, columns]: of each expert rows
  // [first_row, first_row + rows).
  Result<Weight> stacked(std::string name, const Slice& slice, uint64_t experts, uint64_t columns);
  // [experts, rows, columns] from one matrix for each expert.
  Result<Weight> gathered(std::string name, const std::vector<std::string>& tensors, uint64_t rows,
                          uint64_t columns);
  // An f32 vector of `length` elements starting at `first` of a vector of `total`.
  Result<Weight> vector(std::string name, const std::string& tensor, uint64_t length, float add);
  Result<Weight> matrix_f32(std::string name, const std::string& tensor, uint64_t rows,
                            uint64_t columns);

  // UNIMPLEMENTED naming a tensor that nobody asked for and `names` does not excuse.
  Status check_all_used(const TensorNames& names) const;

 private:
  Result<size_t> use(const std::string& tensor, std::vector<uint64_t> shape);
  Result<std::string> format_of(const std::vector<WeightPart>& parts, uint64_t columns) const;

  const TensorSource& source_;
  const FormatChooser& choose_format_;
  std::vector<bool> used_;
};

}  // namespace bp::compiler
