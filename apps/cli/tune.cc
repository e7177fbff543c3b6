// SPDX-License-Identifier: Apache-2.0
// `backplane tune`: measures which schedule of each kernel is fastest on a device.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "apps/cli/options.h"
#include "apps/cli/terminal.h"

namespace bp::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  RuntimeOptions runtime;
  uint32_t candidates = 0;
  bool again = false;
  bool json = false;
};

// What the callbacks of a run fill.
struct Run {
  ProgressBar bar{"tune", ProgressBar::Unit::kSteps};
  Json kernels = Json::array();
  bool any_unsaved = false;
};

int32_t on_progress(void* user, uint64_t done, uint64_t total, const char* text, uint64_t length) {
  static_cast<Run*>(user)->bar.update(done, total, {text, length});
  return InterruptScope::interrupted() ? 1 : 0;
}

void on_kernel(void* user, const bp_tune_kernel* kernel) {
  Run& run = *static_cast<Run*>(user);
  run.any_unsaved = run.any_unsaved || kernel->is_unsaved != 0;
  run.kernels.push_back({{"device", view(kernel->device)},
                         {"kernel", view(kernel->name)},
                         {"tokens", kernel->tokens},
                         {"uses", kernel->uses},
                         {"default_us", kernel->default_ns / 1e3},
                         {"tuned_us", kernel->tuned_ns / 1e3},
                         {"schedule", view(kernel->schedule)},
                         {"changed", kernel->is_changed != 0},
                         {"known", kernel->is_known != 0},
                         {"tried", kernel->tried},
                         {"rejected", kernel->rejected}});
}

std::string gain(double before, double after) {
  return before <= 0 || after <= 0 ? std::string("-") : fmt::format("{:.2f}x", before / after);
}

void print_table(const Json& kernels) {
  constexpr const char* kLine = "{:<34} {:>6} {:>5} {:>11} {:>11} {:>6}  {}\n";
  fmt::print(kLine, "kernel", "tokens", "uses", "default us", "tuned us", "gain", "schedule");
  for (const Json& kernel : kernels) {
    const double before = kernel["default_us"], after = kernel["tuned_us"];
    fmt::print(kLine, kernel["kernel"].get<std::string>(), kernel["tokens"].get<uint64_t>(),
               kernel["uses"].get<uint32_t>(), fmt::format("{:.1f}", before),
               fmt::format("{:.1f}", after), gain(before, after),
               kernel["changed"].get<bool>() ? kernel["schedule"].get<std::string>()
                                             : std::string("the default"));
  }
}

void print_sum(const char* what, double before, double after) {
  if (before <= 0) return;
  fmt::print("{}: {:.3f} ms with default schedules, {:.3f} ms now ({})\n", what, before / 1e6,
             after / 1e6, gain(before, after));
}

void print_text(const Run& run, const bp_tune_report& report) {
  const std::string device(view(report.device));
  if (report.kernels == 0) {
    fmt::print("{}: there is nothing to tune; its kernels choose by themselves\n", device);
    return;
  }
  print_table(run.kernels);
  fmt::print("\n{}: {} kernels, {} measured, {} changed, {} failed\n", device, report.kernels,
             report.measured, report.changed, report.failed);
  print_sum("kernels of one token", report.token_default_ns, report.token_tuned_ns);
  print_sum("kernels of a prompt's pass", report.prompt_default_ns, report.prompt_tuned_ns);
}

Json json_of(const Run& run, const bp_tune_report& report) {
  return {{"device", view(report.device)},
          {"kernels", run.kernels},
          {"tunable", report.kernels},
          {"measured", report.measured},
          {"changed", report.changed},
          {"failed", report.failed},
          {"stopped", report.is_stopped != 0},
          {"token_ms",
           {{"default", report.token_default_ns / 1e6}, {"tuned", report.token_tuned_ns / 1e6}}},
          {"prompt_ms",
           {{"default", report.prompt_default_ns / 1e6}, {"tuned", report.prompt_tuned_ns / 1e6}}}};
}

Status tune(const Arguments& args) {
  ModelHandle model = BP_TRY(open_any_model(args.runtime.model));
  if (args.runtime.threads != 0) BP_TRY(call(bp_threads_set, args.runtime.threads));
  const bp_session_options session = args.runtime.session_options();
  bp_tune_report report{};
  report.size = sizeof(report);
  bool any_unsaved = false;
  {
    Run run;
    bp_tune_options options = BP_TUNE_OPTIONS_INIT;
    options.candidates = args.candidates;
    options.again = args.again ? 1 : 0;
    options.progress = &on_progress;
    options.kernel = &on_kernel;
    options.user = &run;
    InterruptScope interrupt;
    BP_TRY(call(bp_model_tune, model.get(), &session, static_cast<const bp_tune_options*>(&options),
                &report));
    run.bar.clear();
    any_unsaved = run.any_unsaved;
    if (args.json)
      fmt::print("{}\n", json_of(run, report).dump());
    else
      print_text(run, report);
  }
  if (any_unsaved) {
    return error(Code::kUnavailable,
                 "what was found could not be written to the cache folder; --log-level warning "
                 "says why");
  }
  if (report.is_stopped != 0) {
    return error(Code::kCancelled,
                 "stopped; what was found is kept, and the rest can be tuned "
                 "another time");
  }
  return {};
}

}  // namespace

void add_tune(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "tune", "Measure which variant of each kernel is fastest on a device, and remember it");
  args->runtime.add_to(command);
  command
      ->add_option("--candidates", args->candidates,
                   "Schedules to try for each kernel (default: 12)")
      ->check(CLI::Range(1, 256));
  command->add_flag("--again", args->again, "Also kernels that an earlier run has finished");
  command->add_flag("--json", args->json, "As JSON");
  command->footer(
      "A kernel can be compiled in many ways: threads of a group, rows of a thread, sizes of "
      "tiles.\nWithout tuning a rule chooses. This command tries the likeliest ones on scratch "
      "memory, drops\nany that does not give the default's results, and keeps the fastest in the "
      "cache folder\n(backplane/plugins/kernels/tuning, one JSON object a line). From then on "
      "run, chat and bench\nuse it. A new driver, card or kernel is a reason to tune again; what "
      "no longer fits is simply\nnot used. BACKPLANE_TUNED=0 runs with defaults, for "
      "comparison.\n\n"
      "Give the options that you run with: kernels depend on --ctx, --kv and --batch. With "
      "--batch 1\nonly those that generate are tuned. Ctrl-C stops after the candidate at hand "
      "and keeps what\nwas found. The CPU has nothing to tune.\n\n"
      "Examples:\n  backplane tune MODEL --device cuda\n"
      "  backplane tune MODEL --device vulkan --batch 1 --candidates 24");
  command->callback([args, chosen] { *chosen = [args] { return tune(*args); }; });
}

}  // namespace bp::cli
