// SPDX-License-Identifier: Apache-2.0
// One sequence of tokens on a device: feeding, generating, rewinding, cancelling.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/engine/model.h"
#include "core/engine/stop_matcher.h"
#include "core/memory/page_pool.h"

namespace bp {

enum class Finish : int32_t { kNone = 0, kStop = 1, kLength = 2, kCancelled = 3 };
const char* finish_name(Finish finish);  // "stop", "length", "cancelled", ""

struct GenerateOptions {
  SamplingOptions sampling;
  uint64_t max_tokens = 0;  // 0: until the model ends or the context is full
  bool ignore_eos = false;
  std::vector<std::string> stop;
};

struct Event {
  Finish finish = Finish::kNone;
  text::TokenId token_id = text::kNoToken;
  std::string text;
};

struct SessionStats {
  uint64_t prompt_tokens = 0;
  uint64_t prompt_ns = 0;
  uint64_t generated_tokens = 0;
  uint64_t generated_ns = 0;
  uint64_t prepare_ns = 0;
};

// One thread at a time, except for cancel().
class Session {
 public:
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<Model> model,
                                                 const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Status feed_tokens(std::span<const text::TokenId> ids);
  // BOS, where the model's rule wants one, only at the start of the sequence.
  Status feed_text(std::string_view text, bool no_bos, bool parse_special);
  // Makes the sequence equal to the conversation; keeps what the cache already has of it.
  Result<uint64_t> feed_chat(ChatInputs inputs);
  // Feeds and hands over the logits after each token; the callback returns false to stop.
  using LogitsFn = std::function<bool(uint64_t position, std::span<const float> logits)>;
  Status evaluate(std::span<const text::TokenId> ids, const LogitsFn& fn);

  Status begin(const GenerateOptions& options);
  // The next event, in place until the following call.
  Result<const Event*> next();
  void cancel() noexcept { cancel_.store(true, std::memory_order_relaxed); }
  bool generating() const noexcept { return generation_ != nullptr; }

  uint64_t position() const noexcept { return tokens_.size(); }
  uint64_t capacity() const noexcept { return capacity_; }
  std::span<const text::TokenId> tokens() const noexcept { return tokens_; }
  Status rewind(uint64_t keep);
  // Empty when the last token has not been run yet.
  std::span<const float> logits() const noexcept;

  const Model& model() const noexcept { return *model_; }
  const Execution& execution() const noexcept { return *execution_; }
  const SessionStats& stats() const noexcept { return stats_; }

 private:
  Session(std::shared_ptr<Model> model, std::unique_ptr<Execution> execution, uint64_t capacity);
  struct Generation;

  Status append(std::span<const text::TokenId> ids);
  // Runs the tokens that the cache does not hold yet; with fn, logits of each are handed over.
  Status run_pending(const LogitsFn* fn);
  Status run_chunk(uint64_t begin, uint64_t count, bool all_outputs);
  void finish(Finish reason);
  Status sample_step();

  std::shared_ptr<Model> model_;
  std::unique_ptr<Execution> execution_;
  uint64_t capacity_;
  PagePool pool_;
  PageTable pages_;
  std::vector<text::TokenId> tokens_;
  uint64_t evaluated_ = 0;  // leading tokens that the cache holds
  bool logits_valid_ = false;
  Batch batch_;
  std::unique_ptr<Generation> generation_;
  Event event_;
  SessionStats stats_;
  std::atomic<bool> cancel_{false};
};

}  // namespace bp
