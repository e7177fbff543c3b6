// SPDX-License-Identifier: Apache-2.0
// Moves weights from a checkpoint into a model file, converting on the way, with a few threads.
//
// One thread works on one tensor at a time, in chunks of rows, so memory is that of a few chunks.
// The largest tensors go first, so that no thread is left alone with one at the end. Rows whose
// format does not change are copied as they are; all others pass through f32.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "compiler/convert/convert.h"
#include "compiler/graph/graph.h"
#include "compiler/import/tensor_source.h"
#include "core/platform/digest.h"
#include "model_format/writer.h"

namespace bp::compiler {

// Writes `tensors[i]` to the writer's tensor i, and computes the SHA-256 of each of the source's
// files into `digests` (by index). Returns the first failure; CANCELLED when options say so.
Status stream_weights(const TensorSource& source, std::span<const Weight> tensors,
                      const ConvertOptions& options, ModelWriter& writer,
                      std::vector<Sha256Digest>* digests);

// One tensor, on the calling thread; stops early when `stop` is set. For tests.
Status write_weight(const TensorSource& source, const Weight& weight, uint32_t index,
                    ModelWriter& writer, const std::atomic<bool>& stop);

}  // namespace bp::compiler
