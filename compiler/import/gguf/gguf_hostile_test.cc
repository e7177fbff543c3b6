// SPDX-License-Identifier: Apache-2.0
// GGUF files made to hurt. Every one must end in a named error or be a valid file, and must not
// make the reader allocate out of proportion to its size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "compiler/import/gguf/allocation_watch.h"
#include "compiler/import/gguf/gguf_builder.h"
#include "compiler/import/gguf/gguf_file.h"
#include "compiler/import/scratch_folder.h"

namespace bp {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr size_t kReaderOverhead = 200'000;  // its buffers, whatever the file

// Opens and uses everything; returns the error, or "valid". A valid file must be readable.
std::string use(const std::filesystem::path& path) {
  auto opened = GgufFile::open(path);
  if (!opened.ok()) return opened.status().to_string();
  const GgufFile& file = **opened;
  for (const std::string& key : file.metadata().keys()) {
    (void)file.metadata().get_u64(key);
    (void)file.metadata().get_f64(key);
    (void)file.metadata().get_string(key);
    (void)file.metadata().get_i64_array(key);
    (void)file.metadata().get_string_array(key);
  }
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    std::vector<float> values(file.tensors()[i].elements());
    const Status status = file.dequantize_rows(i, 0, file.tensors()[i].rows(), values);
    EXPECT_TRUE(status.ok()) << status.to_string();
    file.release(i);
  }
  return "valid";
}

class GgufHostile : public ::testing::Test {
 protected:
  std::string refusal(const GgufBuilder& builder) {
    const std::string bytes = builder.build();
    const auto path = folder_.write("hostile.gguf", bytes);
    largest_allocation() = 0;
    std::string outcome = use(path);
    EXPECT_LT(largest_allocation().load(), bytes.size() * 16 + kReaderOverhead);
    return outcome;
  }
  ScratchFolder folder_;
};

// A little of everything, about 900 bytes.
GgufBuilder small_model() {
  GgufBuilder b;
  b.text("general.architecture", "llama").u32("general.alignment", 32).u32("llama.block_count", 1);
  b.key("f", GgufType::kF32, b.bytes_of(1e-5F)).key("b", GgufType::kBool, "\x01");
  b.array("tokens", GgufType::kString, 3, b.text_of("a") + b.text_of("\xc3\xa9") + b.text_of("c"));
  b.array("scores", GgufType::kF32, 3, std::string(12, '\1'));
  b.tensor("x", {8, 2}, 0, 0).tensor("q", {32, 2}, 2, 64).tensor("h", {5}, 1, 128);
  b.tensor("k", {256}, 12, 160);
  std::string data;
  for (int i = 0; i < 160 + 144; ++i) data += static_cast<char>(i * 7 & 0x3f);
  return b.data(data);
}

TEST_F(GgufHostile, the_small_model_is_valid) {
  EXPECT_EQ(refusal(small_model()), "valid");
}

TEST_F(GgufHostile, every_truncation_is_an_error) {
  const std::string whole = small_model().build();
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto path = folder_.write("cut.gguf", std::string_view(whole).substr(0, length));
    const std::string outcome = use(path);
    EXPECT_THAT(outcome, AnyOf(HasSubstr("CORRUPT"), HasSubstr("UNIMPLEMENTED"))) << length;
    EXPECT_THAT(outcome, HasSubstr("cut.gguf"));
  }
}

TEST_F(GgufHostile, every_one_byte_edit_is_an_error_or_a_valid_file) {
  const std::string whole = small_model().build();
  const auto path = folder_.write("edit.gguf", whole);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](size_t at, char value) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(value);
    file.flush();
  };
  int valid = 0;
  int refused = 0;
  largest_allocation() = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    std::vector<int> values = {0, 0x7f, 0x80, 0xff, whole[at] + 1, whole[at] - 1};
    for (int bit = 0; bit < 8; ++bit) values.push_back(whole[at] ^ (1 << bit));
    for (const int value : values) {
      put(at, static_cast<char>(value));
      const std::string outcome = use(path);
      EXPECT_GT(outcome.size(), 4u);
      ++(outcome == "valid" ? valid : refused);
    }
    put(at, whole[at]);
  }
  EXPECT_GT(valid, 1000);    // data bytes
  EXPECT_GT(refused, 1000);  // structure
  EXPECT_LT(largest_allocation().load(), whole.size() * 16 + kReaderOverhead);
}

TEST_F(GgufHostile, count_lies_are_refused) {
  for (const int64_t lie : {1l, -1l, 1000l, 1l << 19, 1l << 40, INT64_MAX - 10}) {
    GgufBuilder b = small_model();
    b.tensor_count_lie = lie;
    EXPECT_NE(refusal(b), lie == -1 ? "" : "valid") << lie;
    b = small_model();
    b.key_count_lie = lie;
    EXPECT_NE(refusal(b), "valid") << lie;
  }
  for (const uint64_t count : {uint64_t{4}, uint64_t{1} << 30, uint64_t{1} << 61, ~uint64_t{0}}) {
    for (const GgufType type : {GgufType::kU8, GgufType::kF64, GgufType::kString}) {
      GgufBuilder b;
      EXPECT_THAT(refusal(b.array("list", type, count, "abc")), HasSubstr("'list'")) << count;
    }
  }
  GgufBuilder text;
  EXPECT_THAT(refusal(text.key("long", GgufType::kString, text.bytes_of(uint64_t{1} << 50))),
              HasSubstr("'long'"));
}

