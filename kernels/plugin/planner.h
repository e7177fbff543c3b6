// SPDX-License-Identifier: Apache-2.0
// From an op to its program: one function an op family. They run while a plan is matched, where
// they only build kernels, and again when an op is prepared; both times with the same result.
//
// The status of a failure says why the op cannot run here: the reason that the host reports.
#pragma once

#include <string>

#include "backplane/op_shapes.h"
#include "kernels/library/activation.h"
#include "kernels/plugin/placement.h"
#include "kernels/plugin/program.h"
#include "kernels/plugin/tunables.h"
#include "kernels/plugin/tuned_schedules.h"

namespace bp::kernels {

class VendorGemm;

class Planner {
 public:
  // `placement` is null for an op that stands alone, `vendor` where no library is to be used.
  Planner(const Device& device, CodeLibrary* library, const ops::Ranges& ranges,
          const Placement* placement, TunedSchedules* tuned, VendorGemm* vendor = nullptr)
      : device_(device),
        library_(library),
        ranges_(ranges),
        placement_(placement),
        tuned_(tuned),
        vendor_(vendor) {}

  const Device& device() const noexcept { return device_; }
  const Caps& caps() const noexcept { return device_.caps; }
  VendorGemm* vendor() const noexcept { return vendor_; }
  Result<DeviceKernel*> kernel(const std::string& key, const CodeLibrary::Build& build) {
    return library_->get(key, build);
  }
  // The schedule of a kernel, measured or standard, and the name of the kernel with it.
  template <class Schedule>
  struct Scheduled {
    Schedule schedule;
    std::string key;
  };
  template <class Schedule>
  Scheduled<Schedule> schedule(const Tunable& tunable) {
    if (collected_ != nullptr) collected_->push_back(tunable);
    const ScheduleValues values = tuned_->choose(tunable);
    return {schedule_of<Schedule>(values), TunedSchedules::code_key(tunable, values)};
  }
  // From now on also gathers what schedule() is asked for.
  void collect_into(std::vector<Tunable>* out) noexcept { collected_ = out; }
  // Largest value of a dimension while the kernel lives.
  Result<uint64_t> maximum(const bp_dim& dim) const;
  Result<uint64_t> typical(const bp_dim& dim) const;
  // Is this value, [tokens, columns], kept as int8 in small passes? Then *layout says where.
  bool is_int8(const ops::Operand& value, Int8Layout* layout) const;
  // Rows of a matrix in this format that one binding can hold, at most `rows`; FAILED_PRECONDITION
  // when not even one fits.
  Result<uint64_t> rows_at_once(const WeightFormat& format, uint64_t rows, uint64_t columns) const;

 private:
  const Device& device_;
  CodeLibrary* library_;
  const ops::Ranges& ranges_;
  const Placement* placement_;
  TunedSchedules* tuned_;
  VendorGemm* vendor_;
  std::vector<Tunable>* collected_ = nullptr;
};

// ---- pieces that the families share -------------------------------------------------------------

inline const WeightFormat& format_of(ops::Format format) {
  return kWeightFormats[static_cast<size_t>(format)];
}
Activation activation_of(ops::Activation activation);

// Adds the whole tensor of an input; the number of its first plane.
uint32_t use_whole(Program* program, uint32_t input, const WeightFormat& format, uint64_t elements);
inline Argument input(uint32_t slot) {
  return {Argument::kInput, slot, 0, 0};
}
inline Argument output(uint32_t slot) {
  return {Argument::kOutput, slot, 0, 0};
}
inline Argument weight(uint32_t plane) {
  return {Argument::kWeight, plane, 0, 0};
}
// The two parts of an int8 value that is an operand.
inline Argument quants(Argument operand, const Int8Layout& layout) {
  operand.bytes = layout.quants_bytes;
  return operand;
}
inline Argument scales(Argument operand, const Int8Layout& layout) {
  operand.offset = layout.scales_offset;
  operand.bytes = layout.scales_bytes;
  return operand;
}
// Floats [tokens, columns] that lie at `from` become the int8 value that is output 0.
Result<Launch> quantize_launch(const bp_dim& tokens, uint64_t columns, const Argument& from,
                               const Int8Layout& layout, Planner& planner);
// Bytes of the workspace that hold floats until they are quantized: for every op that may make an
// int8 value, whether or not the plan lets it.
uint64_t staging_bytes(const Device& device, uint64_t tokens, uint64_t columns);

// The param whose bits are those of a float.
Count float_bits(float value);

// ---- the families -------------------------------------------------------------------------------

Result<Program> plan_linear(const ops::Op& op, Planner& planner);
Result<Program> plan_linear_glu(const ops::Op& op, Planner& planner);
Result<Program> plan_embed(const ops::Op& op, Planner& planner);
Result<Program> plan_gather_rows(const ops::Op& op, Planner& planner);
Result<Program> plan_rms_norm(const ops::Op& op, Planner& planner);
Result<Program> plan_layer_norm(const ops::Op& op, Planner& planner);
Result<Program> plan_row_sums(const ops::Op& op, Planner& planner);
Result<Program> plan_rope_kv_write(const ops::Op& op, Planner& planner);
Result<Program> plan_attention(const ops::Op& op, Planner& planner);
Result<Program> plan_moe_route(const ops::Op& op, Planner& planner);
Result<Program> plan_moe_linear_glu(const ops::Op& op, Planner& planner);
Result<Program> plan_moe_linear(const ops::Op& op, Planner& planner);

// The function for an op by name; UNIMPLEMENTED for a name that is not known. Also checks what is
// the same for all: that the device can bind every operand at its largest.
Result<Program> plan_op(const ops::Op& op, Planner& planner);

// Fills a shape struct of op_shapes.h.
template <class Shape>
Result<Shape> read_shape(const ops::Op& op) {
  Shape shape;
  ops::Reason reason;
  if (shape.read(op, reason)) return shape;
  return error(Code::kUnimplemented, "{}", reason.text());
}

}  // namespace bp::kernels
