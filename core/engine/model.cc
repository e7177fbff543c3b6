// SPDX-License-Identifier: Apache-2.0
#include "core/engine/model.h"

#include <algorithm>
#include <set>

#include "core/base/limits.h"
#include "core/plugin/registry.h"
#include "core/text/codec/tokenizer_codec.h"

namespace bp {
namespace {

constexpr uint64_t kOutputRows = 16;  // logits rows of one pass; see Session::evaluate
constexpr uint64_t kMaxBatch = 8192;

struct Models {
  std::mutex mutex;  // before that of a model
  std::set<Model*> all;
};
// Of the process. Never destroyed: models may be closed while it ends.
Models& models() {
  static Models* const kept = new Models;
  return *kept;
}

bool is_lost(const BoundPlan& plan) {
  return std::any_of(plan.devices().begin(), plan.devices().end(),
                     [](const auto& device) { return !device->status().ok(); });
}

}  // namespace

Model::~Model() {
  const std::lock_guard lock(models().mutex);
  models().all.erase(this);
}

Result<std::shared_ptr<Model>> Model::create(std::shared_ptr<const ModelFile> file) try {
  std::shared_ptr<Model> model(new Model(std::move(file)));
  BP_TRY(model->load_text());
  const std::lock_guard lock(models().mutex);
  models().all.insert(model.get());
  return model;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "opening the model: {}", thrown.what());
}

Status Model::load_text() {
  const fb::Model& model = file_->model();
  if (model.tokenizer() != nullptr) {
    auto spec = BP_TRY(text::decode_tokenizer(*model.tokenizer()).with_context("tokenizer"));
    text_.tokenizer = BP_TRY(text::Tokenizer::create(std::move(spec)).with_context("tokenizer"));
  }
  if (const auto* templates = model.chat_templates()) {
    for (const fb::ChatTemplate* entry : *templates) {
      if (entry->name() == nullptr || entry->source() == nullptr) continue;
      BP_TRY(text_.add_template(entry->name()->string_view(), entry->source()->string_view()));
    }
  }
  if (const auto* generation = model.generation(); generation && generation->stop_ids()) {
    for (const uint32_t id : *generation->stop_ids()) {
      stop_ids_.push_back(static_cast<text::TokenId>(id));
    }
  }
  if (const auto* tensors = model.tensors()) {
    for (const fb::Tensor* tensor : *tensors) {
      uint64_t count = 1;
      for (const uint64_t extent : *tensor->shape()) count *= extent;
      parameters_ += count;
    }
  }
  return {};
}

SamplingOptions Model::sampling_defaults() const {
  SamplingOptions options;
  const auto* own = file_->model().generation();
  if (own == nullptr) return options;
  if (own->temperature() >= 0) options.temperature = own->temperature();
  if (own->top_k() >= 0) options.top_k = static_cast<uint32_t>(own->top_k());
  if (own->top_p() >= 0) options.top_p = own->top_p();
  if (own->min_p() >= 0) options.min_p = own->min_p();
  if (own->repetition_penalty() > 0) options.repetition_penalty = own->repetition_penalty();
  return options;
}

bool Model::ends_generation(text::TokenId id) const noexcept {
  if (text_.tokenizer != nullptr && text_.tokenizer->is_eos(id)) return true;
  return std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end();
}

Result<uint64_t> Model::context_of(const SessionOptions& options) const {
  const uint64_t own = std::max<uint64_t>(hyper_parameters().context_length(), 1);
  const uint64_t context =
      options.context_tokens == 0 ? std::min(own, kDefaultContext) : options.context_tokens;
  if (context > limits::kMaxContext) {
    return error(Code::kInvalidArgument, "a context of {} tokens; at most {} are possible", context,
                 limits::kMaxContext);
  }
  if (context > own) {
    return error(Code::kInvalidArgument, "a context of {} tokens; the model was made for {}",
                 context, own);
  }
  return context;
}

Result<PlanLimits> Model::limits_of(const SessionOptions& options) const {
  const uint64_t context = BP_TRY(context_of(options));
  const uint64_t page_size = file_->plan().page_size();
  if (page_size == 0) return error(Code::kCorrupt, "the plan has KV pages of no size");
  uint64_t batch = options.batch_tokens == 0 ? kDefaultBatch : options.batch_tokens;
  if (batch > kMaxBatch) {
    return error(Code::kInvalidArgument, "passes of {} tokens; at most {} are possible", batch,
                 kMaxBatch);
  }
  PlanLimits limits;
  limits.tokens = std::min(batch, context);
  limits.outputs = std::min(limits.tokens, kOutputRows);
  limits.blocks = limits.pages = (context + page_size - 1) / page_size;
  return limits;
}

// A driver opens a lost device anew only when nothing holds it any more.
void Model::release_lost_plans() {
  std::vector<std::shared_ptr<BoundPlan>> lost;  // destroyed when the locks are gone
  const std::lock_guard lock(models().mutex);
  for (Model* const model : models().all) {
    const std::lock_guard own(model->mutex_);
    std::shared_ptr<BoundPlan>& kept = model->last_bound_;
    if (kept != nullptr && is_lost(*kept)) lost.push_back(std::move(kept));
  }
}

Result<std::shared_ptr<BoundPlan>> Model::bind(const SessionOptions& options) try {
  const PlanLimits limits = BP_TRY(limits_of(options));
  release_lost_plans();
  std::vector<std::shared_ptr<Device>> devices;
  devices.push_back(BP_TRY(Registry::shared().open(options.device)));
  if (devices.front()->id() != "cpu:0") {
    // The CPU makes every plan total. Without it the device must do everything itself.
    if (auto cpu = Registry::shared().open("cpu"); cpu.ok()) devices.push_back(cpu.value());
  }
  std::lock_guard lock(mutex_);
  std::erase_if(bindings_, [](const Binding& binding) { return binding.plan.expired(); });
  for (const Binding& binding : bindings_) {
    auto plan = binding.plan.lock();
    if (plan != nullptr && plan->devices().front() == devices.front() &&
        binding.kv_format == options.kv_format && binding.limits == limits &&
        binding.strict == options.strict_placement) {
      return plan;
    }
  }
  auto flat = BP_TRY(FlatPlan::create(file_, options.kv_format));
  auto plan = BP_TRY(
      BoundPlan::place(std::move(flat), std::move(devices), limits, options.strict_placement));
  bindings_.push_back(
      {plan->devices().front()->id(), options.kv_format, limits, options.strict_placement, plan});
  last_bound_ = plan;
  return plan;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "binding the model: {}", thrown.what());
}

Result<TuneReport> Model::tune(const SessionOptions& options, const TuneOptions& tuning) try {
  const auto plan = BP_TRY(bind(options));
  TuneReport report = BP_TRY(tune_plan(*plan, tuning));
  // A plan that was placed before keeps its kernels; new sessions get a new one.
  std::lock_guard lock(mutex_);
  bindings_.clear();
  last_bound_.reset();
  return report;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "tuning the model: {}", thrown.what());
}

}  // namespace bp
