// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/code_store.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace bp::kernels {
namespace {

constexpr char kMagic[8] = {'B', 'P', 'C', 'O', 'D', 'E', '1', '\n'};
constexpr uint64_t kMaxBinaryBytes = uint64_t{64} << 20;

struct Header {
  char magic[8];
  uint64_t key_bytes;
  uint64_t binary_bytes;
  uint64_t checksum;  // of the binary
};

// FNV-1a: for file names and for noticing damage; the key itself is compared whole.
uint64_t fnv(const void* data, size_t bytes) {
  const auto* p = static_cast<const unsigned char*>(data);
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001b3u;
  return hash;
}

}  // namespace

std::string CodeStore::path_of(std::string_view key) const {
  return fmt::format("{}/{:016x}.code", folder_, fnv(key.data(), key.size()));
}

std::optional<std::vector<std::byte>> CodeStore::read(std::string_view key) const {
  if (folder_.empty()) return std::nullopt;
  std::ifstream in(path_of(key), std::ios::binary);
  Header header{};
  if (!in.read(reinterpret_cast<char*>(&header), sizeof header)) return std::nullopt;
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || header.key_bytes != key.size() ||
      header.binary_bytes > kMaxBinaryBytes) {
    return std::nullopt;
  }
  std::string stored(key.size(), '\0');
  if (!in.read(stored.data(), static_cast<std::streamsize>(stored.size())) || stored != key) {
    return std::nullopt;
  }
  std::vector<std::byte> binary(header.binary_bytes);
  if (!in.read(reinterpret_cast<char*>(binary.data()),
               static_cast<std::streamsize>(binary.size())) ||
      fnv(binary.data(), binary.size()) != header.checksum) {
    return std::nullopt;
  }
  return binary;
}

void CodeStore::write(std::string_view key, const std::vector<std::byte>& binary) const {
  if (folder_.empty() || binary.size() > kMaxBinaryBytes) return;
  static std::atomic<uint64_t> count{0};
  std::error_code failure;
  std::filesystem::create_directories(folder_, failure);
  const std::string path = path_of(key);
  // Unique among processes by the clock and among threads by the count.
  const std::string temporary = fmt::format(
      "{}.{:x}.{}.new", path, std::chrono::system_clock::now().time_since_epoch().count(), ++count);
  Header header{{}, key.size(), binary.size(), fnv(binary.data(), binary.size())};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(&header), sizeof header);
    out.write(key.data(), static_cast<std::streamsize>(key.size()));
    out.write(reinterpret_cast<const char*>(binary.data()),
              static_cast<std::streamsize>(binary.size()));
    out.flush();
    if (!out) {
      std::filesystem::remove(temporary, failure);
      return;
    }
  }
  std::filesystem::rename(temporary, path, failure);
  if (failure) std::filesystem::remove(temporary, failure);
}

void CodeStore::remove(std::string_view key) const {
  if (folder_.empty()) return;
  std::error_code failure;
  std::filesystem::remove(path_of(key), failure);
}

}  // namespace bp::kernels
