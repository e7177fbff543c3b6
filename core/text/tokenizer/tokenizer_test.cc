// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "core/base/limits.h"
#include "core/text/tokenizer/spec_for_tests.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

using Ids = std::vector<TokenId>;

std::shared_ptr<const Tokenizer> made(const TokenizerSpec& spec) {
  auto tokenizer = Tokenizer::create(spec);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  return *tokenizer;
}

Ids plain(const Tokenizer& tokenizer, std::string_view text) {
  EncodeOptions options;
  options.bos = options.eos = Affix::kNever;
  const auto ids = tokenizer.encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status().to_string();
  return *ids;
}

std::string streamed(const std::shared_ptr<const Tokenizer>& tokenizer, const Ids& ids,
                     StreamOptions options = {}) {
  TokenStream stream(tokenizer, options);
  std::string all;
  for (const TokenId id : ids) {
    std::string piece;
    EXPECT_TRUE(stream.push(id, &piece).ok());
    EXPECT_TRUE(utf8::is_valid(piece)) << "a piece was cut inside a character";
    all += piece;
  }
  EXPECT_TRUE(stream.finish(&all).ok());
  return all;
}

// ---- special tokens -----------------------------------------------------------------------------

TEST(Tokenizer, special_tokens_only_come_when_asked) {
  const auto tokenizer = made(byte_spec());
  const TokenId eos = tokenizer->find_added_token("<eos>");
  const Ids as_text = plain(*tokenizer, "a<eos>");
  EXPECT_EQ(std::count(as_text.begin(), as_text.end(), eos), 0);
  EXPECT_EQ(as_text.size(), 6u);
  EncodeOptions options;
  options.parse_special = true;
  EXPECT_EQ(*tokenizer->encode("a<eos>", options), (Ids{tokenizer->bos_id(), 'a', eos}));
}

TEST(Tokenizer, no_merge_and_no_whole_word_makes_a_special_token) {
  TokenizerSpec spec = byte_spec();
  spec.ignore_merges = true;
  const std::string text = "<eos>";
  std::string made_up = text.substr(0, 1);
  for (size_t i = 1; i < text.size(); ++i) {
    merge(&spec, made_up, text.substr(i, 1));
    made_up += text[i];
  }
  const auto tokenizer = made(spec);
  for (const TokenId id : plain(*tokenizer, "<eos>")) EXPECT_FALSE(tokenizer->is_special(id));
}

TEST(Tokenizer, control_tokens_need_no_entry_to_be_special) {
  TokenizerSpec spec = byte_spec();
  const TokenId hidden = add(&spec, "<hidden>", TokenType::kControl);
  const auto tokenizer = made(spec);
  EXPECT_TRUE(tokenizer->is_special(hidden));
  EXPECT_EQ(tokenizer->find_added_token("<hidden>"), hidden);
  EXPECT_TRUE(tokenizer->is_eos(spec.eos_ids[0]));
  EXPECT_FALSE(tokenizer->is_eos(hidden));
}

TEST(Tokenizer, user_defined_tokens_are_ordinary_text) {
  TokenizerSpec spec = byte_spec();
  const TokenId think = add(&spec, "<think>", TokenType::kUserDefined);
  spec.added_tokens.push_back({think, false, false, false, false, false});
  const auto tokenizer = made(spec);
  EXPECT_EQ(plain(*tokenizer, "a<think>b"), (Ids{'a', think, 'b'}));
  EXPECT_FALSE(tokenizer->is_special(think));
}

TEST(Tokenizer, longest_added_token_wins_and_forbidden_ones_hide_nothing) {
  TokenizerSpec spec = byte_spec();
  const TokenId shorter = add(&spec, "<|a", TokenType::kUserDefined);
  spec.added_tokens.push_back({shorter, false, false, false, false, false});
  const TokenId longer = add_special(&spec, "<|a|>");
  const auto tokenizer = made(spec);
  EXPECT_EQ(plain(*tokenizer, "<|a|>"), (Ids{shorter, '|', '>'}));
  EncodeOptions options;
  options.parse_special = true;
  options.bos = Affix::kNever;
  EXPECT_EQ(*tokenizer->encode("<|a|>", options), (Ids{longer}));
}

TEST(Tokenizer, segments_keep_user_text_from_speaking_for_the_template) {
  const auto tokenizer = made(byte_spec());
  const TokenId eos = tokenizer->eos_ids()[0];
  const auto count = [&](std::vector<TextSegment> segments) {
    EncodeOptions options;
    options.parse_special = true;  // must not matter here
    const auto ids = tokenizer->encode_segments(segments, options);
    EXPECT_TRUE(ids.ok());
    return std::count(ids->begin(), ids->end(), eos);
  };
  EXPECT_EQ(count({{"<eos>", true}, {"x<eos>y", false}, {"<eos>", true}}), 2);
  // Neither half of a special token may come from the user.
  EXPECT_EQ(count({{"<e", true}, {"os>", false}}), 0);
  EXPECT_EQ(count({{"<e", false}, {"os>", true}}), 0);
  EXPECT_EQ(count({{"<e", true}, {"", false}, {"os>", true}}), 1);
  // A beginning typed by the user hides nothing of the template.
  EXPECT_EQ(count({{"<eos", false}, {"<eos>", true}}), 1);
}

