// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cinttypes>
#include <memory>

namespace bp::cpu {
namespace {

constexpr uint64_t kHugePageBytes = 2u << 20;

bp_status heaps(bp_device*, bp_heap* out, uint64_t stride, uint32_t capacity, uint32_t* count,
                bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *count = 1;
    if (capacity == 0) return BP_OK;
    bp_heap heap{};
    heap.size = sizeof heap;
    heap.flags =
        BP_HEAP_DEVICE_LOCAL | BP_HEAP_HOST_VISIBLE | BP_HEAP_HOST_COHERENT | BP_HEAP_HOST_CACHED;
    heap.bytes = total_memory_bytes();
    heap.max_allocation_bytes = heap.bytes;
    heap.alignment = kBufferAlignment;
    glue::write_struct(glue::strided(out, 0, stride), heap);
    return BP_OK;
  });
}

// Anonymous mappings, whatever the size: pages that are never touched cost nothing, which is what
// a KV pool for a long context wants, and freed memory goes back to the system at once.
bp_status alloc(bp_device* handle, uint32_t heap, uint64_t bytes, bp_buffer** out,
                bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    if (heap != 0) return glue::fail(error, BP_INVALID_ARGUMENT, "the cpu has no heap %u", heap);
    if (bytes == 0) return glue::fail(error, BP_INVALID_ARGUMENT, "a buffer of 0 bytes");
    if (bytes > UINT64_MAX / 2) {
      return glue::fail(error, BP_EXHAUSTED, "no memory for a buffer of %" PRIu64 " bytes", bytes);
    }
    auto buffer = std::make_unique<Buffer>();
    const uint64_t mapped_bytes =
        (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
    void* const memory =
        mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      return glue::fail_native(error, BP_EXHAUSTED, errno,
                               "no memory for a buffer of %" PRIu64 " bytes", bytes);
    }
    // A hint only; kernels without huge pages refuse it.
    if (mapped_bytes >= 4 * kHugePageBytes) madvise(memory, mapped_bytes, MADV_HUGEPAGE);
    buffer->device = unwrap(handle);
    buffer->data = static_cast<std::byte*>(memory);
    buffer->bytes = bytes;
    buffer->mapped_bytes = mapped_bytes;
    buffer->device->children.fetch_add(1);
    *out = wrap(buffer.release());
    return BP_OK;
  });
}

bp_status release(bp_buffer* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::unique_ptr<Buffer> buffer(unwrap(handle));
    if (buffer == nullptr) return BP_OK;
    buffer->device->children.fetch_sub(1);
    if (buffer->mapped_bytes != 0) munmap(buffer->data, buffer->mapped_bytes);
    return BP_OK;
  });
}

bool is_usable_in_place(const bp_import& what) noexcept {
  return (what.kind == BP_IMPORT_HOST_POINTER || what.kind == BP_IMPORT_FILE_RANGE) &&
         what.pointer != nullptr && what.length != 0;
}

bp_status query_import(bp_device*, const bp_import* what, bp_import_support* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const bp_import wanted = glue::read_struct(what);
    bp_import_support support{};
    support.size = sizeof support;
    support.pointer_alignment = 4;
    if (is_usable_in_place(wanted)) {
      support.verdict = BP_IMPORT_NATIVE;
    } else if (wanted.kind == BP_IMPORT_FILE_RANGE) {
      support.verdict = BP_IMPORT_COPY;
    } else {
      support.verdict = BP_IMPORT_NO;
    }
    glue::write_struct(out, support);
    return BP_OK;
  });
}

bp_status import(bp_device* handle, const bp_import* what, bp_buffer** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    const bp_import wanted = glue::read_struct(what);
    if (!is_usable_in_place(wanted)) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "the cpu imports memory that is mapped; kind %d without a pointer or "
                        "length must be copied",
                        wanted.kind);
    }
    if (reinterpret_cast<uintptr_t>(wanted.pointer) % 4 != 0) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "imported memory must be aligned to 4 bytes");
    }
    auto buffer = std::make_unique<Buffer>();
    buffer->device = unwrap(handle);
    buffer->data = static_cast<std::byte*>(wanted.pointer);
    buffer->bytes = wanted.length;
    buffer->read_only = (wanted.flags & BP_IMPORT_READ_ONLY) != 0;
    buffer->device->children.fetch_add(1);
    *out = wrap(buffer.release());
    return BP_OK;
  });
}

bp_status export_handle(bp_buffer*, const bp_string*, int64_t*, bp_error* error) {
  return glue::fail(error, BP_UNIMPLEMENTED, "cpu buffers have no handle to export: map them");
}

bp_status map(bp_buffer* buffer, void** out, bp_error*) {
  *out = unwrap(buffer)->data;
  return BP_OK;
}

bp_status unmap(bp_buffer*, bp_error*) {
  return BP_OK;
}

bp_status flush(bp_buffer*, uint64_t, uint64_t, bp_error*) {
  return BP_OK;
}

bp_status budget(bp_device*, uint64_t* free_bytes, uint64_t* total_bytes, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *free_bytes = available_memory_bytes();
    *total_bytes = total_memory_bytes();
    return BP_OK;
  });
}

}  // namespace

const bp_memory_api kMemoryApi = {
    sizeof(bp_memory_api), 0,   heaps, alloc, release, query_import, import,
    export_handle,         map, unmap, flush, flush,   budget,
};

}  // namespace bp::cpu
