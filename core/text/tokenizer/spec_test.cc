// SPDX-License-Identifier: Apache-2.0
// Whatever a file can break: a named error, never a crash.
#include "core/text/tokenizer/spec.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "core/base/limits.h"
#include "core/text/tokenizer/spec_for_tests.h"
#include "core/text/tokenizer/tokenizer.h"

namespace bp::text {
namespace {

using Edit = std::function<void(TokenizerSpec*)>;

Status broken(TokenizerSpec spec, const Edit& edit) {
  edit(&spec);
  const Status status = spec.validate();
  EXPECT_EQ(Tokenizer::create(spec).ok(), status.ok());
  return status;
}

TEST(Spec, examples_are_valid) {
  EXPECT_TRUE(byte_spec().validate().ok());
  EXPECT_TRUE(spm_spec().validate().ok());
}

TEST(Spec, kinds_have_names) {
  for (const char* name : {"bpe_byte", "bpe_ranks", "bpe_spm", "bpe_merges", "unigram"}) {
    const auto kind = kind_named(name);
    ASSERT_TRUE(kind.ok());
    EXPECT_STREQ(kind_name(*kind), name);
  }
  EXPECT_EQ(kind_named("wordpiece").status().code(), Code::kUnimplemented);
}

TEST(Spec, broken_vocabularies_are_corrupt) {
  const std::vector<Edit> edits = {
      [](auto* s) { s->tokens.clear(), s->types.clear(), s->merges.clear(); },
      [](auto* s) { s->types.pop_back(); },
      [](auto* s) { s->types[3] = static_cast<TokenType>(9); },
      [](auto* s) { s->types[3] = static_cast<TokenType>(0); },
      [](auto* s) { s->tokens[3].clear(); },
      [](auto* s) { s->tokens[3] = s->tokens[4]; },               // a duplicate
      [](auto* s) { s->scores.assign(s->tokens.size(), 0.0f); },  // scores beside merges
      [](auto* s) { s->merges[0].left = -1; },
      [](auto* s) { s->merges[0].right = static_cast<TokenId>(s->tokens.size()); },
      [](auto* s) { s->added_tokens[0].id = -7; },
      [](auto* s) { s->added_tokens.push_back(s->added_tokens[0]); },
      [](auto* s) { s->tokens[static_cast<size_t>(s->bos_id)] = "\xFF"; },
      [](auto* s) { s->tokens[static_cast<size_t>(s->bos_id)] = "<eos>"; },
      [](auto* s) { s->prefix_ids = {1 << 20}; },
      [](auto* s) { s->suffix_ids = {-1}; },
      [](auto* s) { s->eos_ids = {1 << 20}; },
      [](auto* s) { s->bos_id = 1 << 20; },
      [](auto* s) { s->unk_id = -2; },
      [](auto* s) { s->pad_id = 1 << 20; },
      [](auto* s) { s->byte_fallback = true; },
      [](auto* s) { s->kind = static_cast<ModelKind>(77); },
      [](auto* s) {
        s->normalizer.push_back({static_cast<NormalizerKind>(77), "", ""});
      },
      [](auto* s) {
        s->normalizer.push_back({NormalizerKind::kReplaceLiteral, "", "x"});
      },
      [](auto* s) {
        s->normalizer.push_back({NormalizerKind::kPrepend, "", "\xC3"});
      },
      [](auto* s) { s->pre_tokenizer.push_back({}); },  // a split by nothing
      [](auto* s) {
        s->decoder.push_back({DecoderKind::kReplace, "a", "b", 0, false});
      },
  };
  for (size_t i = 0; i < edits.size(); ++i) {
    const Status status = broken(byte_spec(), edits[i]);
    EXPECT_EQ(status.code(), Code::kCorrupt) << "edit " << i << ": " << status.to_string();
  }
}

TEST(Spec, broken_sentencepiece_vocabularies_are_corrupt) {
  const std::vector<Edit> edits = {
      [](auto* s) { s->scores.pop_back(); },
      [](auto* s) { s->scores[300 - 40] = std::numeric_limits<float>::quiet_NaN(); },
      [](auto* s) { s->scores[0] = std::numeric_limits<float>::infinity(); },
      [](auto* s) { s->tokens[10] = "ab"; },           // a byte of two bytes
      [](auto* s) { s->tokens[10] = s->tokens[11]; },  // a byte twice
      [](auto* s) { s->tokens.back() = "\xC3"; },      // not text
      [](auto* s) {
        s->merges.push_back({1, 2});
      },
      [](auto* s) {
        s->decoder.push_back({DecoderKind::kStripStart, " ", "", 1, false});
      },
      [](auto* s) {
        s->decoder.push_back({DecoderKind::kMetaspace, "ab", "", 0, true});
      },
      [](auto* s) {
        s->decoder.push_back({DecoderKind::kReplace, "", "x", 0, false});
      },
  };
  for (size_t i = 0; i < edits.size(); ++i) {
    const Status status = broken(spm_spec(), edits[i]);
    EXPECT_EQ(status.code(), Code::kCorrupt) << "edit " << i << ": " << status.to_string();
  }
}

TEST(Spec, oversized_parts_are_exhausted) {
  const std::vector<Edit> edits = {
      [](auto* s) { s->tokens[3].assign(limits::kMaxTokenBytes + 1, 'x'); },
      [](auto* s) {
        s->normalizer.resize(kMaxPipelineSteps + 1, {NormalizerKind::kNfc, "", ""});
      },
      [](auto* s) {
        s->normalizer.push_back({NormalizerKind::kPrepend, "", std::string(1 << 15, 'x')});
      },
      [](auto* s) { s->prefix_ids.assign(kMaxAffixIds + 1, 1); },
      [](auto* s) { s->chat_template.assign(limits::kMaxTemplateBytes + 1, 'x'); },
      [](auto* s) {
        s->added_tokens.push_back({add(s, std::string(kMaxAddedTokenBytes + 1, 'x'))});
      },
  };
  for (size_t i = 0; i < edits.size(); ++i) {
    const Status status = broken(byte_spec(), edits[i]);
    EXPECT_EQ(status.code(), Code::kExhausted) << "edit " << i << ": " << status.to_string();
  }
}

TEST(Spec, merges_must_join_to_tokens_and_differ) {
  TokenizerSpec spec = byte_spec();
  spec.merges.push_back({id_of(spec, "x"), id_of(spec, "y")});
  EXPECT_EQ(Tokenizer::create(spec).status().code(), Code::kCorrupt);
  spec = byte_spec();
  spec.merges.push_back(spec.merges[0]);
  EXPECT_EQ(Tokenizer::create(spec).status().code(), Code::kCorrupt);
}

// A merge whose result is one of its halves cannot exist, since texts are never empty; merges in
// any other order only run into each other.
TEST(Spec, merges_in_a_senseless_order_still_end) {
  TokenizerSpec spec;
  for (int b = 0; b < 256; ++b) add(&spec, std::string(1, static_cast<char>(b)));
  add(&spec, "aa"), add(&spec, "aaa"), add(&spec, "aaaa");
  for (const auto& [left, right] : std::initializer_list<std::pair<const char*, const char*>>{
           {"aaa", "a"}, {"a", "aaa"}, {"aa", "aa"}, {"aa", "a"}, {"a", "aa"}, {"a", "a"}}) {
    spec.merges.push_back({id_of(spec, left), id_of(spec, right)});
  }
  const auto tokenizer = Tokenizer::create(spec);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  for (size_t n = 1; n < 100; ++n) {
    const std::string text(n, 'a');
    const auto ids = (*tokenizer)->encode(text);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(*(*tokenizer)->decode(*ids), text);
  }
}

TEST(Spec, huge_tokens_that_contain_each_other_are_cheap) {
  TokenizerSpec spec;
  spec.kind = ModelKind::kBpeRanks;
  for (size_t n = 1; n <= 2000; ++n) {
    add(&spec, std::string(n, 'a'), TokenType::kNormal, -static_cast<float>(n));
  }
  const auto tokenizer = Tokenizer::create(spec);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  const auto ids = (*tokenizer)->encode(std::string(100'000, 'a'));
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*(*tokenizer)->decode(*ids), std::string(100'000, 'a'));
}

}  // namespace
}  // namespace bp::text
