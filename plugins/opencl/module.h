// SPDX-License-Identifier: Apache-2.0
// Interface bp.module/1 of the OpenCL plugin. A kernel takes, for each buffer, the memory object
// and a uint offset in units of 16 bytes, then 32-bit scalars.
#pragma once

#include <mutex>

#include "backplane/launch_check.h"
#include "plugins/opencl/stream.h"

namespace bp::opencl {

struct Module;

struct Function {
  Module* module = nullptr;
  glue::FunctionShape shape;
  cl_kernel kernel = nullptr;
  // The arguments are state of the kernel object and clSetKernelArg is not thread-safe for one, so
  // launches from several streams take turns between the first argument and the enqueue.
  std::mutex mutex;
};
BP_PLUGIN_HANDLE(bp_function, Function)

struct Module {
  Device* device = nullptr;
  cl_program program = nullptr;
  glue::FunctionShape shape;  // as the source said
  std::mutex mutex;
  std::vector<std::unique_ptr<Function>> functions;  // guarded by mutex
  ~Module();
};
BP_PLUGIN_HANDLE(bp_module, Module)

extern const bp_module_api kModuleApi;

}  // namespace bp::opencl
