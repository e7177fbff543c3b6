// SPDX-License-Identifier: Apache-2.0
// A driver library that a plugin opens when it is probed, never when it is loaded: the same package
// installs on a machine without that driver and can say politely what is missing.
//
//   glue::SharedLibrary library;
//   if (!library.open({"libcuda.so.1", "libcuda.so"})) … library.error() names what was tried
//   if (!library.resolve("cuInit", &api.init)) … library.error() names the symbol
//
// Never closed once open: driver libraries keep threads and exit handlers. Not thread-safe.
#pragma once

#include <dlfcn.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace bp::glue {

class SharedLibrary {
 public:
  // Opens the first of the names that the system finds.
  bool open(std::initializer_list<const char*> names) {
    error_.clear();
    for (const char* name : names) {
      handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (handle_ != nullptr) return true;
      const char* why = dlerror();
      if (!error_.empty()) error_ += "; ";
      error_ += why != nullptr ? why : name;
    }
    return false;
  }

  // The same for names made at run time; error() tells of the last one.
  bool open_first(const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      if (open({name.c_str()})) return true;
    }
    return false;
  }

  // Puts the address of `symbol` into *out, a function pointer.
  template <class Function>
  bool resolve(const char* symbol, Function** out) {
    void* address = handle_ == nullptr ? nullptr : dlsym(handle_, symbol);
    *out = reinterpret_cast<Function*>(address);
    if (address == nullptr) error_ = std::string("the driver library has no '") + symbol + "'";
    return address != nullptr;
  }

  bool is_open() const { return handle_ != nullptr; }
  const std::string& error() const { return error_; }

 private:
  void* handle_ = nullptr;
  std::string error_;
};

}  // namespace bp::glue
