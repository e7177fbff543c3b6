/* SPDX-License-Identifier: Apache-2.0 */
/* A complete backend that computes nothing. Copy it, rename it, fill it in. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backplane/plugin.h"

/* What the opaque handles are is the plugin's own affair. */
struct bp_device {
  int32_t lost; /* sticky: 1 after a failure that only a new device cures */
};
struct bp_buffer {
  uint64_t bytes;
  unsigned char *memory;
  int32_t imported;  /* 1: the memory belongs to the host */
  int32_t read_only; /* 1: and must not be written */
};
struct bp_stream {
  bp_device *device;
};
struct bp_timeline {
  pthread_mutex_t mutex; /* guards value: timelines are used by any thread */
  pthread_cond_t raised;
  uint64_t value;
};

static const bp_host *host; /* set by init; valid for the process's life */

/* Fills the caller's record as far as it reaches, and returns the code. */
static bp_status fail(bp_error *error, bp_status status, const char *text) {
  if (error != NULL && error->size >= sizeof *error) {
    error->status = status;
    strncpy(error->text, text, sizeof error->text - 1);
    error->text[sizeof error->text - 1] = '\0';
  }
  return status;
}

/* Fills a struct of the caller as far as the size that he set covers; that size stays. */
static void give(void *out, const void *value, uint32_t known_bytes) {
  uint32_t bytes;
  memcpy(&bytes, out, sizeof bytes);
  if (bytes > known_bytes) bytes = known_bytes;
  if (bytes > sizeof bytes) {
    memcpy((char *)out + sizeof bytes, (const char *)value + sizeof bytes, bytes - sizeof bytes);
  }
}

/* ---- device: what can run ------------------------------------------------------------------- */

static bp_status device_enumerate(uint32_t *count, bp_error *error) {
  (void)error;
  *count = 1;
  return BP_OK;
}

static bp_status device_describe(uint32_t index, bp_device_info *out, bp_error *error) {
  bp_device_info info;
  if (index != 0) return fail(error, BP_NOT_FOUND, "there is one null device, number 0");
  memset(&info, 0, sizeof info);
  info.kind = BP_DEVICE_OTHER;
  info.unified_memory = 1;
  strcpy(info.name, "null device");
  strcpy(info.vendor, "nobody");
  strcpy(info.driver, "none");
  give(out, &info, sizeof info);
  return BP_OK;
}

static bp_status device_capabilities(uint32_t index, bp_device_caps *out, bp_error *error) {
  bp_device_caps caps;
  if (index != 0) return fail(error, BP_NOT_FOUND, "there is one null device, number 0");
  memset(&caps, 0, sizeof caps);
  caps.compute_units = 1;
  caps.max_group_threads = 64;
  caps.shared_bytes = 16384;
  caps.max_param_bytes = 128;
  caps.max_buffers = 8;
  caps.max_buffer_range = UINT64_MAX;
  /* dialect stays empty: nobody can render kernels for a device that runs none */
  give(out, &caps, sizeof caps);
  return BP_OK;
}

static bp_status device_open(uint32_t index, bp_device **out, bp_error *error) {
  bp_device *device;
  if (index != 0) return fail(error, BP_NOT_FOUND, "there is one null device, number 0");
  device = calloc(1, sizeof *device);
  if (device == NULL) return fail(error, BP_EXHAUSTED, "out of memory");
  *out = device;
  return BP_OK;
}

static bp_status device_close(bp_device *device, bp_error *error) {
  (void)error;
  free(device);
  return BP_OK;
}

static bp_status device_status(bp_device *device, bp_error *error) {
  return device->lost ? fail(error, BP_DEVICE_LOST, "the device was lost") : BP_OK;
}

static const bp_device_api device_api = {
    sizeof(bp_device_api), 0,           device_enumerate, device_describe,
    device_capabilities,   device_open, device_close,     device_status,
    NULL /* native: no driver handle to give away */};

/* ---- memory: where bytes live --------------------------------------------------------------- */

