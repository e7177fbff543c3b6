// SPDX-License-Identifier: Apache-2.0
// The x86 tables, assembled from the files that are compiled for each level. This file itself is
// portable code.
#include "plugins/cpu/kernels/tuned/instructions.h"

#include <algorithm>

namespace bp::cpu {

extern const DotSet kAvx2Dots[15];
extern const VectorSet kAvx2Vectors;
extern const DotSet kAvx512FloatDots[3];
extern const DotSet kAvx512QuantizedDots[12];
extern const VectorSet kAvx512Vectors;
extern const MatrixUnit kAmxMatrixUnit;

namespace {

// Below this many rows of activations the dot products win; measured with 4096 × 4096 q4_g32.
constexpr uint32_t kAmxTokens = 12;

InstructionSet assemble(const char* name, const DotSet* floats, const DotSet* quantized,
                        const VectorSet& vectors, const MatrixUnit* matrix) {
  InstructionSet set{};
  set.name = name;
  std::copy_n(floats, 3, set.dot);
  std::copy_n(quantized, 12, set.dot + 3);
  set.vectors = vectors;
  set.matrix = matrix;
  set.matrix_tokens = kAmxTokens;
  return set;
}

}  // namespace

const InstructionSet* avx2_instructions() noexcept {
  static const InstructionSet set =
      assemble("avx2", kAvx2Dots, kAvx2Dots + 3, kAvx2Vectors, nullptr);
  return &set;
}

const InstructionSet* avx512_instructions() noexcept {
  static const InstructionSet set =
      assemble("avx512 vnni", kAvx512FloatDots, kAvx512QuantizedDots, kAvx512Vectors, nullptr);
  return &set;
}

const InstructionSet* amx_instructions() noexcept {
  static const InstructionSet set =
      assemble("amx", kAvx512FloatDots, kAvx512QuantizedDots, kAvx512Vectors, &kAmxMatrixUnit);
  return &set;
}

}  // namespace bp::cpu
