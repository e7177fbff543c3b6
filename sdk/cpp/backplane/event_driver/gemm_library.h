// SPDX-License-Identifier: Apache-2.0
// cuBLASLt and hipBLASLt as far as bp.gemm/1 uses them. Both have the same entry points with the
// same arguments under another prefix; numbers of attributes and the size of an algorithm differ.
// Opaque types are pointers in both, so they are declared as such and no header is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "backplane/plugin_glue.h"
#include "backplane/shared_library.h"

// Member, symbol behind the prefix, arguments.
#define BP_GEMM_LIBRARY_ENTRIES(X)                                                             \
  X(create, "Create", void**)                                                                  \
  X(destroy, "Destroy", void*)                                                                 \
  X(product_create, "MatmulDescCreate", void**, int, int)                                      \
  X(product_destroy, "MatmulDescDestroy", void*)                                               \
  X(product_set, "MatmulDescSetAttribute", void*, int, const void*, size_t)                    \
  X(layout_create, "MatrixLayoutCreate", void**, int, uint64_t, uint64_t, int64_t)             \
  X(layout_destroy, "MatrixLayoutDestroy", void*)                                              \
  X(preference_create, "MatmulPreferenceCreate", void**)                                       \
  X(preference_destroy, "MatmulPreferenceDestroy", void*)                                      \
  X(preference_set, "MatmulPreferenceSetAttribute", void*, int, const void*, size_t)           \
  X(heuristic, "MatmulAlgoGetHeuristic", void*, void*, void*, void*, void*, void*, void*, int, \
    void*, int*)                                                                               \
  X(multiply, "Matmul", void*, void*, const void*, const void*, void*, const void*, void*,     \
    const void*, const void*, void*, void*, void*, const void*, void*, size_t, void*)

namespace bp::event_driver {

// What a library calls things. Types are 0 for f32 and 2 for f16 in both.
struct GemmNumbers {
  int compute_f32;      // …ComputeType: f32 sums of f16 products
  int transposed;       // …Operation
  int transpose_a;      // attribute of a product
  int max_workspace;    // attribute of a preference
  int min_alignment;    // attributes of a preference, four in a row for A, B, C and D; −1: none
  size_t choice_bytes;  // of an algorithm, the first member of what the heuristic returns
};

// Meaning of a result.
struct GemmFailure {
  bp_status status;
  const char* words;
};

struct GemmLibrary {
  static constexpr int kF32 = 0;
  static constexpr int kF16 = 2;
  static constexpr size_t kMaxChoiceBytes = 64;

  GemmNumbers numbers{};
  GemmFailure (*meaning)(int result) = nullptr;
  const char* name = "";  // "cuBLASLt"
  std::string version;    // "13.0.2"
#define BP_DECLARE(member, symbol, ...) int (*member)(__VA_ARGS__) = nullptr;
  BP_GEMM_LIBRARY_ENTRIES(BP_DECLARE)
#undef BP_DECLARE

  // False when a symbol is missing, which library->error() names.
  bool resolve(glue::SharedLibrary* library, const std::string& prefix) {
#define BP_RESOLVE(member, symbol, ...) \
  if (!library->resolve((prefix + (symbol)).c_str(), &member)) return false;
    BP_GEMM_LIBRARY_ENTRIES(BP_RESOLVE)
#undef BP_RESOLVE
    return true;
  }
};

// What the heuristic returns: the algorithm, size_t workspace, int state, float waves, int[4].
class GemmChoice {
 public:
  void* data() noexcept { return bytes_; }
  const void* algorithm() const noexcept { return bytes_; }
  size_t workspace(const GemmNumbers& numbers) const noexcept {
    size_t out = 0;
    std::memcpy(&out, bytes_ + numbers.choice_bytes, sizeof out);
    return out;
  }
  int state(const GemmNumbers& numbers) const noexcept {
    int out = 0;
    std::memcpy(&out, bytes_ + numbers.choice_bytes + sizeof(size_t), sizeof out);
    return out;
  }

 private:
  alignas(
      16) std::byte bytes_[GemmLibrary::kMaxChoiceBytes + sizeof(size_t) + 6 * sizeof(int)] = {};
};

}  // namespace bp::event_driver
