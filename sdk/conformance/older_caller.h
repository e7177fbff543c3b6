// SPDX-License-Identifier: Apache-2.0
// A growable struct of the contract as a caller has it who was compiled with another size: the
// bytes beyond his size are canaries that no plugin may touch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bp::conformance {

template <class T>
class OlderCaller {
 public:
  // The caller knows the first `size` bytes of T.
  explicit OlderCaller(size_t size) : size_(static_cast<uint32_t>(size)) {
    std::memset(bytes_, 0, sizeof bytes_);
    if (size_ < sizeof bytes_) std::memset(bytes_ + size_, kCanary, sizeof bytes_ - size_);
    std::memcpy(bytes_, &size_, sizeof size_);
  }
  T* get() noexcept { return reinterpret_cast<T*>(bytes_); }
  // Are all bytes beyond the caller's size as they were?
  bool is_intact() const noexcept {
    for (size_t i = size_; i < sizeof bytes_; ++i) {
      if (bytes_[i] != kCanary) return false;
    }
    return true;
  }
  // Has the plugin left the size that the caller set?
  bool keeps_size() const noexcept { return std::memcmp(bytes_, &size_, sizeof size_) == 0; }

 private:
  static constexpr unsigned char kCanary = 0xC9;
  alignas(16) unsigned char bytes_[sizeof(T) + 64];
  uint32_t size_;
};

}  // namespace bp::conformance
