// SPDX-License-Identifier: Apache-2.0
// One edit of a valid model for every rule that the verifier holds: the edit has to be refused,
// with the right code and for the right reason.
#include "model_format/verify.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <ostream>

#include "core/base/limits.h"
#include "model_format/layout.h"
#include "model_format/tiny_model.h"

namespace bp {
namespace {

using testing::float_attribute;
using testing::int_attribute;
using testing::string_attribute;

// The finished tiny model as an object, to be edited and packed again.
struct Base {
  Base() {
    const testing::TemporaryFolder folder;
    const auto path = folder.path("tiny.bpm");
    status = testing::write_tiny_model(testing::make_tiny_model(true), path);
    const auto file = ModelFile::open(path);
    if (!file.ok()) return;
    file.value()->model().UnPackTo(&model);
    file_bytes = file.value()->size_bytes();
  }
  Status status;
  fb::ModelT model;
  uint64_t file_bytes = 0;
};

const Base& base() {
  static const Base kBase;
  return kBase;
}

Status verify_object(const fb::ModelT& model, uint64_t file_bytes) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(fb::Model::Pack(builder, &model), fb::ModelIdentifier());
  return verify_model(std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize())),
                      file_bytes);
}

fb::ValueT& value(fb::ModelT& m, const std::string& name) {
  for (auto& v : m.plan->values) {
    if (v->name == name) return *v;
  }
  ADD_FAILURE() << "no value " << name;
  return *m.plan->values[0];
}
int index_of(const fb::ModelT& m, const std::string& name) {
  for (size_t i = 0; i < m.plan->values.size(); ++i) {
    if (m.plan->values[i]->name == name) return static_cast<int>(i);
  }
  ADD_FAILURE() << "no value " << name;
  return 0;
}
// The n-th step of an op.
fb::StepT& step(fb::ModelT& m, const std::string& op, int n = 0) {
  for (auto& s : m.plan->steps) {
    if (s->op == op && n-- == 0) return *s;
  }
  ADD_FAILURE() << "no step " << op;
  return *m.plan->steps[0];
}
fb::AttributeT& attribute(fb::StepT& s, const std::string& name) {
  for (auto& a : s.attributes) {
    if (a->name == name) return *a;
  }
  ADD_FAILURE() << "no attribute " << name;
  return *s.attributes[0];
}
void set(fb::StepT& s, testing::PlanBuilder::Attribute to) {
  attribute(s, to.name).value = std::move(to.value);
}
void remove(fb::StepT& s, const std::string& name) {
  std::erase_if(s.attributes, [&](const auto& a) { return a->name == name; });
}
fb::Dim constant(uint64_t n) {
  return fb::Dim(-1, 0, 0, n);
}

struct Edit {
  const char* name;
  std::function<void(fb::ModelT&)> apply;
  Code code;
  const char* reason;  // part of the message
};
void PrintTo(const Edit& edit, std::ostream* out) {
  *out << edit.name;
}

class Verifier : public ::testing::TestWithParam<Edit> {};

TEST_P(Verifier, refuses_the_edit_for_its_reason) {
  ASSERT_TRUE(base().status.ok()) << base().status.to_string();
  fb::ModelT model(base().model);
  GetParam().apply(model);
  const Status status = verify_object(model, base().file_bytes);
  EXPECT_EQ(status.code(), GetParam().code) << status.to_string();
  EXPECT_NE(status.message().find(GetParam().reason), std::string_view::npos) << status.to_string();
}

std::string edit_name(const ::testing::TestParamInfo<Edit>& info) {
  return info.param.name;
}

#define EDIT(name, code, reason, ...)                              \
  Edit {                                                           \
#name, [](fb::ModelT & m) { __VA_ARGS__; }, Code::code, reason \
  }

