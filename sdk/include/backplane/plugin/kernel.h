/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface "bp.kernel/1": what can be computed.
 *
 * A kernel provider is bound to a device, its own or one of another plugin. It is shown all ops
 * of a plan at once and says which it can run, how fast, and with how much workspace. For those
 * the host chooses, prepare() makes an immutable kernel: weights repacked or uploaded, pipelines
 * built. Running a plan step is one enqueue. Ops, slots, attributes and formats: docs/ops.md.
 */
#ifndef BACKPLANE_PLUGIN_KERNEL_H_
#define BACKPLANE_PLUGIN_KERNEL_H_

#include "backplane/plugin/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A provider bound to one device. */
typedef struct bp_target bp_target;
/* One op made ready to run. Immutable; may be enqueued on several streams of its device. */
typedef struct bp_kernel bp_kernel;
/* What a provider knows of a plan whose ops have been given to it and others. */
typedef struct bp_placement bp_placement;

/* ---- ops as plain records ------------------------------------------------------------------- */

/* scale × symbol + offset; symbol −1 means the constant `offset`. */
typedef struct bp_dim {
  int32_t symbol;
  uint32_t reserved;
  uint64_t scale;
  uint64_t offset;
} bp_dim;

/* bp_operand.role */
#define BP_ROLE_NONE 0 /* an absent optional operand; everything else is zero */
#define BP_ROLE_WEIGHT 1
#define BP_ROLE_INPUT 2
#define BP_ROLE_OUTPUT 3
#define BP_ROLE_STATE 4
#define BP_ROLE_SCRATCH 5

typedef struct bp_operand {
  uint32_t size;
  int32_t role;
  bp_string format;   /* "f32", "q4_g32", … */
  const bp_dim* dims; /* outermost first; weights have constants only */
  uint32_t rank;
  uint32_t value; /* number of the value in the plan; equal numbers are the same value */
} bp_operand;

/* bp_attribute.kind */
#define BP_ATTRIBUTE_INT 1
#define BP_ATTRIBUTE_FLOAT 2
#define BP_ATTRIBUTE_STRING 3

typedef struct bp_attribute {
  uint32_t size;
  int32_t kind;
  bp_string name;
  int64_t int_value;
  double float_value;
  bp_string string_value;
} bp_attribute;

typedef struct bp_op {
  uint32_t size;
  uint32_t version;
  bp_string name; /* "linear", "attention", … */
  const bp_operand* inputs;
  const bp_operand* outputs;
  const bp_attribute* attributes;
  uint32_t input_count;
  uint32_t output_count;
  uint32_t attribute_count;
  uint32_t operand_stride; /* bytes from one operand to the next */
  uint32_t attribute_stride;
  int32_t layer; /* block of the model, −1 outside; for messages */
  /* In prepare, when the provider has been told of the plan: which of its ops this is. NULL in
   * match, and for an op that stands alone. */
  const bp_placement* placement;
  uint32_t step;
  uint32_t reserved;
} bp_op;

/* Range that a symbol may take while the kernels live, and the value to optimise for. */
typedef struct bp_symbol_range {
  uint64_t minimum;
  uint64_t typical;
  uint64_t maximum;
} bp_symbol_range;

/* Bytes of one weight, in host memory. They stay valid and unchanged until the kernel is
 * released, unless the kernel is marked BP_KERNEL_COPIED_WEIGHTS. */
#define BP_MAX_PLANES 4
typedef struct bp_weight {
  uint32_t size;
  uint32_t plane_count;
  uint64_t id;                       /* equal for the same tensor, so that copies are shared */
  const void* planes[BP_MAX_PLANES]; /* in the order of the format */
  uint64_t bytes[BP_MAX_PLANES];
  uint8_t digest[32]; /* of the content; zeros when unknown. For cache keys */
} bp_weight;

/* ---- answers -------------------------------------------------------------------------------- */

/* bp_match.verdict */
#define BP_MATCH_NO 0
#define BP_MATCH_YES 1

/* bp_match.flags */
#define BP_MATCH_DETERMINISTIC 1u /* same inputs, same bits, whatever else is in the batch */
#define BP_MATCH_CAPTURE_SAFE 2u  /* may be recorded and replayed */
#define BP_MATCH_REFERENCE 4u     /* portable fallback: anything faster is preferred */

#define BP_MATCH_REASON_BYTES 120

/* What a provider says of one op. */
typedef struct bp_match {
  uint32_t size;
  int32_t verdict;
  uint32_t flags;
  int32_t priority;         /* decides between equal estimates; larger wins */
  uint64_t estimated_ns;    /* at typical symbols; 0 when unknown */
  uint64_t workspace_bytes; /* scratch memory needed during enqueue at maximum symbols */
  uint64_t resident_bytes;  /* memory that prepare will hold beyond the weights in place */
  char reason[BP_MATCH_REASON_BYTES]; /* why not, or which variant; UTF-8, NUL-ended */
  uint32_t launches; /* commands that an enqueue puts on a stream at typical symbols; 0: unknown */
  uint32_t zeroed_bytes; /* of memory that is zero before the first enqueue; see bp_kernel_launch */
} bp_match;

