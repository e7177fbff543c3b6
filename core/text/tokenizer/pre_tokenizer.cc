// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/pre_tokenizer.h"

#include <utility>

namespace bp::text {
namespace {

// ASCII punctuation and symbols, and what Unicode calls punctuation.
constexpr std::string_view kPunctuationPattern =
    R"([\x{21}-\x{2f}\x{3a}-\x{40}\x{5b}-\x{60}\x{7b}-\x{7e}\p{P}])";
// As in \w+|[^\w\s]+ where \w has Unicode's Alphabetic and Join_Control, too.
constexpr std::string_view kWordPattern =
    R"([\w\p{Nl}\x{200c}\x{200d}]+|[^\w\p{Nl}\x{200c}\x{200d}\s]+)";

// Is the replaced text already led by the replacement?
std::string metaspaced(std::string_view text, std::string_view replacement, bool prepend) {
  std::string out;
  out.reserve(text.size() + text.size() / 4 + replacement.size());
  for (const char c : text) {
    if (c == ' ') {
      out.append(replacement);
    } else {
      out.push_back(c);
    }
  }
  if (prepend && !out.starts_with(replacement)) out.insert(0, replacement);
  return out;
}

}  // namespace

const std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Result<PreTokenizer> PreTokenizer::create(const std::vector<PreTokenizerStep>& steps) {
  PreTokenizer result;
  for (size_t i = 0; i < steps.size(); ++i) {
    BP_TRY(result.add(steps[i]).with_context("pre-tokenizer step {}", i));
  }
  return result;
}

Status PreTokenizer::add_split(std::string_view pattern, SplitBehavior behavior, bool invert) {
  Stage stage;
  stage.regex = BP_TRY(Regex::compile(pattern));
  stage.behavior = behavior;
  stage.invert = invert;
  stages_.push_back(std::move(stage));
  return {};
}

Status PreTokenizer::add(const PreTokenizerStep& step) {
  switch (step.kind) {
    case PreTokenizerKind::kSplitRegex:
      return add_split(step.pattern, step.behavior, step.invert);
    case PreTokenizerKind::kSplitLiteral: {
      Stage stage;
      stage.literal = step.pattern;
      stage.behavior = step.behavior;
      stage.invert = step.invert;
      stages_.push_back(std::move(stage));
      return {};
    }
    case PreTokenizerKind::kByteLevel:
      if (step.add_prefix_space) {
        Stage stage;
        stage.kind = Stage::Kind::kPrefixSpace;
        stages_.push_back(std::move(stage));
      }
      return step.use_regex ? add_split(kGpt2Pattern, SplitBehavior::kIsolated, false) : Status();
    case PreTokenizerKind::kDigits:
      return add_split(step.individual ? R"(\p{N})" : R"(\p{N}+)", SplitBehavior::kIsolated, false);
    case PreTokenizerKind::kMetaspace: {
      Stage stage;
      stage.kind = Stage::Kind::kMetaspace;
      stage.literal = step.pattern;
      stage.prepend = step.prepend;
      stages_.push_back(std::move(stage));
      if (!step.split) return {};
      Stage split;
      split.literal = step.pattern;
      split.behavior = SplitBehavior::kMergedWithNext;
      stages_.push_back(std::move(split));
      return {};
    }
    case PreTokenizerKind::kPunctuation:
      return add_split(kPunctuationPattern, step.behavior, false);
    case PreTokenizerKind::kWhitespace:
      return add_split(kWordPattern, SplitBehavior::kRemoved, true);
    case PreTokenizerKind::kWhitespaceSplit:
      return add_split(R"(\s)", SplitBehavior::kRemoved, false);
  }
  return error(Code::kInternal, "unknown kind");
}

Result<MatchRange> PreTokenizer::find(const Stage& stage, std::string_view text, size_t from,
                                      MatchScratch* scratch) const {
  if (stage.regex) return stage.regex->find(text, from, scratch);
  const size_t at = text.find(stage.literal, from);
  if (at == std::string_view::npos) return MatchRange{};
  return MatchRange{at, at + stage.literal.size(), true};
}

PreTokenizer::Walk::Walk(const PreTokenizer& owner, Piece text, MatchScratch* scratch)
    : owner_(owner), scratch_(scratch), cursors_(owner.stages_.size()), whole_(text) {
  if (!cursors_.empty()) start(0, text);
}

void PreTokenizer::Walk::start(size_t index, Piece input) {
  const Stage& stage = owner_.stages_[index];
  Cursor& cursor = cursors_[index];
  cursor.input = input;
  cursor.scanned = 0;
  cursor.waiting.reset();
  cursor.match.reset();
  cursor.previous_was_match = false;
  cursor.done = input.text.empty();
  if (cursor.done || stage.kind == Stage::Kind::kSplit) return;
  if (stage.kind == Stage::Kind::kPrefixSpace) {
    if (input.text.starts_with(' ')) return;
    cursor.buffer.assign(1, ' ').append(input.text);
  } else {
    const bool prepend = stage.prepend == PrependScheme::kAlways ||
                         (stage.prepend == PrependScheme::kFirst && input.at_start);
    cursor.buffer = metaspaced(input.text, stage.literal, prepend);
  }
  cursor.input.text = cursor.buffer;
}

// The text as an unbroken row of matches and of what lies between them.
Result<std::optional<PreTokenizer::Walk::Segment>> PreTokenizer::Walk::segment(size_t index) {
  const Stage& stage = owner_.stages_[index];
  Cursor& cursor = cursors_[index];
  if (cursor.waiting) return std::exchange(cursor.waiting, std::nullopt);
  if (cursor.match) {
    cursor.scanned = cursor.match->end;
    return std::exchange(cursor.match, std::nullopt);
  }
  const std::string_view text = cursor.input.text;
  if (cursor.scanned >= text.size()) return std::optional<Segment>();
  const MatchRange found = BP_TRY(owner_.find(stage, text, cursor.scanned, scratch_));
  if (!found.found) {
    const Segment rest{std::exchange(cursor.scanned, text.size()), text.size(), stage.invert};
    return std::optional<Segment>(rest);
  }
  const Segment match{found.begin, found.end, !stage.invert};
  if (found.begin == cursor.scanned) {
    cursor.scanned = found.end;
    return std::optional<Segment>(match);
  }
  const Segment gap{cursor.scanned, found.begin, stage.invert};
  cursor.match = match;
  return std::optional<Segment>(gap);
}

// Segments put together as the stage's behaviour says.
Result<std::optional<PreTokenizer::Walk::Segment>> PreTokenizer::Walk::merged(size_t index) {
  const SplitBehavior behavior = owner_.stages_[index].behavior;
  Cursor& cursor = cursors_[index];
  for (;;) {
    std::optional<Segment> current = BP_TRY(segment(index));
    if (!current) return current;
    if (behavior == SplitBehavior::kIsolated) return current;
    if (behavior == SplitBehavior::kRemoved) {
      if (current->is_match) continue;
      return current;
    }
    std::optional<Segment> next = BP_TRY(segment(index));
    if (behavior == SplitBehavior::kMergedWithNext) {
      if (next && current->is_match && !next->is_match) {
        current->end = next->end;
        next.reset();
      }
    } else if (behavior == SplitBehavior::kMergedWithPrevious) {
      if (next && next->is_match && !current->is_match) {
        current->end = next->end;
        next.reset();
      }
    } else {
      while (next && next->is_match == current->is_match) {
        current->end = next->end;
        next = BP_TRY(segment(index));
      }
    }
    cursor.waiting = next;
    return current;
  }
}

Result<bool> PreTokenizer::Walk::pull(size_t index, Piece* piece) {
  Cursor& cursor = cursors_[index];
  if (cursor.done) return false;
  if (owner_.stages_[index].kind != Stage::Kind::kSplit) {
    cursor.done = true;
    *piece = cursor.input;
    return true;
  }
  const std::optional<Segment> found = BP_TRY(merged(index));
  if (!found) {
    cursor.done = true;
    return false;
  }
  piece->text = cursor.input.text.substr(found->begin, found->end - found->begin);
  piece->at_start = cursor.input.at_start && found->begin == 0;
  return true;
}

Result<bool> PreTokenizer::Walk::next(Piece* piece) {
  if (cursors_.empty()) {
    *piece = whole_;
    return !std::exchange(whole_given_, true) && !whole_.text.empty();
  }
  for (;;) {
    Piece pulled;
    if (!BP_TRY(pull(depth_, &pulled))) {
      if (depth_ == 0) return false;
      --depth_;
    } else if (depth_ + 1 == cursors_.size()) {
      *piece = pulled;
      return true;
    } else {
      start(++depth_, pulled);
    }
  }
}

}  // namespace bp::text
