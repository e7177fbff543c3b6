// SPDX-License-Identifier: Apache-2.0
// From somebody's checkpoint to a model file: the whole compiler behind one function.
//
//   ConvertOptions options;
//   options.source = "Llama-3.2-1B";          // a Hugging Face folder, or a .gguf
//   options.output = "llama-3.2-1b.bpm";
//   options.quant = "q4_g32";
//   ConvertReport report;
//   BP_TRY(convert(options, &report));
//
// What can be known early is refused early: the family is looked up before weights are opened, and
// the plan, the tokenizer and every tensor's name and shape are checked before anything is written.
// Weights are streamed in chunks of rows by a few threads (memory: some tens of MiB a thread,
// whatever the model's size). The output appears under its name when it is complete; a failure, a
// cancellation or a killed process leaves what was there before.
//
// Deterministic: the same source, options and version give the same bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace bp::compiler {

struct ConvertProgress {
  std::string_view phase;   // "weights", "digests", "finishing"
  uint64_t done_bytes = 0;  // of the phases together
  uint64_t total_bytes = 0;
};

struct ConvertOptions {
  std::filesystem::path source;
  std::filesystem::path output;
  // Format of the matrices: "q4_g32", "q8_g32", "f16", "bf16", "f32", or "keep" for the source's
  // own. Vectors and router matrices are always f32.
  std::string quant = "q4_g32";
  bool overwrite = false;  // replace an existing output
  // Called on the calling thread, a few times a second.
  std::function<void(const ConvertProgress&)> progress;
  // Looked at several times a second; set it from any thread to stop with CANCELLED.
  const std::atomic<bool>* cancel = nullptr;
  uint32_t threads = 0;  // 0: as many as the machine has, at most 8
};

struct ConvertReport {
  // A tensor that did not get the format asked for, and why.
  struct Fallback {
    std::string tensor;
    std::string format;
    std::string reason;
  };
  std::string architecture;
  std::string name;
  uint64_t parameters = 0;  // elements of all tensors
  uint64_t source_bytes = 0;
  uint64_t output_bytes = 0;
  uint32_t tensors = 0;
  uint32_t steps = 0;
  bool has_tokenizer = false;
  std::vector<Fallback> fallbacks;
  std::vector<std::string> notes;  // sentences for people: no tokenizer, no chat template, …
};

// INVALID_ARGUMENT (quant), NOT_FOUND (source), FAILED_PRECONDITION (output exists, or is the
// source), UNIMPLEMENTED (family, setting, tensor type or tokenizer, by name), CORRUPT (source),
// EXHAUSTED (disk), CANCELLED. `report` may be null and is complete after success only.
Status convert(const ConvertOptions& options, ConvertReport* report);

// The formats that ConvertOptions::quant takes, for help texts: "q4_g32, q8_g32, …".
std::string quant_names();

// The model file for a checkpoint that the user names where a model file is wanted
// (`backplane run MODEL.gguf`): made once in the user's cache folder and found again there as long
// as the checkpoint is the same (path, sizes, modification times, ends of its files, quant,
// version). `options.output` and `options.overwrite` are not used. NOT_FOUND when there is no
// cache folder; otherwise as convert(). Two processes may do this at once.
Result<std::filesystem::path> cached_conversion(const ConvertOptions& options,
                                                ConvertReport* report);

}  // namespace bp::compiler
