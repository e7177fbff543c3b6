// SPDX-License-Identifier: Apache-2.0
// Order keys and the repeated maximum.
#include "kernels/library/largest.h"

namespace bp::kernels {

// All by integers: comparisons of floats may flush what is close to zero.
Val order_key(Val x) {
  const Val bits = as_u32(x), size = bits & 0x7fffffffu;
  const Val key = select(bits == size, bits | 0x80000000u, ~bits);
  return select(size > 0x7f800000u, 1u, select(size == 0, 0x80000000u, key));
}

Val number_of_key(Val key) {
  return as_f32(select(key >= 0x80000000u, key ^ 0x80000000u, ~key));
}

void Largest::add(Val key, Val id) {
  keys_.push_back(k_.var(key));
  ids_.push_back(id);
}

Largest::Taken Largest::take() {
  Val key = keys_[0], id = ids_[0];
  for (size_t i = 1; i < keys_.size(); ++i) {
    const Val other = keys_[i], larger = other > key;
    key = select(larger, other, key);
    id = select(larger, ids_[i], id);
  }
  const Val top = k_.max_of(key, k_.threads());
  const Val winner = k_.min_of(select(key == top, id, ~0u), k_.threads());
  for (size_t i = 0; i < keys_.size(); ++i) {
    const Val now = keys_[i];
    keys_[i].set(select((now == top) & (ids_[i] == winner), 0u, now));
  }
  return {top, winner};
}

}  // namespace bp::kernels
