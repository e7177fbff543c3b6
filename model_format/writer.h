// SPDX-License-Identifier: Apache-2.0
// Writes a .bpm file. Streaming: weights go to disk as they are produced, in any order of tensors
// and in row chunks of any size, so a 13B conversion needs memory for one chunk only.
//
//   auto writer = BP_TRY(ModelWriter::create(path, AtomicFile::Existing::kReplace));
//   uint32_t w = BP_TRY(writer->declare_tensor("layers/0/qkv", "q4_g32", {{6144, 4096}}));
//   …                                                   // every tensor, in file order
//   BP_TRY(writer->begin_weights(std::move(model)));    // plan, tokenizer, hyper-parameters
//   for each chunk of rows:
//     BP_TRY(writer->write_plane(w, 0, offset, quants));  // plane 0 "quants"
//     BP_TRY(writer->write_plane(w, 1, offset, scales));  // plane 1 "scales"
//   writer->model().metrics.push_back(…);               // what is known only now
//   BP_TRY(writer->finish());
//
// Deterministic: the same declarations, model and plane bytes give the same file, byte for byte,
// whatever the order and the sizes of the write_plane calls.
//
// Nothing appears under the final name before finish() has succeeded; a destroyed or killed
// writer leaves the old file as it was (AtomicFile).
//
// Threads: one thread at a time, except that write_plane() may be called from several threads at
// once for *different* planes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/platform/file.h"
#include "model_format/bpm_generated.h"
#include "model_format/layout.h"

namespace bp {

class ModelWriter {
 public:
  // What AtomicFile::create() says: FAILED_PRECONDITION when the file exists and may not be
  // replaced, NOT_FOUND without a folder, DENIED, …
  static Result<std::unique_ptr<ModelWriter>> create(const std::filesystem::path& path,
                                                     AtomicFile::Existing existing);
  ~ModelWriter();
  ModelWriter(const ModelWriter&) = delete;
  ModelWriter& operator=(const ModelWriter&) = delete;

  // Adds a tensor and returns its index, which is also its index in Model.tensors. `shape` is
  // outermost first. INVALID_ARGUMENT for an unknown format, a shape that does not fit it, or a
  // bad name; FAILED_PRECONDITION after begin_weights(). Duplicate names are found by
  // begin_weights().
  Result<uint32_t> declare_tensor(std::string_view name, std::string_view format,
                                  std::span<const uint64_t> shape);

  // Fixes the layout. `model` says everything but format_version, segments and tensors, which the
  // writer fills. Room for the final FlatBuffer is reserved: what it needs now plus 16 KiB, for
  // fields that are filled in later through model(). The whole model is verified as a reader
  // would, so a faulty plan is refused here, before hours of quantizing.
  Status begin_weights(fb::ModelT&& model);

  // The model given to begin_weights(), to be amended (metrics, say) before finish(). Its segments
  // and tensors belong to the writer; leave them alone.
  fb::ModelT& model() noexcept;

  // Bytes that plane `plane` of a declared tensor has in all; 0 when there is no such plane.
  uint64_t plane_bytes(uint32_t tensor, uint32_t plane) const noexcept;

  // Writes the next bytes of a plane. `offset` counts from the start of the plane and must be
  // where the previous call for this plane ended: the digest is computed on the way.
  // INVALID_ARGUMENT when it is not, or the bytes run past the end; EXHAUSTED for a full disk.
  Status write_plane(uint32_t tensor, uint32_t plane, uint64_t offset,
                     std::span<const std::byte> bytes);

  // Bytes of planes written so far and in all, for a progress bar. Callable from any thread.
  uint64_t weight_bytes_written() const noexcept;
  uint64_t weight_bytes_total() const noexcept;

  // Fills in digests, verifies once more, writes the FlatBuffer and the header, flushes and
  // renames. FAILED_PRECONDITION when a plane is incomplete. The writer is spent afterwards,
  // whatever the result.
  Status finish();

 private:
  struct State;
  explicit ModelWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace bp
