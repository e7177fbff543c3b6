// SPDX-License-Identifier: Apache-2.0
// Runs the fuzz target over seeds and a fixed number of pseudo-random mutations of them, so that it
// is exercised in every build, with every compiler. Same mutations every time.
#include <gtest/gtest.h>

#include <random>

#include "model_format/layout.h"
#include "model_format/tiny_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace bp {
namespace {

std::vector<uint8_t> tiny_file(bool experts) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path("seed.bpm");
  if (!testing::write_tiny_model(testing::make_tiny_model(experts), path).ok()) return {};
  const auto bytes = testing::read_whole_file(path);
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.bytes().data());
  std::vector<uint8_t> file(begin, begin + bytes.bytes().size());
  // The target reads the length of the plan modulo (size − 64), plus one.
  file[16] = static_cast<uint8_t>(file[16] - 1);
  return file;
}

TEST(ModelFuzz, seeds_and_their_mutations_never_crash) {
  for (const bool experts : {false, true}) {
    const std::vector<uint8_t> seed = tiny_file(experts);
    ASSERT_GT(seed.size(), kModelHeaderBytes);
    LLVMFuzzerTestOneInput(seed.data(), seed.size());
    const uint64_t plan_bytes = uint64_t{seed[16]} + 1 + (uint64_t{seed[17]} << 8);
    std::mt19937_64 random(experts ? 1 : 2);
    std::vector<uint8_t> bytes;
    for (int round = 0; round < 20'000; ++round) {
      bytes = seed;
      const auto edits = 1 + random() % 6;
      for (uint64_t e = 0; e < edits; ++e) {
        const uint64_t at = kModelHeaderBytes + random() % plan_bytes;
        switch (random() % 5) {
          case 0:
            bytes[at] ^= static_cast<uint8_t>(1u << random() % 8);
            break;
          case 1:
            bytes[at] = static_cast<uint8_t>(random());
            break;
          case 2:
            std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at & ~7u), 8, 0xff);
            break;
          case 3:
            std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(at & ~3u), 4, 0);
            break;
          default:  // one word of the plan over another: aliases, cycles, wrong tables
            std::copy_n(bytes.begin() + static_cast<ptrdiff_t>((64 + random() % plan_bytes) & ~3u),
                        4, bytes.begin() + static_cast<ptrdiff_t>(at & ~3u));
        }
      }
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
  }
}

TEST(ModelFuzz, short_and_foreign_inputs_never_crash) {
  std::vector<uint8_t> bytes;
  std::mt19937_64 random(3);
  for (size_t size = 0; size < 300; ++size) {
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    bytes.push_back(static_cast<uint8_t>(random()));
  }
}

}  // namespace
}  // namespace bp
