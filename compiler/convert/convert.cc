// SPDX-License-Identifier: Apache-2.0
#include "compiler/convert/convert.h"

#include <algorithm>
#include <new>
#include <numeric>

#include "compiler/convert/checkpoint.h"
#include "compiler/convert/model_text.h"
#include "compiler/convert/weight_stream.h"
#include "compiler/passes/lower.h"
#include "compiler/passes/passes.h"
#include "compiler/quantize/quantize.h"
#include "model_format/writer.h"

namespace bp::compiler {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kQuants[] = {"q4_g32", "q8_g32", "f16", "bf16", "f32", "keep"};

Status check_quant(std::string_view quant) {
  if (std::ranges::find(kQuants, quant) != std::end(kQuants)) return {};
  return error(Code::kInvalidArgument, "there is no format '{}' to convert to; there are {}", quant,
               quant_names());
}

// Before any work: a converted file is not to be lost to a name that was taken all along.
Status check_output(const ConvertOptions& options) {
  std::error_code ignored;
  if (options.output.empty()) return error(Code::kInvalidArgument, "no output file was named");
  if (!fs::exists(options.output, ignored)) return {};
  if (fs::equivalent(options.output, options.source, ignored)) {
    return error(Code::kFailedPrecondition, "the output '{}' is the source itself",
                 options.output.string());
  }
  if (options.overwrite) return {};
  return error(Code::kFailedPrecondition, "'{}' exists already; ask for overwriting to replace it",
               options.output.string());
}

Status check_disk(const ConvertOptions& options, uint64_t needed_bytes) {
  std::error_code code;
  const fs::path folder = fs::absolute(options.output, code).parent_path();
  const fs::space_info space = fs::space(folder, code);
  if (code || space.available >= needed_bytes) return {};
  return error(Code::kExhausted, "the disk of '{}' has {} bytes left, the model needs {}",
               folder.string(), space.available, needed_bytes);
}

FormatChooser make_chooser(const std::string& quant, ConvertReport* report) {
  return [quant, report](const std::string& tensor, const std::string& source_format,
                         uint64_t columns) -> Result<std::string> {
    FormatChoice choice = BP_TRY(choose_format(quant, source_format, columns));
    if (choice.fell_back) {
      report->fallbacks.push_back({tensor, choice.format, std::move(choice.reason)});
    }
    return std::move(choice.format);
  };
}

std::unique_ptr<fb::HyperParametersT> hyper_parameters(const DecoderSpec& spec) {
  auto out = std::make_unique<fb::HyperParametersT>();
  out->vocabulary = spec.vocabulary;
  out->dim = spec.dim;
  out->layers = spec.layers.size();
  out->heads = spec.heads;
  out->kv_heads = spec.kv_heads;
  out->head_dim = spec.head_dim;
  out->ffn_dim = spec.ffn_dim;
  out->context_length = spec.context_length;
  const bool has_experts = std::ranges::any_of(spec.layers, &LayerSpec::experts);
  out->experts = has_experts ? spec.experts : 0;
  out->experts_used = has_experts ? spec.experts_used : 0;
  for (const LayerSpec& layer : spec.layers) {
    out->sliding_window = std::max(out->sliding_window, layer.window);
  }
  return out;
}

Result<LoweredPlan> make_plan(const Checkpoint& checkpoint, const DecoderSpec& spec,
                              const std::string& quant, ConvertReport* report) {
  Graph graph = BP_TRY(build_decoder(spec, *checkpoint.tensors, make_chooser(quant, report))
                           .with_context("'{}'", checkpoint.path.string()));
  BP_TRY(run_passes(graph));
  return lower(graph);
}

Result<fb::ModelT> describe(const Checkpoint& checkpoint, const DecoderSpec& spec,
                            const ConvertOptions& options, ConvertReport* report) {
  fb::ModelT model;
  Provenance provenance = BP_TRY(read_provenance(checkpoint));
  model.name = std::move(provenance.name);
  model.licence = std::move(provenance.licence);
  model.architecture = spec.architecture;
  model.tool = "backplane " BP_VERSION;
  model.weights_format = options.quant;
  model.hyper_parameters = hyper_parameters(spec);
  for (const SourceFile& file : checkpoint.tensors->files()) {
    auto source = std::make_unique<fb::SourceFileT>();
    source->name = file.path.filename().string();
    source->bytes = file.size_bytes;
    source->sha256.assign(kSha256Bytes, 0);  // computed while weights are read
    report->source_bytes += file.size_bytes;
    model.sources.push_back(std::move(source));
  }
  BP_TRY(read_model_text(checkpoint, spec.vocabulary, &model, &report->notes));
  report->architecture = model.architecture;
  report->name = model.name;
  report->has_tokenizer = model.tokenizer != nullptr;
  return model;
}

Status write_model(const Checkpoint& checkpoint, const ConvertOptions& options, fb::ModelT&& model,
                   LoweredPlan&& lowered, ConvertReport* report) {
  auto writer = BP_TRY(ModelWriter::create(options.output, options.overwrite
                                                               ? AtomicFile::Existing::kReplace
                                                               : AtomicFile::Existing::kRefuse));
  for (const Weight& weight : lowered.tensors) {
    BP_TRY(writer->declare_tensor(weight.name, weight.format, weight.shape));
    report->parameters +=
        std::accumulate(weight.shape.begin(), weight.shape.end(), uint64_t{1}, std::multiplies<>());
  }
  report->tensors = static_cast<uint32_t>(lowered.tensors.size());
  report->steps = static_cast<uint32_t>(lowered.plan->steps.size());
  model.plan = std::move(lowered.plan);
  BP_TRY(writer->begin_weights(std::move(model)));
  BP_TRY(check_disk(options, writer->weight_bytes_total()));
  std::vector<Sha256Digest> digests;
  BP_TRY(stream_weights(*checkpoint.tensors, lowered.tensors, options, *writer, &digests));
  BP_TRY(checkpoint.tensors->check_unchanged());
  for (size_t i = 0; i < digests.size(); ++i) {
    writer->model().sources[i]->sha256.assign(digests[i].begin(), digests[i].end());
  }
  if (options.progress) {
    const uint64_t total = writer->weight_bytes_total() + report->source_bytes;
    options.progress({"finishing", total, total});
  }
  return writer->finish();
}

Status convert_unguarded(const ConvertOptions& options, ConvertReport* report) {
  BP_TRY(check_quant(options.quant));
  BP_TRY(check_output(options));
  const Checkpoint checkpoint = BP_TRY(open_checkpoint(options.source));
  const DecoderSpec spec = BP_TRY(checkpoint.read_spec());
  LoweredPlan lowered = BP_TRY(make_plan(checkpoint, spec, options.quant, report));
  fb::ModelT model = BP_TRY(describe(checkpoint, spec, options, report));
  BP_TRY(write_model(checkpoint, options, std::move(model), std::move(lowered), report));
  std::error_code ignored;
  report->output_bytes = fs::file_size(options.output, ignored);
  return {};
}

}  // namespace

std::string quant_names() {
  std::string names;
  for (const std::string_view quant : kQuants) {
    if (!names.empty()) names += ", ";
    names += quant;
  }
  return names;
}

Status convert(const ConvertOptions& options, ConvertReport* report) {
  ConvertReport scratch;
  ConvertReport& out = report != nullptr ? *report : scratch;
  out = {};
  try {
    return convert_unguarded(options, &out);
  } catch (const std::bad_alloc&) {
    return error(Code::kExhausted, "there is not enough memory to convert '{}'",
                 options.source.string());
  } catch (const std::exception& e) {  // of the standard library's file names and the like
    return error(Code::kInternal, "converting '{}': {}", options.source.string(), e.what());
  }
}

}  // namespace bp::compiler
