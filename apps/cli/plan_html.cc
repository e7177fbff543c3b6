// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/plan_html.h"

#include <fmt/format.h>

namespace bp::cli {
namespace {

// Names come from the file: nothing of it may become markup.
std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

constexpr const char* kHead =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Plan</title><style>"
    "body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:70em;color:#222}"
    "section{border:1px solid #ccd;border-radius:6px;margin:.8em 0;padding:.4em .8em}"
    "h2{font-size:1em;margin:.2em 0;color:#557}"
    ".step{display:grid;grid-template-columns:3em 11em 1fr;gap:.5em;padding:.25em 0;"
    "border-top:1px solid #eee}.op{font-weight:600}.v{color:#666;font-size:.9em}"
    ".linear,.linear_glu,.moe_linear,.moe_linear_glu{color:#1b5e9b}.attention{color:#9b1b5e}"
    ".rms_norm,.layer_norm{color:#4b7a1b}</style>";

}  // namespace

std::string plan_html(const nlohmann::ordered_json& summary, const nlohmann::ordered_json& plan) {
  std::string page = kHead;
  page += fmt::format(
      "<h1>{}</h1><p>{} · {} parameters · {}</p>", escape(summary["name"].get<std::string>()),
      escape(summary["architecture"].get<std::string>()), summary["parameters"].get<uint64_t>(),
      escape(summary["weights_format"].get<std::string>()));
  int64_t layer = INT64_MIN;
  size_t index = 0;
  for (const auto& step : plan) {
    const auto own = step["layer"].get<int64_t>();
    if (own != layer) {
      if (layer != INT64_MIN) page += "</section>";
      page += own < 0 ? "<section><h2>around the layers</h2>"
                      : fmt::format("<section><h2>layer {}</h2>", own);
      layer = own;
    }
    std::string values;
    for (const auto& v : step["outputs"]) values += escape(v.get<std::string>()) + " ";
    values += "← ";
    for (const auto& v : step["inputs"]) values += escape(v.get<std::string>()) + " · ";
    const std::string op = escape(step["op"].get<std::string>());
    page += fmt::format(
        "<div class=\"step\"><span>{}</span><span class=\"op {}\">{}</span>"
        "<span class=\"v\">{}</span></div>",
        index++, op, op, values);
  }
  return page + "</section></html>\n";
}

}  // namespace bp::cli
