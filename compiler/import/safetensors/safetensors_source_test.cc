// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/safetensors/safetensors_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "compiler/import/scratch_folder.h"

namespace bp {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string file_of(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  return file.append(header).append(data);
}

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape,
                  uint64_t begin, uint64_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", name, dtype,
                     shape, begin, end);
}

// A temporary on the left: GCC 12 raises a false alarm over a literal there.
std::string open_brace() {
  return std::string(1, '{');
}

class Safetensors : public ::testing::Test {
 protected:
  std::string refusal(std::string_view header, std::string_view data) {
    auto source = SafetensorsSource::open(folder_.write("m.safetensors", file_of(header, data)));
    return source.ok() ? "accepted" : source.status().to_string();
  }
  std::string folder_refusal() {
    auto source = SafetensorsSource::open(folder_.path());
    return source.ok() ? "accepted" : source.status().to_string();
  }
  // Two shards and an index, with `b` in the shard of that name.
  void write_shards(const std::string& shard_of_b) {
    folder_.write("one.safetensors", file_of(open_brace() + entry("a", "BF16", "2", 0, 4) + "}",
                                             std::string("\x80\x3f\x00\x40", 4)));
    folder_.write("two.safetensors", file_of(open_brace() + entry("b", "F16", "1", 0, 2) + "," +
                                                 entry("extra", "F16", "1", 2, 4) + "}",
                                             std::string("\x00\x3c\x00\x3c", 4)));
    folder_.write(
        "model.safetensors.index.json",
        R"({"metadata":{},"weight_map":{"a":"one.safetensors","b":")" + shard_of_b + "\"}}");
  }
  ScratchFolder folder_;
};

TEST_F(Safetensors, the_three_dtypes_are_read) {
  const float single[2] = {1.5F, -2.0F};
  std::string data("\x00\x3c\x00\xc0\x80\x3f", 6);  // f16 1, −2; bf16 1
  data.append(reinterpret_cast<const char*>(single), sizeof single);
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," +
                             entry("z", "F16", "2, 1", 0, 4) + "," + entry("y", "BF16", "", 4, 6) +
                             "," + entry("x", "F32", "1,2", 6, 14) + "}   ";
  auto opened = SafetensorsSource::open(folder_.write("m.safetensors", file_of(header, data)));
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  const SafetensorsSource& source = **opened;
  ASSERT_EQ(source.tensors().size(), 3u);
  EXPECT_EQ(source.tensors()[0].name, "z");  // the order of the data
  EXPECT_EQ(source.tensors()[0].format, "f16");
  EXPECT_EQ(source.tensors()[1].source_type, "BF16");
  EXPECT_EQ(source.tensors()[1].rows(), 1u);  // a scalar
  EXPECT_THAT(source.tensors()[2].shape, ElementsAre(1, 2));
  std::vector<float> row(1);
  ASSERT_TRUE(source.dequantize_rows(0, 1, 1, row).ok());
  EXPECT_EQ(row[0], -2.0F);
  ASSERT_TRUE(source.dequantize_rows(1, 0, 1, row).ok());
  EXPECT_EQ(row[0], 1.0F);
  std::vector<float> pair(2);
  ASSERT_TRUE(source.dequantize_rows(2, 0, 1, pair).ok());
  EXPECT_THAT(pair, ElementsAre(1.5F, -2.0F));
  source.release(2);
  EXPECT_TRUE(source.check_unchanged().ok());
}

TEST_F(Safetensors, other_dtypes_are_refused_by_name) {
  for (const char* dtype : {"F64", "I64", "U8", "BOOL", "F8_E4M3", "I32", "f32", ""}) {
    const std::string text = refusal(open_brace() + entry("w", dtype, "1", 0, 8) + "}", "12345678");
    EXPECT_THAT(text, HasSubstr(std::string("dtype ") + dtype));
    EXPECT_THAT(text, HasSubstr("'w'"));
  }
}

