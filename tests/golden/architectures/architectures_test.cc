// SPDX-License-Identifier: Apache-2.0
// Every model family, from its checkpoint through the compiler and the runtime to logits, against
// what transformers computes from the same weights (make.py). The first part of each prompt goes
// through in one pass, the rest token by token, so prompt and decode are both compared.
//
// On the CPU, or on the device that BACKPLANE_TEST_DEVICE names ("vulkan"), which then has to run
// every step itself. A device that is not usable is skipped, or fails the test where
// BACKPLANE_TEST_DEVICE_REQUIRED is set: a stand-in driver has no excuse.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "backplane/backplane.h"
#include "compiler/convert/convert.h"
#include "compiler/import/json.h"

namespace bp::compiler {
namespace {

namespace fs = std::filesystem;

const fs::path kFolder = fs::path(BP_SOURCE_DIR) / "tests/golden/architectures";
constexpr uint64_t kDecoded = 7;  // tokens at the end that go through one by one

struct Case {
  std::string source;
  std::string stored;
  std::vector<int32_t> tokens;
  fs::path logits;
  uint64_t vocabulary;
};

std::vector<Case> read_cases() {
  std::vector<Case> cases;
  const Result<Json> list = read_json_file(kFolder / "cases.json");
  if (!list.ok()) return cases;
  for (const Json& item : *list) {
    cases.push_back({item["source"], item["stored"], item["tokens"].get<std::vector<int32_t>>(),
                     kFolder / item["logits"].get<std::string>(), item["vocabulary"]});
  }
  return cases;
}

std::vector<float> read_floats(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(float));
  return out;
}

class Scratch {
 public:
  Scratch() : path_(fs::temp_directory_path() / fmt::format("bp-golden-{}", ::getpid())) {
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string message(const bp_error& error) {
  return error.text;
}

std::string device_name() {
  const char* name = std::getenv("BACKPLANE_TEST_DEVICE");
  return name == nullptr ? "cpu" : name;
}

std::string_view view(const bp_string& text) {
  return {text.data == nullptr ? "" : text.data, text.length};
}

// Empty when one device of the plugin can be used, else why not.
std::string why_unusable(const std::string& plugin) {
  bp_error error = BP_ERROR_INIT;
  uint32_t count = 0;
  if (bp_device_count(&count, &error) != BP_OK) return message(error);
  std::string reason = "no such plugin was built";
  for (uint32_t i = 0; i < count; ++i) {
    bp_device_entry entry{};
    entry.size = sizeof entry;
    if (bp_device_describe(i, &entry, &error) != BP_OK) return message(error);
    if (view(entry.plugin) != plugin) continue;
    if (entry.usable != 0) return {};
    reason = view(entry.reason);
  }
  if (bp_plugin_count(&count, &error) != BP_OK) return message(error);
  for (uint32_t i = 0; i < count; ++i) {
    bp_plugin_entry entry{};
    entry.size = sizeof entry;
    if (bp_plugin_describe(i, &entry, &error) != BP_OK) return message(error);
    if (view(entry.id) == plugin && entry.usable == 0) reason = view(entry.reason);
  }
  return reason;
}

// Logits of all positions, [tokens, vocabulary].
std::vector<float> run(const fs::path& model_path, const Case& c) {
  bp_error error = BP_ERROR_INIT;
  bp_model* model = nullptr;
  EXPECT_EQ(bp_model_open(model_path.c_str(), nullptr, &model, &error), BP_OK) << message(error);
  bp_session_options options = BP_SESSION_OPTIONS_INIT;
  const std::string device = device_name();
  options.device = {device.data(), device.size()};
  options.strict_placement = 1;
  options.kv_format = {"f32", 3};
  options.context_tokens = c.tokens.size();
  bp_session* session = nullptr;
  EXPECT_EQ(bp_session_create(model, &options, &session, &error), BP_OK) << message(error);
  std::vector<float> all;
  if (session == nullptr) {
    bp_model_close(model);
    return all;
  }
  const auto collect = [](void* user, uint64_t, const float* logits, uint64_t count) -> int32_t {
    auto* out = static_cast<std::vector<float>*>(user);
    out->insert(out->end(), logits, logits + count);
    return 0;
  };
  const uint64_t prompt = c.tokens.size() - kDecoded;
  EXPECT_EQ(bp_session_evaluate(session, c.tokens.data(), prompt, collect, &all, &error), BP_OK)
      << message(error);
  for (uint64_t i = prompt; i < c.tokens.size(); ++i) {
    EXPECT_EQ(bp_session_evaluate(session, &c.tokens[i], 1, collect, &all, &error), BP_OK)
        << message(error);
  }
  bp_session_destroy(session);
  bp_model_close(model);
  return all;
}

struct Difference {
  double largest = 0;  // |ours − golden| over the largest |golden|
  double rms = 0;      // root of the mean square, over that of the golden
};

Difference compare(const std::vector<float>& ours, const std::vector<float>& golden) {
  Difference out;
  double peak = 0, square = 0, golden_square = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    const double delta = static_cast<double>(ours[i]) - static_cast<double>(golden[i]);
    // A NaN has to fail, and no maximum or sum of squares would show it.
    if (!std::isfinite(delta)) return {HUGE_VAL, HUGE_VAL};
    out.largest = std::max(out.largest, std::abs(delta));
    peak = std::max(peak, std::abs(static_cast<double>(golden[i])));
    square += delta * delta;
    golden_square += static_cast<double>(golden[i]) * static_cast<double>(golden[i]);
  }
  out.largest /= peak;
  out.rms = std::sqrt(square / golden_square);
  return out;
}

class Architectures : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    bp_error error = BP_ERROR_INIT;
    const std::string plugins = BP_PLUGIN_DIR;
    ASSERT_EQ(bp_plugin_path_add(plugins.c_str(), &error), BP_OK) << message(error);
  }

