// SPDX-License-Identifier: Apache-2.0
// Every offset and size of every struct of the two C contracts, compared with the snapshot of the
// release (layout_1_0.txt). Lines of the snapshot never change within a major version; a new field
// adds a line here and in the snapshot of the next minor.
//
// BP_WRITE_LAYOUT=FILE writes the present layout instead.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "backplane/backplane.h"
#include "backplane/plugin.h"

namespace {

std::vector<std::string> layout() {
  std::vector<std::string> lines;
  const auto type = [&](const char* name, size_t size, size_t alignment) {
    lines.push_back(std::string(name) + " size " + std::to_string(size) + " align " +
                    std::to_string(alignment));
  };
  const auto field = [&](const char* name, size_t offset, size_t size) {
    lines.push_back(std::string(name) + " at " + std::to_string(offset) + " size " +
                    std::to_string(size));
  };
#define TYPE(t) type(#t, sizeof(t), alignof(t))
#define FIELD(t, f) field(#t "." #f, offsetof(t, f), sizeof(t::f))
  TYPE(bp_string);
  FIELD(bp_string, data);
  FIELD(bp_string, length);
  TYPE(bp_error);
  FIELD(bp_error, size);
  FIELD(bp_error, status);
  FIELD(bp_error, native);
  FIELD(bp_error, reserved);
  FIELD(bp_error, text);
  TYPE(bp_host);
  FIELD(bp_host, size);
  FIELD(bp_host, abi_minor);
  FIELD(bp_host, user);
  FIELD(bp_host, plugin_dir);
  FIELD(bp_host, cache_dir);
  FIELD(bp_host, log);
  FIELD(bp_host, allocate);
  FIELD(bp_host, release);
  FIELD(bp_host, parallel_for);
  FIELD(bp_host, workers);
  FIELD(bp_host, trace_begin);
  FIELD(bp_host, trace_end);
  TYPE(bp_probe_result);
  FIELD(bp_probe_result, size);
  FIELD(bp_probe_result, reason);
  FIELD(bp_probe_result, detail);
  TYPE(bp_plugin_api);
  FIELD(bp_plugin_api, size);
  FIELD(bp_plugin_api, reserved);
  FIELD(bp_plugin_api, probe);
  FIELD(bp_plugin_api, init);
  FIELD(bp_plugin_api, get_interface);
  FIELD(bp_plugin_api, quiesce);
  FIELD(bp_plugin_api, shutdown);
  TYPE(bp_plugin_desc);
  FIELD(bp_plugin_desc, size);
  FIELD(bp_plugin_desc, abi_minor);
  FIELD(bp_plugin_desc, min_host_minor);
  FIELD(bp_plugin_desc, reserved);
  FIELD(bp_plugin_desc, id);
  FIELD(bp_plugin_desc, version);
  FIELD(bp_plugin_desc, build_id);
  FIELD(bp_plugin_desc, api);
  TYPE(bp_device_info);
  FIELD(bp_device_info, size);
  FIELD(bp_device_info, kind);
  FIELD(bp_device_info, memory_bytes);
  FIELD(bp_device_info, unified_memory);
  FIELD(bp_device_info, pci_vendor);
  FIELD(bp_device_info, pci_device);
  FIELD(bp_device_info, pci_domain_bus_device_function);
  FIELD(bp_device_info, uuid);
  FIELD(bp_device_info, name);
  FIELD(bp_device_info, vendor);
  FIELD(bp_device_info, architecture);
  FIELD(bp_device_info, driver);
  FIELD(bp_device_info, reserved);
  TYPE(bp_device_caps);
  FIELD(bp_device_caps, size);
  FIELD(bp_device_caps, compute_units);
  FIELD(bp_device_caps, subgroup_min);
  FIELD(bp_device_caps, subgroup_max);
  FIELD(bp_device_caps, subgroup_required);
  FIELD(bp_device_caps, max_group_threads);
  FIELD(bp_device_caps, shared_bytes);
  FIELD(bp_device_caps, registers_per_unit);
  FIELD(bp_device_caps, has_f16);
  FIELD(bp_device_caps, has_bf16);
  FIELD(bp_device_caps, has_int8_dot);
  FIELD(bp_device_caps, has_matrix);
  FIELD(bp_device_caps, matrix_shape);
  FIELD(bp_device_caps, has_async_copy);
  FIELD(bp_device_caps, max_param_bytes);
  FIELD(bp_device_caps, max_buffers);
  FIELD(bp_device_caps, max_buffer_range);
  FIELD(bp_device_caps, max_grid);
  FIELD(bp_device_caps, cache_bytes);
  FIELD(bp_device_caps, dialect);
  FIELD(bp_device_caps, dialect_version);
  FIELD(bp_device_caps, buffer_offset_alignment);
  FIELD(bp_device_caps, has_early_launch);
  TYPE(bp_device_api);
  FIELD(bp_device_api, size);
  FIELD(bp_device_api, reserved);
  FIELD(bp_device_api, enumerate);
  FIELD(bp_device_api, describe);
  FIELD(bp_device_api, capabilities);
  FIELD(bp_device_api, open);
  FIELD(bp_device_api, close);
  FIELD(bp_device_api, status);
  FIELD(bp_device_api, native);
  TYPE(bp_heap);
  FIELD(bp_heap, size);
  FIELD(bp_heap, flags);
  FIELD(bp_heap, bytes);
  FIELD(bp_heap, max_allocation_bytes);
  FIELD(bp_heap, alignment);
  TYPE(bp_import);
  FIELD(bp_import, size);
  FIELD(bp_import, kind);
  FIELD(bp_import, flags);
  FIELD(bp_import, fd);
  FIELD(bp_import, pointer);
  FIELD(bp_import, offset);
  FIELD(bp_import, length);
  TYPE(bp_import_support);
  FIELD(bp_import_support, size);
  FIELD(bp_import_support, verdict);
  FIELD(bp_import_support, pointer_alignment);
  TYPE(bp_memory_api);
  FIELD(bp_memory_api, size);
  FIELD(bp_memory_api, reserved);
  FIELD(bp_memory_api, heaps);
  FIELD(bp_memory_api, alloc);
  FIELD(bp_memory_api, free);
  FIELD(bp_memory_api, query_import);
  FIELD(bp_memory_api, import);
  FIELD(bp_memory_api, export_handle);
  FIELD(bp_memory_api, map);
  FIELD(bp_memory_api, unmap);
  FIELD(bp_memory_api, flush);
  FIELD(bp_memory_api, invalidate);
  FIELD(bp_memory_api, budget);
  TYPE(bp_stream_api);
  FIELD(bp_stream_api, size);
  FIELD(bp_stream_api, reserved);
  FIELD(bp_stream_api, create);
  FIELD(bp_stream_api, destroy);
  FIELD(bp_stream_api, copy);
  FIELD(bp_stream_api, write);
  FIELD(bp_stream_api, read);
  FIELD(bp_stream_api, fill);
  FIELD(bp_stream_api, timeline_create);
  FIELD(bp_stream_api, timeline_destroy);
  FIELD(bp_stream_api, signal);
  FIELD(bp_stream_api, wait);
  FIELD(bp_stream_api, query);
  FIELD(bp_stream_api, host_wait);
  FIELD(bp_stream_api, capture_begin);
  FIELD(bp_stream_api, capture_end);
  FIELD(bp_stream_api, replay);
  FIELD(bp_stream_api, recording_destroy);
  TYPE(bp_module_source);
  FIELD(bp_module_source, size);
  FIELD(bp_module_source, subgroup_size);
  FIELD(bp_module_source, text);
  FIELD(bp_module_source, options);
  FIELD(bp_module_source, entry);
  FIELD(bp_module_source, group_threads);
  FIELD(bp_module_source, buffer_count);
  FIELD(bp_module_source, param_words);
  FIELD(bp_module_source, shared_bytes);
  FIELD(bp_module_source, flags);
  FIELD(bp_module_source, reserved);
  TYPE(bp_launch_buffer);
  FIELD(bp_launch_buffer, buffer);
  FIELD(bp_launch_buffer, offset);
  FIELD(bp_launch_buffer, bytes);
  TYPE(bp_launch);
  FIELD(bp_launch, size);
  FIELD(bp_launch, buffer_count);
  FIELD(bp_launch, param_words);
  FIELD(bp_launch, group_threads);
  FIELD(bp_launch, grid);
  FIELD(bp_launch, buffers);
  FIELD(bp_launch, params);
  FIELD(bp_launch, shared_bytes);
  FIELD(bp_launch, reserved);
  TYPE(bp_module_api);
  FIELD(bp_module_api, size);
  FIELD(bp_module_api, reserved);
  FIELD(bp_module_api, compiler_id);
  FIELD(bp_module_api, compile);
  FIELD(bp_module_api, load);
  FIELD(bp_module_api, unload);
  FIELD(bp_module_api, function);
  FIELD(bp_module_api, launch);
  TYPE(bp_dim);
  FIELD(bp_dim, symbol);
  FIELD(bp_dim, reserved);
  FIELD(bp_dim, scale);
  FIELD(bp_dim, offset);
  TYPE(bp_operand);
  FIELD(bp_operand, size);
  FIELD(bp_operand, role);
  FIELD(bp_operand, format);
  FIELD(bp_operand, dims);
  FIELD(bp_operand, rank);
  FIELD(bp_operand, value);
  TYPE(bp_attribute);
  FIELD(bp_attribute, size);
  FIELD(bp_attribute, kind);
  FIELD(bp_attribute, name);
  FIELD(bp_attribute, int_value);
  FIELD(bp_attribute, float_value);
  FIELD(bp_attribute, string_value);
  TYPE(bp_op);
  FIELD(bp_op, size);
  FIELD(bp_op, version);
  FIELD(bp_op, name);
  FIELD(bp_op, inputs);
  FIELD(bp_op, outputs);
  FIELD(bp_op, attributes);
  FIELD(bp_op, input_count);
  FIELD(bp_op, output_count);
  FIELD(bp_op, attribute_count);
  FIELD(bp_op, operand_stride);
  FIELD(bp_op, attribute_stride);
  FIELD(bp_op, layer);
  FIELD(bp_op, placement);
  FIELD(bp_op, step);
  FIELD(bp_op, reserved);
  TYPE(bp_symbol_range);
  FIELD(bp_symbol_range, minimum);
  FIELD(bp_symbol_range, typical);
  FIELD(bp_symbol_range, maximum);
  TYPE(bp_weight);
  FIELD(bp_weight, size);
  FIELD(bp_weight, plane_count);
  FIELD(bp_weight, id);
  FIELD(bp_weight, planes);
  FIELD(bp_weight, bytes);
  FIELD(bp_weight, digest);
  TYPE(bp_match);
  FIELD(bp_match, size);
  FIELD(bp_match, verdict);
  FIELD(bp_match, flags);
  FIELD(bp_match, priority);
  FIELD(bp_match, estimated_ns);
  FIELD(bp_match, workspace_bytes);
  FIELD(bp_match, resident_bytes);
  FIELD(bp_match, reason);
  FIELD(bp_match, launches);
  FIELD(bp_match, zeroed_bytes);
  TYPE(bp_bind_info);
  FIELD(bp_bind_info, size);
  FIELD(bp_bind_info, device_index);
  FIELD(bp_bind_info, plugin_id);
  FIELD(bp_bind_info, plugin_build_id);
  FIELD(bp_bind_info, device);
  FIELD(bp_bind_info, info);
  FIELD(bp_bind_info, caps);
  FIELD(bp_bind_info, device_api);
  FIELD(bp_bind_info, memory_api);
  FIELD(bp_bind_info, stream_api);
  FIELD(bp_bind_info, module_api);
  FIELD(bp_bind_info, gemm_api);
  TYPE(bp_operand_buffer);
  FIELD(bp_operand_buffer, buffer);
  FIELD(bp_operand_buffer, offset);
  FIELD(bp_operand_buffer, bytes);
  TYPE(bp_kernel_launch);
  FIELD(bp_kernel_launch, size);
  FIELD(bp_kernel_launch, input_count);
  FIELD(bp_kernel_launch, output_count);
  FIELD(bp_kernel_launch, symbol_count);
  FIELD(bp_kernel_launch, inputs);
  FIELD(bp_kernel_launch, outputs);
  FIELD(bp_kernel_launch, symbols);
  FIELD(bp_kernel_launch, workspace);
  FIELD(bp_kernel_launch, zeroed);
  TYPE(bp_kernel_api);
  FIELD(bp_kernel_api, size);
  FIELD(bp_kernel_api, reserved);
  FIELD(bp_kernel_api, bind);
  FIELD(bp_kernel_api, unbind);
  FIELD(bp_kernel_api, match);
  FIELD(bp_kernel_api, prepare);
  FIELD(bp_kernel_api, enqueue);
  FIELD(bp_kernel_api, release);
  FIELD(bp_kernel_api, place);
  FIELD(bp_kernel_api, placement_release);
  TYPE(bp_gemm_info);
  FIELD(bp_gemm_info, size);
  FIELD(bp_gemm_info, flags);
  FIELD(bp_gemm_info, library);
  TYPE(bp_gemm_shape);
  FIELD(bp_gemm_shape, size);
  FIELD(bp_gemm_shape, y_type);
  FIELD(bp_gemm_shape, tokens);
  FIELD(bp_gemm_shape, rows);
  FIELD(bp_gemm_shape, columns);
  FIELD(bp_gemm_shape, x_stride);
  FIELD(bp_gemm_shape, w_stride);
  FIELD(bp_gemm_shape, y_stride);
  FIELD(bp_gemm_shape, workspace_bytes);
  FIELD(bp_gemm_shape, accumulate);
  FIELD(bp_gemm_shape, reserved);
  TYPE(bp_gemm_launch);
  FIELD(bp_gemm_launch, size);
  FIELD(bp_gemm_launch, reserved);
  FIELD(bp_gemm_launch, tokens);
  FIELD(bp_gemm_launch, x);
  FIELD(bp_gemm_launch, w);
  FIELD(bp_gemm_launch, y);
  FIELD(bp_gemm_launch, workspace);
  TYPE(bp_gemm_api);
  FIELD(bp_gemm_api, size);
  FIELD(bp_gemm_api, reserved);
  FIELD(bp_gemm_api, describe);
  FIELD(bp_gemm_api, prepare);
  FIELD(bp_gemm_api, workspace);
  FIELD(bp_gemm_api, enqueue);
  FIELD(bp_gemm_api, release);
  TYPE(bp_plugin_entry);
  FIELD(bp_plugin_entry, size);
  FIELD(bp_plugin_entry, usable);
  FIELD(bp_plugin_entry, id);
  FIELD(bp_plugin_entry, version);
  FIELD(bp_plugin_entry, manifest);
  FIELD(bp_plugin_entry, library);
  FIELD(bp_plugin_entry, reason);
  TYPE(bp_device_entry);
  FIELD(bp_device_entry, size);
  FIELD(bp_device_entry, kind);
  FIELD(bp_device_entry, usable);
  FIELD(bp_device_entry, unified_memory);
  FIELD(bp_device_entry, memory_bytes);
  FIELD(bp_device_entry, id);
  FIELD(bp_device_entry, plugin);
  FIELD(bp_device_entry, name);
  FIELD(bp_device_entry, vendor);
  FIELD(bp_device_entry, architecture);
  FIELD(bp_device_entry, driver);
  FIELD(bp_device_entry, reason);
  TYPE(bp_model_options);
  FIELD(bp_model_options, size);
  FIELD(bp_model_options, copy_weights);
  FIELD(bp_model_options, verify_digests);
  FIELD(bp_model_options, reserved);
  TYPE(bp_model_info);
  FIELD(bp_model_info, size);
  FIELD(bp_model_info, has_tokenizer);
  FIELD(bp_model_info, has_chat_template);
  FIELD(bp_model_info, layers);
  FIELD(bp_model_info, vocabulary);
  FIELD(bp_model_info, context_length);
  FIELD(bp_model_info, parameters);
  FIELD(bp_model_info, file_bytes);
  FIELD(bp_model_info, name);
  FIELD(bp_model_info, architecture);
  FIELD(bp_model_info, weights_format);
  FIELD(bp_model_info, licence);
  TYPE(bp_chat_request);
  FIELD(bp_chat_request, size);
  FIELD(bp_chat_request, add_generation_prompt);
  FIELD(bp_chat_request, messages);
  FIELD(bp_chat_request, tools);
  FIELD(bp_chat_request, variables);
  TYPE(bp_session_options);
  FIELD(bp_session_options, size);
  FIELD(bp_session_options, strict_placement);
  FIELD(bp_session_options, device);
  FIELD(bp_session_options, kv_format);
  FIELD(bp_session_options, context_tokens);
  FIELD(bp_session_options, batch_tokens);
  FIELD(bp_session_options, progress);
  FIELD(bp_session_options, progress_user);
  TYPE(bp_memory_estimate);
  FIELD(bp_memory_estimate, size);
  FIELD(bp_memory_estimate, reserved);
  FIELD(bp_memory_estimate, weights_bytes);
  FIELD(bp_memory_estimate, resident_bytes);
  FIELD(bp_memory_estimate, kv_bytes);
  FIELD(bp_memory_estimate, arena_bytes);
  FIELD(bp_memory_estimate, workspace_bytes);
  FIELD(bp_memory_estimate, io_bytes);
  FIELD(bp_memory_estimate, total_bytes);
  TYPE(bp_logit_bias);
  FIELD(bp_logit_bias, id);
  FIELD(bp_logit_bias, bias);
  TYPE(bp_generate_options);
  FIELD(bp_generate_options, size);
  FIELD(bp_generate_options, top_k);
  FIELD(bp_generate_options, max_tokens);
  FIELD(bp_generate_options, temperature);
  FIELD(bp_generate_options, top_p);
  FIELD(bp_generate_options, min_p);
  FIELD(bp_generate_options, repetition_penalty);
  FIELD(bp_generate_options, presence_penalty);
  FIELD(bp_generate_options, frequency_penalty);
  FIELD(bp_generate_options, penalty_window);
  FIELD(bp_generate_options, ignore_eos);
  FIELD(bp_generate_options, seed);
  FIELD(bp_generate_options, stop);
  FIELD(bp_generate_options, stop_count);
  FIELD(bp_generate_options, bias);
  FIELD(bp_generate_options, bias_count);
  TYPE(bp_event);
  FIELD(bp_event, size);
  FIELD(bp_event, finish);
  FIELD(bp_event, token_id);
  FIELD(bp_event, reserved);
  FIELD(bp_event, text);
  TYPE(bp_session_stats);
  FIELD(bp_session_stats, size);
  FIELD(bp_session_stats, launches_per_token);
  FIELD(bp_session_stats, prompt_tokens);
  FIELD(bp_session_stats, prompt_ns);
  FIELD(bp_session_stats, generated_tokens);
  FIELD(bp_session_stats, generated_ns);
  FIELD(bp_session_stats, prepare_ns);
  FIELD(bp_session_stats, fallback_steps);
  FIELD(bp_session_stats, steps);
  FIELD(bp_session_stats, device);
  TYPE(bp_tuner_progress);
  FIELD(bp_tuner_progress, size);
  FIELD(bp_tuner_progress, reserved);
  FIELD(bp_tuner_progress, done);
  FIELD(bp_tuner_progress, total);
  FIELD(bp_tuner_progress, text);
  TYPE(bp_tuner_kernel);
  FIELD(bp_tuner_kernel, size);
  FIELD(bp_tuner_kernel, flags);
  FIELD(bp_tuner_kernel, tokens);
  FIELD(bp_tuner_kernel, uses);
  FIELD(bp_tuner_kernel, tried);
  FIELD(bp_tuner_kernel, rejected);
  FIELD(bp_tuner_kernel, reserved);
  FIELD(bp_tuner_kernel, default_ns);
  FIELD(bp_tuner_kernel, tuned_ns);
  FIELD(bp_tuner_kernel, name);
  FIELD(bp_tuner_kernel, schedule);
  TYPE(bp_tuner_request);
  FIELD(bp_tuner_request, size);
  FIELD(bp_tuner_request, flags);
  FIELD(bp_tuner_request, candidates);
  FIELD(bp_tuner_request, reserved);
  FIELD(bp_tuner_request, progress);
  FIELD(bp_tuner_request, kernel);
  FIELD(bp_tuner_request, user);
  TYPE(bp_tuner_totals);
  FIELD(bp_tuner_totals, size);
  FIELD(bp_tuner_totals, kernels);
  FIELD(bp_tuner_totals, measured);
  FIELD(bp_tuner_totals, changed);
  FIELD(bp_tuner_totals, failed);
  FIELD(bp_tuner_totals, stopped);
  FIELD(bp_tuner_totals, token_default_ns);
  FIELD(bp_tuner_totals, token_tuned_ns);
  FIELD(bp_tuner_totals, prompt_default_ns);
  FIELD(bp_tuner_totals, prompt_tuned_ns);
  TYPE(bp_tune_api);
  FIELD(bp_tune_api, size);
  FIELD(bp_tune_api, reserved);
  FIELD(bp_tune_api, tune);
  TYPE(bp_tune_kernel);
  FIELD(bp_tune_kernel, size);
  FIELD(bp_tune_kernel, uses);
  FIELD(bp_tune_kernel, tokens);
  FIELD(bp_tune_kernel, tried);
  FIELD(bp_tune_kernel, rejected);
  FIELD(bp_tune_kernel, is_known);
  FIELD(bp_tune_kernel, is_changed);
  FIELD(bp_tune_kernel, is_unsaved);
  FIELD(bp_tune_kernel, reserved);
  FIELD(bp_tune_kernel, default_ns);
  FIELD(bp_tune_kernel, tuned_ns);
  FIELD(bp_tune_kernel, device);
  FIELD(bp_tune_kernel, name);
  FIELD(bp_tune_kernel, schedule);
  TYPE(bp_tune_options);
  FIELD(bp_tune_options, size);
  FIELD(bp_tune_options, candidates);
  FIELD(bp_tune_options, again);
  FIELD(bp_tune_options, reserved);
  FIELD(bp_tune_options, progress);
  FIELD(bp_tune_options, kernel);
  FIELD(bp_tune_options, user);
  TYPE(bp_tune_report);
  FIELD(bp_tune_report, size);
  FIELD(bp_tune_report, kernels);
  FIELD(bp_tune_report, measured);
  FIELD(bp_tune_report, changed);
  FIELD(bp_tune_report, failed);
  FIELD(bp_tune_report, is_stopped);
  FIELD(bp_tune_report, token_default_ns);
  FIELD(bp_tune_report, token_tuned_ns);
  FIELD(bp_tune_report, prompt_default_ns);
  FIELD(bp_tune_report, prompt_tuned_ns);
  FIELD(bp_tune_report, device);
#undef TYPE
#undef FIELD
  return lines;
}

TEST(Layout, every_released_offset_and_size_is_where_it_was) {
  const std::vector<std::string> now = layout();
  if (const char* path = std::getenv("BP_WRITE_LAYOUT")) {
    std::ofstream out(path);
    for (const std::string& line : now) out << line << "\n";
    GTEST_SKIP() << "wrote " << path;
  }
  const std::set<std::string> present(now.begin(), now.end());
  std::ifstream snapshot(BP_LAYOUT_FILE);
  ASSERT_TRUE(snapshot) << BP_LAYOUT_FILE;
  size_t count = 0;
  for (std::string line; std::getline(snapshot, line); ++count) {
    // A struct may grow at its end, so its own size is a lower bound; everything else is fixed.
    const size_t at = line.find(" size ");
    if (line.find(" at ") == std::string::npos) {
      bool found = false;
      for (const std::string& own : now) {
        if (own.compare(0, at + 6, line, 0, at + 6) != 0) continue;
        found = true;
        EXPECT_GE(std::stoul(own.substr(at + 6)), std::stoul(line.substr(at + 6))) << line;
      }
      EXPECT_TRUE(found) << line;
    } else {
      EXPECT_TRUE(present.contains(line)) << line;
    }
  }
  EXPECT_GT(count, 200u);
}

// No padding at the end of a growable struct: an appended field must not land in bytes that an
// older peer already counts as part of the struct.
TEST(Layout, tables_have_no_tail_padding) {
  EXPECT_EQ(sizeof(bp_string), offsetof(bp_string, length) + sizeof(bp_string::length));
  EXPECT_EQ(sizeof(bp_error), offsetof(bp_error, text) + sizeof(bp_error::text));
  EXPECT_EQ(sizeof(bp_host), offsetof(bp_host, trace_end) + sizeof(bp_host::trace_end));
  EXPECT_EQ(sizeof(bp_probe_result),
            offsetof(bp_probe_result, detail) + sizeof(bp_probe_result::detail));
  EXPECT_EQ(sizeof(bp_plugin_api),
            offsetof(bp_plugin_api, shutdown) + sizeof(bp_plugin_api::shutdown));
  EXPECT_EQ(sizeof(bp_plugin_desc), offsetof(bp_plugin_desc, api) + sizeof(bp_plugin_desc::api));
  EXPECT_EQ(sizeof(bp_device_info),
            offsetof(bp_device_info, reserved) + sizeof(bp_device_info::reserved));
  EXPECT_EQ(sizeof(bp_device_caps),
            offsetof(bp_device_caps, has_early_launch) + sizeof(bp_device_caps::has_early_launch));
  EXPECT_EQ(sizeof(bp_device_api), offsetof(bp_device_api, native) + sizeof(bp_device_api::native));
  EXPECT_EQ(sizeof(bp_heap), offsetof(bp_heap, alignment) + sizeof(bp_heap::alignment));
  EXPECT_EQ(sizeof(bp_import), offsetof(bp_import, length) + sizeof(bp_import::length));
  EXPECT_EQ(sizeof(bp_import_support), offsetof(bp_import_support, pointer_alignment) +
                                           sizeof(bp_import_support::pointer_alignment));
  EXPECT_EQ(sizeof(bp_memory_api), offsetof(bp_memory_api, budget) + sizeof(bp_memory_api::budget));
  EXPECT_EQ(sizeof(bp_stream_api),
            offsetof(bp_stream_api, recording_destroy) + sizeof(bp_stream_api::recording_destroy));
  EXPECT_EQ(sizeof(bp_module_source),
            offsetof(bp_module_source, reserved) + sizeof(bp_module_source::reserved));
  EXPECT_EQ(sizeof(bp_launch_buffer),
            offsetof(bp_launch_buffer, bytes) + sizeof(bp_launch_buffer::bytes));
  EXPECT_EQ(sizeof(bp_launch), offsetof(bp_launch, reserved) + sizeof(bp_launch::reserved));
  EXPECT_EQ(sizeof(bp_module_api), offsetof(bp_module_api, launch) + sizeof(bp_module_api::launch));
  EXPECT_EQ(sizeof(bp_dim), offsetof(bp_dim, offset) + sizeof(bp_dim::offset));
  EXPECT_EQ(sizeof(bp_operand), offsetof(bp_operand, value) + sizeof(bp_operand::value));
  EXPECT_EQ(sizeof(bp_attribute),
            offsetof(bp_attribute, string_value) + sizeof(bp_attribute::string_value));
  EXPECT_EQ(sizeof(bp_op), offsetof(bp_op, reserved) + sizeof(bp_op::reserved));
  EXPECT_EQ(sizeof(bp_symbol_range),
            offsetof(bp_symbol_range, maximum) + sizeof(bp_symbol_range::maximum));
  EXPECT_EQ(sizeof(bp_weight), offsetof(bp_weight, digest) + sizeof(bp_weight::digest));
  EXPECT_EQ(sizeof(bp_match), offsetof(bp_match, zeroed_bytes) + sizeof(bp_match::zeroed_bytes));
  EXPECT_EQ(sizeof(bp_bind_info),
            offsetof(bp_bind_info, gemm_api) + sizeof(bp_bind_info::gemm_api));
  EXPECT_EQ(sizeof(bp_gemm_info), offsetof(bp_gemm_info, library) + sizeof(bp_gemm_info::library));
  EXPECT_EQ(sizeof(bp_gemm_shape),
            offsetof(bp_gemm_shape, reserved) + sizeof(bp_gemm_shape::reserved));
  EXPECT_EQ(sizeof(bp_gemm_launch),
            offsetof(bp_gemm_launch, workspace) + sizeof(bp_gemm_launch::workspace));
  EXPECT_EQ(sizeof(bp_gemm_api), offsetof(bp_gemm_api, release) + sizeof(bp_gemm_api::release));
  EXPECT_EQ(sizeof(bp_operand_buffer),
            offsetof(bp_operand_buffer, bytes) + sizeof(bp_operand_buffer::bytes));
  EXPECT_EQ(sizeof(bp_kernel_launch),
            offsetof(bp_kernel_launch, zeroed) + sizeof(bp_kernel_launch::zeroed));
  EXPECT_EQ(sizeof(bp_kernel_api),
            offsetof(bp_kernel_api, placement_release) + sizeof(bp_kernel_api::placement_release));
  EXPECT_EQ(sizeof(bp_plugin_entry),
            offsetof(bp_plugin_entry, reason) + sizeof(bp_plugin_entry::reason));
  EXPECT_EQ(sizeof(bp_device_entry),
            offsetof(bp_device_entry, reason) + sizeof(bp_device_entry::reason));
  EXPECT_EQ(sizeof(bp_model_options),
            offsetof(bp_model_options, reserved) + sizeof(bp_model_options::reserved));
  EXPECT_EQ(sizeof(bp_model_info),
            offsetof(bp_model_info, licence) + sizeof(bp_model_info::licence));
  EXPECT_EQ(sizeof(bp_chat_request),
            offsetof(bp_chat_request, variables) + sizeof(bp_chat_request::variables));
  EXPECT_EQ(sizeof(bp_session_options), offsetof(bp_session_options, progress_user) +
                                            sizeof(bp_session_options::progress_user));
  EXPECT_EQ(sizeof(bp_memory_estimate),
            offsetof(bp_memory_estimate, total_bytes) + sizeof(bp_memory_estimate::total_bytes));
  EXPECT_EQ(sizeof(bp_logit_bias), offsetof(bp_logit_bias, bias) + sizeof(bp_logit_bias::bias));
  EXPECT_EQ(sizeof(bp_generate_options),
            offsetof(bp_generate_options, bias_count) + sizeof(bp_generate_options::bias_count));
  EXPECT_EQ(sizeof(bp_event), offsetof(bp_event, text) + sizeof(bp_event::text));
  EXPECT_EQ(sizeof(bp_session_stats),
            offsetof(bp_session_stats, device) + sizeof(bp_session_stats::device));
  EXPECT_EQ(sizeof(bp_tuner_progress),
            offsetof(bp_tuner_progress, text) + sizeof(bp_tuner_progress::text));
  EXPECT_EQ(sizeof(bp_tuner_kernel),
            offsetof(bp_tuner_kernel, schedule) + sizeof(bp_tuner_kernel::schedule));
  EXPECT_EQ(sizeof(bp_tuner_request),
            offsetof(bp_tuner_request, user) + sizeof(bp_tuner_request::user));
  EXPECT_EQ(sizeof(bp_tuner_totals),
            offsetof(bp_tuner_totals, prompt_tuned_ns) + sizeof(bp_tuner_totals::prompt_tuned_ns));
  EXPECT_EQ(sizeof(bp_tune_api), offsetof(bp_tune_api, tune) + sizeof(bp_tune_api::tune));
  EXPECT_EQ(sizeof(bp_tune_kernel),
            offsetof(bp_tune_kernel, schedule) + sizeof(bp_tune_kernel::schedule));
  EXPECT_EQ(sizeof(bp_tune_options),
            offsetof(bp_tune_options, user) + sizeof(bp_tune_options::user));
  EXPECT_EQ(sizeof(bp_tune_report),
            offsetof(bp_tune_report, device) + sizeof(bp_tune_report::device));
}

}  // namespace
