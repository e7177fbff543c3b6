/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backplane: run language models from any language, on any device that has a plugin.
 *
 *   bp_error error = BP_ERROR_INIT;
 *   bp_model *model = NULL;
 *   bp_session *session = NULL;
 *   bp_model_open("story.bpm", NULL, &model, &error);
 *   bp_session_create(model, NULL, &session, &error);
 *   bp_session_feed_text(session, "Once upon a time", 16, 0, &error);
 *   bp_session_generate(session, NULL, print_piece, stdout, NULL, &error);
 *   bp_session_destroy(session);
 *   bp_model_close(model);
 *
 * Conventions
 *  - Every function returns a bp_status; 0 is success. Details go to the caller's bp_error, which
 *    may be NULL. Outputs come last but for it and are untouched on failure unless said otherwise.
 *  - Options structs begin with `size`, which the caller sets (BP_..._INIT does); NULL options mean
 *    defaults. Later versions only append fields, so programs compiled today keep working.
 *  - Text is UTF-8 with an explicit length in bytes and need not end in NUL. Paths end in NUL.
 *  - The library never prints, exits or aborts, installs no signal handlers, and lets no exception
 *    out. Memory that it returns belongs to the handle it came from.
 *
 * Threads
 *  - bp_model and all text functions on it: any number of threads at once.
 *  - bp_session: one thread at a time, except bp_session_cancel, which any thread may call.
 *  - Callbacks run on the calling thread. They must not call back into the same session, except
 *    for bp_session_cancel.
 *  - Sessions of one model may run on different threads at the same time.
 */
#ifndef BACKPLANE_BACKPLANE_H_
#define BACKPLANE_BACKPLANE_H_

#include "backplane/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define BP_API __declspec(dllexport)
#else
#define BP_API __attribute__((visibility("default")))
#endif

/* ---- the library ---------------------------------------------------------------------------- */

/* Version of the library that is loaded, "0.1.0". Static. */
BP_API const char* bp_version(void);
/* Name of a status code, "CORRUPT". Static; unknown codes are "INTERNAL". */
BP_API const char* bp_status_name(bp_status status);

/* Levels of log messages. */
#define BP_LOG_LEVEL_TRACE 0
#define BP_LOG_LEVEL_DEBUG 1
#define BP_LOG_LEVEL_INFO 2
#define BP_LOG_LEVEL_WARNING 3
#define BP_LOG_LEVEL_ERROR 4

/* Receives one message without a final newline, on whichever thread logs. Must not call the
 * library. */
typedef void (*bp_log_fn)(void* user, int32_t level, const char* text, uint64_t length);
/* Sends messages of at least `lowest` to fn; NULL stops them. Process-wide. */
BP_API bp_status bp_log_set(bp_log_fn fn, void* user, int32_t lowest);

/* Compute threads of the process, the calling one included (1 to 1023). The default is what the
 * machine gives this process, or BACKPLANE_THREADS. Call it before the first session. */
BP_API bp_status bp_threads_set(uint32_t threads, bp_error* error);
BP_API uint32_t bp_threads_get(void);

/* Adds a plugin manifest, or a folder of them, to the front of the search. */
BP_API bp_status bp_plugin_path_add(const char* path, bp_error* error);

/* One plugin that was found. Strings stay valid for the process's life. */
typedef struct bp_plugin_entry {
  uint32_t size;
  int32_t usable; /* 1 or 0 */
  bp_string id;
  bp_string version;
  bp_string manifest; /* path */
  bp_string library;  /* path */
  bp_string reason;   /* why it is not usable; empty when it is */
} bp_plugin_entry;
/* Number of plugins found, usable or not. Loads and probes them on first use. */
BP_API bp_status bp_plugin_count(uint32_t* count, bp_error* error);
/* Fills *out, whose size the caller has set. BP_NOT_FOUND beyond the count. */
BP_API bp_status bp_plugin_describe(uint32_t index, bp_plugin_entry* out, bp_error* error);

/* Kinds of device. */
#define BP_DEVICE_KIND_CPU 1
#define BP_DEVICE_KIND_INTEGRATED 2
#define BP_DEVICE_KIND_DISCRETE 3
#define BP_DEVICE_KIND_OTHER 4

/* One device. Strings stay valid for the process's life. */
typedef struct bp_device_entry {
  uint32_t size;
  int32_t kind;
  int32_t usable;
  int32_t unified_memory;
  uint64_t memory_bytes;
  bp_string id; /* "cpu:0", for bp_session_options.device */
  bp_string plugin;
  bp_string name;
  bp_string vendor;
  bp_string architecture;
  bp_string driver;
  bp_string reason;
} bp_device_entry;
BP_API bp_status bp_device_count(uint32_t* count, bp_error* error);
BP_API bp_status bp_device_describe(uint32_t index, bp_device_entry* out, bp_error* error);

