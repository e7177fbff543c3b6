// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/testing/op_runner.h"

#include <random>

#include "backplane/dequantize.h"

extern "C" bp_status bp_plugin_query_1(const bp_host* host, bp_plugin_desc* out, bp_error* error);

namespace bp::cpu::testing {
namespace {

template <class T>
const T* fetch(const bp_plugin_api* api, const char* id) {
  const bp_string name = glue::text(id);
  const void* table = nullptr;
  api->get_interface(&name, &table, nullptr);
  return static_cast<const T*>(table);
}

uint64_t product(const std::vector<uint64_t>& dims) {
  uint64_t out = 1;
  for (const uint64_t d : dims) out *= d;
  return out;
}

void put_half(std::vector<std::byte>& plane, size_t index, float value) {
  const uint16_t bits = f32_to_f16(value);
  std::memcpy(plane.data() + 2 * index, &bits, 2);
}

}  // namespace

OpenPlugin::OpenPlugin(const char* isa, uint32_t workers) : host_(workers) {
  if (*isa == '\0') {
    unsetenv("BACKPLANE_CPU_ISA");
  } else {
    setenv("BACKPLANE_CPU_ISA", isa, 1);
  }
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  bp_plugin_query_1(host_.table(), &desc, nullptr);
  plugin_api = desc.api;
  initialised = plugin_api->init(host_.table(), nullptr) == BP_OK;
  device_api = fetch<bp_device_api>(plugin_api, BP_INTERFACE_DEVICE);
  memory_api = fetch<bp_memory_api>(plugin_api, BP_INTERFACE_MEMORY);
  stream_api = fetch<bp_stream_api>(plugin_api, BP_INTERFACE_STREAM);
  kernel_api = fetch<bp_kernel_api>(plugin_api, BP_INTERFACE_KERNEL);
  device_api->open(0, &device, nullptr);
  stream_api->create(device, &stream, nullptr);
  bp_bind_info bind{};
  bind.size = sizeof bind;
  bind.plugin_id = glue::text("cpu");
  bind.device = device;
  kernel_api->bind(&bind, &target, nullptr);
}

OpenPlugin::~OpenPlugin() {
  kernel_api->unbind(target, nullptr);
  stream_api->destroy(stream, nullptr);
  device_api->close(device, nullptr);
  plugin_api->shutdown(nullptr);
  unsetenv("BACKPLANE_CPU_ISA");
}

std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> out(count);
  for (float& value : out) value = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
  return out;
}

TestWeight TestWeight::random(std::string_view format, std::vector<uint64_t> dims, uint32_t seed) {
  TestWeight out;
  out.format = find_weight_format(format);
  out.dims = std::move(dims);
  const uint64_t blocks = product(out.dims) / out.format->block_elements;
  std::mt19937 random(seed);
  const auto scale = [&] { return (static_cast<float>(random() % 1000) + 200.0f) * 2e-5f; };
  for (uint32_t p = 0; p < out.format->plane_count; ++p) {
    const PlaneLayout& layout = out.format->planes[p];
    std::vector<std::byte> plane(blocks * layout.bytes_per_block);
    for (std::byte& byte : plane) byte = static_cast<std::byte>(random());
    const bool is_half = layout.name == "super" || layout.name == "minima" ||
                         (layout.name == "scales" && layout.bytes_per_block == 2);
    for (size_t i = 0; is_half && i < plane.size() / 2; ++i) {
      const float sign = random() % 2 == 0 ? 1.0f : -1.0f;
      put_half(plane, i, sign * scale());
    }
    if (format == "mxfp4" && layout.name == "scales") {
      for (std::byte& byte : plane) byte = static_cast<std::byte>(118 + random() % 6);
    }
    if (layout.name == "values") {
      for (uint64_t i = 0; i < blocks; ++i) {
        const float value = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
        if (format == "f32") std::memcpy(plane.data() + 4 * i, &value, 4);
        if (format == "f16") put_half(plane, i, value);
        const uint16_t brain = f32_to_bf16(value);
        if (format == "bf16") std::memcpy(plane.data() + 2 * i, &brain, 2);
      }
    }
    out.planes.push_back(std::move(plane));
  }
  return out;
}

