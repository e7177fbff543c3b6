// SPDX-License-Identifier: Apache-2.0
// `backplane bench`: tokens per second for prompt and generation, and the limits they are up
// against, measured in the same run.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/cli/options.h"
#include "apps/cli/read_stream.h"
#include "apps/cli/terminal.h"
#include "core/platform/process.h"
#include "model_format/reader.h"

namespace bp::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Arguments {
  RuntimeOptions runtime;
  uint64_t prompt = 512, generate = 128;
  uint32_t repeat = 5;
  bool json = false, explain = false;
};

struct Spread {
  std::vector<double> values;
  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const size_t n = sorted.size();
    if (n == 0) return 0;
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
  double min() const {
    return values.empty() ? 0 : *std::min_element(values.begin(), values.end());
  }
  double max() const {
    return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  }
  Json json() const { return {{"median", median()}, {"min", min()}, {"max", max()}}; }
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Bytes of weights that one decoded token reads: every tensor once, but of the embedding table one
// row, and of experts only those in use. A table that is also the output matrix is read whole.
uint64_t bytes_per_token(const ModelFile& file) {
  const fb::Plan& plan = file.plan();
  const fb::HyperParameters& hyper = *file.model().hyper_parameters();
  std::vector<double> share(file.tensor_count(), 0.0);
  for (const fb::Step* step : *plan.steps()) {
    const std::string_view op = step->op()->string_view();
    for (const int32_t input : *step->inputs()) {
      if (input < 0) continue;
      const fb::Value& value = *plan.values()->Get(static_cast<uint32_t>(input));
      if (value.role() != fb::Role::Weight) continue;
      double read = 1;
      if (op == "embed")
        read = 1.0 / static_cast<double>(std::max<uint64_t>(hyper.vocabulary(), 1));
      if (op.starts_with("moe_linear") && hyper.experts() != 0) {
        read = static_cast<double>(hyper.experts_used()) / static_cast<double>(hyper.experts());
      }
      double& entry = share[static_cast<size_t>(value.tensor())];
      entry = std::max(entry, read);
    }
  }
  double bytes = 0;
  for (uint32_t i = 0; i < file.tensor_count(); ++i) {
    for (const fb::Plane* plane : *file.model().tensors()->Get(i)->planes()) {
      bytes += share[i] * static_cast<double>(plane->bytes());
    }
  }
  return static_cast<uint64_t>(bytes);
}

Status measure_prompt(bp_session* session, const std::vector<int32_t>& ids, Spread* out) {
  BP_TRY(call(bp_session_rewind, session, uint64_t{0}));
  const auto start = Clock::now();
  BP_TRY(call(bp_session_feed_tokens, session, ids.data(), uint64_t{ids.size()}));
  out->values.push_back(static_cast<double>(ids.size()) / seconds_since(start));
  return {};
}

Status measure_generate(bp_session* session, uint64_t tokens, Spread* out) {
  BP_TRY(call(bp_session_rewind, session, uint64_t{0}));
  const int32_t first = 1;
  BP_TRY(call(bp_session_feed_tokens, session, &first, uint64_t{1}));
  bp_generate_options options = BP_GENERATE_OPTIONS_INIT;
  options.temperature = 0;
  options.ignore_eos = 1;
  options.max_tokens = tokens;
  const auto start = Clock::now();
  int32_t finish = 0;
  BP_TRY(call(bp_session_generate, session, static_cast<const bp_generate_options*>(&options),
              static_cast<bp_event_fn>(nullptr), static_cast<void*>(nullptr), &finish));
  if (finish == BP_FINISH_CANCELLED) return error(Code::kCancelled, "cancelled");
  // The first token needed no pass of its own.
  const uint64_t passes = bp_session_position(session) - 2;
  if (passes != 0) out->values.push_back(static_cast<double>(passes) / seconds_since(start));
  return {};
}

void print_text(const Json& json) {
  const auto line = [&](const char* name, const Json& entry) {
    fmt::print("{:<9} {:>5} tokens: {:.2f} tok/s (min {:.2f}, max {:.2f})\n", name,
               entry["tokens"].get<uint64_t>(), entry["tok_s"]["median"].get<double>(),
               entry["tok_s"]["min"].get<double>(), entry["tok_s"]["max"].get<double>());
  };
  fmt::print("{} on {}, {} threads\n", json["model"].get<std::string>(),
             json["device"].get<std::string>(), json["threads"].get<uint32_t>());
  line("prompt", json["prompt"]);
  line("generate", json["generate"]);
  fmt::print("reads {} per token; the memory stream gives {:.1f} GB/s, of which {:.0f} % is used\n",
             human_bytes(json["bytes_per_token"].get<uint64_t>()),
             json["stream_gb_s"].get<double>(), json["stream_share"].get<double>() * 100);
  fmt::print("{} launches per token, load {:.0f} ms, peak memory {}\n",
             json["launches_per_token"].get<uint32_t>(), json["load_ms"].get<double>(),
             human_bytes(json["peak_rss_bytes"].get<uint64_t>()));
  for (const Json& line : json.value("plan", Json::array())) {
    fmt::print("{}\n", line.get<std::string>());
  }
}

Status bench(const Arguments& args) {
  const std::string path = BP_TRY(resolve_model(args.runtime.model));
  const auto file = BP_TRY(ModelFile::open(path));
  RuntimeOptions runtime = args.runtime;
  if (runtime.context == 0) runtime.context = std::max(args.prompt, args.generate + 2);
  const auto start = Clock::now();
  ModelHandle model = BP_TRY(open_model(path));
  SessionHandle session = BP_TRY(create_session(model.get(), runtime));
  const double load_ms = seconds_since(start) * 1e3;
  bp_session_stats stats{};
  stats.size = sizeof(stats);
  BP_TRY(call(bp_session_describe, session.get(), &stats));
  const bp_model_info info = BP_TRY(describe(model.get()));

  std::mt19937 random(1);
  std::uniform_int_distribution<int32_t> any(0, static_cast<int32_t>(info.vocabulary) - 1);
  std::vector<int32_t> ids(args.prompt);
  for (int32_t& id : ids) id = any(random);
  Spread prompt, generate, stream, warm_up;
  InterruptScope interrupt(session.get());
  ProgressBar bar("bench");
  BP_TRY(measure_generate(session.get(), std::min<uint64_t>(args.generate, 4), &warm_up));
  uint64_t peak_rss = 0;
  const bool on_cpu = view(stats.device) == "cpu:0";
  for (uint32_t i = 0; i < args.repeat; ++i) {
    bar.update(i, args.repeat, "repeats");
    if (args.prompt != 0) BP_TRY(measure_prompt(session.get(), ids, &prompt));
    if (args.generate != 0) BP_TRY(measure_generate(session.get(), args.generate, &generate));
    if (i == 0) peak_rss = peak_resident_bytes();  // before the stream's own buffer
    if (on_cpu) stream.values.push_back(measure_read_stream(bp_threads_get()));
    double bytes_per_second = 0;
    if (!on_cpu && call(bp_session_measure_read, session.get(), &bytes_per_second).ok()) {
      stream.values.push_back(bytes_per_second / 1e9);
    }
    if (InterruptScope::interrupted()) return error(Code::kCancelled, "cancelled");
  }
  BP_TRY(call(bp_session_describe, session.get(), &stats));
  const uint64_t bytes = bytes_per_token(*file);
  const double used_gb_s = generate.median() * static_cast<double>(bytes) / 1e9;
  Json json;
  json["device"] = view(stats.device);
  json["model"] = args.runtime.model;
  json["threads"] = bp_threads_get();
  json["prompt"] = {{"tokens", args.prompt}, {"tok_s", prompt.json()}};
  json["generate"] = {{"tokens", args.generate}, {"tok_s", generate.json()}};
  json["bytes_per_token"] = bytes;
  json["stream_gb_s"] = stream.median();
  json["stream_share"] = stream.median() == 0 ? 0.0 : used_gb_s / stream.median();
  json["launches_per_token"] = stats.launches_per_token;
  // On a synchronous device the host does the work itself; there is no separate host time.
  json["host_us_per_token"] = nullptr;
  json["load_ms"] = load_ms;
  json["peak_rss_bytes"] = peak_rss;
  json["fallback_steps"] = stats.fallback_steps;
  if (args.explain) json["plan"] = explanation(session.get());
  if (args.json)
    fmt::print("{}\n", json.dump());
  else
    print_text(json);
  return {};
}

}  // namespace

void add_bench(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("bench", "Measure speed and memory");
  args->runtime.add_to(command);
  command->add_option("--prompt", args->prompt, "Tokens of the prompt")->capture_default_str();
  command->add_option("--gen", args->generate, "Tokens to generate")->capture_default_str();
  command->add_option("--repeat", args->repeat, "Times to repeat")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", args->json, "As JSON");
  command->add_flag("--explain", args->explain, "Say where every step of the plan runs, and how");
  command->callback([args, chosen] { *chosen = [args] { return bench(*args); }; });
}

}  // namespace bp::cli
