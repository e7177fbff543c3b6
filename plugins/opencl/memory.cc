// SPDX-License-Identifier: Apache-2.0
// Where the device shares memory with the host, buffers are fine-grained shared virtual memory with
// a buffer object around it. The standard (clSVMAlloc) says that an object made of such a pointer
// with CL_MEM_USE_HOST_PTR "has the shared memory as the underlying storage", and fine grain that
// host and device may access it at any time without mapping; order comes from events. A mapped
// CL_MEM_ALLOC_HOST_PTR buffer would not do: kernels must not touch it while it is mapped.
#include "plugins/opencl/memory.h"

#include <cinttypes>

namespace bp::opencl {
namespace {

// Kernels load four words at a time, also the last ones.
constexpr uint64_t kGranuleBytes = 16;
// Of the largest OpenCL type, long16; what a full profile guarantees for either kind of memory.
constexpr uint64_t kAlignment = 128;

bp_status heaps(bp_device* device, bp_heap* out, uint64_t stride, uint32_t capacity,
                uint32_t* count, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Physical& physical = *unwrap(device)->physical;
    *count = 1;
    if (capacity == 0) return BP_OK;
    bp_heap heap{};
    heap.size = sizeof heap;
    heap.flags = BP_HEAP_DEVICE_LOCAL;
    if (physical.shares_memory) {
      heap.flags |= BP_HEAP_HOST_VISIBLE | BP_HEAP_HOST_COHERENT | BP_HEAP_HOST_CACHED;
    }
    heap.bytes = physical.info.memory_bytes;
    heap.max_allocation_bytes = physical.max_allocation_bytes;
    heap.alignment = kAlignment;
    glue::write_struct(glue::strided(out, 0, stride), heap);
    return BP_OK;
  });
}

// Counts the bytes against the device's memory: drivers promise more than there is and fail, or
// swap, when a kernel runs.
bool reserve(Physical* physical, uint64_t bytes) noexcept {
  const uint64_t total = physical->info.memory_bytes;
  uint64_t used = physical->used_bytes.load();
  do {
    if (used > total || bytes > total - used) return false;
  } while (!physical->used_bytes.compare_exchange_weak(used, used + bytes));
  return true;
}

// Drivers reserve lazily. A write that has run is proof that the memory is there.
cl_int touch(const Device& device, cl_mem memory) noexcept {
  const cl_uint word = 0;
  const cl_int code = device.cl->enqueue_fill(device.queue, memory, &word, sizeof word, 0,
                                              sizeof word, 0, nullptr, nullptr);
  return code != CL_SUCCESS ? code : device.cl->finish(device.queue);
}

bp_status alloc(bp_device* handle, uint32_t heap, uint64_t bytes, bp_buffer** out,
                bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    Physical* const physical = device->physical;
    if (heap != 0) return glue::fail(error, BP_INVALID_ARGUMENT, "there is no heap %u", heap);
    if (bytes == 0) return glue::fail(error, BP_INVALID_ARGUMENT, "a buffer of 0 bytes");
    if (bytes > physical->max_allocation_bytes / kGranuleBytes * kGranuleBytes) {
      return glue::fail(error, BP_EXHAUSTED,
                        "a buffer of %" PRIu64 " bytes; %s allows %" PRIu64 " in one", bytes,
                        physical->info.name, physical->max_allocation_bytes);
    }
    auto buffer = std::make_unique<Buffer>();
    buffer->bytes = bytes;
    const uint64_t rounded = (bytes + kGranuleBytes - 1) / kGranuleBytes * kGranuleBytes;
    if (!reserve(physical, rounded)) {
      return glue::fail(error, BP_EXHAUSTED,
                        "no room for %" PRIu64 " bytes: %" PRIu64 " of %" PRIu64 " are in use",
                        bytes, physical->used_bytes.load(), physical->info.memory_bytes);
    }
    buffer->device = device;
    device->children.fetch_add(1);
    buffer->counted_bytes = rounded;
    cl_mem_flags flags = CL_MEM_READ_WRITE;
    if (physical->shares_memory) {
      buffer->svm = device->cl->svm_alloc(
          device->context, CL_MEM_READ_WRITE | CL_MEM_SVM_FINE_GRAIN_BUFFER, rounded, 0);
      if (buffer->svm == nullptr) {
        return glue::fail(error, BP_EXHAUSTED, "no shared memory for %" PRIu64 " bytes", bytes);
      }
      buffer->data = static_cast<std::byte*>(buffer->svm);
      flags |= CL_MEM_USE_HOST_PTR;
    }
    cl_int code = CL_SUCCESS;
    buffer->memory = device->cl->create_buffer(device->context, flags, rounded, buffer->svm, &code);
    if (code == CL_SUCCESS && buffer->svm == nullptr) code = touch(*device, buffer->memory);
    if (code != CL_SUCCESS) return fail_cl(device, code, "clCreateBuffer", error);
    *out = wrap(buffer.release());
    return BP_OK;
  });
}

