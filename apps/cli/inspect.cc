// SPDX-License-Identifier: Apache-2.0
// `backplane inspect`: what is in a model file, and what running it will take.
#include <fmt/format.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/cli/options.h"
#include "apps/cli/plan_html.h"
#include "apps/cli/terminal.h"
#include "model_format/reader.h"

namespace bp::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  RuntimeOptions runtime;
  std::string html;
  bool json = false, plan = false, tensors = false, memory = false, digests = false;
};

std::string_view text_of(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : text->string_view();
}

std::string dims_text(const fb::Plan& plan, const fb::Value& value) {
  std::string out = "[";
  if (value.shape() != nullptr) {
    for (const fb::Dim* dim : *value.shape()) {
      if (out.size() > 1) out += ", ";
      if (dim->symbol() < 0) {
        out += std::to_string(dim->offset());
        continue;
      }
      const auto symbol = static_cast<uint32_t>(dim->symbol());
      if (dim->scale() != 1) out += fmt::format("{}·", dim->scale());
      out += plan.symbols()->Get(symbol)->name()->string_view();
      if (dim->offset() != 0) out += fmt::format("+{}", dim->offset());
    }
  }
  return out + "]";
}

std::string operand_text(const fb::Plan& plan, int32_t value) {
  if (value < 0) return "-";
  const fb::Value& entry = *plan.values()->Get(static_cast<uint32_t>(value));
  return fmt::format("{} {} {}", entry.name()->string_view(), text_of(entry.format()),
                     dims_text(plan, entry));
}

uint64_t bytes_of(const fb::Tensor& tensor) {
  uint64_t bytes = 0;
  for (const fb::Plane* plane : *tensor.planes()) bytes += plane->bytes();
  return bytes;
}

Json summary_json(const ModelFile& file) {
  const fb::Model& model = file.model();
  const fb::HyperParameters& h = *model.hyper_parameters();
  std::map<std::string, uint64_t> formats;
  uint64_t parameters = 0;
  for (uint32_t i = 0; i < file.tensor_count(); ++i) {
    const fb::Tensor& tensor = *model.tensors()->Get(i);
    formats[tensor.format()->str()] += bytes_of(tensor);
    uint64_t count = 1;
    for (const uint64_t extent : *tensor.shape()) count *= extent;
    parameters += count;
  }
  Json json;
  json["name"] = text_of(model.name());
  json["architecture"] = text_of(model.architecture());
  json["licence"] = text_of(model.licence());
  json["tool"] = text_of(model.tool());
  json["format_version"] = model.format_version();
  json["file_bytes"] = file.size_bytes();
  json["digest"] = fmt::format("{:02x}", fmt::join(file.digest(), ""));
  json["parameters"] = parameters;
  json["weights_format"] = text_of(model.weights_format());
  json["bytes_by_format"] = formats;
  json["hyper_parameters"] = {{"vocabulary", h.vocabulary()},
                              {"dim", h.dim()},
                              {"layers", h.layers()},
                              {"heads", h.heads()},
                              {"kv_heads", h.kv_heads()},
                              {"head_dim", h.head_dim()},
                              {"ffn_dim", h.ffn_dim()},
                              {"context_length", h.context_length()},
                              {"experts", h.experts()},
                              {"experts_used", h.experts_used()},
                              {"sliding_window", h.sliding_window()}};
  json["tensors"] = file.tensor_count();
  json["plan_steps"] = file.plan().steps()->size();
  json["tokenizer"] =
      model.tokenizer() == nullptr ? Json() : Json(text_of(model.tokenizer()->kind()));
  json["chat_templates"] = model.chat_templates() == nullptr ? 0u : model.chat_templates()->size();
  json["sources"] = Json::array();
  if (model.sources() != nullptr) {
    for (const fb::SourceFile* source : *model.sources()) {
      std::string digest;
      if (source->sha256() != nullptr) {
        digest = fmt::format("{:02x}", fmt::join(*source->sha256(), ""));
      }
      json["sources"].push_back(
          {{"name", text_of(source->name())}, {"bytes", source->bytes()}, {"sha256", digest}});
    }
  }
  json["metrics"] = Json::array();
  if (model.metrics() != nullptr) {
    for (const fb::Metric* metric : *model.metrics()) {
      json["metrics"].push_back({{"name", text_of(metric->name())},
                                 {"value", metric->value()},
                                 {"detail", text_of(metric->detail())}});
    }
  }
  return json;
}

Result<Json> memory_json(const Arguments& args) {
  ModelHandle model = BP_TRY(open_any_model(args.runtime.model));
  const bp_session_options options = args.runtime.session_options();
  bp_memory_estimate estimate{};
  estimate.size = sizeof(estimate);
  BP_TRY(call(bp_memory_estimate_session, model.get(),
              static_cast<const bp_session_options*>(&options), &estimate));
  return Json{{"device", args.runtime.device},
              {"weights_bytes", estimate.weights_bytes},
              {"resident_bytes", estimate.resident_bytes},
              {"kv_bytes", estimate.kv_bytes},
              {"arena_bytes", estimate.arena_bytes},
              {"workspace_bytes", estimate.workspace_bytes},
              {"io_bytes", estimate.io_bytes},
              {"total_bytes", estimate.total_bytes}};
}

