/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface "bp.tune/1", optional: making kernels faster by measuring.
 *
 * A provider of bp.kernel/1 whose kernels have parameters that only a measurement can choose may
 * offer this beside it. The host hands over the ops of a plan; the provider measures on scratch
 * memory of its own, keeps what it finds on disk, and uses it whenever it prepares such kernels
 * for such a device. Kernels that were prepared before stay as they are. What match promised of
 * workspace and resident bytes holds before and after.
 */
#ifndef BACKPLANE_PLUGIN_TUNE_H_
#define BACKPLANE_PLUGIN_TUNE_H_

#include "backplane/plugin/kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How far a tuning run is. */
typedef struct bp_tuner_progress {
  uint32_t size;
  uint32_t reserved;
  uint64_t done;  /* candidates */
  uint64_t total; /* at most so many; never smaller than done */
  bp_string text; /* what is measured; valid during the call */
} bp_tuner_progress;
/* Called between candidates, on the calling thread. Non-zero stops the run after the candidate at
 * hand; what was found is kept. */
typedef int32_t (*bp_tuner_progress_fn)(void* user, const bp_tuner_progress* progress);

/* bp_tuner_kernel.flags */
#define BP_TUNER_KNOWN 1u   /* found by an earlier run, not measured now */
#define BP_TUNER_CHANGED 2u /* another schedule than the default is faster */
#define BP_TUNER_UNSAVED 4u /* could not be written to disk: lasts as long as the target */

/* One kernel that has been tuned. Strings are valid during the call. */
typedef struct bp_tuner_kernel {
  uint32_t size;
  uint32_t flags;
  uint64_t tokens;   /* passes of about so many tokens run it */
  uint32_t uses;     /* launches of it in such a pass */
  uint32_t tried;    /* candidates */
  uint32_t rejected; /* of them, those that failed or gave wrong results */
  uint32_t reserved;
  double default_ns; /* one run */
  double tuned_ns;
  bp_string name;     /* "gemv q4_g32 4096x4096" */
  bp_string schedule; /* "threads 128, lanes 32, rows 2, unroll 2" */
} bp_tuner_kernel;
typedef void (*bp_tuner_kernel_fn)(void* user, const bp_tuner_kernel* kernel);

/* bp_tuner_request.flags */
#define BP_TUNER_AGAIN 1u /* also kernels that an earlier run has finished */

typedef struct bp_tuner_request {
  uint32_t size;
  uint32_t flags;
  uint32_t candidates; /* schedules to try for each kernel; 0: the provider's own number */
  uint32_t reserved;
  bp_tuner_progress_fn progress; /* may be NULL */
  bp_tuner_kernel_fn kernel;     /* may be NULL; after each kernel */
  void* user;                    /* first argument of both */
} bp_tuner_request;

/* The sums estimate passes from their kernels alone. */
typedef struct bp_tuner_totals {
  uint32_t size;
  uint32_t kernels;        /* that can be tuned */
  uint32_t measured;       /* by this run */
  uint32_t changed;        /* that now have another schedule than the default */
  uint32_t failed;         /* that could not be measured and keep their default; the log says why */
  uint32_t stopped;        /* 1: the progress function ended the run */
  double token_default_ns; /* a pass of one token: kernels × uses */
  double token_tuned_ns;
  double prompt_default_ns; /* a pass of many tokens, likewise */
  double prompt_tuned_ns;
} bp_tuner_totals;

typedef struct bp_tune_api {
  uint32_t size;
  uint32_t reserved;
  /* Tunes the kernels of the ops with chosen[i] = 1 on a target of the same plugin's bp.kernel/1.
   * Ops, ranges and `chosen` are as in bp_kernel_api.place. Blocking, seconds to minutes; the
   * device should have nothing else to do. One run at a time on a target, BP_FAILED_PRECONDITION
   * otherwise. A candidate that fails is logged and dropped; BP_DEVICE_LOST ends the run. */
  bp_status (*tune)(bp_target* target, const bp_op* ops, uint64_t op_stride, uint32_t op_count,
                    const uint32_t* chosen, const bp_symbol_range* symbols, uint32_t symbol_count,
                    const bp_tuner_request* request, bp_tuner_totals* out, bp_error* error);
} bp_tune_api;

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_PLUGIN_TUNE_H_ */
