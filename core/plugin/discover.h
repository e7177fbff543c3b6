// SPDX-License-Identifier: Apache-2.0
// Where plugins are looked for. Folders, in this order; inside a folder by name:
//
//   1. files and folders given by the embedding program
//   2. BACKPLANE_PLUGIN_PATH, folders separated by ':' (ignored with raised privileges)
//   3. plugins.d beside the library, and beside the program
//   4. <prefix>/lib/backplane/1/plugins.d of the installation
//
// Never the current folder, never a bare name. Files and folders that others could write to are
// refused. Of two plugins with one id the first wins and the second is reported.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/plugin/manifest.h"

namespace bp {

// One manifest that was found, and whether it may be loaded.
struct Candidate {
  std::filesystem::path manifest_path;
  Manifest manifest;  // as far as it could be read
  Status verdict;     // OK, or why it is not even tried
};

struct SearchFolder {
  std::filesystem::path path;
  std::string origin;  // "given by the program", "BACKPLANE_PLUGIN_PATH", …
};

// The folders of the list above that apply to this process, existing or not.
std::vector<SearchFolder> plugin_search_folders(const std::vector<std::filesystem::path>& given);

// All candidates of these folders (a path that is a file counts as a manifest), first match
// first. Never fails as a whole: what cannot be read carries its reason.
std::vector<Candidate> discover_plugins(const std::vector<SearchFolder>& folders);

}  // namespace bp
