// SPDX-License-Identifier: Apache-2.0
// Hash tables of the tokenizer: token text to id, and 64-bit key to 64-bit value.
//
// Both are built once and then only read, so they are open addressing over flat arrays. Hashes are
// seeded per process: a vocabulary that is made to collide cannot know the seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/tokenizer/spec.h"

namespace bp::text {

// Text of a token to its id. Refers to the texts it was built from, which must outlive it.
class TokenTable {
 public:
  TokenTable() = default;
  // A table for at most `capacity` tokens of `tokens`.
  TokenTable(std::span<const std::string> tokens, size_t capacity);

  // Adds tokens[id]. Returns the id that already has this text, or kNoToken when it was added.
  TokenId insert(TokenId id);
  // kNoToken when no token has this text.
  TokenId find(std::string_view text) const noexcept;

 private:
  size_t slot_of(std::string_view text) const noexcept;  // its slot, or the free one for it
  std::span<const std::string> tokens_;
  std::vector<TokenId> slots_;  // a power of two, at most half full
};

// 64-bit key to 64-bit value. The key kNoKey cannot be stored.
class PairTable {
 public:
  static constexpr uint64_t kNoKey = ~uint64_t{0};
  static constexpr uint64_t kNoValue = ~uint64_t{0};

  PairTable() = default;
  explicit PairTable(size_t capacity);

  // Keeps the first value of a key; returns whether the key is new.
  bool insert(uint64_t key, uint64_t value);
  uint64_t find(uint64_t key) const noexcept {
    if (entries_.empty()) return kNoValue;
    size_t slot = hash(key) & mask_;
    while (entries_[slot].key != key) {
      if (entries_[slot].key == kNoKey) return kNoValue;
      slot = (slot + 1) & mask_;
    }
    return entries_[slot].value;
  }

 private:
  struct Entry {
    uint64_t key = kNoKey;
    uint64_t value = kNoValue;
  };
  size_t hash(uint64_t key) const noexcept {
    const uint64_t mixed = (key ^ seed_) * 0x9E3779B97F4A7C15u;
    return static_cast<size_t>((mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93u >> 20);
  }
  std::vector<Entry> entries_;  // a power of two, at most half full
  size_t mask_ = 0;
  uint64_t seed_ = 0;
};

}  // namespace bp::text
