// SPDX-License-Identifier: Apache-2.0
// The host this plugin was initialised by: one per process, set by init and cleared by shutdown.
#pragma once

#include "backplane/plugin_glue.h"

namespace bp::cpu {

// The host's services, or NULL outside init … shutdown.
const bp_host* host() noexcept;
void set_host(const bp_host* host) noexcept;

// Threads that parallel_for may use, at least 1.
uint32_t worker_count() noexcept;

// body(begin, end, worker) over [0, items) on the host's threads, in ranges of at least `grain`.
template <class Body>
bp_status parallel_for(uint64_t items, uint64_t grain, const Body& body) noexcept {
  return glue::parallel_for(host(), items, grain, body);
}

}  // namespace bp::cpu
