// SPDX-License-Identifier: Apache-2.0
// A loaded plugin: negotiated, probed, initialised, its interfaces copied into full tables.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backplane/plugin.h"
#include "core/plugin/discover.h"
#include "core/plugin/host.h"

namespace bp {

// What the plugin's own probe said.
struct Probe {
  int32_t reason = BP_PROBE_USABLE;
  std::string detail;
};
// "no driver", "driver too old", …; "unknown reason" for numbers this host does not know.
const char* probe_reason_name(int32_t reason);

// Thread-safe after load(). Never destroyed: plugins stay mapped for the process's life.
class Plugin {
 public:
  // Loads the library, calls the query function and checks its answer. Named errors for every way
  // in which a hostile or broken plugin can answer; nothing it returns is trusted unchecked.
  static Result<Plugin*> load(const Candidate& candidate);

  // Asks whether the machine can run it and, if so, initialises it and fetches its interfaces.
  // UNAVAILABLE with reason and detail when the machine cannot.
  Status start();
  // Tells the plugin to release everything. No call comes afterwards.
  void stop() noexcept;

  const std::string& id() const noexcept { return id_; }
  const std::string& version() const noexcept { return version_; }
  const std::string& build_id() const noexcept { return build_id_; }
  const Probe& probe() const noexcept { return probe_; }
  bool started() const noexcept { return started_; }

  bool has_devices() const noexcept { return has_devices_; }
  bool has_kernels() const noexcept { return has_kernels_; }
  bool has_modules() const noexcept { return has_modules_; }
  bool has_gemm() const noexcept { return has_gemm_; }
  const bp_device_api& device_api() const noexcept { return device_; }
  const bp_memory_api& memory_api() const noexcept { return memory_; }
  const bp_stream_api& stream_api() const noexcept { return stream_; }
  const bp_module_api& module_api() const noexcept { return module_; }
  const bp_kernel_api& kernel_api() const noexcept { return kernel_; }
  const bp_gemm_api& gemm_api() const noexcept { return gemm_; }
  const bp_tune_api& tune_api() const noexcept { return tune_; }

 private:
  explicit Plugin(const Manifest& manifest);
  Status negotiate(bp_plugin_query_fn query, const Manifest& manifest);
  Status fetch_interfaces();
  template <typename Table>
  Status fetch(const char* id, Table* out, bool* present);

  std::string id_, version_, build_id_;
  Host host_;
  Probe probe_;
  bool started_ = false;
  bool has_devices_ = false, has_kernels_ = false, has_modules_ = false, has_gemm_ = false;
  bp_plugin_api api_{};
  bp_device_api device_{};
  bp_memory_api memory_{};
  bp_stream_api stream_{};
  bp_module_api module_{};
  bp_kernel_api kernel_{};
  bp_gemm_api gemm_{};
  bp_tune_api tune_{};
};

}  // namespace bp
