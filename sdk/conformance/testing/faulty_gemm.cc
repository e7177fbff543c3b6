// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/testing/faulty_gemm.h"

#include <cstring>

#include "backplane/float16.h"
#include "plugins/cpu/memory.h"

namespace bp::cpu {
namespace {

constexpr uint64_t kMaxExtent = 1u << 20;

bool (*has)(std::string_view fault) = nullptr;

const bp_gemm_shape& shape_of(const bp_gemm* gemm) {
  return *reinterpret_cast<const bp_gemm_shape*>(gemm);
}

bp_status describe(bp_device*, bp_gemm_info* out, bp_error*) {
  bp_gemm_info info{};
  info.size = sizeof info;
  glue::copy_text(info.library, sizeof info.library, "plain loops");
  glue::write_struct(out, info);
  return BP_OK;
}

bp_status prepare(bp_device*, const bp_gemm_shape* given, bp_gemm** out, bp_error* error) {
  *out = nullptr;
  const bp_gemm_shape s = glue::read_struct(given);
  const auto extent = [](uint64_t value) { return value != 0 && value <= kMaxExtent; };
  const bool sound = extent(s.tokens) && extent(s.rows) && extent(s.columns) &&
                     s.x_stride >= s.columns && s.w_stride >= s.columns && s.y_stride >= s.rows &&
                     (s.y_type == BP_GEMM_F32 || s.y_type == BP_GEMM_F16);
  if (!sound && !has("multiplies_anything")) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "no such product");
  }
  *out = reinterpret_cast<bp_gemm*>(new bp_gemm_shape(s));
  return BP_OK;
}

bp_status workspace(bp_gemm*, uint64_t* bytes, bp_error*) {
  *bytes = 0;
  return BP_OK;
}

bool fits(const bp_launch_buffer& at, uint64_t rows, uint64_t columns, uint64_t stride,
          uint64_t element) {
  return range_fits(unwrap(at.buffer), at.offset, at.bytes) &&
         ((rows - 1) * stride + columns) * element <= at.bytes;
}

float half_at(const bp_launch_buffer& at, uint64_t index) {
  uint16_t half = 0;
  std::memcpy(&half, unwrap(at.buffer)->data + at.offset + index * sizeof half, sizeof half);
  return f16_to_f32(half);
}

void store(const bp_gemm_shape& s, const bp_launch_buffer& y, uint64_t index, float sum) {
  std::byte* const at =
      unwrap(y.buffer)->data + y.offset + index * (s.y_type == BP_GEMM_F16 ? 2 : 4);
  if (s.y_type == BP_GEMM_F16) {
    if (s.accumulate != 0) sum += half_at(y, index);
    const uint16_t half = f32_to_f16(sum);
    std::memcpy(at, &half, sizeof half);
    return;
  }
  float before = 0;
  std::memcpy(&before, at, sizeof before);
  if (s.accumulate != 0) sum += before;
  std::memcpy(at, &sum, sizeof sum);
}

// Streams of the CPU plugin run what they are given at once.
bp_status enqueue(bp_gemm* gemm, bp_stream*, const bp_gemm_launch* given, bp_error* error) {
  const bp_gemm_shape& s = shape_of(gemm);
  const bp_gemm_launch launch = glue::read_struct(given);
  if (launch.tokens == 0) return BP_OK;
  if (launch.tokens > s.tokens || !fits(launch.x, launch.tokens, s.columns, s.x_stride, 2) ||
      !fits(launch.w, s.rows, s.columns, s.w_stride, 2) ||
      !fits(launch.y, launch.tokens, s.rows, s.y_stride, s.y_type == BP_GEMM_F16 ? 2 : 4)) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "a launch that does not fit");
  }
  const uint64_t tokens = has("multiplies_all_tokens") ? s.tokens : launch.tokens;
  const uint64_t rows = has("forgets_gemm_strides") ? s.y_stride : s.rows;
  for (uint64_t t = 0; t < tokens; ++t) {
    for (uint64_t n = 0; n < rows; ++n) {
      float sum = has("returns_wrong_numbers") ? 0.25f : 0.0f;
      for (uint64_t k = 0; k < s.columns; ++k) {
        sum += half_at(launch.x, t * s.x_stride + k) *
               half_at(launch.w, (n < s.rows ? n : 0) * s.w_stride + k);
      }
      store(s, launch.y, t * s.y_stride + n, sum);
    }
  }
  return BP_OK;
}

bp_status release(bp_gemm* gemm, bp_error*) {
  delete reinterpret_cast<bp_gemm_shape*>(gemm);
  return BP_OK;
}

}  // namespace

const bp_gemm_api* faulty_gemm(bool (*chosen)(std::string_view fault)) {
  has = chosen;
  static constexpr bp_gemm_api kTable = {
      sizeof(bp_gemm_api), 0, describe, prepare, workspace, enqueue, release,
  };
  return &kTable;
}

}  // namespace bp::cpu
