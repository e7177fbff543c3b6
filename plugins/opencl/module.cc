// SPDX-License-Identifier: Apache-2.0
#include "plugins/opencl/module.h"

#include "backplane/sealed_binary.h"

namespace bp::opencl {
namespace {

constexpr size_t kMaxBinaryBytes = 256u << 20;
// Of the envelope: binaries name the device that they are for themselves, and drivers look.
constexpr std::string_view kSeal = "opencl";

struct ProgramRelease {
  const Driver* cl;
  void operator()(cl_program program) const { cl->release_program(program); }
};
using Program = std::unique_ptr<_cl_program, ProgramRelease>;

// OpenCL C 1.2, or the newest that the device has where the text asks for an extension: subgroups
// need 2.0 and integer dot products 3.0.
std::string build_options(const Physical& physical, const bp_module_source& source) {
  std::string options(glue::view(source.options));
  if (options.find("-cl-std=") != std::string::npos) return options;
  const bool is_plain =
      glue::view(source.text).find("#pragma OPENCL EXTENSION") == std::string_view::npos;
  const uint32_t version = is_plain ? 120 : physical.c_version;
  if (!options.empty()) options += ' ';
  return options + "-cl-std=CL" + std::to_string(version / 100) + "." +
         std::to_string(version / 10 % 10);
}

std::string build_log(const Device& device, cl_program program) {
  size_t bytes = 0;
  if (device.cl->get_build_info(program, device.physical->id, CL_PROGRAM_BUILD_LOG, 0, nullptr,
                                &bytes) != CL_SUCCESS) {
    return {};
  }
  std::string log(bytes, '\0');
  device.cl->get_build_info(program, device.physical->id, CL_PROGRAM_BUILD_LOG, bytes, log.data(),
                            nullptr);
  log.resize(std::strlen(log.c_str()));
  return log;
}

bp_status compiler_id(bp_device* device, bp_bytes_fn out, void* user, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::string& id = unwrap(device)->physical->compiler;
    out(user, id.data(), id.size());
    return BP_OK;
  });
}

bp_status build(Device* device, cl_program program, const bp_module_source& source,
                std::string* log, bp_error* error) {
  const std::string options = build_options(*device->physical, source);
  const cl_int code = device->cl->build_program(program, 1, &device->physical->id, options.c_str(),
                                                nullptr, nullptr);
  *log = build_log(*device, program);
  if (code == CL_SUCCESS) return BP_OK;
  if (code == CL_BUILD_PROGRAM_FAILURE || code == CL_INVALID_BUILD_OPTIONS) {
    return glue::fail_native(error, BP_INVALID_ARGUMENT, code,
                             "the text does not compile with '%s': %s", options.c_str(),
                             log->empty() ? error_name(code) : log->c_str());
  }
  return fail_cl(device, code, "clBuildProgram", error);
}

// A kernel object after checking that the text is as described.
bp_status make_kernel(Device* device, cl_program program, const glue::FunctionShape& shape,
                      cl_kernel* out, bp_error* error) {
  const Driver& cl = *device->cl;
  cl_int code = CL_SUCCESS;
  const char* const name = shape.name.c_str();
  *out = cl.create_kernel(program, name, &code);
  if (code == CL_INVALID_KERNEL_NAME) {
    return glue::fail_native(error, BP_NOT_FOUND, code, "the module has no kernel '%s'", name);
  }
  if (code != CL_SUCCESS) return fail_cl(device, code, "clCreateKernel", error);
  cl_uint arguments = 0;
  size_t threads = 0;
  cl.get_kernel_info(*out, CL_KERNEL_NUM_ARGS, sizeof arguments, &arguments, nullptr);
  cl.get_group_info(*out, device->physical->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof threads, &threads,
                    nullptr);
  bp_status status = BP_OK;
  if (arguments != 2 * shape.buffer_count + shape.param_words) {
    status = glue::fail(error, BP_INVALID_ARGUMENT,
                        "kernel '%s' has %u arguments; %u buffers, two each, and %u scalars were "
                        "announced",
                        name, arguments, shape.buffer_count, shape.param_words);
  } else if (threads < shape.group_threads) {
    status = glue::fail(error, BP_INVALID_ARGUMENT,
                        "kernel '%s' runs with up to %zu threads in a group here, not %u", name,
                        threads, shape.group_threads);
  }
  if (status != BP_OK) cl.release_kernel(*out);
  return status;
}

bp_status emit_binary(Device* device, cl_program program, bp_bytes_fn out, void* user,
                      bp_error* error) {
  const Driver& cl = *device->cl;
  size_t bytes = 0;
  cl_int code =
      cl.get_program_info(program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, nullptr);
  if (code != CL_SUCCESS) return fail_cl(device, code, "CL_PROGRAM_BINARY_SIZES", error);
  if (bytes == 0 || bytes > kMaxBinaryBytes) {
    return glue::fail(error, BP_UNAVAILABLE, "the driver made a binary of %zu bytes", bytes);
  }
  std::string image(bytes, '\0');
  char* body = image.data();
  code = cl.get_program_info(program, CL_PROGRAM_BINARIES, sizeof body, &body, nullptr);
  if (code != CL_SUCCESS) return fail_cl(device, code, "CL_PROGRAM_BINARIES", error);
  const std::vector<char> sealed = glue::seal_binary(kSeal, image);
  out(user, sealed.data(), sealed.size());
  return BP_OK;
}

