// SPDX-License-Identifier: Apache-2.0
// The CPU plugin with one fault, chosen by BACKPLANE_TEST_FAULT; none when that is empty. Proof
// that the checks can fail. Three variants are no faults: they round activations as a provider may.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <vector>

#include "backplane/float16.h"
#include "backplane/plugin.h"
#include "plugins/cpu/device.h"
#include "plugins/cpu/host.h"
#include "plugins/cpu/isa.h"
#include "plugins/cpu/kernel.h"
#include "plugins/cpu/memory.h"
#include "plugins/cpu/stream.h"
#include "sdk/conformance/testing/faulty_gemm.h"

namespace bp::cpu {
namespace {

bool has(std::string_view fault) {
  static const char* const chosen = std::getenv("BACKPLANE_TEST_FAULT");
  return chosen != nullptr && fault == chosen;
}

// ---- device and memory --------------------------------------------------------------------------

bp_status describe(uint32_t index, bp_device_info* out, bp_error* error) {
  if (has("ignores_struct_size") && index == 0) {
    *out = device_info();
    return BP_OK;
  }
  return kDeviceApi.describe(index, out, error);
}

bp_status alloc(bp_device* device, uint32_t heap, uint64_t bytes, bp_buffer** out,
                bp_error* error) {
  if (has("shares_buffers")) {  // every buffer is the first one again
    static bp_buffer* first = nullptr;
    if (first == nullptr) kMemoryApi.alloc(device, heap, 64 << 20, &first, error);
    Buffer* const alias = new Buffer(*unwrap(first));
    alias->bytes = bytes;
    alias->mapped_bytes = 0;
    alias->device->children.fetch_add(1);
    *out = wrap(alias);
    return BP_OK;
  }
  const bp_status status = kMemoryApi.alloc(device, heap, bytes, out, error);
  return has("reports_internal") && status == BP_EXHAUSTED ? BP_INTERNAL : status;
}

bp_status import(bp_device* device, const bp_import* what, bp_buffer** out, bp_error* error) {
  bp_import changed = *what;
  if (has("forgets_read_only")) changed.flags = 0;
  return kMemoryApi.import(device, &changed, out, error);
}

bp_status release_buffer(bp_buffer* buffer, bp_error* error) {
  return has("leaks_buffers") ? BP_OK : kMemoryApi.free(buffer, error);
}

// ---- streams ------------------------------------------------------------------------------------

bp_status copy(bp_stream* stream, bp_buffer* to, uint64_t to_offset, bp_buffer* from,
               uint64_t from_offset, uint64_t bytes, bp_error* error) {
  const bool fits =
      from_offset <= unwrap(from)->bytes && bytes <= unwrap(from)->bytes - from_offset;
  if (has("ignores_copy_offset") && fits) from_offset = 0;
  return kStreamApi.copy(stream, to, to_offset, from, from_offset, bytes, error);
}

bp_status read(bp_stream* stream, void* to, bp_buffer* from, uint64_t offset, uint64_t bytes,
               bp_error* error) {
  if (has("crashes") && offset % 2 == 1) *static_cast<volatile int*>(nullptr) = 1;
  return kStreamApi.read(stream, to, from, offset, bytes, error);
}

bp_status fill(bp_stream* stream, bp_buffer* to, uint64_t offset, uint64_t bytes, uint32_t word,
               bp_error* error) {
  if (has("drops_fill_tail") && bytes % 16 != 0 && bytes % 4 == 0 && bytes > 16)
    bytes -= bytes % 16;
  return kStreamApi.fill(stream, to, offset, bytes, word, error);
}

bp_status signal(bp_stream* stream, bp_timeline* timeline, uint64_t value, bp_error* error) {
  if (has("never_signals")) return BP_OK;
  return kStreamApi.signal(stream, timeline, value, error);
}

bp_status host_wait(bp_timeline* timeline, uint64_t value, uint64_t timeout_ns, bp_error* error) {
  if (has("waits_for_ever")) timeout_ns = UINT64_MAX;
  return kStreamApi.host_wait(timeline, value, timeout_ns, error);
}

bp_status wait(bp_stream* stream, bp_timeline* timeline, uint64_t value, bp_error* error) {
  return has("ignores_waits") ? BP_OK : kStreamApi.wait(stream, timeline, value, error);
}

// ---- activations, rounded as docs of the tolerances allow
// ------------------------------------------

// Where a kernel finds activations that meet weights, and how precise these are.
struct Activations {
  bool exist = false, quantized = false;
  std::vector<bp_dim> dims;
};
std::mutex activations_mutex;
std::map<bp_kernel*, Activations> activations_of;  // guarded by activations_mutex

void remember_activations(bp_kernel* kernel, const bp_op& op) {
  const std::string_view name = glue::view(op.name);
  Activations found;
  found.exist = name.find("linear") != std::string_view::npos;
  if (found.exist) {
    const bp_operand x = glue::read_struct(op.inputs);
    const bp_operand weight = glue::read_struct(glue::strided(op.inputs, 1, op.operand_stride));
    const std::string_view format = glue::view(weight.format);
    found.quantized = format.find('f') == std::string_view::npos || format == "mxfp4";
    found.exist = format != "f32";
    found.dims.assign(x.dims, x.dims + x.rank);
  }
  const std::lock_guard lock(activations_mutex);
  activations_of[kernel] = std::move(found);
}

// One scale for `block` values, as kernels with integer dot products have.
void quantize(float* x, uint64_t columns, uint64_t block) {
  for (uint64_t begin = 0; begin < columns; begin += block) {
    const uint64_t end = std::min(begin + block, columns);
    float largest = 0;
    for (uint64_t i = begin; i < end; ++i) largest = std::max(largest, std::abs(x[i]));
    const float scale = f16_to_f32(f32_to_f16(largest / 127));
    for (uint64_t i = begin; i < end && scale > 0; ++i) {
      x[i] = std::min(127.0f, std::max(-127.0f, std::nearbyint(x[i] / scale))) * scale;
    }
  }
}

std::byte* memory_of(const bp_operand_buffer& where);

// Rounds the activations in place; gives the original ones.
std::vector<float> round_activations(bp_kernel* kernel, const bp_kernel_launch& launch) {
  Activations activations;
  {
    const std::lock_guard lock(activations_mutex);
    activations = activations_of[kernel];
  }
  const bool to_int8 = has("rounds_to_int8") || has("rounds_to_int8_by_256");
  if (!activations.exist || (to_int8 && !activations.quantized)) return {};
  uint64_t count = 1;
  uint64_t extent = 1;
  for (const bp_dim& dim : activations.dims) {
    evaluate_dim(dim, launch.symbols, launch.symbol_count, &extent);
    count *= extent;
  }
  float* const x = reinterpret_cast<float*>(memory_of(launch.inputs[0]));
  std::vector<float> original(x, x + count);
  for (uint64_t i = 0; i < count; ++i) {
    if (!to_int8) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
    if (to_int8 && i % extent == 0) quantize(x + i, extent, has("rounds_to_int8") ? 32 : 256);
  }
  return original;
}

// ---- kernels ------------------------------------------------------------------------------------

bp_status bind(const bp_bind_info* info, bp_target** out, bp_error* error) {
  bp_bind_info changed = glue::read_struct(info);
  if (has("binds_to_anything") || glue::view(changed.plugin_id) == "faulty") {
    changed.plugin_id = glue::text("cpu");
  }
  if (has("binds_to_anything")) {
    static Device somewhere;
    changed.device = wrap(&somewhere);
  }
  return kKernelApi.bind(&changed, out, error);
}

bp_status match(bp_target* target, const bp_op* ops, uint64_t op_stride, uint32_t op_count,
                const bp_symbol_range* symbols, uint32_t symbol_count, bp_match* results,
                uint64_t result_stride, bp_error* error) {
  const bp_status status = kKernelApi.match(target, ops, op_stride, op_count, symbols, symbol_count,
                                            results, result_stride, error);
  for (uint32_t i = 0; i < op_count && status == BP_OK; ++i) {
    bp_match* const answer = glue::strided(results, i, result_stride);
    if (has("claims_everything")) answer->verdict = BP_MATCH_YES;
    if (has("forgets_strides") && i > 0) {
      *answer = bp_match{};
      answer->size = sizeof(bp_match);
    }
  }
  return status;
}

bp_status prepare(bp_target* target, const bp_op* op, const bp_symbol_range* symbols,
                  uint32_t symbol_count, const bp_weight* weights, uint64_t weight_stride,
                  bp_kernel** out, uint32_t* flags, bp_error* error) {
  const bp_status status = kKernelApi.prepare(target, op, symbols, symbol_count, weights,
                                              weight_stride, out, flags, error);
  if (status == BP_OK) remember_activations(*out, *op);
  if (has("claims_copied_weights") && flags != nullptr) *flags |= BP_KERNEL_COPIED_WEIGHTS;
  return status;
}

// ---- running
// ----------------------------------------------------------------------------------------

std::byte* memory_of(const bp_operand_buffer& where) {
  return unwrap(where.buffer)->data + where.offset;
}

bp_status enqueue(bp_kernel* kernel, bp_stream* stream, const bp_kernel_launch* launch,
                  bp_error* error) {
  bp_kernel_launch changed = *launch;
  bp_operand_buffer moved[2];
  if (has("ignores_operand_offset") && launch->output_count == 1) {
    moved[0] = launch->outputs[0];
    moved[0].offset = 0;
    changed.outputs = moved;
  }
  std::vector<float> original;
  if (has("rounds_to_int8") || has("rounds_to_int8_by_256") || has("rounds_to_bf16")) {
    original = round_activations(kernel, *launch);
  }
  const bp_status status = kKernelApi.enqueue(kernel, stream, &changed, error);
  if (!original.empty()) {
    std::memcpy(memory_of(launch->inputs[0]), original.data(), 4 * original.size());
  }
  if (status != BP_OK || launch->output_count == 0) return status;
  std::byte* const first = memory_of(launch->outputs[0]);
  if (has("writes_past_output")) first[launch->outputs[0].bytes] = std::byte{0x11};
  if (has("writes_into_input")) *memory_of(launch->inputs[0]) = std::byte{0x11};
  if (has("returns_wrong_numbers")) {  // the first output, by a tenth
    float value = 0;
    std::memcpy(&value, first, 4);
    value = value * 1.1f + 0.01f;
    std::memcpy(first, &value, 4);
  }
  if (has("returns_noise")) {
    static uint32_t calls = 0;
    uint32_t bits = 0;
    std::memcpy(&bits, first, 4);
    bits ^= ++calls & 1u;
    std::memcpy(first, &bits, 4);
  }
  return status;
}

// ---- the plugin ---------------------------------------------------------------------------------

bp_status probe(const bp_host*, bp_probe_result* out, bp_error*) {
  bp_probe_result result{};
  result.size = sizeof result;
  if (has("has_no_driver")) {
    result.reason = BP_PROBE_NO_DRIVER;
    glue::copy_text(result.detail, sizeof result.detail, "libnobody.so.1 is absent");
  }
  glue::write_struct(out, result);
  return BP_OK;
}

bp_status init(const bp_host* services, bp_error*) {
  set_host(services);
  return BP_OK;
}

bp_status get_interface(const bp_string* id, const void** out, bp_error*) {
  static const bp_device_api device = [] {
    bp_device_api table = kDeviceApi;
    table.describe = describe;
    return table;
  }();
  static const bp_memory_api memory = [] {
    bp_memory_api table = kMemoryApi;
    table.alloc = alloc;
    table.import = import;
    table.free = release_buffer;
    return table;
  }();
  static const bp_stream_api stream = [] {
    bp_stream_api table = kStreamApi;
    table.copy = copy;
    table.read = read;
    table.fill = fill;
    table.signal = signal;
    table.wait = wait;
    table.host_wait = host_wait;
    return table;
  }();
  static const bp_kernel_api kernel = {
      sizeof(bp_kernel_api), 0,       bind,   kKernelApi.unbind, match, prepare, enqueue,
      kKernelApi.release,    nullptr, nullptr};
  const std::string_view name = glue::view(id);
  *out = nullptr;
  if (name == BP_INTERFACE_DEVICE) *out = &device;
  if (name == BP_INTERFACE_MEMORY) *out = &memory;
  if (name == BP_INTERFACE_STREAM) *out = &stream;
  if (name == BP_INTERFACE_KERNEL) *out = &kernel;
  if (name == BP_INTERFACE_GEMM) *out = faulty_gemm(has);
  if (has("invents_interfaces") && *out == nullptr) *out = &device;
  return BP_OK;
}

bp_status quiesce(uint64_t, bp_error*) {
  poison_all_timelines(BP_CANCELLED);
  return BP_OK;
}

bp_status shutdown(bp_error*) {
  set_host(nullptr);
  return BP_OK;
}

constexpr bp_plugin_api kPluginApi = {
    sizeof(bp_plugin_api), 0, probe, init, get_interface, quiesce, shutdown,
};

}  // namespace
}  // namespace bp::cpu

extern "C" BP_EXPORT bp_status bp_plugin_query_1(const bp_host*, bp_plugin_desc* out, bp_error*) {
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  desc.abi_minor = BP_ABI_MINOR;
  desc.id = bp::glue::text("faulty");
  desc.version = bp::glue::text("0.1.0");
  desc.build_id = bp::glue::text("faulty-1");
  desc.api = &bp::cpu::kPluginApi;
  bp::glue::write_struct(out, desc);
  return BP_OK;
}
