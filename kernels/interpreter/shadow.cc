// SPDX-License-Identifier: Apache-2.0
// Happens-before on words: groups are ordered by what they know of each other, threads of a group
// by barrier epochs.
#include "kernels/interpreter/shadow.h"

namespace bp::kernels {

void Shadow::History::note(const Accessor& who) {
  if (any_) {
    if (last_.group != who.group) {
      // Ordered before this one, the others no longer matter: who follows this one follows them.
      several_groups_ = several_groups_ || !who.follows(last_);
      several_threads_ = false;
    } else if (last_.epoch != who.epoch) {
      several_threads_ = false;  // earlier epochs are ordered before whatever comes
    } else if (last_.thread != who.thread) {
      several_threads_ = true;
    }
  }
  any_ = true;
  last_ = who;
  last_.known = nullptr;  // it may be gone later
}

bool Shadow::History::conflicts(const Accessor& who) const {
  if (!any_) return false;
  if (several_groups_) return true;
  if (last_.group != who.group) return !who.follows(last_);
  return last_.epoch == who.epoch && (several_threads_ || last_.thread != who.thread);
}

void Shadow::reset(std::size_t words, bool initialized) {
  Cell cell;
  cell.initialized = initialized;
  cells_.assign(words, cell);
}

Fault Shadow::read(std::size_t word, const Accessor& who) {
  Cell& cell = cells_[word];
  if (!cell.initialized) return Fault::kUninitialized;
  if (cell.writes.conflicts(who) || cell.atomics.conflicts(who)) return Fault::kRace;
  cell.reads.note(who);
  return Fault::kNone;
}

Fault Shadow::write(std::size_t word, const Accessor& who) {
  Cell& cell = cells_[word];
  if (cell.writes.conflicts(who) || cell.reads.conflicts(who) || cell.atomics.conflicts(who)) {
    return Fault::kRace;
  }
  cell.initialized = true;
  cell.writes.note(who);
  return Fault::kNone;
}

Fault Shadow::atomic(std::size_t word, const Accessor& who) {
  Cell& cell = cells_[word];
  if (!cell.initialized) return Fault::kUninitialized;
  if (cell.writes.conflicts(who) || cell.reads.conflicts(who)) return Fault::kRace;
  cell.atomics.note(who);
  return Fault::kNone;
}

}  // namespace bp::kernels
