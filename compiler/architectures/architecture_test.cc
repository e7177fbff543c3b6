// SPDX-License-Identifier: Apache-2.0
// Settings of GGUF files and rotary tables: what the goldens, being small, cannot show.
#include "compiler/architectures/architecture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "compiler/architectures/rotary.h"

namespace bp::compiler {
namespace {

using testing::HasSubstr;

// Tensors that have a shape, and values where a test gives some.
class FakeSource : public TensorSource {
 public:
  void add(const std::string& name, std::vector<uint64_t> shape, std::vector<float> values = {}) {
    SourceTensor tensor;
    tensor.name = name;
    tensor.format = "f32";
    tensor.source_type = "F32";
    tensor.shape = std::move(shape);
    ASSERT_TRUE(add_tensor(std::move(tensor)).ok());
    values_.push_back(std::move(values));
  }
  void release(size_t) const noexcept override {}
  Status check_unchanged() const override { return {}; }

 private:
  Status read_checked_blocks(size_t index, uint64_t, uint64_t,
                             const PlaneBuffers& planes) const override {
    std::memcpy(planes[0].data(), values_[index].data(), planes[0].size());
    return {};
  }
  std::vector<std::vector<float>> values_;
};

class Metadata {
 public:
  Metadata& set(const std::string& key, uint64_t value) {
    GgufValue v;
    v.type = GgufType::kU64;
    v.bytes.assign(reinterpret_cast<const char*>(&value), sizeof(value));
    return put(key, std::move(v));
  }
  Metadata& set(const std::string& key, double value) {
    GgufValue v;
    v.type = GgufType::kF64;
    v.bytes.assign(reinterpret_cast<const char*>(&value), sizeof(value));
    return put(key, std::move(v));
  }
  Metadata& set(const std::string& key, const std::string& value) {
    GgufValue v;
    v.type = GgufType::kString;
    v.bytes = value;
    v.ends = {value.size()};
    return put(key, std::move(v));
  }
  Metadata& set_array(const std::string& key, const std::vector<uint64_t>& values) {
    GgufValue v;
    v.type = GgufType::kU64;
    v.is_array = true;
    v.count = values.size();
    v.bytes.assign(reinterpret_cast<const char*>(values.data()), values.size() * 8);
    return put(key, std::move(v));
  }
  // The settings that every file has.
  Metadata& base(const std::string& architecture, uint64_t layers) {
    const std::string p = architecture + ".";
    set("general.architecture", architecture);
    set(p + "embedding_length", uint64_t{4608}).set(p + "block_count", layers);
    set(p + "attention.head_count", uint64_t{32}).set(p + "attention.head_count_kv", uint64_t{16});
    set(p + "attention.key_length", uint64_t{128}).set(p + "attention.value_length", uint64_t{128});
    return set(p + "feed_forward_length", uint64_t{64}).set(p + "context_length", uint64_t{8192});
  }
  const GgufMetadata& get() const { return metadata_; }

