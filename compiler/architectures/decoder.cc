// SPDX-License-Identifier: Apache-2.0
#include "compiler/architectures/decoder.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "compiler/architectures/weight_finder.h"
#include "core/base/checked.h"
#include "core/base/limits.h"

namespace bp::compiler {
namespace {

constexpr uint64_t kMaxWidth = uint64_t{1} << 24;  // dim, heads × head_dim, ffn_dim
constexpr uint64_t kMaxExperts = 4096;

Status check_range(const char* what, uint64_t value, uint64_t maximum) {
  if (value >= 1 && value <= maximum) return {};
  return error(Code::kCorrupt, "{} is {}, outside 1 … {}", what, value, maximum);
}

Status check_number(const char* what, double value) {
  if (std::isfinite(value) && value >= 0) return {};
  return error(Code::kCorrupt, "{} is {}, which is no finite number from 0 on", what, value);
}

class Builder {
 public:
  Builder(const DecoderSpec& spec, const TensorSource& source, const FormatChooser& choose_format)
      : spec_(spec), finder_(source, choose_format) {}

  Result<Graph> run() {
    graph_.max_context = spec_.context_length;
    add_inputs();
    const Dim rows = symbolic(Symbol::kTokens);
    const ValueId table = graph_.add_weight(BP_TRY(
        finder_.matrix("embedding", whole(spec_.names.embedding, spec_.vocabulary), spec_.dim)));
    Attributes scale;
    if (spec_.embedding_scale != 1) scale["scale"] = spec_.embedding_scale;
    ValueId h = graph_.add_node("embed", {token_ids_, table}, scale, -1, "embedded",
                                {rows, constant(spec_.dim)});
    for (size_t i = 0; i < spec_.layers.size(); ++i) {
      layer_ = static_cast<int32_t>(i);
      prefix_ = fmt::format(fmt::runtime(spec_.names.layer), i);
      h = BP_TRY(add_attention(h, spec_.layers[i]));
      h = BP_TRY(add_feed_forward(h, spec_.layers[i]));
    }
    layer_ = -1;
    BP_TRY(add_output(h, table));
    BP_TRY(finder_.check_all_used(spec_.names));
    return std::move(graph_);
  }

 private:
  static WeightFinder::Slice whole(const std::string& name, uint64_t rows) {
    return {name + ".weight", 0, rows, rows};
  }
  std::string leaf(const std::string& name) const { return prefix_ + name; }
  std::string label(std::string_view what) const {
    return fmt::format("layers/{}/{}", layer_, what);
  }
  std::vector<Dim> rows_of(uint64_t n) const { return {symbolic(Symbol::kTokens), constant(n)}; }

  ValueId add_input(std::string name, std::vector<Dim> shape, std::string format = "i32",
                    int32_t rope = -1) {
    Value value;
    value.name = std::move(name);
    value.role = Role::kInput;
    value.format = std::move(format);
    value.shape = std::move(shape);
    value.rope = rope;
    return graph_.add_value(std::move(value));
  }

  void add_inputs() {
    const Dim tokens = symbolic(Symbol::kTokens);
    const Dim sequences = symbolic(Symbol::kSequences);
    token_ids_ = add_input("token_ids", {tokens});
    positions_ = add_input("positions", {tokens});
    sequence_of_ = add_input("sequence_of", {tokens});
    query_start_ = add_input("query_start", {symbolic(Symbol::kSequences, 1)});
    context_length_ = add_input("context_length", {sequences});
    page_table_ = add_input("page_table", {sequences, symbolic(Symbol::kBlocks)});
    output_rows_ = add_input("output_rows", {symbolic(Symbol::kOutputs)});
    graph_.ropes = spec_.ropes;
    for (size_t i = 0; i < spec_.ropes.size(); ++i) {
      ropes_.push_back(add_input(fmt::format("rope/{}", i),
                                 {tokens, constant(spec_.ropes[i].rotary_dim)}, "f32",
                                 static_cast<int32_t>(i)));
    }
  }

