// SPDX-License-Identifier: Apache-2.0
// The command line program. Exit status: 0 done, 1 failed (one line on stderr), 2 wrong usage.
#include <fmt/format.h>

#include <cstdio>

#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "core/platform/mapping_guard.h"
#include "core/platform/process.h"

namespace {

int run(int argc, char** argv) {
  using namespace bp::cli;
  CLI::App app("Backplane runs language models on any card that has a plugin.", "backplane");
  app.set_version_flag("--version", std::string("backplane ") + bp_version());
  app.require_subcommand(1);
  app.fallthrough();
  app.footer(
      "Try: backplane run MODEL -p \"Tell me a story\"     Help on one command: backplane "
      "run --help");
  std::string log_level = bp::environment("BACKPLANE_LOG").value_or("warning");
  app.add_option("--log-level", log_level,
                 "trace, debug, info, warning, error or off, to stderr (also BACKPLANE_LOG)")
      ->capture_default_str();
  std::vector<std::string> plugin_paths;
  app.add_option("--plugin", plugin_paths,
                 "A plugin manifest or folder, searched first; may be given several times")
      ->allow_extra_args(false);

  Action action;
  constexpr Register kCommands[] = {add_run,      add_chat,       add_convert,    add_inspect,
                                    add_bench,    add_tune,       add_perplexity, add_compare,
                                    add_tokenize, add_detokenize, add_template,   add_devices,
                                    add_plugins,  add_doctor};
  for (const Register add : kCommands) add(app, &action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& failure) {
    return app.exit(failure) == 0 ? 0 : 2;
  }

  bp::Status status = start_logging(log_level);
  if (!status.ok()) {
    fmt::print(stderr, "backplane: {}\n", status.message());
    return 2;
  }
  // A model file that is truncated while in use becomes an error instead of SIGBUS.
  if (bp::Status guarded = bp::install_mapping_guard(); !guarded.ok()) {
    fmt::print(stderr, "backplane: {}\n", guarded.message());
  }
  for (const std::string& path : plugin_paths) {
    if (status.ok()) status = call(bp_plugin_path_add, path.c_str());
  }
  if (status.ok()) status = action();
  if (status.ok()) return 0;
  fmt::print(stderr, "backplane: {}\n", status.message());
  return status.code() == bp::Code::kCancelled ? 130 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& thrown) {
    std::fprintf(stderr, "backplane: %s\n", thrown.what());
    return 1;
  }
}
