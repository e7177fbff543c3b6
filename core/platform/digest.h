// SPDX-License-Identifier: Apache-2.0
// SHA-256, streaming. The digests of model files and of the sources they were made from.
//
// Movable, not thread-safe: one object belongs to one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/status.h"

namespace bp {

inline constexpr size_t kSha256Bytes = 32;
using Sha256Digest = std::array<uint8_t, kSha256Bytes>;

class Sha256 {
 public:
  // EXHAUSTED when there is no memory for the state.
  static Result<Sha256> create();
  // The digest of one piece of memory.
  static Result<Sha256Digest> of(std::span<const std::byte> bytes);

  Sha256(Sha256&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}
  Sha256& operator=(Sha256&& other) noexcept {
    std::swap(context_, other.context_);
    return *this;
  }
  ~Sha256();

  Status update(std::span<const std::byte> bytes);
  // The digest of everything given so far. The object starts afresh afterwards.
  Result<Sha256Digest> finish();

 private:
  explicit Sha256(void* context) noexcept : context_(context) {}
  void* context_;  // EVP_MD_CTX, kept out of this header
};

// 64 lower-case hexadecimal digits.
std::string to_hex(const Sha256Digest& digest);

}  // namespace bp