const Edit kWeightEdits[] = {
    EDIT(format_version_differs, kCorrupt, "format version", m.format_version = 2),
    EDIT(segment_misaligned, kCorrupt, "not in units", m.segments[0]->offset += 64),
    EDIT(segment_inside_plan, kCorrupt, "begins at byte", m.segments[0]->offset = 0),
    EDIT(segment_far_away, kCorrupt, "begins at byte", m.segments[0]->offset = uint64_t{1} << 40),
    EDIT(segment_empty, kCorrupt, "empty", m.segments[0]->bytes = 0),
    EDIT(segment_too_long, kCorrupt, "reaches past", m.segments[0]->bytes += 65536),
    EDIT(segment_overflows, kCorrupt, "reaches past", m.segments[0]->bytes = UINT64_MAX - 65535),
    EDIT(segment_missing, kCorrupt, "contents end", m.segments.clear()),
    EDIT(segment_repeated, kCorrupt, "begins at byte",
         m.segments.push_back(std::make_unique<fb::SegmentT>(*m.segments[0]))),
    EDIT(segment_digest_short, kCorrupt, "digest of 31", m.segments[0]->sha256.resize(31)),
    EDIT(segment_digest_wrong, kCorrupt, "tensors' digests", m.segments[0]->sha256[3] ^= 1),
    EDIT(tensor_digest_wrong, kCorrupt, "tensors' digests", m.tensors[2]->sha256[0] ^= 1),
    EDIT(tensor_digest_missing, kCorrupt, "digest of 0", m.tensors[2]->sha256.clear()),
    EDIT(tensor_unnamed, kCorrupt, "tensor 1 has a name of 0", m.tensors[1]->name.clear()),
    EDIT(tensor_name_long, kCorrupt, "has a name of 513",
         m.tensors[1]->name = std::string(513, 'x')),
    EDIT(tensor_name_with_control, kCorrupt, "control", m.tensors[1]->name = "a\033[2J"),
    EDIT(tensor_name_not_utf8, kCorrupt, "UTF-8", m.tensors[1]->name = "a\xc3("),
    EDIT(tensor_name_surrogate, kCorrupt, "UTF-8", m.tensors[1]->name = "\xed\xa0\x80"),
    EDIT(tensor_name_overlong, kCorrupt, "UTF-8", m.tensors[1]->name = "\xc0\xaf"),
    EDIT(tensor_name_twice, kCorrupt, "same name", m.tensors[1]->name = m.tensors[4]->name),
    EDIT(tensor_format_unknown, kIncompatible, "'q9_g99'", m.tensors[2]->format = "q9_g99"),
    EDIT(tensor_format_missing, kCorrupt, "no format", m.tensors[2]->format.clear()),
    EDIT(tensor_without_shape, kCorrupt, "no shape", m.tensors[2]->shape.clear()),
    EDIT(tensor_dimension_zero, kCorrupt, "is 0", m.tensors[2]->shape[0] = 0),
    EDIT(tensor_shape_overflows, kCorrupt, "elements",
         m.tensors[2]->shape = {uint64_t{1} << 33, uint64_t{1} << 33}),
    EDIT(tensor_rank_nine, kCorrupt, "9 dimensions",
         m.tensors[2]->shape = std::vector<uint64_t>(9, 1)),
    EDIT(tensor_not_whole_blocks, kCorrupt, "multiple of", m.tensors[2]->shape[1] = 33),
    EDIT(tensor_plane_missing, kCorrupt, "1 planes", m.tensors[2]->planes.pop_back()),
    EDIT(tensor_plane_renamed, kCorrupt, "is not 'scales'",
         m.tensors[2]->planes[1]->layout = "minima"),
    EDIT(tensor_planes_swapped, kCorrupt, "is not 'quants'",
         std::swap(m.tensors[2]->planes[0], m.tensors[2]->planes[1])),
    EDIT(plane_too_short, kCorrupt, "its shape needs", m.tensors[2]->planes[0]->bytes -= 1),
    EDIT(plane_too_long, kCorrupt, "its shape needs", m.tensors[2]->planes[0]->bytes = UINT64_MAX),
    EDIT(plane_dangling, kCorrupt, "does not exist", m.tensors[2]->planes[0]->segment = 1),
    EDIT(plane_aliased, kCorrupt, "not where",
         m.tensors[2]->planes[0]->offset = m.tensors[1]->planes[0]->offset),
    EDIT(plane_misplaced, kCorrupt, "not where", m.tensors[2]->planes[0]->offset += 64),
    EDIT(plane_offset_huge, kCorrupt, "not where",
         m.tensors[2]->planes[0]->offset = UINT64_MAX - 63),
    EDIT(tensor_dropped, kCorrupt, "not where", m.tensors.erase(m.tensors.begin() + 3)),
    EDIT(no_tensors, kCorrupt, "without tensors", m.tensors.clear()),
};
INSTANTIATE_TEST_SUITE_P(Weights, Verifier, ::testing::ValuesIn(kWeightEdits), edit_name);

