// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/module.h"

#include <algorithm>
#include <bit>
#include <cinttypes>

namespace bp::vulkan {
namespace {

// In front of the SPIR-V words of a binary.
struct Header {
  char magic[8];
  uint32_t group_threads, buffer_count, param_words, subgroup_size;
  uint64_t spirv_bytes;
  uint64_t hash;  // of the fields before it and of the words
};
constexpr char kMagic[8] = {'B', 'P', 'S', 'P', 'I', 'R', 'V', '1'};
constexpr uint64_t kMaxSpirvBytes = 64u << 20;

uint64_t fnv1a(const void* data, size_t bytes, uint64_t hash) {
  for (const auto* at = static_cast<const unsigned char*>(data); bytes > 0; --bytes, ++at) {
    hash = (hash ^ *at) * 0x100000001b3;
  }
  return hash;
}

Header make_header(const bp_module_source& source, const std::vector<uint32_t>& words) {
  Header header{};
  std::copy_n(kMagic, sizeof kMagic, header.magic);
  header.group_threads = source.group_threads;
  header.buffer_count = source.buffer_count;
  header.param_words = source.param_words;
  header.subgroup_size = source.subgroup_size;
  header.spirv_bytes = words.size() * sizeof(uint32_t);
  header.hash = fnv1a(&header, offsetof(Header, hash), 0xcbf29ce484222325);
  header.hash = fnv1a(words.data(), header.spirv_bytes, header.hash);
  return header;
}

// Can this device run a kernel of that shape at all?
bp_status check_source(const Device& device, const bp_module_source& source, bp_error* error) {
  const bp_device_caps& caps = device.adapter->caps;
  const struct {
    const char* what;
    uint64_t wanted, most;
  } limits[] = {{"buffers", source.buffer_count, caps.max_buffers},
                {"bytes of params", uint64_t{source.param_words} * 4, caps.max_param_bytes},
                {"threads in a group", source.group_threads, caps.max_group_threads},
                {"bytes of shared memory", source.shared_bytes, caps.shared_bytes}};
  for (const auto& limit : limits) {
    if (limit.wanted <= limit.most) continue;
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "the kernel has %" PRIu64 " %s; '%s' allows %" PRIu64, limit.wanted,
                      limit.what, device.adapter->info.name, limit.most);
  }
  const uint32_t subgroup = source.subgroup_size;
  if (source.group_threads == 0) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "the kernel has no threads");
  }
  if (subgroup == 0) return BP_OK;
  if (caps.subgroup_required == 0 || !std::has_single_bit(subgroup) ||
      subgroup < caps.subgroup_min || subgroup > caps.subgroup_max) {
    return glue::fail(error, BP_INCOMPATIBLE,
                      "the kernel demands subgroups of %u; '%s' %s sizes from %u to %u", subgroup,
                      device.adapter->info.name,
                      caps.subgroup_required ? "has" : "grants no demands among", caps.subgroup_min,
                      caps.subgroup_max);
  }
  if (source.group_threads % subgroup != 0 ||
      source.group_threads / subgroup > device.adapter->max_group_subgroups) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "%u threads are no whole number of subgroups of %u, or more than %u of them",
                      source.group_threads, subgroup, device.adapter->max_group_subgroups);
  }
  return BP_OK;
}

// Does the code have the interface that the source states? NULL, or what differs.
const char* check_interface(const bp_module_source& source, const std::vector<uint32_t>& words,
                            SpirvInterface* out) {
  if (const char* const wrong = read_spirv(words, out)) return wrong;
  if (out->group[0] != source.group_threads || out->group[1] != 1 || out->group[2] != 1) {
    return "its workgroup size is not group_threads";
  }
  if (uint64_t{out->bindings} >> source.buffer_count != 0) {
    return "it has buffers beyond buffer_count";
  }
  return nullptr;
}

bp_status compiler_id(bp_device* handle, bp_bytes_fn out, void* user, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Device& device = *unwrap(handle);
    unsigned version = 0, revision = 0;
    device.driver->shaderc.get_spv_version(&version, &revision);
    char uuid[2 * VK_UUID_SIZE + 1];
    for (size_t i = 0; i < VK_UUID_SIZE; ++i) {
      glue::print_text(uuid + 2 * i, 3, "%02x", device.adapter->cache_uuid[i]);
    }
    char id[512];
    glue::print_text(id, sizeof id, "%.8s; shaderc, SPIR-V %x.%u; %s; %s; %s", kMagic, version,
                     revision, device.adapter->info.name, device.adapter->info.driver, uuid);
    out(user, id, std::strlen(id));
    return BP_OK;
  });
}

