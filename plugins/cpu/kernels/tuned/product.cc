// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/kernels/tuned/product.h"

#include <algorithm>
#include <atomic>

#include "plugins/cpu/host.h"

namespace bp::cpu {
namespace {

constexpr uint64_t kDotRows = 32;    // weight rows of one step of the dot products
constexpr uint64_t kDotTokens = 64;  // activation rows of one step
constexpr uint64_t kMaxMacroRows = 256;
constexpr uint64_t kMaxSlots = 256;
// Multiplications below which another thread costs more than it brings.
constexpr uint64_t kMinParallelWork = 64 * 1024;
// Packed activations of this size do not stay in a second-level cache beside the sums.
constexpr uint64_t kFetchFromBytes = 512 * 1024;

uint64_t round_up(uint64_t value, uint64_t to) {
  return (value + to - 1) / to * to;
}

RowBlock row_block(const Weight& weight, uint64_t first_row) {
  RowBlock out{};
  out.columns = weight.columns;
  for (uint32_t p = 0; p < weight.layout->plane_count; ++p) {
    out.strides[p] = weight.blocks_per_row() * weight.layout->planes[p].bytes_per_block;
    out.planes[p] = reinterpret_cast<const uint8_t*>(weight.planes[p]) + first_row * out.strides[p];
  }
  return out;
}

size_t index_of(Format format) {
  return static_cast<size_t>(format);
}

}  // namespace

// What all threads of one run share.
struct Product::Pass {
  const ProductInput* input;
  ProductSegment* segments;
  uint64_t segment_count;
  std::byte* packed;
  const ProductSink* sink;
};

void Product::describe(const InstructionSet* set, Format first, Format second, bool has_second,
                       uint64_t rows, uint64_t columns) {
  set_ = set;
  formats_[0] = first;
  formats_[1] = has_second ? second : first;
  has_second_ = has_second;
  rows_ = rows;
  columns_ = columns;
  slots_ = std::min<uint64_t>(worker_count(), kMaxSlots);
  // Packed rows depend on the inner loop only through its pack function.
  shares_packed_ = set->dot[index_of(formats_[0])].pack == set->dot[index_of(formats_[1])].pack;
  // Four shares for each thread, so that one that is late costs little.
  macro_rows_ = std::clamp(round_up(rows / (4 * slots_), kMatrixRows), kMatrixRows,
                           has_second ? kMaxMacroRows / 2 : kMaxMacroRows);
}

bool Product::is_supported() const noexcept {
  return set_->dot[index_of(formats_[0])].dot != nullptr &&
         set_->dot[index_of(formats_[1])].dot != nullptr;
}

bool Product::uses_matrix(uint64_t count) const noexcept {
  return set_->matrix != nullptr && count >= set_->matrix_tokens &&
         set_->matrix->dequantize[index_of(formats_[0])] != nullptr &&
         set_->matrix->dequantize[index_of(formats_[1])] != nullptr;
}

uint64_t Product::workspace_bytes(uint64_t max_rows) const noexcept {
  const uint64_t rows = std::min(max_rows, kProductRows);
  uint64_t dot_bytes = set_->dot[index_of(formats_[0])].packed_bytes(columns_);
  if (!shares_packed_) dot_bytes += set_->dot[index_of(formats_[1])].packed_bytes(columns_);
  uint64_t packed_bytes = rows * dot_bytes;
  uint64_t scratch_bytes = 0;
  if (uses_matrix(rows)) {
    // Every segment of at least matrix_tokens rows may leave a last group nearly empty.
    const uint64_t groups = rows / kMatrixTokens + rows / set_->matrix_tokens + 1;
    packed_bytes += groups * matrix_packed_bytes(columns_);
    const uint64_t sums_bytes = macro_rows_ * kProductRows * sizeof(float);
    scratch_bytes = slots_ * (kPanelBytes + sums_bytes * (has_second_ ? 2 : 1));
  }
  return packed_bytes + scratch_bytes + 64;
}

// Decides how each segment runs; returns the bytes of all packed rows.
uint64_t Product::assign(ProductSegment* segments, uint64_t segment_count) const noexcept {
  uint64_t bytes = 0;
  for (uint64_t s = 0; s < segment_count; ++s) {
    ProductSegment& segment = segments[s];
    const uint64_t count = segment.end - segment.begin;
    segment.uses_matrix = uses_matrix(count);
    segment.packed_offset = segment.second_packed_offset = bytes;
    if (segment.uses_matrix) {
      bytes += (count + kMatrixTokens - 1) / kMatrixTokens * matrix_packed_bytes(columns_);
      continue;
    }
    bytes += count * set_->dot[index_of(formats_[0])].packed_bytes(columns_);
    if (shares_packed_) continue;
    segment.second_packed_offset = bytes;
    bytes += count * set_->dot[index_of(formats_[1])].packed_bytes(columns_);
  }
  return bytes;
}

void Product::pack_row(const Pass& pass, const ProductSegment& segment, uint64_t i) const {
  const float* const x = pass.input->row(segment.begin + i);
  const DotSet& first = set_->dot[index_of(formats_[0])];
  first.pack(x, columns_, pass.packed + segment.packed_offset + i * first.packed_bytes(columns_));
  if (shares_packed_) return;
  const DotSet& second = set_->dot[index_of(formats_[1])];
  second.pack(x, columns_,
              pass.packed + segment.second_packed_offset + i * second.packed_bytes(columns_));
}

void Product::pack_group(const Pass& pass, const ProductSegment& segment, uint64_t group) const {
  const uint64_t begin = segment.begin + group * kMatrixTokens;
  const uint64_t count = std::min(kMatrixTokens, segment.end - begin);
  std::byte* const out =
      pass.packed + segment.packed_offset + group * matrix_packed_bytes(columns_);
  const ProductInput& input = *pass.input;
  if (input.order == nullptr && input.divisor == 1) {
    set_->matrix->pack(input.row(begin), input.stride, columns_, count, out);
    return;
  }
  // Rows that lie anywhere are gathered, some columns at a time.
  alignas(64) float rows[kMatrixTokens * 64];
  for (uint64_t k = 0; k < columns_; k += 64) {
    const uint64_t width = std::min<uint64_t>(64, columns_ - k);
    for (uint64_t i = 0; i < count; ++i) {
      std::memcpy(rows + i * 64, input.row(begin + i) + k, width * sizeof(float));
    }
    set_->matrix->pack(rows, 64, width, count, out + matrix_packed_bytes(k));
  }
}

bp_status Product::pack(const Pass& pass) const {
  for (uint64_t s = 0; s < pass.segment_count; ++s) {
    const ProductSegment& segment = pass.segments[s];
    const uint64_t count = segment.end - segment.begin;
    const uint64_t items =
        segment.uses_matrix ? (count + kMatrixTokens - 1) / kMatrixTokens : count;
    const uint64_t item_work = columns_ * (segment.uses_matrix ? kMatrixTokens : 1);
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t i = begin; i < end; ++i) {
        if (segment.uses_matrix) {
          pack_group(pass, segment, i);
        } else {
          pack_row(pass, segment, i);
        }
      }
    };
    const uint64_t grain = std::max<uint64_t>(1, 16384 / item_work);
    if (const bp_status status = parallel_for(items, grain, body)) return status;
  }
  return BP_OK;
}

