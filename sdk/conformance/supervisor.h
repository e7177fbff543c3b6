// SPDX-License-Identifier: Apache-2.0
// Runs the checks in a child process, so that a plugin that crashes or hangs costs one check and
// not the run: the check fails, and a new child goes on with the next.
#pragma once

#include "sdk/conformance/report.h"
#include "sdk/conformance/runner.h"

namespace bp::conformance {

// Fills the report. A failure only when no child can be started at all.
Status supervise(const Settings& settings, Report& report);

}  // namespace bp::conformance