const float kNan = std::numeric_limits<float>::quiet_NaN();
const Edit kTextEdits[] = {
    EDIT(architecture_missing, kCorrupt, "architecture", m.architecture.clear()),
    EDIT(licence_not_utf8, kCorrupt, "licence", m.licence = "\xff"),
    EDIT(source_without_digest, kCorrupt, "source 0", m.sources[0]->sha256.clear()),
    EDIT(source_unnamed, kCorrupt, "source 0", m.sources[0]->name.clear()),
    EDIT(metric_nan, kCorrupt, "not a finite", m.metrics[0]->value = kNan),
    EDIT(
        metrics_too_many, kCorrupt, "at most", m.metrics.clear(); for (int i = 0; i < 1025; ++i) {
          m.metrics.push_back(std::make_unique<fb::MetricT>());
          m.metrics.back()->name = "m";
        }),
    EDIT(no_hyper_parameters, kCorrupt, "no hyper-parameters", m.hyper_parameters.reset()),
    EDIT(no_vocabulary, kCorrupt, "vocabulary is 0", m.hyper_parameters->vocabulary = 0),
    EDIT(vocabulary_huge, kCorrupt, "vocabulary is",
         m.hyper_parameters->vocabulary = uint64_t{1} << 40),
    EDIT(layers_too_many, kCorrupt, "layers is", m.hyper_parameters->layers = 1025),
    EDIT(more_kv_heads_than_heads, kCorrupt, "kv_heads is", m.hyper_parameters->kv_heads = 3),
    EDIT(more_experts_used_than_there_are, kCorrupt, "experts_used is",
         m.hyper_parameters->experts_used = 9),
    EDIT(context_huge, kCorrupt, "context_length is",
         m.hyper_parameters->context_length = UINT64_MAX),
    EDIT(temperature_nan, kCorrupt, "sampling default", m.generation->temperature = kNan),
    EDIT(stop_id_huge, kCorrupt, "stop id", m.generation->stop_ids = {UINT32_MAX}),
    EDIT(tokenizer_kind_unknown, kIncompatible, "'wordpiece'", m.tokenizer->kind = "wordpiece"),
    EDIT(tokenizer_without_offsets, kCorrupt, "0 token offsets",
         m.tokenizer->token_offsets.clear()),
    EDIT(tokenizer_offsets_fall, kCorrupt, "spans bytes", m.tokenizer->token_offsets[3] = 1),
    EDIT(tokenizer_offset_huge, kCorrupt, "spans bytes",
         m.tokenizer->token_offsets[3] = UINT32_MAX),
    EDIT(tokenizer_begins_late, kCorrupt, "run from 1", m.tokenizer->token_offsets[0] = 1),
    EDIT(tokenizer_ends_early, kCorrupt, "run from", m.tokenizer->token_bytes.push_back(1)),
    EDIT(tokenizer_scores_short, kCorrupt, "scores", m.tokenizer->scores.pop_back()),
    EDIT(tokenizer_score_nan, kCorrupt, "score of token 2", m.tokenizer->scores[2] = kNan),
    EDIT(tokenizer_types_long, kCorrupt, "types", m.tokenizer->types.push_back(1)),
    EDIT(tokenizer_merges_odd, kCorrupt, "odd", m.tokenizer->merges.push_back(1)),
    EDIT(tokenizer_merge_dangling, kCorrupt, "merge 1 names", m.tokenizer->merges[3] = 40),
    EDIT(tokenizer_rules_not_utf8, kCorrupt, "rules", m.tokenizer->rules = "\x80"),
    EDIT(template_unnamed, kCorrupt, "chat template 0", m.chat_templates[0]->name.clear()),
    EDIT(template_empty, kCorrupt, "no source", m.chat_templates[0]->source.clear()),
    EDIT(template_name_twice, kCorrupt, "are called",
         m.chat_templates.push_back(std::make_unique<fb::ChatTemplateT>(*m.chat_templates[0]))),
};
INSTANTIATE_TEST_SUITE_P(Text, Verifier, ::testing::ValuesIn(kTextEdits), edit_name);

