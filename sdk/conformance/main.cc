// SPDX-License-Identifier: Apache-2.0
// backplane-conformance: certifies a plugin. Exit status: 0 nothing failed, 1 something did, 2
// wrong usage.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <regex>

#include "sdk/conformance/check.h"
#include "sdk/conformance/report.h"
#include "sdk/conformance/supervisor.h"

namespace bp::conformance {
namespace {

struct Arguments {
  std::string manifest, json;
  std::vector<std::string> kernels;
  double timeout_s = 60;
  bool list = false, require_usable = false;
  Settings settings;
};

void declare(CLI::App& app, Arguments& arguments) {
  app.footer(
      "Every check tests a promise of sdk/include/backplane/plugin*.h or docs/ops.md. The plugin\n"
      "runs in a process of its own: one that crashes or hangs fails the check under way, and the\n"
      "run goes on.\n\n"
      "  backplane-conformance build/release/lib/plugins.d/cpu.plugin.json\n"
      "  backplane-conformance mine.plugin.json --filter '^stream' --timeout 5\n"
      "  backplane-conformance mine.plugin.json --kernels kernels.plugin.json --json "
      "report.json\n\n"
      "A manifest with kernels only is certified on the devices of the plugins beside it.\n"
      "Exit status: 0 nothing failed (also when the machine cannot run the plugin), 1 a check\n"
      "failed, 2 wrong usage.");
  app.add_option("manifest", arguments.manifest, "The plugin's manifest, <id>.plugin.json");
  app.add_option("--kernels", arguments.kernels,
                 "A manifest of kernels to bind to the plugin's devices; default: every plugin "
                 "with kernels beside the manifest");
  app.add_option("--device", arguments.settings.device, "Only the device of this number")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--filter", arguments.settings.filter,
                 "Only checks whose name this regular expression finds");
  app.add_flag("--list", arguments.list, "Names the checks, with a line on each");
  app.add_option("--json", arguments.json, "Writes the report here as JSON; '-' is stdout");
  app.add_flag("--quick", arguments.settings.options.quick, "Fewer shapes");
  app.add_option("--seed", arguments.settings.options.seed, "Of all random values")
      ->capture_default_str();
  app.add_option("--timeout", arguments.timeout_s, "Longest wait for the device, in seconds")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
  app.add_flag("--require-usable", arguments.require_usable,
               "A plugin that this machine cannot run is a failure");
  app.add_flag("--verbose", arguments.settings.verbose, "Log messages of the plugin, to stderr");
}

// 2 with a word on stderr.
int usage(std::string_view what) {
  fmt::print(stderr, "backplane-conformance: {}; --help explains\n", what);
  return 2;
}

int certify(Arguments& arguments) {
  std::error_code failure;
  const auto absolute = [&](const std::string& path) {
    return std::filesystem::canonical(path, failure);
  };
  arguments.settings.manifest = absolute(arguments.manifest);
  if (failure || !std::filesystem::is_regular_file(arguments.settings.manifest)) {
    return usage(fmt::format("'{}' is no manifest", arguments.manifest));
  }
  for (const std::string& path : arguments.kernels) {
    arguments.settings.kernels.push_back(absolute(path));
    if (failure) return usage(fmt::format("'{}' does not exist", path));
  }
  arguments.settings.options.timeout_ns = static_cast<uint64_t>(arguments.timeout_s * 1e9);
  const bool to_stdout = arguments.json == "-";
  Report report(!to_stdout);
  if (Status status = supervise(arguments.settings, report); !status.ok()) {
    fmt::print(stderr, "backplane-conformance: {}\n", status.message());
    return 1;
  }
  const uint64_t failed = report.count(Verdict::Kind::kFail);
  if (!report.is_unusable() && failed == 0 && report.count(Verdict::Kind::kPass) == 0 &&
      report.count(Verdict::Kind::kSkip) == 0) {
    return usage("the filter finds no check");
  }
  if (to_stdout) {
    fmt::print("{}\n", report.json());
  } else {
    report.print_summary();
  }
  if (!arguments.json.empty() && !to_stdout) {
    std::ofstream file(arguments.json);
    file << report.json() << "\n";
    file.close();
    if (!file) {
      fmt::print(stderr, "backplane-conformance: '{}' cannot be written\n", arguments.json);
      return 1;
    }
  }
  return failed != 0 || (report.is_unusable() && arguments.require_usable) ? 1 : 0;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Certifies a Backplane plugin: negotiation, device, memory, streams, modules and\n"
      "every kernel, against a reference in double precision.",
      "backplane-conformance");
  Arguments arguments;
  declare(app, arguments);
  try {
    app.parse(argc, argv);
    const std::regex checked(arguments.settings.filter);
  } catch (const CLI::ParseError& failure) {
    return app.exit(failure) == 0 ? 0 : 2;
  } catch (const std::regex_error& failure) {
    return usage(fmt::format("the filter is no regular expression: {}", failure.what()));
  }
  if (arguments.list) {
    for (const Check& check : all_checks()) fmt::print("{:<36}  {}\n", check.name, check.about);
    return 0;
  }
  if (arguments.manifest.empty()) return usage("which manifest?");
  return certify(arguments);
}

}  // namespace
}  // namespace bp::conformance

int main(int argc, char** argv) {
  try {
    return bp::conformance::run(argc, argv);
  } catch (const std::exception& thrown) {
    fmt::print(stderr, "backplane-conformance: {}\n", thrown.what());
    return 1;
  }
}
