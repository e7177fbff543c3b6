// SPDX-License-Identifier: Apache-2.0
// Happens-before on words: groups are never ordered, threads of a group by barrier epochs.
#include "kernels/interpreter/shadow.h"

namespace bp::kernels {

void Shadow::reset(std::size_t words, bool initialized) {
  Cell cell;
  cell.flags = initialized ? kInitialized : 0;
  cells_.assign(words, cell);
}

bool Shadow::unordered(const Accessor& a, const Accessor& b) {
  if (a.group != b.group) return true;
  return a.epoch == b.epoch && a.thread != b.thread;
}

bool Shadow::races_with_readers(const Cell& cell, const Accessor& who) {
  if ((cell.flags & kRead) == 0) return false;
  if ((cell.flags & kSeveralGroups) != 0 || unordered(cell.reader, who)) return true;
  // Several threads read in the epoch of `reader`; one of them is another than `who`.
  return (cell.flags & kSeveral) != 0 && cell.reader.epoch == who.epoch;
}

Fault Shadow::read(std::size_t word, const Accessor& who) {
  Cell& cell = cells_[word];
  if ((cell.flags & kInitialized) == 0) return Fault::kUninitialized;
  if ((cell.flags & kWritten) != 0 && unordered(cell.writer, who)) return Fault::kRace;
  if ((cell.flags & kRead) != 0) {
    if (cell.reader.group != who.group) {
      cell.flags |= kSeveralGroups;
    } else if (cell.reader.epoch != who.epoch) {
      cell.flags &= static_cast<uint8_t>(~kSeveral);  // earlier epochs are ordered before any write
    } else if (cell.reader.thread != who.thread) {
      cell.flags |= kSeveral;
    }
  }
  cell.flags |= kRead;
  cell.reader = who;
  return Fault::kNone;
}

Fault Shadow::write(std::size_t word, const Accessor& who) {
  Cell& cell = cells_[word];
  if ((cell.flags & kWritten) != 0 && unordered(cell.writer, who)) return Fault::kRace;
  if (races_with_readers(cell, who)) return Fault::kRace;
  cell.flags = kInitialized | kWritten;
  cell.writer = who;
  return Fault::kNone;
}

Fault Shadow::atomic(std::size_t word, const Accessor& who) {
  Cell& cell = cells_[word];
  if ((cell.flags & kInitialized) == 0) return Fault::kUninitialized;
  const bool plain_write = (cell.flags & (kWritten | kByAtomic)) == kWritten;
  if (plain_write && unordered(cell.writer, who)) return Fault::kRace;
  if (races_with_readers(cell, who)) return Fault::kRace;
  cell.flags = kInitialized | kWritten | kByAtomic;
  cell.writer = who;
  return Fault::kNone;
}

}  // namespace bp::kernels
