// SPDX-License-Identifier: Apache-2.0
// The services that a plugin receives: log, aligned memory, parallel_for, folders.
#pragma once

#include <atomic>
#include <filesystem>
#include <string>

#include "backplane/plugin.h"

namespace bp {

// One bp_host per plugin, so that log lines carry its id. Must outlive the plugin, that is, the
// process: the registry leaks it.
class Host {
 public:
  Host(std::string plugin_id, const std::filesystem::path& plugin_dir);
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const bp_host* table() const noexcept { return &table_; }
  // Messages of the plugin are dropped from now on.
  void silence() noexcept;

 private:
  static void log(void* user, int32_t level, const bp_string* message);
  static void* allocate(void* user, uint64_t bytes, uint64_t alignment);
  static void release(void* user, void* memory);
  static bp_status parallel_for(void* user, uint64_t items, uint64_t grain, bp_parallel_fn fn,
                                void* fn_user);
  static uint32_t workers(void* user);
  static void trace(void* user, const char* name);
  static void trace_end(void* user);

  std::string id_;
  std::string plugin_dir_;
  std::string cache_dir_;
  std::atomic<bool> silent_{false};
  bp_host table_{};
};

}  // namespace bp
