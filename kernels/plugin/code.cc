// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/code.h"

#include <fmt/format.h>

#include "kernels/legalize.h"
#include "kernels/render/render.h"

namespace bp::kernels {
namespace {

constexpr size_t kMaxEntries = 1u << 16;  // kernels of one device

void append_bytes(void* user, const void* data, uint64_t bytes) {
  auto* out = static_cast<std::vector<std::byte>*>(user);
  const auto* from = static_cast<const std::byte*>(data);
  out->insert(out->end(), from, from + bytes);
}

std::string_view text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Output of a compilation; the two callbacks share one user pointer.
struct Output {
  std::vector<std::byte> binary, log;
};

}  // namespace

CodeLibrary::CodeLibrary(const Device& device, std::string folder)
    : device_(device), store_(std::move(folder)) {}

CodeLibrary::~CodeLibrary() {
  for (const auto& [key, entry] : entries_) {
    if (entry->code.module != nullptr) device_.module->unload(entry->code.module, nullptr);
  }
}

Result<DeviceKernel*> CodeLibrary::get(const std::string& key, const Build& build) {
  const std::lock_guard lock(building_);
  const auto found = entries_.find(key);
  if (found != entries_.end()) {
    if (!found->second->failure.ok()) return Status(found->second->failure);
    return &found->second->code;
  }
  if (entries_.size() >= kMaxEntries) {
    return error(Code::kExhausted, "more than {} kernels on one device", kMaxEntries);
  }
  auto entry = std::make_unique<Entry>();
  entry->code.key = key;
  const auto make = [&]() -> Status {
    entry->code.kernel = BP_TRY(legalize(BP_TRY(build()), device_.caps));
    return {};
  };
  entry->failure = make();
  Entry& kept = *entries_.emplace(key, std::move(entry)).first->second;
  if (!kept.failure.ok()) return Status(kept.failure);
  return &kept.code;
}

Status CodeLibrary::ready(DeviceKernel* code) {
  const std::lock_guard lock(loading_);
  if (code->function != nullptr) return {};
  return load(code).with_context("kernel '{}'", code->kernel.name);
}

Result<std::string> CodeLibrary::compiler_id() {
  if (compiler_id_.empty()) {
    std::vector<std::byte> id;
    BP_TRY(call("asking for the compiler's version", device_.module->compiler_id, device_.handle,
                &append_bytes, static_cast<void*>(&id)));
    compiler_id_ = text_of(id);
  }
  return compiler_id_;
}

Status CodeLibrary::load(DeviceKernel* code) {
  const Kernel& kernel = code->kernel;
  const std::string text = BP_TRY(render(kernel, device_.caps));
  const std::string entry = entry_point(kernel, device_.caps);
  bp_module_source source{};
  source.size = sizeof source;
  source.subgroup_size = kernel.subgroup_size;
  source.text = glue::text(text);
  source.entry = glue::text(entry);
  const std::string_view options = compile_options(kernel, device_.caps);
  source.options = glue::text(options);
  source.group_threads = kernel.threads;
  source.buffer_count = static_cast<uint32_t>(kernel.buffers.size());
  source.param_words = static_cast<uint32_t>(kernel.params.size());
  source.flags = device_.caps.early_launch ? BP_MODULE_AWAITS : 0;
  const std::string key = fmt::format(
      "{}\n{}\n{}\nsubgroup {} threads {} buffers {} params {} options {}\n{}",
      BP_TRY(compiler_id()), dialect_name(device_.caps.dialect), entry, source.subgroup_size,
      source.group_threads, source.buffer_count, source.param_words, options, text);
  if (const auto stored = store_.read(key)) {
    Status loaded = load_binary(source, *stored, code);
    if (loaded.ok() || loaded.code() == Code::kDeviceLost) return loaded;
    // Neither a lost device nor a full one says anything of the file.
    if (loaded.code() != Code::kExhausted) store_.remove(key);
  }
  const std::vector<std::byte> binary = BP_TRY(compile(source));
  ++compiled_;
  glue::log(device_.host, BP_LOG_DEBUG, "compiled %s", entry.c_str());
  BP_TRY(load_binary(source, binary, code));
  store_.write(key, binary);
  return {};
}

Result<std::vector<std::byte>> CodeLibrary::compile(const bp_module_source& source) {
  Output output;
  const bp_bytes_fn binary = [](void* user, const void* data, uint64_t bytes) {
    append_bytes(&static_cast<Output*>(user)->binary, data, bytes);
  };
  const bp_bytes_fn log = [](void* user, const void* data, uint64_t bytes) {
    append_bytes(&static_cast<Output*>(user)->log, data, bytes);
  };
  const Status status = call("compiling", device_.module->compile, device_.handle, &source, binary,
                             log, static_cast<void*>(&output));
  if (!status.ok()) {
    glue::log(device_.host, BP_LOG_ERROR, "%.*s", static_cast<int>(output.log.size()),
              text_of(output.log).data());
    // The text is ours: that this device's compiler refuses it is nothing that a caller did wrong.
    if (status.code() != Code::kInvalidArgument) return Status(status);
    Status refused(Code::kIncompatible, status.message());
    refused.set_native(status.native());
    return refused;
  }
  return std::move(output.binary);
}

Status CodeLibrary::load_binary(const bp_module_source& source,
                                const std::vector<std::byte>& binary, DeviceKernel* code) {
  bp_module* module = nullptr;
  BP_TRY(call("loading code", device_.module->load, device_.handle, &source,
              static_cast<const void*>(binary.data()), uint64_t{binary.size()}, &module));
  bp_function* function = nullptr;
  Status status =
      call("looking up the entry", device_.module->function, module, &source.entry, &function);
  if (!status.ok()) {
    device_.module->unload(module, nullptr);
    return status;
  }
  code->module = module;
  code->function = function;
  return {};
}

}  // namespace bp::kernels
