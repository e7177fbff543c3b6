// SPDX-License-Identifier: Apache-2.0
// bp.memory/1 for an event driver (see device.h): device memory first, then page-locked memory of
// the host that the device sees too. Where both are one memory, as in a Jetson or an APU, the first
// heap is page-locked as well. The host's own memory can be registered in place.
#pragma once

#include "backplane/event_driver/device.h"

namespace bp::event_driver {

template <class Api>
struct Buffer {
  enum Origin { kDeviceMemory, kHostMemory, kRegistered };

  Device<Api>* device = nullptr;
  Origin origin = kDeviceMemory;
  typename Api::Address address{};  // as kernels see it
  void* host = nullptr;             // as the host sees it, or NULL
  uint64_t bytes = 0;
  bool read_only = false;
};

// Is [offset, offset + bytes) inside the buffer? NULL buffers have no bytes.
template <class Api>
bool range_fits(const Buffer<Api>* buffer, uint64_t offset, uint64_t bytes) noexcept {
  const uint64_t size = buffer == nullptr ? 0 : buffer->bytes;
  return offset <= size && bytes <= size - offset;
}

template <class Api>
struct MemorySlots {
  using Device = event_driver::Device<Api>;
  using Buffer = event_driver::Buffer<Api>;
  using Result = typename Api::Result;

  static constexpr uint32_t kHeaps = 2;
  static constexpr uint64_t kAlignment = 256;  // drivers promise it for every allocation
  static constexpr uint64_t kPageBytes = 4096;
  static constexpr uint32_t kHostFlags =
      BP_HEAP_HOST_VISIBLE | BP_HEAP_HOST_COHERENT | BP_HEAP_HOST_CACHED;

  // Does the host see buffers of that heap?
  static bool is_host_heap(const Device& device, uint32_t heap) noexcept {
    return heap == 1 || device.info.unified_memory != 0;
  }

