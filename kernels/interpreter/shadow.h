// SPDX-License-Identifier: Apache-2.0
// Shadow memory: who touched each word last, so that races and uninitialised reads show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bp::kernels {

// Where an access comes from. Epochs count barriers that order this memory within the group.
struct Accessor {
  uint32_t group = 0;
  uint32_t thread = 0;
  uint32_t epoch = 0;
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
