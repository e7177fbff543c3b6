// SPDX-License-Identifier: Apache-2.0
// An opened model: its file, tokenizer, chat template, and the plans bound for its sessions.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/exec/execution.h"
#include "core/plan/tune.h"
#include "core/sample/sampler.h"
#include "core/text/chat/chat_text.h"
#include "model_format/reader.h"

namespace bp {

struct SessionOptions {
  std::string device = "auto";
  std::string kv_format = "f16";
  uint64_t context_tokens = 0;  // 0: the model's own, at most kDefaultContext
  uint64_t batch_tokens = 0;    // 0: kDefaultBatch
  bool strict_placement = false;
  BoundPlan::Progress progress = {};  // of preparing kernels; may be empty
};
inline constexpr uint64_t kDefaultContext = 4096;
inline constexpr uint64_t kDefaultBatch = 512;

// Thread-safe; held by shared_ptr, since sessions keep it alive.
class Model {
 public:
  // Prepares the text side: FAILED here, not at first use, when tokenizer or template are damaged.
  static Result<std::shared_ptr<Model>> create(std::shared_ptr<const ModelFile> file);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelFile& file() const noexcept { return *file_; }
  const fb::HyperParameters& hyper_parameters() const noexcept {
    return *file_->model().hyper_parameters();
  }
  const ChatText& text() const noexcept { return text_; }
  uint64_t parameter_count() const noexcept { return parameters_; }

  // Sampling options with the model's own suggestions.
  SamplingOptions sampling_defaults() const;
  // Ids that end an answer: the tokenizer's and the generation settings'.
  bool ends_generation(text::TokenId id) const noexcept;

  // Placement for a session, not yet prepared; equal options share one plan.
  Result<std::shared_ptr<BoundPlan>> bind(const SessionOptions& options);
  // Measures the kernels that such a session would run, without preparing them. Sessions created
  // afterwards use what was found; those that exist stay as they are. One run at a time on a
  // device.
  Result<TuneReport> tune(const SessionOptions& options, const TuneOptions& tuning);
  // Longest sequence that such a session can hold.
  Result<uint64_t> context_of(const SessionOptions& options) const;

 private:
  explicit Model(std::shared_ptr<const ModelFile> file) : file_(std::move(file)) {}
  Status load_text();
  // Drops the plans that models, this one and all others, keep warm on devices that are lost.
  static void release_lost_plans();
  Result<PlanLimits> limits_of(const SessionOptions& options) const;

  struct Binding {
    std::string device, kv_format;
    PlanLimits limits;
    bool strict;
    std::weak_ptr<BoundPlan> plan;
  };

  std::shared_ptr<const ModelFile> file_;
  ChatText text_;
  std::vector<text::TokenId> stop_ids_;
  uint64_t parameters_ = 0;

  std::mutex mutex_;  // guards the following
  std::vector<Binding> bindings_;
  std::shared_ptr<BoundPlan> last_bound_;  // kept warm between sessions
};

}  // namespace bp
