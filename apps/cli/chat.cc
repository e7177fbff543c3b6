// SPDX-License-Identifier: Apache-2.0
// `backplane chat`: a conversation. Ctrl-C stops the answer and keeps the chat.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/cli/options.h"
#include "apps/cli/terminal.h"

namespace bp::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kHelp =
    "/reset          forget the conversation\n"
    "/system TEXT    set the system message (and reset); without TEXT, remove it\n"
    "/save FILE      write the conversation as JSON\n"
    "/load FILE      read one back\n"
    "/stats          tokens and speed so far\n"
    "/help           this\n"
    "/quit           leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer and keeps what was said.";

class Chat {
 public:
  Chat(ModelHandle model, SessionHandle session, bp_generate_options options)
      : model_(std::move(model)), session_(std::move(session)), options_(options) {}

  void set_system(std::string text) {
    system_ = std::move(text);
    reset();
  }

  // False to leave.
  bool command(const std::string& line) {
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    Status status;
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/reset")
      reset();
    else if (name == "/system")
      set_system(rest);
    else if (name == "/stats")
      print_stats();
    else if (name == "/save")
      status = save(rest);
    else if (name == "/load")
      status = load(rest);
    else if (name == "/help")
      fmt::print("{}\n", kHelp);
    else
      fmt::print(stderr, "unknown command {}; /help lists them\n", name);
    if (!status.ok()) fmt::print(stderr, "backplane: {}\n", status.message());
    return true;
  }

  Status answer(const std::string& user) {
    messages_.push_back({{"role", "user"}, {"content", user}});
    InterruptScope interrupt(session_.get());
    Status status = generate();
    if (!status.ok()) messages_.erase(messages_.size() - 1);  // the turn did not happen
    if (status.code() == Code::kCancelled) return {};
    return status;
  }

 private:
  void reset() {
    messages_ = Json::array();
    if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
  }

  Status generate() {
    const std::string text = messages_.dump(-1, ' ', false, Json::error_handler_t::replace);
    bp_chat_request request = BP_CHAT_REQUEST_INIT;
    request.messages = view(text);
    BP_TRY(call(bp_session_feed_chat, session_.get(), static_cast<const bp_chat_request*>(&request),
                static_cast<uint64_t*>(nullptr)));
    std::string said;
    int32_t finish = 0;
    ++options_.seed;  // a repeated question may get another answer
    const auto on_event = [](void* user, const bp_event* event) -> int32_t {
      const std::string_view piece = view(event->text);
      static_cast<std::string*>(user)->append(piece);
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
      return 0;
    };
    BP_TRY(call(bp_session_generate, session_.get(),
                static_cast<const bp_generate_options*>(&options_),
                static_cast<bp_event_fn>(on_event), static_cast<void*>(&said), &finish));
    fmt::print("\n");
    if (finish == BP_FINISH_LENGTH) fmt::print(stderr, "(cut: length limit or full context)\n");
    messages_.push_back({{"role", "assistant"}, {"content", said}});
    return {};
  }

  void print_stats() {
    bp_session_stats stats{};
    stats.size = sizeof(stats);
    if (bp_session_describe(session_.get(), &stats, nullptr) != BP_OK) return;
    const auto rate = [](uint64_t n, uint64_t ns) {
      return ns == 0 ? 0.0 : static_cast<double>(n) * 1e9 / static_cast<double>(ns);
    };
    fmt::print(
        "{}: {} of {} tokens in context; prompt {} tokens at {:.1f} tok/s, generated {} at "
        "{:.1f} tok/s\n",
        view(stats.device), bp_session_position(session_.get()),
        bp_session_capacity(session_.get()), stats.prompt_tokens,
        rate(stats.prompt_tokens, stats.prompt_ns), stats.generated_tokens,
        rate(stats.generated_tokens, stats.generated_ns));
  }

  Status save(const std::string& path) {
    if (path.empty()) return error(Code::kInvalidArgument, "/save needs a file name");
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << messages_.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    file.close();
    if (!file) return error(Code::kUnavailable, "cannot write '{}'", path);
    return {};
  }

  Status load(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return error(Code::kNotFound, "cannot read '{}'", path);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    if (text.size() > 1u << 24) return error(Code::kExhausted, "'{}' is too large", path);
    Json loaded = Json::parse(text, nullptr, false);
    if (!loaded.is_array()) return error(Code::kCorrupt, "'{}' is no saved conversation", path);
    messages_ = std::move(loaded);
    fmt::print("{} messages\n", messages_.size());
    return {};
  }

  ModelHandle model_;
  SessionHandle session_;
  bp_generate_options options_;
  std::string system_;
  Json messages_ = Json::array();
};

struct Arguments {
  RuntimeOptions runtime;
  SamplingArguments sampling;
  std::string system;
};

Status chat(const Arguments& args) {
  ModelHandle model = BP_TRY(open_any_model(args.runtime.model));
  const bp_model_info info = BP_TRY(describe(model.get()));
  if (info.has_chat_template == 0) {
    return error(Code::kFailedPrecondition, "this model has no chat template; use `backplane run`");
  }
  SessionHandle session = BP_TRY(create_session(model.get(), args.runtime));
  std::vector<bp_string> stops;
  const bp_generate_options options = BP_TRY(args.sampling.resolve(model.get(), &stops));
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (terminal) fmt::print(stderr, "{} — /help for commands\n", view(info.name));
  Chat chat(std::move(model), std::move(session), options);
  chat.set_system(args.system);
  std::string line;
  while (true) {
    if (terminal) {
      fmt::print("> ");
      std::fflush(stdout);
    }
    if (!std::getline(std::cin, line)) break;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line.front() == '/') {
      if (!chat.command(line)) break;
      continue;
    }
    if (Status status = chat.answer(line); !status.ok()) {
      fmt::print(stderr, "backplane: {}\n", status.message());
      if (!terminal) return status;
    }
  }
  return {};
}

}  // namespace

void add_chat(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("chat", "Talk with a model");
  args->runtime.add_to(command);
  command->add_option("--system", args->system, "System message");
  args->sampling.add_to(command);
  command->callback([args, chosen] { *chosen = [args] { return chat(*args); }; });
}

}  // namespace bp::cli
