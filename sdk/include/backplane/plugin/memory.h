/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface "bp.memory/1": where bytes live.
 *
 * A buffer is a range of device memory. Buffers of a CPU or unified device can be mapped and stay
 * mapped; others are filled and read through bp.stream/1. import() makes a buffer of memory that
 * the host owns, such as a mapped model file, without copying where the device can.
 */
#ifndef BACKPLANE_PLUGIN_MEMORY_H_
#define BACKPLANE_PLUGIN_MEMORY_H_

#include "backplane/plugin/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Device memory. Owned by the plugin, released by bp_memory_api.free. */
typedef struct bp_buffer bp_buffer;

/* bp_heap.flags */
#define BP_HEAP_DEVICE_LOCAL 1u
#define BP_HEAP_HOST_VISIBLE 2u  /* map() works */
#define BP_HEAP_HOST_COHERENT 4u /* no flush or invalidate needed */
#define BP_HEAP_HOST_CACHED 8u   /* the host reads it fast */

/* A kind of memory. Heaps are listed best first for kernels. */
typedef struct bp_heap {
  uint32_t size;
  uint32_t flags;
  uint64_t bytes;                /* capacity */
  uint64_t max_allocation_bytes; /* of one buffer */
  uint64_t alignment;            /* that alloc guarantees */
} bp_heap;

/* bp_import.kind */
#define BP_IMPORT_HOST_POINTER 1 /* pointer, length */
#define BP_IMPORT_FILE_RANGE 2   /* fd, offset, length; pointer when also mapped */
/* bp_import.flags */
#define BP_IMPORT_READ_ONLY 1u

/* Memory of the host that a device shall use. It must stay valid until the buffer is freed. */
typedef struct bp_import {
  uint32_t size;
  int32_t kind;
  uint32_t flags;
  int32_t fd;
  void* pointer;
  uint64_t offset;
  uint64_t length;
} bp_import;

/* bp_import_support.verdict */
#define BP_IMPORT_NO 0
#define BP_IMPORT_COPY 1   /* possible only by copying: alloc and write instead */
#define BP_IMPORT_SLOW 2   /* used in place, noticeably slower than device memory */
#define BP_IMPORT_NATIVE 3 /* used in place at full speed */

typedef struct bp_import_support {
  uint32_t size;
  int32_t verdict;
  uint64_t pointer_alignment; /* that pointer (or offset) and length must have */
} bp_import_support;

typedef struct bp_memory_api {
  uint32_t size;
  uint32_t reserved;
  /* Fills up to `capacity` heaps, `stride` bytes apart, and sets *count to how many there are. */
  bp_status (*heaps)(bp_device* device, bp_heap* out, uint64_t stride, uint32_t capacity,
                     uint32_t* count, bp_error* error);
  /* A new buffer in the heap of that index; content undefined. BP_EXHAUSTED when there is no
   * room; the device stays usable. bytes = 0 is BP_INVALID_ARGUMENT. */
  bp_status (*alloc)(bp_device* device, uint32_t heap, uint64_t bytes, bp_buffer** out,
                     bp_error* error);
  /* NULL is allowed. Work that uses the buffer must have completed. */
  bp_status (*free)(bp_buffer* buffer, bp_error* error);
  bp_status (*query_import)(bp_device* device, const bp_import* what, bp_import_support* out,
                            bp_error* error);
  bp_status (*import)(bp_device* device, const bp_import* what, bp_buffer** out, bp_error* error);
  /* A file descriptor (kind "fd", "dmabuf") that another device may import; the caller owns it. */
  bp_status (*export_handle)(bp_buffer* buffer, const bp_string* kind, int64_t* out,
                             bp_error* error);
  /* Host address of the buffer's first byte, until unmap. BP_UNIMPLEMENTED where the heap is not
   * host-visible. */
  bp_status (*map)(bp_buffer* buffer, void** out, bp_error* error);
  bp_status (*unmap)(bp_buffer* buffer, bp_error* error);
  /* Makes host writes visible to the device, and device writes to the host, in a range. */
  bp_status (*flush)(bp_buffer* buffer, uint64_t offset, uint64_t bytes, bp_error* error);
  bp_status (*invalidate)(bp_buffer* buffer, uint64_t offset, uint64_t bytes, bp_error* error);
  /* Bytes that may still be allocated and bytes in total, as the driver sees it now. */
  bp_status (*budget)(bp_device* device, uint64_t* free_bytes, uint64_t* total_bytes,
                      bp_error* error);
} bp_memory_api;

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_PLUGIN_MEMORY_H_ */
