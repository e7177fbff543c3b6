// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/bpe.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

constexpr Symbol kNoSymbol = -1;
constexpr size_t kScanUpTo = 32;  // symbols; beyond, the heap wins
constexpr uint32_t kEnd = UINT32_MAX;

constexpr uint32_t rank_of(uint64_t merge) {
  return static_cast<uint32_t>(merge >> 32);
}
constexpr Symbol result_of(uint64_t merge) {
  return static_cast<Symbol>(static_cast<uint32_t>(merge));
}

}  // namespace

Result<Bpe> Bpe::create(const TokenizerSpec& spec, const std::vector<uint8_t>& producible) {
  return Bpe(spec, BP_TRY(build_bpe_tables(spec, producible)));
}

void Bpe::encode(std::string_view word, Scratch* scratch, std::vector<TokenId>* out) const {
  if (word.empty()) return;
  if (spec_->ignore_merges) {
    const TokenId whole = tables_.words.find(word);
    if (whole != kNoToken) {
      out->push_back(whole);
      return;
    }
  }
  if (is_byte_level(spec_->kind)) {
    encode_bytes(word, scratch, out);
  } else {
    encode_characters(word, scratch, out);
  }
}

void Bpe::encode_bytes(std::string_view word, Scratch* scratch, std::vector<TokenId>* out) const {
  scratch->symbols.clear();
  bool after_unknown = false;
  for (const char c : word) {
    const Symbol symbol = tables_.bytes[static_cast<unsigned char>(c)];
    if (symbol != kNoSymbol) {
      scratch->symbols.push_back(symbol);
      after_unknown = false;
    } else if (spec_->unk_id != kNoToken && !(after_unknown && spec_->fuse_unk)) {
      scratch->symbols.push_back(spec_->unk_id);
      after_unknown = true;
    }
  }
  merge(scratch);
  out->insert(out->end(), scratch->symbols.begin(), scratch->symbols.end());
}

bool Bpe::has_fallback(std::string_view character) const {
  return spec_->byte_fallback && std::all_of(character.begin(), character.end(), [&](char c) {
           return tables_.fallback[static_cast<unsigned char>(c)] != kNoToken;
         });
}

void Bpe::append_unknown(std::string_view character, bool* after_unknown,
                         std::vector<TokenId>* out) const {
  if (has_fallback(character)) {
    for (const char c : character) out->push_back(tables_.fallback[static_cast<unsigned char>(c)]);
    *after_unknown = false;
    return;
  }
  if (spec_->unk_id == kNoToken) return;
  if (!(*after_unknown && spec_->fuse_unk)) out->push_back(spec_->unk_id);
  *after_unknown = true;
}

void Bpe::encode_characters(std::string_view word, Scratch* scratch,
                            std::vector<TokenId>* out) const {
  const auto vocabulary = static_cast<Symbol>(spec_->tokens.size());
  bool after_unknown = false;
  const auto finish = [&] {
    merge(scratch);
    for (size_t i = 0; i < scratch->symbols.size(); ++i) {
      const Symbol symbol = scratch->symbols[i];
      if (symbol != kNoSymbol && symbol < vocabulary) {
        out->push_back(symbol);
        after_unknown = false;
        continue;
      }
      const std::string_view at = word.substr(scratch->starts[i]);
      append_unknown(at.substr(0, utf8::decode(at).length), &after_unknown, out);
    }
    scratch->symbols.clear();
    scratch->starts.clear();
  };
  scratch->symbols.clear();
  scratch->starts.clear();
  const bool may_vanish = spec_->kind == ModelKind::kBpeMerges && spec_->unk_id == kNoToken;
  uint32_t previous = 0;
  size_t length = 0;
  for (size_t at = 0; at < word.size(); at += length) {
    const utf8::Decoded character = utf8::decode(word.substr(at));
    const uint32_t c = character.code_point;
    length = character.length;
    const uint64_t found = tables_.characters.find(c);
    const bool known = found != PairTable::kNoValue;
    // The reference for lists of merges drops such characters first: what stood around them merges.
    if (!known && may_vanish && !has_fallback(word.substr(at, length))) continue;
    if (!scratch->symbols.empty() &&
        tables_.neighbours.find(pair_key(previous, c)) == PairTable::kNoValue) {
      finish();
    }
    scratch->symbols.push_back(known ? static_cast<Symbol>(found) : kNoSymbol);
    scratch->starts.push_back(static_cast<uint32_t>(at));
    previous = c;
  }
  finish();
}

