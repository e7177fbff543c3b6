// SPDX-License-Identifier: Apache-2.0
// `backplane run`: one prompt, one answer. stdout carries the generated text alone.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/cli/options.h"
#include "apps/cli/terminal.h"

namespace bp::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  RuntimeOptions runtime;
  SamplingArguments sampling;
  std::string prompt, prompt_file, system;
  bool raw = false, json = false, explain = false;
};

struct Output {
  bool json;
  std::string text;
  std::vector<int32_t> ids;
};

int32_t on_event(void* user, const bp_event* event) {
  auto& output = *static_cast<Output*>(user);
  const std::string_view text = view(event->text);
  output.text.append(text);
  if (event->token_id >= 0) output.ids.push_back(event->token_id);
  if (!output.json && !text.empty()) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
  return std::ferror(stdout) != 0 ? 1 : 0;  // a closed pipe ends the work
}

const char* finish_text(int32_t finish) {
  switch (finish) {
    case BP_FINISH_STOP:
      return "stop";
    case BP_FINISH_LENGTH:
      return "length";
    case BP_FINISH_CANCELLED:
      return "cancelled";
    default:
      return "";
  }
}

Result<std::string> read_prompt(const Arguments& args) {
  if (args.prompt_file.empty()) return args.prompt;
  std::ifstream file(args.prompt_file, std::ios::binary);
  if (!file) return error(Code::kNotFound, "cannot read '{}'", args.prompt_file);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// With a chat template the prompt is what a user says, unless --raw.
Status feed(bp_session* session, bp_model* model, const Arguments& args,
            const std::string& prompt) {
  const bp_model_info info = BP_TRY(describe(model));
  if (args.raw || info.has_chat_template == 0) {
    if (!args.system.empty()) {
      return error(Code::kInvalidArgument, "--system needs a chat template, and {}",
                   args.raw ? "--raw uses none" : "this model has none");
    }
    return call(bp_session_feed_text, session, prompt.data(), uint64_t{prompt.size()}, 0u);
  }
  Json messages = Json::array();
  if (!args.system.empty()) messages.push_back({{"role", "system"}, {"content", args.system}});
  messages.push_back({{"role", "user"}, {"content", prompt}});
  const std::string text = messages.dump(-1, ' ', false, Json::error_handler_t::replace);
  bp_chat_request request = BP_CHAT_REQUEST_INIT;
  request.messages = view(text);
  return call(bp_session_feed_chat, session, static_cast<const bp_chat_request*>(&request),
              static_cast<uint64_t*>(nullptr));
}

double per_second(uint64_t count, uint64_t ns) {
  return ns == 0 ? 0.0 : static_cast<double>(count) * 1e9 / static_cast<double>(ns);
}

void print_json(const Output& output, const std::vector<int32_t>& prompt_ids, int32_t finish,
                const bp_session_stats& stats, double load_ms) {
  Json json;
  json["text"] = output.text;
  json["token_ids"] = output.ids;
  json["prompt_token_ids"] = prompt_ids;
  json["finish_reason"] = finish_text(finish);
  json["device"] = view(stats.device);
  json["timings"] = {{"load_ms", load_ms},
                     {"prompt_tokens", prompt_ids.size()},
                     {"prompt_tok_s", per_second(stats.prompt_tokens, stats.prompt_ns)},
                     {"generated_tokens", output.ids.size()},
                     {"generated_tok_s", per_second(stats.generated_tokens, stats.generated_ns)}};
  json["fallback_steps"] = stats.fallback_steps;
  fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void explain(const bp_session* session) {
  for (const std::string& line : explanation(session)) fmt::print(stderr, "{}\n", line);
}

Status run(const Arguments& args) {
  const auto start = std::chrono::steady_clock::now();
  const std::string prompt = BP_TRY(read_prompt(args));
  ModelHandle model = BP_TRY(open_any_model(args.runtime.model));
  SessionHandle session = BP_TRY(create_session(model.get(), args.runtime));
  const double load_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (args.explain) explain(session.get());
  bp_session_stats stats{};
  stats.size = sizeof(stats);
  BP_TRY(call(bp_session_describe, session.get(), &stats));
  if (stats.fallback_steps != 0 && !args.explain) {
    fmt::print(stderr, "backplane: {} of {} steps run on the CPU, not on {}; --explain says why\n",
               stats.fallback_steps, stats.steps, view(stats.device));
  }

  std::vector<bp_string> stops;
  const bp_generate_options options = BP_TRY(args.sampling.resolve(model.get(), &stops));
  InterruptScope interrupt(session.get());
  BP_TRY(feed(session.get(), model.get(), args, prompt));
  const std::vector<int32_t> prompt_ids = session_tokens(session.get());
  Output output{args.json, {}, {}};
  int32_t finish = BP_FINISH_LENGTH;
  if (args.sampling.max_tokens != 0) {  // -n 0: only the prompt is run
    BP_TRY(call(bp_session_generate, session.get(), &options, &on_event,
                static_cast<void*>(&output), &finish));
  }
  BP_TRY(call(bp_session_describe, session.get(), &stats));
  if (args.json) {
    print_json(output, prompt_ids, finish, stats, load_ms);
  } else {
    fmt::print("\n");
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return error(Code::kUnavailable, "cannot write the answer to standard output");
  }
  if (finish == BP_FINISH_CANCELLED && !args.json) return error(Code::kCancelled, "cancelled");
  return {};
}

}  // namespace

void add_run(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("run", "Generate text from one prompt");
  args->runtime.add_to(command);
  auto* prompt = command->add_option("-p,--prompt", args->prompt,
                                     "The prompt. The model's chat template is put around it, if "
                                     "it has one");
  auto* file = command->add_option("-f,--prompt-file", args->prompt_file, "Read the prompt here");
  prompt->excludes(file);
  command->add_option("--system", args->system, "System message for the chat template");
  args->sampling.add_to(command);
  command->add_flag("--raw", args->raw, "Use the prompt as it is, without the chat template");
  command->add_flag("--json", args->json, "Print one JSON object at the end");
  command->add_flag("--explain", args->explain, "Say on stderr where every step of the plan runs");
  command->callback([args, prompt, file, chosen] {
    if (prompt->count() + file->count() == 0) {
      throw CLI::RequiredError("one of --prompt and --prompt-file");
    }
    *chosen = [args] { return run(*args); };
  });
}

}  // namespace bp::cli
