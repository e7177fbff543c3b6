// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/escape_html.h"

namespace bp::jinja {

Text escape_html(const Text& text) {
  const std::string& bytes = text.bytes();
  Text out;
  size_t plain = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    const std::string_view entity = c == '&'    ? "&amp;"
                                    : c == '<'  ? "&lt;"
                                    : c == '>'  ? "&gt;"
                                    : c == '\'' ? "&#39;"
                                    : c == '"'  ? "&#34;"
                                                : "";
    if (entity.empty()) continue;
    out.append(text, plain, i);
    out.append(entity, text.content_at(i));
    plain = i + 1;
  }
  out.append(text, plain, bytes.size());
  return out;
}

}  // namespace bp::jinja
