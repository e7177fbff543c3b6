// SPDX-License-Identifier: Apache-2.0
// Norms and activation quantization.
#include "kernels/library/norm.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "kernels/builder/builder.h"
#include "kernels/library/quantize.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxHeldVectors =
    16;  // of a row in a thread's registers; longer rows read twice
constexpr uint32_t kMaxWidth = 1u << 20;

const char* name_of(const NormSpec& spec) {
  return !spec.normalize ? "quantize" : spec.center ? "layer_norm" : "rms_norm";
}

class NormBuilder {
 public:
  NormBuilder(const NormSpec& spec, uint32_t threads)
      : s_(spec), threads_(threads), k_(name_of(spec), threads) {
    lanes_ = s_.width % 4 == 0 ? 4 : s_.width % 2 == 0 ? 2 : 1;
    vectors_ = s_.width / lanes_;
    rounds_ = (vectors_ + threads - 1) / threads;
  }

  Result<Kernel> build() {
    x_ = k_.in("x");
    if (s_.normalize) gain_ = k_.in("gain");
    if (s_.bias) bias_ = k_.in("bias");
    const bool in_place = s_.residual && s_.residual_in_place;
    if (s_.residual && !in_place) residual_ = k_.in("residual");
    if (s_.write_f32) y_ = in_place ? k_.in_out("y") : k_.out("y");

    if (s_.write_int8) {
      quants_ = k_.out("y_int8");
      scales_ = k_.out("y_scales");
    }
    t_ = k_.tid();
    row_ = k_.group_x() * vectors_;
    const bool held = rounds_ <= kMaxHeldVectors;
    if (s_.normalize) measure(held);
    if (held) {
      for (uint32_t i = 0; i < rounds_; ++i) finish_vector(t_ + i * threads_, i);
    } else {
      k_.loop(0, rounds_, 1, [&](Val i) { finish_vector(t_ + i * threads_, kSomeRound); });
    }
    return k_.finish();
  }

 private:
  // Does every thread of this round have a vector inside the row? Past its end the last vector is
  // read instead, and not used. kSomeRound: a round that is not known while building.
  static constexpr uint32_t kSomeRound = ~0u;
  bool inside(uint32_t round) const {
    return vectors_ % threads_ == 0 || (round != kSomeRound && (round + 1) * threads_ <= vectors_);
  }
  Val place(Val c, uint32_t round) const { return inside(round) ? c : min(c, vectors_ - 1); }
  Val load(Buf b, Val c) const {
    return lanes_ == 4 ? b.f32x4(c) : lanes_ == 2 ? b.f32x2(c) : b.f32(c);
  }

  // The mean over the row of what `add` gives: add(vector, sum) is the sum with the vector in it.
  Val mean(const std::function<Val(Val, Val)>& add) {
    const auto with = [&](Val c, uint32_t round, Val v, Val sum) {
      const Val more = add(v, sum);
      return inside(round) ? more : select(c < vectors_, more, sum);
    };
    Val total;
    if (!held_.empty()) {
      total = k_.constant(Kind::kF32, 0);
      for (uint32_t i = 0; i < rounds_; ++i) total = with(t_ + i * threads_, i, held_[i], total);
    } else {
      const Var sum = k_.var(0.0f);
      k_.loop(0, rounds_, 1, [&](Val i) {
        const Val c = t_ + i * threads_;
        sum.set(with(c, kSomeRound, load(x_, row_ + place(c, kSomeRound)), sum));
      });
      total = sum;
    }
    return k_.sum(total, threads_) * (1.0f / static_cast<float>(s_.width));
  }

  // The variance from the mean, not from sums of squares, which cancel where the mean is large.
  void measure(bool held) {
    const Val eps = k_.param_f32("eps");
    for (uint32_t i = 0; held && i < rounds_; ++i) {
      held_.push_back(load(x_, row_ + place(t_ + i * threads_, i)));
    }
    if (s_.center) {
      mean_ = mean([](const Val& v, const Val& sum) { return sum + sum_lanes(v); });
    }
    const Val squares = mean([&](const Val& v, const Val& sum) {
      const Val from_mean = s_.center ? v - mean_ : v;
      return dot(from_mean, from_mean, sum);
    });
    scale_ = rsqrt(squares + eps);
  }

  void finish_vector(Val c, uint32_t round) {
    Val v = round < held_.size() ? held_[round] : load(x_, row_ + place(c, round));
    if (s_.center) v = v - mean_;
    if (s_.normalize) v = v * scale_ * load(gain_, place(c, round));
    if (s_.bias) v = v + load(bias_, place(c, round));
    if (s_.residual && !s_.residual_in_place) v = v + load(residual_, row_ + place(c, round));
    if (s_.write_f32) {
      // In place, a thread reads nothing but what it writes.
      guarded(c, round, [&] {
        y_.store(row_ + c, s_.residual && s_.residual_in_place ? v + load(y_, row_ + c) : v);
      });
    }
    if (s_.write_int8) quantize(c, round, v);
  }

  template <typename F>
  void guarded(Val c, uint32_t round, F body) {
    if (inside(round)) return body();
    k_.when(c < vectors_, body);
  }

  void quantize(Val c, uint32_t round, Val v) {
    store_int8(k_, quants_, scales_, row_ + c, v,
               [&](const std::function<void()>& body) { guarded(c, round, body); });
  }

  const NormSpec s_;
  const uint32_t threads_;
  Builder k_;
  uint32_t lanes_, vectors_, rounds_;
  Buf x_, gain_, bias_, residual_, y_, quants_, scales_;
  Val t_, row_, mean_, scale_;
  std::vector<Val> held_;
};

}  // namespace

NormSchedule default_schedule(const NormSpec& spec, const Caps& caps) {
  const uint32_t vectors = (spec.width + 3) / 4;
  uint32_t threads = 32;
  while (threads < std::min<uint32_t>(caps.max_threads, 512) && threads * 4 < vectors) threads *= 2;
  while (threads < caps.subgroup_size) threads *= 2;
  return {threads};
}

Result<Kernel> build_norm(const NormSpec& spec, const NormSchedule& schedule) {
  const auto refuse = [&](const char* why) {
    return error(Code::kInvalidArgument, "norm over rows of {} with {} threads: {}", spec.width,
                 schedule.threads, why);
  };
  if (spec.width == 0 || spec.width > kMaxWidth) return refuse("no such width");
  if (!is_power_of_two(schedule.threads) || schedule.threads > kMaxThreads) {
    return refuse("threads must be a power of two");
  }
  if (!spec.write_f32 && !spec.write_int8) return refuse("nothing to write");
  if (!spec.normalize && (spec.center || spec.bias)) return refuse("no norm to center or to shift");
  if (spec.residual_in_place && (!spec.write_f32 || spec.write_int8)) {
    return refuse("a residual in place goes with y as f32 alone");
  }
  if (spec.write_int8 && (spec.width % kActivationBlock != 0 || schedule.threads < 8)) {
    return refuse("int8 needs blocks of 32 and 8 threads");
  }
  return NormBuilder(spec, schedule.threads).build();
}

}  // namespace bp::kernels
