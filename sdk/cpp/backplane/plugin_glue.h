// SPDX-License-Identifier: Apache-2.0
// What every C++ plugin needs at the border of the plugin ABI, and nothing more: a fence that no
// exception passes, errors written into the caller's record, strings, growable structs, handles.
//
//   bp_status my_open(uint32_t index, bp_device** out, bp_error* error) {
//     return bp::glue::fenced(error, [&]() -> bp_status {
//       if (index > 0) return bp::glue::fail(error, BP_NOT_FOUND, "device %u does not exist",
//       index); *out = wrap(new MyDevice); return BP_OK;
//     });
//   }
//
// Header-only, no dependency beyond the standard library. Every function is thread-safe; none
// keeps a pointer it is given.
#pragma once

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>
#include <type_traits>

#include "backplane/plugin.h"

namespace bp::glue {

// ---- strings --------------------------------------------------------------------------------

// The text of an ABI string; empty for NULL. Valid as long as the caller's memory is.
inline std::string_view view(const bp_string* text) noexcept {
  if (text == nullptr || text->data == nullptr) return {};
  return {text->data, static_cast<size_t>(text->length)};
}
inline std::string_view view(const bp_string& text) noexcept {
  return view(&text);
}

// An ABI string over memory that must stay alive, typically a literal.
constexpr bp_string text(std::string_view from) noexcept {
  return {from.data(), from.size()};
}

// Largest prefix length <= limit that does not end inside a UTF-8 character of `from`.
inline size_t utf8_border(const char* from, size_t length, size_t limit) noexcept {
  if (length <= limit) return length;
  size_t cut = limit;
  // Step back over continuation bytes (10xxxxxx); more than three of them is no UTF-8 at all.
  for (int i = 0; i < 3 && cut > 0 && (static_cast<unsigned char>(from[cut]) & 0xC0) == 0x80; ++i) {
    --cut;
  }
  return cut;
}

// Copies into a fixed array of an ABI struct: NUL-ended, cut at a character border.
inline void copy_text(char* out, size_t capacity, std::string_view from) noexcept {
  if (capacity == 0) return;
  const size_t length = utf8_border(from.data(), from.size(), capacity - 1);
  if (length != 0) std::memcpy(out, from.data(), length);
  out[length] = '\0';
}

// printf into a fixed array of an ABI struct, cut like copy_text.
[[gnu::format(printf, 3, 0)]] inline void print_text_v(char* out, size_t capacity,
                                                       const char* format,
                                                       va_list arguments) noexcept {
  char buffer[1024];
  const int wanted = std::vsnprintf(buffer, sizeof buffer, format, arguments);
  const size_t length = wanted < 0 ? 0 : static_cast<size_t>(wanted);
  copy_text(out, capacity, {buffer, length < sizeof buffer ? length : sizeof buffer - 1});
}
[[gnu::format(printf, 3, 4)]] inline void print_text(char* out, size_t capacity, const char* format,
                                                     ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  print_text_v(out, capacity, format, arguments);
  va_end(arguments);
}

// ---- errors ---------------------------------------------------------------------------------

// Writes what the caller's size covers and returns `status`, so that a slot can `return fail(…)`.
// `native` is the driver's own number. `error` may be NULL.
[[gnu::format(printf, 4, 0)]] inline bp_status fail_v(bp_error* error, bp_status status,
                                                      int64_t native, const char* format,
                                                      va_list arguments) noexcept {
  if (error == nullptr) return status;
  const size_t size = error->size < sizeof(bp_error) ? error->size : sizeof(bp_error);
  if (size >= offsetof(bp_error, native)) error->status = status;
  if (size >= offsetof(bp_error, reserved)) error->native = native;
  if (size > offsetof(bp_error, text)) {
    print_text_v(error->text, size - offsetof(bp_error, text), format, arguments);
  }
  return status;
}
[[gnu::format(printf, 3, 4)]] inline bp_status fail(bp_error* error, bp_status status,
                                                    const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  fail_v(error, status, 0, format, arguments);
  va_end(arguments);
  return status;
}
[[gnu::format(printf, 4, 5)]] inline bp_status fail_native(bp_error* error, bp_status status,
                                                           int64_t native, const char* format,
                                                           ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  fail_v(error, status, native, format, arguments);
  va_end(arguments);
  return status;
}

// Runs the body of a slot; whatever it throws becomes a status. Every slot of every table is one.
template <class Body>
bp_status fenced(bp_error* error, Body&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(error, BP_EXHAUSTED, "the plugin could not get memory from the system");
  } catch (const std::exception& thrown) {
    return fail(error, BP_INTERNAL, "exception inside the plugin: %s", thrown.what());
  } catch (...) {
    return fail(error, BP_INTERNAL, "unknown exception inside the plugin");
  }
}

// ---- growable structs -----------------------------------------------------------------------

// A struct as this plugin knows it: fields beyond the caller's size are 0. NULL gives zeros.
template <class T>
T read_struct(const T* from) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  T out{};
  if (from != nullptr) {
    std::memcpy(&out, from, from->size < sizeof(T) ? from->size : sizeof(T));
    out.size = sizeof(T);
  }
  return out;
}

// Fills the caller's struct as far as the size that he set covers; the size itself stays.
template <class T>
void write_struct(T* out, const T& value) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  if (out == nullptr || out->size < sizeof out->size) return;
  const uint32_t size = out->size;
  std::memcpy(out, &value, size < sizeof(T) ? size : sizeof(T));
  out->size = size;
}

// Element i of an array whose element size is the caller's.
template <class T>
const T* strided(const T* base, uint64_t index, uint64_t stride) noexcept {
  return reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(base) + index * stride);
}
template <class T>
T* strided(T* base, uint64_t index, uint64_t stride) noexcept {
  return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(base) + index * stride);
}

// ---- host services --------------------------------------------------------------------------

[[gnu::format(printf, 3, 4)]] inline void log(const bp_host* host, int32_t level,
                                              const char* format, ...) noexcept {
  if (host == nullptr || host->log == nullptr) return;
  char buffer[1024];
  va_list arguments;
  va_start(arguments, format);
  print_text_v(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  const bp_string message = text(buffer);
  host->log(host->user, level, &message);
}

// body(begin, end, worker) over [0, items) on the host's threads; work of at most one grain runs
// at once on the calling thread. The body must not throw.
template <class Body>
bp_status parallel_for(const bp_host* host, uint64_t items, uint64_t grain,
                       const Body& body) noexcept {
  if (items == 0) return BP_OK;
  if (items <= grain || host == nullptr || host->parallel_for == nullptr) {
    body(uint64_t{0}, items, uint32_t{0});
    return BP_OK;
  }
  const bp_parallel_fn call = [](void* user, uint64_t begin, uint64_t end, uint32_t worker) {
    (*static_cast<const Body*>(user))(begin, end, worker);
  };
  return host->parallel_for(host->user, items, grain == 0 ? 1 : grain, call,
                            const_cast<Body*>(&body));
}

}  // namespace bp::glue

// wrap() and unwrap() between an opaque handle of the ABI and the class behind it; put it into the
// plugin's own namespace, once for each pair.
#define BP_PLUGIN_HANDLE(Handle, Class)                       \
  inline Class* unwrap(Handle* handle) noexcept {             \
    return reinterpret_cast<Class*>(handle);                  \
  }                                                           \
  inline const Class* unwrap(const Handle* handle) noexcept { \
    return reinterpret_cast<const Class*>(handle);            \
  }                                                           \
  inline Handle* wrap(Class* object) noexcept {               \
    return reinterpret_cast<Handle*>(object);                 \
  }
