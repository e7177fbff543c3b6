// SPDX-License-Identifier: Apache-2.0
#include "kernels/library/quantize.h"

#include <vector>

namespace bp::kernels {

void store_int8(Builder& k, Buf quants, Buf scales, const Val& index, const Val& v,
                const std::function<void(const std::function<void()>&)>& guarded) {
  constexpr uint32_t kRun = kActivationBlock / 4;
  Val largest = max(max(abs(v[0]), abs(v[1])), max(abs(v[2]), abs(v[3])));
  largest = k.max_of(largest, kRun);
  // The bound keeps the quotient finite for a block of zeros.
  const Val inverse = rcp(max(largest, 1e-30f)) * 127.0f;
  std::vector<Val> q;
  for (uint32_t i = 0; i < 4; ++i) {
    q.push_back(to_i32(rint(min(max(v[i] * inverse, -127.0f), 127.0f))));
  }
  const Val sum = k.sum((q[0] + q[1]) + (q[2] + q[3]), kRun);
  guarded([&] {
    quants.store(index, pack_i8x4(q[0], q[1], q[2], q[3]));
    k.when((index % kRun) == 0, [&] {
      scales.store(index / kRun, make_vec({as_u32(largest * (1.0f / 127.0f)), as_u32(sum)}));
    });
  });
}

}  // namespace bp::kernels
