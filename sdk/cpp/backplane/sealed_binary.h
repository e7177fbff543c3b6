// SPDX-License-Identifier: Apache-2.0
// An envelope around compiled device code. Drivers take images without a length and trust them, so
// a truncated cache file could take the process down; the envelope lets a plugin refuse it first.
//
//   [magic 4][version 4][payload bytes 8][FNV-1a of payload 8][architecture 40, NUL-ended][payload]
#pragma once

#include <cstring>
#include <string_view>
#include <vector>

#include "backplane/plugin_glue.h"

namespace bp::glue {

struct BinarySeal {
  char magic[4];
  uint32_t version;
  uint64_t payload_bytes;
  uint64_t checksum;
  char architecture[40];
};
static_assert(sizeof(BinarySeal) == 64);

inline constexpr char kBinaryMagic[4] = {'B', 'P', 'D', 'C'};
inline constexpr uint32_t kBinaryVersion = 1;

inline uint64_t binary_checksum(const void* data, uint64_t bytes) noexcept {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto* const at = static_cast<const unsigned char*>(data);
  for (uint64_t i = 0; i < bytes; ++i) hash = (hash ^ at[i]) * 0x100000001b3u;
  return hash;
}

// The payload in its envelope.
inline std::vector<char> seal_binary(std::string_view architecture, std::string_view payload) {
  BinarySeal seal{};
  std::memcpy(seal.magic, kBinaryMagic, sizeof seal.magic);
  seal.version = kBinaryVersion;
  seal.payload_bytes = payload.size();
  seal.checksum = binary_checksum(payload.data(), payload.size());
  copy_text(seal.architecture, sizeof seal.architecture, architecture);
  std::vector<char> out(sizeof seal + payload.size());
  std::memcpy(out.data(), &seal, sizeof seal);
  if (!payload.empty()) std::memcpy(out.data() + sizeof seal, payload.data(), payload.size());
  return out;
}

// The payload inside, or BP_INCOMPATIBLE for whatever was not sealed for this architecture.
inline bp_status unseal_binary(std::string_view architecture, const void* data, uint64_t bytes,
                               std::string_view* payload, bp_error* error) noexcept {
  BinarySeal seal{};
  if (data == nullptr || bytes < sizeof seal) {
    return fail(error, BP_INCOMPATIBLE, "the binary is cut short; compile anew");
  }
  std::memcpy(&seal, data, sizeof seal);
  if (std::memcmp(seal.magic, kBinaryMagic, sizeof seal.magic) != 0 ||
      seal.version != kBinaryVersion) {
    return fail(error, BP_INCOMPATIBLE, "the binary is none of this plugin's; compile anew");
  }
  char expected[sizeof seal.architecture] = {};  // compared whole: no byte may be another
  copy_text(expected, sizeof expected, architecture);
  if (std::memcmp(expected, seal.architecture, sizeof expected) != 0) {
    seal.architecture[sizeof seal.architecture - 1] = '\0';
    return fail(error, BP_INCOMPATIBLE, "the binary is for %s, not for %.*s; compile anew",
                seal.architecture, static_cast<int>(architecture.size()), architecture.data());
  }
  const char* const inside = static_cast<const char*>(data) + sizeof seal;
  if (seal.payload_bytes == 0 || seal.payload_bytes != bytes - sizeof seal ||
      seal.checksum != binary_checksum(inside, seal.payload_bytes)) {
    return fail(error, BP_INCOMPATIBLE, "the binary is damaged; compile anew");
  }
  *payload = {inside, static_cast<size_t>(seal.payload_bytes)};
  return BP_OK;
}

}  // namespace bp::glue
