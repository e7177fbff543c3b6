// SPDX-License-Identifier: Apache-2.0
// A model of 10,000 tensors: accepted, and how long opening takes is recorded as the property
// "open_ms" (a figure to look at, not an assertion; the goal is 50 ms in a release build).
#include <gtest/gtest.h>

#include <chrono>

#include "model_format/reader.h"
#include "model_format/tiny_model.h"

namespace bp {
namespace {

using testing::PlanBuilder;

constexpr uint64_t kWidth = 32;
constexpr int kTensors = 10'000;

// token_ids → embed → 9,998 linears in a row → head.
testing::TinyModel make_long_model() {
  testing::TinyModel tiny = testing::make_tiny_model(false);
  const uint64_t vocabulary = tiny.model.hyper_parameters->vocabulary;
  PlanBuilder plan;
  const auto tokens = PlanBuilder::symbol(PlanBuilder::kTokens);
  const auto outputs = PlanBuilder::symbol(PlanBuilder::kOutputs);
  const auto width = PlanBuilder::constant(kWidth);
  const int ids = plan.input("token_ids", {tokens});
  const int rows = plan.input("output_rows", {outputs});
  const int table = plan.weight("embedding", "f16", {vocabulary, kWidth});
  int h = plan.scratch("h", {tokens, width});
  plan.step("embed", {ids, table}, {h}, {}, -1);
  for (int i = 2; i < kTensors; ++i) {
    const std::string name = "chain/" + std::to_string(i);
    const int weight = plan.weight(name + "/weight", "q4_g32", {kWidth, kWidth});
    const int y = plan.scratch(name, {tokens, width});
    plan.step("linear", {h, weight, -1, -1}, {y}, {}, -1);
    h = y;
  }
  const int last = plan.scratch("last", {outputs, width});
  plan.step("gather_rows", {h, rows}, {last}, {}, -1);
  const int head = plan.weight("head", "f16", {vocabulary, kWidth});
  const int logits =
      plan.scratch("logits", {outputs, PlanBuilder::constant(vocabulary)}, "f32", fb::Role::Output);
  plan.step("linear", {last, head, -1, -1}, {logits}, {}, -1);
  tiny.tensors = plan.tensors();
  tiny.model.plan = plan.finish();
  return tiny;
}

TEST(Scale, ten_thousand_tensors_are_written_and_opened) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path("long.bpm");
  const Status status = testing::write_tiny_model(make_long_model(), path);
  ASSERT_TRUE(status.ok()) << status.to_string();
  double best_ms = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto before = std::chrono::steady_clock::now();
    const auto file = ModelFile::open(path);
    const std::chrono::duration<double, std::milli> took =
        std::chrono::steady_clock::now() - before;
    ASSERT_TRUE(file.ok()) << file.status().to_string();
    ASSERT_EQ(file.value()->tensor_count(), static_cast<uint32_t>(kTensors));
    EXPECT_EQ(file.value()->find_tensor("chain/777/weight"), 776u);
    best_ms = std::min(best_ms, took.count());
  }
  RecordProperty("open_ms", std::to_string(best_ms));
}

}  // namespace
}  // namespace bp