const Edit kValueEdits[] = {
    EDIT(no_plan, kCorrupt, "no plan", m.plan.reset()),
    EDIT(symbol_unknown, kIncompatible, "'batch'", m.plan->symbols[1]->name = "batch"),
    EDIT(symbol_twice, kCorrupt, "two symbols", m.plan->symbols[1]->name = "tokens"),
    EDIT(symbol_range_empty, kCorrupt, "runs from", m.plan->symbols[0]->minimum = 513),
    EDIT(symbol_maximum_zero, kCorrupt, "runs from", m.plan->symbols[0]->minimum = 0;
         m.plan->symbols[0]->maximum = 0),
    EDIT(symbol_huge, kCorrupt, "runs from", m.plan->symbols[0]->maximum = UINT64_MAX),
    EDIT(page_size_zero, kCorrupt, "page of 0", m.plan->page_size = 0),
    EDIT(rope_odd, kCorrupt, "rotates 15", m.plan->ropes[0]->rotary_dim = 15),
    EDIT(rope_frequencies_short, kCorrupt, "7 frequencies",
         m.plan->ropes[0]->frequencies.pop_back()),
    EDIT(rope_frequency_nan, kCorrupt, "not finite", m.plan->ropes[0]->frequencies[1] = kNan),
    EDIT(rope_factor_nan, kCorrupt, "not finite", m.plan->ropes[0]->attention_factor = kNan),
    EDIT(rope_long_without_border, kCorrupt, "for contexts above 0",
         m.plan->ropes[0]->long_frequencies = m.plan->ropes[0]->frequencies),
    EDIT(rope_border_without_long, kCorrupt, "0 frequencies for",
         m.plan->ropes[0]->long_from = 100),
    EDIT(no_values, kCorrupt, "0 values", m.plan->values.clear()),
    EDIT(value_name_twice, kCorrupt, "same name", value(m, "0/product").name = "h"),
    EDIT(value_unnamed, kCorrupt, "name of 0", value(m, "h").name.clear()),
    EDIT(value_without_format, kCorrupt, "format of value", value(m, "h").format.clear()),
    EDIT(value_without_shape, kCorrupt, "0 dimensions", value(m, "h").shape.clear()),
    EDIT(value_rank_nine, kCorrupt, "9 dimensions", value(m, "h").shape.assign(9, constant(1))),
    EDIT(dimension_zero, kCorrupt, "dimension 1", value(m, "h").shape[1] = constant(0)),
    EDIT(dimension_symbol_dangling, kCorrupt, "names symbol 5",
         value(m, "h").shape[0] = fb::Dim(5, 0, 1, 0)),
    EDIT(dimension_symbol_negative, kCorrupt, "symbol -2",
         value(m, "h").shape[0] = fb::Dim(-2, 0, 0, 1)),
    EDIT(dimension_scale_zero, kCorrupt, "constant or may exceed",
         value(m, "h").shape[0] = fb::Dim(0, 0, 0, 1)),
    EDIT(dimension_overflows, kCorrupt, "constant or may exceed",
         value(m, "h").shape[0] = fb::Dim(0, 0, UINT64_MAX, 1)),
    EDIT(dimension_reserved, kCorrupt, "reserved", value(m, "h").shape[0] = fb::Dim(0, 1, 1, 0)),
    EDIT(role_unknown, kIncompatible, "has role 9", value(m, "h").role = static_cast<fb::Role>(9);
         value(m, "h").arena_offset.reset(); value(m, "h").arena_bytes.reset()),
    EDIT(weight_dangling, kCorrupt, "refers to tensor 999", value(m, "embedding").tensor = 999),
    EDIT(weight_without_tensor, kCorrupt, "refers to tensor -1", value(m, "embedding").tensor = -1),
    EDIT(weight_format_differs, kCorrupt, "its tensor", value(m, "embedding").format = "bf16"),
    EDIT(weight_shape_differs, kCorrupt, "another shape",
         value(m, "embedding").shape[0] = constant(41)),
    EDIT(weight_shape_symbolic, kCorrupt, "another shape",
         value(m, "embedding").shape[0] = fb::Dim(0, 0, 1, 0)),
    EDIT(weight_rank_differs, kCorrupt, "another shape", value(m, "embedding").shape.pop_back()),
    EDIT(weight_in_arena, kCorrupt, "place in the arena",
         value(m, "embedding").arena_offset = std::make_unique<fb::LinearT>()),
    EDIT(scratch_with_tensor, kCorrupt, "refers to a tensor", value(m, "h").tensor = 0),
    EDIT(scratch_with_rope, kCorrupt, "refers to a tensor or rotary", value(m, "h").rope = 0),
    EDIT(input_unknown, kIncompatible, "input", value(m, "positions").name = "segments"),
    EDIT(input_wrong_shape, kCorrupt, "is not i32",
         value(m, "positions").shape[0] = fb::Dim(1, 0, 1, 0)),
    EDIT(input_wrong_offset, kCorrupt, "is not i32",
         value(m, "query_start").shape[0] = fb::Dim(1, 0, 1, 0)),
    EDIT(input_wrong_rank, kCorrupt, "is not i32", value(m, "page_table").shape.pop_back()),
    EDIT(input_wrong_format, kCorrupt, "is not i32", value(m, "positions").format = "f32"),
    EDIT(rope_input_dangling, kCorrupt, "rotary table 1 of 1", value(m, "rope/0").rope = 1),
    EDIT(rope_input_unlinked, kCorrupt, "rotary table -1", value(m, "rope/0").rope = -1),
    EDIT(rope_input_misnamed, kCorrupt, "has to be 'rope/0'", value(m, "rope/0").name = "rope/1"),
    EDIT(rope_input_wrong_width, kCorrupt, "[tokens, rotary_dim]",
         value(m, "rope/0").shape[1] = constant(8)),
    EDIT(state_format_unknown, kIncompatible, "'kv' only", value(m, "0/k_cache").format = "f16"),
    EDIT(state_wrong_page, kCorrupt, "[pages", value(m, "0/k_cache").shape[2] = constant(32)),
    EDIT(state_not_paged, kCorrupt, "[pages", value(m, "0/k_cache").shape[0] = constant(32)),
    EDIT(state_rank, kCorrupt, "[pages", value(m, "0/k_cache").shape.pop_back()),
    EDIT(output_unknown, kIncompatible, "output", value(m, "logits").name = "hidden"),
    EDIT(output_wrong_width, kCorrupt, "[outputs, 40]", value(m, "logits").shape[1] = constant(39)),
    EDIT(output_wrong_symbol, kCorrupt, "[outputs, 40]",
         value(m, "logits").shape[0] = fb::Dim(0, 0, 1, 0)),
    EDIT(no_output, kCorrupt, "0 outputs", value(m, "logits").role = fb::Role::Scratch),
    EDIT(scratch_format, kCorrupt, "activations are", value(m, "h").format = "f16"),
    EDIT(scratch_two_symbols, kCorrupt, "only the first",
         value(m, "h").shape[1] = fb::Dim(1, 0, 1, 0)),
    EDIT(scratch_unplaced, kCorrupt, "arena offset: is missing",
         value(m, "h").arena_offset.reset()),
    EDIT(scratch_without_bytes, kCorrupt, "arena bytes: is missing",
         value(m, "h").arena_bytes.reset()),
    EDIT(scratch_too_large, kCorrupt, "may need more",
         value(m, "h").shape[1] = constant(uint64_t{1} << 42)),
    EDIT(arena_room_too_small, kCorrupt, "less room",
         value(m, "h").arena_bytes->terms[0] = fb::Term(0, 0, 64)),
    EDIT(arena_room_of_another_symbol, kCorrupt, "less room",
         value(m, "h").arena_bytes->terms[0] = fb::Term(1, 0, 128)),
    EDIT(arena_offset_unaligned, kCorrupt, "multiple of 64",
         value(m, "h").arena_offset->offset = 4),
    EDIT(arena_term_dangling, kCorrupt, "dangling",
         value(m, "h").arena_bytes->terms[0] = fb::Term(5, 0, 128)),
    EDIT(arena_term_zero, kCorrupt, "zero",
         value(m, "h").arena_bytes->terms[0] = fb::Term(0, 0, 0)),
    EDIT(arena_term_reserved, kCorrupt, "term 0",
         value(m, "h").arena_bytes->terms[0] = fb::Term(0, 1, 128)),
    EDIT(arena_terms_unordered, kCorrupt, "out of order",
         value(m, "h").arena_bytes->terms = {fb::Term(1, 0, 128), fb::Term(0, 0, 128)}),
    EDIT(arena_terms_repeated, kCorrupt, "out of order",
         value(m, "h").arena_bytes->terms = {fb::Term(0, 0, 128), fb::Term(0, 0, 128)}),
    EDIT(arena_terms_too_many, kCorrupt, "6 terms",
         value(m, "h").arena_bytes->terms.assign(6, fb::Term(0, 0, 128))),
    EDIT(arena_offset_huge, kCorrupt, "may exceed",
         value(m, "h").arena_offset->offset = UINT64_MAX - 63),
    EDIT(arena_term_huge, kCorrupt, "too large",
         value(m, "h").arena_bytes->terms[0] = fb::Term(0, 0, UINT64_MAX)),
    EDIT(arena_missing, kCorrupt, "size of the arena", m.plan->arena_bytes.reset()),
    EDIT(arena_too_small, kCorrupt, "past the end", m.plan->arena_bytes->terms.pop_back()),
};
INSTANTIATE_TEST_SUITE_P(Values, Verifier, ::testing::ValuesIn(kValueEdits), edit_name);

