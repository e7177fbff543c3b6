// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/context.h"

#include <cstring>

namespace bp::conformance {

Result<Buffer> Context::allocate(uint64_t bytes, uint32_t heap) const {
  bp_buffer* handle = nullptr;
  BP_TRY(call("alloc", memory_api().alloc, device, heap, bytes, &handle)
             .with_context("{} bytes in heap {}", bytes, heap));
  BP_EXPECT(handle != nullptr, "alloc of {} bytes returned OK and no buffer", bytes);
  return Buffer(&memory_api(), handle, bytes);
}

std::string status_name(bp_status status) {
  if (status > BP_OK || status < BP_INTERNAL) return fmt::format("status {}", status);
  return code_name(static_cast<Code>(status));
}

Status expect_status(bp_status got, bp_status want, std::string_view what) {
  BP_EXPECT(got == want, "{}: got {}, expected {}", what, status_name(got), status_name(want));
  return {};
}

Status expect_refusal(bp_status got, std::string_view what) {
  BP_EXPECT(got != BP_OK, "{}: accepted, a refusal is expected", what);
  BP_EXPECT(got < BP_OK && got >= BP_INTERNAL, "{}: {} is no code of the contract", what,
            status_name(got));
  return {};
}

bool is_ended_utf8(const char* text, size_t capacity) {
  const size_t length = ::strnlen(text, capacity);
  if (length == capacity) return false;
  for (size_t i = 0; i < length;) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t more = lead < 0x80                   ? 0
                        : lead >= 0xC2 && lead < 0xE0 ? 1
                        : lead >= 0xE0 && lead < 0xF0 ? 2
                        : lead >= 0xF0 && lead < 0xF5 ? 3
                                                      : 9;
    if (more == 9 || i + more >= length + (more == 0 ? 1 : 0)) return false;
    for (size_t k = 1; k <= more; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace bp::conformance
