// SPDX-License-Identifier: Apache-2.0
// Who the plugin says it is, and whether its tables can be relied on.
#include <algorithm>
#include <cstring>

#include "backplane/plugin_glue.h"
#include "core/platform/shared_object.h"
#include "sdk/conformance/check.h"
#include "sdk/conformance/older_caller.h"

namespace bp::conformance {
namespace {

// A host as the library's query function may be given: it is pure, so it needs no services.
const bp_host* bare_host() {
  static const bp_host host = [] {
    bp_host out{};
    out.size = sizeof out;
    out.abi_minor = BP_ABI_MINOR;
    return out;
  }();
  return &host;
}

struct Entry {
  bp_plugin_query_fn query;
};
Result<Entry> entry_of(const Context& context) {
  SharedObject* object = BP_TRY(SharedObject::load(context.candidate->manifest.library));
  return Entry{
      reinterpret_cast<bp_plugin_query_fn>(BP_TRY(object->symbol(BP_PLUGIN_QUERY_SYMBOL)))};
}

Result<bp_plugin_desc> describe_plugin(const Context& context) {
  const bp_plugin_query_fn query = BP_TRY(entry_of(context)).query;
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  BP_TRY(call_plugin(context.plugin->id(), "query", query, bare_host(), &desc));
  BP_EXPECT(desc.api != nullptr, "query returned OK and no table");
  return desc;
}

Result<const void*> interface(const Context& context, std::string_view name) {
  const bp_plugin_desc desc = BP_TRY(describe_plugin(context));
  bp_plugin_api api{};
  BP_TRY(copy_table(desc.api, &api));
  const bp_string id = glue::text(name);
  const void* table = &id;  // anything but NULL
  BP_TRY(call_plugin(context.plugin->id(), "get_interface", api.get_interface, &id, &table)
             .with_context("'{}'", name));
  return table;
}

Verdict query_is_repeatable(Context& context) {
  const bp_plugin_desc first = BP_TRY(describe_plugin(context));
  const std::string& wanted = context.candidate->manifest.id;
  BP_EXPECT(glue::view(first.id) == wanted, "the library calls itself '{}', the manifest '{}'",
            glue::view(first.id), wanted);
  BP_EXPECT(first.build_id.length > 0, "the build id is empty: it is part of every cache key");
  BP_EXPECT(first.version.length > 0, "the version is empty");
  BP_EXPECT(first.abi_minor >= first.min_host_minor, "compiled with ABI minor {}, but needs {}",
            first.abi_minor, first.min_host_minor);
  for (int i = 0; i < 3; ++i) {
    const bp_plugin_desc again = BP_TRY(describe_plugin(context));
    BP_EXPECT(again.api == first.api, "a second query names another table");
    BP_EXPECT(glue::view(again.id) == glue::view(first.id) &&
                  glue::view(again.version) == glue::view(first.version) &&
                  glue::view(again.build_id) == glue::view(first.build_id),
              "a second query gives another id, version or build id");
  }
  return pass("{} {}, build '{}', ABI minor {}", wanted, glue::view(first.version),
              glue::view(first.build_id), first.abi_minor);
}

Verdict query_honours_size(Context& context) {
  const bp_plugin_query_fn query = BP_TRY(entry_of(context)).query;
  for (const size_t size : {sizeof(uint32_t), offsetof(bp_plugin_desc, id),
                            offsetof(bp_plugin_desc, api), sizeof(bp_plugin_desc)}) {
    OlderCaller<bp_plugin_desc> desc(size);
    const bp_status status = query(bare_host(), desc.get(), nullptr);
    BP_EXPECT(desc.is_intact(), "with a size of {} bytes, query wrote behind them", size);
    // Too old a host may be refused, one of this size may not.
    BP_EXPECT(status == BP_OK || size < sizeof(bp_plugin_desc), "query: {}", status_name(status));
  }
  return pass("writes what the caller's size covers");
}

Verdict unknown_interfaces_are_null(Context& context) {
  for (const char* name : {"bp.nonsense/1", "bp.device/2", "bp.device/", "bp.device/11", ""}) {
    const void* table = BP_TRY(interface(context, name));
    BP_EXPECT(table == nullptr, "'{}' is answered with a table", name);
  }
  // Names are length-counted and need no NUL.
  const char text[] = "bp.device/1bp.memory/1";
  const void* whole = BP_TRY(interface(context, BP_INTERFACE_DEVICE));
  const void* counted = BP_TRY(interface(context, std::string_view(text, 11)));
  BP_EXPECT(whole == counted, "the name is read beyond its length");
  return pass("OK and NULL, as the contract says");
}

// The slots of a table that are NULL or beyond its size, of those that have to be there.
template <class Table>
Result<std::string> missing_slots(const void* raw, std::initializer_list<size_t> offsets) {
  uint32_t size = 0;
  std::memcpy(&size, raw, sizeof size);
  BP_EXPECT(size >= 16 && size % sizeof(void*) == 0 && size < (1u << 16),
            "a table claims to have {} bytes", size);
  std::string missing;
  for (const size_t offset : offsets) {
    const void* slot = nullptr;
    if (offset + sizeof slot <= size) {
      std::memcpy(&slot, static_cast<const char*>(raw) + offset, sizeof slot);
    }
    // Slots follow two words, so their number says which one it is.
    if (slot == nullptr) missing += fmt::format(" {}", (offset - 8) / sizeof(void*));
  }
  return missing;
}

template <class Table>
Status check_table(const Context& context, const char* name, bool required,
                   std::initializer_list<size_t> offsets, std::string* seen) {
  const void* table = BP_TRY(interface(context, name));
  const void* again = BP_TRY(interface(context, name));
  BP_EXPECT(table == again, "'{}' is another table at the second call", name);
  if (table == nullptr) {
    BP_EXPECT(!required, "'{}' is missing: devices need device, memory and stream", name);
    return {};
  }
  const std::string missing = BP_TRY(missing_slots<Table>(table, offsets));
  BP_EXPECT(missing.empty(), "'{}' lacks slots (counted from 0):{}", name, missing);
  *seen += fmt::format("{}{}", seen->empty() ? "" : ", ", name);
  return {};
}

#define BP_SLOT(slot) offsetof(T, slot)

Verdict tables_have_their_slots(Context& context) {
  std::string seen;
  const bool devices = context.plugin->has_devices();
  {
    using T = bp_device_api;
    BP_TRY(check_table<T>(context, BP_INTERFACE_DEVICE, false,
                          {BP_SLOT(enumerate), BP_SLOT(describe), BP_SLOT(capabilities),
                           BP_SLOT(open), BP_SLOT(close), BP_SLOT(status)},
                          &seen));
  }
  {
    using T = bp_memory_api;
    BP_TRY(check_table<T>(context, BP_INTERFACE_MEMORY, devices,
                          {BP_SLOT(heaps), BP_SLOT(alloc), BP_SLOT(free), BP_SLOT(query_import)},
                          &seen));
  }
  {
    using T = bp_stream_api;
    BP_TRY(check_table<T>(
        context, BP_INTERFACE_STREAM, devices,
        {BP_SLOT(create), BP_SLOT(destroy), BP_SLOT(copy), BP_SLOT(write), BP_SLOT(read),
         BP_SLOT(fill), BP_SLOT(timeline_create), BP_SLOT(timeline_destroy), BP_SLOT(signal),
         BP_SLOT(wait), BP_SLOT(query), BP_SLOT(host_wait)},
        &seen));
  }
  {
    using T = bp_module_api;
    BP_TRY(check_table<T>(context, BP_INTERFACE_MODULE, false,
                          {BP_SLOT(compiler_id), BP_SLOT(compile), BP_SLOT(load), BP_SLOT(unload),
                           BP_SLOT(function), BP_SLOT(launch)},
                          &seen));
  }
  {
    using T = bp_kernel_api;
    BP_TRY(check_table<T>(context, BP_INTERFACE_KERNEL, false,
                          {BP_SLOT(bind), BP_SLOT(unbind), BP_SLOT(match), BP_SLOT(prepare),
                           BP_SLOT(enqueue), BP_SLOT(release)},
                          &seen));
  }
  {
    using T = bp_gemm_api;
    BP_TRY(check_table<T>(context, BP_INTERFACE_GEMM, false,
                          {BP_SLOT(describe), BP_SLOT(prepare), BP_SLOT(workspace),
                           BP_SLOT(enqueue), BP_SLOT(release)},
                          &seen));
  }
  {
    using T = bp_tune_api;
    BP_TRY(check_table<T>(context, BP_INTERFACE_TUNE, false, {BP_SLOT(tune)}, &seen));
  }
  BP_EXPECT(!seen.empty(), "the plugin offers no interface that this host knows");
  return pass("{}", seen);
}
#undef BP_SLOT

Verdict manifest_says_what_is_offered(Context& context) {
  const Manifest& manifest = context.candidate->manifest;
  const auto listed = [&](const char* kind) {
    return std::find(manifest.kinds.begin(), manifest.kinds.end(), kind) != manifest.kinds.end();
  };
  const std::pair<const char*, const char*> kinds[] = {{"device", BP_INTERFACE_DEVICE},
                                                       {"memory", BP_INTERFACE_MEMORY},
                                                       {"stream", BP_INTERFACE_STREAM},
                                                       {"module", BP_INTERFACE_MODULE},
                                                       {"kernel", BP_INTERFACE_KERNEL}};
  for (const auto& [kind, name] : kinds) {
    const bool offered = BP_TRY(interface(context, name)) != nullptr;
    BP_EXPECT(offered == listed(kind), "the manifest {} '{}', the library {} '{}'",
              listed(kind) ? "lists" : "does not list", kind, offered ? "offers" : "does not offer",
              name);
  }
  return pass("{} kinds, {} dialects", manifest.kinds.size(), manifest.dialects.size());
}

Verdict probe_is_repeatable(Context& context) {
  const bp_plugin_desc desc = BP_TRY(describe_plugin(context));
  bp_plugin_api api{};
  BP_TRY(copy_table(desc.api, &api));
  bp_probe_result first{};
  for (int i = 0; i < 2; ++i) {
    bp_probe_result answer{};
    answer.size = sizeof answer;
    BP_TRY(call_plugin(context.plugin->id(), "probe", api.probe, bare_host(), &answer));
    BP_EXPECT(answer.reason >= BP_PROBE_USABLE && answer.reason <= BP_PROBE_BROKEN,
              "{} is no reason that the contract has", answer.reason);
    BP_EXPECT(is_ended_utf8(answer.detail, sizeof answer.detail), "the detail is no ended UTF-8");
    if (i == 0) first = answer;
    BP_EXPECT(answer.reason == first.reason, "a second probe gives reason {} instead of {}",
              answer.reason, first.reason);
  }
  OlderCaller<bp_probe_result> older(offsetof(bp_probe_result, detail) + 8);
  BP_EXPECT(api.probe(bare_host(), older.get(), nullptr) == BP_OK, "an older caller is refused");
  BP_EXPECT(older.is_intact(), "probe wrote behind the caller's size");
  return pass("{}", first.detail[0] != '\0' ? first.detail : probe_reason_name(first.reason));
}

}  // namespace

void add_negotiation_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"negotiation.query", N::kPlugin,
                 "query is pure: the same answer each time, the manifest's id",
                 query_is_repeatable});
  out.push_back({"negotiation.query.size", N::kPlugin,
                 "query fills only what the caller's size covers", query_honours_size});
  out.push_back({"negotiation.probe", N::kPlugin, "probe may be called again, and says why",
                 probe_is_repeatable});
  out.push_back({"negotiation.interface.unknown", N::kPlugin,
                 "unknown interfaces are answered with OK and NULL", unknown_interfaces_are_null});
  out.push_back({"negotiation.interface.tables", N::kPlugin,
                 "tables are static, have plausible sizes and the slots nobody can do without",
                 tables_have_their_slots});
  out.push_back({"negotiation.manifest", N::kPlugin,
                 "the manifest lists the kinds that the library offers",
                 manifest_says_what_is_offered});
}

}  // namespace bp::conformance
