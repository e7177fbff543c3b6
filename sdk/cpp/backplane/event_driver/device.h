// SPDX-License-Identifier: Apache-2.0
// What plugins share whose driver is shaped like CUDA's: a context for each device, in-order
// streams, events, page-locked memory, graphs, and a compiler library for text. CUDA and HIP are
// the two; this folder holds bp.device/1 to bp.module/1 once for both, and a plugin keeps what
// differs: entry points, the verdict of its probe, facts about devices, options of the compiler.
//
// Api is the plugin's struct of entry points, named alike in both plugins, and offers
//
//   Result, Event, Queue, Address, Context, …     types of the driver
//   class Scope { Scope(const Api&, Context); }   makes a context current while it lives
//   static const Api* get()                       NULL unless the probe found it usable
//   static bp_status status_of(Result)            BP_DEVICE_LOST for what ends a context
//   std::string describe(Result) const            the driver's own words
//   kName, kNativeName, kCompilerName             "CUDA", "cuda.context", "NVRTC"
//   Result facts(int ordinal, DeviceFacts*) const
//   bp_status target_option(const std::string& target, std::string* option, bp_error*) const
//   Result open_context(int ordinal, Context*) const, void close_context(int ordinal, bool lost)
//   const void* native(Context) const
#pragma once

#include <atomic>
#include <cinttypes>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "backplane/event_driver/staging.h"
#include "backplane/event_driver/timeline.h"
#include "backplane/plugin_glue.h"

namespace bp::event_driver {

// The class behind a handle, and back.
template <class Class, class Handle>
Class* object(Handle* handle) noexcept {
  return reinterpret_cast<Class*>(handle);
}
template <class Handle, class Class>
Handle* handle_of(Class* object) noexcept {
  return reinterpret_cast<Handle*>(object);
}

// Everything about a device that needs no context.
struct DeviceFacts {
  bp_device_info info{};
  bp_device_caps caps{};
  std::string target;                // what binaries are for: "sm_90", "gfx90a:xnack-"
  uint32_t shared_bytes_opt_in = 0;  // most that one function may ask for
  bool registers_host_memory = false;
  bool registers_read_only = false;  // also memory of the host that nobody may write
};

// An opened device. Thread-safe; no function expects anything of the calling thread.
template <class Api>
struct Device : DeviceFacts {
  using Result = typename Api::Result;
  using Event = typename Api::Event;
  using Queue = typename Api::Queue;
  using Address = typename Api::Address;

  const Api& api;
  uint32_t index;
  int ordinal;
  typename Api::Context context{};
  std::atomic<uint64_t> children{0};  // buffers, streams, timelines, recordings, modules alive
  std::atomic<Result> lost{0};        // the result that told of the loss
  EventPool<Device> events{this};
  Staging<Device> staging{this};
  std::mutex gemm_mutex;
  std::weak_ptr<void> gemm;  // a GemmContext while products are alive

  Device(const Api& driver, uint32_t number, int which)
      : api(driver), index(number), ordinal(which) {}

  // Keep the result in scope for as long as calls of the driver are made.
  [[nodiscard]] typename Api::Scope enter() const noexcept { return {api, context}; }

  // BP_OK, or the status for a driver's result with "what: the driver's words". A result after
  // which the context is dead marks the device as lost.
  bp_status check(Result result, const char* what, bp_error* error) noexcept {
    if (result == 0) return BP_OK;
    const bp_status code = Api::status_of(result);
    Result none = 0;
    if (code == BP_DEVICE_LOST) lost.compare_exchange_strong(none, result);
    return glue::fenced(error, [&]() -> bp_status {
      return glue::fail_native(error, code, result, "%s on %s device %u: %s", what, Api::kName,
                               index, api.describe(result).c_str());
    });
  }
  // BP_OK, or BP_DEVICE_LOST for ever after a loss.
  bp_status status(bp_error* error) const noexcept {
    const Result result = lost.load(std::memory_order_relaxed);
    if (result == 0) return BP_OK;
    return glue::fenced(error, [&]() -> bp_status {
      return glue::fail_native(error, BP_DEVICE_LOST, result,
                               "%s device %u is lost (%s); close it and open it anew", Api::kName,
                               index, api.describe(result).c_str());
    });
  }

