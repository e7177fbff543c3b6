// SPDX-License-Identifier: Apache-2.0
// Tuning.
#include "core/capi/boundary.h"
#include "core/capi/handles.h"

namespace {

constexpr bp_tune_options kDefaults = BP_TUNE_OPTIONS_INIT;

void tell(const bp_tune_options& options, const bp::TunedKernel& from) {
  bp_tune_kernel kernel{};
  kernel.size = sizeof kernel;
  kernel.uses = from.uses;
  kernel.tokens = from.tokens;
  kernel.tried = from.tried;
  kernel.rejected = from.rejected;
  kernel.is_known = from.is_known ? 1 : 0;
  kernel.is_changed = from.is_changed ? 1 : 0;
  kernel.is_unsaved = from.is_unsaved ? 1 : 0;
  kernel.default_ns = from.default_ns;
  kernel.tuned_ns = from.tuned_ns;
  kernel.device = bp::capi::view(from.device);
  kernel.name = bp::capi::view(from.name);
  kernel.schedule = bp::capi::view(from.schedule);
  options.kernel(options.user, &kernel);
}

}  // namespace

extern "C" {

bp_status bp_model_tune(bp_model* model, const bp_session_options* options,
                        const bp_tune_options* tuning, bp_tune_report* out, bp_error* error) {
  return bp::capi::guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(model, "model"));
    BP_TRY(bp::capi::require(out, "out"));
    const auto session = BP_TRY(bp::capi::session_options_of(options));
    const bp_tune_options read = BP_TRY(bp::capi::read_options(tuning, kDefaults));
    bp::TuneOptions wanted;
    wanted.candidates = read.candidates;
    wanted.again = read.again != 0;
    if (read.progress != nullptr) {
      wanted.progress = [&](uint64_t done, uint64_t total, std::string_view what) {
        return read.progress(read.user, done, total, what.data(), what.size()) == 0;
      };
    }
    if (read.kernel != nullptr) {
      wanted.kernel = [&](const bp::TunedKernel& kernel) { tell(read, kernel); };
    }
    const bp::TuneReport report = BP_TRY(model->model->tune(session, wanted));
    bp_tune_report filled{};
    filled.kernels = report.kernels;
    filled.measured = report.measured;
    filled.changed = report.changed;
    filled.failed = report.failed;
    filled.is_stopped = report.is_stopped ? 1 : 0;
    filled.token_default_ns = report.token_default_ns;
    filled.token_tuned_ns = report.token_tuned_ns;
    filled.prompt_default_ns = report.prompt_default_ns;
    filled.prompt_tuned_ns = report.prompt_tuned_ns;
    filled.device = bp::capi::keep(report.device);
    return bp::capi::write_output(out, filled);
  });
}

}  // extern "C"
