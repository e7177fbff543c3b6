// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/gguf/gguf_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "compiler/import/gguf/gguf_builder.h"
#include "compiler/import/scratch_folder.h"

namespace bp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Gguf : public ::testing::Test {
 protected:
  Result<std::shared_ptr<GgufFile>> open(const GgufBuilder& builder) {
    return GgufFile::open(folder_.write("model.gguf", builder.build()));
  }
  std::string refusal(const GgufBuilder& builder) {
    auto file = open(builder);
    return file.ok() ? "accepted" : file.status().to_string();
  }
  ScratchFolder folder_;
};

GgufBuilder with_all_key_types() {
  GgufBuilder b;
  b.key("a.u8", GgufType::kU8, "\xff").key("a.i8", GgufType::kI8, "\xff");
  b.key("a.u16", GgufType::kU16, b.bytes_of<uint16_t>(65535));
  b.key("a.i16", GgufType::kI16, b.bytes_of<int16_t>(-2)).u32("a.u32", 4000000000u);
  b.key("a.i32", GgufType::kI32, b.bytes_of<int32_t>(-3));
  b.key("a.f32", GgufType::kF32, b.bytes_of(0.5F)).key("a.f64", GgufType::kF64, b.bytes_of(0.1));
  b.key("a.u64", GgufType::kU64, b.bytes_of(~uint64_t{0}));
  b.key("a.i64", GgufType::kI64, b.bytes_of(int64_t{-4}));
  b.key("a.bool", GgufType::kBool, "\x01").text("a.text", "caf\xc3\xa9").text("a.empty", "");
  b.array("l.i32", GgufType::kI32, 2, b.bytes_of<int32_t>(7) + b.bytes_of<int32_t>(-7));
  b.array("l.f32", GgufType::kF32, 2, b.bytes_of(1.5F) + b.bytes_of(-1.5F));
  b.array("l.text", GgufType::kString, 3, b.text_of("x") + b.text_of("") + b.text_of("yz"));
  b.array("l.bytes", GgufType::kString, 2, b.text_of("ok") + b.text_of("\xff"));
  b.array("l.none", GgufType::kString, 0, "").text("a.bad", "\xc0\x80");
  return b;
}

TEST_F(Gguf, every_metadata_type_is_read) {
  auto file = open(with_all_key_types());
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  const GgufMetadata& m = (*file)->metadata();
  EXPECT_EQ(m.get_u64("a.u8").value(), 255u);
  EXPECT_EQ(m.get_i64("a.i8").value(), -1);
  EXPECT_EQ(m.get_u64("a.u16").value(), 65535u);
  EXPECT_EQ(m.get_i64("a.i16").value(), -2);
  EXPECT_EQ(m.get_u64("a.u32").value(), 4000000000u);
  EXPECT_EQ(m.get_f64("a.i32").value(), -3.0);
  EXPECT_EQ(m.get_f64("a.f32").value(), 0.5);
  EXPECT_EQ(m.get_f64("a.f64").value(), 0.1);
  EXPECT_EQ(m.get_u64("a.u64").value(), ~uint64_t{0});
  EXPECT_EQ(m.get_i64("a.i64").value(), -4);
  EXPECT_TRUE(m.get_bool("a.bool").value());
  EXPECT_EQ(m.get_string("a.text").value(), "caf\xc3\xa9");
  EXPECT_EQ(m.get_string("a.empty").value(), "");
  EXPECT_THAT(m.get_i64_array("l.i32").value(), ElementsAre(7, -7));
  EXPECT_THAT(m.get_f32_array("l.f32").value(), ElementsAre(1.5F, -1.5F));
  EXPECT_THAT(m.get_string_array("l.text").value(), ElementsAre("x", "", "yz"));
  EXPECT_THAT(m.get_bytes_array("l.bytes").value(), ElementsAre("ok", "\xff"));
  EXPECT_TRUE(m.get_string_array("l.none").value().empty());
  EXPECT_EQ(m.keys().size(), 19u);
  EXPECT_EQ(m.keys().front(), "a.u8");
  EXPECT_TRUE((*file)->tensors().empty());  // a vocabulary alone is fine
}