TEST_F(GgufHostile, arrays_of_arrays_and_unknown_value_types_are_refused) {
  GgufBuilder b;
  EXPECT_THAT(refusal(b.array("deep", GgufType::kArray, 1, std::string(64, '\x09'))),
              HasSubstr("key 'deep': arrays of arrays"));
  b = GgufBuilder{};
  EXPECT_THAT(refusal(b.key("odd", static_cast<GgufType>(13), "1234")), HasSubstr("type 13"));
  b = GgufBuilder{};
  EXPECT_THAT(refusal(b.array("odd", static_cast<GgufType>(99), 0, "")), HasSubstr("type 99"));
  b = GgufBuilder{};
  EXPECT_THAT(refusal(b.key("odd", GgufType::kBool, "\x02")), HasSubstr("bool holds 2"));
}

TEST_F(GgufHostile, bad_names_are_refused_without_being_quoted) {
  for (const std::string& name :
       {std::string(), std::string("\xff\xfe"), std::string("a\0b", 3), std::string("a\x1b[2J"),
        std::string("\xed\xa0\x80"), std::string(70000, 'k')}) {
    GgufBuilder b;
    EXPECT_THAT(refusal(b.u32(name, 1)), HasSubstr("key 1 of 1: the name"));
    GgufBuilder t;
    EXPECT_THAT(refusal(t.tensor(name, {1}, 0, 0).data("abcd")),
                HasSubstr("tensor 1 of 1: the name"));
  }
}

TEST_F(GgufHostile, duplicates_are_refused) {
  GgufBuilder b;
  EXPECT_THAT(refusal(b.u32("k", 1).u32("k", 2)), HasSubstr("key 'k' occurs twice"));
  b = GgufBuilder{};
  EXPECT_THAT(refusal(b.tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data(std::string(64, 0))),
              HasSubstr("tensor 't' occurs twice"));
}

TEST_F(GgufHostile, bad_alignment_is_refused) {
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 21, 1u << 31, ~0u}) {
    GgufBuilder b;
    EXPECT_THAT(refusal(b.u32("general.alignment", alignment)), HasSubstr("general.alignment"));
  }
  GgufBuilder b;
  EXPECT_THAT(refusal(b.text("general.alignment", "32")), HasSubstr("general.alignment"));
  b = GgufBuilder{};
  EXPECT_THAT(refusal(b.tensor("t", {1}, 0, 4).data(std::string(64, 0))),
              HasSubstr("multiple of the alignment"));
}

TEST_F(GgufHostile, impossible_shapes_are_refused) {
  const uint64_t huge = uint64_t{1} << 63;
  const std::vector<std::vector<uint64_t>> shapes = {{},
                                                     {0},
                                                     {4, 0},
                                                     {huge},
                                                     {huge, 2},
                                                     {~uint64_t{0}},
                                                     {1u << 31, 1u << 31, 1u << 31, 1u << 31},
                                                     {1, 1, 1, 1, 1},
                                                     {uint64_t{1} << 43},
                                                     {uint64_t{1} << 41}};
  for (const auto& shape : shapes) {
    GgufBuilder b;
    const std::string outcome = refusal(b.tensor("bad", shape, 0, 0).data(std::string(64, 0)));
    EXPECT_THAT(outcome, HasSubstr("'bad'"));
    EXPECT_THAT(outcome, HasSubstr("CORRUPT"));
  }
  GgufBuilder b;
  EXPECT_THAT(refusal(b.tensor("bad", {33}, 2, 0).data(std::string(64, 0))),
              HasSubstr("whole Q4_0"));
  b = GgufBuilder{};
  EXPECT_THAT(refusal(b.tensor("bad", {128, 2}, 12, 0).data(std::string(999, 0))),
              HasSubstr("Q4_K"));
}

TEST_F(GgufHostile, overlaps_and_ranges_beyond_the_file_are_refused) {
  const std::string data(128, '\0');
  GgufBuilder b;
  EXPECT_THAT(refusal(b.tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).data(data)),
              HasSubstr("'a' and 'b' overlap"));
  b = GgufBuilder{};
  EXPECT_THAT(refusal(b.tensor("a", {8}, 0, 0).tensor("b", {8}, 0, 0).data(data)),
              HasSubstr("overlap"));
  for (const uint64_t offset : {uint64_t{128}, uint64_t{1} << 40, ~uint64_t{0} - 31}) {
    b = GgufBuilder{};
    EXPECT_THAT(refusal(b.tensor("far", {8}, 0, offset).data(data)), HasSubstr("'far' needs"));
  }
}

}  // namespace
}  // namespace bp
