// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of one word, for every kind that merges.
//
// All kinds come down to one table: (left symbol, right symbol) -> (rank, joined symbol). Where a
// file gives scores instead of merges, every way to cut a token into two others is a merge whose
// rank is the order of the token's score. Merging is a heap over a linked list, O(n log n); short
// words scan instead, which is faster.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"
#include "core/text/tokenizer/token_table.h"

namespace bp::text {

// A symbol is a token id, or, from `vocabulary` on, a character that is no token itself but part
// of tokens that merging can reach.
using Symbol = int32_t;

struct BpeTables {
  PairTable merges;                     // pair_key(left, right) -> rank << 32 | result
  PairTable characters;                 // code point -> symbol, for kinds over characters
  std::array<Symbol, 256> bytes{};      // byte -> symbol, for kinds over bytes
  std::array<TokenId, 256> fallback{};  // byte -> its kByte token, or kNoToken
  // Neighbouring characters of all tokens, for kinds over characters: between two characters that
  // no token has side by side, no merge can ever happen, so a long text falls into short ones.
  PairTable neighbours;
  TokenTable words;  // whole tokens that words may become (ignore_merges)
};

constexpr uint64_t pair_key(int64_t left, int64_t right) {
  return static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
}

// `producible` says, by id, which tokens the model may produce. The specification must have been
// validated and must outlive the tables. CORRUPT for merges whose joined text is no token,
// EXHAUSTED when scores imply too many merges.
Result<BpeTables> build_bpe_tables(const TokenizerSpec& spec,
                                   const std::vector<uint8_t>& producible);

class Bpe {
 public:
  static Result<Bpe> create(const TokenizerSpec& spec, const std::vector<uint8_t>& producible);

  // Working memory, kept between words of one call. One per thread.
  struct Scratch {
    std::vector<Symbol> symbols;
    std::vector<uint32_t> starts;  // byte where each symbol's character begins; over characters
    std::vector<uint32_t> next;
    std::vector<uint32_t> previous;
    std::vector<uint64_t> heap;  // rank << 32 | position
  };

  // Appends the tokens of a word. The word is valid UTF-8 and under 4 GiB.
  void encode(std::string_view word, Scratch* scratch, std::vector<TokenId>* out) const;

 private:
  Bpe(const TokenizerSpec& spec, BpeTables tables) : spec_(&spec), tables_(std::move(tables)) {}
  void encode_bytes(std::string_view word, Scratch* scratch, std::vector<TokenId>* out) const;
  void encode_characters(std::string_view word, Scratch* scratch, std::vector<TokenId>* out) const;
  void merge_by_scan(Scratch* scratch) const;
  void merge_by_heap(Scratch* scratch) const;
  void merge(Scratch* scratch) const;
  // rank << 32 | result of two neighbours, or PairTable::kNoValue.
  uint64_t merge_of(Symbol left, Symbol right) const noexcept {
    if (left < 0 || right < 0) return PairTable::kNoValue;
    return tables_.merges.find(pair_key(left, right));
  }
  // Does the character become byte tokens where it is no token?
  bool has_fallback(std::string_view character) const;
  // Appends what a character without a token becomes.
  void append_unknown(std::string_view character, bool* after_unknown,
                      std::vector<TokenId>* out) const;

  const TokenizerSpec* spec_;
  BpeTables tables_;
};

}  // namespace bp::text
