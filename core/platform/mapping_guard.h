// SPDX-License-Identifier: Apache-2.0
// Turns the SIGBUS of a truncated mapped file into an ordinary error.
//
// When somebody truncates a file that is mapped, touching a lost page raises SIGBUS, which ends the
// process. No check beforehand can close that window, and a library has no business installing
// signal handlers, so this is a choice of the *program*: a main() that wants it calls
// install_mapping_guard() once. From then on a fault inside a guarded mapping replaces the lost
// page by zeros and marks the mapping; the computation goes on with zeros and its owner learns of
// the loss at its next border (MappedFile::check_unchanged() reports CORRUPT). Faults at any other
// address go to the handler that was installed before, or end the process as they always did.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/status.h"

namespace bp {

// Installs the handler; doing so again has no effect. Call it before other threads exist, or at
// least before they change the disposition of SIGBUS. Whoever replaces the handler later has to
// chain to it. UNAVAILABLE when the system refuses.
Status install_mapping_guard();

// Says which memory is a file mapping. MappedFile holds one; nobody else needs it. Costs two
// atomic stores, whether or not the handler is installed. At most 1024 mappings are guarded at a
// time; any more are mapped as usual, without this protection.
class GuardedRange {
 public:
  GuardedRange(const void* begin, uint64_t size_bytes) noexcept;
  ~GuardedRange();
  GuardedRange(const GuardedRange&) = delete;
  GuardedRange& operator=(const GuardedRange&) = delete;

  // Has a page of this range been lost and replaced by zeros? Any thread.
  bool damaged() const noexcept;

 private:
  int slot_ = -1;
};

}  // namespace bp