static bp_status memory_heaps(bp_device *device, bp_heap *out, uint64_t stride, uint32_t capacity,
                              uint32_t *count, bp_error *error) {
  (void)device, (void)stride, (void)error; /* one heap: the stride is never used */
  if (capacity > 0) {
    bp_heap heap;
    memset(&heap, 0, sizeof heap);
    heap.flags = BP_HEAP_HOST_VISIBLE | BP_HEAP_HOST_COHERENT | BP_HEAP_HOST_CACHED;
    heap.bytes = heap.max_allocation_bytes = UINT64_C(1) << 40;
    heap.alignment = 64;
    give(out, &heap, sizeof heap);
  }
  *count = 1;
  return BP_OK;
}

static bp_status memory_alloc(bp_device *device, uint32_t heap, uint64_t bytes, bp_buffer **out,
                              bp_error *error) {
  bp_buffer *buffer;
  (void)device;
  if (heap != 0 || bytes == 0) return fail(error, BP_INVALID_ARGUMENT, "no such heap, or 0 bytes");
  buffer = calloc(1, sizeof *buffer);
  if (buffer == NULL) return fail(error, BP_EXHAUSTED, "out of memory");
  buffer->bytes = bytes;
  buffer->memory = host->allocate(host->user, bytes, 64);
  if (buffer->memory == NULL) {
    free(buffer);
    return fail(error, BP_EXHAUSTED, "out of memory");
  }
  *out = buffer;
  return BP_OK;
}

static bp_status memory_free(bp_buffer *buffer, bp_error *error) {
  (void)error;
  if (buffer == NULL) return BP_OK;
  if (!buffer->imported) host->release(host->user, buffer->memory);
  free(buffer);
  return BP_OK;
}

static bp_status memory_query_import(bp_device *device, const bp_import *what,
                                     bp_import_support *out, bp_error *error) {
  bp_import_support support;
  (void)device, (void)error;
  memset(&support, 0, sizeof support);
  support.verdict = what->kind == BP_IMPORT_HOST_POINTER ? BP_IMPORT_NATIVE
                    : what->kind == BP_IMPORT_FILE_RANGE ? BP_IMPORT_COPY
                                                         : BP_IMPORT_NO;
  support.pointer_alignment = 1;
  give(out, &support, sizeof support);
  return BP_OK;
}

static bp_status memory_import(bp_device *device, const bp_import *what, bp_buffer **out,
                               bp_error *error) {
  bp_buffer *buffer;
  (void)device;
  if (what->kind != BP_IMPORT_HOST_POINTER) {
    return fail(error, BP_UNIMPLEMENTED, "only host pointers can be imported");
  }
  buffer = calloc(1, sizeof *buffer);
  if (buffer == NULL) return fail(error, BP_EXHAUSTED, "out of memory");
  buffer->bytes = what->length;
  buffer->memory = what->pointer;
  buffer->imported = 1;
  buffer->read_only = (what->flags & BP_IMPORT_READ_ONLY) != 0;
  *out = buffer;
  return BP_OK;
}

static bp_status memory_map(bp_buffer *buffer, void **out, bp_error *error) {
  (void)error;
  *out = buffer->memory;
  return BP_OK;
}

static bp_status memory_unmap(bp_buffer *buffer, bp_error *error) {
  (void)buffer, (void)error;
  return BP_OK;
}

static const bp_memory_api memory_api = {
    sizeof(bp_memory_api), 0,    memory_heaps, memory_alloc, memory_free, memory_query_import,
    memory_import,         NULL, memory_map,   memory_unmap, NULL,        NULL,
    NULL /* export, flush, invalidate, budget answer UNIMPLEMENTED */};

/* ---- stream: order of work ------------------------------------------------------------------ */

static int fits(const bp_buffer *buffer, uint64_t offset, uint64_t bytes) {
  return offset <= buffer->bytes && bytes <= buffer->bytes - offset;
}

/* A range that work may write. */
static int may_write(const bp_buffer *buffer, uint64_t offset, uint64_t bytes) {
  return fits(buffer, offset, bytes) && !buffer->read_only;
}