const Edit kStepEdits[] = {
    EDIT(no_steps, kCorrupt, "0 steps", m.plan->steps.clear()),
    EDIT(op_missing, kCorrupt, "op 0 has a name", step(m, "linear").op.clear()),
    EDIT(op_unknown, kIncompatible, "op 'softmax' is unknown", step(m, "linear").op = "softmax"),
    EDIT(op_version_newer, kIncompatible, "'linear' version 2", step(m, "linear").version = 2),
    EDIT(op_version_newest_named, kIncompatible, "knows up to 1", step(m, "linear").version = 7),
    EDIT(op_version_zero, kCorrupt, "version 0", step(m, "linear").version = 0),
    EDIT(layer_dangling, kCorrupt, "layer 2 of 2", step(m, "linear").layer = 2),
    EDIT(layer_negative, kCorrupt, "layer -2", step(m, "linear").layer = -2),
    EDIT(operand_left_out, kCorrupt, "3 inputs", step(m, "linear").inputs.pop_back()),
    EDIT(operand_too_many, kCorrupt, "5 inputs", step(m, "linear").inputs.push_back(-1)),
    EDIT(output_left_out, kCorrupt, "1 outputs", step(m, "moe_route").outputs.pop_back()),
    EDIT(operand_dangling, kCorrupt, "is value 9999", step(m, "linear").inputs[0] = 9999),
    EDIT(operand_negative, kCorrupt, "is value -7", step(m, "linear").inputs[0] = -7),
    EDIT(required_operand_absent, kCorrupt, "not optional", step(m, "linear").inputs[1] = -1),
    EDIT(output_absent, kCorrupt, "is value -1", step(m, "linear").outputs[0] = -1),
    EDIT(activation_from_weight, kCorrupt, "cannot be value",
         step(m, "linear").inputs[0] = index_of(m, "embedding")),
    EDIT(weight_from_activation, kCorrupt, "cannot be value",
         step(m, "linear").inputs[1] = index_of(m, "h")),
    EDIT(gain_from_quantized, kCorrupt, "cannot be value",
         step(m, "rms_norm").inputs[1] = index_of(m, "embedding")),
    EDIT(inputs_confused, kCorrupt, "cannot be value",
         step(m, "rope_kv_write").inputs[6] = index_of(m, "sequence_of")),
    EDIT(indices_from_activation, kCorrupt, "cannot be value",
         step(m, "moe_linear").inputs[2] = index_of(m, "1/router")),
    EDIT(activation_from_indices, kCorrupt, "cannot be value",
         step(m, "moe_linear").inputs[3] = index_of(m, "1/ids")),
    EDIT(cache_from_activation, kCorrupt, "cannot be value",
         step(m, "attention").inputs[1] = index_of(m, "h")),
    EDIT(output_into_weight, kCorrupt, "cannot be value",
         step(m, "linear").outputs[0] = index_of(m, "embedding")),
    EDIT(output_into_input, kCorrupt, "cannot be value",
         step(m, "linear").outputs[0] = index_of(m, "positions")),
    EDIT(output_into_indices, kCorrupt, "cannot be value",
         step(m, "linear").outputs[0] = index_of(m, "1/ids")),
    EDIT(use_before_definition, kCorrupt, "before a step has written",
         step(m, "rms_norm").inputs[0] = index_of(m, "0/down")),
    EDIT(cycle_of_two_steps, kCorrupt, "before a step has written",
         std::swap(m.plan->steps[0], m.plan->steps[1])),
    EDIT(step_reads_its_own_output, kCorrupt, "before a step has written",
         step(m, "rms_norm").inputs[0] = step(m, "rms_norm").outputs[0]),
    EDIT(value_written_twice, kCorrupt, "a second time",
         step(m, "linear", 1).outputs[0] = index_of(m, "h")),
    EDIT(step_repeated, kCorrupt, "a second time",
         m.plan->steps.insert(m.plan->steps.begin() + 1,
                              std::make_unique<fb::StepT>(*m.plan->steps[0]))),
    EDIT(both_outputs_the_same, kCorrupt, "cannot be value",
         step(m, "moe_route").outputs[1] = step(m, "moe_route").outputs[0]),
    EDIT(cache_written_twice, kCorrupt, "written twice",
         step(m, "rope_kv_write", 1).inputs[9] = index_of(m, "0/k_cache")),
    EDIT(cache_serves_as_both, kCorrupt, "written twice",
         step(m, "rope_kv_write").inputs[10] = index_of(m, "0/k_cache")),
    EDIT(cache_read_before_written, kCorrupt, "read before",
         step(m, "attention").inputs[1] = index_of(m, "1/k_cache")),
    EDIT(value_never_written, kCorrupt, "no step writes value 'logits'", m.plan->steps.pop_back()),
    EDIT(dangling_scratch, kCorrupt, "no step writes value 'spare'",
         m.plan->values.push_back(std::make_unique<fb::ValueT>(value(m, "h")));
         m.plan->values.back()->name = "spare"),
    EDIT(attribute_unknown, kIncompatible, "'colour' is unknown",
         attribute(step(m, "rms_norm"), "eps").name = "colour"),
    EDIT(attribute_unnamed, kCorrupt, "attribute 0",
         attribute(step(m, "rms_norm"), "eps").name.clear()),
    EDIT(attribute_missing, kCorrupt, "'eps' is missing", remove(step(m, "rms_norm"), "eps")),
    EDIT(attribute_twice, kCorrupt, "comes twice",
         step(m, "rms_norm")
             .attributes.push_back(
                 std::make_unique<fb::AttributeT>(*step(m, "rms_norm").attributes[0]))),
    EDIT(attribute_without_value, kCorrupt, "has no value",
         attribute(step(m, "rms_norm"), "eps").value.Reset()),
    EDIT(attribute_int_for_float, kCorrupt, "not a float",
         set(step(m, "rms_norm"), int_attribute("eps", 1))),
    EDIT(attribute_float_for_int, kCorrupt, "not an integer",
         set(step(m, "attention"), float_attribute("heads", 2))),
    EDIT(attribute_int_for_string, kCorrupt, "not a string",
         set(step(m, "linear_glu"), int_attribute("activation", 1))),
    EDIT(attribute_nan, kCorrupt, "not finite",
         set(step(m, "rms_norm"), float_attribute("eps", kNan))),
    EDIT(attribute_negative, kCorrupt, "negative",
         set(step(m, "rms_norm"), float_attribute("eps", -1))),
    EDIT(activation_unknown, kIncompatible, "'relu'",
         set(step(m, "linear_glu"), string_attribute("activation", "relu"))),
    EDIT(window_negative, kCorrupt, "'window'",
         set(step(m, "attention"), int_attribute("window", -1))),
    EDIT(interleaved_two, kCorrupt, "'interleaved'",
         set(step(m, "rope_kv_write"), int_attribute("interleaved", 2))),
    EDIT(heads_zero, kCorrupt, "'heads'", set(step(m, "attention"), int_attribute("heads", 0))),
    EDIT(norm_eps_missing, kCorrupt, "'norm_eps' is missing",
         remove(step(m, "rope_kv_write"), "norm_eps")),
    EDIT(heads_not_shared_evenly, kCorrupt, "operand",
         set(step(m, "attention"), int_attribute("heads", 3))),
    EDIT(page_size_differs, kCorrupt, "operand 'k_cache'",
         set(step(m, "attention"), int_attribute("page_size", 8))),
    EDIT(rotary_dim_differs, kCorrupt, "operand 'rope'",
         set(step(m, "rope_kv_write"), int_attribute("rotary_dim", 8))),
    EDIT(rotary_dim_without_table, kCorrupt, "rotary_dim is 16",
         step(m, "rope_kv_write").inputs[3] = -1),
    EDIT(k_without_v, kCorrupt, "only one of k and v", step(m, "rope_kv_write", 1).inputs[2] = -1),
    EDIT(merged_too_narrow, kCorrupt, "q has 32 columns",
         step(m, "rope_kv_write", 1).inputs[1] = -1;
         step(m, "rope_kv_write", 1).inputs[2] = -1),
    EDIT(heads_overflow, kCorrupt, "operand",
         set(step(m, "rope_kv_write"), int_attribute("heads", INT64_MAX))),
    EDIT(experts_used_differ, kCorrupt, "operand",
         set(step(m, "moe_route"), int_attribute("experts_used", 3))),
    EDIT(linear_wrong_weight, kCorrupt, "operand 'weight'",
         step(m, "linear", 2).inputs[1] = index_of(m, "0/qkv/weight")),
    EDIT(residual_wrong_width, kCorrupt, "operand 'residual'",
         step(m, "linear", 1).inputs[3] = index_of(m, "0/qkv")),
    EDIT(glu_rows_not_doubled, kCorrupt, "does not fit",
         step(m, "linear_glu").inputs[1] = index_of(m, "0/out/weight")),
    EDIT(glu_up_with_merged_gate, kCorrupt, "does not fit",
         step(m, "moe_linear_glu").inputs[3] = -1),
    EDIT(expert_shape_differs, kCorrupt, "operand",
         step(m, "moe_linear").inputs[1] = index_of(m, "1/up")),
    EDIT(head_on_all_tokens, kCorrupt, "operand",
         m.plan->steps.back()->inputs[0] = index_of(m, "norm")),
};
INSTANTIATE_TEST_SUITE_P(Steps, Verifier, ::testing::ValuesIn(kStepEdits), edit_name);