TestWeight TestWeight::f32(std::vector<uint64_t> dims, const std::vector<float>& values) {
  TestWeight out;
  out.format = find_weight_format("f32");
  out.dims = std::move(dims);
  const auto* const bytes = reinterpret_cast<const std::byte*>(values.data());
  out.planes.emplace_back(bytes, bytes + values.size() * sizeof(float));
  return out;
}

std::vector<float> TestWeight::dequantized() const {
  const std::byte* at[4] = {};
  for (size_t p = 0; p < planes.size(); ++p) at[p] = planes[p].data();
  std::vector<float> out(product(dims));
  dequantize_blocks(*format, at, 0, out.size() / format->block_elements, out.data());
  return out;
}

OpRunner& OpRunner::attribute(std::string name, int64_t value) {
  attributes_.push_back({std::move(name), BP_ATTRIBUTE_INT, value});
  return *this;
}
OpRunner& OpRunner::attribute(std::string name, double value) {
  attributes_.push_back({std::move(name), BP_ATTRIBUTE_FLOAT, 0, value});
  return *this;
}
OpRunner& OpRunner::attribute(std::string name, std::string value) {
  attributes_.push_back({std::move(name), BP_ATTRIBUTE_STRING, 0, 0, std::move(value)});
  return *this;
}
OpRunner& OpRunner::absent() {
  inputs_.emplace_back();
  return *this;
}
OpRunner& OpRunner::add_input(int32_t role, std::string format, std::vector<uint64_t> dims,
                              const void* data, size_t bytes) {
  Slot slot;
  slot.role = role;
  slot.format = std::move(format);
  slot.dims = std::move(dims);
  const auto* const from = static_cast<const std::byte*>(data);
  slot.bytes.assign(from, from + bytes);
  inputs_.push_back(std::move(slot));
  return *this;
}
OpRunner& OpRunner::input(std::vector<uint64_t> dims, const std::vector<float>& values) {
  return add_input(BP_ROLE_INPUT, "f32", std::move(dims), values.data(), values.size() * 4);
}
OpRunner& OpRunner::input(std::vector<uint64_t> dims, const std::vector<int32_t>& values) {
  return add_input(BP_ROLE_INPUT, "i32", std::move(dims), values.data(), values.size() * 4);
}
OpRunner& OpRunner::state(std::string format, std::vector<uint64_t> dims,
                          const std::vector<std::byte>& bytes) {
  return add_input(BP_ROLE_STATE, std::move(format), std::move(dims), bytes.data(), bytes.size());
}
OpRunner& OpRunner::weight(const TestWeight& weight) {
  Slot slot;
  slot.role = BP_ROLE_WEIGHT;
  slot.format = weight.format->name;
  slot.dims = weight.dims;
  slot.weight = weight;
  inputs_.push_back(std::move(slot));
  return *this;
}
OpRunner& OpRunner::output(std::vector<uint64_t> dims, std::string format) {
  Slot slot;
  slot.role = BP_ROLE_OUTPUT;
  slot.format = std::move(format);
  slot.bytes.assign(product(dims) * 4, std::byte{0xff});  // NaN wherever nothing is written
  slot.dims = std::move(dims);
  outputs_.push_back(std::move(slot));
  return *this;
}
OpRunner& OpRunner::output_in_place(uint32_t input) {
  Slot slot;
  slot.role = BP_ROLE_OUTPUT;
  slot.format = inputs_[input].format;
  slot.dims = inputs_[input].dims;
  slot.shares_input = static_cast<int>(input);
  outputs_.push_back(std::move(slot));
  return *this;
}

