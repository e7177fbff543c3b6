// SPDX-License-Identifier: Apache-2.0
// For tests: writes GGUF files, right ones and wrong ones, byte by byte.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/import/gguf/gguf_metadata.h"

namespace bp {

class GgufBuilder {
 public:
  uint32_t magic = 0x46554747;
  uint32_t version = 3;
  int64_t tensor_count_lie = 0;  // added to the true counts
  int64_t key_count_lie = 0;
  uint64_t alignment = 32;

  template <typename T>
  static std::string bytes_of(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static std::string text_of(std::string_view text) {
    return bytes_of<uint64_t>(text.size()).append(text);
  }

  // `payload` is what follows the type number.
  GgufBuilder& key(std::string_view name, GgufType type, std::string_view payload) {
    keys_ += text_of(name) + bytes_of(static_cast<uint32_t>(type));
    keys_ += payload;
    ++key_count_;
    return *this;
  }
  GgufBuilder& text(std::string_view name, std::string_view value) {
    return key(name, GgufType::kString, text_of(value));
  }
  GgufBuilder& u32(std::string_view name, uint32_t value) {
    return key(name, GgufType::kU32, bytes_of(value));
  }
  // `count` may lie about `payload`.
  GgufBuilder& array(std::string_view name, GgufType element, uint64_t count,
                     std::string_view payload) {
    return key(name, GgufType::kArray,
               bytes_of(static_cast<uint32_t>(element)) + bytes_of(count) + std::string(payload));
  }

  // Dimensions as in the file, innermost first.
  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type,
                      uint64_t offset) {
    tensors_ += text_of(name) + bytes_of(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t dimension : dimensions) tensors_ += bytes_of(dimension);
    tensors_ += bytes_of(type) + bytes_of(offset);
    ++tensor_count_;
    return *this;
  }
  // The data section, from its aligned start on.
  GgufBuilder& data(std::string_view bytes) {
    data_ = bytes;
    return *this;
  }

  std::string build() const {
    std::string file = bytes_of(magic) + bytes_of(version) +
                       bytes_of(tensor_count_ + tensor_count_lie) +
                       bytes_of(key_count_ + key_count_lie) + keys_ + tensors_;
    while (!data_.empty() && file.size() % alignment != 0) file += '\0';
    return file + data_;
  }

 private:
  int64_t tensor_count_ = 0;
  int64_t key_count_ = 0;
  std::string keys_, tensors_, data_;
};

}  // namespace bp