  Result<ValueId> gain(std::string_view what, const std::string& tensor, uint64_t n) {
    return graph_.add_weight(
        BP_TRY(finder_.vector(std::string(what), tensor + ".weight", n, spec_.gain_offset)));
  }

  // x / rms(x) × gain, or x itself where the family has no such norm.
  Result<ValueId> norm(ValueId x, std::string_view what, const std::string& tensor) {
    const ValueId g = BP_TRY(gain(label(what), leaf(tensor), spec_.dim));
    return graph_.add_node("rms_norm", {x, g, kAbsent}, {{"eps", spec_.norm_eps}}, layer_,
                           label(std::string(what) + "ed"), rows_of(spec_.dim));
  }

  // The bias beside a matrix, if the checkpoint has one: `rows` elements from `first` of `total`.
  Result<ValueId> bias(std::string_view what, const std::string& tensor, uint64_t rows,
                       bool required) {
    const std::string name = tensor + ".bias";
    if (!required && !finder_.has(name)) return kAbsent;
    return graph_.add_weight(BP_TRY(finder_.vector(label(what) + "_bias", name, rows, 0)));
  }

  Result<ValueId> linear(ValueId x, std::string_view what, const WeightFinder::Slice& slice,
                         uint64_t columns, ValueId bias_value) {
    const ValueId w = graph_.add_weight(BP_TRY(finder_.matrix(label(what), slice, columns)));
    return graph_.add_node("linear", {x, w, bias_value, kAbsent}, {}, layer_,
                           label(std::string(what) + "_rows"), rows_of(slice.rows));
  }

  // A projection with a tensor of its own.
  Result<ValueId> project(ValueId x, std::string_view what, const std::string& name, uint64_t rows,
                          uint64_t columns, bool bias_required = false) {
    const ValueId b = BP_TRY(bias(what, leaf(name), rows, bias_required));
    return linear(x, what, whole(leaf(name), rows), columns, b);
  }

  // q, k or v: rows of the merged tensor where the checkpoint has that, else their own tensor.
  Result<ValueId> project_qkv(ValueId x, std::string_view what, const std::string& name,
                              uint64_t first_row, uint64_t rows) {
    const TensorNames& names = spec_.names;
    if (!names.qkv.empty() && finder_.has(leaf(names.qkv) + ".weight")) {
      const uint64_t all = (spec_.heads + 2 * spec_.kv_heads) * spec_.head_dim;
      return linear(x, what, {leaf(names.qkv) + ".weight", first_row, rows, all}, spec_.dim,
                    kAbsent);
    }
    return project(x, what, name, rows, spec_.dim, spec_.attention_bias);
  }

  Result<ValueId> rotate(ValueId x, std::string_view what, const std::string& norm_name,
                         uint64_t rows, uint32_t rope) {
    if (!norm_name.empty()) {
      const ValueId g =
          BP_TRY(gain(label(std::string(what) + "_norm"), leaf(norm_name), spec_.head_dim));
      x = graph_.add_node(
          "head_norm", {x, g},
          {{"head_dim", static_cast<int64_t>(spec_.head_dim)}, {"eps", spec_.norm_eps}}, layer_,
          label(std::string(what) + "_normed"), rows_of(rows));
    }
    return graph_.add_node("rope", {x, ropes_[rope]},
                           {{"head_dim", static_cast<int64_t>(spec_.head_dim)},
                            {"rotary_dim", static_cast<int64_t>(spec_.rotary_dim)},
                            {"interleaved", int64_t{spec_.interleaved}}},
                           layer_, label(std::string(what) + "_rotated"), rows_of(rows));
  }

  ValueId add_cache(std::string_view what) {
    Value cache;
    cache.name = label(what);
    cache.role = Role::kState;
    cache.format = "kv";
    cache.shape = {symbolic(Symbol::kPages), constant(spec_.kv_heads), constant(kPageSize),
                   constant(spec_.head_dim)};
    return graph_.add_value(std::move(cache));
  }

