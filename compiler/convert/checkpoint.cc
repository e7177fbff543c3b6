// SPDX-License-Identifier: Apache-2.0
#include "compiler/convert/checkpoint.h"

#include <algorithm>
#include <sstream>

#include "compiler/import/safetensors/safetensors_source.h"
#include "core/base/limits.h"
#include "core/platform/file.h"

namespace bp::compiler {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxReadmeBytes = 16u << 20;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

Result<Checkpoint> open_folder(const fs::path& path) {
  if (!is_file(path / "config.json")) {
    return error(Code::kNotFound,
                 "the folder '{}' has no config.json; a Hugging Face checkpoint has one beside its "
                 ".safetensors files",
                 path.string());
  }
  Checkpoint checkpoint;
  checkpoint.path = path;
  checkpoint.config = BP_TRY(read_json_file(path / "config.json"));
  checkpoint.architecture = BP_TRY(find_hf_architecture(checkpoint.config));
  checkpoint.tensors = BP_TRY(SafetensorsSource::open(path));
  return checkpoint;
}

Result<Checkpoint> open_gguf(const fs::path& path) {
  Checkpoint checkpoint;
  checkpoint.path = path;
  checkpoint.config = Json::object();
  checkpoint.gguf = BP_TRY(GgufFile::open(path));
  checkpoint.tensors = checkpoint.gguf;
  checkpoint.architecture = BP_TRY(
      find_gguf_architecture(checkpoint.gguf->metadata()).with_context("'{}'", path.string()));
  return checkpoint;
}

// The `license:` line of the YAML block that a model card begins with.
std::string licence_of_card(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || !line.starts_with("---")) return {};
  while (std::getline(lines, line) && !line.starts_with("---")) {
    constexpr std::string_view kKey = "license:";
    if (!line.starts_with(kKey)) continue;
    std::string value = line.substr(kKey.size());
    std::erase_if(value, [](char c) { return c == '\r' || c == '"' || c == '\''; });
    const size_t first = value.find_first_not_of(' ');
    return first == std::string::npos ? "" : value.substr(first);
  }
  return {};
}

}  // namespace

Result<DecoderSpec> Checkpoint::read_spec() const {
  Result<DecoderSpec> spec = is_gguf() ? architecture->from_gguf(gguf->metadata(), *tensors)
                                       : architecture->from_hf(config, *tensors);
  return std::move(spec).with_context("reading the settings of '{}'", path.string());
}

Result<Checkpoint> open_checkpoint(const fs::path& path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  if (!fs::exists(status)) {
    return error(Code::kNotFound, "there is no file or folder '{}'", path.string());
  }
  if (fs::is_directory(status)) return open_folder(path);
  if (path.extension() == ".gguf") return open_gguf(path);
  if (path.extension() == ".safetensors" || path.filename() == "config.json") {
    return error(Code::kInvalidArgument,
                 "'{}' is one file of a checkpoint; give the folder that it lies in",
                 path.string());
  }
  if (path.extension() == ".bpm") {
    return error(Code::kInvalidArgument, "'{}' is a model file already", path.string());
  }
  return error(Code::kInvalidArgument,
               "'{}' is neither a Hugging Face checkpoint's folder nor a .gguf file",
               path.string());
}

Result<Provenance> read_provenance(const Checkpoint& checkpoint) {
  Provenance out;
  if (checkpoint.is_gguf()) {
    const GgufMetadata& metadata = checkpoint.gguf->metadata();
    out.name = BP_TRY(metadata.get_string_or("general.name", ""));
    out.licence = BP_TRY(metadata.get_string_or("general.license", ""));
    if (out.name.empty()) out.name = checkpoint.path.stem().string();
  } else {
    std::error_code ignored;
    const fs::path folder = fs::weakly_canonical(checkpoint.path, ignored);
    out.name = folder.filename().string();
    const fs::path card = checkpoint.path / "README.md";
    if (is_file(card)) {
      // A card is prose; one that cannot be read says nothing, and that is no reason to stop.
      Result<std::string> text = read_text_file(card, kMaxReadmeBytes);
      if (text.ok()) out.licence = licence_of_card(*text);
    }
    if (out.licence.empty()) {
      out.licence = BP_TRY(json_string_or(checkpoint.config, "license", ""));
    }
  }
  if (out.name.size() > limits::kMaxNameBytes) out.name.resize(limits::kMaxNameBytes);
  return out;
}

}  // namespace bp::compiler