bp_status OpRunner::run(OpenPlugin& plugin) {
  std::deque<std::vector<bp_dim>> dims;
  const auto record = [&](const Slot& slot) {
    bp_operand out{};
    out.size = sizeof out;
    out.role = slot.role;
    if (slot.role == BP_ROLE_NONE) return out;
    out.format = glue::text(slot.format);
    std::vector<bp_dim>& shape = dims.emplace_back();
    for (const uint64_t d : slot.dims) shape.push_back({-1, 0, 0, d});
    out.dims = shape.data();
    out.rank = static_cast<uint32_t>(shape.size());
    return out;
  };
  std::vector<bp_operand> inputs, outputs;
  for (const Slot& slot : inputs_) inputs.push_back(record(slot));
  for (const Slot& slot : outputs_) outputs.push_back(record(slot));
  std::vector<bp_attribute> attributes;
  for (const Attribute& a : attributes_) {
    attributes.push_back({sizeof(bp_attribute), a.kind, glue::text(a.name), a.int_value,
                          a.float_value, glue::text(a.string_value)});
  }
  bp_op op{};
  op.size = sizeof op;
  op.version = 1;
  op.name = glue::text(name_);
  op.inputs = inputs.data();
  op.outputs = outputs.data();
  op.attributes = attributes.data();
  op.input_count = static_cast<uint32_t>(inputs.size());
  op.output_count = static_cast<uint32_t>(outputs.size());
  op.attribute_count = static_cast<uint32_t>(attributes.size());
  op.operand_stride = sizeof(bp_operand);
  op.attribute_stride = sizeof(bp_attribute);
  op.layer = 3;

  bp_match match{};
  match.size = sizeof match;
  bp_error error = BP_ERROR_INIT;
  bp_status status = plugin.kernel_api->match(plugin.target, &op, sizeof op, 1, nullptr, 0, &match,
                                              sizeof match, &error);
  message = match.reason;
  if (status != BP_OK) return status;
  if (match.verdict != BP_MATCH_YES) return BP_UNIMPLEMENTED;
  variant = match.reason;

  std::vector<bp_weight> weights(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    weights[i].size = sizeof(bp_weight);
    const TestWeight& weight = inputs_[i].weight;
    weights[i].plane_count = static_cast<uint32_t>(weight.planes.size());
    for (size_t p = 0; p < weight.planes.size(); ++p) {
      weights[i].planes[p] = weight.planes[p].data();
      weights[i].bytes[p] = weight.planes[p].size();
    }
  }
  bp_kernel* kernel = nullptr;
  uint32_t flags = 0;
  status = plugin.kernel_api->prepare(plugin.target, &op, nullptr, 0, weights.data(),
                                      sizeof(bp_weight), &kernel, &flags, &error);
  message = error.text;
  if (status != BP_OK) return status;

  std::vector<bp_buffer*> buffers;
  const auto import = [&](const std::vector<std::byte>& bytes) {
    bp_operand_buffer out{};
    if (bytes.empty()) return out;
    bp_import what{};
    what.size = sizeof what;
    what.kind = BP_IMPORT_HOST_POINTER;
    what.pointer = const_cast<std::byte*>(bytes.data());
    what.length = bytes.size();
    plugin.memory_api->import(plugin.device, &what, &out.buffer, nullptr);
    out.bytes = bytes.size();
    buffers.push_back(out.buffer);
    return out;
  };
  std::vector<bp_operand_buffer> in, out;
  for (const Slot& slot : inputs_) in.push_back(import(slot.bytes));
  for (const Slot& slot : outputs_) out.push_back(import(storage(slot).bytes));
  uint64_t workspace_bytes = match.workspace_bytes;
  if (!workspace_limit.empty()) workspace_bytes = workspace_limit[0];
  const std::vector<std::byte> workspace(workspace_bytes, std::byte{0xff});
  bp_kernel_launch launch{};
  launch.size = sizeof launch;
  launch.input_count = op.input_count;
  launch.output_count = op.output_count;
  launch.inputs = in.data();
  launch.outputs = out.data();
  launch.workspace = import(workspace);
  status = plugin.kernel_api->enqueue(kernel, plugin.stream, &launch, &error);
  message = error.text;
  plugin.kernel_api->release(kernel, nullptr);
  for (bp_buffer* buffer : buffers) plugin.memory_api->free(buffer, nullptr);
  return status;
}

std::vector<float> OpRunner::result(uint32_t slot) const {
  const std::vector<std::byte>& bytes = storage(outputs_[slot]).bytes;
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), out.size() * 4);
  return out;
}
std::vector<int32_t> OpRunner::int_result(uint32_t slot) const {
  const std::vector<std::byte>& bytes = storage(outputs_[slot]).bytes;
  std::vector<int32_t> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), out.size() * 4);
  return out;
}

}  // namespace bp::cpu::testing