void Bpe::merge(Scratch* scratch) const {
  if (scratch->symbols.size() < 2) return;
  if (scratch->symbols.size() <= kScanUpTo) {
    merge_by_scan(scratch);
  } else {
    merge_by_heap(scratch);
  }
}

void Bpe::merge_by_scan(Scratch* scratch) const {
  std::vector<Symbol>& symbols = scratch->symbols;
  std::vector<uint32_t>& starts = scratch->starts;
  std::array<uint64_t, kScanUpTo> merges;  // of each symbol with the one after it
  size_t count = symbols.size();
  for (size_t i = 0; i + 1 < count; ++i) merges[i] = merge_of(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i) {
      if (rank_of(merges[i]) < rank_of(merges[best])) best = i;
    }
    if (merges[best] == PairTable::kNoValue) break;
    symbols[best] = result_of(merges[best]);
    std::copy(symbols.begin() + static_cast<ptrdiff_t>(best) + 2,
              symbols.begin() + static_cast<ptrdiff_t>(count),
              symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
    std::copy(merges.begin() + best + 1, merges.begin() + count - 1, merges.begin() + best);
    if (!starts.empty()) starts.erase(starts.begin() + static_cast<ptrdiff_t>(best) + 1);
    --count;
    if (best > 0) merges[best - 1] = merge_of(symbols[best - 1], symbols[best]);
    if (best + 1 < count) merges[best] = merge_of(symbols[best], symbols[best + 1]);
  }
  symbols.resize(count);
}

void Bpe::merge_by_heap(Scratch* scratch) const {
  std::vector<Symbol>& symbols = scratch->symbols;
  std::vector<uint32_t>& next = scratch->next;
  std::vector<uint32_t>& previous = scratch->previous;
  std::vector<uint64_t>& heap = scratch->heap;
  const auto count = static_cast<uint32_t>(symbols.size());
  next.resize(count);
  previous.resize(count);
  heap.clear();
  const auto candidate = [&](uint32_t left, uint32_t right) -> uint64_t {
    const uint64_t merge = merge_of(symbols[left], symbols[right]);
    return merge == PairTable::kNoValue ? merge : uint64_t{rank_of(merge)} << 32 | left;
  };
  for (uint32_t i = 0; i < count; ++i) {
    next[i] = i + 1 < count ? i + 1 : kEnd;
    previous[i] = i == 0 ? kEnd : i - 1;
    if (i + 1 == count) break;
    const uint64_t entry = candidate(i, i + 1);
    if (entry != PairTable::kNoValue) heap.push_back(entry);
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  const auto push = [&](uint64_t entry) {
    if (entry == PairTable::kNoValue) return;
    heap.push_back(entry);
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    const uint64_t entry = heap.front();
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    const auto left = static_cast<uint32_t>(entry);
    const uint32_t right = next[left];
    // An entry is stale when its pair is gone. A pair of the same rank in the same place is as
    // good: it would stand in the heap with this very entry.
    if (right == kEnd || symbols[left] == kNoSymbol || candidate(left, right) != entry) continue;
    symbols[left] = result_of(merge_of(symbols[left], symbols[right]));
    symbols[right] = kNoSymbol;
    next[left] = next[right];
    next[right] = kEnd;  // marks it dead for its own stale entries
    if (next[left] != kEnd) {
      previous[next[left]] = left;
      push(candidate(left, next[left]));
    }
    if (previous[left] != kEnd) push(candidate(previous[left], left));
  }
  uint32_t kept = 0;
  for (uint32_t i = 0; i != kEnd; i = next[i]) {
    symbols[kept] = symbols[i];
    if (!scratch->starts.empty()) scratch->starts[kept] = scratch->starts[i];
    ++kept;
  }
  symbols.resize(kept);
  if (!scratch->starts.empty()) scratch->starts.resize(kept);
}

}  // namespace bp::text
