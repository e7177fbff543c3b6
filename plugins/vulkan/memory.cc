// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/memory.h"

#include <algorithm>
#include <cinttypes>

namespace bp::vulkan {
namespace {

constexpr VkBufferUsageFlags kUsage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                      VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                      VK_BUFFER_USAGE_TRANSFER_DST_BIT;

bp_status heaps(bp_device* handle, bp_heap* out, uint64_t stride, uint32_t capacity,
                uint32_t* count, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Adapter& adapter = *unwrap(handle)->adapter;
    *count = static_cast<uint32_t>(adapter.heaps.size());
    for (uint32_t i = 0; i < *count && i < capacity; ++i) {
      bp_heap heap{};
      heap.size = sizeof heap;
      heap.flags = adapter.heaps[i].flags;
      heap.bytes = adapter.heaps[i].bytes;
      heap.max_allocation_bytes =
          std::min(adapter.heaps[i].largest_bytes, adapter.max_allocation_bytes);
      heap.alignment = std::max<uint64_t>(adapter.limits.minMemoryMapAlignment,
                                          adapter.caps.buffer_offset_alignment);
      glue::write_struct(glue::strided(out, i, stride), heap);
    }
    return BP_OK;
  });
}

bp_status alloc(bp_device* handle, uint32_t heap, uint64_t bytes, bp_buffer** out,
                bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    if (heap >= device->adapter->heaps.size()) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "the vulkan device has no heap %u", heap);
    }
    std::unique_ptr<Buffer> buffer;
    if (const bp_status status =
            make_buffer(device, device->adapter->heaps[heap], bytes, &buffer, error)) {
      return status;
    }
    device->children.fetch_add(1);
    *out = wrap(buffer.release());
    return BP_OK;
  });
}

bp_status release(bp_buffer* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::unique_ptr<Buffer> buffer(unwrap(handle));
    if (buffer != nullptr) buffer->device->children.fetch_sub(1);
    return BP_OK;
  });
}

// A VkBuffer without memory. `external` is the chained description of imported memory, or NULL.
bp_status make_handle(Device* device, uint64_t bytes, const void* external, Buffer* out,
                      bp_error* error) {
  const VkBufferCreateInfo info{.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                .pNext = external,
                                .size = bytes,
                                .usage = kUsage};
  out->device = device;
  out->bytes = bytes;
  return device->check(device->vk.CreateBuffer(device->handle, &info, nullptr, &out->handle),
                       "creating a buffer", error);
}

// Memory for a buffer from one memory type, counted against the driver's limit.
bp_status allocate(Buffer* buffer, uint64_t bytes, uint32_t type, const void* next,
                   bp_error* error) {
  Device* const device = buffer->device;
  const uint32_t limit = device->adapter->limits.maxMemoryAllocationCount;
  if (device->allocations.fetch_add(1) >= limit) {
    device->allocations.fetch_sub(1);
    return glue::fail(error, BP_EXHAUSTED,
                      "the driver's limit maxMemoryAllocationCount of %u buffers is reached; use "
                      "fewer, larger ones",
                      limit);
  }
  const VkMemoryAllocateInfo info{.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                  .pNext = next,
                                  .allocationSize = bytes,
                                  .memoryTypeIndex = type};
  VkResult result = device->vk.AllocateMemory(device->handle, &info, nullptr, &buffer->memory);
  if (result != VK_SUCCESS) {
    device->allocations.fetch_sub(1);
    return device->check(result, "allocating memory", error);
  }
  result = device->vk.BindBufferMemory(device->handle, buffer->handle, buffer->memory, 0);
  return device->check(result, "binding memory", error);
}

// The memory types of a heap that take such a buffer, those with room for it first: drivers that
// share the host's memory let "video memory" be overdrawn and then move pages about.
std::vector<uint32_t> usable_types(const Device& device, const Heap& heap,
                                   const VkMemoryRequirements& needs) {
  std::vector<uint32_t> types = heap.types;
  const VkPhysicalDeviceMemoryProperties& memory = device.adapter->memory;
  std::erase_if(types, [&](uint32_t type) {
    return (needs.memoryTypeBits >> type & 1u) == 0 ||
           memory.memoryHeaps[memory.memoryTypes[type].heapIndex].size < needs.size;
  });
  if (types.size() > 1) {
    std::stable_partition(types.begin(), types.end(), [&](uint32_t type) {
      return free_bytes_of(*device.driver, *device.adapter, type) >= needs.size;
    });
  }
  return types;
}

