// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/token_table.h"

#include <bit>
#include <chrono>
#include <cstring>

namespace bp::text {
namespace {

// Not a secret worth a system call: the clock and the loader's choice of addresses.
uint64_t process_seed() {
  static const uint64_t seed = [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    static const char anchor = 0;
    return static_cast<uint64_t>(now) * 0x9E3779B97F4A7C15u ^ std::bit_cast<uint64_t>(&anchor) << 7;
  }();
  return seed;
}

// Multiply and fold: both halves of the product count.
uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{a} * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t hash_text(std::string_view text, uint64_t seed) {
  uint64_t h = seed ^ text.size();
  while (text.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, text.data(), 8);
    h = mix(h ^ word, 0xA0761D6478BD642Fu ^ seed >> 1);
    text.remove_prefix(8);
  }
  uint64_t tail = 0;
  if (!text.empty()) std::memcpy(&tail, text.data(), text.size());
  h = mix(h ^ tail, 0xE7037ED1A0B428DBu);
  return h ^ h >> 29;
}

}  // namespace

TokenTable::TokenTable(std::span<const std::string> tokens, size_t capacity)
    : tokens_(tokens), slots_(std::bit_ceil(2 * capacity + 2), kNoToken) {}

size_t TokenTable::slot_of(std::string_view text) const noexcept {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash_text(text, process_seed()) & mask;
  while (slots_[slot] != kNoToken && tokens_[static_cast<size_t>(slots_[slot])] != text) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

TokenId TokenTable::insert(TokenId id) {
  const size_t slot = slot_of(tokens_[static_cast<size_t>(id)]);
  if (slots_[slot] != kNoToken) return slots_[slot];
  slots_[slot] = id;
  return kNoToken;
}

TokenId TokenTable::find(std::string_view text) const noexcept {
  return slots_.empty() ? kNoToken : slots_[slot_of(text)];
}

PairTable::PairTable(size_t capacity)
    : entries_(std::bit_ceil(2 * capacity + 2)),
      mask_(entries_.size() - 1),
      seed_(process_seed()) {}

bool PairTable::insert(uint64_t key, uint64_t value) {
  size_t slot = hash(key) & mask_;
  while (entries_[slot].key != kNoKey) {
    if (entries_[slot].key == key) return false;
    slot = (slot + 1) & mask_;
  }
  entries_[slot] = Entry{key, value};
  return true;
}

}  // namespace bp::text
