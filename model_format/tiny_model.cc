// SPDX-License-Identifier: Apache-2.0
#include "model_format/tiny_model.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "model_format/symbolic.h"

namespace bp::testing {

// ---- plans --------------------------------------------------------------------------------------

PlanBuilder::PlanBuilder() {
  const std::pair<const char*, uint64_t> symbols[] = {
      {"tokens", 512}, {"sequences", 8}, {"outputs", 8}, {"pages", 4096}, {"blocks", 128}};
  for (const auto& [name, maximum] : symbols) {
    auto symbol = std::make_unique<fb::SymbolT>();
    symbol->name = name;
    symbol->minimum = 1;
    symbol->maximum = maximum;
    plan_->symbols.push_back(std::move(symbol));
  }
  plan_->page_size = kPageSize;
}

fb::Dim PlanBuilder::symbol(int index, uint64_t offset) {
  return fb::Dim(index, 0, 1, offset);
}
fb::Dim PlanBuilder::constant(uint64_t value) {
  return fb::Dim(-1, 0, 0, value);
}

int PlanBuilder::add(std::unique_ptr<fb::ValueT> value) {
  plan_->values.push_back(std::move(value));
  return static_cast<int>(plan_->values.size() - 1);
}

int PlanBuilder::weight(const std::string& name, const std::string& format,
                        std::vector<uint64_t> shape) {
  auto value = std::make_unique<fb::ValueT>();
  value->name = name;
  value->role = fb::Role::Weight;
  value->format = format;
  for (const uint64_t dim : shape) value->shape.push_back(constant(dim));
  value->tensor = static_cast<int>(tensors_.size());
  tensors_.push_back({name, format, std::move(shape)});
  return add(std::move(value));
}

int PlanBuilder::input(const std::string& name, std::vector<fb::Dim> shape) {
  auto value = std::make_unique<fb::ValueT>();
  value->name = name;
  value->role = fb::Role::Input;
  value->format = "i32";
  value->shape = std::move(shape);
  return add(std::move(value));
}

int PlanBuilder::rope_input(uint32_t rotary_dim) {
  auto rope = std::make_unique<fb::RopeT>();
  rope->rotary_dim = rotary_dim;
  for (uint32_t i = 0; i < rotary_dim / 2; ++i) {
    rope->frequencies.push_back(
        std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(rotary_dim)));
  }
  plan_->ropes.push_back(std::move(rope));
  const size_t index = plan_->ropes.size() - 1;
  auto value = std::make_unique<fb::ValueT>();
  value->name = "rope/" + std::to_string(index);
  value->role = fb::Role::Input;
  value->format = "f32";
  value->shape = {symbol(kTokens), constant(rotary_dim)};
  value->rope = static_cast<int>(index);
  return add(std::move(value));
}

int PlanBuilder::state(const std::string& name, uint64_t kv_heads, uint64_t head_dim) {
  auto value = std::make_unique<fb::ValueT>();
  value->name = name;
  value->role = fb::Role::State;
  value->format = "kv";
  value->shape = {symbol(kPages), constant(kv_heads), constant(kPageSize), constant(head_dim)};
  return add(std::move(value));
}

namespace {

uint64_t up_to_64(uint64_t bytes) {
  return (bytes + 63) / 64 * 64;
}

std::unique_ptr<fb::LinearT> linear(uint64_t constant, const std::vector<uint64_t>& scale) {
  auto form = std::make_unique<fb::LinearT>();
  form->offset = constant;
  for (uint32_t i = 0; i < scale.size(); ++i) {
    if (scale[i] != 0) form->terms.emplace_back(i, 0, scale[i]);
  }
  return form;
}

}  // namespace

