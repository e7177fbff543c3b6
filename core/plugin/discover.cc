// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/discover.h"

#include <algorithm>
#include <map>

#include "backplane/plugin.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/platform/file.h"
#include "core/platform/process.h"

namespace bp {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".plugin.json";

Result<Manifest> read_manifest(const fs::path& path) {
  BP_TRY(check_trusted(path));
  const std::string text = BP_TRY(read_text_file(path, limits::kMaxManifestBytes));
  return parse_manifest(text, path.parent_path());
}

Status check_usable(const Manifest& manifest) {
  if (manifest.abi_major != BP_ABI_MAJOR) {
    return error(Code::kIncompatible, "made for plugin ABI {}, this host speaks {}",
                 manifest.abi_major, BP_ABI_MAJOR);
  }
  if (manifest.abi_min_minor > BP_ABI_MINOR) {
    return error(Code::kIncompatible,
                 "needs plugin ABI {}.{}, this host has {}.{}; install a newer backplane",
                 manifest.abi_major, manifest.abi_min_minor, BP_ABI_MAJOR, BP_ABI_MINOR);
  }
  return check_trusted(manifest.library);
}

Candidate examine(const fs::path& path) {
  Candidate candidate;
  candidate.manifest_path = path;
  auto manifest = read_manifest(path);
  if (!manifest.ok()) {
    candidate.verdict = std::move(manifest).status().with_context("manifest '{}'", path.native());
    return candidate;
  }
  candidate.manifest = std::move(manifest).value();
  candidate.verdict = check_usable(candidate.manifest);
  return candidate;
}

std::vector<fs::path> manifests_in(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code failure;
  if (fs::is_regular_file(folder, failure)) return {folder};
  for (fs::directory_iterator it(folder, failure), end; !failure && it != end;
       it.increment(failure)) {
    if (it->path().filename().native().ends_with(kSuffix)) paths.push_back(it->path());
    if (paths.size() >= limits::kMaxPlugins) break;
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

std::vector<SearchFolder> plugin_search_folders(const std::vector<fs::path>& given) {
  std::vector<SearchFolder> folders;
  const auto add = [&folders](const fs::path& path, const char* origin) {
    if (!path.is_absolute()) {
      if (!path.empty()) {
        log::warning("plugin folder '{}' ({}) is not absolute and is ignored", path.native(),
                     origin);
      }
      return;
    }
    const fs::path normal = path.lexically_normal();
    const bool known = std::any_of(folders.begin(), folders.end(),
                                   [&](const SearchFolder& f) { return f.path == normal; });
    if (!known) folders.push_back({normal, origin});
  };
  for (const fs::path& path : given) add(path, "given by the program");
  if (auto list = environment("BACKPLANE_PLUGIN_PATH")) {
    for (size_t begin = 0; begin <= list->size();) {
      const size_t end = std::min(list->find(':', begin), list->size());
      add(list->substr(begin, end - begin), "BACKPLANE_PLUGIN_PATH");
      begin = end + 1;
    }
  }
  const fs::path library = library_folder();
  if (!library.empty()) add(library / "plugins.d", "beside the library");
  const fs::path program = program_folder();
  if (!program.empty()) add(program / "plugins.d", "beside the program");
  if (!library.empty()) {
    add(library / "backplane" / "1" / "plugins.d", "installation");
    add(library.parent_path() / "lib" / "backplane" / "1" / "plugins.d", "installation");
  }
  return folders;
}

std::vector<Candidate> discover_plugins(const std::vector<SearchFolder>& folders) {
  std::vector<Candidate> candidates;
  std::map<std::string, fs::path> first_of_id;
  for (const SearchFolder& folder : folders) {
    for (const fs::path& path : manifests_in(folder.path)) {
      if (candidates.size() >= limits::kMaxPlugins) return candidates;
      Candidate candidate = examine(path);
      if (candidate.verdict.ok()) {
        const auto [it, fresh] = first_of_id.emplace(candidate.manifest.id, path);
        if (!fresh) {
          candidate.verdict = error(Code::kFailedPrecondition, "id '{}' is taken by '{}'",
                                    candidate.manifest.id, it->second.native());
        }
      }
      candidates.push_back(std::move(candidate));
    }
  }
  return candidates;
}

}  // namespace bp
