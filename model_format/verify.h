// SPDX-License-Identifier: Apache-2.0
// Decides whether the FlatBuffer of a .bpm file may be trusted. Runs on every open, in every build,
// and on every file that the writer is about to commit.
//
// After success, what ModelFile::model() promises holds: pointers, indices, shapes and ranges can
// be followed blindly. SPEC.md numbers the rules that are held here. Cost is linear in the bytes
// of the FlatBuffer, but for two sorts by name and one ordered map over live values (n log n).
//
// Thread-safe: no state. Never throws: memory that runs out is EXHAUSTED.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "model_format/bpm_generated.h"

namespace bp {

// Tensors sorted by a hash of their name, for ModelFile::find_tensor().
struct NameIndex {
  struct Entry {
    uint64_t hash;
    uint32_t index;
  };
  std::vector<Entry> entries;
};
uint64_t name_hash(std::string_view name) noexcept;

// `plan` is the whole FlatBuffer, at an address that is a multiple of 8; `file_bytes` the size of
// the whole file. CORRUPT for what no writer makes, INCOMPATIBLE for names and versions that a
// newer writer may have used, EXHAUSTED without memory. `tensor_names` may be null.
Status verify_model(std::span<const std::byte> plan, uint64_t file_bytes,
                    NameIndex* tensor_names = nullptr) noexcept;

}  // namespace bp
