// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/tables.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace bp {
namespace {

// Larger than any table this ABI could grow to; a size beyond it is garbage.
constexpr uint32_t kMaxTableBytes = 1u << 16;

bp_error* last_of(bp_error* only) {
  return only;
}
template <typename First, typename... Rest>
bp_error* last_of(First, Rest... rest) {
  return last_of(rest...);
}

// The stub for one slot type. Its text cannot name the slot (one stub serves all slots of equal
// type), so the caller's own context does.
template <typename Function>
struct Stub;
template <typename... Args>
struct Stub<bp_status (*)(Args...)> {
  static bp_status call(Args... args) {
    if (bp_error* detail = last_of(args...); detail != nullptr) {
      detail->status = BP_UNIMPLEMENTED;
      static constexpr char kText[] = "the plugin does not offer this operation";
      static_assert(sizeof(kText) <= BP_ERROR_TEXT_BYTES);
      std::memcpy(detail->text, kText, sizeof(kText));
    }
    return BP_UNIMPLEMENTED;
  }
};

template <typename... Slots>
void fill_missing(Slots&... slots) {
  (..., (slots = slots == nullptr ? &Stub<Slots>::call : slots));
}

template <typename Table>
Status copy_prefix(const void* table, Table* out) {
  std::memset(out, 0, sizeof(Table));
  if (table != nullptr) {
    uint32_t size = 0;
    std::memcpy(&size, table, sizeof(size));
    // The two leading words are part of every table; slots are whole pointers.
    if (size < 2 * sizeof(uint32_t) || size > kMaxTableBytes || size % sizeof(void*) != 0) {
      return error(Code::kCorrupt, "an interface table claims to have {} bytes", size);
    }
    std::memcpy(out, table, std::min<size_t>(size, sizeof(Table)));
  }
  out->size = sizeof(Table);
  return {};
}

}  // namespace

Status copy_table(const void* table, bp_plugin_api* out) {
  BP_TRY(copy_prefix(table, out));
  fill_missing(out->probe, out->init, out->get_interface, out->quiesce, out->shutdown);
  return {};
}

Status copy_table(const void* table, bp_device_api* out) {
  BP_TRY(copy_prefix(table, out));
  fill_missing(out->enumerate, out->describe, out->capabilities, out->open, out->close, out->status,
               out->native);
  return {};
}

Status copy_table(const void* table, bp_memory_api* out) {
  BP_TRY(copy_prefix(table, out));
  fill_missing(out->heaps, out->alloc, out->free, out->query_import, out->import,
               out->export_handle, out->map, out->unmap, out->flush, out->invalidate, out->budget);
  return {};
}

Status copy_table(const void* table, bp_stream_api* out) {
  BP_TRY(copy_prefix(table, out));
  fill_missing(out->create, out->destroy, out->copy, out->write, out->read, out->fill,
               out->timeline_create, out->timeline_destroy, out->signal, out->wait, out->query,
               out->host_wait, out->capture_begin, out->capture_end, out->replay,
               out->recording_destroy);
  return {};
}

Status copy_table(const void* table, bp_module_api* out) {
  BP_TRY(copy_prefix(table, out));
  fill_missing(out->compiler_id, out->compile, out->load, out->unload, out->function, out->launch);
  return {};
}

Status copy_table(const void* table, bp_kernel_api* out) {
  BP_TRY(copy_prefix(table, out));
  fill_missing(out->bind, out->unbind, out->match, out->prepare, out->enqueue, out->release,
               out->place, out->placement_release);
  return {};
}

Status copy_table(const void* table, bp_gemm_api* out) {
  BP_TRY(copy_prefix(table, out));
  fill_missing(out->describe, out->prepare, out->workspace, out->enqueue, out->release);
  return {};
}

Status copy_table(const void* table, bp_tune_api* out) {
  BP_TRY(copy_prefix(table, out));
  fill_missing(out->tune);
  return {};
}

Status status_from_plugin(bp_status status, const bp_error& detail, std::string_view who,
                          std::string_view what) {
  if (status == BP_OK) return {};
  const bool known = status < BP_OK && status >= BP_INTERNAL;
  const Code code = known ? static_cast<Code>(status) : Code::kInternal;
  const size_t length = ::strnlen(detail.text, sizeof(detail.text));
  std::string text;
  try {
    // Plugins may be hostile or broken: only printable ASCII and bytes of UTF-8 reach messages.
    text.assign(detail.text, length);
    for (char& c : text) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    }
  } catch (...) {
    text.clear();
  }
  if (text.empty()) text = "no further detail";
  Status result =
      known ? error(code, "plugin '{}', {}: {}", who, what, text)
            : error(code, "plugin '{}', {}: unknown status {}: {}", who, what, status, text);
  result.set_native(detail.native);
  return result;
}

}  // namespace bp