TEST(Tokenizer, segments_are_one_text) {
  const auto tokenizer = made(byte_spec());
  const std::vector<TextSegment> segments = {{"he", true}, {"llo", false}, {" w", true}};
  EXPECT_EQ(*tokenizer->encode_segments(segments), *tokenizer->encode("hello w"));
}

TEST(Tokenizer, normalized_special_tokens_obey_segments_too) {
  TokenizerSpec spec = spm_spec();
  for (AddedToken& token : spec.added_tokens) token.normalized = true;
  const auto tokenizer = made(spec);
  const auto count = [&](std::vector<TextSegment> segments) {
    const auto ids = tokenizer->encode_segments(segments, {Affix::kNever, Affix::kNever, false});
    EXPECT_TRUE(ids.ok());
    return std::count(ids->begin(), ids->end(), spec.eos_ids[0]);
  };
  // The token's own text is normalized as well, to "▁</s>": a blank stands before it.
  EXPECT_EQ(count({{"a </s>", true}}), 1);
  EXPECT_EQ(count({{"a </s>", false}}), 0);
  EXPECT_EQ(count({{"a </s>", false}, {"a </s>", true}}), 1);
  EXPECT_EQ(count({{"a <", true}, {"/s>", false}}), 0);
}

TEST(Tokenizer, strip_and_single_word_flags) {
  TokenizerSpec spec = byte_spec();
  const TokenId strip = add(&spec, "<m>", TokenType::kUserDefined);
  spec.added_tokens.push_back({strip, false, false, true, true, false});
  const TokenId word = add(&spec, "ab", TokenType::kUserDefined);
  spec.added_tokens.push_back({word, false, true, false, false, false});
  const auto tokenizer = made(spec);
  EXPECT_EQ(plain(*tokenizer, "a  <m> \n b"), (Ids{'a', strip, 'b'}));
  EXPECT_EQ(plain(*tokenizer, "ab-cab-ab"), (Ids{word, '-', 'c', 'a', 'b', '-', word}));
}

// ---- affixes ------------------------------------------------------------------------------------

TEST(Tokenizer, affixes_follow_the_rule_unless_forced) {
  const auto tokenizer = made(byte_spec());
  const TokenId bos = tokenizer->bos_id();
  const TokenId eos = tokenizer->eos_ids()[0];
  const auto with = [&](Affix first, Affix last) {
    return *tokenizer->encode("a", {first, last, false});
  };
  EXPECT_EQ(with(Affix::kModelRule, Affix::kModelRule), (Ids{bos, 'a'}));
  EXPECT_EQ(with(Affix::kNever, Affix::kAlways), (Ids{'a', eos}));
  EXPECT_EQ(with(Affix::kAlways, Affix::kNever), (Ids{bos, 'a'}));
  TokenizerSpec bare = byte_spec();
  bare.bos_id = kNoToken;
  bare.prefix_ids.clear();
  const auto result = made(bare)->encode("a", {Affix::kAlways, Affix::kNever, false});
  EXPECT_EQ(result.status().code(), Code::kFailedPrecondition);
}

// ---- text that is no text -----------------------------------------------------------------------

TEST(Tokenizer, ill_formed_text_is_read_as_replacement_characters) {
  const auto tokenizer = made(byte_spec());
  EXPECT_EQ(plain(*tokenizer,
                  "a\xFF"
                  "b"),
            plain(*tokenizer, "a\uFFFDb"));
  EXPECT_EQ(plain(*tokenizer, "\xF0\x9F\x98"), plain(*tokenizer, "\uFFFD"));
  const std::vector<TextSegment> cut = {{"\xC3", false}, {"\xA9", false}};
  EXPECT_EQ(*tokenizer->encode_segments(cut), *tokenizer->encode("\uFFFD\uFFFD"));
}

TEST(Tokenizer, nul_bytes_are_characters_like_others) {
  const auto tokenizer = made(byte_spec());
  const std::string text("a\0b", 3);
  EXPECT_EQ(plain(*tokenizer, text), (Ids{'a', 0, 'b'}));
  EXPECT_EQ(*tokenizer->decode(plain(*tokenizer, text)), text);
}

TEST(Tokenizer, random_bytes_never_break_it) {
  std::mt19937 random(5);
  for (const TokenizerSpec& spec : {byte_spec(), spm_spec()}) {
    const auto tokenizer = made(spec);
    for (int round = 0; round < 500; ++round) {
      std::string text(random() % 60, '\0');
      for (char& c : text) c = static_cast<char>(random());
      std::string repaired;
      utf8::append_repaired(text, &repaired);
      const auto ids = plain(*tokenizer, text);
      EXPECT_EQ(*tokenizer->decode(ids), repaired);
      EXPECT_EQ(streamed(tokenizer, ids), repaired);
    }
  }
}

