/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface "bp.stream/1": order of work.
 *
 * Work put on one stream runs in order. Streams meet at timelines, 64-bit counters that only
 * rise: signal raises one when the work before it has run, wait holds a stream until it is
 * reached. A failure poisons the timeline: every waiter receives the failure.
 * One stream is used by one thread at a time; timelines are thread-safe.
 */
#ifndef BACKPLANE_PLUGIN_STREAM_H_
#define BACKPLANE_PLUGIN_STREAM_H_

#include "backplane/plugin/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bp_stream bp_stream;
typedef struct bp_timeline bp_timeline;
typedef struct bp_recording bp_recording; /* captured work, to be replayed */

typedef struct bp_stream_api {
  uint32_t size;
  uint32_t reserved;
  bp_status (*create)(bp_device* device, bp_stream** out, bp_error* error);
  /* Waits for the stream's work first. */
  bp_status (*destroy)(bp_stream* stream, bp_error* error);

  /* Device to device, inside one device. Ranges must not overlap. */
  bp_status (*copy)(bp_stream* stream, bp_buffer* to, uint64_t to_offset, bp_buffer* from,
                    uint64_t from_offset, uint64_t bytes, bp_error* error);
  /* Host to device. `from` may be reused when the call returns. */
  bp_status (*write)(bp_stream* stream, bp_buffer* to, uint64_t to_offset, const void* from,
                     uint64_t bytes, bp_error* error);
  /* Device to host. `to` is filled when a later signal has been waited for. */
  bp_status (*read)(bp_stream* stream, void* to, bp_buffer* from, uint64_t from_offset,
                    uint64_t bytes, bp_error* error);
  /* Repeats a 32-bit word; offset and bytes are multiples of 4. */
  bp_status (*fill)(bp_stream* stream, bp_buffer* to, uint64_t offset, uint64_t bytes,
                    uint32_t word, bp_error* error);

  bp_status (*timeline_create)(bp_device* device, bp_timeline** out, bp_error* error);
  bp_status (*timeline_destroy)(bp_timeline* timeline, bp_error* error);
  /* value must be larger than any value signalled before. Also submits what the stream holds. */
  bp_status (*signal)(bp_stream* stream, bp_timeline* timeline, uint64_t value, bp_error* error);
  bp_status (*wait)(bp_stream* stream, bp_timeline* timeline, uint64_t value, bp_error* error);
  /* Value reached so far; the failure if the timeline is poisoned. Never blocks. */
  bp_status (*query)(bp_timeline* timeline, uint64_t* value, bp_error* error);
  /* Blocks the calling thread until the value is reached, the timeline fails, or timeout_ns has
   * passed (BP_DEADLINE). UINT64_MAX waits for ever. */
  bp_status (*host_wait)(bp_timeline* timeline, uint64_t value, uint64_t timeout_ns,
                         bp_error* error);

  /* Between the two, work is recorded instead of run: kernels, copies and fills with the buffers
   * they name. BP_UNIMPLEMENTED where the driver has no such thing; the host then enqueues. */
  bp_status (*capture_begin)(bp_stream* stream, bp_error* error);
  bp_status (*capture_end)(bp_stream* stream, bp_recording** out, bp_error* error);
  bp_status (*replay)(bp_stream* stream, bp_recording* recording, bp_error* error);
  bp_status (*recording_destroy)(bp_recording* recording, bp_error* error);
} bp_stream_api;

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_PLUGIN_STREAM_H_ */
