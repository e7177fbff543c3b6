// SPDX-License-Identifier: Apache-2.0
// The builder behind build_gemm, which checks spec and schedule before: tiles and their loading,
// then either fused multiply-adds of single threads or fragments of matrix units.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/builder/builder.h"
#include "kernels/library/gemm.h"
#include "kernels/library/weights.h"

namespace bp::kernels {

inline constexpr uint32_t kHalfVector = 8;  // halves of a shared vector of four words

// Floats of a shared vector: what alignment of rows of `columns` floats allows.
inline uint32_t vector_lanes(uint32_t columns) {
  return columns % 4 == 0 ? 4 : columns % 2 == 0 ? 2 : 1;
}

class GemmBuilder {
 public:
  GemmBuilder(const GemmSpec& spec, const GemmSchedule& schedule, const WeightReader& reader)
      : s_(spec),
        d_(schedule),
        reader_(reader),
        k_(spec.glu ? "gemm_glu_" + spec.format : "gemm_" + spec.format, schedule.threads()),
        chunk_(reader.chunk_elements(spec.columns)),
        chunks_(spec.columns / chunk_),
        vector_(schedule.matrix != 0 ? kHalfVector : vector_lanes(spec.columns)),
        stride_(schedule.tile_columns / vector_ + schedule.pad),
        tiles_((spec.columns + schedule.tile_columns - 1) / schedule.tile_columns) {}

  Result<Kernel> build();

 private:
  // What a thread brings into shared memory for each tile of columns: a chunk of weights, or a
  // vector of x.
  struct Task {
    const std::vector<Buf>* planes;  // null: x
    Val row_start;                   // chunk or vector index of the row's first column
    Val column;                      // chunk or vector within the tile
    Val slot;                        // where it goes, in vectors
    Val mine;                        // condition, or no value where every thread has this task
  };
  struct Loaded {
    std::vector<WeightChunk> weights;
    std::vector<std::vector<Val>> x;  // floats of each vector
  };
  void declare();
  void place();
  void place_weights(uint32_t half);
  void place_x();
  Task task(uint32_t round, uint32_t count, uint32_t per_row, Val* row);
  Loaded load(const Val& tile) const;
  void store(const Loaded& loaded, const Val& stage);
  void multiply(const Val& stage);
  void finish_results();
  void multiply_fragments(const Val& stage);
  void finish_fragments();
  Val vector_of(const std::vector<Val>& floats, uint32_t at) const;
  // Bias, activation and the rest for one result, and its store. `up` with glu alone. `row` is one
  // of the launch; nothing happens where there is none.
  void result(const Val& token, const Val& row, const Val& sum, const Val& up);
  const Var& sum(uint32_t half, uint32_t i, uint32_t j) const {
    return sums_[(half * d_.thread_tokens + i) * d_.thread_rows + j];
  }
  uint32_t halves() const { return s_.glu ? 2 : 1; }
  // Of subgroups: how many lie side by side along the rows, how many there are, and whose this is.
  uint32_t row_subgroups() const { return d_.tile_rows / (kFragmentSize * d_.thread_rows); }
  uint32_t subgroups() const { return d_.threads() / d_.matrix; }
  uint32_t row_threads() const { return d_.tile_rows / d_.thread_rows; }
  uint32_t token_threads() const { return d_.tile_tokens / d_.thread_tokens; }
  uint32_t w_stage() const { return halves() * d_.tile_rows * stride_; }  // vectors
  uint32_t x_stage() const { return d_.tile_tokens * stride_; }

  const GemmSpec& s_;
  const GemmSchedule& d_;
  const WeightReader& reader_;
  Builder k_;
  const uint32_t chunk_, chunks_, vector_, stride_, tiles_;  // vector: elements of a shared one
  std::vector<Buf> planes_, up_planes_;
  Buf x_, bias_, residual_, y_;
  Shared w_tile_, x_tile_;
  Val tokens_, first_row_, token0_, row0_, token_lane_, row_lane_;
  std::vector<Task> weight_tasks_, x_tasks_;
  std::vector<Var> sums_;  // [half, token, row]
};

}  // namespace bp::kernels
