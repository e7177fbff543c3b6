// SPDX-License-Identifier: Apache-2.0
// bp.module/1 for an event driver (see device.h): text to binary through its run-time compiler,
// binary to functions, and launches. Buffers are pointer arguments in order; params follow as one
// struct by value.
#pragma once

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

#include "backplane/event_driver/stream.h"
#include "backplane/launch_check.h"
#include "backplane/sealed_binary.h"

namespace bp::event_driver {

template <class Api>
struct Module;

// Lives as long as its module; immutable.
template <class Api>
struct Function {
  Module<Api>* module = nullptr;
  typename Api::FunctionHandle handle{};
  glue::FunctionShape shape;
};

template <class Api>
struct Module {
  Device<Api>* device = nullptr;
  typename Api::ModuleHandle handle{};
  glue::FunctionShape shape;  // as the source said, name apart
  uint32_t shared_bytes = 0;  // that the source asked for
  bool awaits = false;        // BP_MODULE_AWAITS
  std::mutex mutex;
  std::vector<std::unique_ptr<Function<Api>>> functions;  // guarded by mutex
};

template <class Api>
struct ModuleSlots {
  using Device = event_driver::Device<Api>;
  using Buffer = event_driver::Buffer<Api>;
  using Stream = event_driver::Stream<Api>;
  using Function = event_driver::Function<Api>;
  using Module = event_driver::Module<Api>;
  using Result = typename Api::Result;
  using Address = typename Api::Address;
  using Program = typename Api::Program;