TEST_F(Gguf, metadata_errors_name_the_key) {
  auto file = open(with_all_key_types());
  ASSERT_TRUE(file.ok());
  const GgufMetadata& m = (*file)->metadata();
  EXPECT_EQ(m.get_u64("absent").status().code(), Code::kNotFound);
  EXPECT_THAT(m.get_u64("absent").status().to_string(), HasSubstr("'absent'"));
  EXPECT_EQ(m.get_u64_or("absent", 9).value(), 9u);
  EXPECT_THAT(m.get_u64("a.i32").status().to_string(), HasSubstr("'a.i32' holds -3"));
  EXPECT_FALSE(m.get_u64_or("a.i32", 9).ok());  // a fallback is not for wrong values
  EXPECT_FALSE(m.get_i64("a.u64").ok());
  EXPECT_THAT(m.get_u64("a.f32").status().to_string(), HasSubstr("f32, not an integer"));
  EXPECT_FALSE(m.get_f64("a.text").ok());
  EXPECT_FALSE(m.get_f64("a.bool").ok());
  EXPECT_FALSE(m.get_bool("a.u8").ok());
  EXPECT_FALSE(m.get_string("a.u32").ok());
  EXPECT_THAT(m.get_string("a.bad").status().to_string(), HasSubstr("not UTF-8"));
  EXPECT_THAT(m.get_string_array("l.bytes").status().to_string(), HasSubstr("element 1"));
  EXPECT_FALSE(m.get_string("l.text").ok());
  EXPECT_FALSE(m.get_string_array("a.text").ok());
  EXPECT_FALSE(m.get_string_array("l.i32").ok());
  EXPECT_FALSE(m.get_u64_array("l.i32").ok());  // one is negative
  EXPECT_FALSE(m.get_u64_array("l.text").ok());
}

TEST_F(Gguf, tensors_are_outermost_first_and_in_order_of_data) {
  GgufBuilder b;
  b.version = 2;
  b.tensor("late", {3, 2}, 0, 32).tensor("early", {4}, 0, 0);
  std::string data(32, '\0');
  for (int i = 0; i < 6; ++i) data += b.bytes_of(static_cast<float>(i));
  auto file = open(b.data(data));
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  EXPECT_EQ((*file)->version(), 2u);
  ASSERT_EQ((*file)->tensors().size(), 2u);
  EXPECT_EQ((*file)->tensors()[0].name, "early");
  const size_t late = (*file)->find("late").value();
  const SourceTensor& tensor = (*file)->tensors()[late];
  EXPECT_THAT(tensor.shape, ElementsAre(2, 3));
  EXPECT_EQ(tensor.source_type, "F32");
  EXPECT_EQ(tensor.rows(), 2u);
  EXPECT_FALSE((*file)->find("later").has_value());
  std::vector<float> row(3);
  ASSERT_TRUE((*file)->dequantize_rows(late, 1, 1, row).ok());
  EXPECT_THAT(row, ElementsAre(3, 4, 5));
  ASSERT_EQ((*file)->files().size(), 1u);
  EXPECT_EQ((*file)->files()[0].size_bytes, b.build().size());
}

TEST_F(Gguf, wrong_ranges_and_rooms_are_refused) {
  GgufBuilder b;
  auto file = open(b.tensor("w", {4, 3}, 0, 0).data(std::string(48, '\0')));
  ASSERT_TRUE(file.ok());
  std::vector<float> values(12);
  EXPECT_TRUE((*file)->dequantize_rows(0, 0, 3, values).ok());
  EXPECT_FALSE((*file)->dequantize_rows(1, 0, 3, values).ok());
  EXPECT_FALSE((*file)->dequantize_rows(0, 1, 3, values).ok());
  EXPECT_FALSE((*file)->dequantize_rows(0, 1, ~uint64_t{0}, values).ok());
  EXPECT_FALSE((*file)->dequantize_rows(0, 0, 2, values).ok());
  PlaneBuffers planes;
  planes[0] = std::as_writable_bytes(std::span(values)).first(47);
  EXPECT_EQ((*file)->read_rows(0, 0, 3, planes).code(), Code::kInvalidArgument);
  EXPECT_TRUE((*file)->dequantize_rows(0, 3, 0, {}).ok());  // nothing of nothing
}

