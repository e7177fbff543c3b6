// SPDX-License-Identifier: Apache-2.0
// Generation: options in, events out.
#include "core/capi/boundary.h"
#include "core/capi/handles.h"

namespace {

using bp::capi::guard;
using bp::capi::require;

bp_generate_options defaults_of(const bp::Model& model) {
  bp_generate_options options = BP_GENERATE_OPTIONS_INIT;
  const bp::SamplingOptions own = model.sampling_defaults();
  options.temperature = own.temperature;
  options.top_k = own.top_k;
  options.top_p = own.top_p;
  options.min_p = own.min_p;
  options.repetition_penalty = own.repetition_penalty;
  return options;
}

bp::Result<bp::GenerateOptions> options_of(const bp_generate_options* given,
                                           const bp::Model& model) {
  const bp_generate_options read = BP_TRY(bp::capi::read_options(given, defaults_of(model)));
  bp::GenerateOptions options;
  options.max_tokens = read.max_tokens;
  options.ignore_eos = read.ignore_eos != 0;
  bp::SamplingOptions& sampling = options.sampling;
  sampling.temperature = read.temperature;
  sampling.top_k = read.top_k;
  sampling.top_p = read.top_p;
  sampling.min_p = read.min_p;
  sampling.repetition_penalty = read.repetition_penalty;
  sampling.presence_penalty = read.presence_penalty;
  sampling.frequency_penalty = read.frequency_penalty;
  sampling.penalty_window = read.penalty_window;
  sampling.seed = read.seed;
  constexpr uint64_t kMaxStops = 1024, kMaxBiases = 1 << 20;
  if (read.stop_count > kMaxStops || read.bias_count > kMaxBiases) {
    return bp::error(bp::Code::kInvalidArgument, "{} stop texts and {} biases; at most {} and {}",
                     read.stop_count, read.bias_count, kMaxStops, kMaxBiases);
  }
  if (read.stop_count != 0) BP_TRY(require(read.stop, "stop"));
  for (uint64_t i = 0; i < read.stop_count; ++i) {
    options.stop.emplace_back(
        BP_TRY(bp::capi::read_text(read.stop[i].data, read.stop[i].length, "a stop text")));
  }
  if (read.bias_count != 0) BP_TRY(require(read.bias, "bias"));
  for (uint64_t i = 0; i < read.bias_count; ++i) {
    sampling.logit_bias.emplace_back(read.bias[i].id, read.bias[i].bias);
  }
  return options;
}

bp_event event_of(const bp::Event& event) {
  bp_event out = BP_EVENT_INIT;
  out.finish = static_cast<int32_t>(event.finish);
  out.token_id = event.token_id;
  out.text = bp::capi::view(event.text);
  return out;
}

}  // namespace

extern "C" {

bp_status bp_model_generate_defaults(const bp_model* model, bp_generate_options* out,
                                     bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(model, "model"));
    return bp::capi::write_output(out, defaults_of(*model->model));
  });
}

bp_status bp_session_begin(bp_session* session, const bp_generate_options* options,
                           bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    return session->session->begin(BP_TRY(options_of(options, session->session->model())));
  });
}

bp_status bp_session_next(bp_session* session, bp_event* event, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    BP_TRY(require(event, "event"));
    const bp::Event* next = BP_TRY(session->session->next());
    return bp::capi::write_output(event, event_of(*next));
  });
}

bp_status bp_session_generate(bp_session* session, const bp_generate_options* options,
                              bp_event_fn fn, void* user, int32_t* finish, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(require(session, "session"));
    BP_TRY(session->session->begin(BP_TRY(options_of(options, session->session->model()))));
    for (;;) {
      const bp::Event* next = BP_TRY(session->session->next());
      if (finish != nullptr) *finish = static_cast<int32_t>(next->finish);
      const bool over = next->finish != bp::Finish::kNone;
      const bp_event event = event_of(*next);
      if (fn != nullptr && fn(user, &event) != 0 && !over) session->session->cancel();
      if (over) return {};
    }
  });
}

}  // extern "C"
