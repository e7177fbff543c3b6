// SPDX-License-Identifier: Apache-2.0
// Sessions: creation, feeding, state.
#include <chrono>
#include <utility>

#include "core/capi/boundary.h"
#include "core/capi/handles.h"
#include "core/exec/read_bandwidth.h"

namespace bp::capi {

Result<SessionOptions> session_options_of(const bp_session_options* options) {
  constexpr bp_session_options kDefaults = BP_SESSION_OPTIONS_INIT;
  const bp_session_options read = BP_TRY(read_options(options, kDefaults));
  SessionOptions out;
  const auto device = BP_TRY(read_text(read.device.data, read.device.length, "device"));
  if (!device.empty()) out.device = device;
  const auto kv = BP_TRY(read_text(read.kv_format.data, read.kv_format.length, "kv_format"));
  if (!kv.empty()) out.kv_format = kv;
  out.context_tokens = read.context_tokens;
  out.batch_tokens = read.batch_tokens;
  out.strict_placement = read.strict_placement != 0;
  if (read.progress != nullptr) {
    out.progress = [fn = read.progress, user = read.progress_user](uint64_t done, uint64_t total) {
      return fn(user, done, total) == 0;
    };
  }
  return out;
}

}  // namespace bp::capi

namespace {
using bp::capi::guard;
using bp::capi::require;
}  // namespace

extern "C" {

bp_status bp_memory_estimate_session(bp_model* model, const bp_session_options* options,
                                     bp_memory_estimate* out, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(model, "model"));
    const auto read = BP_TRY(bp::capi::session_options_of(options));
    const auto plan = BP_TRY(model->model->bind(read));
    const bp::MemoryEstimate estimate = BP_TRY(bp::estimate_memory(*plan));
    bp_memory_estimate filled{};
    filled.weights_bytes = estimate.weights_bytes;
    filled.resident_bytes = estimate.resident_bytes;
    filled.kv_bytes = estimate.kv_bytes;
    filled.arena_bytes = estimate.arena_bytes;
    filled.workspace_bytes = estimate.workspace_bytes;
    filled.io_bytes = estimate.io_bytes;
    filled.total_bytes = estimate.total_bytes();
    return bp::capi::write_output(out, filled);
  });
}

bp_status bp_session_create(bp_model* model, const bp_session_options* options, bp_session** out,
                            bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(model, "model"));
    BP_TRY(require(out, "out"));
    const auto read = BP_TRY(bp::capi::session_options_of(options));
    auto session = BP_TRY(bp::Session::create(model->model, read));
    std::string device = session->execution().plan().devices().front()->id();
    *out = new bp_session{std::move(session), std::move(device)};
    return {};
  });
}

void bp_session_destroy(bp_session* session) {
  guard(nullptr, [&]() -> bp::Status {
    delete session;
    return {};
  });
}

bp_status bp_session_feed_tokens(bp_session* session, const int32_t* ids, uint64_t count,
                                 bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    if (count != 0) BP_TRY(require(ids, "ids"));
    return session->session->feed_tokens({ids, count});
  });
}

bp_status bp_session_feed_text(bp_session* session, const char* text, uint64_t length,
                               uint32_t flags, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    const auto bytes = BP_TRY(bp::capi::read_text(text, length, "text"));
    return session->session->feed_text(bytes, (flags & BP_TEXT_NO_BOS) != 0,
                                       (flags & BP_TEXT_PARSE_SPECIAL) != 0);
  });
}

bp_status bp_session_feed_chat(bp_session* session, const bp_chat_request* request,
                               uint64_t* reused, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    bp::ChatInputs inputs = BP_TRY(bp::capi::chat_inputs_of(request));
    const uint64_t kept = BP_TRY(session->session->feed_chat(std::move(inputs)));
    if (reused != nullptr) *reused = kept;
    return {};
  });
}

uint64_t bp_session_position(const bp_session* session) {
  return session == nullptr ? 0 : session->session->position();
}

uint64_t bp_session_capacity(const bp_session* session) {
  return session == nullptr ? 0 : session->session->capacity();
}

bp_status bp_session_tokens(const bp_session* session, const int32_t** ids, uint64_t* count,
                            bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    BP_TRY(require(ids, "ids"));
    BP_TRY(require(count, "count"));
    *ids = session->session->tokens().data();
    *count = session->session->tokens().size();
    return {};
  });
}

bp_status bp_session_rewind(bp_session* session, uint64_t keep, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    return session->session->rewind(keep);
  });
}

bp_status bp_session_logits(const bp_session* session, const float** logits, uint64_t* count,
                            bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    BP_TRY(require(logits, "logits"));
    BP_TRY(require(count, "count"));
    const auto values = session->session->logits();
    if (values.empty()) {
      return bp::error(bp::Code::kFailedPrecondition,
                       "the last token has not been run: feed "
                       "tokens or generate first");
    }
    *logits = values.data();
    *count = values.size();
    return {};
  });
}

bp_status bp_session_evaluate(bp_session* session, const int32_t* ids, uint64_t count,
                              bp_logits_fn fn, void* user, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    BP_TRY(require(reinterpret_cast<const void*>(fn), "fn"));
    if (count != 0) BP_TRY(require(ids, "ids"));
    return session->session->evaluate(
        {ids, count}, [&](uint64_t position, std::span<const float> logits) {
          return fn(user, position, logits.data(), logits.size()) == 0;
        });
  });
}

void bp_session_cancel(bp_session* session) {
  if (session != nullptr) session->session->cancel();
}

bp_status bp_session_describe(const bp_session* session, bp_session_stats* out, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    const bp::SessionStats& stats = session->session->stats();
    const bp::BoundPlan& plan = session->session->execution().plan();
    bp_session_stats filled{};
    filled.launches_per_token = session->session->execution().launches();
    filled.prompt_tokens = stats.prompt_tokens;
    filled.prompt_ns = stats.prompt_ns;
    filled.generated_tokens = stats.generated_tokens;
    filled.generated_ns = stats.generated_ns;
    filled.prepare_ns = stats.prepare_ns;
    filled.fallback_steps = plan.fallback_count();
    filled.steps = static_cast<uint32_t>(plan.placements().size());
    filled.device = bp::capi::view(session->device);
    return bp::capi::write_output(out, filled);
  });
}

bp_status bp_session_measure_read(bp_session* session, double* bytes_per_second, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    BP_TRY(require(bytes_per_second, "bytes_per_second"));
    bp::Device& device = *session->session->execution().plan().devices().front();
    *bytes_per_second = BP_TRY(bp::measure_read_bandwidth(device));
    return {};
  });
}

bp_status bp_session_explain(const bp_session* session, bp_text_fn fn, void* user,
                             bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    BP_TRY(require(reinterpret_cast<const void*>(fn), "fn"));
    const bp::BoundPlan& plan = session->session->execution().plan();
    for (size_t i = 0; i < plan.placements().size(); ++i) {
      const bp_op& op = plan.flat().ops()[i];
      const bp::StepPlacement& placement = plan.placements()[i];
      const std::string layer = op.layer < 0 ? "-" : std::to_string(op.layer);
      std::string line = fmt::format("{:5} {:>4} {:<16} {:<10} {}: {}", i, layer,
                                     std::string_view(op.name.data, op.name.length),
                                     plan.devices()[placement.device]->id(),
                                     placement.provider->id(), placement.variant);
      if (!placement.fallback.empty()) line += " (fallback: " + placement.fallback + ")";
      fn(user, line.data(), line.size());
    }
    return {};
  });
}

}  // extern "C"