// Makes a buffer of the host's bytes at `pointer`; length and address are aligned.
bp_status import_range(Device* device, void* pointer, uint64_t bytes, std::unique_ptr<Buffer>* out,
                       bp_error* error) {
  constexpr VkExternalMemoryHandleTypeFlagBits kKind =
      VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  VkMemoryHostPointerPropertiesEXT properties{
      .sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
  const VkResult result =
      device->vk.GetMemoryHostPointerPropertiesEXT(device->handle, kKind, pointer, &properties);
  if (const bp_status s = device->check(result, "importing memory", error)) return s;
  const VkExternalMemoryBufferCreateInfo external{
      .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO, .handleTypes = kKind};
  auto buffer = std::make_unique<Buffer>();
  if (const bp_status s = make_handle(device, bytes, &external, buffer.get(), error)) return s;
  VkMemoryRequirements needs;
  device->vk.GetBufferMemoryRequirements(device->handle, buffer->handle, &needs);
  const uint32_t types = needs.memoryTypeBits & properties.memoryTypeBits;
  // Coherent types only: flush and invalidate do nothing.
  const auto coherent = [device](uint32_t type) {
    return (device->adapter->memory.memoryTypes[type].propertyFlags &
            VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0;
  };
  uint32_t type = 0;
  while (type < 32 && ((types >> type & 1u) == 0 || !coherent(type))) ++type;
  if (type == 32 || needs.size > bytes) {
    return glue::fail(error, BP_INCOMPATIBLE,
                      "the driver does not take this memory in place: "
                      "copy it");
  }
  const VkImportMemoryHostPointerInfoEXT import{
      .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
      .handleType = kKind,
      .pHostPointer = pointer};
  if (const bp_status s = allocate(buffer.get(), bytes, type, &import, error)) return s;
  buffer->mapped = static_cast<std::byte*>(pointer);
  buffer->imported = true;
  *out = std::move(buffer);
  return BP_OK;
}

// Pages that may not be written, those of a mapped file above all, are tried only where that would
// pay, on memory that the device shares with the host. Elsewhere they are better copied, and
// NVIDIA's driver (580.159.04, H100), once it has refused such pages, refuses every allocation
// after them.
bool may_import(const Device& device, const bp_import& what) {
  const bool writable =
      what.kind == BP_IMPORT_HOST_POINTER && (what.flags & BP_IMPORT_READ_ONLY) == 0;
  return writable || device.adapter->info.unified_memory != 0;
}

bp_status query_import(bp_device* handle, const bp_import* what, bp_import_support* out,
                       bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Device* const device = unwrap(handle);
    const bp_import wanted = glue::read_struct(what);
    bp_import_support support{};
    support.size = sizeof support;
    support.verdict = BP_IMPORT_NO;
    const uint64_t alignment = device->adapter->import_alignment;
    if (device->vk.GetMemoryHostPointerPropertiesEXT != nullptr && alignment != 0) {
      support.pointer_alignment = alignment;
      support.verdict = BP_IMPORT_COPY;
      std::unique_ptr<Buffer> trial;
      // Some drivers refuse pages of files or pages that may only be read: one of them tells.
      if (may_import(*device, wanted) && wanted.pointer != nullptr && wanted.length >= alignment &&
          wanted.length % alignment == 0 &&
          reinterpret_cast<uintptr_t>(wanted.pointer) % alignment == 0 &&
          import_range(device, wanted.pointer, alignment, &trial, nullptr) == BP_OK) {
        support.verdict =
            device->adapter->info.unified_memory != 0 ? BP_IMPORT_NATIVE : BP_IMPORT_SLOW;
      }
    }
    glue::write_struct(out, support);
    return BP_OK;
  });
}

bp_status import(bp_device* handle, const bp_import* what, bp_buffer** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    const bp_import wanted = glue::read_struct(what);
    if (const bp_status status = device->check_alive(error)) return status;
    const uint64_t alignment = device->adapter->import_alignment;
    if (device->vk.GetMemoryHostPointerPropertiesEXT == nullptr || alignment == 0) {
      return glue::fail(error, BP_UNIMPLEMENTED,
                        "the driver has no VK_EXT_external_memory_host: allocate and write");
    }
    if ((wanted.kind != BP_IMPORT_HOST_POINTER && wanted.kind != BP_IMPORT_FILE_RANGE) ||
        wanted.pointer == nullptr || wanted.length == 0 || wanted.length % alignment != 0 ||
        reinterpret_cast<uintptr_t>(wanted.pointer) % alignment != 0) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "import takes mapped memory whose address and length are multiples of "
                        "%" PRIu64 " bytes",
                        alignment);
    }
    if (!may_import(*device, wanted)) {
      return glue::fail(error, BP_INCOMPATIBLE,
                        "a card with memory of its own does not import read-only pages: allocate "
                        "and write");
    }
    std::unique_ptr<Buffer> buffer;
    if (const bp_status status =
            import_range(device, wanted.pointer, wanted.length, &buffer, error)) {
      return status;
    }
    buffer->read_only = (wanted.flags & BP_IMPORT_READ_ONLY) != 0;
    device->children.fetch_add(1);
    *out = wrap(buffer.release());
    return BP_OK;
  });
}

