// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/samples.h"

namespace bp::conformance {
namespace {

constexpr uint64_t kColumns = 256;
constexpr uint64_t kRows = 24;
constexpr uint64_t kHeads = 4, kKvHeads = 2, kHeadDim = 64, kPageSize = 16;

OpRecord attention_sample() {
  OpRecord out("attention");
  const std::vector<bp_dim> cache = {dim(kPages), constant(kKvHeads), constant(kPageSize),
                                     constant(kHeadDim)};
  out.input("f32", {dim(kTokens), constant(kHeads * kHeadDim)});
  out.state("f16", cache).state("f16", cache);
  out.input("i32", {dim(kSequences, 1)}).input("i32", {dim(kSequences)});
  out.input("i32", {dim(kSequences), dim(kBlocks)});
  out.output("f32", {dim(kTokens), constant(kHeads * kHeadDim)});
  out.attribute("heads", int64_t{kHeads}).attribute("kv_heads", int64_t{kKvHeads});
  out.attribute("head_dim", int64_t{kHeadDim}).attribute("page_size", int64_t{kPageSize});
  out.attribute("window", 0).attribute("scale", 0.125).attribute("softcap", 0.0);
  return out;
}

OpRecord rope_sample() {
  OpRecord out("rope_kv_write");
  const std::vector<bp_dim> cache = {dim(kPages), constant(kKvHeads), constant(kPageSize),
                                     constant(kHeadDim)};
  out.input("f32", {dim(kTokens), constant((kHeads + 2 * kKvHeads) * kHeadDim)});
  out.absent().absent().input("f32", {dim(kTokens), constant(kHeadDim)}).absent().absent();
  out.input("i32", {dim(kTokens)}).input("i32", {dim(kTokens)});
  out.input("i32", {dim(kSequences), dim(kBlocks)});
  out.state("f16", cache).state("f16", cache);
  out.output("f32", {dim(kTokens), constant(kHeads * kHeadDim)});
  out.attribute("heads", int64_t{kHeads}).attribute("kv_heads", int64_t{kKvHeads});
  out.attribute("head_dim", int64_t{kHeadDim}).attribute("rotary_dim", int64_t{kHeadDim});
  out.attribute("interleaved", 0).attribute("page_size", int64_t{kPageSize});
  out.attribute("norm_eps", 1e-6);
  return out;
}

}  // namespace

SymbolRanges sample_ranges() {
  return ranges_up_to({16, 4, 4, 12, 8});
}

OpRecord sample_record(std::string_view op, std::string_view format) {
  OpRecord out{std::string(op)};
  const std::vector<bp_dim> x = {dim(kTokens), constant(kColumns)};
  const std::vector<bp_dim> y = {dim(kTokens), constant(kRows)};
  if (op == "embed") {
    out.input("i32", {dim(kTokens)}).weight(Weight::random(format, {kRows, kColumns}, 1));
    out.output("f32", x);
  } else if (op == "rms_norm") {
    out.input("f32", x).weight(Weight::vector(kColumns, 2)).absent().output("f32", x);
    out.attribute("eps", 1e-6);
  } else if (op == "layer_norm") {
    out.input("f32", x).weight(Weight::vector(kColumns, 2)).weight(Weight::vector(kColumns, 7));
    out.absent().output("f32", x).attribute("eps", 1e-6);
  } else if (op == "linear") {
    out.input("f32", x).weight(Weight::random(format, {kRows, kColumns}, 3)).absent().absent();
    out.output("f32", y).attribute("activation", std::string("silu")).attribute("softcap", 0.0);
  } else if (op == "linear_glu") {
    out.input("f32", x).weight(Weight::random(format, {2 * kRows, kColumns}, 4)).absent().absent();
    out.output("f32", y).attribute("activation", std::string("silu"));
  } else if (op == "gather_rows") {
    out.input("f32", x).input("i32", {dim(kOutputs)});
    out.output("f32", {dim(kOutputs), constant(kColumns)});
  } else if (op == "moe_route") {
    out.input("f32", {dim(kTokens), constant(8)});
    out.output("i32", {dim(kTokens), constant(2)}).output("f32", {dim(kTokens), constant(2)});
    out.attribute("experts_used", 2).attribute("normalize", 1);
  } else if (op == "moe_linear_glu") {
    out.input("f32", x).weight(Weight::random(format, {4, 2 * kRows, kColumns}, 5));
    out.input("i32", {dim(kTokens), constant(2)}).absent();
    out.output("f32", {dim(kTokens), constant(2), constant(kRows)});
    out.attribute("activation", std::string("silu"));
  } else if (op == "moe_linear") {
    out.input("f32", {dim(kTokens), constant(2), constant(kColumns)});
    out.weight(Weight::random(format, {4, kRows, kColumns}, 6));
    out.input("i32", {dim(kTokens), constant(2)}).input("f32", {dim(kTokens), constant(2)});
    out.absent().output("f32", y);
  } else if (op == "attention") {
    return attention_sample();
  } else if (op == "rope_kv_write") {
    return rope_sample();
  }
  return out;
}

std::vector<OpRecord> sample_records(std::string_view format) {
  std::vector<OpRecord> out;
  for (const char* op : {"embed", "rms_norm", "layer_norm", "linear", "linear_glu", "rope_kv_write",
                         "attention", "gather_rows", "moe_route", "moe_linear_glu", "moe_linear"}) {
    out.push_back(sample_record(op, format));
  }
  return out;
}

}  // namespace bp::conformance
