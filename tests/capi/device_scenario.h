// SPDX-License-Identifier: Apache-2.0
// What tests of whole models on a stand-in driver (tests/mockgpu) share: the driver's faults and
// counters, and a request through the public API. BACKPLANE_TEST_DEVICE names the backend, "cuda"
// or "rocm"; BACKPLANE_VENDOR_GEMM=on makes prompts long enough for the library of matrix products.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backplane/backplane.h"
#include "compiler/convert/convert.h"

namespace bp::device_faults {

inline std::string variable(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}
inline std::string backend() {
  return variable("BACKPLANE_TEST_DEVICE", "cuda");
}
// "cuda:1"
inline std::string device(int index) {
  return backend() + ":" + std::to_string(index);
}
inline bool uses_library() {
  return variable("BACKPLANE_VENDOR_GEMM", "off") == "on";
}
inline bool is_integrated() {
  return variable("BACKPLANE_MOCK_INTEGRATED", "0") == "1";
}

// The stand-in driver and its compiler, once the plugin has loaded them.
class Mock {
 public:
  static void set(const char* name, uint64_t value) {
    for (const char* const library : {driver(), compiler()}) {
      const auto set = symbol<int(const char*, uint64_t)>(library, "bp_mock_set");
      if (set != nullptr && set(name, value) != 0) return;
    }
    ADD_FAILURE() << "the stand-in has no setting " << name;
  }
  static uint64_t get(const std::string& name) {
    const bool of_compiler = name == "programs" || name == "compiled" || name == "fail_compile";
    const auto get =
        symbol<uint64_t(const char*)>(of_compiler ? compiler() : driver(), "bp_mock_get");
    return get == nullptr ? 0 : get(name.c_str());
  }
  // Live objects by kind, those that are 0 left out.
  static std::map<std::string, uint64_t> live() {
    std::map<std::string, uint64_t> out;
    for (const char* const name :
         {"allocations", "host_allocations", "registrations", "streams", "events", "graphs",
          "graph_execs", "modules", "contexts", "programs", "gemm_objects"}) {
      if (const uint64_t count = get(name)) out[name] = count;
    }
    return out;
  }

 private:
  static const char* driver() { return backend() == "cuda" ? "libcuda.so.1" : "libamdhip64.so.6"; }
  static const char* compiler() {
    return backend() == "cuda" ? "libnvrtc.so.13" : "libhiprtc.so.6";
  }
  template <class Function>
  static Function* symbol(const char* library, const char* name) {
    void* const handle = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
    return handle == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(handle, name));
  }
};

struct Close {
  void operator()(bp_model* model) const { bp_model_close(model); }
  void operator()(bp_session* session) const { bp_session_destroy(session); }
};
using Model = std::unique_ptr<bp_model, Close>;
using Session = std::unique_ptr<bp_session, Close>;
using Tokens = std::vector<int32_t>;

// What a call came to; tokens only where all went well.
struct Outcome {
  bp_status status = BP_OK;
  int64_t native = 0;
  std::string text;
  Tokens tokens;
};
inline Outcome outcome_of(bp_status status, const bp_error& error) {
  return {status, error.native, error.text, {}};
}

// A folder of this process for the model and what plugins keep; removed at the end.
class Folder {
 public:
  static const std::filesystem::path& path() {
    static const Folder kFolder;
    return kFolder.path_;
  }

 private:
  Folder()
      : path_(std::filesystem::path(BP_BINARY_DIR) /
              ("capi-device-fault-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
    ::setenv("XDG_CACHE_HOME", path_.c_str(), 1);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path path_;
};

// The next session compiles its kernels anew.
inline void forget_kernels() {
  std::filesystem::remove_all(Folder::path() / "backplane");
}

// Two layers of random weights, no tokenizer.
inline Model open_model() {
  static const std::filesystem::path kPath = [] {
    compiler::ConvertOptions options;
    options.source = std::filesystem::path(BP_SOURCE_DIR) / "tests/golden/architectures/llama3";
    options.output = Folder::path() / "llama3.bpm";
    const Status status = compiler::convert(options, nullptr);
    EXPECT_TRUE(status.ok()) << status.to_string();
    return options.output;
  }();
  bp_error error = BP_ERROR_INIT;
  bp_model* model = nullptr;
  EXPECT_EQ(bp_model_open(kPath.c_str(), nullptr, &model, &error), BP_OK) << error.text;
  return Model(model);
}

struct Created {
  Outcome outcome;
  Session session;
};
inline Created create(bp_model* model, const std::string& on) {
  bp_error error = BP_ERROR_INIT;
  bp_session_options options = BP_SESSION_OPTIONS_INIT;
  options.device = {on.data(), on.size()};
  options.context_tokens = uses_library() ? 96 : 64;
  options.batch_tokens = uses_library() ? 96 : 4;
  bp_session* session = nullptr;
  const bp_status status = bp_session_create(model, &options, &session, &error);
  return {outcome_of(status, error), Session(session)};
}

// Begins anew: a prompt, in passes of 4 and 2 tokens or in one of 70, then tokens one by one. The
// first pass of one token is put on the device step by step, the second is recorded, and all
// further ones are replayed.
inline Outcome generate(bp_session* session) {
  Tokens prompt = {5, 17, 99, 200, 3, 42};
  for (int32_t i = 6; uses_library() && i < 70; ++i) prompt.push_back(i * 37 % 260);
  bp_error error = BP_ERROR_INIT;
  bp_generate_options options = BP_GENERATE_OPTIONS_INIT;
  options.temperature = 0;
  options.max_tokens = 5;
  options.ignore_eos = 1;
  bp_status status = bp_session_rewind(session, 0, &error);
  if (status == BP_OK) {
    status = bp_session_feed_tokens(session, prompt.data(), prompt.size(), &error);
  }
  if (status == BP_OK) {
    status = bp_session_generate(session, &options, nullptr, nullptr, nullptr, &error);
  }
  Outcome out = outcome_of(status, error);
  const int32_t* ids = nullptr;
  uint64_t count = 0;
  if (status == BP_OK && bp_session_tokens(session, &ids, &count, nullptr) == BP_OK) {
    out.tokens.assign(ids, ids + count);
  }
  return out;
}

// The same in a session of its own.
inline Outcome use(bp_model* model, const std::string& on) {
  const Created created = create(model, on);
  return created.session == nullptr ? created.outcome : generate(created.session.get());
}

}  // namespace bp::device_faults
