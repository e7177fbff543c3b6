// SPDX-License-Identifier: Apache-2.0
#include "core/engine/session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

namespace bp {
namespace {

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

uint32_t page_size_of(const Model& model) {
  return model.file().plan().page_size();
}

}  // namespace

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::kNone:
      return "";
    case Finish::kStop:
      return "stop";
    case Finish::kLength:
      return "length";
    case Finish::kCancelled:
      return "cancelled";
  }
  return "";
}

struct Session::Generation {
  Sampler sampler;
  GenerateOptions options;
  StopMatcher stops;
  std::unique_ptr<text::TokenStream> stream;  // null for a model without tokenizer
  uint64_t produced = 0;
};

Session::Session(std::shared_ptr<Model> model, std::unique_ptr<Execution> execution,
                 uint64_t capacity)
    : model_(std::move(model)),
      execution_(std::move(execution)),
      capacity_(capacity),
      pool_(static_cast<uint32_t>(execution_->plan().limits().pages)),
      pages_(&pool_, page_size_of(*model_)) {
  tokens_.reserve(capacity);
}

Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<Model> model,
                                                 const SessionOptions& options) try {
  const uint64_t start = now_ns();
  const uint64_t capacity = BP_TRY(model->context_of(options));
  auto plan = BP_TRY(model->bind(options));
  BP_TRY(plan->prepare(options.progress));
  auto execution = BP_TRY(Execution::create(std::move(plan)));
  execution->set_context_limit(capacity);
  std::unique_ptr<Session> session(new Session(std::move(model), std::move(execution), capacity));
  session->stats_.prepare_ns = now_ns() - start;
  return session;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "creating a session: {}", thrown.what());
}

std::span<const float> Session::logits() const noexcept {
  if (!logits_valid_) return {};
  return execution_->logits().last(execution_->vocabulary());
}

Status Session::append(std::span<const text::TokenId> ids) {
  if (ids.size() > capacity_ - tokens_.size()) {
    return error(Code::kInvalidArgument,
                 "{} tokens after the {} in the sequence make {}, but the "
                 "context holds {}; shorten the prompt or create the session with a larger context",
                 ids.size(), tokens_.size(), tokens_.size() + ids.size(), capacity_);
  }
  for (const text::TokenId id : ids) {
    if (id < 0 || static_cast<uint64_t>(id) >= execution_->vocabulary()) {
      return error(Code::kInvalidArgument, "token id {} is outside the vocabulary of {}", id,
                   execution_->vocabulary());
    }
  }
  tokens_.insert(tokens_.end(), ids.begin(), ids.end());
  return {};
}

Status Session::run_chunk(uint64_t begin, uint64_t count, bool all_outputs) {
  BP_TRY(pages_.resize(begin + count));
  const uint64_t blocks = execution_->plan().limits().blocks;
  batch_.token_ids.assign(tokens_.begin() + static_cast<ptrdiff_t>(begin),
                          tokens_.begin() + static_cast<ptrdiff_t>(begin + count));
  batch_.positions.resize(count);
  std::iota(batch_.positions.begin(), batch_.positions.end(), static_cast<int32_t>(begin));
  batch_.sequence_of.assign(count, 0);
  batch_.query_start = {0, static_cast<int32_t>(count)};
  batch_.context_length = {static_cast<int32_t>(begin + count)};
  batch_.page_table.assign(blocks, -1);
  std::copy(pages_.pages().begin(), pages_.pages().end(), batch_.page_table.begin());
  if (all_outputs) {
    batch_.output_rows.resize(count);
    std::iota(batch_.output_rows.begin(), batch_.output_rows.end(), 0);
  } else {
    batch_.output_rows = {static_cast<int32_t>(count) - 1};
  }
  logits_valid_ = false;
  BP_TRY(execution_->forward(batch_, &cancel_));
  evaluated_ = begin + count;
  logits_valid_ = evaluated_ == tokens_.size();
  return {};
}

