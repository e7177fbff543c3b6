// SPDX-License-Identifier: Apache-2.0
// What convert() promises around the maths: refusals by name, nothing half-written, the same bytes
// every time, provenance, and plans of the documented shape.
#include "compiler/convert/convert.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "compiler/architectures/architecture.h"
#include "compiler/import/json.h"
#include "core/platform/digest.h"
#include "core/platform/file.h"
#include "model_format/reader.h"

namespace bp::compiler {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kGoldens = fs::path(BP_SOURCE_DIR) / "tests/golden/architectures";

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_all(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<long>(bytes.size()));
}

class Convert : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              fmt::format("bp-convert-{}-{}", ::getpid(),
                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    options_.output = folder_ / "out.bpm";
    options_.quant = "f16";
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  // A golden checkpoint of our own, to be spoiled.
  fs::path copy_of(const std::string& golden) {
    const fs::path to = folder_ / "source";
    fs::remove_all(to);
    fs::copy(kGoldens / golden, to);
    for (const auto& entry : fs::directory_iterator(to)) {
      fs::permissions(entry.path(), fs::perms::owner_all, fs::perm_options::add);
    }
    options_.source = to;
    return to;
  }
  void edit_config(const fs::path& source, const std::function<void(Json&)>& edit) {
    Result<Json> config = read_json_file(source / "config.json");
    ASSERT_TRUE(config.ok());
    edit(*config);
    write_all(source / "config.json", config->dump());
  }
  // Converts a copy of `golden` whose config has been edited; the failure's message.
  Status convert_edited(const std::string& golden, const std::function<void(Json&)>& edit) {
    edit_config(copy_of(golden), edit);
    return convert(options_, nullptr);
  }
  void expect_refusal(const std::string& golden, const std::function<void(Json&)>& edit, Code code,
                      const std::string& words) {
    const Status status = convert_edited(golden, edit);
    ASSERT_FALSE(status.ok()) << "not refused: " << words;
    EXPECT_EQ(status.code(), code) << status.to_string();
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_FALSE(fs::exists(options_.output));
    EXPECT_EQ(files_beside_output(), 0u);
  }
  // Files in the output's folder besides the source: leftovers.
  size_t files_beside_output() const {
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      count += entry.is_regular_file() ? 1u : 0u;
    }
    return count;
  }

  fs::path folder_;
  ConvertOptions options_;
};

// ---- refusals -----------------------------------------------------------------------------------

TEST_F(Convert, unknown_family_is_refused_with_the_known_ones) {
  expect_refusal(
      "llama2", [](Json& c) { c["model_type"] = "mamba"; }, Code::kUnimplemented,
      "model_type 'mamba' is not supported; supported are gemma2, gemma3, llama");
}

TEST_F(Convert, unknown_family_is_refused_before_weights_are_opened) {
  const fs::path source = copy_of("llama2");
  fs::remove(source / "model.safetensors");
  edit_config(source, [](Json& c) { c["model_type"] = "mamba"; });
  EXPECT_EQ(convert(options_, nullptr).code(), Code::kUnimplemented);
}

