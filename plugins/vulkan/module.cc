// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/module.h"

#include "backplane/sealed_binary.h"

namespace bp::vulkan {
namespace {

// What a binary was made for, in the place of an architecture: every driver takes SPIR-V, but the
// code depends on its description.
std::string seal_of(const bp_module_source& source) {
  char text[64];
  glue::print_text(text, sizeof text, "spirv %u.%u.%u.%u", source.group_threads,
                   source.buffer_count, source.param_words, source.subgroup_size);
  return text;
}

bp_status check_source(const Device& device, const bp_module_source& source, bp_error* error) {
  const Adapter& adapter = *device.adapter;
  if (const bp_status status = glue::check_module(source, adapter.caps, error)) return status;
  if (source.subgroup_size == 0 ||
      source.group_threads / source.subgroup_size <= adapter.max_group_subgroups) {
    return BP_OK;
  }
  return glue::fail(error, BP_INVALID_ARGUMENT,
                    "%u threads are more than %u subgroups of %u, which '%s' has in a group",
                    source.group_threads, adapter.max_group_subgroups, source.subgroup_size,
                    adapter.info.name);
}

// Does the code have the interface that the source states? NULL, or what differs.
const char* check_interface(const bp_module_source& source, const std::vector<uint32_t>& words,
                            uint32_t* written) {
  SpirvInterface found;
  if (const char* const wrong = read_spirv(words, &found)) return wrong;
  if (found.group[0] != source.group_threads || found.group[1] != 1 || found.group[2] != 1) {
    return "its workgroup size is not group_threads";
  }
  if (uint64_t{found.bindings} >> source.buffer_count != 0) {
    return "it has buffers beyond buffer_count";
  }
  *written = found.written;
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
    glue::print_text(id, sizeof id, "shaderc, SPIR-V %x.%u; %s; %s; %s", version, revision,
                     device.adapter->info.name, device.adapter->info.driver, uuid);
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
    uint32_t written = 0;
    if (const char* const wrong = check_interface(source, words, &written)) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "the text is not as described: %s", wrong);
    }
    const std::string_view code(reinterpret_cast<const char*>(words.data()),
                                words.size() * sizeof(uint32_t));
    const std::vector<char> sealed = glue::seal_binary(seal_of(source), code);
    binary(user, sealed.data(), sealed.size());
    return BP_OK;
  });
}

bp_status create_pipeline(const std::vector<uint32_t>& words, uint32_t subgroup_size, Module* out,
                          bp_error* error) {
  Device* const device = out->device;
  const VkPushConstantRange params{VK_SHADER_STAGE_COMPUTE_BIT, 0, out->shape.param_words * 4};
  const VkPipelineLayoutCreateInfo layout{
      .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
      .setLayoutCount = 1,
      .pSetLayouts = &device->set_layouts[out->shape.buffer_count],
      .pushConstantRangeCount = out->shape.param_words > 0 ? 1u : 0u,
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
                           out->shape.name.c_str(), result_name(result));
}

bp_status load(bp_device* handle, const bp_module_source* what, const void* binary, uint64_t bytes,
               bp_module** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    const bp_module_source source = glue::read_struct(what);
    if (const bp_status status = device->check_alive(error)) return status;
    if (const bp_status status = check_source(*device, source, error)) return status;
    std::string_view code;
    if (const bp_status status =
            glue::unseal_binary(seal_of(source), binary, bytes, &code, error)) {
      return status;
    }
    auto module = std::make_unique<Module>();
    std::vector<uint32_t> words(code.size() / sizeof(uint32_t));
    std::memcpy(words.data(), code.data(), words.size() * sizeof(uint32_t));
    uint32_t written = 0;
    if (const char* const wrong = check_interface(source, words, &written)) {
      return glue::fail(error, BP_INCOMPATIBLE, "the binary cannot be used, compile anew: %s",
                        wrong);
    }
    module->device = device;
    module->shape = glue::shape_of(source);
    module->shape.written = written;
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
    if (glue::view(name) != module->shape.name && glue::view(name) != "main") {  // GLSL's own name
      return glue::fail(error, BP_NOT_FOUND, "the module's kernel is '%s'",
                        module->shape.name.c_str());
    }
    *out = wrap(&module->function);
    return BP_OK;
  });
}

bp_status launch(bp_stream* handle, bp_function* function, const bp_launch* what, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Module& module = *unwrap(function)->module;
    const DeviceFunctions& vk = module.device->vk;
    Stream* const stream = unwrap(handle);
    const bp_launch launch = glue::read_struct(what);
    const auto describe = [](const bp_buffer* buffer) {
      const Buffer& b = *unwrap(buffer);
      return glue::LaunchBuffer{b.bytes, b.device, b.read_only};
    };
    if (const bp_status s = glue::check_launch(launch, module.shape, module.device, stream->device,
                                               module.device->adapter->caps, describe, error)) {
      return s;
    }
    VkDescriptorBufferInfo bound[kMaxBuffers];
    Access accesses[kMaxBuffers];
    for (uint32_t i = 0; i < launch.buffer_count; ++i) {
      const bp_launch_buffer& argument = launch.buffers[i];
      const Buffer* const buffer = unwrap(argument.buffer);
      bound[i] = {buffer->handle, argument.offset, argument.bytes};
      accesses[i] = {buffer, argument.offset, argument.offset + argument.bytes,
                     (module.shape.written >> i & 1) != 0};
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
    if (module.shape.param_words != 0) {
      vk.CmdPushConstants(recording->commands(), module.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                          module.shape.param_words * 4, launch.params);
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
