// SPDX-License-Identifier: Apache-2.0
// A checkpoint of either kind, opened: its settings, its tensors, its family.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "compiler/architectures/architecture.h"
#include "compiler/import/gguf/gguf_file.h"
#include "compiler/import/json.h"
#include "compiler/import/tensor_source.h"

namespace bp::compiler {

// NOLINTNEXTLINE(bugprone-exception-escape): Json moves without throwing
struct Checkpoint {
  std::filesystem::path path;  // the folder or the .gguf
  const Architecture* architecture = nullptr;
  std::shared_ptr<TensorSource> tensors;
  std::shared_ptr<GgufFile> gguf;  // null for Hugging Face folders
  Json config;                     // config.json, an empty object for GGUF

  bool is_gguf() const { return gguf != nullptr; }
  Result<DecoderSpec> read_spec() const;
};

// Reads the settings, looks up the family, then opens the tensors: an unknown family costs no more
// than reading config.json. NOT_FOUND says what was looked for.
Result<Checkpoint> open_checkpoint(const std::filesystem::path& path);

// Facts about a checkpoint that people gave it.
struct Provenance {
  std::string name;
  std::string licence;
};
Result<Provenance> read_provenance(const Checkpoint& checkpoint);

}  // namespace bp::compiler
