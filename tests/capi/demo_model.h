// SPDX-License-Identifier: Apache-2.0
// The demo checkpoint as a model file, converted once per test program.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "compiler/convert/convert.h"

namespace bp {

inline const std::string& demo_model_path() {
  static const std::string path = [] {
    const std::filesystem::path file =
        std::filesystem::path(BP_BINARY_DIR) / ("capi-demo-" + std::to_string(::getpid()) + ".bpm");
    compiler::ConvertOptions options;
    options.source = std::filesystem::path(BP_SOURCE_DIR) / "models" / "demo";
    options.output = file;
    options.overwrite = true;
    const Status status = compiler::convert(options, nullptr);
    if (!status.ok()) return "conversion failed: " + status.to_string();
    static const struct Remover {
      std::filesystem::path file;
      ~Remover() {
        std::error_code ignored;
        std::filesystem::remove(file, ignored);
      }
    } remover{file};
    return file.string();
  }();
  return path;
}

}  // namespace bp
