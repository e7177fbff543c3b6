// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/ops/vendor_product.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/library/halves.h"
#include "kernels/plugin/vendor_gemm.h"

namespace bp::kernels {
namespace {

constexpr uint64_t kPanelBytes = uint64_t{64} << 20;    // f16 weights, or f32 results, at a time
constexpr uint64_t kScratchBytes = uint64_t{32} << 20;  // of the library, as its makers advise
constexpr uint64_t kRowStep = 128;                      // rows of a chunk come in whole tiles
constexpr uint64_t kMaxTokens = 65535;                  // of a grid
constexpr uint64_t kMaxIndex = UINT32_MAX;              // words that a kernel addresses
constexpr uint64_t kAlignment = 256;

// The variable is for tests, whose matrices are small.
uint64_t panel_bytes() {
  const char* const said = std::getenv("BACKPLANE_VENDOR_PANEL_BYTES");
  return said == nullptr ? kPanelBytes : std::strtoull(said, nullptr, 10);
}

uint64_t halves_of(const GemvSpec& spec) {
  return spec.glu ? 2 : 1;
}

bool has_end(const GemvSpec& s) {
  return s.glu || s.bias || s.activation != Activation::kNone || s.softcap > 0;
}

// Rows of about equal chunks that keep panel and product within their limits; 0: not even one.
uint64_t chunk_rows(const GemvSpec& spec, uint64_t tokens, const VendorLayout& layout) {
  const uint64_t limit = panel_bytes();
  uint64_t most = spec.rows;
  if (layout.has_panel) most = std::min(most, limit / (spec.columns * sizeof(uint16_t)));
  if (layout.has_end) most = std::min(most, limit / (tokens * halves_of(spec) * sizeof(float)));
  if (most == spec.rows) return most;
  most = most / kRowStep * kRowStep;
  if (most == 0) return 0;
  const uint64_t chunks = (spec.rows + most - 1) / most;
  const uint64_t even = (spec.rows + chunks - 1) / chunks;
  return (even + kRowStep - 1) / kRowStep * kRowStep;
}

Argument place(VendorLayout* layout, uint64_t bytes) {
  const Argument out{Argument::kWorkspace, 0, layout->bytes, bytes};
  layout->bytes += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return out;
}

uint64_t groups(uint64_t work) {
  return (work + kHalvesThreads - 1) / kHalvesThreads;
}

Result<Launch> panel_launch(const VendorPart& part, uint32_t plane, uint64_t first_row,
                            uint64_t rows, const VendorLayout& layout, Planner& planner) {
  const std::string format(part.spec.format);
  const uint32_t columns = part.spec.columns;
  const uint64_t per_row = columns / panel_chunk(format, columns);
  Launch launch;
  launch.kernel = BP_TRY(planner.kernel(fmt::format("halves {} {}", format, columns),
                                        [&] { return build_weight_halves(format, columns); }));
  for (uint32_t i = 0; i < find_weight_format(format)->plane_count; ++i) {
    launch.arguments.push_back(weight(plane + i));
  }
  launch.arguments.push_back(layout.panel);
  launch.params = {Count::of(first_row * per_row), Count::of(rows * per_row)};
  launch.grid_x = Count::of(groups(rows * per_row));
  launch.grid_y = Count::of(1);
  return launch;
}

// x · wᵀ for `rows` rows of w, which begin at `w`; into y directly or into the product.
Launch product_launch(const VendorPart& part, const Argument& w, uint64_t rows, const Argument& y,
                      uint64_t y_stride, bool accumulate, uint64_t max_tokens,
                      const VendorLayout& layout) {
  bp_gemm_shape shape{};
  shape.size = sizeof shape;
  shape.y_type = BP_GEMM_F32;
  shape.tokens = max_tokens;
  shape.rows = rows;
  shape.columns = shape.x_stride = shape.w_stride = part.spec.columns;
  shape.y_stride = y_stride;
  shape.workspace_bytes = layout.scratch.bytes;
  shape.accumulate = accumulate ? 1 : 0;
  Launch launch;
  launch.product.shape = shape;
  launch.arguments = {layout.x, w, y, layout.scratch};
  launch.params = {{part.tokens, 1, 1, 0}};
  return launch;
}

Result<Launch> end_launch(const VendorPart& part, uint64_t first_row, uint64_t rows,
                          const VendorLayout& layout, Planner& planner) {
  const GemvSpec& s = part.spec;
  const ProductEndSpec spec{.rows = static_cast<uint32_t>(rows),
                            .y_stride = s.y_rows,
                            .glu = s.glu,
                            .bias = s.bias,
                            .residual = s.residual,
                            .activation = s.activation,
                            .softcap = s.softcap};
  Launch launch;
  launch.kernel = BP_TRY(
      planner.kernel(fmt::format("product end {}/{} glu {} bias {} residual {} act {} cap {}",
                                 spec.rows, spec.y_stride, spec.glu, spec.bias, spec.residual,
                                 static_cast<int>(spec.activation), spec.softcap),
                     [&] { return build_product_end(spec); }));
  launch.arguments = {layout.product};
  if (s.glu) launch.arguments.push_back(layout.up_product);
  if (part.bias_plane >= 0) {
    launch.arguments.push_back(weight(static_cast<uint32_t>(part.bias_plane)));
  }
  launch.arguments.push_back(output(0));
  launch.params = {Count::of(first_row)};
  launch.grid_x = {part.tokens, 1, 1, 0};
  launch.grid_y = Count::of(groups(rows / product_end_lanes(spec)));
  return launch;
}

}  // namespace

bool vendor_layout(const GemvSpec& spec, uint64_t most_tokens, const Planner& planner,
                   VendorLayout* out) {
  VendorGemm* const vendor = planner.vendor();
  const std::string format(spec.format);
  // Weights of full precision are not kept for being rounded.
  if (vendor == nullptr || most_tokens < kVendorTokens || most_tokens > kMaxTokens ||
      format == "f32" || !has_halves(format, spec.columns) || vendor->library().empty()) {
    return false;
  }
  if (most_tokens * std::max<uint64_t>(spec.columns, spec.rows) > kMaxIndex) return false;
  VendorLayout layout;
  layout.has_panel = format != "f16";
  layout.has_end = has_end(spec);
  layout.chunk_rows = chunk_rows(spec, most_tokens, layout);
  const uint64_t rows = layout.chunk_rows;
  if (rows == 0) return false;
  if (layout.has_panel &&
      uint64_t{spec.rows} * halves_of(spec) * spec.columns / panel_chunk(format, spec.columns) >
          kMaxIndex / 2) {
    return false;
  }
  layout.x = place(&layout, most_tokens * spec.columns * sizeof(uint16_t));
  if (layout.has_panel) layout.panel = place(&layout, rows * spec.columns * sizeof(uint16_t));
  if (layout.has_end) {
    layout.product = place(&layout, most_tokens * rows * sizeof(float));
  }
  if (spec.glu) layout.up_product = place(&layout, layout.product.bytes);
  layout.scratch = place(&layout, kScratchBytes);
  *out = layout;
  return true;
}

Result<Launch> vendor_x_launch(const bp_dim& tokens, uint32_t columns, const VendorLayout& layout,
                               Planner& planner) {
  Launch launch;
  launch.kernel = BP_TRY(planner.kernel(fmt::format("halves f32 {}", columns),
                                        [&] { return build_activation_halves(columns); }));
  launch.arguments = {input(0), layout.x};
  launch.grid_x = {tokens, 1, 1, 0};
  launch.grid_y = Count::of(groups(columns / 8));
  return launch;
}

Status add_vendor_launches(const VendorPart& part, uint64_t max_tokens, const VendorLayout& layout,
                           Planner& planner, std::vector<Launch>* out) {
  const GemvSpec& s = part.spec;
  const uint64_t row_bytes = s.columns * sizeof(uint16_t);
  for (uint64_t first = 0; first < s.rows; first += layout.chunk_rows) {
    const uint64_t rows = std::min<uint64_t>(layout.chunk_rows, s.rows - first);
    for (uint64_t half = 0; half < halves_of(s); ++half) {
      const uint32_t plane = half == 0 ? part.gate_plane : part.up_plane;
      const uint64_t row = half == 0 ? first : part.up_first_row + first;
      Argument w = layout.panel;
      if (layout.has_panel) {
        out->push_back(BP_TRY(panel_launch(part, plane, row, rows, layout, planner)));
      } else {
        w = weight(plane);
        w.offset = row * row_bytes;
      }
      Argument y = half == 0 ? layout.product : layout.up_product;
      if (!layout.has_end) {
        y = output(0);
        y.offset = (part.first_row + first) * sizeof(float);
      }
      const uint64_t y_stride = layout.has_end ? rows : s.y_rows;
      out->push_back(product_launch(part, w, rows, y, y_stride, s.residual && !layout.has_end,
                                    max_tokens, layout));
    }
    if (layout.has_end) {
      out->push_back(BP_TRY(end_launch(part, part.first_row + first, rows, layout, planner)));
    }
  }
  return {};
}

}  // namespace bp::kernels