Json tensors_json(const ModelFile& file) {
  Json list = Json::array();
  for (uint32_t i = 0; i < file.tensor_count(); ++i) {
    const fb::Tensor& tensor = *file.model().tensors()->Get(i);
    list.push_back(
        {{"name", text_of(tensor.name())},
         {"format", text_of(tensor.format())},
         {"shape", std::vector<uint64_t>(tensor.shape()->begin(), tensor.shape()->end())},
         {"bytes", bytes_of(tensor)}});
  }
  return list;
}

Json plan_json(const fb::Plan& plan) {
  Json list = Json::array();
  for (const fb::Step* step : *plan.steps()) {
    Json entry = {{"op", text_of(step->op())},
                  {"version", step->version()},
                  {"layer", step->layer()},
                  {"inputs", Json::array()},
                  {"outputs", Json::array()}};
    for (const int32_t v : *step->inputs()) entry["inputs"].push_back(operand_text(plan, v));
    for (const int32_t v : *step->outputs()) entry["outputs"].push_back(operand_text(plan, v));
    list.push_back(std::move(entry));
  }
  return list;
}

void print_text(const Json& json) {
  fmt::print("{} ({}), {} parameters, {}, {}\n", json["name"].get<std::string>(),
             json["architecture"].get<std::string>(), json["parameters"].get<uint64_t>(),
             json["weights_format"].get<std::string>(),
             human_bytes(json["file_bytes"].get<uint64_t>()));
  for (const auto& [key, value] : json["hyper_parameters"].items()) {
    if (value != 0) fmt::print("  {:<16} {}\n", key, value.dump());
  }
  for (const auto& [key, value] : json["bytes_by_format"].items()) {
    fmt::print("  {:<16} {}\n", key, human_bytes(value.get<uint64_t>()));
  }
  fmt::print("  {:<16} {}\n  {:<16} {}\n  {:<16} {}\n", "plan steps", json["plan_steps"].dump(),
             "tokenizer", json["tokenizer"].dump(), "chat templates",
             json["chat_templates"].dump());
  for (const auto& source : json["sources"]) {
    fmt::print("  from {} ({})\n", source["name"].get<std::string>(),
               human_bytes(source["bytes"].get<uint64_t>()));
  }
  fmt::print("  digest {}\n", json["digest"].get<std::string>());
  if (json.contains("memory")) {
    fmt::print("memory on {}\n", json["memory"]["device"].get<std::string>());
    for (const auto& [key, value] : json["memory"].items()) {
      if (value.is_number()) {
        fmt::print("  {:<16} {:>14} {}\n", key, value.get<uint64_t>(),
                   human_bytes(value.get<uint64_t>()));
      }
    }
  }
  if (json.contains("tensor_list")) {
    for (const auto& t : json["tensor_list"]) {
      fmt::print("{:<44} {:<8} {:<20} {}\n", t["name"].get<std::string>(),
                 t["format"].get<std::string>(), t["shape"].dump(),
                 human_bytes(t["bytes"].get<uint64_t>()));
    }
  }
  if (json.contains("plan")) {
    int index = 0;
    for (const auto& step : json["plan"]) {
      fmt::print("{:4} {:>3} {:<16} {} <- {}\n", index++, step["layer"].dump(),
                 step["op"].get<std::string>(), step["outputs"].dump(), step["inputs"].dump());
    }
  }
}

Status inspect(const Arguments& args) {
  const std::string path = BP_TRY(resolve_model(args.runtime.model));
  const auto file = BP_TRY(ModelFile::open(path));
  if (args.digests) {
    ProgressBar bar("checking digests");
    BP_TRY(file->verify_digests([&bar](uint64_t done, uint64_t total) {
      bar.update(done, total, "weights");
      return true;
    }));
  }
  Json json = summary_json(*file);
  if (args.memory) json["memory"] = BP_TRY(memory_json(args));
  if (args.tensors) json["tensor_list"] = tensors_json(*file);
  if (args.plan) json["plan"] = plan_json(file->plan());
  if (!args.html.empty()) {
    std::ofstream out(args.html, std::ios::binary | std::ios::trunc);
    out << plan_html(json, plan_json(file->plan()));
    out.close();
    if (!out) return error(Code::kUnavailable, "cannot write '{}'", args.html);
  }
  if (args.json) {
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    print_text(json);
  }
  return {};
}

}  // namespace

void add_inspect(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("inspect", "Show what is in a model");
  args->runtime.add_to(command);
  command->add_flag("--json", args->json, "As JSON");
  command->add_flag("--plan", args->plan, "The steps of the plan");
  command->add_flag("--tensors", args->tensors, "Every tensor");
  command->add_flag("--memory", args->memory,
                    "Memory that running will take, exactly, with --ctx, --batch, --kv, --device");
  command->add_flag("--verify", args->digests, "Read all weights and check their digests");
  command->add_option("--html", args->html, "Write the plan as a page to look at");
  command->callback([args, chosen] { *chosen = [args] { return inspect(*args); }; });
}

}  // namespace bp::cli
