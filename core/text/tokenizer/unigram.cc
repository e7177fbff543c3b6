// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/unigram.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/text/tokenizer/token_table.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

// How much worse than the worst piece a character without a piece is, as in SentencePiece.
constexpr double kUnknownPenalty = 10.0;

}  // namespace

Result<Unigram> Unigram::create(const TokenizerSpec& spec, const std::vector<uint8_t>& producible) {
  Unigram result;
  result.spec_ = &spec;
  result.fallback_.assign(256, kNoToken);
  TokenTable known(spec.tokens, spec.tokens.size());
  std::vector<TokenId> ids;
  double lowest = std::numeric_limits<double>::infinity();
  for (const TokenType type : {TokenType::kNormal, TokenType::kUserDefined}) {
    for (size_t i = 0; i < spec.tokens.size(); ++i) {
      if (spec.types[i] != type || producible[i] == 0) continue;
      const auto id = static_cast<TokenId>(i);
      if (known.insert(id) != kNoToken) continue;
      if (spec.tokens[i].size() > kMaxUnigramPieceBytes) {
        return error(Code::kExhausted, "token {} has {} bytes; a unigram piece has at most {}", i,
                     spec.tokens[i].size(), kMaxUnigramPieceBytes);
      }
      ids.push_back(id);
    }
  }
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    lowest = std::min(lowest, static_cast<double>(spec.scores[i]));
    if (spec.types[i] == TokenType::kByte) {
      result.fallback_[static_cast<unsigned char>(spec.tokens[i][0])] = static_cast<TokenId>(i);
    }
  }
  result.unknown_score_ = lowest - kUnknownPenalty;
  result.pieces_ = PrefixSearch(spec.tokens, std::move(ids));
  return result;
}

void Unigram::append_unknown(std::string_view text, std::vector<TokenId>* out) const {
  const auto token = [&](char c) { return fallback_[static_cast<unsigned char>(c)]; };
  if (spec_->byte_fallback &&
      std::all_of(text.begin(), text.end(), [&](char c) { return token(c) != kNoToken; })) {
    for (const char c : text) out->push_back(token(c));
  } else if (spec_->unk_id != kNoToken) {
    out->push_back(spec_->unk_id);
  }
}

void Unigram::encode(std::string_view word, Scratch* scratch, std::vector<TokenId>* out) const {
  std::vector<Node>& nodes = scratch->nodes;
  nodes.assign(word.size() + 1, Node{});
  const auto relax = [&](size_t start, size_t length, TokenId id, double score) {
    Node& node = nodes[start + length];
    const double total = nodes[start].score + score;
    if (node.reached && total <= node.score) return;
    node = Node{total, id, static_cast<uint32_t>(start), true};
  };
  for (size_t at = 0; at < word.size();) {
    const size_t length = utf8::decode(word.substr(at)).length;
    bool covered = false;  // is there a piece of exactly this character?
    pieces_.for_each_prefix(word.substr(at), [&](TokenId id, size_t piece) {
      relax(at, piece, id, static_cast<double>(spec_->scores[static_cast<size_t>(id)]));
      covered = covered || piece == length;
    });
    if (!covered) relax(at, length, kNoToken, unknown_score_);
    at += length;
  }
  std::vector<uint32_t>& ends = scratch->ends;
  ends.clear();
  for (auto end = static_cast<uint32_t>(word.size()); end > 0; end = nodes[end].start) {
    ends.push_back(end);
  }
  std::reverse(ends.begin(), ends.end());
  uint32_t begin = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    const TokenId id = nodes[ends[i]].id;
    if (id == kNoToken) {
      while (i + 1 < ends.size() && nodes[ends[i + 1]].id == kNoToken) ++i;
      append_unknown(word.substr(begin, ends[i] - begin), out);
    } else {
      out->push_back(id);
    }
    begin = ends[i];
  }
}

}  // namespace bp::text
