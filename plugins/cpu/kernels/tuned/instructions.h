// SPDX-License-Identifier: Apache-2.0
// What a level of instructions offers to the tuned ops: tables of functions, one set per level.
//
// The ops in kernels/tuned divide work among threads and know shapes; these functions are the
// inner loops. Files that define them are compiled with the flags of their level and therefore
// include nothing but intrinsics and plain headers: an inline function of the standard library,
// compiled there, could be picked by the linker for the whole plugin and fail on an older machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bp::cpu {

// Rows of a weight as inner loops see them: planes of the first row, bytes to the next row.
struct RowBlock {
  const uint8_t* planes[4];
  uint64_t strides[4];
  uint64_t columns;
};

// Products of weight rows with activations, for one weight format. Activations are packed first,
// into a layout that only this set knows (8-bit integers in the order of the format's quants, say).
struct DotSet {
  // Bytes of one packed row; a multiple of 64.
  uint64_t (*packed_bytes)(uint64_t columns);
  void (*pack)(const float* x, uint64_t columns, std::byte* out);
  // out[t * out_stride + r] = row r · token t, for `rows` rows and `tokens` tokens whose packed
  // rows lie packed_stride bytes apart, aligned to 64.
  void (*dot)(const RowBlock& weight, uint64_t rows, const std::byte* packed,
              uint64_t packed_stride, uint64_t tokens, float* out, uint64_t out_stride);
};

// Columns [begin, begin + count) of up to 32 rows; begin is a multiple of 512.
struct PanelPart {
  RowBlock weight;
  uint64_t rows;
  uint64_t begin;
  uint64_t count;
};

// Packed columns of all groups of tokens.
struct PackedPart {
  const std::byte* first;  // the columns of group 0
  uint64_t group_bytes;    // from one group to the next
  uint64_t groups;
  // What will be multiplied next, of group 0, and the share of each column tile (2048 bytes) that
  // this call fetches into the second-level cache: bytes [fetch_begin, fetch_end).
  const std::byte* next;
  uint64_t next_tiles;
  uint64_t fetch_begin, fetch_end;
};

// A matrix unit for bf16: panels of 32 weight rows against groups of 32 tokens, sums in f32.
// Everything it reads is laid out in tiles of 32 columns, so that a tile is 16 cache lines.
struct MatrixUnit {
  // Packs up to 32 tokens: out[columns / 32][2 halves][16 column pairs][16 tokens][2] bf16, zeros
  // beyond `tokens` and `columns`; packed_bytes(columns) bytes.
  void (*pack)(const float* x, uint64_t x_stride, uint64_t columns, uint64_t tokens, void* out);
  // panel[columns / 32][32 rows][32] bf16 of a part of the weight, by format; NULL for formats
  // that bf16 would hurt. Fetches the parts `ahead` on the way, a row at a time: they are a few
  // hundred bytes of each row, too little for the processor to see a pattern in, and asking for
  // all of them at once would stall.
  void (*dequantize[15])(const PanelPart& part, const PanelPart* ahead, uint64_t ahead_count,
                         void* panel);
  // sums[group][32 rows][32 tokens] = panel × packed tokens over `columns` columns, added to what
  // is there where `accumulate` is set. On the way it fetches its share of what comes next.
  void (*multiply)(const void* panel, uint64_t columns, const PackedPart& packed, bool accumulate,
                   float* sums);
  // out[t * out_stride + r] = sums[r][t] for 32 rows and up to 32 tokens.
  void (*transpose)(const float* sums, uint64_t tokens, float* out, uint64_t out_stride);
  // Around a run of multiply on one thread.
  void (*begin)();
  void (*end)();
};
inline constexpr uint64_t kMatrixRows = 32;
inline constexpr uint64_t kMatrixTokens = 32;
inline constexpr uint64_t kMatrixColumns = 512;  // of a panel
inline constexpr uint64_t kPanelBytes = kMatrixRows * kMatrixColumns * 2;