/* ---- models --------------------------------------------------------------------------------- */

/* An opened model file (.bpm). Immutable. */
typedef struct bp_model bp_model;

typedef struct bp_model_options {
  uint32_t size;
  int32_t copy_weights;   /* 1: read weights into private memory instead of mapping the file */
  int32_t verify_digests; /* 1: read everything once and compare digests before returning */
  uint32_t reserved;
} bp_model_options;
#define BP_MODEL_OPTIONS_INIT \
  { sizeof(bp_model_options), 0, 0, 0 }

/* Opens a file. It is mapped: opening takes milliseconds, and pages are shared with every other
 * process. BP_CORRUPT, BP_INCOMPATIBLE, BP_NOT_FOUND, BP_DENIED say what is wrong with it. */
BP_API bp_status bp_model_open(const char* path, const bp_model_options* options, bp_model** out,
                               bp_error* error);
/* Uses bytes of the caller, aligned to 64, which must stay until the model is closed. */
BP_API bp_status bp_model_open_memory(const void* data, uint64_t bytes,
                                      const bp_model_options* options, bp_model** out,
                                      bp_error* error);
/* Fills `bytes` bytes from `offset` on; anything but BP_OK ends the opening with that status. */
typedef bp_status (*bp_read_fn)(void* user, uint64_t offset, void* to, uint64_t bytes);
/* Reads a model of `bytes` bytes through a callback, which is not used after the return. */
BP_API bp_status bp_model_open_reader(bp_read_fn read, void* user, uint64_t bytes,
                                      const bp_model_options* options, bp_model** out,
                                      bp_error* error);
/* Sessions must have been destroyed. NULL is allowed. */
BP_API void bp_model_close(bp_model* model);

/* Facts of a model. Strings live as long as it. */
typedef struct bp_model_info {
  uint32_t size;
  uint32_t has_tokenizer;
  uint32_t has_chat_template;
  uint32_t layers;
  uint64_t vocabulary;
  uint64_t context_length; /* positions it was made for */
  uint64_t parameters;
  uint64_t file_bytes;
  bp_string name;
  bp_string architecture;
  bp_string weights_format;
  bp_string licence;
} bp_model_info;
BP_API bp_status bp_model_describe(const bp_model* model, bp_model_info* out, bp_error* error);

/* ---- text ----------------------------------------------------------------------------------- */

/* Flags for turning text into tokens. */
#define BP_TEXT_NO_BOS 1u /* do not put the model's first token before the text */
/* "<|eot|>" in the text means that token. Never for user input. */
#define BP_TEXT_PARSE_SPECIAL 2u

/* Token ids of a text. Writes up to `capacity` ids and sets *count to how many there are; call
 * with capacity 0 to size the array. */
BP_API bp_status bp_model_tokenize(const bp_model* model, const char* text, uint64_t length,
                                   uint32_t flags, int32_t* ids, uint64_t capacity, uint64_t* count,
                                   bp_error* error);
/* Text of ids; special tokens are left out unless `keep_special` is 1. Writes up to `capacity`
 * bytes (no NUL) and sets *length to the length of the whole text. */
BP_API bp_status bp_model_detokenize(const bp_model* model, const int32_t* ids, uint64_t count,
                                     int32_t keep_special, char* text, uint64_t capacity,
                                     uint64_t* length, bp_error* error);

/* Inputs of a chat template; JSON as chat completion APIs have it. */
typedef struct bp_chat_request {
  uint32_t size;
  int32_t add_generation_prompt; /* 1: end with the start of the assistant's turn */
  bp_string messages;            /* [{"role": "user", "content": "Hello"}, …] */
  bp_string tools;               /* list of JSON schemas, or empty */
  bp_string variables;           /* object of further template variables, or empty */
} bp_chat_request;
#define BP_CHAT_REQUEST_INIT                      \
  {                                               \
    sizeof(bp_chat_request), 1, {0, 0}, {0, 0}, { \
      0, 0                                        \
    }                                             \
  }

/* The prompt as the model's template writes it. Sizing as in bp_model_detokenize.
 * BP_NOT_FOUND when the model has no template. */
BP_API bp_status bp_model_apply_template(const bp_model* model, const bp_chat_request* request,
                                         char* text, uint64_t capacity, uint64_t* length,
                                         bp_error* error);
/* The same as token ids. Only the template's own text can become special tokens; what messages
 * say cannot. */