  static bp_status compiler_id(bp_device* handle, bp_bytes_fn out, void* user, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Device& device = *object<Device>(handle);
      char id[256];
      glue::print_text(id, sizeof id, "%s %d.%d; %s; %s", Api::kCompilerName,
                       device.api.compiler_major, device.api.compiler_minor, device.info.driver,
                       device.target.c_str());
      out(user, id, std::strlen(id));
      return BP_OK;
    });
  }

  // A program of the compiler, destroyed at the end of its scope.
  struct ScopedProgram {
    const Api& api;
    Program program{};
    ~ScopedProgram() {
      if (program != Program{}) api.program_destroy(&program);
    }
  };

  static bp_status compiler_failed(const Api& api, int result, const char* what, bp_error* error) {
    const bp_status status = result == 1 ? BP_EXHAUSTED : BP_INTERNAL;  // 1: out of memory
    return glue::fail_native(error, status, result, "%s with %s %d.%d: %s", what,
                             Api::kCompilerName, api.compiler_major, api.compiler_minor,
                             api.compiler_error(result));
  }

  static std::vector<std::string> compiler_options(std::string target, std::string_view given) {
    std::vector<std::string> options = {std::move(target)};
    size_t at = 0;
    while (at < given.size()) {
      const size_t end = std::min(given.find(' ', at), given.size());
      if (end > at) options.emplace_back(given.substr(at, end - at));
      at = end + 1;
    }
    return options;
  }

  static std::string program_log(const Api& api, Program program) {
    size_t bytes = 0;
    if (api.program_log_bytes(program, &bytes) != 0 || bytes <= 1) return "";
    std::string log(bytes, '\0');
    if (api.program_log(program, log.data()) != 0) return "";
    log.resize(std::strlen(log.c_str()));
    return log;
  }

  static bp_status compile(bp_device* handle, const bp_module_source* given, bp_bytes_fn binary,
                           bp_bytes_fn log, void* user, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Device& device = *object<Device>(handle);
      const Api& api = device.api;
      const bp_module_source source = glue::read_struct(given);
      std::string target;
      if (const bp_status s = api.target_option(device.target, &target, error)) return s;
      const std::string text(glue::view(source.text));
      ScopedProgram scoped{api, {}};
      int result = api.program_create(&scoped.program, text.c_str(), "kernel", 0, nullptr, nullptr);
      if (result != 0) return compiler_failed(api, result, "starting a compilation", error);
      const std::vector<std::string> options = compiler_options(target, glue::view(source.options));
      std::vector<const char*> pointers;
      for (const std::string& option : options) pointers.push_back(option.c_str());
      result =
          api.program_compile(scoped.program, static_cast<int>(pointers.size()), pointers.data());
      const std::string words = program_log(api, scoped.program);
      if (log != nullptr && !words.empty()) log(user, words.data(), words.size());
      if (result == 5 || result == 6) {  // invalid option, compilation
        return glue::fail_native(error, BP_INVALID_ARGUMENT, result, "%.*s does not compile: %s",
                                 static_cast<int>(std::min<uint64_t>(source.entry.length, 64)),
                                 source.entry.data, words.c_str());
      }
      if (result != 0) return compiler_failed(api, result, "compiling", error);
      size_t bytes = 0;
      result = api.program_binary_bytes(scoped.program, &bytes);
      std::string image(bytes, '\0');
      if (result == 0) result = api.program_binary(scoped.program, image.data());
      if (result != 0) return compiler_failed(api, result, "fetching the binary", error);
      const std::vector<char> sealed = glue::seal_binary(device.target, image);
      binary(user, sealed.data(), sealed.size());
      return BP_OK;
    });
  }

  static bp_status load(bp_device* handle, const bp_module_source* given, const void* binary,
                        uint64_t bytes, bp_module** out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      Device* const device = object<Device>(handle);
      const bp_module_source source = glue::read_struct(given);
      bp_device_caps limits = device->caps;
      limits.shared_bytes = UINT32_MAX;  // see allow_shared_bytes
      if (const bp_status s = glue::check_module(source, limits, error)) return s;
      if (const bp_status s = device->status(error)) return s;
      std::string_view image;
      if (const bp_status s = glue::unseal_binary(device->target, binary, bytes, &image, error)) {
        return s;
      }
      auto module = std::make_unique<Module>();
      module->device = device;
      module->shape = glue::shape_of(source);
      module->shared_bytes = source.shared_bytes;
      module->awaits = (source.flags & BP_MODULE_AWAITS) != 0 && device->caps.has_early_launch != 0;
      const auto scope = device->enter();
      const Result result =
          device->api.module_load(&module->handle, image.data(), 0, nullptr, nullptr);
      if (const bp_status s = device->check(result, "loading a module", error)) return s;
      device->children.fetch_add(1);
      *out = handle_of<bp_module>(module.release());
      return BP_OK;
    });
  }

  static bp_status unload(bp_module* handle, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const std::unique_ptr<Module> module(object<Module>(handle));
      if (module == nullptr) return BP_OK;
      Device* const device = module->device;
      const auto scope = device->enter();
      const Result result = device->api.module_unload(module->handle);
      device->children.fetch_sub(1);
      const bp_status status = device->check(result, "unloading a module", error);
      return status == BP_DEVICE_LOST ? BP_OK : status;
    });
  }

  // Shared memory beyond the default limit must be asked for, function by function, and only what
  // comes with the launch can be that large.
  static bp_status allow_shared_bytes(const Module& module, Function* function, bp_error* error) {
    Device* const device = module.device;
    int own = 0;
    Result result = device->api.function_get(&own, Api::kStaticSharedBytes, function->handle);
    if (const bp_status s = device->check(result, "asking for a function's size", error)) return s;
    const auto declared = static_cast<uint32_t>(own);
    if (module.shared_bytes > std::max(device->shared_bytes_opt_in, device->caps.shared_bytes)) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "%s wants %u bytes of shared memory; the device has %u for a group",
                        function->shape.name.c_str(), module.shared_bytes,
                        std::max(device->shared_bytes_opt_in, device->caps.shared_bytes));
    }
    const uint32_t limit = std::max(module.shared_bytes, device->caps.shared_bytes);
    function->shape.max_shared_bytes = limit > declared ? limit - declared : 0;
    if (module.shared_bytes <= device->caps.shared_bytes) return BP_OK;
    result = device->api.function_set(function->handle, Api::kMaxDynamicSharedBytes,
                                      static_cast<int>(function->shape.max_shared_bytes));
    return device->check(result, "raising a function's shared memory", error);
  }

  static bp_status function(bp_module* handle, const bp_string* name, bp_function** out,
                            bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      Module* const module = object<Module>(handle);
      Device* const device = module->device;
      const std::lock_guard lock(module->mutex);
      for (const auto& known : module->functions) {
        if (known->shape.name == glue::view(name)) {
          *out = handle_of<bp_function>(known.get());
          return BP_OK;
        }
      }
      if (const bp_status s = device->status(error)) return s;
      auto found = std::make_unique<Function>();
      found->module = module;
      found->shape = module->shape;
      found->shape.name = glue::view(name);
      const auto scope = device->enter();
      const Result result =
          device->api.module_function(&found->handle, module->handle, found->shape.name.c_str());
      if (const bp_status s = device->check(result, found->shape.name.c_str(), error)) return s;
      if (const bp_status s = allow_shared_bytes(*module, found.get(), error)) return s;
      module->functions.push_back(std::move(found));
      *out = handle_of<bp_function>(module->functions.back().get());
      return BP_OK;
    });
  }

  static bp_status launch(bp_stream* handle, bp_function* which, const bp_launch* given,
                          bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Stream* const stream = object<Stream>(handle);
      const Function* const function = object<Function>(which);
      Device* const device = stream->device;
      const bp_launch launch = glue::read_struct(given);
      const auto describe = [](const bp_buffer* buffer) {
        const auto& b = *object<const Buffer>(buffer);
        return glue::LaunchBuffer{b.bytes, b.device, b.read_only};
      };
      if (const bp_status s = glue::check_launch(launch, function->shape, function->module->device,
                                                 device, device->caps, describe, error)) {
        return s;
      }
      if (const bp_status s = device->status(error)) return s;
      Address addresses[Api::kMaxBuffers];
      void* arguments[Api::kMaxBuffers + 1];
      for (uint32_t i = 0; i < launch.buffer_count; ++i) {
        addresses[i] = object<Buffer>(launch.buffers[i].buffer)->address + launch.buffers[i].offset;
        arguments[i] = &addresses[i];
      }
      arguments[launch.buffer_count] = const_cast<uint32_t*>(launch.params);
      const auto scope = device->enter();
      const unsigned grid[3] = {static_cast<unsigned>(launch.grid[0]),
                                static_cast<unsigned>(launch.grid[1]),
                                static_cast<unsigned>(launch.grid[2])};
      const Result result =
          device->api.launch(function->handle, grid, launch.group_threads, launch.shared_bytes,
                             stream->queue, arguments, function->module->awaits);
      return device->check(result, function->shape.name.c_str(), error);
    });
  }

  static constexpr bp_module_api kTable = {
      sizeof(bp_module_api), 0, compiler_id, compile, load, unload, function, launch,
  };
};

}  // namespace bp::event_driver