bp_status export_handle(bp_buffer*, const bp_string*, int64_t*, bp_error* error) {
  return glue::fail(error, BP_UNIMPLEMENTED, "vulkan buffers are not exported: copy them");
}

bp_status map(bp_buffer* buffer, void** out, bp_error* error) {
  *out = unwrap(buffer)->mapped;
  if (*out != nullptr) return BP_OK;
  return glue::fail(error, BP_UNIMPLEMENTED, "the host cannot see this heap: use read and write");
}

bp_status unmap(bp_buffer*, bp_error*) {
  return BP_OK;
}

// Host-visible heaps are made of coherent memory types only, so there is nothing left to do.
bp_status flush(bp_buffer* buffer, uint64_t offset, uint64_t bytes, bp_error* error) {
  return check_range(unwrap(buffer), offset, bytes, false, "flush", error);
}

bp_status budget(bp_device* handle, uint64_t* free_bytes, uint64_t* total_bytes, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Device& device = *unwrap(handle);
    *free_bytes = 0;
    *total_bytes = device.adapter->heaps[0].bytes;
    for (uint32_t type : device.adapter->heaps[0].types) {
      *free_bytes += free_bytes_of(*device.driver, *device.adapter, type);
    }
    // Without the driver's word, what this device has taken is all that is known.
    const uint64_t ours = device.adapter->memory_budget ? 0 : device.allocated_bytes.load();
    *free_bytes -= std::min(*free_bytes, ours);
    return BP_OK;
  });
}

}  // namespace

Buffer::~Buffer() {
  if (device == nullptr) return;
  device->vk.DestroyBuffer(device->handle, handle, nullptr);
  if (memory == VK_NULL_HANDLE) return;
  device->vk.FreeMemory(device->handle, memory, nullptr);
  device->allocations.fetch_sub(1);
  device->allocated_bytes.fetch_sub(allocated_bytes);
}

bp_status make_buffer(Device* device, const Heap& heap, uint64_t bytes,
                      std::unique_ptr<Buffer>* out, bp_error* error) {
  if (const bp_status status = device->check_alive(error)) return status;
  if (bytes == 0) return glue::fail(error, BP_INVALID_ARGUMENT, "a buffer of 0 bytes");
  const uint64_t most = std::min(heap.largest_bytes, device->adapter->max_allocation_bytes);
  if (bytes > most) {
    return glue::fail(error, BP_EXHAUSTED,
                      "a buffer of %" PRIu64 " bytes; '%s' allocates at most %" PRIu64 " at once",
                      bytes, device->adapter->info.name, most);
  }
  auto buffer = std::make_unique<Buffer>();
  if (const bp_status s = make_handle(device, bytes, nullptr, buffer.get(), error)) return s;
  VkMemoryRequirements needs;
  device->vk.GetBufferMemoryRequirements(device->handle, buffer->handle, &needs);
  bp_status status = glue::fail(error, BP_EXHAUSTED, "no memory type holds such a buffer");
  for (uint32_t type : usable_types(*device, heap, needs)) {
    status = allocate(buffer.get(), needs.size, type, nullptr, error);
    if (buffer->memory != VK_NULL_HANDLE) break;  // else the next type may have room
  }
  if (status != BP_OK) return status;
  buffer->allocated_bytes = needs.size;
  device->allocated_bytes.fetch_add(needs.size);
  if ((heap.flags & BP_HEAP_HOST_VISIBLE) != 0) {
    void* address = nullptr;
    const VkResult result =
        device->vk.MapMemory(device->handle, buffer->memory, 0, VK_WHOLE_SIZE, 0, &address);
    if (const bp_status s = device->check(result, "mapping memory", error)) return s;
    buffer->mapped = static_cast<std::byte*>(address);
  }
  *out = std::move(buffer);
  return BP_OK;
}

bp_status check_range(const Buffer* buffer, uint64_t offset, uint64_t bytes, bool writes,
                      const char* what, bp_error* error) noexcept {
  const uint64_t size = buffer == nullptr ? 0 : buffer->bytes;
  if (offset > size || bytes > size - offset) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "%s: %" PRIu64 " bytes at %" PRIu64 " leave the buffer of %" PRIu64 " bytes",
                      what, bytes, offset, size);
  }
  if (writes && buffer != nullptr && buffer->read_only) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s: the buffer was imported read-only", what);
  }
  return BP_OK;
}

const bp_memory_api kMemoryApi = {
    sizeof(bp_memory_api), 0,   heaps, alloc, release, query_import, import,
    export_handle,         map, unmap, flush, flush,   budget,
};

}  // namespace bp::vulkan
