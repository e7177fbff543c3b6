// SPDX-License-Identifier: Apache-2.0
// Embedding rows.
#include "kernels/library/embed.h"

#include <vector>

#include "kernels/builder/builder.h"
#include "kernels/library/weights.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxColumns = 1u << 24;

bool valid_threads(uint32_t threads) {
  return is_power_of_two(threads) && threads <= kMaxThreads;
}

}  // namespace

Result<Kernel> build_embed(const EmbedSpec& spec, uint32_t threads) {
  const WeightReader* reader = find_weight_reader(spec.format);
  const uint32_t chunk = reader != nullptr ? reader->chunk_elements(spec.columns) : 0;
  if (chunk == 0 || spec.columns == 0 || spec.columns > kMaxColumns || !valid_threads(threads)) {
    return error(Code::kInvalidArgument, "embed {} [*, {}] with {} threads: no such kernel",
                 spec.format, spec.columns, threads);
  }
  Builder k("embed_" + spec.format, threads);
  Buf ids = k.in("ids");
  const std::vector<Buf> planes = reader->declare(k, "table");
  Buf y = k.out("y");
  const Val first = k.param_u32("first_row"), rows = k.param_u32("rows");
  const Val token = k.group_x(), t = k.tid(), id = ids.u32(token);
  const Val row = id - first;  // wraps around below `first`, and is then none of ours either
  const Val inside = row < rows;
  const Val unknown = (id >= k.param_u32("vocabulary")) & (first == 0);
  const uint32_t chunks = spec.columns / chunk, lanes = chunk % 4 == 0 ? 4 : chunk;
  k.when(inside | unknown, [&] {
    k.loop(t, chunks, threads, [&](Val c) {
      const WeightChunk words =
          reader->load(planes, select(inside, row, 0) * chunks + c, spec.columns);
      const std::vector<Val> v = weight_values(*reader, words, spec.columns);
      for (uint32_t i = 0; i < chunk; i += lanes) {
        std::vector<Val> some;
        for (uint32_t j = 0; j < lanes; ++j)
          some.push_back(select(inside, v[i + j] * spec.scale, 0.0f));
        y.store((token * chunks + c) * (chunk / lanes) + i / lanes, make_vec(some));
      }
    });
  });
  return k.finish();
}

}  // namespace bp::kernels
