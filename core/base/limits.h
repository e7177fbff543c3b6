// SPDX-License-Identifier: Apache-2.0
// Named limits. Anything counted by a file, a request or a device is compared with one of these
// before memory is reserved for it. Raising one is a decision, so each says what it bounds.
#pragma once

#include <cstdint>

namespace bp::limits {

inline constexpr uint64_t kMaxPlanBytes = uint64_t{64} << 20;      // the FlatBuffer of a .bpm
inline constexpr uint64_t kMaxTensors = 1u << 20;                  // tensors of one model
inline constexpr uint64_t kMaxTensorRank = 8;                      // dimensions of a tensor
inline constexpr uint64_t kMaxTensorElements = uint64_t{1} << 42;  // 4 Ti elements
inline constexpr uint64_t kMaxNameBytes = 512;                     // names of tensors, ops, values
inline constexpr uint64_t kMaxSteps = 1u << 17;                    // steps of a plan
inline constexpr uint64_t kMaxValues = 1u << 19;                   // values of a plan
inline constexpr uint64_t kMaxOperands = 32;                       // of one step
inline constexpr uint64_t kMaxAttributes = 64;                     // of one step
inline constexpr uint64_t kMaxLayers = 1024;                       // blocks of a model
inline constexpr uint64_t kMaxVocabulary = uint64_t{1} << 22;      // tokens
inline constexpr uint64_t kMaxTokenBytes = 1u << 16;               // bytes of one token
inline constexpr uint64_t kMaxContext = uint64_t{1} << 24;         // positions of one sequence
inline constexpr uint64_t kMaxJsonBytes = uint64_t{256} << 20;     // config, tokenizer.json
inline constexpr uint64_t kMaxJsonDepth = 128;                     // nesting of any JSON read
inline constexpr uint64_t kMaxTextBytes = uint64_t{64} << 20;      // text given to a tokenizer
inline constexpr uint64_t kMaxTemplateBytes = 1u << 20;            // source of a chat template
inline constexpr uint64_t kMaxDevices = 256;                       // devices of one plugin
inline constexpr uint64_t kMaxPlugins = 256;                       // candidates of one search
inline constexpr uint64_t kMaxManifestBytes = 1u << 16;            // a plugin manifest

}  // namespace bp::limits
