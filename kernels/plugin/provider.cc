// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/provider.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "kernels/plugin/device_caps.h"
#include "kernels/plugin/planner.h"
#include "kernels/plugin/trial.h"

namespace bp::kernels {

BP_PLUGIN_HANDLE(bp_target, Target)
BP_PLUGIN_HANDLE(bp_kernel, PreparedKernel)
BP_PLUGIN_HANDLE(bp_placement, Placement)

namespace {

constexpr uint32_t kMaxHeaps = 16;
constexpr uint64_t kMaxImportAlignment = 4096;  // a page: what lies around a plane is mapped too
// What a pass over memory moves in a nanosecond and a launch costs, when nothing was measured.
// Only the order against other providers matters.
constexpr double kAssumedBytesPerNs = 200;
constexpr uint64_t kAssumedLaunchNs = 3000;

const bp_host* g_host = nullptr;

// The heap that weights go to, and whether host memory can be used in place instead.
Status read_memory(Device* device) {
  bp_heap heaps[kMaxHeaps] = {};
  for (bp_heap& heap : heaps) heap.size = sizeof heap;
  uint32_t count = 0;
  BP_TRY(call("listing heaps", device->memory->heaps, device->handle, &heaps[0],
              uint64_t{sizeof(bp_heap)}, kMaxHeaps, &count));
  if (count == 0) return error(Code::kIncompatible, "the device has no memory");
  constexpr uint32_t kMapped = BP_HEAP_HOST_VISIBLE | BP_HEAP_HOST_COHERENT;
  device->heap_is_mapped = (heaps[0].flags & kMapped) == kMapped;
  if (heaps[0].max_allocation_bytes != 0) {
    device->max_allocation_bytes = heaps[0].max_allocation_bytes;
  }
  void* const page =
      device->host->allocate(device->host->user, kMaxImportAlignment, kMaxImportAlignment);
  if (page == nullptr) return error(Code::kExhausted, "the system has no memory");
  bp_import what{};
  what.size = sizeof what;
  what.kind = BP_IMPORT_HOST_POINTER;
  what.flags = BP_IMPORT_READ_ONLY;
  what.fd = -1;
  what.pointer = page;
  what.length = kMaxImportAlignment;
  bp_import_support support{};
  support.size = sizeof support;
  const Status asked = call("asking for import", device->memory->query_import, device->handle,
                            static_cast<const bp_import*>(&what), &support);
  if (asked.ok() && support.verdict == BP_IMPORT_NATIVE &&
      support.pointer_alignment <= kMaxImportAlignment) {
    device->import_alignment = std::max<uint64_t>(support.pointer_alignment, 16);
  }
  device->host->release(device->host->user, page);
  return {};
}

std::string identity_of(const bp_device_info& info) {
  const auto text = [](const auto& from) { return std::string(from, strnlen(from, sizeof from)); };
  return text(info.name) + " | " + text(info.architecture) + " | " + text(info.driver);
}

Result<Device> device_from(const bp_bind_info& info) {
  if (info.device == nullptr || info.info == nullptr || info.caps == nullptr) {
    return error(Code::kInvalidArgument, "binding without a device");
  }
  const auto caps = glue::read_struct(info.caps);
  const auto about = glue::read_struct(info.info);
  Device device;
  device.caps = BP_TRY(caps_of(about, caps));
  device.identity = identity_of(about);
  device.cache_bytes = caps.cache_bytes;
  device.host = g_host;
  device.handle = info.device;
  device.memory = info.memory_api;
  device.stream = info.stream_api;
  device.module = info.module_api;
  device.gemm = info.gemm_api;
  device.offset_alignment = std::max<uint32_t>(caps.buffer_offset_alignment, 16);
  for (int i = 0; i < 2; ++i) {
    if (caps.max_grid[i] != 0) device.max_grid[i] = caps.max_grid[i];
  }
  BP_TRY(read_memory(&device));
  return device;
}

bp_status bind(const bp_bind_info* record, bp_target** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    auto device = device_from(glue::read_struct(record));
    if (!device.ok()) return report(device.status(), error);
    *out = wrap(new Target(*device, std::string(glue::view(g_host->cache_dir))));
    return BP_OK;
  });
}

bp_status unbind(bp_target* target, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    delete unwrap(target);
    return BP_OK;
  });
}

Result<Program> plan(const ops::Op& op, Target* target, const ops::Ranges& ranges,
                     const Placement* placement) {
  Planner planner(target->device, &target->code, ranges, placement, &target->tuned,
                  &target->vendor);
  return plan_op(op, planner);
}

// The ops of a plan as read; an op that cannot be read keeps its reason.
struct ParsedOps {
  std::vector<ops::Op> ops;
  std::vector<ops::Reason> reasons;
  std::vector<bool> readable;

