// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <vector>

#include "compiler/convert/convert.h"
#include "core/platform/digest.h"
#include "core/platform/file.h"
#include "core/platform/process.h"
#include "model_format/reader.h"

namespace bp::compiler {
namespace {

namespace fs = std::filesystem;

// Of each end of a file. Small files are covered whole; of large ones the header and the last
// weights, which differ between two checkpoints even where sizes and times agree.
constexpr uint64_t kSampleBytes = 256 * 1024;

Status hash_text(Sha256& hash, const std::string& text) {
  BP_TRY(hash.update(std::as_bytes(std::span(text))));
  return hash.update(std::as_bytes(std::span("\n", 1)));
}

Status hash_file(Sha256& hash, const fs::path& path) {
  const auto file = BP_TRY(File::open(path));
  std::error_code code;
  const auto modified = fs::last_write_time(path, code).time_since_epoch();
  BP_TRY(hash_text(hash, fs::canonical(path, code).string()));
  BP_TRY(hash_text(hash, std::to_string(file->size_bytes())));
  BP_TRY(hash_text(
      hash,
      std::to_string(std::chrono::duration_cast<std::chrono::nanoseconds>(modified).count())));
  const uint64_t length = std::min(file->size_bytes(), kSampleBytes);
  std::vector<std::byte> sample(length);
  BP_TRY(file->read_at(0, sample));
  BP_TRY(hash.update(sample));
  BP_TRY(file->read_at(file->size_bytes() - length, sample));
  return hash.update(sample);
}

// The files that a conversion may read, in a fixed order.
Result<std::vector<fs::path>> checkpoint_files(const fs::path& source) {
  std::error_code code;
  std::vector<fs::path> files;
  if (!fs::is_directory(source, code)) {
    files.push_back(source);
    return files;
  }
  for (fs::directory_iterator it(source, code), end; !code && it != end; it.increment(code)) {
    const fs::path extension = it->path().extension();
    const bool is_read = extension == ".json" || extension == ".safetensors" ||
                         extension == ".jinja" || extension == ".model" || extension == ".md";
    if (is_read && fs::is_regular_file(it->path(), code)) files.push_back(it->path());
  }
  if (code) {
    return error(Code::kUnavailable, "reading the folder '{}': {}", source.string(),
                 code.message());
  }
  std::ranges::sort(files);
  return files;
}

Result<fs::path> cached_path(const ConvertOptions& options) {
  const fs::path cache = cache_folder();
  if (cache.empty()) {
    return error(Code::kNotFound,
                 "there is no cache folder for the converted model (neither XDG_CACHE_HOME nor "
                 "HOME is set); use `backplane convert`");
  }
  Sha256 hash = BP_TRY(Sha256::create());
  BP_TRY(hash_text(hash, "backplane " BP_VERSION));
  BP_TRY(hash_text(hash, options.quant));
  for (const fs::path& file : BP_TRY(checkpoint_files(options.source))) {
    BP_TRY(hash_file(hash, file));
  }
  std::string name = to_hex(BP_TRY(hash.finish())).substr(0, 32);
  const fs::path folder = cache / "models";
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) {
    return error(Code::kUnavailable, "making the folder '{}': {}", folder.string(), code.message());
  }
  return folder / (name + ".bpm");
}

}  // namespace

Result<fs::path> cached_conversion(const ConvertOptions& options, ConvertReport* report) {
  try {
    std::error_code code;
    if (!fs::exists(options.source, code)) {
      return error(Code::kNotFound, "there is no file or folder '{}'", options.source.string());
    }
    const fs::path path = BP_TRY(cached_path(options));
    // One that does not open (an interrupted disk, a newer version's) is simply made again.
    if (fs::exists(path, code) && ModelFile::open(path).ok()) return path;
    ConvertOptions here = options;
    here.output = path;
    here.overwrite = true;
    BP_TRY(convert(here, report));
    return path;
  } catch (const std::exception& e) {
    return error(Code::kInternal, "converting '{}': {}", options.source.string(), e.what());
  }
}

}  // namespace bp::compiler