BP_API bp_status bp_model_tokenize_chat(const bp_model* model, const bp_chat_request* request,
                                        int32_t* ids, uint64_t capacity, uint64_t* count,
                                        bp_error* error);

/* ---- sessions ------------------------------------------------------------------------------- */

/* One sequence of tokens with its KV cache on a device. */
typedef struct bp_session bp_session;

/* Called during long work, on the calling thread, as steps of it are done. Non-zero stops the work,
 * which then fails with BP_CANCELLED. Must not call the library. */
typedef int32_t (*bp_progress_fn)(void* user, uint64_t done, uint64_t total);

typedef struct bp_session_options {
  uint32_t size;
  int32_t strict_placement; /* 1: fail when the device cannot run every step itself */
  bp_string device;         /* "auto" (default), "cpu", "vulkan:1", … */
  bp_string kv_format;      /* "f16" (default), "f32", "bf16", or "q8": int8 with an f16 scale for
                             * every 32 values, 0.53 to 0.56 of the memory of f16; for models whose
                             * heads have a multiple of 32 elements, else BP_INVALID_ARGUMENT */
  uint64_t context_tokens;  /* longest sequence; 0: the model's own, at most 4096 */
  uint64_t batch_tokens;    /* prompt tokens per pass; 0: 512 */
  bp_progress_fn progress;  /* of preparing kernels, a step of the plan at a time; may be NULL */
  void* progress_user;
} bp_session_options;
#define BP_SESSION_OPTIONS_INIT \
  { sizeof(bp_session_options), 0, {0, 0}, {0, 0}, 0, 0, 0, 0 }

/* Memory that a session with these options takes, known before anything is allocated. */
typedef struct bp_memory_estimate {
  uint32_t size;
  uint32_t reserved;
  uint64_t weights_bytes;  /* the model file; mapped and shared by all sessions */
  uint64_t resident_bytes; /* copies of weights that kernels need beside it; shared likewise */
  uint64_t kv_bytes;       /* this and the following: per session */
  uint64_t arena_bytes;
  uint64_t workspace_bytes;
  uint64_t io_bytes;
  uint64_t total_bytes;
} bp_memory_estimate;
BP_API bp_status bp_memory_estimate_session(bp_model* model, const bp_session_options* options,
                                            bp_memory_estimate* out, bp_error* error);

/* One kernel that has been tuned. Strings are valid during the call. */
typedef struct bp_tune_kernel {
  uint32_t size;
  uint32_t uses;      /* launches of it in one pass of `tokens` tokens */
  uint64_t tokens;    /* passes of about so many tokens run it; 1: generating */
  uint32_t tried;     /* schedules that were measured against the default */
  uint32_t rejected;  /* of them, those that failed or gave wrong results */
  int32_t is_known;   /* 1: found by an earlier run, not measured now */
  int32_t is_changed; /* 1: another schedule than the default is faster and will be used */
  int32_t is_unsaved; /* 1: could not be written to disk: lasts as long as the device is open */
  uint32_t reserved;
  double default_ns;  /* nanoseconds of one launch with the default schedule */
  double tuned_ns;    /* with the one that will be used */
  bp_string device;   /* "cuda:0" */
  bp_string name;     /* "gemv q4_g32 4096x4096" */
  bp_string schedule; /* that will be used: "threads 128, lanes 32, rows 2, unroll 2" */
} bp_tune_kernel;

/* Receives how far a tuning run is, in candidates, and the kernel at hand. Called between two
 * candidates on the calling thread; non-zero stops the run and keeps what was found. */
typedef int32_t (*bp_tune_progress_fn)(void* user, uint64_t done, uint64_t total, const char* text,
                                       uint64_t length);
/* Receives each kernel when it is done. */
typedef void (*bp_tune_kernel_fn)(void* user, const bp_tune_kernel* kernel);

typedef struct bp_tune_options {
  uint32_t size;
  uint32_t candidates; /* schedules to try for each kernel; 0: 12 */
  int32_t again;       /* 1: also kernels that an earlier run has finished */
  uint32_t reserved;
  bp_tune_progress_fn progress; /* may be NULL */
  bp_tune_kernel_fn kernel;     /* may be NULL */
  void* user;                   /* first argument of both */
} bp_tune_options;
#define BP_TUNE_OPTIONS_INIT \
  { sizeof(bp_tune_options), 0, 0, 0, 0, 0, 0 }

/* What a tuning run found. Times are sums over kernels that can be tuned, in nanoseconds: what of
 * a pass is spent in other kernels and between them is not in it. */