bp_status compile(bp_device* handle, const bp_module_source* what, bp_bytes_fn binary,
                  bp_bytes_fn log, void* user, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Device& device = *unwrap(handle);
    const bp_module_source source = glue::read_struct(what);
    if (const bp_status status = check_source(device, source, error)) return status;
    std::vector<uint32_t> words;
    std::string messages;
    const bp_status status = compile_glsl(device.driver->shaderc, source, &words, &messages, error);
    if (log != nullptr && !messages.empty()) log(user, messages.data(), messages.size());
    if (status != BP_OK) return status;
    SpirvInterface interface;
    if (const char* const wrong = check_interface(source, words, &interface)) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "the text is not as described: %s", wrong);
    }
    const Header header = make_header(source, words);
    std::vector<std::byte> bytes(sizeof header + header.spirv_bytes);
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + sizeof header, words.data(), header.spirv_bytes);
    binary(user, bytes.data(), bytes.size());
    return BP_OK;
  });
}

// The words of a binary that was made of this source, or NULL and what is wrong.
const char* open_binary(const bp_module_source& source, const void* binary, uint64_t bytes,
                        std::vector<uint32_t>* words) {
  Header header;
  if (binary == nullptr || bytes < sizeof header) return "it is too short";
  std::memcpy(&header, binary, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) return "it is of another kind";
  if (header.spirv_bytes > kMaxSpirvBytes || header.spirv_bytes % sizeof(uint32_t) != 0 ||
      header.spirv_bytes != bytes - sizeof header) {
    return "its length is wrong";
  }
  words->resize(header.spirv_bytes / sizeof(uint32_t));
  if (words->empty()) return "it is empty";
  std::memcpy(words->data(), static_cast<const std::byte*>(binary) + sizeof header,
              header.spirv_bytes);
  const Header expected = make_header(source, *words);
  return std::memcmp(&header, &expected, sizeof header) == 0
             ? nullptr
             : "it is damaged or was compiled from another description";
}

bp_status create_pipeline(const std::vector<uint32_t>& words, uint32_t subgroup_size, Module* out,
                          bp_error* error) {
  Device* const device = out->device;
  const VkPushConstantRange params{VK_SHADER_STAGE_COMPUTE_BIT, 0, out->param_words * 4};
  const VkPipelineLayoutCreateInfo layout{.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                          .setLayoutCount = 1,
                                          .pSetLayouts = &device->set_layouts[out->buffer_count],
                                          .pushConstantRangeCount = out->param_words > 0 ? 1u : 0u,
                                          .pPushConstantRanges = &params};
  VkResult result = device->vk.CreatePipelineLayout(device->handle, &layout, nullptr, &out->layout);
  if (const bp_status s = device->check(result, "creating a pipeline", error)) return s;
  const VkShaderModuleCreateInfo code{.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                      .codeSize = words.size() * sizeof(uint32_t),
                                      .pCode = words.data()};
  VkShaderModule shader = VK_NULL_HANDLE;
  result = device->vk.CreateShaderModule(device->handle, &code, nullptr, &shader);
  if (const bp_status s = device->check(result, "loading a kernel", error)) return s;
  const VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT subgroup{
      .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
      .requiredSubgroupSize = subgroup_size};
  VkComputePipelineCreateInfo info{.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                   .layout = out->layout};
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  if (subgroup_size != 0) {
    info.stage.pNext = &subgroup;
    info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT;
  }
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = shader;
  info.stage.pName = "main";
  result = device->vk.CreateComputePipelines(device->handle, device->pipelines, 1, &info, nullptr,
                                             &out->pipeline);
  device->vk.DestroyShaderModule(device->handle, shader, nullptr);
  const bp_status status = device->check(result, "creating a pipeline", error);
  if (status != BP_INTERNAL) return status;
  return glue::fail_native(error, BP_INCOMPATIBLE, result, "the driver rejects kernel '%s': %s",
                           out->entry.c_str(), result_name(result));
}

bp_status load(bp_device* handle, const bp_module_source* what, const void* binary, uint64_t bytes,
               bp_module** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    const bp_module_source source = glue::read_struct(what);
    if (const bp_status status = device->check_alive(error)) return status;
    if (const bp_status status = check_source(*device, source, error)) return status;
    auto module = std::make_unique<Module>();
    std::vector<uint32_t> words;
    const char* wrong = open_binary(source, binary, bytes, &words);
    if (wrong == nullptr) wrong = check_interface(source, words, &module->interface);
    if (wrong != nullptr) {
      return glue::fail(error, BP_INCOMPATIBLE, "the binary cannot be used, compile anew: %s",
                        wrong);
    }
    module->device = device;
    module->group_threads = source.group_threads;
    module->buffer_count = source.buffer_count;
    module->param_words = source.param_words;
    module->entry = glue::view(source.entry);
    module->function.module = module.get();
    if (const bp_status status =
            create_pipeline(words, source.subgroup_size, module.get(), error)) {
      return status;
    }
    device->children.fetch_add(1);
    *out = wrap(module.release());
    return BP_OK;
  });
}

bp_status unload(bp_module* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::unique_ptr<Module> module(unwrap(handle));
    if (module != nullptr) module->device->children.fetch_sub(1);
    return BP_OK;
  });
}

bp_status function(bp_module* handle, const bp_string* name, bp_function** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Module* const module = unwrap(handle);
    *out = nullptr;
    if (glue::view(name) != module->entry && glue::view(name) != "main") {  // GLSL's own name
      return glue::fail(error, BP_NOT_FOUND, "the module's kernel is '%s'", module->entry.c_str());
    }
    *out = wrap(&module->function);
    return BP_OK;
  });
}

