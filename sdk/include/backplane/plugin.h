/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Backplane plugin ABI, major version 1.
 *
 * A plugin is one shared object with one exported function, bp_plugin_query_1. Through it the
 * host learns who the plugin is and obtains interfaces by name: "bp.device/1", "bp.memory/1",
 * "bp.stream/1", "bp.module/1", "bp.kernel/1", "bp.gemm/1". A GPU backend offers the first four and
 * is done: kernels written once in backplane-kernels bind to every device that has bp.module/1. A
 * library of kernels for somebody else's device offers only bp.kernel/1. bp.gemm/1 is an extra.
 * Who offers bp.kernel/1 may offer "bp.tune/1" beside it.
 *
 *   bp_status bp_plugin_query_1(const bp_host *host, bp_plugin_desc *out, bp_error *error);
 *
 * Rules that keep binaries working for years
 *  - Every struct and table begins with `uint32_t size`, set by whoever fills it to the sizeof he
 *    was compiled with. Within a major version structs only grow at their end. A reader uses the
 *    smaller of the two sizes; a field beyond it has the value 0. The host copies every table it
 *    receives and puts a stub returning BP_UNIMPLEMENTED into each slot that is missing or NULL,
 *    so neither side ever tests a slot for NULL.
 *  - Only fixed-width integers, doubles, pointers and the structs of these headers cross. No
 *    bool, enum type, bit-field, union, varargs or struct passed by value.
 *  - Structs are passed by pointer; arrays of structs carry a byte stride, so that both sides may
 *    know different sizes of the element. Small records without a size field (bp_dim,
 *    bp_operand_buffer, bp_launch_buffer) are fixed for the major version.
 *  - Ops and weight formats are names, never numbers. An unknown interface id is no error: it is
 *    answered with NULL, which is how the ABI grows.
 *  - A handle belongs to the plugin that made it; only that plugin looks inside.
 *  - Every slot returns a bp_status and may fill the bp_error it is given, which may be NULL. No
 *    exception, abort, exit, signal or print may leave a plugin. The glue in sdk/cpp helps.
 *
 * Threads: the plugin, device, memory, module and kernel tables are thread-safe; one stream is
 * used by one thread at a time. Plugins start no threads for computing: they use
 * bp_host.parallel_for.
 *
 * Unloading: never. A plugin stays mapped until the process ends; shutdown releases what it holds.
 */
#ifndef BACKPLANE_PLUGIN_H_
#define BACKPLANE_PLUGIN_H_

#include "backplane/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BP_ABI_MAJOR 1u
/* Grows with every appended field, slot or constant. A plugin states in bp_plugin_desc the minor
 * it was compiled with and the least minor of the host that it needs. */
#define BP_ABI_MINOR 0u

#if defined(_WIN32)
#define BP_EXPORT __declspec(dllexport)
#else
#define BP_EXPORT __attribute__((visibility("default")))
#endif

/* Interface ids, for bp_plugin_api.get_interface. */
#define BP_INTERFACE_DEVICE "bp.device/1"
#define BP_INTERFACE_MEMORY "bp.memory/1"
#define BP_INTERFACE_STREAM "bp.stream/1"
#define BP_INTERFACE_MODULE "bp.module/1"
#define BP_INTERFACE_KERNEL "bp.kernel/1"
#define BP_INTERFACE_GEMM "bp.gemm/1"
#define BP_INTERFACE_TUNE "bp.tune/1" /* optional, beside bp.kernel/1 */

/* ---- what the host offers ------------------------------------------------------------------- */

/* Levels for bp_host.log. */
#define BP_LOG_TRACE 0
#define BP_LOG_DEBUG 1
#define BP_LOG_INFO 2
#define BP_LOG_WARNING 3
#define BP_LOG_ERROR 4

/* Called for the items [begin, end) of a parallel_for. `worker` is in [0, workers) and differs
 * between calls that run at the same time, so it may index per-worker scratch memory. */
typedef void (*bp_parallel_fn)(void* user, uint64_t begin, uint64_t end, uint32_t worker);

