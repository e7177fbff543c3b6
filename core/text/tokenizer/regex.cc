// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cstdint>

#include "core/text/tokenizer/spec.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

// Steps allowed to one match, beyond those in proportion to the text. Enough for any expression
// that is linear; an exponential one stops here within a fraction of a second.
constexpr uint64_t kBaseMatchSteps = 10'000'000;
constexpr uint64_t kMatchStepsPerByte = 64;
constexpr uint32_t kMaxHeapKib = 256 * 1024;  // the interpreter's, where there is no JIT
constexpr size_t kJitStackBytes = 32 * 1024;  // to begin with, when the default is too small
constexpr size_t kMaxJitStackBytes = size_t{16} << 20;

struct CodeDeleter {
  void operator()(pcre2_code* code) const noexcept { pcre2_code_free(code); }
};

}  // namespace

struct MatchScratch::Impl {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
  ~Impl() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

MatchScratch::MatchScratch() : impl_(std::make_unique<Impl>()) {}
MatchScratch::~MatchScratch() = default;

struct Regex::Impl {
  std::unique_ptr<pcre2_code, CodeDeleter> code;
};

Regex::Regex(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Result<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return error(Code::kExhausted, "a regular expression has {} bytes; at most {} are accepted",
                 pattern.size(), kMaxPatternBytes);
  }
  const std::string translated = BP_TRY(translate_pattern(pattern));
  int number = 0;
  PCRE2_SIZE offset = 0;
  auto impl = std::make_unique<Impl>();
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  if (context == nullptr) return error(Code::kExhausted, "no memory for a regular expression");
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  impl->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                 &number, &offset, context));
  pcre2_compile_context_free(context);
  if (impl->code == nullptr && number == PCRE2_ERROR_HEAP_FAILED) {
    return error(Code::kExhausted, "no memory for a regular expression");
  }
  if (impl->code == nullptr) {
    PCRE2_UCHAR words[256] = {};
    pcre2_get_error_message(number, words, sizeof words);
    return error(Code::kUnimplemented, "the regular expression '{}' cannot be compiled: {}",
                 pattern, reinterpret_cast<const char*>(words));
  }
  // Without JIT (an architecture without it, or a kernel that forbids it) the interpreter runs.
  (void)pcre2_jit_compile(impl->code.get(), PCRE2_JIT_COMPLETE);
  return Regex(std::move(impl));
}

Result<MatchRange> Regex::find(std::string_view text, size_t start, MatchScratch* scratch) const {
  MatchScratch::Impl& s = *scratch->impl_;
  if (s.data == nullptr) {
    s.data = pcre2_match_data_create(1, nullptr);
    s.context = pcre2_match_context_create(nullptr);
    if (s.data == nullptr || s.context == nullptr) {
      return error(Code::kExhausted, "no memory to match a regular expression");
    }
    pcre2_set_heap_limit(s.context, kMaxHeapKib);
  }
  const uint64_t steps = kBaseMatchSteps + kMatchStepsPerByte * uint64_t{text.size()};
  pcre2_set_match_limit(s.context, static_cast<uint32_t>(std::min<uint64_t>(steps, UINT32_MAX)));
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  while (start <= text.size()) {
    int outcome = pcre2_match(impl_->code.get(), subject, text.size(), start, PCRE2_NO_UTF_CHECK,
                              s.data, s.context);
    if (outcome == PCRE2_ERROR_JIT_STACKLIMIT && s.stack == nullptr) {
      s.stack = pcre2_jit_stack_create(kJitStackBytes, kMaxJitStackBytes, nullptr);
      if (s.stack == nullptr) return error(Code::kExhausted, "no memory for matching");
      pcre2_jit_stack_assign(s.context, nullptr, s.stack);
      continue;
    }
    if (outcome == PCRE2_ERROR_NOMATCH) return MatchRange{};
    if (outcome < 0) {
      PCRE2_UCHAR words[256] = {};
      pcre2_get_error_message(outcome, words, sizeof words);
      return error(Code::kExhausted, "the tokenizer's regular expression gave up on this text: {}",
                   reinterpret_cast<const char*>(words));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(s.data);
    if (range[1] > range[0]) return MatchRange{range[0], range[1], true};
    if (range[0] >= text.size()) break;  // empty matches separate nothing: look further on
    start = range[0] + utf8::length_of_lead(static_cast<unsigned char>(text[range[0]]));
  }
  return MatchRange{};
}

}  // namespace bp::text
