// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/options.h"

#include <random>

#include "apps/cli/terminal.h"

namespace bp::cli {

void RuntimeOptions::add_to(CLI::App* command, bool with_model) {
  if (with_model) {
    command->add_option("MODEL", model, "A .bpm file, a .gguf file, or a Hugging Face folder")
        ->required();
  }
  command
      ->add_option("--device", device,
                   "cpu, cuda, rocm, vulkan, opencl, one of them with an index (vulkan:1), or "
                   "auto")
      ->capture_default_str();
  command->add_option("--ctx", context,
                      "Longest sequence in tokens (default: the model's, at most "
                      "4096)");
  command
      ->add_option("--kv", kv_format,
                   "Format of the KV cache; q8 takes about half the memory of f16 and heads of a "
                   "multiple of 32")
      ->check(CLI::IsMember(kKvFormats))
      ->capture_default_str();
  command->add_option("--batch", batch, "Prompt tokens per pass (default 512)");
  command->add_option("--threads", threads, "CPU threads (default: what this process may use)")
      ->check(CLI::Range(1, 1023));
  command->add_flag("--strict-placement", strict,
                    "Fail instead of running a step on the CPU that the device cannot run");
}

bp_session_options RuntimeOptions::session_options() const {
  bp_session_options options = BP_SESSION_OPTIONS_INIT;
  options.device = view(device);
  options.kv_format = view(kv_format);
  options.context_tokens = context;
  options.batch_tokens = batch;
  options.strict_placement = strict ? 1 : 0;
  return options;
}

void SamplingArguments::add_to(CLI::App* command) {
  command
      ->add_option("-n,--max-tokens", max_tokens,
                   "Tokens to generate (default: until the model ends or the context is full)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", seed, "Makes sampling repeatable (default: a new seed each time)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--temperature", temperature, "0 is greedy (default: the model's, or 0.8)")
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--top-k", top_k, "Keep the k likeliest tokens; 0 keeps all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top-p", top_p, "Keep the likeliest tokens up to this share")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--min-p", min_p, "Drop tokens less likely than this share of the likeliest")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--repeat-penalty", repeat_penalty, "Above 1 discourages repetition")
      ->check(CLI::Range(0.01, 100.0));
  command->add_option("--presence-penalty", presence_penalty)->check(CLI::Range(-100.0, 100.0));
  command->add_option("--frequency-penalty", frequency_penalty)->check(CLI::Range(-100.0, 100.0));
  command->add_option("--stop", stop, "End before this text; may be given several times")
      ->allow_extra_args(false);
  command->add_flag("--ignore-eos", ignore_eos, "Go on when the model wants to stop");
}

Result<bp_generate_options> SamplingArguments::resolve(const bp_model* model,
                                                       std::vector<bp_string>* stops) const {
  bp_generate_options options = BP_GENERATE_OPTIONS_INIT;
  BP_TRY(call(bp_model_generate_defaults, model, &options));
  if (max_tokens >= 0) options.max_tokens = static_cast<uint64_t>(max_tokens);
  if (temperature >= 0) options.temperature = static_cast<float>(temperature);
  if (top_k >= 0) options.top_k = static_cast<uint32_t>(top_k);
  if (top_p >= 0) options.top_p = static_cast<float>(top_p);
  if (min_p >= 0) options.min_p = static_cast<float>(min_p);
  if (repeat_penalty >= 0) options.repetition_penalty = static_cast<float>(repeat_penalty);
  options.presence_penalty = static_cast<float>(presence_penalty);
  options.frequency_penalty = static_cast<float>(frequency_penalty);
  options.ignore_eos = ignore_eos ? 1 : 0;
  options.seed = seed >= 0 ? static_cast<uint64_t>(seed) : std::random_device{}();
  for (const std::string& text : stop) stops->push_back(view(text));
  options.stop = stops->data();
  options.stop_count = stops->size();
  return options;
}

Result<ModelHandle> open_any_model(const std::string& source) {
  return open_model(BP_TRY(resolve_model(source)));
}

Result<SessionHandle> create_session(bp_model* model, const RuntimeOptions& options) {
  if (options.threads != 0) BP_TRY(call(bp_threads_set, options.threads));
  bp_session_options read = options.session_options();
  ProgressBar progress("Preparing kernels for " + options.device, ProgressBar::Unit::kSteps);
  InterruptScope interrupt;
  read.progress_user = &progress;
  read.progress = [](void* user, uint64_t done, uint64_t total) -> int32_t {
    static_cast<ProgressBar*>(user)->update(done, total, "");
    return InterruptScope::interrupted() ? 1 : 0;
  };
  bp_session* session = nullptr;
  BP_TRY(call(bp_session_create, model, &read, &session));
  return SessionHandle(session);
}

}  // namespace bp::cli
