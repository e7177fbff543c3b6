// SPDX-License-Identifier: Apache-2.0
// Building the merge table: from a list of merges, or from scores.
#include <algorithm>
#include <numeric>
#include <string>

#include "core/text/tokenizer/bpe.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

// Merges that scores may imply; each is a way to cut a token into two others.
constexpr size_t kMaxImpliedMerges = 4 * kMaxMerges;
constexpr size_t kNeighbourBatch = size_t{1} << 22;

uint64_t merge_value(uint32_t rank, Symbol result) {
  return uint64_t{rank} << 32 | static_cast<uint32_t>(result);
}

template <typename Visit>  // void(code_point)
void for_each_character(std::string_view text, Visit&& visit) {
  while (!text.empty()) {
    const utf8::Decoded character = utf8::decode(text);
    visit(character.code_point);
    text.remove_prefix(character.length);
  }
}

class Builder {
 public:
  Builder(const TokenizerSpec& spec, const std::vector<uint8_t>& producible)
      : spec_(spec), known_(spec.tokens, spec.tokens.size()) {
    // Ordinary tokens first: where an added token repeats the text of one, merging gives the
    // former.
    for (const TokenType type : {TokenType::kNormal, TokenType::kUserDefined}) {
      for (size_t i = 0; i < spec.tokens.size(); ++i) {
        if (producible[i] == 0 || spec.types[i] != type) continue;
        if (known_.insert(static_cast<TokenId>(i)) == kNoToken) ids_.push_back(i);
      }
    }
  }

  Result<BpeTables> build() {
    fill_bytes();
    if (!is_byte_level(spec_.kind)) fill_characters();
    if (spec_.kind == ModelKind::kBpeByte || spec_.kind == ModelKind::kBpeMerges) {
      BP_TRY(merges_from_list());
    } else {
      BP_TRY(merges_from_scores());
    }
    if (!is_byte_level(spec_.kind)) fill_neighbours();
    tables_.words = std::move(known_);
    return std::move(tables_);
  }

 private:
  void fill_bytes() {
    tables_.bytes.fill(kNoToken);
    tables_.fallback.fill(kNoToken);
    for (int b = 0; b < 256; ++b) {
      const char byte = static_cast<char>(b);
      tables_.bytes[static_cast<size_t>(b)] = known_.find(std::string_view(&byte, 1));
    }
    for (size_t i = 0; i < spec_.tokens.size(); ++i) {
      if (spec_.types[i] != TokenType::kByte) continue;
      tables_.fallback[static_cast<unsigned char>(spec_.tokens[i][0])] = static_cast<TokenId>(i);
    }
  }

  // Characters that are tokens; SentencePiece may also merge characters that are not.
  void fill_characters() {
    std::vector<uint32_t> seen;
    for (const size_t id : ids_) {
      const bool all = spec_.kind == ModelKind::kBpeSpm;
      const std::string& text = spec_.tokens[id];
      if (!all && utf8::length_of_lead(static_cast<unsigned char>(text[0])) != text.size())
        continue;
      for_each_character(text, [&](uint32_t c) { seen.push_back(c); });
      if (seen.size() > kNeighbourBatch) make_unique(&seen);
    }
    make_unique(&seen);
    tables_.characters = PairTable(seen.size());
    std::string text;
    for (const uint32_t c : seen) {
      text.clear();
      utf8::append(c, &text);
      TokenId symbol = known_.find(text);
      if (symbol == kNoToken) {
        symbol = static_cast<Symbol>(spec_.tokens.size() + virtual_texts_.size());
        virtual_texts_.push_back(text);
      }
      tables_.characters.insert(c, static_cast<uint64_t>(symbol));
    }
  }

  void fill_neighbours() {
    std::vector<uint64_t> pairs;
    for (const size_t id : ids_) {
      int64_t previous = -1;
      for_each_character(spec_.tokens[id], [&](uint32_t c) {
        if (previous >= 0) pairs.push_back(pair_key(previous, c));
        previous = c;
      });
      if (pairs.size() > kNeighbourBatch) make_unique(&pairs);
    }
    make_unique(&pairs);
    tables_.neighbours = PairTable(pairs.size());
    for (const uint64_t pair : pairs) tables_.neighbours.insert(pair, 1);
  }

  template <typename T>
  static void make_unique(std::vector<T>* values) {
    std::sort(values->begin(), values->end());
    values->erase(std::unique(values->begin(), values->end()), values->end());
  }

  Status merges_from_list() {
    // Merges into tokens that may not be produced (special ones) are left out; merges into texts
    // that are no tokens at all are a broken file.
    TokenTable all(spec_.tokens, spec_.tokens.size());
    for (size_t i = 0; i < spec_.tokens.size(); ++i) all.insert(static_cast<TokenId>(i));
    tables_.merges = PairTable(spec_.merges.size());
    std::string joined;
    for (size_t i = 0; i < spec_.merges.size(); ++i) {
      const Merge merge = spec_.merges[i];
      joined.assign(spec_.tokens[static_cast<size_t>(merge.left)]);
      joined.append(spec_.tokens[static_cast<size_t>(merge.right)]);
      const TokenId result = known_.find(joined);
      if (result == kNoToken) {
        if (all.find(joined) != kNoToken) continue;
        return error(Code::kCorrupt, "merge {} joins tokens {} and {} to a text that is no token",
                     i, merge.left, merge.right);
      }
      if (!tables_.merges.insert(pair_key(merge.left, merge.right),
                                 merge_value(static_cast<uint32_t>(i), result))) {
        return error(Code::kCorrupt, "merge {} repeats the pair of tokens {} and {}", i, merge.left,
                     merge.right);
      }
    }
    return {};
  }