// Numbers of a launch, buffers apart.
bp_status check_launch(const Module& module, const bp_launch& launch, bp_error* error) {
  const struct {
    const char* what;
    uint32_t given, wanted;
  } counts[] = {{"buffers", launch.buffer_count, module.buffer_count},
                {"param words", launch.param_words, module.param_words},
                {"threads in a group", launch.group_threads, module.group_threads},
                {"further bytes of shared memory", launch.shared_bytes, 0}};
  for (const auto& count : counts) {
    if (count.given == count.wanted) continue;
    return glue::fail(error, BP_INVALID_ARGUMENT, "launch of '%s': %u %s, the kernel takes %u",
                      module.entry.c_str(), count.given, count.what, count.wanted);
  }
  for (size_t i = 0; i < 3; ++i) {
    const uint64_t most = module.device->adapter->caps.max_grid[i];
    if (launch.grid[i] != 0 && launch.grid[i] <= most) continue;
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "launch of '%s': grid[%zu] is %" PRIu64 ", not from 1 to %" PRIu64,
                      module.entry.c_str(), i, launch.grid[i], most);
  }
  if ((launch.buffer_count != 0 && launch.buffers == nullptr) ||
      (launch.param_words != 0 && launch.params == nullptr)) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "launch of '%s': buffers or params are missing",
                      module.entry.c_str());
  }
  return BP_OK;
}

// One buffer argument: what the driver binds and what the kernel may do with it.
bp_status check_argument(const Module& module, const bp_launch_buffer& argument, uint32_t index,
                         VkDescriptorBufferInfo* bound, Access* access, bp_error* error) {
  const bp_device_caps& caps = module.device->adapter->caps;
  const Buffer* const buffer = unwrap(argument.buffer);
  const bool writes = (module.interface.written >> index & 1u) != 0;
  char what[160];
  glue::print_text(what, sizeof what, "launch of '%s', buffer %u", module.entry.c_str(), index);
  if (buffer == nullptr || buffer->device != module.device) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s: %s", what,
                      buffer == nullptr ? "it is NULL" : "it is another device's");
  }
  if (const bp_status status =
          check_range(buffer, argument.offset, argument.bytes, writes, what, error)) {
    return status;
  }
  if (argument.bytes == 0 || argument.bytes > caps.max_buffer_range ||
      argument.offset % caps.buffer_offset_alignment != 0) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "%s: %" PRIu64 " bytes at %" PRIu64 "; 1 to %" PRIu64
                      " bytes at multiples of %u can be bound",
                      what, argument.bytes, argument.offset, caps.max_buffer_range,
                      caps.buffer_offset_alignment);
  }
  *bound = {buffer->handle, argument.offset, argument.bytes};
  *access = {buffer, argument.offset, argument.offset + argument.bytes, writes};
  return BP_OK;
}

bp_status launch(bp_stream* handle, bp_function* function, const bp_launch* what, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Module& module = *unwrap(function)->module;
    const DeviceFunctions& vk = module.device->vk;
    Stream* const stream = unwrap(handle);
    const bp_launch launch = glue::read_struct(what);
    if (stream->device != module.device) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "launch of '%s': the stream is another device's", module.entry.c_str());
    }
    if (const bp_status status = check_launch(module, launch, error)) return status;
    VkDescriptorBufferInfo bound[kMaxBuffers];
    Access accesses[kMaxBuffers];
    for (uint32_t i = 0; i < launch.buffer_count; ++i) {
      if (const bp_status status =
              check_argument(module, launch.buffers[i], i, &bound[i], &accesses[i], error)) {
        return status;
      }
    }
    Recording* recording = nullptr;
    if (const bp_status s = stream->recorder("launch", true, &recording, error)) return s;
    if (const bp_status s = recording->bind(module.layout, launch.buffer_count, bound, error)) {
      return s;
    }
    for (uint32_t i = 0; i < launch.buffer_count; ++i)
      unwrap(launch.buffers[i].buffer)->used = true;
    recording->order(accesses, launch.buffer_count);
    recording->use(module.pipeline);
    if (module.param_words != 0) {
      vk.CmdPushConstants(recording->commands(), module.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                          module.param_words * 4, launch.params);
    }
    vk.CmdDispatch(recording->commands(), static_cast<uint32_t>(launch.grid[0]),
                   static_cast<uint32_t>(launch.grid[1]), static_cast<uint32_t>(launch.grid[2]));
    return BP_OK;
  });
}

}  // namespace

Module::~Module() {
  if (device == nullptr) return;
  device->vk.DestroyPipeline(device->handle, pipeline, nullptr);
  device->vk.DestroyPipelineLayout(device->handle, layout, nullptr);
}

const bp_module_api kModuleApi = {
    sizeof(bp_module_api), 0, compiler_id, compile, load, unload, function, launch,
};

}  // namespace bp::vulkan
