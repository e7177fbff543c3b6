// SPDX-License-Identifier: Apache-2.0
// Every tensor type through the real reader against the values of the Python package gguf
// (tests/golden/dequantize), and whole checkpoints from outside.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <set>

#include "backplane/dequantize.h"
#include "compiler/import/gguf/gguf_file.h"

namespace bp {
namespace {

namespace fs = std::filesystem;

const fs::path kVectors = fs::path(BP_SOURCE_DIR) / "tests/golden/dequantize";

std::vector<float> expected_values() {
  const std::string bytes = read_text_file(kVectors / "expected.bin", 1 << 20).value();
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

::testing::AssertionResult same_bits(const float* ours, const float* theirs, uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    if (std::bit_cast<uint32_t>(ours[i]) == std::bit_cast<uint32_t>(theirs[i])) continue;
    return ::testing::AssertionFailure()
           << "element " << i << ": " << ours[i] << " for " << theirs[i];
  }
  return ::testing::AssertionSuccess();
}

TEST(GgufValues, every_type_has_the_values_of_the_reference) {
  auto file = GgufFile::open(kVectors / "types.gguf");
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  const std::vector<float> expected = expected_values();
  std::set<std::string> formats;
  uint64_t at = 0;
  for (size_t i = 0; i < (*file)->tensors().size(); ++i) {
    const SourceTensor& tensor = (*file)->tensors()[i];
    SCOPED_TRACE(tensor.name);
    formats.insert(tensor.format);
    ASSERT_LE(at + tensor.elements(), expected.size());
    std::vector<float> ours(tensor.elements());
    ASSERT_TRUE((*file)->dequantize_rows(i, 0, tensor.rows(), ours).ok());
    EXPECT_TRUE(same_bits(ours.data(), expected.data() + at, ours.size()));
    at += tensor.elements();
  }
  EXPECT_EQ(at, expected.size());
  EXPECT_EQ(formats.size(), kWeightFormats.size());  // nothing is left untested
}

TEST(GgufValues, rows_can_be_read_one_by_one_and_planes_are_lossless) {
  auto file = GgufFile::open(kVectors / "types.gguf");
  ASSERT_TRUE(file.ok());
  for (size_t i = 0; i < (*file)->tensors().size(); ++i) {
    const SourceTensor& tensor = (*file)->tensors()[i];
    SCOPED_TRACE(tensor.name);
    const WeightFormat& format = *find_weight_format(tensor.format);
    const uint64_t columns = tensor.columns();
    std::vector<float> whole(tensor.elements());
    ASSERT_TRUE((*file)->dequantize_rows(i, 0, tensor.rows(), whole).ok());
    PlaneStorage all;
    PlaneStorage one;
    const PlaneBuffers all_planes = all.reserve(format, tensor.elements()).value();
    ASSERT_TRUE((*file)->read_rows(i, 0, tensor.rows(), all_planes).ok());
    for (uint64_t row = 0; row < tensor.rows(); ++row) {
      const PlaneBuffers planes = one.reserve(format, columns).value();
      ASSERT_TRUE((*file)->read_rows(i, row, 1, planes).ok());
      for (size_t p = 0; p < format.plane_count; ++p) {
        EXPECT_EQ(0, std::memcmp(planes[p].data(), all_planes[p].data() + row * planes[p].size(),
                                 planes[p].size()));
      }
      std::vector<float> values(columns);
      const uint64_t blocks = columns / format.block_elements;
      dequantize_blocks(format, plane_pointers(all_planes).data(), row * blocks, blocks,
                        values.data());
      EXPECT_TRUE(same_bits(values.data(), whole.data() + row * columns, columns));
    }
  }
}

// Reads all of a checkpoint, checks that values are finite and not all zero.
void read_entirely(const fs::path& path, uint64_t tensors) {
  auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  EXPECT_EQ((*file)->tensors().size(), tensors);
  EXPECT_TRUE((*file)->metadata().get_string("general.architecture").ok());
  EXPECT_TRUE((*file)->metadata().get_string_array("tokenizer.ggml.tokens").ok());
  for (size_t i = 0; i < (*file)->tensors().size(); ++i) {
    const SourceTensor& tensor = (*file)->tensors()[i];
    std::vector<float> values(tensor.elements());
    ASSERT_TRUE((*file)->dequantize_rows(i, 0, tensor.rows(), values).ok());
    float largest = 0;
    for (const float value : values) {
      ASSERT_TRUE(std::isfinite(value)) << tensor.name;
      largest = std::max(largest, std::abs(value));
    }
    EXPECT_GT(largest, 0) << tensor.name;
    (*file)->release(i);
  }
  EXPECT_TRUE((*file)->check_unchanged().ok());
}

TEST(GgufValues, checkpoints_from_outside_are_read_entirely) {
  const fs::path models = fs::path(BP_SHARED_DIR) / "models";
  if (!fs::exists(models)) GTEST_SKIP() << "no shared/models beside the project";
  read_entirely(models / "stories260K/stories260K.gguf", 48);
  read_entirely(models / "tiny-random-llama/tiny-random-llama.gguf", 12);
}

TEST(GgufValues, vocabularies_from_outside_are_read) {
  const fs::path folder = fs::path(BP_SHARED_DIR) / "tokenizers";
  if (!fs::exists(folder)) GTEST_SKIP() << "no shared/tokenizers beside the project";
  int files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    auto file = GgufFile::open(entry.path());
    ASSERT_TRUE(file.ok()) << file.status().to_string();
    EXPECT_GT((*file)->metadata().get_bytes_array("tokenizer.ggml.tokens").value().size(), 1000u);
    ++files;
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace bp
