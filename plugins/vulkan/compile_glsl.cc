// SPDX-License-Identifier: Apache-2.0
// The GLSL compiler, shaderc, behind one function.
#include <cinttypes>
#include <memory>

#include "plugins/vulkan/module.h"

namespace bp::vulkan {
namespace {

constexpr uint64_t kMaxTextBytes = 16u << 20;

using Options = std::unique_ptr<shaderc_compile_options, void (*)(shaderc_compile_options_t)>;
using Result = std::unique_ptr<shaderc_compilation_result, void (*)(shaderc_compilation_result_t)>;

// "-DNAME", "-DNAME=VALUE", "-O0", "-Os" and "-O", separated by spaces.
bp_status set_options(const Shaderc& shaderc, std::string_view text,
                      shaderc_compile_options_t options, bp_error* error) {
  shaderc.compile_options_set_target_env(options, shaderc_target_env_vulkan,
                                         shaderc_env_version_vulkan_1_2);
  shaderc.compile_options_set_optimization_level(options, shaderc_optimization_level_performance);
  while (!text.empty()) {
    const size_t length = std::min(text.find(' '), text.size());
    std::string_view word = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    if (word.empty() || word == "-O") continue;
    if (word == "-O0" || word == "-Os") {
      shaderc.compile_options_set_optimization_level(
          options,
          word == "-O0" ? shaderc_optimization_level_zero : shaderc_optimization_level_size);
    } else if (word.size() > 2 && word.starts_with("-D")) {
      word.remove_prefix(2);
      const size_t name = std::min(word.find('='), word.size());
      const std::string_view value = word.substr(std::min(name + 1, word.size()));
      shaderc.compile_options_add_macro_definition(options, word.data(), name, value.data(),
                                                   value.size());
    } else {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "compiler option '%.*s' is none of -DNAME[=VALUE], -O, -Os, -O0",
                        static_cast<int>(std::min<size_t>(word.size(), 64)), word.data());
    }
  }
  return BP_OK;
}

}  // namespace

bp_status compile_glsl(const Shaderc& shaderc, const bp_module_source& source,
                       std::vector<uint32_t>* words, std::string* log, bp_error* error) {
  const std::string_view text = glue::view(source.text);
  if (text.size() > kMaxTextBytes) {
    return glue::fail(error, BP_EXHAUSTED, "the text has %zu bytes, the limit is %" PRIu64,
                      text.size(), kMaxTextBytes);
  }
  const Options options(shaderc.compile_options_initialize(), shaderc.compile_options_release);
  if (options == nullptr) return glue::fail(error, BP_EXHAUSTED, "shaderc could not get memory");
  if (const bp_status status =
          set_options(shaderc, glue::view(source.options), options.get(), error)) {
    return status;
  }
  // GLSL knows one entry point, main; the kernel's own name serves for messages.
  const std::string name(glue::view(source.entry));
  const Result result(
      shaderc.compile_into_spv(shaderc.compiler, text.data(), text.size(), shaderc_compute_shader,
                               name.empty() ? "kernel" : name.c_str(), "main", options.get()),
      shaderc.result_release);
  if (result == nullptr) return glue::fail(error, BP_EXHAUSTED, "shaderc could not get memory");
  *log = shaderc.result_get_error_message(result.get());
  const shaderc_compilation_status status = shaderc.result_get_compilation_status(result.get());
  if (status != shaderc_compilation_status_success) {
    return glue::fail_native(error, BP_INVALID_ARGUMENT, status, "the text does not compile: %s",
                             log->c_str());
  }
  words->resize(shaderc.result_get_length(result.get()) / sizeof(uint32_t));
  if (!words->empty()) {
    std::memcpy(words->data(), shaderc.result_get_bytes(result.get()),
                words->size() * sizeof(uint32_t));
  }
  if (const char* const wrong = name_matrix_components(words)) {
    return glue::fail(error, BP_INTERNAL, "shaderc's module: %s", wrong);
  }
  return BP_OK;
}

}  // namespace bp::vulkan
