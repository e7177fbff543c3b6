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

// One cell a word. Keeps the last writer and the readers since then (one named, or "several").
class Shadow {
 public:
  // `initialized`: words hold data before the run.
  void reset(std::size_t words, bool initialized);
  Fault read(std::size_t word, const Accessor& who);
  Fault write(std::size_t word, const Accessor& who);
  Fault atomic(std::size_t word, const Accessor& who);

 private:
  enum : uint8_t {
    kInitialized = 1,
    kWritten = 2,
    kByAtomic = 4,
    kRead = 8,
    kSeveral = 16,
    kSeveralGroups = 32
  };
  struct Cell {
    Accessor writer;
    Accessor reader;
    uint8_t flags = 0;
  };
  static bool unordered(const Accessor& a, const Accessor& b);
  static bool races_with_readers(const Cell& cell, const Accessor& who);

  std::vector<Cell> cells_;
};

}  // namespace bp::kernels