// ---- the arena ----------------------------------------------------------------------------------

void share_memory(fb::ModelT& m, const std::string& a, const std::string& with) {
  value(m, a).arena_offset = std::make_unique<fb::LinearT>(*value(m, with).arena_offset);
}

const Edit kArenaEdits[] = {
    // x and y of one step.
    EDIT(output_over_its_input, kCorrupt, "live at the same time",
         share_memory(m, "0/attention_norm", "h")),
    // Two values that wait for the same later step.
    EDIT(waiting_values_overlap, kCorrupt, "live at the same time", share_memory(m, "1/k", "1/q")),
    EDIT(both_outputs_of_a_step_overlap, kCorrupt, "live at the same time",
         share_memory(m, "1/weights", "1/ids")),
    // Disjoint for many tokens, but not for few: 64 bytes against one row.
    EDIT(overlap_for_some_symbols_only, kCorrupt, "live at the same time",
         value(m, "0/attention_norm").arena_offset->terms.clear();
         m.plan->arena_bytes->offset = 64 * 1024;
         value(m, "0/attention_norm").arena_offset->offset = 64 * 1024),
    EDIT(overlap_by_a_part, kCorrupt, "live at the same time",
         share_memory(m, "0/attention_norm", "h");
         value(m, "0/attention_norm").arena_offset->offset = 64),
    // The residual is read again later.
    EDIT(takeover_of_a_living_residual, kCorrupt, "live at the same time",
         share_memory(m, "0/out", "h");
         step(m, "linear", 2).inputs[3] = index_of(m, "h")),
    // The residual is an ordinary operand of the same step too.
    EDIT(
        takeover_of_a_residual_used_twice, kCorrupt, "live at the same time",
        step(m, "rms_norm", 2).inputs[2] = step(m, "rms_norm", 2).inputs[0];
        for (auto& s
             : m.plan->steps) {
          if (s->op == "linear" && s->inputs[3] == step(m, "rms_norm", 2).inputs[0])
            s->inputs[3] = -1;
          if (s->op == "moe_linear") s->inputs[4] = -1;
        };
        share_memory(m, "1/attention_norm", "0/down")),
    // Same memory, but one row further on.
    EDIT(takeover_with_a_shift, kCorrupt, "live at the same time", share_memory(m, "0/out", "h");
         value(m, "0/out").arena_offset->offset = 64),
};
INSTANTIATE_TEST_SUITE_P(Arena, Verifier, ::testing::ValuesIn(kArenaEdits), edit_name);

