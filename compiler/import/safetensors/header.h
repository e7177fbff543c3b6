// SPDX-License-Identifier: Apache-2.0
// The header of one safetensors file, checked.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/import/tensor_source.h"
#include "core/platform/file.h"

namespace bp {

// The longest header that is read; the same as the reference reader's.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct SafetensorsEntry {
  SourceTensor tensor;
  uint64_t begin = 0;  // absolute bytes in the file
  uint64_t end = 0;
};

// All tensors in the order of their data. CORRUPT unless names are unique and printable, every
// range is as long as its shape and dtype ask, and the ranges cover the rest of the file without
// overlap or hole; UNIMPLEMENTED names a tensor whose dtype is not read.
Result<std::vector<SafetensorsEntry>> read_safetensors_header(const File& file);

}  // namespace bp