  // What an unreadable op reads is not known, so nothing may be kept in a form of ours then.
  Placement placement(const Device& device, const std::vector<bool>& chosen,
                      const ops::Ranges& ranges) const {
    if (std::find(readable.begin(), readable.end(), false) != readable.end()) return {};
    return find_int8_values(device, ops, chosen, ranges);
  }
};

ParsedOps parse(const bp_op* records, uint64_t stride, uint32_t count) {
  ParsedOps out{std::vector<ops::Op>(count), std::vector<ops::Reason>(count),
                std::vector<bool>(count)};
  for (uint32_t i = 0; i < count; ++i) {
    const bp_op record = glue::read_struct(glue::strided(records, i, stride));
    out.readable[i] = ops::parse_op(record, &out.ops[i], out.reasons[i]);
  }
  return out;
}

uint64_t estimate_ns(const Program& program) {
  double bytes = 0;
  for (const WeightUse& use : program.weights) {
    bytes += static_cast<double>(use.format->bytes(use.format->block_elements)) *
             static_cast<double>(use.range.count);
  }
  return kAssumedLaunchNs + static_cast<uint64_t>(std::min(bytes / kAssumedBytesPerNs, 1e15));
}

void set_launches(const Program& program, Target& target, bp_match* answer) {
  answer->launches = static_cast<uint32_t>(program.variants.front().launches.size());
  const std::string_view dialect = dialect_name(target.device.caps.dialect);
  std::string prompts;
  if (!program.variants.back().rival.empty()) {
    prompts = ", prompts by " + target.vendor.library();
    if (target.vendor.mode() == VendorGemm::Mode::kAuto) prompts += " where faster";
  }
  glue::print_text(answer->reason, sizeof answer->reason, "%.*s, %u launch%s%s",
                   static_cast<int>(dialect.size()), dialect.data(), answer->launches,
                   answer->launches == 1 ? "" : "es", prompts.c_str());
}

// Tensors that several ops read are uploaded once and counted once.
using Counted = std::set<std::pair<uint32_t, BlockRange>>;

bp_match answer_of(const Result<Program>& program, const ops::Op& op, Target& target,
                   Counted* counted) {
  bp_match answer{};
  answer.size = sizeof answer;
  if (!program.ok()) {
    glue::copy_text(answer.reason, sizeof answer.reason, program.status().message());
    return answer;
  }
  answer.verdict = BP_MATCH_YES;
  answer.flags = BP_MATCH_CAPTURE_SAFE;
  if (program->is_deterministic) answer.flags |= BP_MATCH_DETERMINISTIC;
  answer.estimated_ns = estimate_ns(*program);
  answer.workspace_bytes = program->workspace_bytes;
  answer.zeroed_bytes = static_cast<uint32_t>(program->zeroed_bytes);
  for (const WeightUse& use : program->weights) {
    if (!counted->insert({op.inputs[use.input].value, use.range}).second) continue;
    answer.resident_bytes += target.weights.resident_bytes(*use.format, use.range.count);
  }
  set_launches(*program, target, &answer);
  return answer;
}

bp_status match(bp_target* handle, const bp_op* ops, uint64_t op_stride, uint32_t op_count,
                const bp_symbol_range* symbols, uint32_t symbol_count, bp_match* results,
                uint64_t result_stride, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Target& target = *unwrap(handle);
    const ops::Ranges ranges{symbols, symbol_count};
    const ParsedOps parsed = parse(ops, op_stride, op_count);
    std::vector<bp_match> answers(op_count);
    std::vector<bool> possible(op_count);
    Counted counted;
    for (uint32_t i = 0; i < op_count; ++i) {
      const Result<Program> program =
          parsed.readable[i] ? plan(parsed.ops[i], &target, ranges, nullptr)
                             : bp::error(Code::kUnimplemented, "{}", parsed.reasons[i].text());
      answers[i] = answer_of(program, parsed.ops[i], target, &counted);
      possible[i] = program.ok();
    }
    // Launches as they will be when the target is given all that it can run.
    const Placement placement = parsed.placement(target.device, possible, ranges);
    for (uint32_t i = 0; i < op_count; ++i) {
      if (possible[i] && !placement.int8_values.empty()) {
        const auto program = plan(parsed.ops[i], &target, ranges, &placement);
        if (program.ok()) set_launches(*program, target, &answers[i]);
      }
      glue::write_struct(glue::strided(results, i, result_stride), answers[i]);
    }
    return BP_OK;
  });
}

// Loads the code of a program. False where that of a tuned schedule does not compile or load: it is
// forgotten, and the op has to be planned again.
Result<bool> load_code(const Program& program, Target* target) {
  for (const Variant& variant : program.variants) {
    for (const Launch& launch : variant.launches) {
      Status status = target->code.ready(launch.kernel);
      if (status.ok()) continue;
      if (status.code() == Code::kDeviceLost) return status;  // says nothing of the schedule
      if (target->tuned.evict(launch.kernel->key, status)) return false;
      return status;
    }
  }
  return true;
}

