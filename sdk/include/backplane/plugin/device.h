/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface "bp.device/1": what can run.
 *
 * Devices are numbered 0 … count-1 within a plugin, in an order that is stable for one process.
 * Describing a device opens nothing; open() creates the context that memory, streams and modules
 * live in. After a loss status() keeps saying BP_DEVICE_LOST: close the device and open it anew.
 */
#ifndef BACKPLANE_PLUGIN_DEVICE_H_
#define BACKPLANE_PLUGIN_DEVICE_H_

#include "backplane/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An opened device. Owned by the plugin, released by bp_device_api.close. */
typedef struct bp_device bp_device;

/* bp_device_info.kind */
#define BP_DEVICE_CPU 1
#define BP_DEVICE_INTEGRATED 2 /* shares the host's memory */
#define BP_DEVICE_DISCRETE 3
#define BP_DEVICE_OTHER 4

#define BP_DEVICE_NAME_BYTES 128

/* Who a device is. Strings are UTF-8, NUL-ended, empty when unknown. */
typedef struct bp_device_info {
  uint32_t size;
  int32_t kind;            /* BP_DEVICE_… */
  uint64_t memory_bytes;   /* memory that weights and caches may use; 0 when unknown */
  uint32_t unified_memory; /* 1: the host reads and writes device memory at full speed */
  uint32_t pci_vendor;     /* PCI ids, 0 when there are none */
  uint32_t pci_device;
  uint32_t pci_domain_bus_device_function[4];
  uint8_t uuid[16]; /* the driver's, zeros when there is none */
  char name[BP_DEVICE_NAME_BYTES];
  char vendor[BP_DEVICE_NAME_BYTES];
  char architecture[64];             /* "sm_90", "gfx1100", "x86-64 avx512 amx" */
  char driver[BP_DEVICE_NAME_BYTES]; /* name and version */
  uint32_t reserved;
} bp_device_info;

/* What a device can do, for those who generate code for it. 0 means no, none or unknown. */
typedef struct bp_device_caps {
  uint32_t size;
  uint32_t compute_units;
  uint32_t subgroup_min; /* 0: no subgroup operations; OpenCL on NVIDIA has them as PTX alone */
  uint32_t subgroup_max;
  uint32_t subgroup_required; /* 1: a kernel may demand a size between the two */
  uint32_t max_group_threads;
  uint32_t shared_bytes; /* per workgroup */
  uint32_t registers_per_unit;
  uint32_t has_f16; /* arithmetic, not just storage */
  uint32_t has_bf16;
  uint32_t has_int8_dot;     /* four int8 products summed into int32 */
  uint32_t has_matrix;       /* matrix units the dialect can spell */
  uint32_t matrix_shape[3];  /* m, n, k of the f16 fragment */
  uint32_t has_async_copy;   /* global to shared memory in the background */
  uint32_t max_param_bytes;  /* scalars of a launch */
  uint32_t max_buffers;      /* buffer arguments of a launch */
  uint64_t max_buffer_range; /* bytes that one argument may span */
  uint64_t max_grid[3];
  uint64_t cache_bytes; /* last-level cache */
  char dialect[32];     /* source text of bp.module/1: "cuda", "hip", "opencl", "glsl"; "" */
  char dialect_version[32];
  uint32_t buffer_offset_alignment; /* bytes that bp_launch_buffer.offset is a multiple of; 0: 16 */
  uint32_t has_early_launch;        /* BP_MODULE_AWAITS is honoured */
} bp_device_caps;

typedef struct bp_device_api {
  uint32_t size;
  uint32_t reserved;
  /* Number of devices now. */
  bp_status (*enumerate)(uint32_t* count, bp_error* error);
  /* Facts that need no context. BP_NOT_FOUND for an index that does not exist. */
  bp_status (*describe)(uint32_t index, bp_device_info* out, bp_error* error);
  bp_status (*capabilities)(uint32_t index, bp_device_caps* out, bp_error* error);
  /* Creates a context; several may be open at once. */
  bp_status (*open)(uint32_t index, bp_device** out, bp_error* error);
  /* Everything made from the device must have been destroyed. Safe on a lost device. */
  bp_status (*close)(bp_device* device, bp_error* error);
  /* BP_OK, or BP_DEVICE_LOST for ever after a loss. Cheap. */
  bp_status (*status)(bp_device* device, bp_error* error);
  /* The driver's own handle ("cuda.context", "vulkan.device", …) for kernel plugins that extend
   * this device, or BP_NOT_FOUND. Owned by the device. */
  bp_status (*native)(bp_device* device, const bp_string* name, void** out, bp_error* error);
} bp_device_api;

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_PLUGIN_DEVICE_H_ */