struct Allowed {
  const char* name;
  std::function<void(fb::ModelT&)> apply;
};
void PrintTo(const Allowed& edit, std::ostream* out) {
  *out << edit.name;
}
class Accepts : public ::testing::TestWithParam<Allowed> {};

TEST_P(Accepts, what_the_contract_allows) {
  ASSERT_TRUE(base().status.ok()) << base().status.to_string();
  fb::ModelT model(base().model);
  GetParam().apply(model);
  const Status status = verify_object(model, base().file_bytes);
  EXPECT_TRUE(status.ok()) << status.to_string();
}

#define ALLOW(name, ...)                           \
  Allowed {                                        \
#name, [](fb::ModelT& m) { (void)m; __VA_ARGS__; } \
  }

const Allowed kAllowed[] = {
    ALLOW(no_edit),
    ALLOW(no_tokenizer_or_templates, m.tokenizer.reset(); m.chat_templates.clear()),
    ALLOW(no_provenance, m.sources.clear(); m.metrics.clear(); m.licence.clear()),
    ALLOW(output_takes_over_a_dying_residual, share_memory(m, "0/out", "h")),
    ALLOW(chain_of_takeovers, share_memory(m, "0/out", "h"); share_memory(m, "0/down", "h")),
    ALLOW(memory_of_a_dead_value_is_reused, share_memory(m, "1/k", "0/qkv")),
    ALLOW(larger_room_than_needed, m.plan->arena_bytes->offset += 4096;
          value(m, "logits").arena_bytes->offset = 4096),
    ALLOW(norm_eps_unneeded, remove(step(m, "rope_kv_write", 1), "norm_eps")),
    ALLOW(two_values_of_one_tensor,
          m.plan->values.push_back(std::make_unique<fb::ValueT>(value(m, "embedding")));
          m.plan->values.back()->name = "tied"),
    ALLOW(extended_rope, m.plan->ropes[0]->long_frequencies = m.plan->ropes[0]->frequencies;
          m.plan->ropes[0]->long_from = 1024),
    ALLOW(names_in_any_script, m.tensors[1]->name = "слой/層/🦊"),
};
INSTANTIATE_TEST_SUITE_P(Contract, Accepts, ::testing::ValuesIn(kAllowed),
                         [](const auto& tested) { return std::string(tested.param.name); });