typedef struct bp_tune_report {
  uint32_t size;
  uint32_t kernels;        /* that can be tuned; 0 where the device has nothing to choose between */
  uint32_t measured;       /* by this run */
  uint32_t changed;        /* that now have another schedule than the default */
  uint32_t failed;         /* that could not be measured and keep their default; the log says why */
  int32_t is_stopped;      /* 1: the progress function stopped the run */
  double token_default_ns; /* a pass of one token, with default schedules */
  double token_tuned_ns;   /* with those found */
  double prompt_default_ns; /* a full pass of a prompt; 0 where batch_tokens is too small for one */
  double prompt_tuned_ns;
  bp_string device; /* "cuda:0"; valid for the process's life */
} bp_tune_report;
/* Measures, for each kernel that a session with these options would run, which of its schedules is
 * fastest on the session's device, on scratch memory of the kernel's real shape (up to 256 MiB and
 * one weight matrix). Every candidate has to give the default's results. What is found is kept in
 * the user's cache folder, by kernel, device, driver and compiler, and used by all sessions that
 * are created afterwards, in this process and others; sessions that exist stay as they are.
 * Blocking, seconds to minutes; the device should have nothing else to do. Any thread; one run at
 * a time on a device, else BP_FAILED_PRECONDITION. On the CPU there is nothing to choose: BP_OK
 * and a report of no kernels. A stopped run is BP_OK with is_stopped. BP_DEVICE_LOST ends a run;
 * what was found before is kept. NULL options are defaults. */
BP_API bp_status bp_model_tune(bp_model* model, const bp_session_options* options,
                               const bp_tune_options* tuning, bp_tune_report* out, bp_error* error);

/* Reserves everything that the session will ever need. Blocking: the first session on a device
 * prepares its kernels, seconds where they have to be compiled. BP_EXHAUSTED names what did not
 * fit; BP_CANCELLED when options->progress stopped it, what was prepared is kept. */
BP_API bp_status bp_session_create(bp_model* model, const bp_session_options* options,
                                   bp_session** out, bp_error* error);
/* NULL is allowed. */
BP_API void bp_session_destroy(bp_session* session);

/* Appends tokens and runs the model on them, so that its next token can be sampled. A sequence
 * that would not fit the context is refused with both numbers, and nothing is run. */
BP_API bp_status bp_session_feed_tokens(bp_session* session, const int32_t* ids, uint64_t count,
                                        bp_error* error);
/* Tokenizes and appends. The model's first token (BOS) is put before the text only at the start
 * of the sequence. `flags`: BP_TEXT_... */
BP_API bp_status bp_session_feed_text(bp_session* session, const char* text, uint64_t length,
                                      uint32_t flags, bp_error* error);
/* Makes the sequence be exactly this conversation: what the cache already holds of it is kept,
 * the rest is run. For chats: send the whole list of messages each turn. *reused receives the
 * number of tokens that needed no work; may be NULL. */
BP_API bp_status bp_session_feed_chat(bp_session* session, const bp_chat_request* request,
                                      uint64_t* reused, bp_error* error);

/* Tokens in the sequence so far. */
BP_API uint64_t bp_session_position(const bp_session* session);
/* Largest number that position can reach. */
BP_API uint64_t bp_session_capacity(const bp_session* session);
/* The ids of the sequence; valid until the session is next used. */
BP_API bp_status bp_session_tokens(const bp_session* session, const int32_t** ids, uint64_t* count,
                                   bp_error* error);
/* Forgets everything after the first `keep` tokens. */
BP_API bp_status bp_session_rewind(bp_session* session, uint64_t keep, bp_error* error);
/* Logits for the next token, one per vocabulary entry; valid until the session is next used.
 * BP_FAILED_PRECONDITION when nothing has been fed since the start or a rewind. */
BP_API bp_status bp_session_logits(const bp_session* session, const float** logits, uint64_t* count,
                                   bp_error* error);

/* Receives the logits after the token at `position`; non-zero stops. */
typedef int32_t (*bp_logits_fn)(void* user, uint64_t position, const float* logits, uint64_t count);
/* Appends tokens as bp_session_feed_tokens does and hands over the logits of every one. */
BP_API bp_status bp_session_evaluate(bp_session* session, const int32_t* ids, uint64_t count,
                                     bp_logits_fn fn, void* user, bp_error* error);

/* ---- generation ----------------------------------------------------------------------------- */

/* One entry of a logit bias. */
typedef struct bp_logit_bias {
  int32_t id;
  float bias; /* added to the logit; -INFINITY forbids the token */
} bp_logit_bias;

