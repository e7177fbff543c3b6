// SPDX-License-Identifier: Apache-2.0
// Compiled kernels on disk, one file each.
//
// A key is everything that decides what a binary is: dialect, architecture, compiler and driver as
// the device plugin names them, options, launch metadata, and the whole rendered text. It is stored
// in the file and compared when read, so no two kernels can be confused and a changed kernel or
// driver simply misses. Files are written under a temporary name and renamed; whatever is cut off,
// edited or foreign counts as absent. Thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bp::kernels {

class CodeStore {
 public:
  // `folder` is created when the first binary is written; empty: nothing is kept.
  explicit CodeStore(std::string folder) : folder_(std::move(folder)) {}

  std::optional<std::vector<std::byte>> read(std::string_view key) const;
  // Failing to write costs a compilation next time and nothing else.
  void write(std::string_view key, const std::vector<std::byte>& binary) const;
  // The device refused what was read.
  void remove(std::string_view key) const;

 private:
  std::string path_of(std::string_view key) const;
  std::string folder_;
};

}  // namespace bp::kernels
