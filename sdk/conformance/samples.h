// SPDX-License-Identifier: Apache-2.0
// One small, correct record of every op: what tests of matching and refusing start from.
#pragma once

#include <string_view>
#include <vector>

#include "sdk/conformance/op_record.h"

namespace bp::conformance {

// Weights in `format`, caches in f16; 256 columns, so that any format fits.
std::vector<OpRecord> sample_records(std::string_view format);
OpRecord sample_record(std::string_view op, std::string_view format);
SymbolRanges sample_ranges();

}  // namespace bp::conformance