bp_status release(bp_buffer* buffer, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    delete unwrap(buffer);
    return BP_OK;
  });
}

bool is_mapped(const bp_import& what) noexcept {
  return (what.kind == BP_IMPORT_HOST_POINTER || what.kind == BP_IMPORT_FILE_RANGE) &&
         what.pointer != nullptr && what.length != 0;
}

bp_status query_import(bp_device* device, const bp_import* what, bp_import_support* out,
                       bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Physical& physical = *unwrap(device)->physical;
    const bp_import wanted = glue::read_struct(what);
    bp_import_support support{};
    support.size = sizeof support;
    support.pointer_alignment = physical.import_alignment != 0 ? physical.import_alignment : 1;
    support.verdict = BP_IMPORT_NO;
    if (is_mapped(wanted) && wanted.length <= physical.max_allocation_bytes) {
      support.verdict = physical.import_alignment != 0 ? BP_IMPORT_NATIVE : BP_IMPORT_COPY;
    } else if (wanted.kind == BP_IMPORT_FILE_RANGE && wanted.pointer == nullptr) {
      support.verdict = BP_IMPORT_COPY;
    }
    glue::write_struct(out, support);
    return BP_OK;
  });
}

bp_status import(bp_device* handle, const bp_import* what, bp_buffer** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    const Physical& physical = *device->physical;
    const bp_import wanted = glue::read_struct(what);
    const uint64_t alignment = physical.import_alignment;
    if (!is_mapped(wanted) || alignment == 0) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "%s cannot use memory of kind %d in place; allocate and write instead",
                        physical.info.name, wanted.kind);
    }
    if (reinterpret_cast<uintptr_t>(wanted.pointer) % alignment != 0 ||
        (alignment > kGranuleBytes && wanted.length % alignment != 0)) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "imported memory must be aligned to %" PRIu64 " bytes", alignment);
    }
    if (wanted.length > physical.max_allocation_bytes) {
      return glue::fail(error, BP_EXHAUSTED,
                        "an import of %" PRIu64 " bytes; %s allows %" PRIu64 " in one buffer",
                        wanted.length, physical.info.name, physical.max_allocation_bytes);
    }
    auto buffer = std::make_unique<Buffer>();
    buffer->is_imported = true;
    buffer->is_read_only = (wanted.flags & BP_IMPORT_READ_ONLY) != 0;
    buffer->data = static_cast<std::byte*>(wanted.pointer);
    buffer->bytes = wanted.length;
    buffer->device = device;
    device->children.fetch_add(1);
    cl_int code = CL_SUCCESS;
    buffer->memory = device->cl->create_buffer(
        device->context,
        CL_MEM_USE_HOST_PTR | (buffer->is_read_only ? CL_MEM_READ_ONLY : CL_MEM_READ_WRITE),
        wanted.length, wanted.pointer, &code);
    if (code != CL_SUCCESS) return fail_cl(device, code, "clCreateBuffer of host memory", error);
    *out = wrap(buffer.release());
    return BP_OK;
  });
}

