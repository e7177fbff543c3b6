// SPDX-License-Identifier: Apache-2.0
// The slot of bp.tune/1.
#include "kernels/plugin/tuner.h"

namespace bp::kernels {

BP_PLUGIN_HANDLE(bp_target, Target)

namespace {

// Marks a target as being tuned while it exists.
class Tuning {
 public:
  explicit Tuning(Target* target) : target_(target), is_first_(!target->is_tuning.exchange(true)) {}
  ~Tuning() {
    if (is_first_) target_->is_tuning = false;
  }
  Tuning(const Tuning&) = delete;
  Tuning& operator=(const Tuning&) = delete;
  bool is_first() const noexcept { return is_first_; }

 private:
  Target* target_;
  bool is_first_;
};

bp_status tune_slot(bp_target* handle, const bp_op* ops, uint64_t op_stride, uint32_t op_count,
                    const uint32_t* chosen, const bp_symbol_range* symbols, uint32_t symbol_count,
                    const bp_tuner_request* request, bp_tuner_totals* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Target* const target = unwrap(handle);
    const Tuning tuning(target);
    if (!tuning.is_first()) {
      return glue::fail(error, BP_FAILED_PRECONDITION, "the device is being tuned already");
    }
    const bp_tuner_request read = glue::read_struct(request);
    const auto totals =
        tune(target, tunables_of(target, ops, op_stride, op_count, chosen, {symbols, symbol_count}),
             read);
    if (!totals.ok()) return report(totals.status(), error);
    glue::write_struct(out, *totals);
    return BP_OK;
  });
}

}  // namespace

const bp_tune_api kTuneApi = {sizeof(bp_tune_api), 0, tune_slot};

}  // namespace bp::kernels
