// SPDX-License-Identifier: Apache-2.0
// Named limits of the model file that nothing else in Backplane shares; the others are in
// core/base/limits.h. SPEC.md lists them all.
#pragma once

#include <cstdint>

#include "core/base/limits.h"

namespace bp::limits {

inline constexpr uint64_t kMaxSegments = 1u << 16;              // weight segments
inline constexpr uint64_t kMaxSources = 4096;                   // files a model was made from
inline constexpr uint64_t kMaxMetrics = 1024;                   // figures measured at conversion
inline constexpr uint64_t kMaxLicenceBytes = 1u << 20;          // text of a licence
inline constexpr uint64_t kMaxMetricDetailBytes = 4096;         // remark on one metric
inline constexpr uint64_t kMaxChatTemplates = 64;               // named templates
inline constexpr uint64_t kMaxStopIds = 1024;                   // suggested stop tokens
inline constexpr uint64_t kMaxMerges = 2 * kMaxVocabulary;      // merges of a tokenizer
inline constexpr uint64_t kMaxSymbols = 8;                      // symbols of a plan
inline constexpr uint64_t kMaxSymbolValue = uint64_t{1} << 32;  // upper bound of any symbol
inline constexpr uint64_t kMaxArenaBytes = uint64_t{1} << 48;   // arena for the largest symbols
inline constexpr uint64_t kMaxRopes = 1024;                     // rotary tables
inline constexpr uint64_t kMaxRotaryDim = 1u << 16;             // elements rotated in one head
inline constexpr uint64_t kMaxPageSize = 1u << 16;              // positions of a KV page
inline constexpr uint64_t kMaxWidth = uint64_t{1} << 32;        // dim, ffn_dim, heads, experts

}  // namespace bp::limits