bp_status export_handle(bp_buffer*, const bp_string*, int64_t*, bp_error* error) {
  return glue::fail(error, BP_UNIMPLEMENTED, "OpenCL buffers have no handle to export");
}

bp_status map(bp_buffer* handle, void** out, bp_error* error) {
  *out = unwrap(handle)->data;
  if (*out != nullptr) return BP_OK;
  return glue::fail(error, BP_UNIMPLEMENTED,
                    "memory of %s is not visible to the host; read and write it through a stream",
                    unwrap(handle)->device->physical->info.name);
}

bp_status unmap(bp_buffer*, bp_error*) {
  return BP_OK;
}

// A driver may keep a copy of imported memory. Transfers from and to the very place are how the
// standard (clEnqueueReadBuffer, notes on CL_MEM_USE_HOST_PTR) brings both to one state.
template <class Enqueue>
bp_status synchronize(bp_buffer* handle, uint64_t offset, uint64_t bytes, const char* what,
                      bp_error* error, const Enqueue& enqueue) {
  return glue::fenced(error, [&]() -> bp_status {
    const Buffer& b = *unwrap(handle);
    if (const bp_status s = check_range(b.device, &b, offset, bytes, false, what, error)) return s;
    if (!b.is_imported || b.is_read_only || bytes == 0) return BP_OK;
    const cl_int code = enqueue(b, *b.device->cl);
    return code == CL_SUCCESS ? BP_OK : fail_cl(b.device, code, what, error);
  });
}

bp_status flush(bp_buffer* buffer, uint64_t offset, uint64_t bytes, bp_error* error) {
  return synchronize(buffer, offset, bytes, "flush", error, [&](const Buffer& b, const Driver& cl) {
    return cl.enqueue_write(b.device->queue, b.memory, CL_TRUE, offset, bytes, b.data + offset, 0,
                            nullptr, nullptr);
  });
}

bp_status invalidate(bp_buffer* buffer, uint64_t offset, uint64_t bytes, bp_error* error) {
  return synchronize(buffer, offset, bytes, "invalidate", error,
                     [&](const Buffer& b, const Driver& cl) {
                       return cl.enqueue_read(b.device->queue, b.memory, CL_TRUE, offset, bytes,
                                              b.data + offset, 0, nullptr, nullptr);
                     });
}

// OpenCL does not tell what others use of the device.
bp_status budget(bp_device* device, uint64_t* free_bytes, uint64_t* total_bytes, bp_error*) {
  const Physical& physical = *unwrap(device)->physical;
  *total_bytes = physical.info.memory_bytes;
  const uint64_t used = physical.used_bytes.load();
  *free_bytes = used < *total_bytes ? *total_bytes - used : 0;
  return BP_OK;
}

}  // namespace

Buffer::~Buffer() {
  if (memory != nullptr) device->cl->release_memory(memory);
  if (svm != nullptr) device->cl->svm_free(device->context, svm);
  if (device == nullptr) return;
  device->physical->used_bytes.fetch_sub(counted_bytes);
  device->children.fetch_sub(1);
}

bp_status check_range(const Device* device, const Buffer* buffer, uint64_t offset, uint64_t bytes,
                      bool writes, const char* what, bp_error* error) noexcept {
  const uint64_t size = buffer == nullptr ? 0 : buffer->bytes;
  if (offset > size || bytes > size - offset) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "%s: %" PRIu64 " bytes at %" PRIu64 " leave the buffer of %" PRIu64 " bytes",
                      what, bytes, offset, size);
  }
  if (buffer != nullptr && buffer->device != device) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s: the buffer is another device's", what);
  }
  if (writes && buffer != nullptr && buffer->is_read_only) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s: the buffer was imported read-only", what);
  }
  return BP_OK;
}

const bp_memory_api kMemoryApi = {
    sizeof(bp_memory_api), 0,   heaps, alloc, release,    query_import, import,
    export_handle,         map, unmap, flush, invalidate, budget,
};

}  // namespace bp::opencl