 private:
  Metadata& put(const std::string& key, GgufValue value) {
    EXPECT_TRUE(metadata_.add(key, std::move(value)).ok());
    return *this;
  }
  GgufMetadata metadata_;
};

class GgufArchitecture : public testing::Test {
 protected:
  void SetUp() override { source_.add("token_embd.weight", {256, 4608}); }
  Result<DecoderSpec> read() {
    const Architecture* found = BP_TRY(find_gguf_architecture(metadata_.get()));
    return found->from_gguf(metadata_.get(), source_);
  }
  void expect_refusal(Code code, const std::string& words) {
    const auto spec = read();
    ASSERT_FALSE(spec.ok());
    EXPECT_EQ(spec.status().code(), code);
    EXPECT_THAT(std::string(spec.status().message()), HasSubstr(words));
  }
  FakeSource source_;
  Metadata metadata_;
};

TEST_F(GgufArchitecture, unknown_family_is_refused_with_the_known_ones) {
  metadata_.base("rwkv", 2);
  expect_refusal(Code::kUnimplemented, "'rwkv' is not supported; supported are gemma2");
}

TEST_F(GgufArchitecture, q_and_k_of_llama_are_interleaved_and_of_others_are_not) {
  metadata_.base("llama", 2);
  EXPECT_TRUE(read()->interleaved);
  metadata_ = Metadata();
  metadata_.base("qwen2", 2);
  EXPECT_FALSE(read()->interleaved);
}

TEST_F(GgufArchitecture, gemma_27b_scales_attention_by_the_embedding) {
  metadata_.base("gemma2", 46);
  EXPECT_DOUBLE_EQ(read()->attention_scale, 1 / std::sqrt(4608.0 / 32));
  metadata_ = Metadata();
  metadata_.base("gemma2", 42);
  EXPECT_DOUBLE_EQ(read()->attention_scale, 1 / std::sqrt(128.0));
  metadata_ = Metadata();
  metadata_.base("gemma2", 46).set("gemma2.attention.scale", 0.5);
  EXPECT_DOUBLE_EQ(read()->attention_scale, 0.5);
}

TEST_F(GgufArchitecture, windows_of_gemma3_follow_a_period_or_a_list) {
  metadata_.base("gemma3", 7).set("gemma3.attention.sliding_window", uint64_t{512});
  auto spec = read();
  ASSERT_TRUE(spec.ok());
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(spec->layers[i].window, i == 5 ? 0u : 512u) << i;
    EXPECT_EQ(spec->layers[i].rope, i == 5 ? 0u : 1u) << i;
  }
  metadata_.set_array("gemma3.attention.sliding_window_pattern", {1, 0, 1, 0, 1, 0, 1});
  spec = read();
  ASSERT_TRUE(spec.ok());
  for (size_t i = 0; i < 7; ++i) EXPECT_EQ(spec->layers[i].window, i % 2 == 0 ? 512u : 0u) << i;
}

TEST_F(GgufArchitecture, list_of_windows_of_another_length_is_refused) {
  metadata_.base("gemma3", 7).set_array("gemma3.attention.sliding_window_pattern", {1, 0});
  expect_refusal(Code::kCorrupt, "2 entries for 7 layers");
}

TEST_F(GgufArchitecture, settings_that_are_not_implemented_are_named) {
  metadata_.base("llama", 2).set("llama.rope.scaling.type", "yarn");
  expect_refusal(Code::kUnimplemented, "'yarn'");
  metadata_ = Metadata();
  metadata_.base("llama", 2)
      .set("llama.expert_count", uint64_t{4})
      .set("llama.expert_used_count", uint64_t{2})
      .set("llama.expert_shared_count", uint64_t{1});
  expect_refusal(Code::kUnimplemented, "shared experts");
}

TEST_F(GgufArchitecture, settings_by_layer_are_refused) {
  metadata_.set("general.architecture", std::string("llama"))
      .set_array("llama.attention.head_count_kv", {1, 2});
  expect_refusal(Code::kUnimplemented, "llama.attention.head_count_kv");
}

TEST_F(GgufArchitecture, impossible_settings_are_named) {
  metadata_.base("llama", uint64_t{1} << 40);
  expect_refusal(Code::kCorrupt, "block_count");
  metadata_ = Metadata();
  metadata_.base("llama", 2).set("llama.rope.freq_base", -1.0);
  expect_refusal(Code::kCorrupt, "rope.freq_base");
}

TEST_F(GgufArchitecture, rope_factors_divide_and_must_be_positive) {
  metadata_.base("llama", 2);
  std::vector<float> factors(64, 2.0f);
  source_.add("rope_freqs.weight", {64}, factors);
  const auto spec = read();
  ASSERT_TRUE(spec.ok());
  EXPECT_FLOAT_EQ(spec->ropes[0].frequencies[0], 0.5f);
  FakeSource bad;
  bad.add("token_embd.weight", {256, 4608});
  factors[3] = 0;
  bad.add("rope_freqs.weight", {64}, factors);
  const auto refused = kLlama.from_gguf(metadata_.get(), bad);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kCorrupt);
}

TEST_F(GgufArchitecture, rope_factors_of_another_length_are_refused) {
  metadata_.base("llama", 2);
  source_.add("rope_freqs.weight", {63}, std::vector<float>(63, 1.0f));
  expect_refusal(Code::kCorrupt, "63 elements instead of 64");
}

// ---- rotary tables ------------------------------------------------------------------------------

TEST(Rotary, frequencies_fall_from_one_by_a_constant_factor) {
  const Rope rope = plain_rope(4, 10000);
  EXPECT_EQ(rope.frequencies, (std::vector<float>{1.0f, 0.01f}));
}

TEST(Rotary, llama3_keeps_short_wavelengths_and_stretches_long_ones) {
  const Rope plain = plain_rope(64, 500000);
  const Rope scaled = llama3_rope(64, 500000, {});
  constexpr double kTurn = 2 * 3.14159265358979323846;
  bool between = false;
  for (size_t i = 0; i < plain.frequencies.size(); ++i) {
    const double wavelength = kTurn / static_cast<double>(plain.frequencies[i]);
    const float ratio = plain.frequencies[i] / scaled.frequencies[i];
    if (wavelength < 8192.0 / 4) {
      EXPECT_FLOAT_EQ(ratio, 1);
    } else if (wavelength > 8192.0) {
      EXPECT_FLOAT_EQ(ratio, 8);
    } else {
      between = true;
      EXPECT_GT(ratio, 1);
      EXPECT_LT(ratio, 8);
    }
  }
  EXPECT_TRUE(between);
}

TEST(Rotary, long_rope_has_two_tables_and_a_switch) {
  LongScaling scaling;
  scaling.short_factors = {1, 2};
  scaling.long_factors = {4, 5};
  scaling.attention_factor = 1.25;
  scaling.long_from = 4096;
  const Rope rope = long_rope(4, 10000, scaling);
  EXPECT_EQ(rope.frequencies, (std::vector<float>{1.0f, 0.005f}));
  EXPECT_EQ(rope.long_frequencies, (std::vector<float>{0.25f, 0.002f}));
  EXPECT_EQ(rope.attention_factor, 1.25f);
  EXPECT_EQ(rope.long_from, 4096u);
}

}  // namespace
}  // namespace bp::compiler
