// SPDX-License-Identifier: Apache-2.0
// Reads the header of a binary file forward, through a small buffer, trusting no length in it.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "core/base/status.h"
#include "core/platform/file.h"

namespace bp {

// One thread. Every read fails with CORRUPT at the end of the file, and with EXHAUSTED beyond
// `max_bytes`; nothing is allocated for bytes that are not there.
class HeaderReader {
 public:
  HeaderReader(std::shared_ptr<File> file, uint64_t max_bytes)
      : file_(std::move(file)), max_bytes_(max_bytes) {}

  uint64_t position() const { return position_; }
  // Bytes between here and the end of the file.
  uint64_t remaining() const { return file_->size_bytes() - position_; }

  // A little-endian number.
  template <typename T>
  requires std::is_arithmetic_v<T> Result<T> number() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    BP_TRY(read(&value, sizeof value));
    return value;
  }

  // Appends `length` bytes to `out`.
  Status append(uint64_t length, std::string* out) {
    BP_TRY(check_room(length));
    const size_t before = out->size();
    out->resize(before + length);
    return read(out->data() + before, length);
  }

  // CORRUPT or EXHAUSTED unless `length` more bytes can be read.
  Status check_room(uint64_t length) const {
    if (length > remaining()) {
      return error(Code::kCorrupt, "{} bytes are announced at byte {}, but the file ends after {}",
                   length, position_, remaining());
    }
    if (length > max_bytes_ - position_) {
      return error(Code::kExhausted, "the header is longer than {} bytes", max_bytes_);
    }
    return {};
  }

 private:
  Status read(void* out, uint64_t length) {
    BP_TRY(check_room(length));
    auto* target = static_cast<std::byte*>(out);
    while (length > 0) {
      if (used_ == filled_) BP_TRY(fill());
      const size_t part = static_cast<size_t>(std::min<uint64_t>(length, filled_ - used_));
      std::memcpy(target, buffer_.data() + used_, part);
      used_ += part;
      position_ += part;
      target += part;
      length -= part;
    }
    return {};
  }

  // Called with an empty buffer and at least one byte left in the file.
  Status fill() {
    const auto part = static_cast<size_t>(std::min<uint64_t>(buffer_.size(), remaining()));
    BP_TRY(file_->read_at(position_, std::span(buffer_).first(part)));
    used_ = 0;
    filled_ = part;
    return {};
  }

  std::shared_ptr<File> file_;
  uint64_t max_bytes_;
  uint64_t position_ = 0;
  std::array<std::byte, 65536> buffer_;
  size_t used_ = 0;
  size_t filled_ = 0;
};

}  // namespace bp
