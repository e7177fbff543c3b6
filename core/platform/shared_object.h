// SPDX-License-Identifier: Apache-2.0
// Shared objects, loaded through Boost.DLL and kept mapped until the process ends: code of a
// plugin may be on some thread's stack, in a driver's callback table or in an exit handler.
#pragma once

#include <filesystem>
#include <string>

#include "core/base/status.h"

namespace bp {

// Thread-safe: loads are serialized, since not every loader is safe against itself.
class SharedObject {
 public:
  // `path` must be absolute: a bare name would make the loader search. The loader's own message
  // is kept. NOT_FOUND for a missing file, INCOMPATIBLE when the loader refuses the file.
  static Result<SharedObject*> load(const std::filesystem::path& path);

  // Address of an exported symbol; NOT_FOUND when the object has none of that name.
  Result<void*> symbol(const std::string& name) const;
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  struct Handle;
  SharedObject(std::filesystem::path path, Handle* handle);
  std::filesystem::path path_;
  Handle* handle_;  // leaked on purpose
};

}  // namespace bp
