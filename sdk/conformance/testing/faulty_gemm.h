// SPDX-License-Identifier: Apache-2.0
// bp.gemm/1 of the faulty plugin: a plain product over memory of the CPU plugin.
#pragma once

#include <string_view>

#include "backplane/plugin.h"

namespace bp::cpu {

// `has` tells whether a fault was chosen.
const bp_gemm_api* faulty_gemm(bool (*has)(std::string_view fault));

}  // namespace bp::cpu