  bp_status create_event(Event* out, bp_error* error) noexcept {
    const auto scope = enter();
    return check(api.event_create(out, Api::kEventFlags), "creating an event", error);
  }
  void destroy_event(Event event) noexcept {
    const auto scope = enter();
    (void)api.event_destroy(event);
  }
  bp_status record_event(Event event, Queue queue, bp_error* error) noexcept {
    const auto scope = enter();
    return check(api.event_record(event, queue), "signalling", error);
  }
  bp_status queue_wait(Queue queue, Event event, bp_error* error) noexcept {
    const auto scope = enter();
    return check(api.stream_wait_event(queue, event, 0), "waiting on a stream", error);
  }
  bp_status poll_event(Event event, bool* passed, bp_error* error) noexcept {
    const auto scope = enter();
    const Result result = api.event_query(event);
    *passed = result == 0;
    if (result == 0 || result == Api::kNotReady) return BP_OK;
    // Nobody can tell any more what has run: whatever the reason, that is a loss.
    Result none = 0;
    lost.compare_exchange_strong(none, result);
    return check(result, "work put on a stream", error);
  }
  bp_status allocate_pinned(uint64_t bytes, void** out, bp_error* error) noexcept {
    const auto scope = enter();
    return check(api.host_alloc(out, bytes, Api::kHostFlags), "allocating page-locked memory",
                 error);
  }
  void free_pinned(void* memory) noexcept {
    const auto scope = enter();
    (void)api.host_free(memory);
  }
  bp_status copy_in(Queue queue, Address to, const void* pinned, uint64_t bytes,
                    bp_error* error) noexcept {
    const auto scope = enter();
    return check(api.copy_to_device(to, pinned, bytes, queue), "copying to the device", error);
  }
  bp_status copy_out(Queue queue, void* pinned, Address from, uint64_t bytes,
                     bp_error* error) noexcept {
    const auto scope = enter();
    return check(api.copy_to_host(pinned, from, bytes, queue), "copying from the device", error);
  }
  // Finishes reads whose data has arrived.
  bp_status settle(bp_error* error) noexcept { return staging.settle(error); }
};

// bp.device/1.
template <class Api>
struct DeviceSlots {
  using Device = event_driver::Device<Api>;

  static bp_status find(uint32_t index, const Api** api, int* ordinal, DeviceFacts* facts,
                        bp_error* error) {
    int count = 0;
    if (const bp_status s = count_devices(api, &count, error)) return s;
    if (index >= static_cast<uint32_t>(count)) {
      return glue::fail(error, BP_NOT_FOUND, "there are %d %s devices, none with number %u", count,
                        Api::kName, index);
    }
    auto result = (*api)->device_get(ordinal, static_cast<int>(index));
    if (result == 0) result = (*api)->facts(*ordinal, facts);
    return check(**api, result, error);
  }
  static bp_status count_devices(const Api** api, int* count, bp_error* error) {
    *api = Api::get();
    if (*api == nullptr) {
      return glue::fail(error, BP_FAILED_PRECONDITION, "the probe did not find %s usable",
                        Api::kName);
    }
    return check(**api, (*api)->device_count(count), error);
  }
  static bp_status check(const Api& api, typename Api::Result result, bp_error* error) {
    if (result == 0) return BP_OK;
    return glue::fail_native(error, Api::status_of(result), result, "asking for %s devices: %s",
                             Api::kName, api.describe(result).c_str());
  }

  static bp_status enumerate(uint32_t* count, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *count = 0;
      const Api* api = nullptr;
      int found = 0;
      if (const bp_status s = count_devices(&api, &found, error)) return s;
      *count = static_cast<uint32_t>(found);
      return BP_OK;
    });
  }
  static bp_status describe(uint32_t index, bp_device_info* out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Api* api = nullptr;
      int ordinal = 0;
      DeviceFacts facts;
      if (const bp_status s = find(index, &api, &ordinal, &facts, error)) return s;
      glue::write_struct(out, facts.info);
      return BP_OK;
    });
  }
  static bp_status capabilities(uint32_t index, bp_device_caps* out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Api* api = nullptr;
      int ordinal = 0;
      DeviceFacts facts;
      if (const bp_status s = find(index, &api, &ordinal, &facts, error)) return s;
      glue::write_struct(out, facts.caps);
      return BP_OK;
    });
  }
  static bp_status open(uint32_t index, bp_device** out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      const Api* api = nullptr;
      int ordinal = 0;
      DeviceFacts facts;
      if (const bp_status s = find(index, &api, &ordinal, &facts, error)) return s;
      auto device = std::make_unique<Device>(*api, index, ordinal);
      static_cast<DeviceFacts&>(*device) = facts;
      const auto result = api->open_context(ordinal, &device->context);
      if (const bp_status s = device->check(result, "creating a context", error)) return s;
      *out = handle_of<bp_device>(device.release());
      return BP_OK;
    });
  }
  static bp_status close(bp_device* handle, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      Device* const device = object<Device>(handle);
      if (device == nullptr) return BP_OK;
      const uint64_t children = device->children.load();
      if (children != 0) {
        return glue::fail(error, BP_FAILED_PRECONDITION,
                          "%" PRIu64 " objects of %s device %u are still alive; destroy them first",
                          children, Api::kName, device->index);
      }
      device->staging.clear();
      device->events.clear();
      device->api.close_context(device->ordinal, device->lost.load() != 0);
      delete device;
      return BP_OK;
    });
  }
  static bp_status status(bp_device* handle, bp_error* error) {
    return object<Device>(handle)->status(error);
  }
  static bp_status native(bp_device* handle, const bp_string* name, void** out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      if (glue::view(name) != Api::kNativeName) {
        return glue::fail(error, BP_NOT_FOUND, "the only native handle is '%s'", Api::kNativeName);
      }
      *out = object<Device>(handle)->api.native(object<Device>(handle)->context);
      return BP_OK;
    });
  }

  static constexpr bp_device_api kTable = {
      sizeof(bp_device_api), 0, enumerate, describe, capabilities, open, close, status, native,
  };
};

}  // namespace bp::event_driver