// ---- the FlatBuffer itself ----------------------------------------------------------------------

TEST(FlatBuffer, template_above_its_limit_is_refused) {
  const testing::TemporaryFolder folder;
  auto tiny = testing::make_tiny_model(false);
  tiny.model.chat_templates[0]->source = std::string(limits::kMaxTemplateBytes + 1, ' ');
  auto writer = ModelWriter::create(folder.path("t.bpm"), AtomicFile::Existing::kRefuse).value();
  for (const auto& t : tiny.tensors) {
    ASSERT_TRUE(writer->declare_tensor(t.name, t.format, t.shape).ok());
  }
  const Status status = writer->begin_weights(std::move(tiny.model));
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_NE(status.message().find("chat template"), std::string_view::npos) << status.message();
}

TEST(FlatBuffer, misaligned_shape_is_refused) {
  // Built by hand: the table's fields in the right order, the shape's elements at 4 mod 8.
  flatbuffers::FlatBufferBuilder builder;
  fb::ModelT model(base().model);
  builder.Finish(fb::Model::Pack(builder, &model), fb::ModelIdentifier());
  std::vector<uint64_t> storage(builder.GetSize() / 8 + 2);
  auto* bytes = reinterpret_cast<uint8_t*>(storage.data());
  std::copy_n(builder.GetBufferPointer(), builder.GetSize(), bytes);
  const fb::Model* packed = fb::GetModel(bytes);
  // Points the shape of tensor 0 four bytes back, where a plausible length is written.
  const fb::Tensor* tensor = packed->tensors()->Get(0);
  auto* field = const_cast<uint8_t*>(
      reinterpret_cast<const flatbuffers::Table*>(tensor)->GetAddressOf(fb::Tensor::VT_SHAPE));
  const auto offset = flatbuffers::ReadScalar<uint32_t>(field);
  flatbuffers::WriteScalar<uint32_t>(field, offset - 4);
  flatbuffers::WriteScalar<uint32_t>(field + offset - 4, 2);
  const Status status =
      verify_model(std::as_bytes(std::span(bytes, builder.GetSize())), base().file_bytes);
  EXPECT_EQ(status.code(), Code::kCorrupt);
}

TEST(FlatBuffer, misaligned_or_empty_buffers_are_refused) {
  alignas(8) std::byte bytes[64] = {};
  EXPECT_EQ(verify_model(std::span(bytes).subspan(1, 32), 4096).code(), Code::kCorrupt);
  EXPECT_EQ(verify_model({}, 4096).code(), Code::kCorrupt);
  EXPECT_EQ(verify_model(bytes, 4096).code(), Code::kCorrupt);
}

TEST(FlatBuffer, tables_shared_between_parents_cannot_make_verifying_slow) {
  // 60,000 steps that are one step with one attribute each: a few hundred kilobytes that would
  // have to be visited far more often than there are tables.
  flatbuffers::FlatBufferBuilder builder;
  const auto number = fb::CreateIntValue(builder, 1);
  const auto name = builder.CreateString("x");
  const auto attribute =
      fb::CreateAttribute(builder, name, fb::AttributeValue::IntValue, number.Union());
  const auto attributes =
      builder.CreateVector(std::vector<flatbuffers::Offset<fb::Attribute>>(60'000, attribute));
  const auto op = builder.CreateString("linear");
  fb::StepBuilder step_builder(builder);
  step_builder.add_op(op);
  step_builder.add_attributes(attributes);
  const auto one = step_builder.Finish();
  const auto steps = builder.CreateVector(std::vector<flatbuffers::Offset<fb::Step>>(60'000, one));
  fb::PlanBuilder plan_builder(builder);
  plan_builder.add_steps(steps);
  const auto plan = plan_builder.Finish();
  fb::ModelBuilder model_builder(builder);
  model_builder.add_plan(plan);
  builder.Finish(model_builder.Finish(), fb::ModelIdentifier());
  const Status status = verify_model(
      std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize())), 1 << 20);
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_NE(status.message().find("malformed"), std::string_view::npos) << status.message();
}

}  // namespace
}  // namespace bp
