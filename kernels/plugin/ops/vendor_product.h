// SPDX-License-Identifier: Apache-2.0
// linear and linear_glu for prompts by the vendor's library: activations become f16, then for each
// run of rows a panel of weights does, the library multiplies, and a kernel applies what is left.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/library/gemv.h"
#include "kernels/plugin/planner.h"

namespace bp::kernels {

// Passes of fewer tokens never ask the library: their weights would be written and read as f16 for
// too little arithmetic.
inline constexpr uint64_t kVendorTokens = 64;
// Passes up to each of these have an algorithm, and a measurement, of their own.
inline constexpr uint64_t kVendorBuckets[] = {128, 512};

// Where things lie in the workspace, for passes of up to so many tokens of one matrix.
struct VendorLayout {
  uint64_t chunk_rows = 0;  // of y at a time
  bool has_panel = false;   // weights are turned into f16; otherwise they are
  bool has_end = false;     // the result goes through a kernel of ours
  Argument x, panel, product, up_product, scratch;
  uint64_t bytes = 0;
};

// Rows of y whose planes are bound together, as linear.cc divides them.
struct VendorPart {
  GemvSpec spec;  // rows, y_rows and what follows the product
  uint64_t first_row = 0;
  uint32_t gate_plane = 0;
  uint32_t up_plane = 0;      // with `glu`; the same plane in a merged matrix
  uint64_t up_first_row = 0;  // within its planes
  int32_t bias_plane = -1;
  bp_dim tokens{};
};

// False where the library is not used for such a product: no library, f32 weights, rows that do
// not come in vectors, too few tokens, no room. `spec` has the rows of the whole op.
bool vendor_layout(const GemvSpec& spec, uint64_t most_tokens, const Planner& planner,
                   VendorLayout* out);

// x of the op as f16: the first launch of every rival.
Result<Launch> vendor_x_launch(const bp_dim& tokens, uint32_t columns, const VendorLayout& layout,
                               Planner& planner);
// Appends the launches of one part for passes of up to max_tokens.
Status add_vendor_launches(const VendorPart& part, uint64_t max_tokens, const VendorLayout& layout,
                           Planner& planner, std::vector<Launch>* out);

}  // namespace bp::kernels
