/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface "bp.module/1": code on a device.
 *
 * A GPU plugin compiles source text of its dialect (bp_device_caps.dialect), loads the binary and
 * launches functions. It knows no operators. Binaries are what the caller caches on disk: the
 * same text, options, compiler, architecture and driver give a usable binary again.
 */
#ifndef BACKPLANE_PLUGIN_MODULE_H_
#define BACKPLANE_PLUGIN_MODULE_H_

#include "backplane/plugin/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bp_module bp_module;
typedef struct bp_function bp_function; /* lives as long as its module */

/* bp_module_source.flags */
/* The code itself waits, before it touches memory that others write, for what was enqueued before
 * it (griddepcontrol.wait in CUDA). A device with has_early_launch may begin it before that has
 * ended; others ignore the flag. */
#define BP_MODULE_AWAITS 1u

/* What is compiled, and how. */
typedef struct bp_module_source {
  uint32_t size;
  uint32_t subgroup_size; /* demanded size, 0: any */
  bp_string text;         /* in the device's dialect */
  bp_string options;      /* compiler options, separated by spaces; may be empty */
  bp_string entry;        /* name of the kernel */
  uint32_t group_threads; /* workgroup size */
  uint32_t buffer_count;  /* buffer arguments, numbered from 0 in the text */
  uint32_t param_words;   /* 32-bit scalars after them */
  uint32_t shared_bytes;
  uint32_t flags; /* BP_MODULE_…; of load */
  uint32_t reserved;
} bp_module_source;

/* Receives bytes that the plugin produced; they are valid only during the call. */
typedef void (*bp_bytes_fn)(void* user, const void* data, uint64_t bytes);

/* One buffer argument of a launch. */
typedef struct bp_launch_buffer {
  bp_buffer* buffer;
  uint64_t offset; /* bytes, a multiple of bp_device_caps.buffer_offset_alignment */
  uint64_t bytes;  /* range that the kernel may touch */
} bp_launch_buffer;

typedef struct bp_launch {
  uint32_t size;
  uint32_t buffer_count;
  uint32_t param_words;
  uint32_t group_threads;
  uint64_t grid[3]; /* workgroups */
  const bp_launch_buffer* buffers;
  const uint32_t* params;
  uint32_t shared_bytes; /* on top of what the text declares */
  uint32_t reserved;
} bp_launch;

typedef struct bp_module_api {
  uint32_t size;
  uint32_t reserved;
  /* Version of compiler and driver, part of every cache key. */
  bp_status (*compiler_id)(bp_device* device, bp_bytes_fn out, void* user, bp_error* error);
  /* Source to binary; `log` (may be NULL) receives the compiler's messages, also on failure.
   * Blocking, up to seconds. BP_INVALID_ARGUMENT when the text does not compile. */
  bp_status (*compile)(bp_device* device, const bp_module_source* source, bp_bytes_fn binary,
                       bp_bytes_fn log, void* user, bp_error* error);
  /* Binary to module. BP_INCOMPATIBLE when this device or driver rejects it: compile anew. */
  bp_status (*load)(bp_device* device, const bp_module_source* source, const void* binary,
                    uint64_t bytes, bp_module** out, bp_error* error);
  bp_status (*unload)(bp_module* module, bp_error* error);
  bp_status (*function)(bp_module* module, const bp_string* name, bp_function** out,
                        bp_error* error);
  /* Puts a launch on the stream. Buffers must stay alive until it has run. */
  bp_status (*launch)(bp_stream* stream, bp_function* function, const bp_launch* launch,
                      bp_error* error);
} bp_module_api;

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_PLUGIN_MODULE_H_ */
