// SPDX-License-Identifier: Apache-2.0
// `backplane convert`, and the conversion behind `run MODEL.gguf`.
#include "compiler/convert/convert.h"

#include <fmt/format.h>

#include <filesystem>

#include "apps/cli/options.h"
#include "apps/cli/terminal.h"

namespace bp::cli {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string source, output, quant;
  bool overwrite = false;
  uint32_t threads = 0;
};

// A GGUF file has been quantized by somebody who chose; a Hugging Face folder has not.
std::string default_quant(const fs::path& source) {
  std::error_code ignored;
  return fs::is_directory(source, ignored) ? "q4_g32" : "keep";
}

void show_report(const compiler::ConvertReport& report) {
  for (const auto& fallback : report.fallbacks) {
    fmt::print(stderr, "note: {} is kept as {}: {}\n", fallback.tensor, fallback.format,
               fallback.reason);
  }
  for (const std::string& note : report.notes) fmt::print(stderr, "note: {}\n", note);
}

Status convert(const Arguments& args) {
  compiler::ConvertOptions options;
  options.source = args.source;
  options.output = args.output;
  options.quant = args.quant.empty() ? default_quant(args.source) : args.quant;
  options.overwrite = args.overwrite;
  options.threads = args.threads;
  InterruptScope interrupt;
  options.cancel = &InterruptScope::flag();
  compiler::ConvertReport report;
  const auto start = std::chrono::steady_clock::now();
  {
    ProgressBar bar(fs::path(args.source).filename().string());
    options.progress = [&bar](const compiler::ConvertProgress& progress) {
      bar.update(progress.done_bytes, progress.total_bytes, progress.phase);
    };
    BP_TRY(compiler::convert(options, &report));
  }
  show_report(report);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}: {} ({}), {} tensors, {} plan steps, {} in {:.1f} s\n", args.output, report.name,
             report.architecture, report.tensors, report.steps, human_bytes(report.output_bytes),
             seconds);
  return {};
}

}  // namespace

Result<std::string> resolve_model(const std::string& source) {
  std::error_code ignored;
  if (!fs::exists(source, ignored)) {
    return error(Code::kNotFound,
                 "no model at '{}'; give a .bpm file, a .gguf file or a Hugging "
                 "Face folder",
                 source);
  }
  const bool checkpoint =
      fs::is_directory(source, ignored) || fs::path(source).extension() == ".gguf";
  if (!checkpoint) return source;
  compiler::ConvertOptions options;
  options.source = source;
  options.quant = default_quant(source);
  InterruptScope interrupt;
  options.cancel = &InterruptScope::flag();
  compiler::ConvertReport report;
  ProgressBar bar("converting " + fs::path(source).filename().string());
  options.progress = [&bar](const compiler::ConvertProgress& progress) {
    bar.update(progress.done_bytes, progress.total_bytes, progress.phase);
  };
  return BP_TRY(compiler::cached_conversion(options, &report)).string();
}

void add_convert(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("convert", "Turn a Hugging Face folder or a GGUF file into a model file");
  command->add_option("SRC", args->source, "Hugging Face folder or .gguf file")->required();
  command->add_option("-o,--output", args->output, "The .bpm file to write")->required();
  command
      ->add_option("--quant", args->quant,
                   "Weight format (default: keep for GGUF, q4_g32 for Hugging Face folders)")
      ->check(CLI::IsMember({"q4_g32", "q8_g32", "f16", "bf16", "f32", "keep"}));
  command->add_flag("--overwrite", args->overwrite, "Replace an existing file");
  command->add_option("--threads", args->threads, "Worker threads");
  command->callback([args, chosen] { *chosen = [args] { return convert(*args); }; });
}

}  // namespace bp::cli
