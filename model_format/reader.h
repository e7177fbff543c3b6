// SPDX-License-Identifier: Apache-2.0
// Opens a .bpm file. What open() returns has been verified (model_format/verify.h): every index,
// shape and range in model() may be followed without further checks.
//
// The FlatBuffer is always copied into memory of our own before it is verified, so nobody can
// change it afterwards. Weights are mapped (open), borrowed (open_memory) or copied (open_source,
// OpenOptions::copy_weights); their bytes are data, never offsets, so bad ones give bad numbers
// and nothing worse. open() does not read them: their digests are checked by verify_digests().
//
// A file that is changed while it is mapped
//   check_unchanged() reports it; callers ask at their borders (once per forward pass). Touching
//   pages that a truncation took away raises SIGBUS. A program that wants an error instead calls
//   install_mapping_guard() (core/platform/mapping_guard.h) once at start, as our command line
//   does: lost pages then read as zeros and check_unchanged() reports CORRUPT. A host program that
//   does not want a signal handler sets copy_weights. See docs/adr/mapped-weights.md.
//
// Immutable and thread-safe. Held by shared_ptr: spans and the fb::Model live as long as it does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "core/base/status.h"
#include "core/platform/digest.h"
#include "model_format/bpm_generated.h"

namespace bp {

struct OpenOptions {
  // Read the weights into memory of our own instead of mapping them: slower to open, private
  // pages, but immune to whatever happens to the file.
  bool copy_weights = false;
};

// Fills `out` from byte `offset` of the model on. Called on the opening thread only.
using ReadAt = std::function<Status(uint64_t offset, std::span<std::byte> out)>;

// Called with bytes done and in all; return false to stop (CANCELLED).
using DigestProgress = std::function<bool(uint64_t done, uint64_t total)>;

class ModelFile {
 public:
  // NOT_FOUND, DENIED; CORRUPT when the content is damaged or inconsistent; INCOMPATIBLE when it
  // uses something newer than this version; EXHAUSTED when memory does not suffice.
  static Result<std::shared_ptr<const ModelFile>> open(const std::filesystem::path& path,
                                                       const OpenOptions& options = {});
  // Borrows `bytes`, which must begin at a multiple of 64 (else INVALID_ARGUMENT) and stay
  // unchanged; `owner` is held as long as they are needed and may be null when the caller
  // guarantees that otherwise.
  static Result<std::shared_ptr<const ModelFile>> open_memory(std::span<const std::byte> bytes,
                                                              std::shared_ptr<const void> owner);
  // Reads everything through a callback; none of it is called after this returns.
  static Result<std::shared_ptr<const ModelFile>> open_source(uint64_t size_bytes,
                                                              const ReadAt& read_at);
  ~ModelFile();
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;

  // The FlatBuffer. Never null inside: architecture, hyper_parameters, plan, and in it symbols,
  // values, steps, arena_bytes; of a tensor everything; of a value name, format, shape, and for
  // outputs and scratch both arena fields; of a step op, inputs, outputs; of an attribute name and
  // value. Anything else may be null, and an empty vector is usually null too.
  const fb::Model& model() const noexcept;
  const fb::Plan& plan() const noexcept { return *model().plan(); }

  uint64_t size_bytes() const noexcept;
  // SHA-256 of the FlatBuffer. As that holds the digest of every tensor, it names the content of
  // the whole file: the key for anything derived from it.
  const Sha256Digest& digest() const noexcept;
  bool is_mapped() const noexcept;

  uint32_t tensor_count() const noexcept;
  // Index of the tensor of that name. Logarithmic.
  std::optional<uint32_t> find_tensor(std::string_view name) const noexcept;
  // Bytes of a plane, at an address that is a multiple of 64. Empty when there is no such plane.
  std::span<const std::byte> plane(uint32_t tensor, uint32_t plane) const noexcept;
  // All bytes of a weight segment, for import by a driver: the size is a multiple of 64 KiB, and
  // so is the address of copied weights; that of mapped ones is a multiple of the page size.
  std::span<const std::byte> segment(uint32_t segment) const noexcept;

  // Reads all weights and compares their digests: CORRUPT names the first tensor that differs.
  // Mapped files are read through their descriptor, so a truncation gives an error here.
  Status verify_digests(const DigestProgress& progress = {}) const;
  Status verify_tensor(uint32_t tensor) const;

  // Advice to the kernel about a tensor's pages; nothing happens for files that are not mapped.
  void will_need(uint32_t tensor) const noexcept;
  void release(uint32_t tensor) const noexcept;

  // CORRUPT when the file has been changed since it was opened. Cheap (one fstat).
  Status check_unchanged() const;

 private:
  struct State;
  explicit ModelFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace bp