Status Session::run_pending(const LogitsFn* fn) {
  const PlanLimits& limits = execution_->plan().limits();
  const uint64_t most = fn == nullptr ? limits.tokens : limits.outputs;
  while (evaluated_ < tokens_.size()) {
    const uint64_t begin = evaluated_;
    const uint64_t count = std::min<uint64_t>(most, tokens_.size() - begin);
    BP_TRY(run_chunk(begin, count, fn != nullptr));
    for (uint64_t i = 0; fn != nullptr && i < count; ++i) {
      const uint64_t vocabulary = execution_->vocabulary();
      const auto row = execution_->logits().subspan(i * vocabulary, vocabulary);
      if (std::any_of(row.begin(), row.end(), [](float x) { return std::isnan(x); })) {
        return error(Code::kCorrupt,
                     "the model gives values that are not numbers at position {}; "
                     "its weights are damaged, or too large for the format",
                     begin + i);
      }
      if (!(*fn)(begin + i, row)) return error(Code::kCancelled, "cancelled");
    }
  }
  return {};
}

Status Session::feed_tokens(std::span<const text::TokenId> ids) try {
  cancel_.store(false, std::memory_order_relaxed);
  generation_.reset();
  if (ids.empty() && tokens_.empty()) {
    return error(Code::kInvalidArgument, "nothing to feed: the prompt has no tokens");
  }
  const size_t before = tokens_.size();
  BP_TRY(append(ids));
  const uint64_t start = now_ns();
  const uint64_t first = evaluated_;
  Status status = run_pending(nullptr);
  if (!status.ok()) {  // what was fed is forgotten again, whole passes included
    tokens_.resize(before);
    evaluated_ = std::min<uint64_t>(evaluated_, before);
    logits_valid_ = false;
    return status;
  }
  stats_.prompt_tokens += tokens_.size() - first;
  stats_.prompt_ns += now_ns() - start;
  return status;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "feeding tokens: {}", thrown.what());
}

Status Session::feed_text(std::string_view text, bool no_bos, bool parse_special) {
  const text::Tokenizer& tokenizer = *BP_TRY(model_->text().require_tokenizer());
  text::EncodeOptions options;
  options.bos = no_bos || !tokens_.empty() ? text::Affix::kNever : text::Affix::kModelRule;
  options.eos = text::Affix::kNever;  // a prompt is to be continued
  options.parse_special = parse_special;
  return feed_tokens(BP_TRY(tokenizer.encode(text, options)));
}

Result<uint64_t> Session::feed_chat(ChatInputs inputs) try {
  const std::vector<text::TokenId> ids = BP_TRY(model_->text().tokenize(std::move(inputs)));
  if (ids.empty()) return error(Code::kInvalidArgument, "the chat template gives an empty prompt");
  if (ids.size() > capacity_) {
    return error(Code::kInvalidArgument,
                 "the conversation has {} tokens, but the context holds "
                 "{}; shorten it or create the session with a larger context",
                 ids.size(), capacity_);
  }
  const auto common = std::mismatch(ids.begin(), ids.end(), tokens_.begin(), tokens_.end()).first;
  // At least one token is run, since its logits are wanted.
  uint64_t keep = std::min<uint64_t>(static_cast<uint64_t>(common - ids.begin()), ids.size() - 1);
  keep = std::min(keep, evaluated_);
  BP_TRY(rewind(keep));
  evaluated_ = keep;
  BP_TRY(feed_tokens(std::span(ids).subspan(keep)));
  return keep;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "feeding a conversation: {}", thrown.what());
}

Status Session::evaluate(std::span<const text::TokenId> ids, const LogitsFn& fn) try {
  cancel_.store(false, std::memory_order_relaxed);
  generation_.reset();
  BP_TRY(run_pending(nullptr));
  const size_t before = tokens_.size();
  BP_TRY(append(ids));
  const uint64_t start = now_ns();
  Status status = run_pending(&fn);
  if (!status.ok()) {
    tokens_.resize(std::max<size_t>(before, evaluated_));
    logits_valid_ = false;
    return status;
  }
  stats_.prompt_tokens += ids.size();
  stats_.prompt_ns += now_ns() - start;
  return status;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "evaluating tokens: {}", thrown.what());
}