int PlanBuilder::scratch(const std::string& name, std::vector<fb::Dim> shape,
                         const std::string& format, fb::Role role) {
  auto value = std::make_unique<fb::ValueT>();
  value->name = name;
  value->role = role;
  value->format = format;
  uint64_t row_bytes = 4;
  for (size_t d = 1; d < shape.size(); ++d) row_bytes *= shape[d].offset();
  std::vector<uint64_t> scale(5);
  scale[static_cast<size_t>(shape[0].symbol())] = up_to_64(row_bytes);
  value->shape = std::move(shape);
  value->arena_offset = linear(arena_constant_, arena_scale_);
  value->arena_bytes = linear(0, scale);
  for (size_t i = 0; i < scale.size(); ++i) arena_scale_[i] += scale[i];
  return add(std::move(value));
}

void PlanBuilder::step(const std::string& op, std::vector<int> inputs, std::vector<int> outputs,
                       std::vector<Attribute> attributes, int layer) {
  auto step = std::make_unique<fb::StepT>();
  step->op = op;
  step->inputs = std::move(inputs);
  step->outputs = std::move(outputs);
  for (Attribute& attribute : attributes) {
    auto entry = std::make_unique<fb::AttributeT>();
    entry->name = attribute.name;
    entry->value = std::move(attribute.value);
    step->attributes.push_back(std::move(entry));
  }
  step->layer = layer;
  plan_->steps.push_back(std::move(step));
}

std::unique_ptr<fb::PlanT> PlanBuilder::finish() {
  plan_->arena_bytes = linear(arena_constant_, arena_scale_);
  return std::move(plan_);
}

PlanBuilder::Attribute int_attribute(const std::string& name, int64_t value) {
  PlanBuilder::Attribute attribute{name, {}};
  fb::IntValueT held;
  held.value = value;
  attribute.value.Set(held);
  return attribute;
}
PlanBuilder::Attribute float_attribute(const std::string& name, double value) {
  PlanBuilder::Attribute attribute{name, {}};
  fb::FloatValueT held;
  held.value = value;
  attribute.value.Set(held);
  return attribute;
}
PlanBuilder::Attribute string_attribute(const std::string& name, const std::string& value) {
  PlanBuilder::Attribute attribute{name, {}};
  fb::StringValueT held;
  held.value = value;
  attribute.value.Set(std::move(held));
  return attribute;
}

// ---- the model ----------------------------------------------------------------------------------

namespace {

constexpr uint64_t kVocabulary = 40, kDim = 32, kHeads = 2, kKvHeads = 1, kHeadDim = 16, kFfn = 64;
constexpr uint64_t kExperts = 3, kExpertsUsed = 2;

std::vector<PlanBuilder::Attribute> head_attributes() {
  std::vector<PlanBuilder::Attribute> list;
  list.push_back(int_attribute("heads", kHeads));
  list.push_back(int_attribute("kv_heads", kKvHeads));
  list.push_back(int_attribute("head_dim", kHeadDim));
  list.push_back(int_attribute("page_size", PlanBuilder::kPageSize));
  return list;
}

template <typename... Attributes>
std::vector<PlanBuilder::Attribute> list_of(Attributes&&... attributes) {
  std::vector<PlanBuilder::Attribute> list;
  (list.push_back(std::forward<Attributes>(attributes)), ...);
  return list;
}

class TinyPlan {
 public:
  TinyPlan() {
    const auto t = PlanBuilder::symbol(PlanBuilder::kTokens);
    const auto s = PlanBuilder::symbol(PlanBuilder::kSequences);
    token_ids_ = b.input("token_ids", {t});
    positions_ = b.input("positions", {t});
    sequence_of_ = b.input("sequence_of", {t});
    query_start_ = b.input("query_start", {PlanBuilder::symbol(PlanBuilder::kSequences, 1)});
    context_length_ = b.input("context_length", {s});
    page_table_ = b.input("page_table", {s, PlanBuilder::symbol(PlanBuilder::kBlocks)});
    output_rows_ = b.input("output_rows", {PlanBuilder::symbol(PlanBuilder::kOutputs)});
    rope_ = b.rope_input(kHeadDim);
  }