typedef struct bp_generate_options {
  uint32_t size;
  uint32_t top_k;           /* 0: all */
  uint64_t max_tokens;      /* 0: until the model ends or the context is full */
  float temperature;        /* 0: greedy; ties go to the lowest id */
  float top_p;              /* 1: off */
  float min_p;              /* 0: off */
  float repetition_penalty; /* 1: off */
  float presence_penalty;   /* 0: off */
  float frequency_penalty;  /* 0: off */
  uint32_t penalty_window;  /* recent tokens that penalties look at */
  int32_t ignore_eos;       /* 1: go on when the model wants to stop */
  uint64_t seed;            /* same seed, same text, whatever else runs */
  const bp_string* stop;    /* texts that end the generation; they are not part of the output */
  uint64_t stop_count;
  const bp_logit_bias* bias;
  uint64_t bias_count;
} bp_generate_options;
#define BP_GENERATE_OPTIONS_INIT \
  { sizeof(bp_generate_options), 40, 0, 0.8f, 0.95f, 0.0f, 1.0f, 0.0f, 0.0f, 64, 0, 0, 0, 0, 0, 0 }
/* The defaults with the model's own suggestions (generation_config) in place. */
BP_API bp_status bp_model_generate_defaults(const bp_model* model, bp_generate_options* out,
                                            bp_error* error);

/* Why a generation ended. */
#define BP_FINISH_NONE 0 /* it has not */
#define BP_FINISH_STOP 1 /* the model's end token, or a stop text */
#define BP_FINISH_LENGTH 2
#define BP_FINISH_CANCELLED 3

/* One step of a generation. */
typedef struct bp_event {
  uint32_t size;
  int32_t finish;   /* BP_FINISH_...; with anything but NONE the generation is over */
  int32_t token_id; /* the token just sampled; -1 when the event only carries held-back text */
  uint32_t reserved;
  bp_string text; /* what can be shown now; whole characters; may be empty. Valid until the
                     session is next used */
} bp_event;
#define BP_EVENT_INIT             \
  {                               \
    sizeof(bp_event), 0, -1, 0, { \
      0, 0                        \
    }                             \
  }

/* Starts a generation from the present sequence; NULL options are the model's defaults. */
BP_API bp_status bp_session_begin(bp_session* session, const bp_generate_options* options,
                                  bp_error* error);
/* Runs one step. After an event with a finish reason, begin again to go on. */
BP_API bp_status bp_session_next(bp_session* session, bp_event* event, bp_error* error);

/* Receives events as they come; non-zero stops the generation as if cancelled. */
typedef int32_t (*bp_event_fn)(void* user, const bp_event* event);
/* begin and next in one call. *finish (may be NULL) receives why it ended. A cancelled generation
 * is BP_OK with BP_FINISH_CANCELLED. */
BP_API bp_status bp_session_generate(bp_session* session, const bp_generate_options* options,
                                     bp_event_fn fn, void* user, int32_t* finish, bp_error* error);

/* Stops whatever the session is doing, between two kernels. From any thread. The stopped call
 * returns BP_CANCELLED (feeding) or the event BP_FINISH_CANCELLED (generating); the tokens before
 * it stay. A cancel that meets an idle session stops nothing. */
BP_API void bp_session_cancel(bp_session* session);

/* ---- reports -------------------------------------------------------------------------------- */

typedef struct bp_session_stats {
  uint32_t size;
  uint32_t launches_per_token; /* commands that a pass of one token puts on the device */
  uint64_t prompt_tokens;      /* since creation */
  uint64_t prompt_ns;
  uint64_t generated_tokens;
  uint64_t generated_ns;
  uint64_t prepare_ns;     /* choosing and preparing kernels at creation */
  uint32_t fallback_steps; /* steps of the plan that the device does not run itself */
  uint32_t steps;
  bp_string device;
} bp_session_stats;
BP_API bp_status bp_session_describe(const bp_session* session, bp_session_stats* out,
                                     bp_error* error);
/* Bytes per second that the session's device reads from its memory, measured now: the limit that
 * decoding runs against. Blocking, below a second; takes memory of the device while it runs.
 * BP_UNIMPLEMENTED where the device offers no kernel for it. Not while the session generates. */
BP_API bp_status bp_session_measure_read(bp_session* session, double* bytes_per_second,
                                         bp_error* error);
/* Calls fn with one line per step of the plan: op, device, kernel, and why if it is a fallback. */
typedef void (*bp_text_fn)(void* user, const char* text, uint64_t length);
BP_API bp_status bp_session_explain(const bp_session* session, bp_text_fn fn, void* user,
                                    bp_error* error);

#ifdef __cplusplus
}
#endif
#endif /* BACKPLANE_BACKPLANE_H_ */
