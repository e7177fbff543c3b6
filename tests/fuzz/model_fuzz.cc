// SPDX-License-Identifier: Apache-2.0
// Fuzz target: arbitrary bytes as a model file. The header's sizes and digest are made to agree
// first, so that the fuzzer spends its time behind them.
#include <cstddef>
#include <cstdint>

#include "core/platform/digest.h"
#include "model_format/layout.h"
#include "model_format/reader.h"
#include "model_format/tiny_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> input(reinterpret_cast<const std::byte*>(data), size);
  const bp::testing::AlignedBuffer bytes(input);
  (void)bp::ModelFile::open_memory(bytes.bytes(), nullptr);
  if (size <= bp::kModelHeaderBytes) return 0;

  bp::ModelHeader header;
  header.file_bytes = size;
  // Where the plan ends is the fuzzer's choice, read from where the header keeps it.
  uint64_t plan_bytes = 0;
  for (size_t i = 0; i < 8; ++i) plan_bytes |= uint64_t{data[16 + i]} << (8 * i);
  header.plan_bytes = plan_bytes % (size - bp::kModelHeaderBytes) + 1;
  const auto digest =
      bp::Sha256::of(bytes.bytes().subspan(bp::kModelHeaderBytes, header.plan_bytes));
  if (!digest.ok()) return 0;
  header.plan_digest = digest.value();
  const auto encoded = bp::encode_header(header);
  std::copy(encoded.begin(), encoded.end(), bytes.bytes().begin());
  const auto file = bp::ModelFile::open_memory(bytes.bytes(), nullptr);
  if (!file.ok()) return 0;
  volatile uint64_t sum = bp::testing::walk_model(*file.value());
  (void)sum;
  (void)file.value()->verify_digests();
  return 0;
}