TEST_F(Safetensors, wrong_ranges_are_refused) {
  const std::string data(16, '\0');
  const std::string a = entry("a", "F32", "2", 0, 8);
  EXPECT_THAT(refusal(open_brace() + a + "," + entry("b", "F32", "2", 4, 12) + "}", data),
              HasSubstr("overlapping"));
  EXPECT_THAT(refusal(open_brace() + a + "," + entry("b", "F32", "1", 12, 16) + "}", data),
              HasSubstr("hole"));
  EXPECT_THAT(refusal(open_brace() + a + "}", data),
              HasSubstr("8 bytes of data belong to no tensor"));
  EXPECT_THAT(refusal(open_brace() + a + "," + entry("b", "F32", "4", 8, 24) + "}", data),
              HasSubstr("complete?"));
  EXPECT_THAT(refusal(open_brace() + entry("a", "F32", "2", 8, 0) + "}", data),
              HasSubstr("data_offsets"));
  EXPECT_THAT(refusal(open_brace() + entry("a", "F32", "3", 0, 16) + "}", data),
              HasSubstr("takes 12 bytes"));
  EXPECT_THAT(refusal(open_brace() + entry("a", "F32", "0", 0, 0) + "}", ""),
              HasSubstr("empty or too large"));
  EXPECT_THAT(refusal(open_brace() + entry("a", "F32", "4294967296,4294967296", 0, 16) + "}", data),
              HasSubstr("too large"));
  EXPECT_THAT(refusal(open_brace() + entry("a", "F32", "18446744073709551615", 0, 16) + "}", data),
              HasSubstr("too large"));
  EXPECT_THAT(refusal(open_brace() + entry("a", "F32", "-1", 0, 16) + "}", data),
              HasSubstr("'shape'"));
  EXPECT_THAT(refusal(open_brace() + entry("a", "F32", "1,1,1,1,1,1,1,1,1", 0, 4) + "}", "1234"),
              HasSubstr("'shape'"));
  EXPECT_THAT(refusal(open_brace() + entry("a", "F32", "4", 0, UINT64_MAX) + "}", data),
              HasSubstr("CORRUPT"));
}

TEST_F(Safetensors, damaged_headers_are_refused) {
  for (const char* header : {"", "[]", "{", "7", "{\"a\":1}", "{\"a\":{}}", "{\"a\":null}",
                             "{\"a\":{\"dtype\":\"F32\"}}", "{\"a\":{\"dtype\":4,\"shape\":[]}}",
                             "{\"\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
                             "{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
                             "{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4,8]}}",
                             "{\"a\":{\"dtype\":\"F32\",\"shape\":1.0,\"data_offsets\":[0,4]}}"}) {
    EXPECT_THAT(refusal(header, "1234"), HasSubstr("CORRUPT")) << header;
  }
  EXPECT_THAT(refusal("{\"a\":[[[[[[]]]]]]}", ""), HasSubstr("nested"));
  const std::string a = entry("a", "F32", "1", 0, 4);
  EXPECT_THAT(refusal(open_brace() + a + "," + a + "}", "1234"), HasSubstr("'a' occurs twice"));
  for (const uint64_t length : {uint64_t{1} << 40, UINT64_MAX, uint64_t{100}}) {
    std::string file(reinterpret_cast<const char*>(&length), 8);
    auto source = SafetensorsSource::open(folder_.write("m.safetensors", file + "{}"));
    EXPECT_THAT(source.status().to_string(), HasSubstr("header claims"));
  }
  EXPECT_FALSE(SafetensorsSource::open(folder_.write("m.safetensors", "1234567")).ok());
}

TEST_F(Safetensors, every_truncation_and_edit_is_an_error_or_valid) {
  const std::string whole = file_of(
      open_brace() + entry("a", "F32", "2", 0, 8) + "," + entry("b", "BF16", "1,2", 8, 12) + "}",
      "123456789012");
  const auto use = [&](const std::string& bytes) {
    auto source = SafetensorsSource::open(folder_.write("m.safetensors", bytes));
    if (!source.ok()) return source.status().message().empty() ? 0 : 1;
    for (size_t i = 0; i < (*source)->tensors().size(); ++i) {
      std::vector<float> values((*source)->tensors()[i].elements());
      EXPECT_TRUE((*source)->dequantize_rows(i, 0, (*source)->tensors()[i].rows(), values).ok());
    }
    return 2;
  };
  EXPECT_EQ(use(whole), 2);
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_EQ(use(whole.substr(0, length)), 1);
  int refused = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string edited = whole;
      edited[at] = static_cast<char>(edited[at] ^ (1 << bit));
      const int outcome = use(edited);
      EXPECT_NE(outcome, 0) << at;
      refused += outcome == 1 ? 1 : 0;
    }
  }
  EXPECT_GT(refused, 500);
}

