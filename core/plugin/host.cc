// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/host.h"

#include <algorithm>
#include <cstdlib>

#include "core/base/log.h"
#include "core/platform/process.h"
#include "core/platform/thread_pool.h"

namespace bp {
namespace {
constexpr uint64_t kMaxMessageBytes = 4096;
constexpr uint64_t kMaxAlignment = 64 * 1024;
}  // namespace

Host::Host(std::string plugin_id, const std::filesystem::path& plugin_dir)
    : id_(std::move(plugin_id)), plugin_dir_(plugin_dir.native()) {
  const std::filesystem::path cache = cache_folder();
  if (!cache.empty()) cache_dir_ = (cache / "plugins" / id_).native();
  table_.size = sizeof(table_);
  table_.abi_minor = BP_ABI_MINOR;
  table_.user = this;
  table_.plugin_dir = {plugin_dir_.data(), plugin_dir_.size()};
  table_.cache_dir = {cache_dir_.data(), cache_dir_.size()};
  table_.log = &Host::log;
  table_.allocate = &Host::allocate;
  table_.release = &Host::release;
  table_.parallel_for = &Host::parallel_for;
  table_.workers = &Host::workers;
  table_.trace_begin = &Host::trace;
  table_.trace_end = &Host::trace_end;
}

void Host::silence() noexcept {
  silent_.store(true, std::memory_order_relaxed);
}

void Host::log(void* user, int32_t level, const bp_string* message) {
  const auto* host = static_cast<const Host*>(user);
  if (message == nullptr || message->data == nullptr) return;
  if (host->silent_.load(std::memory_order_relaxed)) return;
  const auto bounded = static_cast<log::Level>(std::clamp(level, BP_LOG_TRACE, BP_LOG_ERROR));
  const std::string_view text(message->data, std::min(message->length, kMaxMessageBytes));
  log::message(bounded, "[{}] {}", host->id_, text);
}

void* Host::allocate(void*, uint64_t bytes, uint64_t alignment) {
  const bool power_of_two = alignment != 0 && (alignment & (alignment - 1)) == 0;
  if (!power_of_two || alignment > kMaxAlignment || bytes > UINT64_MAX - alignment) return nullptr;
  alignment = std::max<uint64_t>(alignment, sizeof(void*));
  const uint64_t rounded = (std::max<uint64_t>(bytes, 1) + alignment - 1) & ~(alignment - 1);
  return std::aligned_alloc(alignment, rounded);
}

void Host::release(void*, void* memory) {
  std::free(memory);
}

bp_status Host::parallel_for(void*, uint64_t items, uint64_t grain, bp_parallel_fn fn,
                             void* fn_user) {
  if (fn == nullptr) return BP_INVALID_ARGUMENT;
  ThreadPool::shared().run(items, grain, fn, fn_user);
  return BP_OK;
}

uint32_t Host::workers(void*) {
  return ThreadPool::shared().workers();
}
void Host::trace(void*, const char*) {}
void Host::trace_end(void*) {}

}  // namespace bp