static bp_status stream_create(bp_device *device, bp_stream **out, bp_error *error) {
  bp_stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) return fail(error, BP_EXHAUSTED, "out of memory");
  stream->device = device;
  *out = stream;
  return BP_OK;
}

static bp_status stream_destroy(bp_stream *stream, bp_error *error) {
  (void)error;
  free(stream);
  return BP_OK;
}

static bp_status stream_copy(bp_stream *stream, bp_buffer *to, uint64_t to_offset, bp_buffer *from,
                             uint64_t from_offset, uint64_t bytes, bp_error *error) {
  (void)stream;
  if (!may_write(to, to_offset, bytes) || !fits(from, from_offset, bytes)) {
    return fail(error, BP_INVALID_ARGUMENT, "a copy leaves its buffer, or that is read-only");
  }
  memcpy(to->memory + to_offset, from->memory + from_offset, bytes);
  return BP_OK;
}

static bp_status stream_write(bp_stream *stream, bp_buffer *to, uint64_t to_offset,
                              const void *from, uint64_t bytes, bp_error *error) {
  (void)stream;
  if (!may_write(to, to_offset, bytes)) {
    return fail(error, BP_INVALID_ARGUMENT, "outside the buffer, or read-only");
  }
  memcpy(to->memory + to_offset, from, bytes);
  return BP_OK;
}

static bp_status stream_read(bp_stream *stream, void *to, bp_buffer *from, uint64_t from_offset,
                             uint64_t bytes, bp_error *error) {
  (void)stream;
  if (!fits(from, from_offset, bytes)) {
    return fail(error, BP_INVALID_ARGUMENT, "outside the buffer");
  }
  memcpy(to, from->memory + from_offset, bytes);
  return BP_OK;
}

static bp_status stream_fill(bp_stream *stream, bp_buffer *to, uint64_t offset, uint64_t bytes,
                             uint32_t word, bp_error *error) {
  uint64_t i;
  (void)stream;
  if (!may_write(to, offset, bytes) || offset % 4 != 0 || bytes % 4 != 0) {
    return fail(error, BP_INVALID_ARGUMENT, "outside the buffer, read-only, or not whole words");
  }
  for (i = 0; i < bytes; i += 4) memcpy(to->memory + offset + i, &word, 4);
  return BP_OK;
}

static bp_status timeline_create(bp_device *device, bp_timeline **out, bp_error *error) {
  bp_timeline *timeline = calloc(1, sizeof *timeline);
  (void)device;
  if (timeline == NULL) return fail(error, BP_EXHAUSTED, "out of memory");
  pthread_mutex_init(&timeline->mutex, NULL);
  pthread_cond_init(&timeline->raised, NULL);
  *out = timeline;
  return BP_OK;
}

static bp_status timeline_destroy(bp_timeline *timeline, bp_error *error) {
  (void)error;
  if (timeline == NULL) return BP_OK;
  pthread_cond_destroy(&timeline->raised);
  pthread_mutex_destroy(&timeline->mutex);
  free(timeline);
  return BP_OK;
}

/* Work has run when its call returns, so a signal takes effect at once. */
static bp_status stream_signal(bp_stream *stream, bp_timeline *timeline, uint64_t value,
                               bp_error *error) {
  int rises;
  (void)stream;
  pthread_mutex_lock(&timeline->mutex);
  rises = value > timeline->value;
  if (rises) timeline->value = value;
  pthread_cond_broadcast(&timeline->raised);
  pthread_mutex_unlock(&timeline->mutex);
  return rises ? BP_OK : fail(error, BP_INVALID_ARGUMENT, "timelines only rise");
}

static bp_status timeline_query(bp_timeline *timeline, uint64_t *value, bp_error *error) {
  (void)error;
  pthread_mutex_lock(&timeline->mutex);
  *value = timeline->value;
  pthread_mutex_unlock(&timeline->mutex);
  return BP_OK;
}