  int rows(const std::string& name, uint64_t columns) {
    return b.scratch(name,
                     {PlanBuilder::symbol(PlanBuilder::kTokens), PlanBuilder::constant(columns)});
  }
  int norm(const std::string& name, int x) {
    const int gain = b.weight(name + "/gain", "f32", {kDim});
    const int y = rows(name, kDim);
    b.step("rms_norm", {x, gain, -1}, {y}, list_of(float_attribute("eps", 1e-5)), -1);
    return y;
  }
  int linear(const std::string& name, const std::string& format, int x, uint64_t in, uint64_t out,
             int residual, int layer) {
    const int weight = b.weight(name + "/weight", format, {out, in});
    const int y = rows(name, out);
    b.step("linear", {x, weight, -1, residual}, {y}, {}, layer);
    return y;
  }
  int attention(const std::string& prefix, std::vector<int> qkv, int layer, bool norms) {
    const int k_cache = b.state(prefix + "k_cache", kKvHeads, kHeadDim);
    const int v_cache = b.state(prefix + "v_cache", kKvHeads, kHeadDim);
    const int q_norm = norms ? b.weight(prefix + "q_norm", "f32", {kHeadDim}) : -1;
    const int k_norm = norms ? b.weight(prefix + "k_norm", "f32", {kHeadDim}) : -1;
    qkv.resize(3, -1);
    const int q = rows(prefix + "rotated", kHeads * kHeadDim);
    auto attributes = head_attributes();
    attributes.push_back(int_attribute("rotary_dim", kHeadDim));
    attributes.push_back(int_attribute("interleaved", 0));
    attributes.push_back(float_attribute("norm_eps", 1e-6));
    b.step("rope_kv_write",
           {qkv[0], qkv[1], qkv[2], rope_, q_norm, k_norm, positions_, sequence_of_, page_table_,
            k_cache, v_cache},
           {q}, std::move(attributes), layer);
    const int y = rows(prefix + "attended", kHeads * kHeadDim);
    attributes = head_attributes();
    attributes.push_back(int_attribute("window", 0));
    attributes.push_back(float_attribute("scale", 0.25));
    attributes.push_back(float_attribute("softcap", 0));
    b.step("attention", {q, k_cache, v_cache, query_start_, context_length_, page_table_}, {y},
           std::move(attributes), layer);
    return y;
  }
  int dense_layer(int h) {
    const int x = norm("0/attention_norm", h);
    const int qkv = linear("0/qkv", "q8_g32", x, kDim, (kHeads + 2 * kKvHeads) * kHeadDim, -1, 0);
    const int a = attention("0/", {qkv}, 0, true);
    h = linear("0/out", "q4_g32", a, kHeads * kHeadDim, kDim, h, 0);
    const int f = norm("0/ffn_norm", h);
    const int gate_up = b.weight("0/gate_up/weight", "f16", {2 * kFfn, kDim});
    const int product = rows("0/product", kFfn);
    b.step("linear_glu", {f, gate_up, -1, -1}, {product},
           list_of(string_attribute("activation", "silu")), 0);
    return linear("0/down", "bf16", product, kFfn, kDim, h, 0);
  }
  int expert_layer(int h) {
    const auto t = PlanBuilder::symbol(PlanBuilder::kTokens);
    const auto c = [](uint64_t n) { return PlanBuilder::constant(n); };
    const int x = norm("1/attention_norm", h);
    const int q = linear("1/q", "q4_g32z", x, kDim, kHeads * kHeadDim, -1, 1);
    const int k = linear("1/k", "q5_g32", x, kDim, kKvHeads * kHeadDim, -1, 1);
    const int v = linear("1/v", "q5_g32z", x, kDim, kKvHeads * kHeadDim, -1, 1);
    const int a = attention("1/", {q, k, v}, 1, false);
    h = linear("1/out", "iq4_nl", a, kHeads * kHeadDim, kDim, h, 1);
    const int f = norm("1/ffn_norm", h);
    const int logits = linear("1/router", "f32", f, kDim, kExperts, -1, 1);
    const int ids = b.scratch("1/ids", {t, c(kExpertsUsed)}, "i32");
    const int weights = b.scratch("1/weights", {t, c(kExpertsUsed)});
    b.step("moe_route", {logits}, {ids, weights},
           list_of(int_attribute("experts_used", kExpertsUsed), int_attribute("normalize", 1)), 1);
    const int gate = b.weight("1/gate", "mxfp4", {kExperts, kFfn, kDim});
    const int up = b.weight("1/up", "q8_g32", {kExperts, kFfn, kDim});
    const int product = b.scratch("1/product", {t, c(kExpertsUsed), c(kFfn)});
    b.step("moe_linear_glu", {f, gate, ids, up}, {product},
           list_of(string_attribute("activation", "gelu_tanh")), 1);
    const int down = b.weight("1/down", "q4_g32", {kExperts, kDim, kFfn});
    const int y = rows("1/moe", kDim);
    b.step("moe_linear", {product, down, ids, weights, h}, {y}, {}, 1);
    return y;
  }
  void head(int h) {
    const auto o = PlanBuilder::symbol(PlanBuilder::kOutputs);
    const int x = norm("norm", h);
    const int last = b.scratch("last", {o, PlanBuilder::constant(kDim)});
    b.step("gather_rows", {x, output_rows_}, {last}, {}, -1);
    const int weight = b.weight("head/weight", "f32", {kVocabulary, kDim});
    const int logits =
        b.scratch("logits", {o, PlanBuilder::constant(kVocabulary)}, "f32", fb::Role::Output);
    b.step("linear", {last, weight, -1, -1}, {logits}, list_of(float_attribute("softcap", 30)), -1);
  }
  int embed() {
    const int table = b.weight("embedding", "f16", {kVocabulary, kDim});
    const int h = rows("h", kDim);
    b.step("embed", {token_ids_, table}, {h}, list_of(float_attribute("scale", 1)), -1);
    return h;
  }