TEST_F(Convert, settings_that_change_the_maths_are_refused_by_name) {
  const auto refuse = [this](const std::string& golden, const char* key, Json value,
                             const std::string& words) {
    expect_refusal(
        golden, [&](Json& c) { c[key] = value; }, Code::kUnimplemented, words);
  };
  refuse("llama3", "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}, "'yarn'");
  refuse("llama3", "rope_scaling", {{"rope_type", "dynamic"}, {"factor", 4.0}}, "'dynamic'");
  refuse("llama3", "rope_scaling", {{"type", "linear"}, {"factor", 4.0}, {"mystery", 2}},
         "'mystery'");
  refuse("mistral", "hidden_act", "relu", "'relu'");
  refuse("mistral", "quantization_config", {{"quant_method", "gptq"}}, "quantized already");
  refuse("mistral", "attn_logit_softcapping", 50.0, "'attn_logit_softcapping'");
  refuse("gemma2", "use_bidirectional_attention", true, "'use_bidirectional_attention'");
  refuse("gemma3_vision", "text_config", {{"model_type", "gemma3_text"}, {"alibi", true}},
         "'alibi'");
  refuse("qwen2", "partial_rotary_factor", 0.5, "'partial_rotary_factor'");
  refuse("qwen2_window", "layer_types", {"full_attention", "linear_attention"}, "linear_attention");
}

TEST_F(Convert, impossible_settings_are_refused_by_name) {
  const auto refuse = [this](const char* key, Json value, const std::string& words) {
    expect_refusal(
        "mistral", [&](Json& c) { c[key] = value; }, Code::kCorrupt, words);
  };
  refuse("num_attention_heads", 0, "num_attention_heads");
  refuse("num_attention_heads", 3, "heads cannot share");
  refuse("num_hidden_layers", 1u << 20, "num_hidden_layers");
  refuse("head_dim", 21, "rotated");
  refuse("vocab_size", 261, "'model.embed_tokens.weight' has the shape [260, 32]");
  refuse("hidden_size", -1, "hidden_size");
  refuse("hidden_size", "64", "hidden_size");
  refuse("max_position_embeddings", 0, "context length");
  refuse("rope_theta", -1.0, "rope_theta");
  refuse("num_key_value_heads", uint64_t{1} << 62, "key/value");
}

TEST_F(Convert, missing_tensor_is_named) {
  expect_refusal(
      "mistral", [](Json& c) { c["num_hidden_layers"] = 3; }, Code::kCorrupt,
      "'model.layers.2.input_layernorm.weight'");
}

TEST_F(Convert, tensor_without_a_place_is_named) {
  expect_refusal(
      "mistral", [](Json& c) { c["num_hidden_layers"] = 1; }, Code::kUnimplemented,
      "'model.layers.1.");
  expect_refusal(
      "gemma2",
      [](Json& c) {
        c["model_type"] = "llama";
        c["hidden_act"] = "silu";
        c.erase("attn_logit_softcapping");
        c.erase("final_logit_softcapping");
      },
      Code::kUnimplemented, "feedforward_layernorm");
}

TEST_F(Convert, bad_paths_and_names_are_refused) {
  const auto refuse = [this](const fs::path& source, Code code, const std::string& words) {
    options_.source = source;
    const Status status = convert(options_, nullptr);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.code(), code) << status.to_string();
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  refuse(folder_ / "nowhere", Code::kNotFound, "nowhere");
  refuse(folder_, Code::kNotFound, "config.json");
  refuse(kGoldens / "llama2/model.safetensors", Code::kInvalidArgument, "give the folder");
  options_.quant = "q3_turbo";
  refuse(kGoldens / "llama2", Code::kInvalidArgument, "'q3_turbo'");
  options_.quant = "f16";
  options_.output = folder_ / "no" / "such" / "folder.bpm";
  refuse(kGoldens / "llama2", Code::kNotFound, "");
}

TEST_F(Convert, existing_output_is_kept_unless_overwriting) {
  options_.source = kGoldens / "llama2";
  write_all(options_.output, "precious");
  EXPECT_EQ(convert(options_, nullptr).code(), Code::kFailedPrecondition);
  EXPECT_EQ(read_all(options_.output), "precious");
  options_.overwrite = true;
  EXPECT_TRUE(convert(options_, nullptr).ok());
  EXPECT_TRUE(ModelFile::open(options_.output).ok());
}

TEST_F(Convert, source_is_never_overwritten) {
  const fs::path source = copy_of("llama3") / "model.gguf";
  options_.source = source;
  options_.output = source;
  options_.overwrite = true;
  EXPECT_EQ(convert(options_, nullptr).code(), Code::kFailedPrecondition);
  EXPECT_EQ(read_all(source), read_all(kGoldens / "llama3/model.gguf"));
}

TEST_F(Convert, weight_that_is_not_a_number_is_named) {
  const fs::path file = copy_of("llama2") / "model.safetensors";
  std::string bytes = read_all(file);
  bytes.replace(bytes.size() - 2, 2, "\x00\x7e", 2);  // the last f16 becomes NaN
  write_all(file, bytes);
  for (const char* quant : {"f16", "f32", "q8_g32", "q4_g32", "keep"}) {
    options_.quant = quant;
    const Status status = convert(options_, nullptr);
    ASSERT_FALSE(status.ok()) << quant;
    EXPECT_EQ(status.code(), Code::kCorrupt);
    EXPECT_THAT(std::string(status.message()), HasSubstr("model."));
    EXPECT_EQ(files_beside_output(), 0u);
  }
}

// ---- nothing half-written -----------------------------------------------------------------------

TEST_F(Convert, cancelled_conversion_leaves_nothing) {
  options_.source = kGoldens / "llama3";
  std::atomic<bool> cancel{true};
  options_.cancel = &cancel;
  EXPECT_EQ(convert(options_, nullptr).code(), Code::kCancelled);
  EXPECT_EQ(files_beside_output(), 0u);
}

TEST_F(Convert, killed_process_leaves_no_file_of_that_name) {
  options_.source = kGoldens / "llama3";
  const pid_t child = ::fork();
  if (child == 0) {
    // The first call of the progress comes while weights are on their way.
    options_.progress = [](const ConvertProgress&) { ::kill(::getpid(), SIGKILL); };
    (void)convert(options_, nullptr);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(fs::exists(options_.output));
  ASSERT_TRUE(convert(options_, nullptr).ok());
  EXPECT_EQ(files_beside_output(), 1u);  // the dead process's temporary file is gone too
}

TEST_F(Convert, file_that_cannot_grow_is_a_named_error) {
  options_.source = kGoldens / "llama3";
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit small = {64 * 1024, 64 * 1024};
    ::setrlimit(RLIMIT_FSIZE, &small);
    ::signal(SIGXFSZ, SIG_IGN);
    const Status status = convert(options_, nullptr);
    const std::string text = status.to_string();
    (void)!::write(pipes[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(pipes[1]);
  std::string text(4096, '\0');
  const ssize_t length = ::read(pipes[0], text.data(), text.size());
  ::close(pipes[0]);
  ::waitpid(child, nullptr, 0);
  ASSERT_GT(length, 0);
  text.resize(static_cast<size_t>(length));
  EXPECT_THAT(text, HasSubstr("EXHAUSTED"));
  EXPECT_EQ(files_beside_output(), 0u);
}

// ---- results ------------------------------------------------------------------------------------

TEST_F(Convert, same_source_gives_the_same_bytes_with_any_number_of_threads) {
  options_.source = kGoldens / "qwen3_moe";
  options_.quant = "q4_g32";
  options_.threads = 1;
  ASSERT_TRUE(convert(options_, nullptr).ok());
  const std::string first = read_all(options_.output);
  options_.overwrite = true;
  options_.threads = 5;
  ASSERT_TRUE(convert(options_, nullptr).ok());
  EXPECT_EQ(first, read_all(options_.output));
}

TEST_F(Convert, provenance_names_and_digests_every_source_file) {
  options_.source = kGoldens / "qwen2";
  ConvertReport report;
  ASSERT_TRUE(convert(options_, &report).ok());
  const auto model = ModelFile::open(options_.output);
  ASSERT_TRUE(model.ok());
  const fb::Model& m = (*model)->model();
  EXPECT_EQ(m.architecture()->str(), "qwen2");
  EXPECT_EQ(m.name()->str(), "qwen2");
  EXPECT_EQ(m.weights_format()->str(), "f16");
  EXPECT_THAT(m.tool()->str(), HasSubstr("backplane "));
  ASSERT_EQ(m.sources()->size(), 3u);  // two shards and their index
  for (const fb::SourceFile* source : *m.sources()) {
    const std::string bytes = read_all(options_.source / source->name()->str());
    const auto digest = Sha256::of(std::as_bytes(std::span(bytes)));
    ASSERT_TRUE(digest.ok());
    EXPECT_TRUE(std::equal(digest->begin(), digest->end(), source->sha256()->begin()));
    EXPECT_EQ(source->bytes(), bytes.size());
  }
  EXPECT_TRUE((*model)->verify_digests().ok());
  EXPECT_FALSE(report.has_tokenizer);
  EXPECT_THAT(report.notes, testing::Contains(HasSubstr("no tokenizer")));
  EXPECT_EQ(report.output_bytes, fs::file_size(options_.output));
}

TEST_F(Convert, columns_that_do_not_fit_the_block_fall_back_and_are_reported) {
  options_.source = kGoldens / "gemma2";  // rows of 40
  options_.quant = "q4_g32";
  ConvertReport report;
  ASSERT_TRUE(convert(options_, &report).ok());
  EXPECT_THAT(report.fallbacks, testing::Not(testing::IsEmpty()));
  for (const ConvertReport::Fallback& fallback : report.fallbacks) {
    EXPECT_EQ(fallback.format, "bf16") << fallback.tensor;
    EXPECT_THAT(fallback.reason, HasSubstr("40"));
  }
}

// Steps by layer, without the four outside of layers.
std::map<int32_t, std::vector<std::string>> steps_by_layer(const ModelFile& model) {
  std::map<int32_t, std::vector<std::string>> out;
  for (const fb::Step* step : *model.plan().steps()) {
    out[step->layer()].push_back(step->op()->str());
  }
  return out;
}

TEST_F(Convert, layer_of_llama_is_eight_steps) {
  const std::vector<std::string> kLayer = {"rms_norm", "linear",   "rope_kv_write", "attention",
                                           "linear",   "rms_norm", "linear_glu",    "linear"};
  for (const char* golden : {"llama2", "llama3", "llama3/model.gguf", "llama_linear_bias",
                             "mistral", "qwen2", "qwen3", "phi3", "phi3_longrope/model.gguf"}) {
    options_.source = kGoldens / golden;
    options_.overwrite = true;
    ASSERT_TRUE(convert(options_, nullptr).ok()) << golden;
    const auto model = ModelFile::open(options_.output);
    ASSERT_TRUE(model.ok());
    const auto steps = steps_by_layer(**model);
    EXPECT_EQ(steps.at(-1),
              (std::vector<std::string>{"embed", "gather_rows", "rms_norm", "linear"}));
    EXPECT_EQ(steps.at(0), kLayer) << golden;
    EXPECT_EQ(steps.at(1), kLayer) << golden;
  }
}

TEST_F(Convert, layers_of_gemma_and_experts_have_their_steps) {
  const auto layer = [this](const char* golden) {
    options_.source = kGoldens / golden;
    options_.overwrite = true;
    EXPECT_TRUE(convert(options_, nullptr).ok()) << golden;
    const auto model = ModelFile::open(options_.output);
    EXPECT_TRUE(model.ok());
    return steps_by_layer(**model).at(0);
  };
  EXPECT_EQ(layer("gemma2"),
            (std::vector<std::string>{"rms_norm", "linear", "rope_kv_write", "attention", "linear",
                                      "rms_norm", "rms_norm", "linear_glu", "linear", "rms_norm"}));
  EXPECT_EQ(layer("mixtral"),
            (std::vector<std::string>{"rms_norm", "linear", "rope_kv_write", "attention", "linear",
                                      "rms_norm", "linear", "moe_route", "moe_linear_glu",
                                      "moe_linear"}));
}

// The hidden state lives in one place, and a layer more costs no memory.
TEST_F(Convert, arena_does_not_grow_with_layers) {
  options_.source = kGoldens / "qwen3_moe";
  ASSERT_TRUE(convert(options_, nullptr).ok());
  const auto model = ModelFile::open(options_.output);
  ASSERT_TRUE(model.ok());
  std::map<std::string, std::string> place;
  for (const fb::Value* value : *(*model)->plan().values()) {
    if (value->arena_offset() == nullptr) continue;
    std::string text = std::to_string(value->arena_offset()->offset());
    if (value->arena_offset()->terms() != nullptr) {
      for (const fb::Term* term : *value->arena_offset()->terms()) {
        text += fmt::format(" {}x{}", term->scale(), term->symbol());
      }
    }
    place[value->name()->str()] = text;
  }
  EXPECT_EQ(place.at("embedded"), place.at("layers/0/after_attention"));
  EXPECT_EQ(place.at("embedded"), place.at("layers/2/after_ffn"));
}

// ---- cache --------------------------------------------------------------------------------------

TEST_F(Convert, cached_conversion_is_made_once_and_again_for_another_source) {
  const char* old = std::getenv("XDG_CACHE_HOME");
  const std::string kept = old == nullptr ? "" : old;
  ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
  const fs::path source = copy_of("llama3") / "model.gguf";
  options_.source = source;
  const auto first = cached_conversion(options_, nullptr);
  ASSERT_TRUE(first.ok()) << first.status().to_string();
  const auto made = fs::last_write_time(*first);
  const auto second = cached_conversion(options_, nullptr);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(fs::last_write_time(*second), made);

  ConvertOptions other = options_;
  other.quant = "q8_g32";
  EXPECT_NE(*cached_conversion(other, nullptr), *first);

  std::string bytes = read_all(source);
  bytes[bytes.size() - 40] = static_cast<char>(bytes[bytes.size() - 40] ^ 1);
  const auto time = fs::last_write_time(source);
  write_all(source, bytes);
  fs::last_write_time(source, time);  // same size, same time, other weights
  const auto third = cached_conversion(options_, nullptr);
  ASSERT_TRUE(third.ok());
  EXPECT_NE(*third, *first);

  write_all(*third, "damaged");
  const auto fourth = cached_conversion(options_, nullptr);
  ASSERT_TRUE(fourth.ok());
  EXPECT_TRUE(ModelFile::open(*fourth).ok());
  if (old == nullptr) {
    ::unsetenv("XDG_CACHE_HOME");
  } else {
    ::setenv("XDG_CACHE_HOME", kept.c_str(), 1);
  }
}

}  // namespace
}  // namespace bp::compiler
