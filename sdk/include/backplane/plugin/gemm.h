/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface "bp.gemm/1": the matrix product of a vendor's library. Optional; offered by plugins of
 * devices, used by kernel providers where it is faster than their own.
 *
 *   y[t, n] = sum over k of x[t, k] * w[n, k], plus what y[t, n] was when `accumulate` is set
 *
 * x and w are f16, y is f32 or f16, sums are f32. Rows lie `stride` elements apart and their
 * elements side by side. Nothing else is computed: no bias, no activation, no weight formats.
 *
 * The library is opened when it is first asked for. Without it every slot but release answers
 * BP_UNAVAILABLE with the names that were tried, and nothing else of the plugin is affected.
 */
#ifndef BACKPLANE_PLUGIN_GEMM_H_
#define BACKPLANE_PLUGIN_GEMM_H_

#include "backplane/plugin/module.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A product made ready for shapes up to one size. May be enqueued on several streams of its device,
 * also at the same time. Owned by the plugin, released by bp_gemm_api.release. */
typedef struct bp_gemm bp_gemm;

/* bp_gemm_info.flags */
#define BP_GEMM_CAPTURE_SAFE 1u /* enqueue may be recorded and replayed */

typedef struct bp_gemm_info {
  uint32_t size;
  uint32_t flags;
  char library[BP_DEVICE_NAME_BYTES]; /* name and version, "cuBLASLt 13.0.2" */
} bp_gemm_info;

/* bp_gemm_shape.y_type */
#define BP_GEMM_F32 1
#define BP_GEMM_F16 2

typedef struct bp_gemm_shape {
  uint32_t size;
  int32_t y_type;           /* BP_GEMM_F32 or BP_GEMM_F16 */
  uint64_t tokens;          /* T: the most that an enqueue has, and the size to optimise for */
  uint64_t rows;            /* N */
  uint64_t columns;         /* K */
  uint64_t x_stride;        /* elements, at least K */
  uint64_t w_stride;        /* elements, at least K */
  uint64_t y_stride;        /* elements, at least N */
  uint64_t workspace_bytes; /* the most that an enqueue will be given */
  uint32_t accumulate;      /* 1: y is added to */
  uint32_t reserved;
} bp_gemm_shape;

typedef struct bp_gemm_launch {
  uint32_t size;
  uint32_t reserved;
  uint64_t tokens;    /* 0 … T of the shape */
  bp_launch_buffer x; /* offsets are multiples of bp_device_caps.buffer_offset_alignment */
  bp_launch_buffer w;
  bp_launch_buffer y;
  bp_launch_buffer workspace; /* a NULL buffer where none is needed */
} bp_gemm_launch;

typedef struct bp_gemm_api {
  uint32_t size;
  uint32_t reserved;
  /* Opens the library if it is not open yet. */
  bp_status (*describe)(bp_device* device, bp_gemm_info* out, bp_error* error);
  /* Chooses an algorithm. BP_UNIMPLEMENTED when the library has none for this shape. Blocking. */
  bp_status (*prepare)(bp_device* device, const bp_gemm_shape* shape, bp_gemm** out,
                       bp_error* error);
  /* Bytes of workspace that every enqueue needs, at most those of the shape. */
  bp_status (*workspace)(bp_gemm* gemm, uint64_t* bytes, bp_error* error);
  /* Puts the product on a stream of the device. Allocates nothing on the device. */
  bp_status (*enqueue)(bp_gemm* gemm, bp_stream* stream, const bp_gemm_launch* launch,
                       bp_error* error);
  /* NULL is allowed. Enqueued products must have run. */
  bp_status (*release)(bp_gemm* gemm, bp_error* error);
} bp_gemm_api;

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_PLUGIN_GEMM_H_ */
