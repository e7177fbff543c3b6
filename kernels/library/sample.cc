// SPDX-License-Identifier: Apache-2.0
// Argmax and the k largest of a row.
#include "kernels/library/sample.h"

#include <algorithm>

#include "kernels/builder/builder.h"
#include "kernels/library/largest.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxColumns = 1u << 24;
constexpr uint32_t kMinusInfinity = 0xff800000u;

bool valid_threads(uint32_t threads) {
  return is_power_of_two(threads) && threads <= kMaxThreads;
}

uint32_t divide_up(uint32_t a, uint32_t b) {
  return (a + b - 1) / b;
}

Status check(const TopKSpec& s, const TopKSchedule& d) {
  if (s.columns == 0 || s.columns > kMaxColumns || s.count == 0 || s.count > kMaxTopK ||
      s.count > s.columns) {
    return error(Code::kInvalidArgument, "top {} of {}: 1 to {} of 1 to {} columns", s.count,
                 s.columns, kMaxTopK, kMaxColumns);
  }
  if (!valid_threads(d.threads) || d.threads < s.count || d.held == 0 ||
      d.held > Largest::kMaxHeld) {
    return error(Code::kInvalidArgument,
                 "top {} of {}: no schedule with {} threads that hold {} elements", s.count,
                 s.columns, d.threads, d.held);
  }
  return {};
}

// Takes `count` from `largest`; thread i keeps and stores the i-th, at `first` + i.
void store_taken(Builder& k, Largest& largest, uint32_t count, Buf values, Buf ids, Val first) {
  const Val t = k.tid();
  const Var key = k.var(0u), id = k.var(0u);
  k.loop(0, count, 1, [&](Val slot) {
    const Largest::Taken next = largest.take();
    key.set(select(t == slot, next.key, key));
    id.set(select(t == slot, next.id, id));
  });
  k.when(t < count, [&] {
    const Val none = key.get() == 0;
    const Val value = select(none, k.constant(Kind::kF32, kMinusInfinity), number_of_key(key));
    values.store(first + t, value);
    ids.store(first + t, select(none, ~0u, id));
  });
}

}  // namespace

Result<Kernel> build_argmax(uint32_t columns, uint32_t threads) {
  if (columns == 0 || columns > kMaxColumns || !valid_threads(threads)) {
    return error(Code::kInvalidArgument, "argmax over {} with {} threads: no such kernel", columns,
                 threads);
  }
  Builder k("argmax", threads);
  Buf x = k.in("x"), y = k.out("y");
  const Val row = k.group_x() * columns, t = k.tid();
  const Var best = k.var(k.constant(Kind::kF32, kMinusInfinity)),
            at = k.var(k.constant(Kind::kU32, ~0u));
  k.loop(t, columns, threads, [&](Val i) {
    const Val v = x.f32(row + i);
    // The first of a thread's elements that is not NaN also wins as -infinity.
    k.when((v > best) | ((at == ~0u) & (v == best)), [&] {
      best.set(v);
      at.set(i);
    });
  });
  const Val largest = k.max_of(best, threads);
  const Val index =
      k.min_of(select(best.get() == largest, at, k.constant(Kind::kU32, ~0u)), threads);
  k.when(t == 0, [&] { y.store(k.group_x(), select(index < columns, index, 0)); });
  return k.finish();
}

TopKSchedule default_schedule(const TopKSpec& spec, const Caps& caps) {
  TopKSchedule d;
  d.threads = std::min<uint32_t>(d.threads, caps.max_threads);
  // Larger parts where the second stage would have more candidates than half of what it can hold.
  while (d.held < Largest::kMaxHeld &&
         top_k_parts(spec, d) * spec.count > d.threads * Largest::kMaxHeld / 2) {
    d.held *= 2;
  }
  return d;
}

uint32_t top_k_parts(const TopKSpec& spec, const TopKSchedule& schedule) {
  const uint32_t part = schedule.threads * schedule.held;
  return part == 0 ? 0 : divide_up(spec.columns, part);
}

Result<Kernel> build_top_k(const TopKSpec& spec, const TopKSchedule& schedule) {
  BP_TRY(check(spec, schedule));
  const uint32_t threads = schedule.threads, held = schedule.held, columns = spec.columns;
  const uint32_t parts = top_k_parts(spec, schedule);
  Builder k("top_k", threads);
  Buf x = k.in("x"), values = k.out("values"), ids = k.out("ids");
  const Val part = k.group_x(), row = k.group_y();
  Largest largest(&k);
  for (uint32_t i = 0; i < held && (parts > 1 || i * threads < columns); ++i) {
    // Threads past the end hold the last element too; it is taken once.
    const Val column = min(part * (threads * held) + (k.tid() + i * threads), columns - 1);
    largest.add(order_key(x.f32(row * columns + column)), column);
  }
  store_taken(k, largest, spec.count, values, ids, (row * parts + part) * spec.count);
  return k.finish();
}

Result<Kernel> build_top_k_join(const TopKSpec& spec, const TopKSchedule& schedule) {
  BP_TRY(check(spec, schedule));
  const uint32_t threads = schedule.threads;
  const uint32_t candidates = top_k_parts(spec, schedule) * spec.count;
  if (divide_up(candidates, threads) > Largest::kMaxHeld) {
    return error(Code::kInvalidArgument,
                 "top {} of {}: {} threads cannot hold the {} candidates of the parts", spec.count,
                 spec.columns, threads, candidates);
  }
  Builder k("top_k_join", threads);
  Buf x = k.in("part_values"), x_ids = k.in("part_ids");
  Buf values = k.out("values"), ids = k.out("ids");
  const Val row = k.group_x();
  Largest largest(&k);
  // Among equal values ids grow with the candidate's number: parts, and within them slots, are in
  // that order.
  for (uint32_t i = 0; i < divide_up(candidates, threads); ++i) {
    const Val at = row * candidates + min(k.tid() + i * threads, candidates - 1);
    const Val id = x_ids.u32(at);
    largest.add(select(id != ~0u, order_key(x.f32(at)), 0u), id);
  }
  store_taken(k, largest, spec.count, values, ids, row * spec.count);
  return k.finish();
}

}  // namespace bp::kernels