TEST_F(Gguf, a_file_cut_after_opening_gives_an_error) {
  GgufBuilder b;
  const auto path =
      folder_.write("m.gguf", b.tensor("w", {64}, 2, 0).data(std::string(36, 'x')).build());
  auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->check_unchanged().ok());
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 8);
  std::vector<float> values(64);
  const Status status = (*file)->dequantize_rows(0, 0, 1, values);
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_THAT(status.to_string(), HasSubstr("'w'"));
  EXPECT_FALSE((*file)->check_unchanged().ok());
}

TEST_F(Gguf, offsets_beyond_4_gib_are_read) {
  GgufBuilder b;
  const uint64_t columns = 1u << 16;
  const uint64_t rows = 20000;  // 5 GiB of f32, all but the last value a hole in the file
  const auto path = folder_.write(
      "m.gguf", b.tensor("w", {columns, rows}, 0, 0).data(std::string(32, '\0')).build());
  const uint64_t data = std::filesystem::file_size(path) - 32;
  std::error_code failure;
  std::filesystem::resize_file(path, data + columns * rows * 4, failure);
  if (failure) GTEST_SKIP() << "no sparse files here: " << failure.message();
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(-4, std::ios::end);
  file << b.bytes_of(42.0F) << std::flush;
  auto source = GgufFile::open(path);
  ASSERT_TRUE(source.ok()) << source.status().to_string();
  std::vector<float> row(columns);
  ASSERT_TRUE((*source)->dequantize_rows(0, rows - 1, 1, row).ok());
  EXPECT_EQ(row.front(), 0.0F);
  EXPECT_EQ(row.back(), 42.0F);
}

TEST_F(Gguf, threads_may_read_at_once) {
  GgufBuilder b;
  std::string data;
  for (uint32_t i = 0; i < 64 * 512 * 18; ++i) data += static_cast<char>(i * 7 % 61);
  auto source = open(b.tensor("w", {512 * 32, 64}, 2, 0).data(data));
  ASSERT_TRUE(source.ok()) << source.status().to_string();
  std::vector<float> whole(64 * 512 * 32);
  ASSERT_TRUE((*source)->dequantize_rows(0, 0, 64, whole).ok());
  std::vector<float> halves(whole.size());
  const auto read = [&](uint64_t first) {
    for (uint64_t row = first; row < first + 32; ++row) {
      const auto out = std::span(halves).subspan(row * 512 * 32, 512 * 32);
      EXPECT_TRUE((*source)->dequantize_rows(0, row, 1, out).ok());
    }
  };
  std::thread other(read, 32);
  read(0);
  other.join();
  EXPECT_EQ(0, std::memcmp(halves.data(), whole.data(), whole.size() * sizeof(float)));
}

TEST_F(Gguf, foreign_files_are_named) {
  GgufBuilder b;
  b.magic = 0x12345678;
  EXPECT_THAT(refusal(b), HasSubstr("not a GGUF"));
  b = GgufBuilder{};
  b.version = 1;
  EXPECT_THAT(refusal(b), HasSubstr("INCOMPATIBLE"));
  b.version = 0x03000000;
  EXPECT_THAT(refusal(b), HasSubstr("big-endian"));
  b.version = 4;
  EXPECT_THAT(refusal(b), HasSubstr("version 4"));
  EXPECT_EQ(GgufFile::open(folder_.path()).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(GgufFile::open(folder_.path() / "none").status().code(), Code::kNotFound);
  b = GgufBuilder{};
  EXPECT_THAT(refusal(b.key("split.count", GgufType::kU16, b.bytes_of<uint16_t>(3))),
              HasSubstr("3 parts"));
}

TEST_F(Gguf, types_that_are_not_read_are_refused_by_name) {
  const std::pair<uint32_t, const char*> types[] = {
      {4, "Q4_2"}, {9, "Q8_1"},      {16, "IQ2_XXS"}, {23, "IQ4_XS"},        {26, "I32"},
      {28, "F64"}, {31, "Q4_0_4_4"}, {34, "TQ1_0"},   {1000, "number 1000"}, {~0u, "number"}};
  for (const auto& [number, name] : types) {
    GgufBuilder b;
    const std::string text =
        refusal(b.tensor("blk.0.w", {256}, number, 0).data(std::string(9000, 0)));
    EXPECT_THAT(text, HasSubstr(name));
    EXPECT_THAT(text, HasSubstr("'blk.0.w'"));
    EXPECT_THAT(text, HasSubstr("UNIMPLEMENTED"));
  }
}

}  // namespace
}  // namespace bp
