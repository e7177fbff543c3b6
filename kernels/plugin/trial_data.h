// SPDX-License-Identifier: Apache-2.0
// What scratch memory of a trial holds, and whether a schedule's results are right. Contents depend
// on position alone, so every run of a kernel sees the same. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/plugin/tunable.h"

namespace bp::kernels {

// A NaN that no arithmetic makes: results that nothing wrote.
inline constexpr uint32_t kUnwritten = 0x7fc0b5edu;

inline bool is_compared(TrialBuffer::Content content) noexcept {
  return content == TrialBuffer::kOutput || content == TrialBuffer::kOutputQuants ||
         content == TrialBuffer::kOutputScales || content == TrialBuffer::kUpdated;
}
// Holds kUnwritten at the start of a run.
inline bool starts_unwritten(TrialBuffer::Content content) noexcept {
  return (is_compared(content) && content != TrialBuffer::kUpdated) ||
         content == TrialBuffer::kTemporary;
}

// Words from `first` on of buffer number `index`.
void fill_words(std::span<const TrialBuffer> buffers, uint32_t index, uint64_t first,
                std::span<uint32_t> out);

// Results of the standard, by which others are judged. Empty when they can be; else why not.
std::string check_standard(TrialBuffer::Content content, std::span<const uint32_t> words);

// Are the results those of the standard, but for rounding? Empty when they are; else the first
// difference. Words that the standard leaves alone must be left alone.
std::string compare_results(TrialBuffer::Content content, std::span<const uint32_t> want,
                            std::span<const uint32_t> got, float tolerance);

}  // namespace bp::kernels