// Weight rows [n, n + count), at most kDotRows.
void Product::run_dots(const Pass& pass, const ProductSegment& segment, uint64_t n,
                       uint64_t count) const {
  alignas(64) float first[kDotTokens * kDotRows];
  alignas(64) float second[kDotTokens * kDotRows];
  const uint64_t activations = segment.end - segment.begin;
  for (uint64_t t0 = 0; t0 < activations; t0 += kDotTokens) {
    const uint64_t tokens = std::min(kDotTokens, activations - t0);
    const auto multiply = [&](Format format, const Weight& weight, uint64_t offset, float* out) {
      const DotSet& dots = set_->dot[index_of(format)];
      const uint64_t stride = dots.packed_bytes(columns_);
      dots.dot(row_block(weight, n), count, pass.packed + offset + t0 * stride, stride, tokens, out,
               kDotRows);
    };
    multiply(formats_[0], segment.first, segment.packed_offset, first);
    if (has_second_) {
      multiply(formats_[1], segment.second, segment.second_packed_offset, second);
    }
    for (uint64_t t = 0; t < tokens; ++t) {
      pass.sink->store(segment.begin + t0 + t, n, count, first + t * kDotRows,
                       second + t * kDotRows);
    }
  }
}

// sums[count / 32][groups][32][32] of weight rows [n, n + count).
void Product::multiply_panels(const Pass& pass, const ProductSegment& segment, const Weight& weight,
                              uint64_t n, uint64_t count, std::byte* panel, float* sums) const {
  const uint64_t groups = (segment.end - segment.begin + kMatrixTokens - 1) / kMatrixTokens;
  const uint64_t group_bytes = matrix_packed_bytes(columns_);
  const auto dequantize = set_->matrix->dequantize[index_of(weight.format)];
  const auto part = [&](uint64_t r, uint64_t k) {
    return PanelPart{row_block(weight, n + r), std::min(kMatrixRows, count - r), k,
                     std::min(kMatrixColumns, columns_ - k)};
  };
  for (uint64_t k = 0; k < columns_; k += kMatrixColumns) {
    const uint64_t width = std::min(kMatrixColumns, columns_ - k);
    const std::byte* const base = pass.packed + segment.packed_offset;
    const uint64_t next_k = k + width < columns_ ? k + width : 0;
    PackedPart packed{};
    packed.first = base + matrix_packed_bytes(k);
    packed.group_bytes = group_bytes;
    packed.groups = groups;
    packed.next = base + matrix_packed_bytes(next_k);
    packed.next_tiles = (std::min(kMatrixColumns, columns_ - next_k) + 31) / 32;
    // Panels share the fetching of the next columns; few activations stay in the cache anyway.
    const uint64_t panels = (count + kMatrixRows - 1) / kMatrixRows;
    const uint64_t share = groups * group_bytes < kFetchFromBytes ? 0 : round_up(2048 / panels, 64);
    for (uint64_t r = 0; r < count; r += kMatrixRows) {
      // The same rows come again with the next columns; at first, so do the next rows.
      PanelPart ahead[2];
      uint64_t ahead_count = 0;
      if (k + width < columns_) ahead[ahead_count++] = part(r, k + width);
      if (k == 0 && r + kMatrixRows < count) ahead[ahead_count++] = part(r + kMatrixRows, 0);
      dequantize(part(r, k), ahead, ahead_count, panel);
      packed.fetch_begin = std::min<uint64_t>(2048, r / kMatrixRows * share);
      packed.fetch_end = std::min<uint64_t>(2048, packed.fetch_begin + share);
      set_->matrix->multiply(panel, width, packed, k != 0, sums + r * groups * kMatrixTokens);
    }
  }
}

