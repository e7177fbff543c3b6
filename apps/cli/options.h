// SPDX-License-Identifier: Apache-2.0
// Options that several commands share, and how a command is registered.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apps/cli/api.h"

namespace bp::cli {

// What a command does once its arguments have been read. The failure's message goes to stderr.
using Action = std::function<Status()>;

// Adds a subcommand whose callback stores its action in *chosen.
using Register = void (*)(CLI::App& app, Action* chosen);

void add_convert(CLI::App& app, Action* chosen);
void add_run(CLI::App& app, Action* chosen);
void add_chat(CLI::App& app, Action* chosen);
void add_inspect(CLI::App& app, Action* chosen);
void add_bench(CLI::App& app, Action* chosen);
void add_tune(CLI::App& app, Action* chosen);
void add_devices(CLI::App& app, Action* chosen);
void add_plugins(CLI::App& app, Action* chosen);
void add_doctor(CLI::App& app, Action* chosen);
void add_perplexity(CLI::App& app, Action* chosen);
void add_compare(CLI::App& app, Action* chosen);
void add_tokenize(CLI::App& app, Action* chosen);
void add_detokenize(CLI::App& app, Action* chosen);
void add_template(CLI::App& app, Action* chosen);

inline const std::vector<std::string> kKvFormats = {"f16", "f32", "bf16", "q8"};

// Where and how a model runs.
struct RuntimeOptions {
  std::string model;
  std::string device = "auto";
  std::string kv_format = "f16";
  uint64_t context = 0;
  uint64_t batch = 0;
  uint32_t threads = 0;
  bool strict = false;

  // MODEL and the options; `with_model` false for commands that name their models differently.
  void add_to(CLI::App* command, bool with_model = true);
  bp_session_options session_options() const;
};

// How tokens are chosen. Options that were not given keep the model's own suggestion.
struct SamplingArguments {
  int64_t max_tokens = -1;
  double temperature = -1, top_p = -1, min_p = -1, repeat_penalty = -1;
  double presence_penalty = 0, frequency_penalty = 0;
  int64_t top_k = -1;
  int64_t seed = -1;  // −1: a new one each time
  std::vector<std::string> stop;
  bool ignore_eos = false;

  void add_to(CLI::App* command);
  // `stops` receives views into this object.
  Result<bp_generate_options> resolve(const bp_model* model, std::vector<bp_string>* stops) const;
};

// Opens a .bpm file, or converts a GGUF file or Hugging Face folder into the user's cache first.
Result<ModelHandle> open_any_model(const std::string& source);
// The .bpm file for a source; converts if needed.
Result<std::string> resolve_model(const std::string& source);
// Threads, then the session.
Result<SessionHandle> create_session(bp_model* model, const RuntimeOptions& options);

}  // namespace bp::cli
