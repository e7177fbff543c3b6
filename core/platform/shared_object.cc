// SPDX-License-Identifier: Apache-2.0
#include "core/platform/shared_object.h"

#include <dlfcn.h>

#include <boost/dll/shared_library.hpp>
#include <map>
#include <mutex>

namespace bp {

struct SharedObject::Handle {
  boost::dll::shared_library library;
};

namespace {

struct Loaded {
  std::mutex mutex;  // guards by_path and the loader itself
  std::map<std::filesystem::path, SharedObject*> by_path;
};

Loaded& loaded() {
  static Loaded* instance = new Loaded;
  return *instance;
}

}  // namespace

SharedObject::SharedObject(std::filesystem::path path, Handle* handle)
    : path_(std::move(path)), handle_(handle) {}

Result<SharedObject*> SharedObject::load(const std::filesystem::path& path) try {
  if (!path.is_absolute()) {
    return error(Code::kInvalidArgument, "'{}' is not an absolute path", path.native());
  }
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) {
    return error(Code::kNotFound, "library '{}' does not exist", path.native());
  }
  std::lock_guard lock(loaded().mutex);
  auto found = loaded().by_path.find(path);
  if (found != loaded().by_path.end()) return found->second;

  // POSIX builds of Boost.DLL pass unknown mode bits through; NODELETE keeps the object mapped
  // even if somebody else closes it.
  const auto mode = static_cast<boost::dll::load_mode::type>(
      static_cast<unsigned>(boost::dll::load_mode::rtld_now) |
      static_cast<unsigned>(boost::dll::load_mode::rtld_local) |
      static_cast<unsigned>(RTLD_NODELETE));
  auto handle = std::make_unique<Handle>();
  boost::dll::fs::error_code failure;
  handle->library.load(boost::dll::fs::path(path.native()), failure, mode);
  if (failure) {
    // Boost has consumed dlerror(); asking the loader again gives its words.
    std::string reason = failure.message();
    if (void* again = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) {
      ::dlclose(again);
    } else if (const char* words = ::dlerror()) {
      reason = words;
    }
    return error(Code::kIncompatible, "the loader refuses '{}': {}", path.native(), reason);
  }
  auto* object = new SharedObject(path, handle.release());
  loaded().by_path.emplace(path, object);
  return object;
} catch (const std::exception& thrown) {
  return error(Code::kInternal, "loading '{}' failed: {}", path.native(), thrown.what());
}

Result<void*> SharedObject::symbol(const std::string& name) const try {
  if (!handle_->library.has(name)) {
    return error(Code::kNotFound, "'{}' exports no symbol '{}'", path_.native(), name);
  }
  return ::dlsym(handle_->library.native(), name.c_str());
} catch (const std::exception& thrown) {
  return error(Code::kInternal, "looking up '{}': {}", name, thrown.what());
}

}  // namespace bp
