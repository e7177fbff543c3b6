// SPDX-License-Identifier: Apache-2.0
// A plugin that misbehaves in one way, chosen by a BEHAVE_… definition. Everything else it does
// right, so that only the misbehaviour is tested.
#include <cstring>
#include <stdexcept>

#include "backplane/plugin.h"

namespace {

bp_status probe(const bp_host*, bp_probe_result* out, bp_error*) {
#if BEHAVE_THROWS_IN_PROBE
  throw std::runtime_error("thrown in probe");
#endif
  out->reason = BP_PROBE_USABLE;
  return BP_OK;
}

bp_status init(const bp_host*, bp_error* error) {
#if BEHAVE_FAILS_WITH_GARBAGE
  // A status nobody defined, and a text that does not end.
  if (error != nullptr) std::memset(error->text, '\xff', sizeof(error->text));
  return static_cast<bp_status>(-12345);
#else
  static_cast<void>(error);
  return BP_OK;
#endif
}

#if !BEHAVE_MISSING_SLOTS
[[maybe_unused]] bp_status enumerate(uint32_t* count, bp_error*) {
#if BEHAVE_TOO_MANY_DEVICES
  *count = UINT32_MAX;
#else
  *count = 1;
#endif
  return BP_OK;
}

[[maybe_unused]] bp_status describe(uint32_t index, bp_device_info* out, bp_error*) {
  out->kind = BP_DEVICE_OTHER;
  std::memset(out->name, 'x', sizeof(out->name));  // without an end
  return index < 1000000 ? BP_OK : BP_NOT_FOUND;
}

[[maybe_unused]] bp_status capabilities(uint32_t, bp_device_caps*, bp_error*) {
  return BP_OK;
}
#endif

bp_device_api make_device_table() {
  bp_device_api table{};
#if BEHAVE_TABLE_SIZE_ZERO
  table.size = 0;
#elif BEHAVE_MISSING_SLOTS
  table.size = 16;  // an older plugin: one slot, and that one empty
#else
  table.size = sizeof(table);
  table.enumerate = enumerate;
  table.describe = describe;
  table.capabilities = capabilities;
#endif
  return table;
}

bp_status get_interface(const bp_string* id, const void** out, bp_error*) {
  static const bp_device_api device = make_device_table();
  const bool wanted = id->length == std::strlen(BP_INTERFACE_DEVICE) &&
                      std::memcmp(id->data, BP_INTERFACE_DEVICE, id->length) == 0;
  *out = wanted ? &device : nullptr;
  return BP_OK;
}

bp_status quiesce(uint64_t, bp_error*) {
  return BP_OK;
}
bp_status shutdown(bp_error*) {
  return BP_OK;
}

const bp_plugin_api kApi = {sizeof(bp_plugin_api), 0,       probe,   init,
                            get_interface,         quiesce, shutdown};

}  // namespace

#if !BEHAVE_NO_SYMBOL
extern "C" BP_EXPORT bp_status bp_plugin_query_1(const bp_host*, bp_plugin_desc* out, bp_error*) {
#if BEHAVE_THROWS_IN_QUERY
  throw 42;
#endif
  out->size = sizeof(bp_plugin_desc);
  out->abi_minor = BP_ABI_MINOR;
  out->id = {"hostile", 7};
  out->version = {"1.0", 3};
  out->build_id = {"build", 5};
  out->api = &kApi;
#if BEHAVE_SIZE_ZERO
  out->size = 0;
#elif BEHAVE_SIZE_HUGE
  out->size = UINT32_MAX;
#elif BEHAVE_NEWER_MINOR
  out->abi_minor = BP_ABI_MINOR + 7;  // fine: it only knows more
#elif BEHAVE_NEWER_HOST_NEEDED
  out->min_host_minor = BP_ABI_MINOR + 1;
#elif BEHAVE_GARBAGE_STRINGS
  out->version = {"\x01\xff\x80 not text", 12};
#elif BEHAVE_NULL_STRINGS
  out->version = {nullptr, 1u << 30};
#elif BEHAVE_NULL_API
  out->api = nullptr;
#elif BEHAVE_WRONG_ID
  out->id = {"somebody-else", 13};
#endif
  return BP_OK;
}
#endif
