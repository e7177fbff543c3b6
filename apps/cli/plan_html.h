// SPDX-License-Identifier: Apache-2.0
// A plan as one self-contained HTML page.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace bp::cli {

// `summary` and `plan` as `backplane inspect --json --plan` prints them.
std::string plan_html(const nlohmann::ordered_json& summary, const nlohmann::ordered_json& plan);

}  // namespace bp::cli