TEST(Tokenizer, too_long_texts_are_refused_with_both_numbers) {
  const auto tokenizer = made(byte_spec());
  const std::string text(limits::kMaxTextBytes + 1, 'a');
  const auto ids = tokenizer->encode(text);
  ASSERT_EQ(ids.status().code(), Code::kExhausted);
  EXPECT_NE(ids.status().message().find("67108865"), std::string::npos);
  EXPECT_NE(ids.status().message().find("67108864"), std::string::npos);
}

// ---- ids to text --------------------------------------------------------------------------------

TEST(Tokenizer, decode_strips_only_the_first_blank) {
  const auto tokenizer = made(spm_spec());
  const Ids ids = plain(*tokenizer, " hi  hi");
  EXPECT_EQ(*tokenizer->decode(ids), " hi  hi");
  EXPECT_EQ(streamed(tokenizer, ids, {true, true}), "  hi  hi");
  EXPECT_EQ(tokenizer->token_bytes(id_of(tokenizer->spec(), "▁hi")), " hi");
}

TEST(Tokenizer, byte_tokens_make_characters_or_marks) {
  const auto tokenizer = made(spm_spec());
  const auto byte = [&](int b) { return static_cast<TokenId>(3 + b); };
  EXPECT_EQ(*tokenizer->decode(Ids{byte(0xC3), byte(0xA9)}), "é");
  EXPECT_EQ(*tokenizer->decode(Ids{byte(0xC3)}), "\uFFFD");
  EXPECT_EQ(*tokenizer->decode(Ids{byte(0xF0), byte(0x9F), byte(0x98)}), "\uFFFD\uFFFD\uFFFD")
      << "one mark for each byte, as in SentencePiece";
  const TokenId a = id_of(tokenizer->spec(), "a");
  EXPECT_EQ(*tokenizer->decode(Ids{byte(0xC3), a, byte(0xA9)}), "\uFFFDa\uFFFD");
  // A hidden token does not separate bytes.
  EXPECT_EQ(*tokenizer->decode(Ids{byte(0xC3), tokenizer->bos_id(), byte(0xA9)}), "é");
}

TEST(Tokenizer, broken_bytes_of_byte_level_tokens_are_marked_once) {
  const auto tokenizer = made(byte_spec());
  EXPECT_EQ(*tokenizer->decode(Ids{0xF0, 0x9F, 0x98}), "\uFFFD");
  EXPECT_EQ(*tokenizer->decode(Ids{0xF0, 0x9F, 'a'}), "\uFFFDa");
  EXPECT_EQ(*tokenizer->decode(Ids{0xE2, 0x82, 0xAC}), "€");
}

TEST(Tokenizer, streams_hold_back_incomplete_characters) {
  const auto tokenizer = made(byte_spec());
  TokenStream stream(tokenizer);
  std::string out;
  for (const TokenId id : {0xF0, 0x9F, 0x98}) {
    ASSERT_TRUE(stream.push(id, &out).ok());
    EXPECT_EQ(out, "");
  }
  ASSERT_TRUE(stream.push(0x80, &out).ok());
  EXPECT_EQ(out, "😀");
}

TEST(Tokenizer, streams_equal_decode_for_any_ids) {
  std::mt19937 random(6);
  for (const TokenizerSpec& spec : {byte_spec(), spm_spec()}) {
    const auto tokenizer = made(spec);
    for (int round = 0; round < 500; ++round) {
      Ids ids(random() % 30);
      for (TokenId& id : ids) id = static_cast<TokenId>(random() % spec.tokens.size());
      const bool skip = random() % 2 == 0;
      EXPECT_EQ(streamed(tokenizer, ids, {skip, false}), *tokenizer->decode(ids, skip));
    }
  }
}

TEST(Tokenizer, ids_outside_the_vocabulary_are_errors) {
  const auto tokenizer = made(byte_spec());
  const auto size = static_cast<TokenId>(tokenizer->vocabulary_size());
  for (const TokenId id : {-1, size, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer->decode(Ids{id}).status().code(), Code::kInvalidArgument);
    EXPECT_EQ(tokenizer->token_bytes(id), "");
    EXPECT_FALSE(tokenizer->is_special(id));
    EXPECT_FALSE(tokenizer->is_eos(id));
    std::string out;
    TokenStream stream(tokenizer);
    EXPECT_EQ(stream.push(id, &out).code(), Code::kInvalidArgument);
  }
}

TEST(Tokenizer, metaspace_decoder_drops_the_first_tokens_blanks) {
  TokenizerSpec spec = spm_spec();
  spec.decoder = {{DecoderKind::kMetaspace, "▁", "", 0, true}};
  const auto tokenizer = made(spec);
  EXPECT_EQ(*tokenizer->decode(plain(*tokenizer, "hi hi")), "hi hi");
}

// ---- threads ------------------------------------------------------------------------------------

TEST(Tokenizer, threads_share_one) {
  TokenizerSpec spec = byte_spec();
  PreTokenizerStep step;
  step.kind = PreTokenizerKind::kByteLevel;
  spec.pre_tokenizer.push_back(step);
  const auto tokenizer = made(spec);
  const Ids expected = plain(*tokenizer, "hello world, hello");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        if (plain(*tokenizer, "hello world, hello") != expected) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace bp::text
