// SPDX-License-Identifier: Apache-2.0
// A minimal OpenCL host. Not the plugin: no caches, no events, one buffer object an argument.
#include "kernels/testing/opencl.h"

#ifdef BP_TEST_OPENCL
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <fmt/format.h>
#endif

namespace bp::kernels::testing {

#ifndef BP_TEST_OPENCL

Executed run_opencl(const Case&, const Kernel&, const std::string&, const std::string&) {
  Executed out;
  out.log = "OpenCL headers or loader (Debian: ocl-icd-opencl-dev) were absent when this was built";
  return out;
}

#else
namespace {

struct Device {
  cl_device_id id = nullptr;
  cl_context context = nullptr;
  cl_command_queue queue = nullptr;

  Device() {
    cl_uint count = 0;
    cl_platform_id platforms[8];
    if (clGetPlatformIDs(8, platforms, &count) != CL_SUCCESS) return;
    for (cl_uint i = 0; i < count && i < 8 && id == nullptr; ++i) {
      cl_device_id found;
      if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &found, nullptr) == CL_SUCCESS)
        id = found;
    }
    if (id == nullptr) return;
    context = clCreateContext(nullptr, 1, &id, nullptr, nullptr, nullptr);
    if (context != nullptr) queue = clCreateCommandQueue(context, id, 0, nullptr);
  }
};

// Objects of one run, released together.
struct Run {
  cl_program program = nullptr;
  cl_kernel kernel = nullptr;
  std::vector<cl_mem> memory;
  ~Run() {
    for (cl_mem m : memory) clReleaseMemObject(m);
    if (kernel != nullptr) clReleaseKernel(kernel);
    if (program != nullptr) clReleaseProgram(program);
  }
};

bool build(const Device& device, const std::string& text, const std::string& entry, Run* run,
           std::string* log) {
  const char* source = text.c_str();
  cl_int code = 0;
  run->program = clCreateProgramWithSource(device.context, 1, &source, nullptr, &code);
  if (code != CL_SUCCESS) return false;
  code = clBuildProgram(run->program, 1, &device.id, "-cl-std=CL1.2", nullptr, nullptr);
  if (code != CL_SUCCESS) {
    size_t bytes = 0;
    clGetProgramBuildInfo(run->program, device.id, CL_PROGRAM_BUILD_LOG, 0, nullptr, &bytes);
    log->resize(bytes);
    clGetProgramBuildInfo(run->program, device.id, CL_PROGRAM_BUILD_LOG, bytes, log->data(),
                          nullptr);
    return false;
  }
  run->kernel = clCreateKernel(run->program, entry.c_str(), &code);
  return code == CL_SUCCESS;
}

cl_int launch(const Device& device, const Case& test, const Kernel& kernel, Run* run,
              std::vector<Words>* buffers) {
  cl_int code = CL_SUCCESS;
  cl_uint at = 0;
  for (Words& words : *buffers) {
    cl_mem memory = clCreateBuffer(device.context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                   words.size() * 4, words.data(), &code);
    if (code != CL_SUCCESS) return code;
    run->memory.push_back(memory);
    const cl_uint offset = 0;
    code |= clSetKernelArg(run->kernel, at++, sizeof(cl_mem), &memory);
    code |= clSetKernelArg(run->kernel, at++, sizeof offset, &offset);
  }
  for (uint32_t param : test.params) code |= clSetKernelArg(run->kernel, at++, 4, &param);
  if (code != CL_SUCCESS) return code;
  const size_t local[2] = {kernel.threads, 1};
  const size_t global[2] = {size_t{test.grid_x} * kernel.threads, test.grid_y};
  code = clEnqueueNDRangeKernel(device.queue, run->kernel, 2, nullptr, global, local, 0, nullptr,
                                nullptr);
  for (size_t i = 0; code == CL_SUCCESS && i < buffers->size(); ++i) {
    Words& words = (*buffers)[i];
    code = clEnqueueReadBuffer(device.queue, run->memory[i], CL_TRUE, 0, words.size() * 4,
                               words.data(), 0, nullptr, nullptr);
  }
  return code;
}

}  // namespace

Executed run_opencl(const Case& test, const Kernel& kernel, const std::string& text,
                    const std::string& entry) {
  static const Device kDevice;
  Executed out;
  if (kDevice.queue == nullptr) return out.log = "no OpenCL device (Debian: pocl-opencl-icd)", out;
  out.state = Executed::kFailed;
  Run run;
  if (!build(kDevice, text, entry, &run, &out.log)) return out;
  out.buffers = test.buffers;
  const cl_int code = launch(kDevice, test, kernel, &run, &out.buffers);
  if (code != CL_SUCCESS) return out.log = fmt::format("OpenCL error {}", code), out;
  out.state = Executed::kOk;
  return out;
}
#endif

}  // namespace bp::kernels::testing