/* ---- binding -------------------------------------------------------------------------------- */

/* Everything a provider may use of the device it is bound to. Valid until unbind. */
typedef struct bp_bind_info {
  uint32_t size;
  uint32_t device_index;
  bp_string plugin_id; /* of the plugin that owns the device */
  bp_string plugin_build_id;
  bp_device* device;
  const bp_device_info* info;
  const bp_device_caps* caps;
  const bp_device_api* device_api;
  const bp_memory_api* memory_api;
  const bp_stream_api* stream_api;
  const bp_module_api* module_api; /* all slots are stubs when the device has no modules */
  const bp_gemm_api* gemm_api;     /* all slots are stubs when its plugin offers none */
} bp_bind_info;

/* bp_kernel flags given back by prepare */
#define BP_KERNEL_COPIED_WEIGHTS 1u /* the host may drop its pages of the weights */

/* Where one operand lies while a kernel runs. Weights and absent operands have a NULL buffer. */
typedef struct bp_operand_buffer {
  bp_buffer* buffer;
  uint64_t offset;
  uint64_t bytes; /* that the operand may use at maximum symbols */
} bp_operand_buffer;

/* One execution of one kernel. */
typedef struct bp_kernel_launch {
  uint32_t size;
  uint32_t input_count;
  uint32_t output_count;
  uint32_t symbol_count;
  const bp_operand_buffer* inputs;
  const bp_operand_buffer* outputs;
  const uint64_t* symbols;     /* present value of each symbol */
  bp_operand_buffer workspace; /* at least what match asked for */
  /* At least what match asked for, and zero. A kernel may count in it and leaves zeros behind, so
   * kernels that run one after the other share it. Launches that may run at the same time have one
   * each. The host clears it after a stream failed; an enqueue that fails leaves it as it was. */
  bp_operand_buffer zeroed;
} bp_kernel_launch;

typedef struct bp_kernel_api {
  uint32_t size;
  uint32_t reserved;
  /* Accepts or refuses a device: BP_INCOMPATIBLE with a reason when it is not for this provider. */
  bp_status (*bind)(const bp_bind_info* info, bp_target** out, bp_error* error);
  bp_status (*unbind)(bp_target* target, bp_error* error);
  /* Fills results[i] for ops[i]; strides in bytes. Fast and without side effects. YES is a
   * promise for every symbol value in range. `symbols` is indexed as bp_dim.symbol. */
  bp_status (*match)(bp_target* target, const bp_op* ops, uint64_t op_stride, uint32_t op_count,
                     const bp_symbol_range* symbols, uint32_t symbol_count, bp_match* results,
                     uint64_t result_stride, bp_error* error);
  /* Makes one matched op ready. weights[i] belongs to input i and has plane_count 0 where that
   * is no weight; `weight_stride` in bytes. Blocking. *flags receives BP_KERNEL_…. */
  bp_status (*prepare)(bp_target* target, const bp_op* op, const bp_symbol_range* symbols,
                       uint32_t symbol_count, const bp_weight* weights, uint64_t weight_stride,
                       bp_kernel** out, uint32_t* flags, bp_error* error);
  /* Puts the kernel on a stream of its device. Allocates nothing. What depends on data (an id or a
   * page number out of range) is the host's to check before. A provider that notices returns
   * BP_INVALID_ARGUMENT here or fails the timeline; one that cannot may leave anything in outputs
   * and states, but touches nothing outside the launch's operands and does not harm the device. */
  bp_status (*enqueue)(bp_kernel* kernel, bp_stream* stream, const bp_kernel_launch* launch,
                       bp_error* error);
  bp_status (*release)(bp_kernel* kernel, bp_error* error);
  /* Optional; BP_UNIMPLEMENTED otherwise. Tells, once the ops of a plan have been given to targets
   * and before they are prepared, which of them this target was given: chosen[i] is 1 for its own
   * and 0 for those of others. All of its own will be prepared with this placement, or none is run.
   * A scratch value that only its own ops of the plan write and read may then be kept in a form of
   * the provider's own, within the bytes that the value has. The result must outlive the kernels.
   */
  bp_status (*place)(bp_target* target, const bp_op* ops, uint64_t op_stride, uint32_t op_count,
                     const uint32_t* chosen, const bp_symbol_range* symbols, uint32_t symbol_count,
                     bp_placement** out, bp_error* error);
  bp_status (*placement_release)(bp_placement* placement, bp_error* error);
} bp_kernel_api;

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_PLUGIN_KERNEL_H_ */
