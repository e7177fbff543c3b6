// SPDX-License-Identifier: Apache-2.0
// `backplane perplexity` and `compare`: how well a model predicts a text, and how far two models,
// two devices or two formats of the KV cache are apart.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/cli/options.h"
#include "apps/cli/terminal.h"

namespace bp::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  RuntimeOptions runtime;
  std::string first, second, second_device, second_kv_format, file;
  bool json = false;
};

Result<std::vector<int32_t>> read_tokens(const bp_model* model, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return error(Code::kNotFound, "cannot read '{}'", path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  auto ids = BP_TRY(tokenize(model, text, BP_TEXT_NO_BOS));
  if (ids.size() < 2) {
    return error(Code::kInvalidArgument, "'{}' has {} tokens; at least 2 are needed", path,
                 ids.size());
  }
  return ids;
}

// The model's own first tokens, which every window begins with.
Result<std::vector<int32_t>> prefix_tokens(const bp_model* model) {
  return tokenize(model, "", 0);
}

// Natural logarithm of Σ exp, without overflow.
double log_sum_exp(std::span<const float> logits) {
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - top);
  return top + std::log(sum);
}

// Calls use(position in window, logits) for all tokens of a window, in a fresh sequence.
template <typename Use>
Status run_window(bp_session* session, std::span<const int32_t> ids, Use use) {
  BP_TRY(call(bp_session_rewind, session, uint64_t{0}));
  const auto forward = [](void* user, uint64_t position, const float* logits,
                          uint64_t count) -> int32_t {
    (*static_cast<Use*>(user))(position, std::span<const float>(logits, count));
    return InterruptScope::interrupted() ? 1 : 0;
  };
  return call(bp_session_evaluate, session, ids.data(), uint64_t{ids.size()},
              static_cast<bp_logits_fn>(forward), static_cast<void*>(&use));
}

// The text cut into windows that fit the context, each with the model's first tokens before it.
std::vector<std::vector<int32_t>> windows_of(const std::vector<int32_t>& ids,
                                             const std::vector<int32_t>& prefix,
                                             uint64_t capacity) {
  std::vector<std::vector<int32_t>> windows;
  const uint64_t room = capacity > prefix.size() + 1 ? capacity - prefix.size() : 0;
  for (uint64_t begin = 0; room != 0 && begin < ids.size(); begin += room) {
    const uint64_t end = std::min<uint64_t>(ids.size(), begin + room);
    std::vector<int32_t> window = prefix;
    window.insert(window.end(), ids.begin() + static_cast<ptrdiff_t>(begin),
                  ids.begin() + static_cast<ptrdiff_t>(end));
    if (window.size() >= 2) windows.push_back(std::move(window));
  }
  return windows;
}

Status perplexity(const Arguments& args) {
  ModelHandle model = BP_TRY(open_any_model(args.runtime.model));
  const auto ids = BP_TRY(read_tokens(model.get(), args.file));
  const auto prefix = BP_TRY(prefix_tokens(model.get()));
  SessionHandle session = BP_TRY(create_session(model.get(), args.runtime));
  const auto windows = windows_of(ids, prefix, bp_session_capacity(session.get()));
  InterruptScope interrupt(session.get());
  ProgressBar bar("perplexity");
  double loss = 0;
  uint64_t predicted = 0, done = 0;
  const size_t skip = std::max<size_t>(prefix.size(), 1);  // the first token of all has no context
  for (const auto& window : windows) {
    BP_TRY(run_window(session.get(), window, [&](uint64_t at, std::span<const float> logits) {
      if (at + 1 >= window.size() || at + 1 < skip) return;
      loss +=
          log_sum_exp(logits) - static_cast<double>(logits[static_cast<size_t>(window[at + 1])]);
      ++predicted;
    }));
    bar.update(done += window.size(), ids.size(), "tokens");
  }
  if (predicted == 0)
    return error(Code::kInvalidArgument, "the context is too small to predict in");
  const double mean = loss / static_cast<double>(predicted);
  if (args.json) {
    fmt::print("{}\n", Json{{"tokens", ids.size()},
                            {"predicted", predicted},
                            {"windows", windows.size()},
                            {"nll", mean},
                            {"perplexity", std::exp(mean)}}
                           .dump());
  } else {
    fmt::print("perplexity {:.4f}, negative log-likelihood {:.5f} nats over {} tokens\n",
               std::exp(mean), mean, predicted);
  }
  return {};
}

// How far logits b are from logits a.
struct Difference {
  double kl_sum = 0, kl_max = 0, logit_max = 0, relative_max = 0;
  uint64_t agree = 0, count = 0;

