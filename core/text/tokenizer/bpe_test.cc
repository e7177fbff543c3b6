// SPDX-License-Identifier: Apache-2.0
// Merging against the plainest possible implementation, on random vocabularies and texts.
#include "core/text/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>

#include "core/text/tokenizer/spec_for_tests.h"
#include "core/text/tokenizer/unigram.h"

namespace bp::text {
namespace {

using Strings = std::vector<std::string>;

// Merges the leftmost of the best pairs until none is left.
Strings merge_slowly(Strings symbols,
                     const std::map<std::pair<std::string, std::string>, double>& cost) {
  for (;;) {
    size_t best = symbols.size();
    double lowest = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = cost.find({symbols[i], symbols[i + 1]});
      if (found == cost.end() || (best != symbols.size() && found->second >= lowest)) continue;
      best = i;
      lowest = found->second;
    }
    if (best == symbols.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

std::vector<uint8_t> all(const TokenizerSpec& spec) {
  return std::vector<uint8_t>(spec.tokens.size(), 1);
}

Strings encoded(const Bpe& bpe, const TokenizerSpec& spec, std::string_view word) {
  Bpe::Scratch scratch;
  std::vector<TokenId> ids;
  bpe.encode(word, &scratch, &ids);
  Strings out;
  for (const TokenId id : ids) out.push_back(spec.tokens[static_cast<size_t>(id)]);
  return out;
}

std::string random_word(std::mt19937* random, size_t length) {
  std::string word;
  for (size_t i = 0; i < length; ++i) word.push_back(static_cast<char>('a' + (*random)() % 3));
  return word;
}

Strings letters(std::string_view word) {
  Strings out;
  for (const char c : word) out.emplace_back(1, c);
  return out;
}

TEST(Bpe, merges_in_list_order_like_the_plain_algorithm) {
  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {
    for (const ModelKind kind : {ModelKind::kBpeByte, ModelKind::kBpeMerges}) {
      TokenizerSpec spec;
      spec.kind = kind;
      for (const char* letter : {"a", "b", "c"}) add(&spec, letter);
      std::map<std::pair<std::string, std::string>, double> cost;
      for (int m = 0; m < 25; ++m) {
        const std::string left = spec.tokens[random() % spec.tokens.size()];
        const std::string right = spec.tokens[random() % spec.tokens.size()];
        if (!cost.emplace(std::pair(left, right), m).second) continue;
        merge(&spec, left, right);
      }
      // The list may be shuffled as it likes: later merges before those they need.
      std::shuffle(spec.merges.begin(), spec.merges.end(), random);
      cost.clear();
      for (size_t i = 0; i < spec.merges.size(); ++i) {
        cost[{spec.tokens[static_cast<size_t>(spec.merges[i].left)],
              spec.tokens[static_cast<size_t>(spec.merges[i].right)]}] = static_cast<double>(i);
      }
      const auto bpe = Bpe::create(spec, all(spec));
      ASSERT_TRUE(bpe.ok()) << bpe.status().to_string();
      for (const int length : {1, 2, 5, 20, 32, 33, 34, 100, 300}) {
        const std::string word = random_word(&random, static_cast<size_t>(length));
        ASSERT_EQ(encoded(*bpe, spec, word), merge_slowly(letters(word), cost)) << word;
      }
    }
  }
}

TEST(Bpe, scores_give_the_plain_algorithms_pairs) {
  std::mt19937 random(12);
  for (int round = 0; round < 60; ++round) {
    for (const ModelKind kind : {ModelKind::kBpeSpm, ModelKind::kBpeRanks}) {
      TokenizerSpec spec;
      spec.kind = kind;
      for (const char* letter : {"a", "b", "c"}) add(&spec, letter, TokenType::kNormal, -100);
      for (int t = 0; t < 40; ++t) {
        const std::string text = random_word(&random, 2 + random() % 6);
        if (id_of(spec, text) != kNoToken) continue;
        add(&spec, text, TokenType::kNormal, -static_cast<float>(random() % 12));  // with ties
      }
      std::map<std::pair<std::string, std::string>, double> cost;
      for (size_t i = 0; i < spec.tokens.size(); ++i) {
        const std::string& text = spec.tokens[i];
        for (size_t cut = 1; cut < text.size(); ++cut) {
          cost[{text.substr(0, cut), text.substr(cut)}] = -static_cast<double>(spec.scores[i]);
        }
      }
      const auto bpe = Bpe::create(spec, all(spec));
      ASSERT_TRUE(bpe.ok()) << bpe.status().to_string();
      for (const int length : {2, 5, 20, 33, 100, 300}) {
        const std::string word = random_word(&random, static_cast<size_t>(length));
        ASSERT_EQ(encoded(*bpe, spec, word), merge_slowly(letters(word), cost)) << word;
      }
    }
  }
}

// SentencePiece merges by text: characters that are no pieces may still meet in one.
TEST(Bpe, characters_without_tokens_may_merge_by_score) {
  TokenizerSpec spec = spm_spec();
  add(&spec, "世界", TokenType::kNormal, -0.5f);
  std::vector<uint8_t> producible = all(spec);
  const auto bpe = Bpe::create(spec, producible);
  ASSERT_TRUE(bpe.ok());
  EXPECT_EQ(encoded(*bpe, spec, "a世界b"), (Strings{"a", "世界", "b"}));
  EXPECT_EQ(encoded(*bpe, spec, "界世"), (Strings{"\xE7", "\x95", "\x8C", "\xE4", "\xB8", "\x96"}))
      << "byte fallback";
}

TEST(Bpe, unknown_characters_fuse_or_not) {
  TokenizerSpec spec = spm_spec();
  spec.byte_fallback = false;
  EXPECT_EQ(encoded(*Bpe::create(spec, all(spec)), spec, "aßßb"), (Strings{"a", "<unk>", "b"}));
  spec.fuse_unk = false;
  EXPECT_EQ(encoded(*Bpe::create(spec, all(spec)), spec, "aßßb"),
            (Strings{"a", "<unk>", "<unk>", "b"}));
}

TEST(Bpe, whole_words_come_first_if_asked) {
  TokenizerSpec spec = byte_spec();
  add(&spec, "owl");
  EXPECT_EQ(encoded(*Bpe::create(spec, all(spec)), spec, "owl"), (Strings{"o", "w", "l"}));
  spec.ignore_merges = true;
  EXPECT_EQ(encoded(*Bpe::create(spec, all(spec)), spec, "owl"), (Strings{"owl"}));
}

TEST(Bpe, tokens_that_may_not_be_produced_are_not) {
  TokenizerSpec spec = byte_spec();
  std::vector<uint8_t> producible = all(spec);
  producible[static_cast<size_t>(id_of(spec, "hello"))] = 0;
  const auto bpe = Bpe::create(spec, producible);
  ASSERT_TRUE(bpe.ok());
  EXPECT_EQ(encoded(*bpe, spec, "hello"), (Strings{"hell", "o"}));
}

TEST(Bpe, one_long_word_is_not_quadratic) {
  TokenizerSpec spec = byte_spec();
  merge(&spec, "a", "a");
  merge(&spec, "aa", "aa");
  const auto bpe = Bpe::create(spec, all(spec));
  ASSERT_TRUE(bpe.ok());
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(encoded(*bpe, spec, std::string(4 << 20, 'a')).size(), size_t{1} << 20);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

TEST(Unigram, picks_the_best_sum_and_falls_back) {
  TokenizerSpec spec;
  spec.kind = ModelKind::kUnigram;
  spec.unk_id = add(&spec, "<unk>", TokenType::kUnknown, 0);
  add(&spec, "a", TokenType::kNormal, -1), add(&spec, "b", TokenType::kNormal, -1);
  add(&spec, "ab", TokenType::kNormal, -1.5f), add(&spec, "abc", TokenType::kNormal, -9);
  add(&spec, "c", TokenType::kNormal, -1);
  std::vector<uint8_t> producible = all(spec);
  producible[0] = 0;
  const auto unigram = Unigram::create(spec, producible);
  ASSERT_TRUE(unigram.ok());
  Unigram::Scratch scratch;
  std::vector<TokenId> ids;
  unigram->encode("abcßßa", &scratch, &ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{3, 5, 0, 1}));
}

TEST(Unigram, oversized_pieces_are_refused) {
  TokenizerSpec spec;
  spec.kind = ModelKind::kUnigram;
  add(&spec, std::string(kMaxUnigramPieceBytes + 1, 'a'));
  EXPECT_EQ(Unigram::create(spec, all(spec)).status().code(), Code::kExhausted);
}

}  // namespace
}  // namespace bp::text