  Result<ValueId> add_attention(ValueId h, const LayerSpec& layer) {
    const TensorNames& names = spec_.names;
    const uint64_t q_rows = spec_.heads * spec_.head_dim;
    const uint64_t kv_rows = spec_.kv_heads * spec_.head_dim;
    const ValueId x = BP_TRY(norm(h, "attention_norm", names.attention_norm));
    ValueId q = BP_TRY(project_qkv(x, "q", names.q, 0, q_rows));
    ValueId k = BP_TRY(project_qkv(x, "k", names.k, q_rows, kv_rows));
    const ValueId v = BP_TRY(project_qkv(x, "v", names.v, q_rows + kv_rows, kv_rows));
    q = BP_TRY(rotate(q, "q", names.q_norm, q_rows, layer.rope));
    k = BP_TRY(rotate(k, "k", names.k_norm, kv_rows, layer.rope));
    const ValueId k_cache = add_cache("k_cache");
    const ValueId v_cache = add_cache("v_cache");
    const Attributes shape = {{"heads", static_cast<int64_t>(spec_.heads)},
                              {"kv_heads", static_cast<int64_t>(spec_.kv_heads)},
                              {"head_dim", static_cast<int64_t>(spec_.head_dim)},
                              {"page_size", int64_t{kPageSize}}};
    graph_.nodes.push_back({"kv_write",
                            {k, v, positions_, sequence_of_, page_table_, k_cache, v_cache},
                            {},
                            shape,
                            layer_});
    Attributes attention = shape;
    attention["window"] = static_cast<int64_t>(layer.window);
    attention["scale"] = spec_.attention_scale;
    attention["softcap"] = spec_.attention_softcap;
    ValueId y = graph_.add_node("attention",
                                {q, k_cache, v_cache, query_start_, context_length_, page_table_},
                                std::move(attention), layer_, label("attended"), rows_of(q_rows));
    y = BP_TRY(project(y, "attention_output", names.attention_output, spec_.dim, q_rows));
    if (!names.post_attention_norm.empty()) {
      y = BP_TRY(norm(y, "post_attention_norm", names.post_attention_norm));
    }
    return graph_.add_node("add", {h, y}, {}, layer_, label("after_attention"), rows_of(spec_.dim));
  }

  Result<ValueId> add_feed_forward(ValueId h, const LayerSpec& layer) {
    const TensorNames& names = spec_.names;
    const ValueId x = BP_TRY(norm(h, "ffn_norm", names.ffn_norm));
    ValueId y = layer.experts ? BP_TRY(add_experts(x)) : BP_TRY(add_dense(x));
    if (!names.post_ffn_norm.empty()) {
      y = BP_TRY(norm(y, "post_ffn_norm", names.post_ffn_norm));
    }
    return graph_.add_node("add", {h, y}, {}, layer_, label("after_ffn"), rows_of(spec_.dim));
  }

  ValueId gated(ValueId gate, ValueId up, std::vector<Dim> shape) {
    const ValueId activated = graph_.add_node("activation", {gate}, {{"kind", spec_.activation}},
                                              layer_, label("gate_active"), shape);
    return graph_.add_node("multiply", {activated, up}, {}, layer_, label("gated"),
                           std::move(shape));
  }

  Result<ValueId> add_dense(ValueId x) {
    const TensorNames& names = spec_.names;
    const uint64_t ffn = spec_.ffn_dim;
    const std::string merged = names.gate_up.empty() ? "" : leaf(names.gate_up) + ".weight";
    ValueId gate, up;
    // Phi-3 files of GGUF call the merged tensor by the name of `up`: the gate's absence tells.
    if (!merged.empty() && finder_.has(merged) && !finder_.has(leaf(names.gate) + ".weight")) {
      gate = BP_TRY(linear(x, "gate", {merged, 0, ffn, 2 * ffn}, spec_.dim, kAbsent));
      up = BP_TRY(linear(x, "up", {merged, ffn, ffn, 2 * ffn}, spec_.dim, kAbsent));
    } else {
      gate = BP_TRY(project(x, "gate", names.gate, ffn, spec_.dim));
      up = BP_TRY(project(x, "up", names.up, ffn, spec_.dim));
    }
    const ValueId y = gated(gate, up, rows_of(ffn));
    return project(y, "down", names.down, spec_.dim, ffn);
  }