// Bytes of one packed group of tokens.
constexpr uint64_t matrix_packed_bytes(uint64_t columns) {
  return (columns + 31) / 32 * 2048;
}

// Cache elements and their vectors; formats in the order f32, f16, bf16, q8.
inline constexpr uint32_t kCacheFormats = 4;

// Rows of a cache that lie together. `scales` of them, scale_stride a row, in q8 alone, whose rows
// are whole blocks of 32.
struct CacheRows {
  const void* values;
  const uint16_t* scales;
  uint64_t scale_stride;
};

struct VectorSet {
  // y = x × (1 / sqrt(mean(x²) + eps)) × gain (+ residual, which may be NULL or equal y).
  void (*rms_norm)(const float* x, const float* gain, const float* residual, double eps,
                   uint64_t count, float* y);
  // y = (x - mean(x)) × (1 / sqrt(variance(x) + eps)) × gain (+ bias) (+ residual), either may be
  // NULL, and the residual equal y.
  void (*layer_norm)(const float* x, const float* gain, const float* bias, const float* residual,
                     double eps, uint64_t count, float* y);
  // y = act(gate) × up; activation as the number of Activation.
  void (*gate)(int activation, const float* gate, const float* up, uint64_t count, float* y);
  // y = cap(act(x)) (+ residual), softcap <= 0 means none.
  void (*finish)(int activation, float softcap, const float* x, const float* residual,
                 uint64_t count, float* y);
  // Rotates pairs (i, i + pairs) of x, cos and sin of `pairs` angles; in place allowed.
  void (*rotate_halves)(const float* x, const float* cosine, const float* sine, uint64_t pairs,
                        float* y);
  // f32 to a row of a cache format, to nearest even. Scales are written in q8 alone.
  void (*store[kCacheFormats])(const float* x, uint64_t count, void* out, uint16_t* scales);
  // scores[q * score_stride + j] = scale × q · k[j] for rows of `dim` elements; few queries.
  void (*scores[kCacheFormats])(const float* q, uint64_t queries, uint64_t dim, CacheRows k,
                                uint64_t keys, float scale, float* scores, uint64_t score_stride);
  // The same for many queries, in two steps: out[d * stride + j] = k[j][d], then the products.
  // `keys` of the second is a multiple of 16.
  void (*transpose_keys[kCacheFormats])(CacheRows k, uint64_t keys, uint64_t dim, float* out,
                                        uint64_t stride);
  void (*scores_transposed)(const float* q, uint64_t queries, uint64_t dim, const float* k,
                            uint64_t stride, uint64_t keys, float scale, float* scores,
                            uint64_t score_stride);
  // out[q][dim] += Σⱼ weights[q * weight_stride + j] × v[j]
  void (*accumulate[kCacheFormats])(const float* weights, uint64_t weight_stride, uint64_t queries,
                                    uint64_t dim, CacheRows v, uint64_t keys, float* out);
  // scores = softcap × tanh(scores / softcap)
  void (*soft_cap)(float softcap, float* scores, uint64_t count);
  // Online softmax of one row: raises *largest to the row's maximum, replaces scores by
  // exp(score − largest), adds them to *total; returns the factor that old sums must be scaled by.
  float (*softmax_step)(float* scores, uint64_t count, float* largest, float* total);
  void (*scale)(float factor, uint64_t count, float* x);
};

struct InstructionSet {
  const char* name;
  DotSet dot[15];  // by weight format; packed_bytes NULL where there is none
  VectorSet vectors;
  const MatrixUnit* matrix;  // NULL without one
  // Fewest tokens for which the matrix unit beats the dot products.
  uint32_t matrix_tokens;
};

// The tables of this build; call only what cpu_features() allows. NULL where not compiled in.
const InstructionSet* avx2_instructions() noexcept;
const InstructionSet* avx512_instructions() noexcept;
const InstructionSet* amx_instructions() noexcept;
const InstructionSet* neon_instructions() noexcept;

}  // namespace bp::cpu