/* Services of the host. Valid until the process ends; every function is thread-safe. */
typedef struct bp_host {
  uint32_t size;
  uint32_t abi_minor;   /* BP_ABI_MINOR of the host */
  void* user;           /* first argument of every function below */
  bp_string plugin_dir; /* absolute folder of the plugin's manifest */
  bp_string cache_dir;  /* folder for derived data, created on demand; empty when there is none */

  /* One message without a final newline. Dropped below the host's level. */
  void (*log)(void* user, int32_t level, const bp_string* message);
  /* Memory aligned to `alignment`, a power of two up to 64 KiB, or NULL. */
  void* (*allocate)(void* user, uint64_t bytes, uint64_t alignment);
  void (*release)(void* user, void* memory);
  /* Calls fn over [0, items) in ranges of at least `grain` on up to workers() threads, the
   * calling one included, and returns when all have run. fn must not throw, block, or call
   * parallel_for. Returns BP_OK, or BP_CANCELLED when the process is shutting down. */
  bp_status (*parallel_for)(void* user, uint64_t items, uint64_t grain, bp_parallel_fn fn,
                            void* fn_user);
  /* Largest number of threads that parallel_for will use; constant for a session's life. */
  uint32_t (*workers)(void* user);
  /* Marks a span in the host's trace; name must be a literal. May do nothing. */
  void (*trace_begin)(void* user, const char* name);
  void (*trace_end)(void* user);
} bp_host;

/* ---- what a plugin says about itself -------------------------------------------------------- */

/* Why a plugin cannot be used on this machine now, in bp_probe_result.reason. */
#define BP_PROBE_USABLE 0
#define BP_PROBE_NO_DRIVER 1      /* library or device node of the driver absent; detail names it */
#define BP_PROBE_DRIVER_TOO_OLD 2 /* detail has both versions */
#define BP_PROBE_NO_DEVICE 3      /* driver works, no device that this plugin can drive */
#define BP_PROBE_NO_PERMISSION 4  /* detail names the file or group */
#define BP_PROBE_MISSING_LIBRARY 5 /* a further library; detail names it */
#define BP_PROBE_BROKEN 6          /* driver answered with an error; detail quotes it */

#define BP_PROBE_DETAIL_BYTES 240

/* Filled by bp_plugin_api.probe. */
typedef struct bp_probe_result {
  uint32_t size;
  int32_t reason;                     /* BP_PROBE_… */
  char detail[BP_PROBE_DETAIL_BYTES]; /* one sentence in UTF-8, NUL-ended */
} bp_probe_result;

/* Life of a plugin: query (pure), then probe any number of times, then init once, then interfaces
 * are fetched and used, then quiesce and shutdown. */
typedef struct bp_plugin_api {
  uint32_t size;
  uint32_t reserved;
  /* Can this machine run it? Opens driver libraries lazily and answers within a second or so.
   * Returns BP_OK whenever an answer was found, also a negative one. Blocking. */
  bp_status (*probe)(const bp_host* host, bp_probe_result* out, bp_error* error);
  /* Prepares for use. `host` stays valid; its tables may be kept. Called once per process. */
  bp_status (*init)(const bp_host* host, bp_error* error);
  /* *out becomes a pointer to a static table of the named interface, or NULL for a name that
   * this plugin does not offer. Valid after init, until shutdown. */
  bp_status (*get_interface)(const bp_string* id, const void** out, bp_error* error);
  /* Finishes or abandons running work within deadline_ns. No new work comes afterwards. */
  bp_status (*quiesce)(uint64_t deadline_ns, bp_error* error);
  /* Releases everything. No call, and no log message of the plugin, comes afterwards. */
  bp_status (*shutdown)(bp_error* error);
} bp_plugin_api;

/* Filled by bp_plugin_query_1. Strings and table are static in the plugin. */
typedef struct bp_plugin_desc {
  uint32_t size;
  uint32_t abi_minor;      /* BP_ABI_MINOR it was compiled with */
  uint32_t min_host_minor; /* least minor of the host that it needs; usually 0 */
  uint32_t reserved;
  bp_string id;       /* lower case, [a-z0-9._-], equal to the manifest's: "cpu" */
  bp_string version;  /* of the plugin, "0.1.0" */
  bp_string build_id; /* identifies the binary; part of every cache key */
  const bp_plugin_api* api;
} bp_plugin_desc;

/* The one export. Pure: it starts no thread, touches no driver, may be called repeatedly. The
 * host sets out->size; the plugin fills what that covers. */
typedef bp_status (*bp_plugin_query_fn)(const bp_host* host, bp_plugin_desc* out, bp_error* error);
#define BP_PLUGIN_QUERY_SYMBOL "bp_plugin_query_1"

#ifdef __cplusplus
}
#endif

#include "backplane/plugin/device.h"
#include "backplane/plugin/gemm.h"
#include "backplane/plugin/kernel.h"
#include "backplane/plugin/memory.h"
#include "backplane/plugin/module.h"
#include "backplane/plugin/stream.h"
#include "backplane/plugin/tune.h"

#endif /* BACKPLANE_PLUGIN_H_ */