  // One of the experts' matrices, in whichever layout the checkpoint has: all in one tensor, one
  // tensor each, or a half of one tensor for gate and up (`first_row` of `tensor_rows`).
  Result<ValueId> experts_weight(std::string_view what, const std::string& stacked,
                                 const std::string& each, uint64_t first_row, uint64_t rows,
                                 uint64_t columns) {
    const TensorNames& names = spec_.names;
    const bool is_half = what != "experts_down";
    if (!stacked.empty() && finder_.has(leaf(stacked))) {
      return graph_.add_weight(BP_TRY(
          finder_.stacked(label(what), {leaf(stacked), 0, rows, rows}, spec_.experts, columns)));
    }
    if (is_half && !names.stacked_gate_up.empty() && finder_.has(leaf(names.stacked_gate_up))) {
      return graph_.add_weight(BP_TRY(
          finder_.stacked(label(what), {leaf(names.stacked_gate_up), first_row, rows, 2 * rows},
                          spec_.experts, columns)));
    }
    std::vector<std::string> tensors;
    for (uint64_t e = 0; e < spec_.experts; ++e) {
      tensors.push_back(leaf(fmt::format(fmt::runtime(each), e)));
    }
    return graph_.add_weight(BP_TRY(finder_.gathered(label(what), tensors, rows, columns)));
  }

  Result<ValueId> add_experts(ValueId x) {
    const TensorNames& names = spec_.names;
    const uint64_t ffn = spec_.expert_ffn_dim;
    const uint64_t used = spec_.experts_used;
    const ValueId router = graph_.add_weight(BP_TRY(finder_.matrix_f32(
        label("router"), leaf(names.router) + ".weight", spec_.experts, spec_.dim)));
    const ValueId scores = graph_.add_node("linear", {x, router, kAbsent, kAbsent}, {}, layer_,
                                           label("router_logits"), rows_of(spec_.experts));
    const ValueId ids = graph_.add_scratch(label("expert_ids"), rows_of(used), "i32");
    const ValueId weights = graph_.add_scratch(label("expert_weights"), rows_of(used));
    graph_.nodes.push_back({"moe_route",
                            {scores},
                            {ids, weights},
                            {{"experts_used", static_cast<int64_t>(used)},
                             {"normalize", int64_t{spec_.normalize_experts}}},
                            layer_});
    const ValueId gate_w = BP_TRY(
        experts_weight("experts_gate", names.stacked_gate, names.expert_gate, 0, ffn, spec_.dim));
    const ValueId up_w = BP_TRY(
        experts_weight("experts_up", names.stacked_up, names.expert_up, ffn, ffn, spec_.dim));
    const ValueId down_w = BP_TRY(
        experts_weight("experts_down", names.stacked_down, names.expert_down, 0, spec_.dim, ffn));
    const std::vector<Dim> shape = {symbolic(Symbol::kTokens), constant(used), constant(ffn)};
    const ValueId gate =
        graph_.add_node("expert_linear", {x, gate_w, ids}, {}, layer_, label("gate_rows"), shape);
    const ValueId up =
        graph_.add_node("expert_linear", {x, up_w, ids}, {}, layer_, label("up_rows"), shape);
    const ValueId y = gated(gate, up, shape);
    return graph_.add_node("moe_linear", {y, down_w, ids, weights, kAbsent}, {}, layer_,
                           label("experts_sum"), rows_of(spec_.dim));
  }

  Status add_output(ValueId h, ValueId embedding) {
    const Dim outputs = symbolic(Symbol::kOutputs);
    // Rows are gathered first: the norm and the largest matrix then see only what is asked for.
    const ValueId rows = graph_.add_node("gather_rows", {h, output_rows_}, {}, -1, "last_rows",
                                         {outputs, constant(spec_.dim)});
    const ValueId g = BP_TRY(gain("final_norm", spec_.names.final_norm, spec_.dim));
    const ValueId x = graph_.add_node("rms_norm", {rows, g, kAbsent}, {{"eps", spec_.norm_eps}}, -1,
                                      "final_normed", {outputs, constant(spec_.dim)});
    ValueId w = embedding;
    if (!spec_.tied_output) {
      w = graph_.add_weight(
          BP_TRY(finder_.matrix("output", whole(spec_.names.output, spec_.vocabulary), spec_.dim)));
    }
    const std::vector<Dim> shape = {outputs, constant(spec_.vocabulary)};
    ValueId logits = graph_.add_node("linear", {x, w, kAbsent, kAbsent}, {}, -1, "logits", shape);
    if (spec_.logit_softcap > 0) {
      logits =
          graph_.add_node("softcap", {logits}, {{"cap", spec_.logit_softcap}}, -1, "logits", shape);
    }
    graph_.values[static_cast<size_t>(logits)].role = Role::kOutput;
    return {};
  }