  PlanBuilder b;

 private:
  int token_ids_, positions_, sequence_of_, query_start_, context_length_, page_table_;
  int output_rows_, rope_;
};

void describe(fb::ModelT& model) {
  model.name = "tiny";
  model.architecture = "llama";
  model.licence = "Apache-2.0";
  model.tool = "backplane test";
  model.weights_format = "mixed";
  auto source = std::make_unique<fb::SourceFileT>();
  source->name = "model.safetensors";
  source->bytes = 4096;
  source->sha256.assign(32, 7);
  model.sources.push_back(std::move(source));
  auto metric = std::make_unique<fb::MetricT>();
  metric->name = "kl_divergence";
  metric->value = 0.125;
  model.metrics.push_back(std::move(metric));
  auto h = std::make_unique<fb::HyperParametersT>();
  h->vocabulary = kVocabulary;
  h->dim = kDim;
  h->layers = 2;
  h->heads = kHeads;
  h->kv_heads = kKvHeads;
  h->head_dim = kHeadDim;
  h->ffn_dim = kFfn;
  h->context_length = 2048;
  h->experts = kExperts;
  h->experts_used = kExpertsUsed;
  model.hyper_parameters = std::move(h);
  model.generation = std::make_unique<fb::GenerationT>();
  model.generation->temperature = 0.5f;
  model.generation->stop_ids = {2};
  auto chat = std::make_unique<fb::ChatTemplateT>();
  chat->name = "default";
  chat->source = "{{ messages[0].content }}\n";
  model.chat_templates.push_back(std::move(chat));
}

std::unique_ptr<fb::TokenizerT> tiny_tokenizer() {
  auto tokenizer = std::make_unique<fb::TokenizerT>();
  tokenizer->kind = "bpe_byte";
  tokenizer->token_offsets.push_back(0);
  for (uint64_t i = 0; i < kVocabulary; ++i) {
    const std::string token = i < 26 ? std::string(1, static_cast<char>('a' + i)) : "ab";
    tokenizer->token_bytes.insert(tokenizer->token_bytes.end(), token.begin(), token.end());
    tokenizer->token_offsets.push_back(static_cast<uint32_t>(tokenizer->token_bytes.size()));
    tokenizer->scores.push_back(-static_cast<float>(i));
    tokenizer->types.push_back(1);
  }
  tokenizer->merges = {0, 1, 1, 2};
  tokenizer->rules = "{}";
  return tokenizer;
}

}  // namespace

