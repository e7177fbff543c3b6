// SPDX-License-Identifier: Apache-2.0
// What every function of the C API shares: nothing thrown leaves, errors reach the caller's record,
// option structs of older and newer callers are read safely.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>

#include "backplane/backplane.h"
#include "core/base/log.h"
#include "core/base/status.h"

namespace bp::capi {

// Longest prefix of `text` that fits into `capacity` bytes and ends between characters.
inline size_t fitting_utf8(std::string_view text, size_t capacity) {
  if (text.size() <= capacity) return text.size();
  size_t end = capacity;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return end;
}

// Fills the caller's record as far as its size field reaches and returns the code.
inline bp_status report(const Status& status, bp_error* out) noexcept {
  const auto code = static_cast<bp_status>(status.code());
  if (status.ok() || out == nullptr) return code;
  log::debug("{}", status.message());  // the whole text, however long
  bp_error filled = BP_ERROR_INIT;
  filled.size = std::min<uint32_t>(out->size, sizeof(bp_error));
  filled.status = code;
  filled.native = status.native();
  const size_t header = offsetof(bp_error, text);
  const size_t room = filled.size > header ? filled.size - header : 0;
  if (room != 0) {
    const std::string_view message = status.message();
    const size_t length = fitting_utf8(message, room - 1);
    std::memcpy(filled.text, message.data(), length);
    filled.text[length] = '\0';
  }
  if (filled.size >= sizeof(uint32_t)) {
    const uint32_t callers_size = out->size;
    std::memcpy(out, &filled, filled.size);
    out->size = callers_size;
  }
  return code;
}

// Runs the body of an extern "C" function, which returns a Status.
template <typename Body>
bp_status guard(bp_error* out, Body&& body) noexcept {
  try {
    return report(body(), out);
  } catch (const std::bad_alloc&) {
    return report(Status(Code::kExhausted, "out of memory"), out);
  } catch (const std::exception& thrown) {
    return report(Status(Code::kInternal, thrown.what()), out);
  } catch (...) {
    return report(Status(Code::kInternal, "unknown exception"), out);
  }
}

// The caller's options over the defaults: his fields as far as his size reaches. INVALID_ARGUMENT
// for a size that no version of the struct ever had.
template <typename Options>
Result<Options> read_options(const Options* given, const Options& defaults) {
  Options options = defaults;
  if (given == nullptr) return options;
  if (given->size < 2 * sizeof(uint32_t) || given->size > 65536) {
    return error(Code::kInvalidArgument,
                 "an options struct says it has {} bytes; set its size "
                 "field, best with its _INIT macro",
                 given->size);
  }
  std::memcpy(&options, given, std::min<size_t>(given->size, sizeof(Options)));
  options.size = sizeof(Options);
  return options;
}

// Copies as much of a filled output struct as the caller's size covers.
template <typename Out>
Status write_output(Out* out, Out filled) {
  if (out == nullptr || out->size < 2 * sizeof(uint32_t)) {
    return error(Code::kInvalidArgument, "the output struct is null or its size field is not set");
  }
  const uint32_t size = out->size;
  filled.size = size;
  std::memcpy(out, &filled, std::min<size_t>(size, sizeof(Out)));
  return {};
}

inline bp_string view(std::string_view text) {
  return {text.data(), text.size()};
}

// INVALID_ARGUMENT for a length without bytes.
inline Result<std::string_view> read_text(const char* data, uint64_t length, const char* what) {
  if (data == nullptr && length != 0) {
    return error(Code::kInvalidArgument, "{} is NULL but {} bytes long", what, length);
  }
  return data == nullptr ? std::string_view() : std::string_view(data, length);
}

inline Status require(const void* pointer, const char* what) {
  if (pointer != nullptr) return {};
  return error(Code::kInvalidArgument, "{} is NULL", what);
}

}  // namespace bp::capi