  std::string_view text_of(Symbol symbol) const {
    const auto index = static_cast<size_t>(symbol);
    return index < spec_.tokens.size() ? std::string_view(spec_.tokens[index])
                                       : virtual_texts_[index - spec_.tokens.size()];
  }

  // For every symbol the longest other symbol that is a proper prefix of it (`reversed`: suffix),
  // as an index into symbols_, or -1. In sorted order the prefixes of a text are a stack.
  std::vector<int64_t> longest_affixes(bool reversed) const {
    std::vector<size_t> order(symbols_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const std::string_view x = text_of(symbols_[a]);
      const std::string_view y = text_of(symbols_[b]);
      if (!reversed) return x < y;
      return std::lexicographical_compare(x.rbegin(), x.rend(), y.rbegin(), y.rend());
    });
    std::vector<int64_t> longest(symbols_.size(), -1);
    std::vector<size_t> stack;
    for (const size_t at : order) {
      const std::string_view text = text_of(symbols_[at]);
      const auto is_affix = [&](size_t other) {
        const std::string_view candidate = text_of(symbols_[other]);
        return reversed ? text.ends_with(candidate) : text.starts_with(candidate);
      };
      while (!stack.empty() && !is_affix(stack.back())) stack.pop_back();
      if (!stack.empty()) longest[at] = static_cast<int64_t>(stack.back());
      stack.push_back(at);
    }
    return longest;
  }

  // Equal scores get equal ranks, so that the leftmost pair wins among them.
  std::vector<uint32_t> ranks_by_score() const {
    std::vector<size_t> order(ids_);
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return spec_.scores[a] > spec_.scores[b]; });
    std::vector<uint32_t> ranks(spec_.tokens.size(), 0);
    uint32_t rank = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i != 0 && spec_.scores[order[i]] != spec_.scores[order[i - 1]]) ++rank;
      ranks[order[i]] = rank;
    }
    return ranks;
  }

  Status merges_from_scores() {
    for (const size_t id : ids_) symbols_.push_back(static_cast<Symbol>(id));
    for (size_t i = 0; i < virtual_texts_.size(); ++i) {
      symbols_.push_back(static_cast<Symbol>(spec_.tokens.size() + i));
    }
    const std::vector<int64_t> prefixes = longest_affixes(false);
    const std::vector<int64_t> suffixes = longest_affixes(true);
    const std::vector<uint32_t> ranks = ranks_by_score();
    struct Implied {
      uint64_t key;
      uint64_t value;
    };
    std::vector<Implied> implied;
    std::vector<Symbol> shorter_first;
    for (size_t at = 0; at < ids_.size(); ++at) {
      const size_t length = text_of(symbols_[at]).size();
      shorter_first.clear();
      for (int64_t s = suffixes[at]; s >= 0; s = suffixes[static_cast<size_t>(s)]) {
        shorter_first.push_back(symbols_[static_cast<size_t>(s)]);
      }
      std::reverse(shorter_first.begin(), shorter_first.end());
      auto suffix = shorter_first.begin();
      for (int64_t p = prefixes[at]; p >= 0; p = prefixes[static_cast<size_t>(p)]) {
        const Symbol left = symbols_[static_cast<size_t>(p)];
        const size_t rest = length - text_of(left).size();
        while (suffix != shorter_first.end() && text_of(*suffix).size() < rest) ++suffix;
        if (suffix == shorter_first.end()) break;
        if (text_of(*suffix).size() != rest) continue;
        implied.push_back({pair_key(left, *suffix), merge_value(ranks[ids_[at]], symbols_[at])});
      }
      if (implied.size() > kMaxImpliedMerges) {
        return error(Code::kExhausted, "the scores imply over {} merges", kMaxImpliedMerges);
      }
    }
    tables_.merges = PairTable(implied.size());
    for (const Implied& merge : implied) tables_.merges.insert(merge.key, merge.value);
    return {};
  }

  const TokenizerSpec& spec_;
  TokenTable known_;                        // producible tokens by text
  std::vector<size_t> ids_;                 // their ids
  std::vector<std::string> virtual_texts_;  // of symbols beyond the vocabulary
  std::vector<Symbol> symbols_;             // ids_, then the virtual ones
  BpeTables tables_;
};

}  // namespace

Result<BpeTables> build_bpe_tables(const TokenizerSpec& spec,
                                   const std::vector<uint8_t>& producible) {
  return Builder(spec, producible).build();
}

}  // namespace bp::text