TinyModel make_tiny_model(bool experts) {
  TinyPlan plan;
  int h = plan.dense_layer(plan.embed());
  if (experts) h = plan.expert_layer(h);
  plan.head(h);
  TinyModel tiny;
  tiny.tensors = plan.b.tensors();
  describe(tiny.model);
  tiny.model.tokenizer = tiny_tokenizer();
  tiny.model.plan = plan.b.finish();
  return tiny;
}

std::vector<std::byte> tiny_plane_bytes(uint32_t tensor, uint32_t plane, uint64_t size_bytes) {
  std::vector<std::byte> bytes(size_bytes);
  uint64_t state = 0x9e3779b97f4a7c15 * (tensor * 8 + plane + 1);
  for (size_t i = 0; i < bytes.size(); ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    uint8_t value = static_cast<uint8_t>(state >> 56);
    // The second byte of f16, and the fourth of f32, decides the exponent: keep numbers finite.
    if (plane == 0 ? i % 2 == 1 : true) value = static_cast<uint8_t>(0x20 | (value & 0x0f));
    bytes[i] = static_cast<std::byte>(value);
  }
  return bytes;
}

Status write_tiny_model(TinyModel&& tiny, const std::filesystem::path& path, uint64_t chunk_bytes) {
  auto writer = BP_TRY(ModelWriter::create(path, AtomicFile::Existing::kReplace));
  for (const auto& tensor : tiny.tensors) {
    BP_TRY(writer->declare_tensor(tensor.name, tensor.format, tensor.shape));
  }
  BP_TRY(writer->begin_weights(std::move(tiny.model)));
  for (uint32_t t = 0; t < tiny.tensors.size(); ++t) {
    for (uint32_t p = 0; writer->plane_bytes(t, p) != 0; ++p) {
      const auto bytes = tiny_plane_bytes(t, p, writer->plane_bytes(t, p));
      for (uint64_t at = 0; at < bytes.size(); at += chunk_bytes) {
        const uint64_t length = std::min<uint64_t>(chunk_bytes, bytes.size() - at);
        BP_TRY(writer->write_plane(t, p, at, std::span(bytes).subspan(at, length)));
      }
    }
  }
  return writer->finish();
}

// ---- files --------------------------------------------------------------------------------------

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "bp_model_XXXXXX").native();
  if (::mkdtemp(name.data()) != nullptr) folder_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

AlignedBuffer::AlignedBuffer(uint64_t size_bytes)
    : storage_(new std::byte[size_bytes + 64]()),
      begin_(reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(storage_.get()) + 63) &
                                          ~uintptr_t{63})),
      size_bytes_(size_bytes) {}

AlignedBuffer::AlignedBuffer(std::span<const std::byte> content) : AlignedBuffer(content.size()) {
  std::copy(content.begin(), content.end(), begin_);
}

AlignedBuffer read_whole_file(const std::filesystem::path& path) {
  auto file = File::open(path);
  if (!file.ok()) return AlignedBuffer(0);
  AlignedBuffer buffer(file.value()->size_bytes());
  if (!file.value()->read_at(0, buffer.bytes()).ok()) return AlignedBuffer(0);
  return buffer;
}

// ---- walking ------------------------------------------------------------------------------------

