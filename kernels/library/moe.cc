// SPDX-License-Identifier: Apache-2.0
// Routing, and products with chosen experts on the machinery of gemv.cc.
#include "kernels/library/moe.h"

#include <algorithm>

#include "backplane/formats.h"
#include "kernels/builder/builder.h"
#include "kernels/library/largest.h"
#include "kernels/library/weights.h"

namespace bp::kernels {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr uint32_t kMaxUsed = 64;
constexpr uint32_t kMinusInfinity = 0xff800000u;

GemvSpec gemv_of(const MoeLinearSpec& s) {
  return {.format = s.format,
          .int8 = s.int8,
          .rows = s.rows,
          .columns = s.columns,
          .glu = s.glu,
          .separate_up = s.separate_up,
          .residual = s.residual,
          .residual_in_place = s.residual_in_place,
          .activation = s.activation,
          .experts = {.count = s.experts, .used = s.used, .sum = !s.glu}};
}

}  // namespace

uint32_t moe_route_threads(const MoeRouteSpec& spec, const Caps& caps) {
  uint32_t threads = std::max(kMaxUsed, caps.subgroup_size);
  while (threads * 4 < spec.experts && threads * 2 <= std::min(caps.max_threads, kMaxThreads))
    threads *= 2;
  return threads;
}

Result<Kernel> build_moe_route(const MoeRouteSpec& spec, uint32_t threads) {
  const uint32_t n = spec.experts, used = spec.used;
  if (n == 0 || n > kMaxExperts || used == 0 || used > n || used > kMaxUsed) {
    return error(Code::kInvalidArgument, "moe_route of {} experts to {}: 1 to {} of 1 to {}", n,
                 used, kMaxUsed, kMaxExperts);
  }
  if (!is_power_of_two(threads) || threads > kMaxThreads || threads < used ||
      (n + threads - 1) / threads > Largest::kMaxHeld) {
    return error(Code::kInvalidArgument, "moe_route of {} experts to {} with {} threads: too few",
                 n, used, threads);
  }
  Builder k("moe_route", threads);
  Buf logits = k.in("logits"), ids = k.out("ids"), weights = k.out("weights");
  const Val token = k.group_x(), t = k.tid();
  Largest largest(&k);
  std::vector<Val> x;
  std::vector<Val> present;
  for (uint32_t i = 0; i * threads < n; ++i) {
    // Threads past the end hold the last logit too; it is taken once.
    const Val id = min(t + i * threads, n - 1);
    present.push_back(t + i * threads < n);
    x.push_back(logits.f32(token * n + id));
    largest.add(order_key(x[i]), id);
  }
  const Var mine = k.var(0.0f), my_id = k.var(0u),
            top = k.var(k.constant(Kind::kF32, kMinusInfinity));
  k.loop(0, used, 1, [&](Val slot) {
    const Largest::Taken next = largest.take();
    const Val logit = number_of_key(next.key);
    top.set(max(top, logit));
    mine.set(select(t == slot, logit, mine));
    my_id.set(select(t == slot, next.id, my_id));
  });
  const Val share = select(t < used, exp2((mine - top) * kLog2E), 0.0f);
  Val total = share;  // of those chosen, or of all
  if (!spec.normalize) {
    for (size_t i = 0; i < x.size(); ++i) {
      const Val e = select(present[i], exp2((x[i] - top) * kLog2E), 0.0f);
      total = i == 0 ? e : total + e;
    }
  }
  total = k.sum(total, threads);
  k.when(t < used, [&] {
    ids.store(token * used + t, my_id);
    weights.store(token * used + t, share / total);
  });
  return k.finish();
}

GemvSchedule default_schedule(const MoeLinearSpec& spec, const Caps& caps) {
  return default_schedule(gemv_of(spec), caps);
}

uint32_t moe_linear_groups(const MoeLinearSpec& spec, const GemvSchedule& schedule) {
  return gemv_groups(gemv_of(spec), schedule);
}

Status check_moe_linear(const MoeLinearSpec& spec, const Caps& caps) {
  const GemvSchedule d = default_schedule(spec, caps);
  const Kernel kernel = BP_TRY(build_moe_linear(spec, d));  // refuses shapes beyond 32-bit indices
  if (kernel.buffers.size() > caps.max_buffers) {
    return error(Code::kInvalidArgument, "{} {}: {} buffers, and '{}' binds {}", kernel.name,
                 spec.format, kernel.buffers.size(), caps.name, caps.max_buffers);
  }
  const WeightFormat& format = *find_weight_format(spec.format);
  const uint64_t matrices = uint64_t{spec.experts} * (spec.glu && !spec.separate_up ? 2 : 1);
  const uint64_t blocks = matrices * spec.rows * (spec.columns / format.block_elements);
  for (uint32_t i = 0; i < format.plane_count; ++i) {
    const uint64_t plane_bytes = blocks * format.planes[i].bytes_per_block;
    if (plane_bytes > caps.max_buffer_range_bytes) {
      return error(Code::kInvalidArgument,
                   "{} {} [{}, {}, {}]: plane '{}' has {} bytes, and '{}' binds {} at once",
                   kernel.name, spec.format, spec.experts, spec.rows, spec.columns,
                   format.planes[i].name, plane_bytes, caps.name, caps.max_buffer_range_bytes);
    }
  }
  return {};
}

Result<Kernel> build_moe_linear(const MoeLinearSpec& spec, const GemvSchedule& schedule) {
  if (spec.experts == 0 || spec.experts > kMaxExperts || spec.used == 0 ||
      spec.used > spec.experts || spec.used > kMaxUsed) {
    return error(Code::kInvalidArgument, "moe_linear with {} of {} experts: 1 to {} of 1 to {}",
                 spec.used, spec.experts, kMaxUsed, kMaxExperts);
  }
  if (spec.glu ? spec.residual : spec.activation != Activation::kNone) {
    return error(Code::kInvalidArgument,
                 "moe_linear: an activation goes with 'glu', a residual without");
  }
  return build_gemv(gemv_of(spec), schedule);
}

}  // namespace bp::kernels
