// SPDX-License-Identifier: Apache-2.0
// Regex: the expressions of tokenizer files, run by PCRE2.
//
// The dialect is the part of Oniguruma's Ruby syntax that vocabularies use; translate_pattern()
// turns it into PCRE2's and refuses, by name, whatever it does not know to mean the same in both.
// Threads: a Regex is immutable; each thread (or call) brings its own MatchScratch.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/status.h"

namespace bp::text {

// Working memory of matching. Cheap to make; not shared between threads.
class MatchScratch {
 public:
  MatchScratch();
  ~MatchScratch();
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

 private:
  friend class Regex;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct MatchRange {
  size_t begin = 0;
  size_t end = 0;
  bool found = false;
};

class Regex {
 public:
  // UNIMPLEMENTED for syntax that is not understood, EXHAUSTED for expressions that are too large.
  static Result<Regex> compile(std::string_view pattern);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  // The first match in `text` at or after `start` that is not empty. `text` must be valid UTF-8 and
  // `start` a character border. EXHAUSTED when the expression needs more than a number of steps
  // that is a multiple of the text's length.
  Result<MatchRange> find(std::string_view text, size_t start, MatchScratch* scratch) const;

 private:
  struct Impl;
  explicit Regex(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

// The same expression in PCRE2's syntax (with UTF, UCP and MULTILINE set, newline = LF).
Result<std::string> translate_pattern(std::string_view pattern);

}  // namespace bp::text