bp_status compile(bp_device* handle, const bp_module_source* from, bp_bytes_fn binary,
                  bp_bytes_fn log, void* user, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Device* const device = unwrap(handle);
    const bp_module_source source = glue::read_struct(from);
    if (const bp_status s = glue::check_module(source, device->physical->caps, error)) return s;
    const std::string_view text = glue::view(source.text);
    const char* data = text.data();
    const size_t length = text.size();
    if (length == 0) return glue::fail(error, BP_INVALID_ARGUMENT, "a module without text");
    cl_int code = CL_SUCCESS;
    const Program program(
        device->cl->program_with_source(device->context, 1, &data, &length, &code), {device->cl});
    if (code != CL_SUCCESS) return fail_cl(device, code, "clCreateProgramWithSource", error);
    std::string messages;
    const bp_status built = build(device, program.get(), source, &messages, error);
    if (log != nullptr && !messages.empty()) log(user, messages.data(), messages.size());
    if (built != BP_OK) return built;
    cl_kernel kernel = nullptr;
    const bp_status made =
        make_kernel(device, program.get(), glue::shape_of(source), &kernel, error);
    if (made != BP_OK) return made == BP_NOT_FOUND ? BP_INVALID_ARGUMENT : made;
    device->cl->release_kernel(kernel);
    return emit_binary(device, program.get(), binary, user, error);
  });
}

bp_status load(bp_device* handle, const bp_module_source* from, const void* binary, uint64_t bytes,
               bp_module** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    const bp_module_source source = glue::read_struct(from);
    if (const bp_status s = glue::check_module(source, device->physical->caps, error)) return s;
    std::string_view image;
    if (const bp_status s = glue::unseal_binary(kSeal, binary, bytes, &image, error)) return s;
    const size_t length = image.size();
    const auto* data = reinterpret_cast<const unsigned char*>(image.data());
    cl_int code = CL_SUCCESS, verdict = CL_SUCCESS;
    Program program(device->cl->program_with_binary(device->context, 1, &device->physical->id,
                                                    &length, &data, &verdict, &code),
                    {device->cl});
    if (code == CL_INVALID_BINARY || code == CL_INVALID_VALUE || verdict != CL_SUCCESS) {
      return glue::fail_native(error, BP_INCOMPATIBLE, code,
                               "the driver rejects the binary; compile anew");
    }
    if (code != CL_SUCCESS) return fail_cl(device, code, "clCreateProgramWithBinary", error);
    std::string messages;
    const bp_status built = build(device, program.get(), source, &messages, error);
    if (built != BP_OK) return built == BP_INVALID_ARGUMENT ? BP_INCOMPATIBLE : built;
    auto module = std::make_unique<Module>();
    module->shape = glue::shape_of(source);
    module->program = program.release();
    module->device = device;
    device->children.fetch_add(1);
    *out = wrap(module.release());
    return BP_OK;
  });
}

bp_status unload(bp_module* module, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    delete unwrap(module);
    return BP_OK;
  });
}

bp_status function(bp_module* handle, const bp_string* name, bp_function** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Module* const module = unwrap(handle);
    const std::lock_guard lock(module->mutex);
    for (const auto& made : module->functions) {
      if (made->shape.name == glue::view(name)) return *out = wrap(made.get()), BP_OK;
    }
    auto made = std::make_unique<Function>();
    made->module = module;
    made->shape = module->shape;
    made->shape.name = glue::view(name);
    module->functions.reserve(module->functions.size() + 1);
    const bp_status status =
        make_kernel(module->device, module->program, made->shape, &made->kernel, error);
    if (status != BP_OK) return status;
    *out = wrap(made.get());
    module->functions.push_back(std::move(made));
    return BP_OK;
  });
}

bp_status launch(bp_stream* handle, bp_function* callee, const bp_launch* what, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream& stream = *unwrap(handle);
    Function& f = *unwrap(callee);
    const bp_launch record = glue::read_struct(what);
    const auto describe = [](const bp_buffer* buffer) {
      const Buffer& b = *unwrap(buffer);
      return glue::LaunchBuffer{b.bytes, b.device, b.is_read_only};
    };
    if (const bp_status s = glue::check_launch(record, f.shape, f.module->device, stream.device,
                                               f.module->device->physical->caps, describe, error)) {
      return s;
    }
    const Driver& cl = *stream.device->cl;
    const size_t local[3] = {record.group_threads, 1, 1};
    const size_t global[3] = {record.grid[0] * record.group_threads, record.grid[1],
                              record.grid[2]};
    return put(&stream, f.shape.name.c_str(), error, {}, [&](cl_event* event) {
      const std::lock_guard lock(f.mutex);
      cl_uint at = 0;
      cl_int code = CL_SUCCESS;
      const auto set = [&](size_t bytes, const void* value) {
        if (code == CL_SUCCESS) code = cl.set_arg(f.kernel, at++, bytes, value);
      };
      for (uint32_t i = 0; i < record.buffer_count; ++i) {
        const Buffer* const buffer = unwrap(record.buffers[i].buffer);
        const auto offset = static_cast<cl_uint>(record.buffers[i].offset / 16);
        set(sizeof(cl_mem), &buffer->memory);
        set(sizeof offset, &offset);
      }
      for (uint32_t i = 0; i < record.param_words; ++i) set(4, &record.params[i]);
      if (code != CL_SUCCESS) return code;
      return cl.enqueue_kernel(stream.queue, f.kernel, 3, nullptr, global, local, 0, nullptr,
                               event);
    });
  });
}

}  // namespace

Module::~Module() {
  for (const auto& made : functions) {
    if (made->kernel != nullptr) device->cl->release_kernel(made->kernel);
  }
  if (program != nullptr) device->cl->release_program(program);
  if (device != nullptr) device->children.fetch_sub(1);
}

const bp_module_api kModuleApi = {
    sizeof(bp_module_api), 0, compiler_id, compile, load, unload, function, launch,
};

}  // namespace bp::opencl
