// SPDX-License-Identifier: Apache-2.0
// Shadow memory: who touched each word last, so that races and uninitialised reads show.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace bp::kernels {

// Of other groups, the epochs before which everything is known to have happened.
class Known {
 public:
  void learn(uint32_t group, uint32_t epoch) {
    uint32_t& before = before_[group];
    before = std::max(before, epoch);
  }
  bool has(uint32_t group, uint32_t epoch) const {
    const auto at = before_.find(group);
    return at != before_.end() && epoch < at->second;
  }
  void add(const Known& other) {
    for (const auto& [group, epoch] : other.before_) learn(group, epoch);
  }
  void clear() { before_.clear(); }

 private:
  std::unordered_map<uint32_t, uint32_t> before_;
};

// Where an access comes from. Epochs count barriers that order this memory within the group.
struct Accessor {
  uint32_t group = 0;
  uint32_t thread = 0;
  uint32_t epoch = 0;
  const Known* known = nullptr;  // null: nothing of other groups
  bool follows(const Accessor& earlier) const {
    return known != nullptr && known->has(earlier.group, earlier.epoch);
  }
};

enum class Fault : uint8_t { kNone, kUninitialized, kRace };

// One cell a word. Per kind of access it keeps the last one exactly, and of those before it whether
// another thread was among them in the same epoch, or another group at all: enough to decide every
// later conflict.
class Shadow {
 public:
  // `initialized`: words hold data before the run.
  void reset(std::size_t words, bool initialized);
  Fault read(std::size_t word, const Accessor& who);
  Fault write(std::size_t word, const Accessor& who);
  Fault atomic(std::size_t word, const Accessor& who);

 private:
  class History {
   public:
    void note(const Accessor& who);
    bool conflicts(const Accessor& who) const;

   private:
    Accessor last_;
    bool any_ = false;
    bool several_threads_ = false;  // in the epoch of `last_`
    bool several_groups_ = false;
  };
  struct Cell {
    History writes, reads, atomics;
    bool initialized = false;
  };

  std::vector<Cell> cells_;
};

}  // namespace bp::kernels
