// SPDX-License-Identifier: Apache-2.0
// Largest: takes the largest of a workgroup's numbers, one after another, with their ids. What
// choosing experts and choosing tokens have in common.
//
// Each thread holds a few numbers in registers, as u32 keys that order like the numbers. A step is
// two reductions over the group: the largest key, then the lowest id that has it. So the order is
// total (ties: lowest id first) and the same on every device.
#pragma once

#include <vector>

#include "kernels/builder/builder.h"

namespace bp::kernels {

// u32 that orders as f32 does; 0 and −0 are equal, NaN comes before all numbers. Never 0.
Val order_key(Val x);
// The number of a key. Of a NaN's key, some NaN.
Val number_of_key(Val key);

class Largest {
 public:
  static constexpr uint32_t kMaxHeld = 32;  // numbers a thread

  explicit Largest(Builder* k) : k_(*k) {}
  // One more number of this thread, with an id no lower than in the last call. Key 0 means none.
  // A number may be held several times with the same id; it counts once.
  void add(Val key, Val id);
  struct Taken {
    Val key, id;  // the same in all threads; key 0 and any id when nothing is left
  };
  // Under control that is uniform for the group.
  Taken take();

 private:
  Builder& k_;
  std::vector<Var> keys_;
  std::vector<Val> ids_;
};

}  // namespace bp::kernels