  static bp_status heaps(bp_device* handle, bp_heap* out, uint64_t stride, uint32_t capacity,
                         uint32_t* count, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Device& device = *object<Device>(handle);
      *count = kHeaps;
      for (uint32_t i = 0; i < kHeaps && i < capacity; ++i) {
        bp_heap heap{};
        heap.size = sizeof heap;
        heap.flags =
            (i == 0 ? BP_HEAP_DEVICE_LOCAL : 0) | (is_host_heap(device, i) ? kHostFlags : 0);
        heap.bytes = heap.max_allocation_bytes = device.info.memory_bytes;
        heap.alignment = kAlignment;
        glue::write_struct(glue::strided(out, i, stride), heap);
      }
      return BP_OK;
    });
  }

  static bp_status alloc(bp_device* handle, uint32_t heap, uint64_t bytes, bp_buffer** out,
                         bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      Device* const device = object<Device>(handle);
      if (heap >= kHeaps) {
        return glue::fail(error, BP_INVALID_ARGUMENT, "a %s device has no heap %u", Api::kName,
                          heap);
      }
      if (bytes == 0) return glue::fail(error, BP_INVALID_ARGUMENT, "a buffer of 0 bytes");
      if (const bp_status s = device->status(error)) return s;
      auto buffer = std::make_unique<Buffer>();
      buffer->device = device;
      buffer->bytes = bytes;
      char what[64];
      glue::print_text(what, sizeof what, "allocating %" PRIu64 " bytes", bytes);
      const auto scope = device->enter();
      Result result = Api::kOutOfMemory;
      if (!is_host_heap(*device, heap)) {
        if (bytes <= SIZE_MAX / 2) result = device->api.memory_alloc(&buffer->address, bytes);
      } else {
        buffer->origin = Buffer::kHostMemory;
        if (bytes <= SIZE_MAX / 2) {
          result = device->api.host_alloc(&buffer->host, bytes, Api::kHostFlags);
        }
        if (result == 0) {
          result = device->api.host_address(&buffer->address, buffer->host, 0);
          if (result != 0) device->api.host_free(buffer->host);
        }
      }
      if (const bp_status s = device->check(result, what, error)) return s;
      device->children.fetch_add(1);
      *out = handle_of<bp_buffer>(buffer.release());
      return BP_OK;
    });
  }

  static bp_status release(bp_buffer* handle, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const std::unique_ptr<Buffer> buffer(object<Buffer>(handle));
      if (buffer == nullptr) return BP_OK;
      Device* const device = buffer->device;
      const auto scope = device->enter();
      Result result = 0;
      switch (buffer->origin) {
        case Buffer::kDeviceMemory:
          result = device->api.memory_free(buffer->address);
          break;
        case Buffer::kHostMemory:
          result = device->api.host_free(buffer->host);
          break;
        case Buffer::kRegistered:
          result = device->api.host_unregister(buffer->host);
          break;
      }
      device->children.fetch_sub(1);
      // A lost device has lost its memory too, which is what was asked for.
      const bp_status status = device->check(result, "freeing a buffer", error);
      return status == BP_DEVICE_LOST ? BP_OK : status;
    });
  }

  // How memory of the host would be used.
  static int32_t import_verdict(const Device& device, const bp_import& what) noexcept {
    if (what.kind != BP_IMPORT_HOST_POINTER && what.kind != BP_IMPORT_FILE_RANGE)
      return BP_IMPORT_NO;
    const bool read_only = (what.flags & BP_IMPORT_READ_ONLY) != 0;
    if (what.pointer == nullptr || what.length == 0 || !device.registers_host_memory ||
        (read_only && !device.registers_read_only)) {
      return BP_IMPORT_COPY;
    }
    return device.info.unified_memory != 0 ? BP_IMPORT_NATIVE : BP_IMPORT_SLOW;
  }

  static bp_status query_import(bp_device* handle, const bp_import* what, bp_import_support* out,
                                bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      bp_import_support support{};
      support.size = sizeof support;
      support.verdict = import_verdict(*object<Device>(handle), glue::read_struct(what));
      support.pointer_alignment = kPageBytes;
      glue::write_struct(out, support);
      return BP_OK;
    });
  }

  static bp_status import(bp_device* handle, const bp_import* what, bp_buffer** out,
                          bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      Device* const device = object<Device>(handle);
      const bp_import wanted = glue::read_struct(what);
      if (import_verdict(*device, wanted) < BP_IMPORT_SLOW) {
        return glue::fail(error, BP_UNIMPLEMENTED,
                          "%s device %u cannot use this memory in place; allocate and write",
                          Api::kName, device->index);
      }
      if (reinterpret_cast<uintptr_t>(wanted.pointer) % kPageBytes != 0) {
        return glue::fail(error, BP_INVALID_ARGUMENT,
                          "memory to import must be aligned to %" PRIu64 " bytes", kPageBytes);
      }
      if (const bp_status s = device->status(error)) return s;
      auto buffer = std::make_unique<Buffer>();
      buffer->device = device;
      buffer->origin = Buffer::kRegistered;
      buffer->host = wanted.pointer;
      buffer->bytes = wanted.length;
      buffer->read_only = (wanted.flags & BP_IMPORT_READ_ONLY) != 0;
      const auto scope = device->enter();
      Result result = device->api.host_register(
          wanted.pointer, wanted.length,
          Api::kHostFlags | (buffer->read_only ? Api::kHostReadOnly : 0u));
      if (result == 0) {
        result = device->api.host_address(&buffer->address, wanted.pointer, 0);
        if (result != 0) device->api.host_unregister(wanted.pointer);
      }
      if (const bp_status s = device->check(result, "registering memory of the host", error)) {
        return s;
      }
      device->children.fetch_add(1);
      *out = handle_of<bp_buffer>(buffer.release());
      return BP_OK;
    });
  }

  static bp_status export_handle(bp_buffer*, const bp_string*, int64_t*, bp_error* error) {
    return glue::fail(error, BP_UNIMPLEMENTED, "buffers of a %s device are not exported",
                      Api::kName);
  }

  static bp_status map(bp_buffer* handle, void** out, bp_error* error) {
    *out = object<Buffer>(handle)->host;
    if (*out != nullptr) return BP_OK;
    return glue::fail(
        error, BP_UNIMPLEMENTED,
        "memory of a discrete GPU cannot be mapped: write and read it, or use heap 1");
  }

  static bp_status unmap(bp_buffer*, bp_error*) { return BP_OK; }

  // Page-locked memory is coherent.
  static bp_status flush(bp_buffer*, uint64_t, uint64_t, bp_error*) { return BP_OK; }

  static bp_status budget(bp_device* handle, uint64_t* free_bytes, uint64_t* total_bytes,
                          bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      Device* const device = object<Device>(handle);
      if (const bp_status s = device->status(error)) return s;
      const auto scope = device->enter();
      size_t available = 0, total = 0;
      const Result result = device->api.memory_info(&available, &total);
      if (const bp_status s = device->check(result, "asking for free memory", error)) return s;
      *free_bytes = available;
      *total_bytes = total;
      return BP_OK;
    });
  }

  static constexpr bp_memory_api kTable = {
      sizeof(bp_memory_api), 0,   heaps, alloc, release, query_import, import,
      export_handle,         map, unmap, flush, flush,   budget,
  };
};

}  // namespace bp::event_driver