static bp_status timeline_host_wait(bp_timeline *timeline, uint64_t value, uint64_t timeout_ns,
                                    bp_error *error) {
  struct timespec end;
  int reached, late = 0;
  clock_gettime(CLOCK_REALTIME, &end);
  /* Longer than a year is for ever. */
  if (timeout_ns < UINT64_C(31536000000000000)) {
    const uint64_t end_ns = (uint64_t)end.tv_nsec + timeout_ns % UINT64_C(1000000000);
    end.tv_sec += (time_t)(timeout_ns / UINT64_C(1000000000) + end_ns / UINT64_C(1000000000));
    end.tv_nsec = (long)(end_ns % UINT64_C(1000000000));
  } else {
    end.tv_sec += 31536000;
  }
  pthread_mutex_lock(&timeline->mutex);
  while (timeline->value < value && !late) {
    late = pthread_cond_timedwait(&timeline->raised, &timeline->mutex, &end) != 0;
  }
  reached = timeline->value >= value;
  pthread_mutex_unlock(&timeline->mutex);
  return reached ? BP_OK : fail(error, BP_DEADLINE, "the value was not reached in time");
}

/* Work runs inside the calls, so a stream that waits is a thread that waits. */
static bp_status stream_wait(bp_stream *stream, bp_timeline *timeline, uint64_t value,
                             bp_error *error) {
  (void)stream;
  return timeline_host_wait(timeline, value, UINT64_MAX, error);
}

static const bp_stream_api stream_api = {sizeof(bp_stream_api),
                                         0,
                                         stream_create,
                                         stream_destroy,
                                         stream_copy,
                                         stream_write,
                                         stream_read,
                                         stream_fill,
                                         timeline_create,
                                         timeline_destroy,
                                         stream_signal,
                                         stream_wait,
                                         timeline_query,
                                         timeline_host_wait,
                                         NULL, /* no recordings */
                                         NULL,
                                         NULL,
                                         NULL};

/* ---- the plugin ----------------------------------------------------------------------------- */

static bp_status probe(const bp_host *h, bp_probe_result *out, bp_error *error) {
  bp_probe_result result;
  (void)h, (void)error;
  memset(&result, 0, sizeof result);
  result.reason = BP_PROBE_USABLE; /* yours opens its driver library here */
  give(out, &result, sizeof result);
  return BP_OK;
}

static bp_status init(const bp_host *h, bp_error *error) {
  (void)error;
  host = h;
  return BP_OK;
}

static bp_status get_interface(const bp_string *id, const void **out, bp_error *error) {
  static const struct {
    const char *id;
    const void *table;
  } tables[] = {{BP_INTERFACE_DEVICE, &device_api},
                {BP_INTERFACE_MEMORY, &memory_api},
                {BP_INTERFACE_STREAM, &stream_api}};
  size_t i;
  (void)error;
  *out = NULL; /* an unknown interface is no error */
  for (i = 0; i < sizeof tables / sizeof tables[0]; ++i) {
    if (id->length == strlen(tables[i].id) && memcmp(id->data, tables[i].id, id->length) == 0) {
      *out = tables[i].table;
    }
  }
  return BP_OK;
}

static bp_status quiesce(uint64_t deadline_ns, bp_error *error) {
  (void)deadline_ns, (void)error;
  return BP_OK;
}

static bp_status finish(bp_error *error) {
  (void)error;
  return BP_OK;
}

static const bp_plugin_api plugin_api = {
    sizeof(bp_plugin_api), 0, probe, init, get_interface, quiesce, finish};

BP_EXPORT bp_status bp_plugin_query_1(const bp_host *h, bp_plugin_desc *out, bp_error *error) {
  static const char id[] = "null", version[] = "0.1.0", build_id[] = "null-1";
  (void)h;
  if (out->size < sizeof *out) return fail(error, BP_INCOMPATIBLE, "the host is too old");
  out->size = sizeof *out;
  out->abi_minor = BP_ABI_MINOR;
  out->min_host_minor = 0;
  out->id.data = id;
  out->id.length = sizeof id - 1;
  out->version.data = version;
  out->version.length = sizeof version - 1;
  out->build_id.data = build_id;
  out->build_id.length = sizeof build_id - 1;
  out->api = &plugin_api;
  return BP_OK;
}