  void SetUp() override {
    const std::string reason = why_unusable(device_name());
    if (reason.empty()) return;
    ASSERT_EQ(std::getenv("BACKPLANE_TEST_DEVICE_REQUIRED"), nullptr) << reason;
    GTEST_SKIP() << "skipped: " << device_name() << " is not usable: " << reason;
  }

  // Mixtures of experts have bounds of their own: a router that is rounded may choose another
  // expert, which no small difference describes.
  void compare_all(const std::string& quant, Difference dense, Difference experts) {
    const std::vector<Case> cases = read_cases();
    ASSERT_GE(cases.size(), 27u);
    double worst_largest = 0, worst_rms = 0;
    for (const Case& c : cases) {
      SCOPED_TRACE(fmt::format("{} with {} tokens as {}", c.source, c.tokens.size(), quant));
      ConvertOptions options;
      options.source = kFolder / c.source;
      options.output = scratch_.path() / "model.bpm";
      options.quant = quant;
      options.overwrite = true;
      const Status status = convert(options, nullptr);
      ASSERT_TRUE(status.ok()) << status.to_string();
      const std::vector<float> golden = read_floats(c.logits);
      ASSERT_EQ(golden.size(), c.tokens.size() * c.vocabulary);
      const std::vector<float> ours = run(options.output, c);
      ASSERT_EQ(ours.size(), golden.size());
      const Difference difference = compare(ours, golden);
      const bool has_experts = c.source.find("mixtral") == 0 || c.source.find("qwen3_moe") == 0;
      const Difference& bound = has_experts ? experts : dense;
      EXPECT_LE(difference.largest, bound.largest);
      EXPECT_LE(difference.rms, bound.rms);
      if (std::getenv("BACKPLANE_TEST_VERBOSE") != nullptr) {
        std::printf("  %s, %zu tokens: largest %.2e, rms %.2e\n", c.source.c_str(), c.tokens.size(),
                    difference.largest, difference.rms);
      }
      worst_largest = std::max(worst_largest, difference.largest);
      worst_rms = std::max(worst_rms, difference.rms);
    }
    std::printf("%s on %s: worst largest difference %.2e, worst rms %.2e\n", quant.c_str(),
                device_name().c_str(), worst_largest, worst_rms);
  }

  Scratch scratch_;
};

TEST_F(Architectures, logits_at_f32_are_those_of_transformers) {
  compare_all("f32", {2e-3, 1e-3}, {2e-3, 1e-3});
}

// The goldens' own 16-bit weights. Kernels may round activations to bf16 too (AMX does).
TEST_F(Architectures, logits_of_kept_weights_stay_close) {
  compare_all("keep", {5e-2, 2e-2}, {5e-2, 2e-2});
}

TEST_F(Architectures, logits_at_bf16_stay_close) {
  compare_all("bf16", {5e-2, 2e-2}, {5e-2, 2e-2});
}

TEST_F(Architectures, logits_at_q8_stay_close) {
  compare_all("q8_g32", {1.5e-1, 6e-2}, {5e-1, 1.5e-1});
}

// Random matrices are the worst case for four bits: there is no scale to find that spares what
// matters. Logits of an unrelated model would differ by an rms of 1.4.
TEST_F(Architectures, logits_at_q4_stay_near) {
  compare_all("q4_g32", {1.2, 6.5e-1}, {1.6, 8e-1});
}

}  // namespace
}  // namespace bp::compiler