Status Session::rewind(uint64_t keep) {
  if (keep > tokens_.size()) {
    return error(Code::kInvalidArgument, "cannot keep {} tokens of {}", keep, tokens_.size());
  }
  generation_.reset();
  if (keep == tokens_.size()) return {};
  tokens_.resize(keep);
  // The last token is run again when logits are wanted: they were not kept.
  evaluated_ = std::min<uint64_t>(evaluated_, keep == 0 ? 0 : keep - 1);
  logits_valid_ = false;
  return pages_.resize(evaluated_);
}

Status Session::begin(const GenerateOptions& options) try {
  cancel_.store(false, std::memory_order_relaxed);
  generation_.reset();
  if (tokens_.empty()) {
    return error(Code::kFailedPrecondition, "the sequence is empty: feed a prompt first");
  }
  Sampler sampler = BP_TRY(Sampler::create(options.sampling, execution_->vocabulary()));
  std::unique_ptr<text::TokenStream> stream;
  if (model_->text().tokenizer != nullptr) {
    text::StreamOptions stream_options;
    stream_options.continues_text = true;
    stream = std::make_unique<text::TokenStream>(model_->text().tokenizer, stream_options);
  }
  generation_ = std::make_unique<Generation>(
      Generation{std::move(sampler), options, StopMatcher(options.stop), std::move(stream), 0});
  return {};
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "beginning a generation: {}", thrown.what());
}

void Session::finish(Finish reason) {
  event_.finish = reason;
  std::string rest;
  if (generation_->stream != nullptr) generation_->stream->finish(&rest).ok();
  if (generation_->stops.push(rest, &event_.text)) {
    event_.finish = Finish::kStop;
  } else {
    generation_->stops.finish(&event_.text);
  }
  generation_.reset();
}

Status Session::sample_step() {
  Generation& generation = *generation_;
  const auto limit_reached = [&] {
    return tokens_.size() >= capacity_ || (generation.options.max_tokens != 0 &&
                                           generation.produced >= generation.options.max_tokens);
  };
  if (limit_reached()) {
    finish(Finish::kLength);
    return {};
  }
  Status status = run_pending(nullptr);
  if (status.code() == Code::kCancelled) {
    finish(Finish::kCancelled);
    return {};
  }
  BP_TRY(std::move(status));
  const text::TokenId id = BP_TRY(generation.sampler.sample(logits(), tokens_, tokens_.size()));
  if (!generation.options.ignore_eos && model_->ends_generation(id)) {
    finish(Finish::kStop);
    return {};
  }
  tokens_.push_back(id);  // within the reserved capacity
  logits_valid_ = false;
  ++generation.produced;
  event_.token_id = id;
  std::string piece;
  if (generation.stream != nullptr) BP_TRY(generation.stream->push(id, &piece));
  if (generation.stops.push(piece, &event_.text)) {
    event_.finish = Finish::kStop;
    generation_.reset();
  } else if (limit_reached()) {
    finish(Finish::kLength);
  }
  return {};
}

Result<const Event*> Session::next() try {
  if (generation_ == nullptr) {
    return error(Code::kFailedPrecondition, "no generation is under way: begin one first");
  }
  const uint64_t start = now_ns();
  event_.finish = Finish::kNone;
  event_.token_id = text::kNoToken;
  event_.text.clear();
  if (cancel_.load(std::memory_order_relaxed)) {
    finish(Finish::kCancelled);
    return &event_;
  }
  Status status = sample_step();
  if (!status.ok()) {
    generation_.reset();
    return status;
  }
  stats_.generated_tokens += event_.token_id == text::kNoToken ? 0 : 1;
  stats_.generated_ns += now_ns() - start;
  return &event_;
} catch (const std::exception& thrown) {
  generation_.reset();
  return error(Code::kExhausted, "generating: {}", thrown.what());
}

}  // namespace bp