TEST_F(Safetensors, shards_follow_the_index) {
  write_shards("two.safetensors");
  auto opened = SafetensorsSource::open(folder_.path());
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  const SafetensorsSource& source = **opened;
  EXPECT_EQ(source.tensors().size(), 2u);  // `extra` is not in the index
  EXPECT_EQ(source.files().size(), 3u);
  std::vector<float> pair(2);
  ASSERT_TRUE(source.dequantize_rows(source.find("a").value(), 0, 1, pair).ok());
  EXPECT_THAT(pair, ElementsAre(1, 2));
  write_shards("one.safetensors");
  EXPECT_THAT(folder_refusal(), HasSubstr("holds tensor 'b', but it does not"));
  write_shards("three.safetensors");
  EXPECT_THAT(folder_refusal(), HasSubstr("three.safetensors"));
}

TEST_F(Safetensors, shard_names_that_leave_the_folder_are_refused) {
  for (const char* name :
       {"../one.safetensors", "/etc/one.safetensors", "sub/one.safetensors", "..", "", "one.bin",
        ".safetensors", "a\\\\b.safetensors", "a\\u0000.safetensors"}) {
    write_shards(name);
    EXPECT_THAT(folder_refusal(), HasSubstr("DENIED")) << name;
  }
  folder_.write("model.safetensors.index.json", R"({"weight_map":{"a":7}})");
  EXPECT_THAT(folder_refusal(), HasSubstr("gives tensor 'a' no file name"));
  folder_.write("model.safetensors.index.json", R"({"weight_map":[]})");
  EXPECT_THAT(folder_refusal(), HasSubstr("weight_map"));
}

TEST_F(Safetensors, links_out_of_the_folder_are_refused_but_for_cache_blobs) {
  ScratchFolder outside;
  write_shards("two.safetensors");
  fs::rename(folder_.path() / "two.safetensors", outside.path() / "two.safetensors");
  fs::create_symlink(outside.path() / "two.safetensors", folder_.path() / "two.safetensors");
  EXPECT_THAT(folder_refusal(), HasSubstr("link out of its folder"));
  fs::remove(folder_.path() / "two.safetensors");
  fs::copy(outside.path() / "two.safetensors", folder_.path() / "real.safetensors");
  fs::create_symlink("real.safetensors", folder_.path() / "two.safetensors");
  EXPECT_EQ(folder_refusal(), "accepted");

  // models--x/snapshots/<revision>/model.safetensors → ../../blobs/<digest>
  ScratchFolder cache;
  cache.write("blobs/0123", file_of(open_brace() + entry("a", "F32", "1", 0, 4) + "}", "1234"));
  fs::create_directories(cache.path() / "snapshots/abc");
  fs::create_symlink("../../blobs/0123", cache.path() / "snapshots/abc/model.safetensors");
  EXPECT_TRUE(SafetensorsSource::open(cache.path() / "snapshots/abc").ok());
}

TEST_F(Safetensors, folders_without_a_checkpoint_say_what_was_looked_for) {
  EXPECT_THAT(folder_refusal(),
              HasSubstr("neither model.safetensors nor model.safetensors.index.json"));
  EXPECT_EQ(SafetensorsSource::open(folder_.path() / "none").status().code(), Code::kNotFound);
}

TEST(SafetensorsShared, checkpoints_from_outside_are_read_entirely) {
  const fs::path models = fs::path(BP_SHARED_DIR) / "models/hf-random";
  if (!fs::exists(models)) GTEST_SKIP() << "no shared/models beside the project";
  int checkpoints = 0;
  for (const auto& entry_of : fs::directory_iterator(models)) {
    auto source = SafetensorsSource::open(entry_of.path());
    ASSERT_TRUE(source.ok()) << source.status().to_string();
    EXPECT_GE((*source)->tensors().size(), 21u);
    for (size_t i = 0; i < (*source)->tensors().size(); ++i) {
      const SourceTensor& tensor = (*source)->tensors()[i];
      EXPECT_EQ(tensor.format, "bf16");
      std::vector<float> values(tensor.elements());
      ASSERT_TRUE((*source)->dequantize_rows(i, 0, tensor.rows(), values).ok());
      for (const float value : values) ASSERT_TRUE(std::isfinite(value)) << tensor.name;
    }
    ++checkpoints;
  }
  EXPECT_EQ(checkpoints, 4);
}

}  // namespace
}  // namespace bp
