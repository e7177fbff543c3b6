// SPDX-License-Identifier: Apache-2.0
// The OpenCL loader: opened when first asked for, never linked. OpenCL 1.2 is the floor.
#pragma once

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS  // clCreateCommandQueue: the one that every version has
#include <CL/cl.h>
#include <CL/cl_ext.h>

#include <string>
#include <vector>

#include "backplane/plugin_glue.h"

// clang-format off
#define BP_OPENCL_ENTRIES(X)                                                                      \
  X(get_platform_ids, clGetPlatformIDs)        X(get_platform_info, clGetPlatformInfo)            \
  X(get_device_ids, clGetDeviceIDs)            X(get_device_info, clGetDeviceInfo)                \
  X(create_context, clCreateContext)           X(release_context, clReleaseContext)               \
  X(create_queue, clCreateCommandQueue)        X(release_queue, clReleaseCommandQueue)            \
  X(create_buffer, clCreateBuffer)             X(release_memory, clReleaseMemObject)              \
  X(enqueue_write, clEnqueueWriteBuffer)       X(enqueue_read, clEnqueueReadBuffer)               \
  X(enqueue_copy, clEnqueueCopyBuffer)         X(enqueue_fill, clEnqueueFillBuffer)               \
  X(enqueue_kernel, clEnqueueNDRangeKernel)    X(enqueue_marker, clEnqueueMarkerWithWaitList)     \
  X(enqueue_barrier, clEnqueueBarrierWithWaitList)                                                \
  X(flush, clFlush)                            X(finish, clFinish)                                \
  X(wait_for_events, clWaitForEvents)          X(get_event_info, clGetEventInfo)                  \
  X(release_event, clReleaseEvent)                                                                \
  X(program_with_source, clCreateProgramWithSource)                                               \
  X(program_with_binary, clCreateProgramWithBinary)                                               \
  X(build_program, clBuildProgram)             X(release_program, clReleaseProgram)               \
  X(get_program_info, clGetProgramInfo)        X(get_build_info, clGetProgramBuildInfo)           \
  X(create_kernel, clCreateKernel)             X(release_kernel, clReleaseKernel)                 \
  X(get_kernel_info, clGetKernelInfo)          X(get_group_info, clGetKernelWorkGroupInfo)        \
  X(set_arg, clSetKernelArg)
// clang-format on

namespace bp::opencl {

// Entry points of the loader. The last two are of OpenCL 2.0 and may be missing.
struct Driver {
#define BP_OPENCL_FIELD(field, symbol) decltype(&::symbol) field = nullptr;
  BP_OPENCL_ENTRIES(BP_OPENCL_FIELD)
#undef BP_OPENCL_FIELD
  decltype(&::clSVMAlloc) svm_alloc = nullptr;
  decltype(&::clSVMFree) svm_free = nullptr;
};

// Why there is nothing to drive: a BP_PROBE_… reason and one sentence.
struct Verdict {
  int32_t reason = BP_PROBE_USABLE;
  std::string detail;
};

// The loaded driver, or NULL with the verdict filled. The environment variable
// BACKPLANE_OPENCL_LIBRARY names another loader than libOpenCL.so.1. Loads at the first success,
// tries again after a failure. Thread-safe.
const Driver* driver(Verdict* verdict);

// A device that a driver offers; not yet looked at.
struct Offer {
  cl_platform_id platform = nullptr;
  cl_device_id device = nullptr;
};
// All devices of all platforms, in the same order in every process; none with the verdict filled.
std::vector<Offer> find_offers(const Driver& cl, Verdict* verdict);

// Texts of clGetPlatformInfo and clGetDeviceInfo; empty when the driver has none.
std::string text_of(const Driver& cl, cl_platform_id platform, cl_platform_info what);
std::string text_of(const Driver& cl, cl_device_id device, cl_device_info what);

// Name of a driver error that users meet ("CL_OUT_OF_RESOURCES"), or "an OpenCL error".
const char* error_name(cl_int code) noexcept;

// Services of the host between init and shutdown, else NULL.
const bp_host* host() noexcept;
void set_host(const bp_host* services) noexcept;

}  // namespace bp::opencl