namespace {

class Walk {
 public:
  void bytes(std::span<const std::byte> data) {
    for (const std::byte b : data) sum_ = sum_ * 31 + std::to_integer<uint8_t>(b);
  }
  void number(uint64_t value) { sum_ = sum_ * 31 + value; }
  void text(const flatbuffers::String* s) {
    if (s != nullptr) bytes(std::as_bytes(std::span(s->string_view())));
  }
  void linear(const fb::Linear& form, std::span<const uint64_t> symbols) {
    const auto value = evaluate(form, symbols);
    number(value.ok() ? value.value() : 0xbad);
  }

  void weights(const ModelFile& file) {
    for (uint32_t t = 0; t < file.tensor_count(); ++t) {
      const fb::Tensor& tensor = *file.model().tensors()->Get(t);
      text(tensor.name());
      for (const uint64_t dim : *tensor.shape()) number(dim);
      for (uint32_t p = 0; p < tensor.planes()->size(); ++p) {
        const auto data = file.plane(t, p);
        if (!data.empty()) bytes(data.first(1)), bytes(data.last(1));
      }
    }
  }

  void plan(const fb::Plan& plan) {
    std::vector<uint64_t> symbols;
    if (plan.symbols() != nullptr) {
      for (const fb::Symbol* s : *plan.symbols()) symbols.push_back(s->maximum());
    }
    for (const fb::Value* value : *plan.values()) {
      text(value->name());
      for (const fb::Dim* dim : *value->shape()) {
        const auto size = evaluate(*dim, symbols);
        number(size.ok() ? size.value() : 0xbad);
      }
      if (value->arena_offset() != nullptr) linear(*value->arena_offset(), symbols);
      if (value->arena_bytes() != nullptr) linear(*value->arena_bytes(), symbols);
    }
    linear(*plan.arena_bytes(), symbols);
    for (const fb::Step* step : *plan.steps()) {
      text(step->op());
      for (const int32_t i : *step->inputs()) {
        if (i >= 0) text(plan.values()->Get(static_cast<uint32_t>(i))->name());
      }
      for (const int32_t i : *step->outputs()) {
        text(plan.values()->Get(static_cast<uint32_t>(i))->name());
      }
      if (step->attributes() == nullptr) continue;
      for (const fb::Attribute* a : *step->attributes()) {
        text(a->name());
        if (const auto* v = a->value_as_StringValue()) text(v->value());
        if (const auto* v = a->value_as_IntValue()) number(static_cast<uint64_t>(v->value()));
      }
    }
    if (plan.ropes() == nullptr) return;
    for (const fb::Rope* rope : *plan.ropes()) {
      for (uint32_t i = 0; i < rope->rotary_dim() / 2; ++i) number(rope->frequencies()->Get(i) > 0);
    }
  }

  void tokenizer(const fb::Tokenizer* t) {
    if (t == nullptr) return;
    text(t->kind());
    text(t->rules());
    const auto& offsets = *t->token_offsets();
    for (uint32_t i = 0; i + 1 < offsets.size(); ++i) {
      if (offsets.Get(i + 1) == offsets.Get(i)) continue;
      bytes(std::as_bytes(std::span(t->token_bytes()->data() + offsets.Get(i),
                                    offsets.Get(i + 1) - offsets.Get(i))));
    }
    if (t->merges() == nullptr) return;
    for (const uint32_t id : *t->merges()) number(offsets.Get(id));
  }

  uint64_t sum() const { return sum_; }

 private:
  uint64_t sum_ = 17;
};

}  // namespace

uint64_t walk_model(const ModelFile& file) {
  Walk walk;
  walk.text(file.model().architecture());
  walk.number(file.model().hyper_parameters()->dim());
  walk.weights(file);
  walk.plan(file.plan());
  walk.tokenizer(file.model().tokenizer());
  if (file.model().chat_templates() != nullptr) {
    for (const fb::ChatTemplate* t : *file.model().chat_templates()) walk.text(t->source());
  }
  return walk.sum();
}

}  // namespace bp::testing