// Weight rows [n, n + count), at most macro_rows_.
void Product::run_matrix(const Pass& pass, const ProductSegment& segment, uint64_t n,
                         uint64_t count, std::byte* scratch) const {
  float* const first = reinterpret_cast<float*>(scratch + kPanelBytes);
  float* const second = first + macro_rows_ * kProductRows;
  multiply_panels(pass, segment, segment.first, n, count, scratch, first);
  if (has_second_) multiply_panels(pass, segment, segment.second, n, count, scratch, second);
  const uint64_t activations = segment.end - segment.begin;
  const uint64_t groups = (activations + kMatrixTokens - 1) / kMatrixTokens;
  // Whole stretches of a token's outputs are stored at once: tokens lie pages apart.
  alignas(64) float rows[kMatrixTokens * kMaxMacroRows];
  alignas(64) float second_rows[kMatrixTokens * kMaxMacroRows / 2];
  for (uint64_t g = 0; g < groups; ++g) {
    const uint64_t tokens = std::min(kMatrixTokens, activations - g * kMatrixTokens);
    for (uint64_t r = 0; r < count; r += kMatrixRows) {
      const uint64_t at = (r * groups + g * kMatrixRows) * kMatrixTokens;
      set_->matrix->transpose(first + at, tokens, rows + r, macro_rows_);
      if (has_second_) set_->matrix->transpose(second + at, tokens, second_rows + r, macro_rows_);
    }
    for (uint64_t t = 0; t < tokens; ++t) {
      pass.sink->store(segment.begin + g * kMatrixTokens + t, n, count, rows + t * macro_rows_,
                       second_rows + t * (has_second_ ? macro_rows_ : 0));
    }
  }
}

bp_status Product::run(const ProductInput& input, ProductSegment* segments, uint64_t segment_count,
                       std::byte* workspace, const ProductSink& sink) const {
  const Pass pass{&input, segments, segment_count, workspace, &sink};
  const uint64_t packed_bytes = assign(segments, segment_count);
  if (const bp_status status = pack(pass)) return status;
  uint64_t dot_activations = 0;
  bool has_matrix = false;
  for (uint64_t s = 0; s < segment_count; ++s) {
    if (segments[s].uses_matrix) {
      has_matrix = true;
    } else {
      dot_activations += segments[s].end - segments[s].begin;
    }
  }
  if (dot_activations != 0) {
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t block = begin; block < end; ++block) {
        const uint64_t n = block * kDotRows;
        for (uint64_t s = 0; s < segment_count; ++s) {
          if (segments[s].uses_matrix || segments[s].begin == segments[s].end) continue;
          run_dots(pass, segments[s], n, std::min(kDotRows, rows_ - n));
        }
      }
    };
    const uint64_t block_work = kDotRows * columns_ * dot_activations * (has_second_ ? 2 : 1);
    const uint64_t grain = std::max<uint64_t>(1, kMinParallelWork / block_work);
    const bp_status status = parallel_for((rows_ + kDotRows - 1) / kDotRows, grain, body);
    if (status != BP_OK) return status;
  }
  if (!has_matrix) return BP_OK;
  // Each item is a thread's place in the scratch memory, whichever thread it is; the shares of
  // the work are drawn from a counter.
  std::atomic<uint64_t> next{0};
  std::byte* const scratch = workspace + round_up(packed_bytes, 64);
  const uint64_t scratch_bytes =
      kPanelBytes + macro_rows_ * kProductRows * sizeof(float) * (has_second_ ? 2 : 1);
  const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
    set_->matrix->begin();
    for (uint64_t slot = begin; slot < end; ++slot) {
      for (;;) {
        const uint64_t n = next.fetch_add(macro_rows_, std::memory_order_relaxed);
        if (n >= rows_) break;
        for (uint64_t s = 0; s < segment_count; ++s) {
          if (!segments[s].uses_matrix) continue;
          run_matrix(pass, segments[s], n, std::min(macro_rows_, rows_ - n),
                     scratch + slot * scratch_bytes);
        }
      }
    }
    set_->matrix->end();
  };
  return parallel_for(slots_, 1, body);
}

}  // namespace bp::cpu