  const DecoderSpec& spec_;
  WeightFinder finder_;
  Graph graph_;
  std::string prefix_;
  int32_t layer_ = -1;
  ValueId token_ids_ = kAbsent, positions_ = kAbsent, sequence_of_ = kAbsent;
  ValueId query_start_ = kAbsent, context_length_ = kAbsent, page_table_ = kAbsent;
  ValueId output_rows_ = kAbsent;
  std::vector<ValueId> ropes_;
};

}  // namespace

Status check_spec(const DecoderSpec& spec) {
  BP_TRY(check_range("the vocabulary", spec.vocabulary, limits::kMaxVocabulary));
  BP_TRY(check_range("the embedding length", spec.dim, kMaxWidth));
  BP_TRY(check_range("the number of heads", spec.heads, kMaxWidth));
  BP_TRY(check_range("the number of key/value heads", spec.kv_heads, kMaxWidth));
  BP_TRY(check_range("the head dimension", spec.head_dim, kMaxWidth));
  BP_TRY(check_range("heads × head dimension", BP_TRY(checked_mul(spec.heads, spec.head_dim)),
                     kMaxWidth));
  BP_TRY(check_range("key/value heads × head dimension",
                     BP_TRY(checked_mul(spec.kv_heads, spec.head_dim)), kMaxWidth));
  BP_TRY(check_range("the context length", spec.context_length, limits::kMaxContext));
  BP_TRY(check_range("the number of layers", spec.layers.size(), limits::kMaxLayers));
  if (spec.heads % spec.kv_heads != 0) {
    return error(Code::kCorrupt, "{} heads cannot share {} key/value heads evenly", spec.heads,
                 spec.kv_heads);
  }
  if (spec.rotary_dim < 2 || spec.rotary_dim % 2 != 0 || spec.rotary_dim > spec.head_dim) {
    return error(Code::kCorrupt, "{} of {} elements of a head cannot be rotated in pairs",
                 spec.rotary_dim, spec.head_dim);
  }
  BP_TRY(check_number("the norms' epsilon", spec.norm_eps));
  BP_TRY(check_number("the attention scale", spec.attention_scale));
  BP_TRY(check_number("the attention soft cap", spec.attention_softcap));
  BP_TRY(check_number("the logit soft cap", spec.logit_softcap));
  BP_TRY(check_number("the embedding scale", spec.embedding_scale));
  for (const LayerSpec& layer : spec.layers) {
    if (layer.rope >= spec.ropes.size()) return error(Code::kInternal, "a layer has no rope");
    if (layer.window > limits::kMaxContext) {
      return error(Code::kCorrupt, "a sliding window of {} positions is out of range",
                   layer.window);
    }
    if (!layer.experts) {
      BP_TRY(check_range("the feed-forward length", spec.ffn_dim, kMaxWidth));
      continue;
    }
    BP_TRY(check_range("the number of experts", spec.experts, kMaxExperts));
    BP_TRY(check_range("the number of experts used", spec.experts_used, spec.experts));
    BP_TRY(check_range("the experts' feed-forward length", spec.expert_ffn_dim, kMaxWidth));
  }
  return {};
}

Result<Graph> build_decoder(const DecoderSpec& spec, const TensorSource& source,
                            const FormatChooser& choose_format) {
  BP_TRY(check_spec(spec));
  return Builder(spec, source, choose_format).run();
}

}  // namespace bp::compiler