  void add(std::span<const float> a, std::span<const float> b) {
    const double za = log_sum_exp(a), zb = log_sum_exp(b);
    double kl = 0, largest = 0, scale = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      kl += std::exp(x - za) * ((x - za) - (y - zb));
      largest = std::max(largest, std::abs(x - y));
      scale = std::max(scale, std::abs(x));
    }
    kl_sum += kl;
    kl_max = std::max(kl_max, kl);
    logit_max = std::max(logit_max, largest);
    if (scale > 0) relative_max = std::max(relative_max, largest / scale);
    agree += std::max_element(a.begin(), a.end()) - a.begin() ==
                     std::max_element(b.begin(), b.end()) - b.begin()
                 ? 1
                 : 0;
    ++count;
  }
};

Status compare(const Arguments& args) {
  RuntimeOptions first = args.runtime, second = args.runtime;
  if (!args.second_device.empty()) second.device = args.second_device;
  if (!args.second_kv_format.empty()) second.kv_format = args.second_kv_format;
  ModelHandle a = BP_TRY(open_any_model(args.first));
  ModelHandle b = BP_TRY(open_any_model(args.second));
  const auto ids = BP_TRY(read_tokens(a.get(), args.file));
  if (ids != BP_TRY(read_tokens(b.get(), args.file))) {
    return error(Code::kIncompatible, "the two models have different tokenizers");
  }
  const auto prefix = BP_TRY(prefix_tokens(a.get()));
  SessionHandle session_a = BP_TRY(create_session(a.get(), first));
  SessionHandle session_b = BP_TRY(create_session(b.get(), second));
  InterruptScope interrupt(session_a.get());
  ProgressBar bar("compare");
  Difference difference;
  uint64_t done = 0;
  // Short windows: the logits of one are kept in memory.
  const uint64_t capacity = std::min<uint64_t>(
      {bp_session_capacity(session_a.get()), bp_session_capacity(session_b.get()), 256});
  for (const auto& window : windows_of(ids, prefix, capacity)) {
    std::vector<float> kept;
    uint64_t vocabulary = 0;
    BP_TRY(run_window(session_a.get(), window, [&](uint64_t, std::span<const float> logits) {
      vocabulary = logits.size();
      kept.insert(kept.end(), logits.begin(), logits.end());
    }));
    bool same_size = true;
    BP_TRY(run_window(session_b.get(), window, [&](uint64_t at, std::span<const float> logits) {
      same_size &= logits.size() == vocabulary;
      if (same_size) difference.add(std::span(kept).subspan(at * vocabulary, vocabulary), logits);
    }));
    if (!same_size) return error(Code::kIncompatible, "the two models have different vocabularies");
    bar.update(done += window.size(), ids.size(), "tokens");
  }
  if (difference.count == 0) return error(Code::kInvalidArgument, "nothing was compared");
  const auto count = static_cast<double>(difference.count);
  const double kl = difference.kl_sum / count;
  const double agreement = static_cast<double>(difference.agree) / count;
  if (args.json) {
    fmt::print("{}\n", Json{{"tokens", difference.count},
                            {"kl_divergence", kl},
                            {"kl_divergence_max", difference.kl_max},
                            {"top1_agreement", agreement},
                            {"logit_error_max", difference.logit_max},
                            {"logit_error_max_relative", difference.relative_max}}
                           .dump());
  } else {
    fmt::print(
        "KL divergence {:.3e} nats (largest {:.3e}), same first choice {:.2f} %, largest "
        "logit error {:.4g} ({:.3e} of the largest logit), over {} tokens\n",
        kl, difference.kl_max, agreement * 100, difference.logit_max, difference.relative_max,
        difference.count);
  }
  return {};
}

}  // namespace

void add_perplexity(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("perplexity", "Measure how well a model predicts a text");
  args->runtime.add_to(command);
  command->add_option("--file", args->file, "The text")->required();
  command->add_flag("--json", args->json, "As JSON");
  command->callback([args, chosen] { *chosen = [args] { return perplexity(*args); }; });
}

void add_compare(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("compare", "Measure how far model B's predictions are from model A's");
  command->add_option("A", args->first, "The reference: a model")->required();
  command->add_option("B", args->second, "The other model (may be the same)")->required();
  args->runtime.add_to(command, false);
  command->add_option("--device-b", args->second_device, "Device for B (default: as A)");
  command->add_option("--kv-b", args->second_kv_format, "KV cache of B (default: as A)")
      ->check(CLI::IsMember(kKvFormats));
  command->add_option("--file", args->file, "The text")->required();
  command->add_flag("--json", args->json, "As JSON");
  command->callback([args, chosen] { *chosen = [args] { return compare(*args); }; });
}

}  // namespace bp::cli
