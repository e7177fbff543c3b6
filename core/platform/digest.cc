// SPDX-License-Identifier: Apache-2.0
#include "core/platform/digest.h"

#include <openssl/evp.h>

namespace bp {
namespace {

EVP_MD_CTX* context_of(void* context) {
  return static_cast<EVP_MD_CTX*>(context);
}

Status failure(const char* step) {
  return error(Code::kExhausted, "SHA-256 {} failed; the system's libcrypto has no memory for it",
               step);
}

}  // namespace

Result<Sha256> Sha256::create() {
  Sha256 hash(EVP_MD_CTX_new());
  if (hash.context_ == nullptr ||
      EVP_DigestInit_ex(context_of(hash.context_), EVP_sha256(), nullptr) != 1) {
    return failure("set-up");
  }
  return hash;
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(context_of(context_));
}

Status Sha256::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(context_of(context_), bytes.data(), bytes.size()) != 1) {
    return failure("update");
  }
  return {};
}

Result<Sha256Digest> Sha256::finish() {
  Sha256Digest digest;
  if (EVP_DigestFinal_ex(context_of(context_), digest.data(), nullptr) != 1 ||
      EVP_DigestInit_ex(context_of(context_), EVP_sha256(), nullptr) != 1) {
    return failure("final step");
  }
  return digest;
}

Result<Sha256Digest> Sha256::of(std::span<const std::byte> bytes) {
  auto hash = BP_TRY(create());
  BP_TRY(hash.update(bytes));
  return hash.finish();
}

std::string to_hex(const Sha256Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (const uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace bp
