// SPDX-License-Identifier: Apache-2.0
#include "model_format/verify.h"

#include <new>

#include "model_format/layout.h"
#include "model_format/verify_parts.h"

namespace bp {
namespace {

// Model → Plan → Step → Attribute → value is the deepest chain of tables.
constexpr flatbuffers::uoffset_t kMaxTableDepth = 8;

Status check_plan(const fb::Model& model) {
  if (model.plan() == nullptr) return error(Code::kCorrupt, "the model has no plan");
  verify::PlanContext context{model, *model.plan()};
  BP_TRY(verify::check_symbols(context));
  BP_TRY(verify::check_ropes(context));
  BP_TRY(verify::check_values(context));
  BP_TRY(verify::check_steps(context));
  return verify::check_arena(context);
}

Status verify_all(std::span<const std::byte> plan, uint64_t file_bytes, NameIndex* tensor_names) {
  if (plan.empty() || plan.size() > limits::kMaxPlanBytes ||
      reinterpret_cast<uintptr_t>(plan.data()) % alignof(uint64_t) != 0) {
    return error(Code::kCorrupt, "a FlatBuffer of {} bytes is empty, above {} or misaligned",
                 plan.size(), limits::kMaxPlanBytes);
  }
  flatbuffers::Verifier::Options options;
  options.max_depth = kMaxTableDepth;
  // A table and the offset that leads to it take 8 bytes at least. More visits than that mean
  // tables shared between parents, which no writer makes and which could make verifying slow.
  options.max_tables = static_cast<flatbuffers::uoffset_t>(plan.size() / 8 + 1);
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(plan.data()), plan.size(),
                                 options);
  if (!fb::VerifyModelBuffer(verifier)) {
    return error(Code::kCorrupt,
                 "the FlatBuffer is malformed: an offset, size or identifier in "
                 "it is wrong");
  }
  const fb::Model& model = *fb::GetModel(plan.data());
  if (model.format_version() != kModelFormatVersion) {
    return error(Code::kCorrupt, "header and model disagree on the format version ({} and {})",
                 kModelFormatVersion, model.format_version());
  }
  BP_TRY(verify::check_weights(model, plan.size(), file_bytes, tensor_names));
  BP_TRY(verify::check_descriptions(model));
  return check_plan(model).with_context("plan");
}

}  // namespace

uint64_t name_hash(std::string_view name) noexcept {  // FNV-1a, 64 bits
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

Status verify_model(std::span<const std::byte> plan, uint64_t file_bytes,
                    NameIndex* tensor_names) noexcept {
  try {
    return verify_all(plan, file_bytes, tensor_names);
  } catch (const std::bad_alloc&) {
    return error(Code::kExhausted, "no memory left while verifying the model");
  } catch (...) {
    return error(Code::kInternal, "an unexpected exception while verifying the model");
  }
}

}  // namespace bp
