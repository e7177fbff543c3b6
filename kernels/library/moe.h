// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts (ops moe_route, moe_linear_glu and moe_linear of docs/ops.md), for any number
// of tokens: each workgroup multiplies a tile of rows of the experts that its token uses. Sums over
// experts stay in one workgroup, in order of their slots, so results are the same in every run.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"
#include "kernels/library/gemv.h"

namespace bp::kernels {

inline constexpr uint32_t kMaxExperts = 1u << 12;

struct MoeRouteSpec {
  uint32_t experts = 0;  // E
  uint32_t used = 0;     // k, no more than E and 64
  bool normalize = false;
};
// Threads of a workgroup, one a token.
uint32_t moe_route_threads(const MoeRouteSpec& spec, const Caps& caps);

// Launch on grid (T, 1). Buffers: logits [T, E] f32; ids [T, k] i32; weights [T, k] f32.
// The order is that of the logits, ties: lowest id first.
Result<Kernel> build_moe_route(const MoeRouteSpec& spec, uint32_t threads);

struct MoeLinearSpec {
  std::string format = "q4_g32";              // of the experts' weights
  bool int8 = false;                          // as in GemvSpec
  uint32_t experts = 0;                       // E
  uint32_t used = 0;                          // k
  uint32_t rows = 0;                          // moe_linear: N; moe_linear_glu: F
  uint32_t columns = 0;                       // moe_linear: F; moe_linear_glu: K
  bool glu = false;                           // moe_linear_glu, else moe_linear
  bool separate_up = false;                   // with `glu`: gate and up are two tensors [E, F, K]
  Activation activation = Activation::kNone;  // with `glu`
  bool residual = false;                      // without `glu`
  bool residual_in_place = false;             // y is also the residual
};
GemvSchedule default_schedule(const MoeLinearSpec& spec, const Caps& caps);

// Workgroups in x. In y there are T × k of them with `glu`, else T; no more than a device allows.
uint32_t moe_linear_groups(const MoeLinearSpec& spec, const GemvSchedule& schedule);

// Whether the device can bind each plane of all experts at once, as the kernel needs, and the
// buffers are no more than it has: INVALID_ARGUMENT that says which limit, where it cannot.
Status check_moe_linear(const MoeLinearSpec& spec, const Caps& caps);

// Buffers in order: the weight's planes; the planes of up (separate_up); x f32 ([T, K], or without
// `glu` [T, k, F]), or x_int8 and x_scales; ids [T, k] i32; without `glu`: weights [T, k] f32;
// residual [T, N]; y f32, [T, k, F] or [T, N]. No params. Ids outside [0, E) read the last expert.
Result<Kernel> build_moe_linear(const MoeLinearSpec& spec, const GemvSchedule& schedule);

}  // namespace bp::kernels
