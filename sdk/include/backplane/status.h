/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status codes and error details shared by both C contracts, backplane.h and plugin.h.
 *
 * Every function of either contract returns a bp_status and, where it takes a bp_error pointer,
 * fills that caller-owned record when it fails. Nothing is allocated for an error, nothing is
 * kept in thread-local storage, so an error may be read on any thread and after any other call.
 *
 *   bp_error error = BP_ERROR_INIT;
 *   if (bp_model_open(path, NULL, &model, &error) != BP_OK) fprintf(stderr, "%s\n", error.text);
 */
#ifndef BACKPLANE_STATUS_H_
#define BACKPLANE_STATUS_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Result of a call. 0 is success, everything negative is a failure. Values are never renumbered.
 * A caller must treat a value that it does not know as BP_INTERNAL. */
typedef int32_t bp_status;

#define BP_OK ((bp_status)0)
#define BP_CANCELLED ((bp_status)-1)        /* somebody asked for the work to stop */
#define BP_INVALID_ARGUMENT ((bp_status)-2) /* the call itself is wrong; retrying is pointless */
#define BP_DEADLINE ((bp_status)-3)         /* a time limit passed first */
#define BP_NOT_FOUND ((bp_status)-4)        /* a file, name or id that does not exist */
#define BP_DENIED ((bp_status)-5)           /* permissions or policy forbid it */
#define BP_EXHAUSTED ((bp_status)-6) /* memory, disk, pages, a named limit: text says which */
#define BP_FAILED_PRECONDITION ((bp_status)-7) /* right call, wrong state or order */
#define BP_UNIMPLEMENTED ((bp_status)-8)       /* this build or plugin does not offer it */
#define BP_UNAVAILABLE ((bp_status)-9)         /* driver or service absent now; may work later */
#define BP_CORRUPT ((bp_status)-10)            /* data that contradicts its own format */
#define BP_DEVICE_LOST ((bp_status)-11)        /* the device must be opened anew */
#define BP_INCOMPATIBLE ((bp_status)-12)       /* versions or shapes that do not fit together */
#define BP_INTERNAL ((bp_status)-13)           /* a defect of ours */

/* Text that need not end in NUL. data may be NULL only when length is 0. Not owned. */
typedef struct bp_string {
  const char* data;
  uint64_t length; /* bytes of UTF-8 */
} bp_string;

/* Bytes of bp_error::text, the final NUL included. */
#define BP_ERROR_TEXT_BYTES 480

/* Detail of a failure. The caller owns it and sets size before the call (BP_ERROR_INIT does);
 * a callee writes only the bytes that size covers. text is UTF-8, NUL-ended, cut at a character
 * border where it would not fit; the whole text always reaches the log callback. */
typedef struct bp_error {
  uint32_t size;        /* sizeof(bp_error), set by the caller */
  bp_status status;     /* the code that the call returned */
  int64_t native;       /* the driver's or system's own number, 0 when there is none */
  uint64_t reserved[2]; /* zero */
  char text[BP_ERROR_TEXT_BYTES];
} bp_error;

#define BP_ERROR_INIT                     \
  {                                       \
    sizeof(bp_error), BP_OK, 0, {0, 0}, { \
      0                                   \
    }                                     \
  }

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_STATUS_H_ */