Result<Program> plan_ready(const ops::Op& op, Target* target, const ops::Ranges& ranges,
                           const Placement* placement) {
  for (;;) {  // every round forgets a schedule, and standard ones are never forgotten
    Program program = BP_TRY(plan(op, target, ranges, placement));
    if (BP_TRY(load_code(program, target))) return program;
  }
}

Result<std::unique_ptr<PreparedKernel>> prepare_op(Target* target, const bp_op& record,
                                                   const ops::Ranges& ranges,
                                                   const bp_weight* weights, uint64_t stride,
                                                   uint32_t* flags) {
  auto kernel = std::make_unique<PreparedKernel>();
  kernel->device = &target->device;
  ops::Reason reason;
  if (!ops::parse_op(record, &kernel->op, reason)) {
    return error(Code::kUnimplemented, "{}", reason.text());
  }
  kernel->program = BP_TRY(plan_ready(kernel->op, target, ranges, unwrap(record.placement)));
  kernel->op.name = {};  // its text and the attributes belong to the host
  kernel->op.attribute_count = 0;
  bool all_copied = true;
  for (const WeightUse& use : kernel->program.weights) {
    const bp_weight weight = glue::read_struct(glue::strided(weights, use.input, stride));
    bool copied = false;
    kernel->residents.push_back(
        BP_TRY(target->weights.place(weight, *use.format, use.range, &copied)));
    all_copied = all_copied && copied;
    const auto& planes = kernel->residents.back()->planes();
    kernel->planes.insert(kernel->planes.end(), planes.begin(), planes.end());
  }
  BP_TRY(settle_rivals(target, kernel.get(), ranges));
  *flags = all_copied ? BP_KERNEL_COPIED_WEIGHTS : 0;
  return kernel;
}

bp_status prepare(bp_target* handle, const bp_op* record, const bp_symbol_range* symbols,
                  uint32_t symbol_count, const bp_weight* weights, uint64_t weight_stride,
                  bp_kernel** out, uint32_t* flags, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    uint32_t ignored = 0;
    auto kernel = prepare_op(unwrap(handle), glue::read_struct(record), {symbols, symbol_count},
                             weights, weight_stride, flags != nullptr ? flags : &ignored);
    if (!kernel.ok()) return report(kernel.status(), error);
    *out = wrap(kernel->release());
    return BP_OK;
  });
}

bp_status enqueue(bp_kernel* handle, bp_stream* stream, const bp_kernel_launch* record,
                  bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    return unwrap(handle)->enqueue(stream, glue::read_struct(record), error);
  });
}

bp_status release(bp_kernel* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    delete unwrap(handle);
    return BP_OK;
  });
}

bp_status place(bp_target* handle, const bp_op* ops, uint64_t op_stride, uint32_t op_count,
                const uint32_t* chosen, const bp_symbol_range* symbols, uint32_t symbol_count,
                bp_placement** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    const ParsedOps parsed = parse(ops, op_stride, op_count);
    std::vector<bool> ours(op_count);
    for (uint32_t i = 0; i < op_count; ++i) ours[i] = chosen[i] != 0;
    auto placement = std::make_unique<Placement>(
        parsed.placement(unwrap(handle)->device, ours, {symbols, symbol_count}));
    *out = wrap(placement.release());
    return BP_OK;
  });
}

bp_status placement_release(bp_placement* placement, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    delete unwrap(placement);
    return BP_OK;
  });
}

}  // namespace

void set_host(const bp_host* host) noexcept {
  g_host = host;
}

std::vector<Tunable> tunables_of(Target* target, const bp_op* ops, uint64_t op_stride,
                                 uint32_t op_count, const uint32_t* chosen,
                                 const ops::Ranges& ranges) {
  const ParsedOps parsed = parse(ops, op_stride, op_count);
  std::vector<bool> ours(op_count);
  for (uint32_t i = 0; i < op_count; ++i) ours[i] = chosen[i] != 0;
  const Placement placement = parsed.placement(target->device, ours, ranges);
  std::vector<Tunable> out;
  Planner planner(target->device, &target->code, ranges, &placement, &target->tuned);
  planner.collect_into(&out);
  for (uint32_t i = 0; i < op_count; ++i) {
    // An op that cannot be planned is not run either.
    if (ours[i] && parsed.readable[i]) (void)plan_op(parsed.ops[i], planner).ok();
  }
  return out;
}

const bp_kernel_api kKernelApi = {
    sizeof(bp_kernel_api), 0, bind, unbind, match, prepare, enqueue, release, place,
    placement_release,
};

}  // namespace bp::kernels
