// SPDX-License-Identifier: Apache-2.0
// Streams, timelines and recordings: bp.stream/1 for an event driver (see device.h). write and read
// go through page-locked chunks; captures become graphs.
#pragma once

#include "backplane/event_driver/memory.h"

namespace bp::event_driver {

template <class Api>
struct Stream {
  Device<Api>* device = nullptr;
  typename Api::Queue queue{};
  bool capturing = false;
};

template <class Api>
using Timeline = EventTimeline<Device<Api>>;

template <class Api>
struct Recording {
  Device<Api>* device = nullptr;
  typename Api::GraphExec graph{};
};

template <class Api>
struct StreamSlots {
  using Device = event_driver::Device<Api>;
  using Buffer = event_driver::Buffer<Api>;
  using Stream = event_driver::Stream<Api>;
  using Timeline = event_driver::Timeline<Api>;
  using Recording = event_driver::Recording<Api>;
  using Result = typename Api::Result;

  static bp_status create(bp_device* handle, bp_stream** out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      Device* const device = object<Device>(handle);
      if (const bp_status s = device->status(error)) return s;
      auto stream = std::make_unique<Stream>();
      stream->device = device;
      const auto scope = device->enter();
      const Result result = device->api.stream_create(&stream->queue, Api::kStreamFlags);
      if (const bp_status s = device->check(result, "creating a stream", error)) return s;
      device->children.fetch_add(1);
      *out = handle_of<bp_stream>(stream.release());
      return BP_OK;
    });
  }

  static bp_status destroy(bp_stream* handle, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const std::unique_ptr<Stream> stream(object<Stream>(handle));
      if (stream == nullptr) return BP_OK;
      Device* const device = stream->device;
      const auto scope = device->enter();
      if (stream->capturing) {
        typename Api::Graph graph = nullptr;
        if (device->api.capture_end(stream->queue, &graph) == 0 && graph != nullptr) {
          device->api.graph_destroy(graph);
        }
      }
      const Result waited = device->api.stream_synchronize(stream->queue);
      device->staging.abandon(stream->queue);
      (void)device->settle(nullptr);
      device->api.stream_destroy(stream->queue);
      device->children.fetch_sub(1);
      return device->check(waited, "finishing the work of a stream", error);
    });
  }

  // What must hold before anything is put on a stream.
  static bp_status check_stream(const Stream* stream, bool may_capture, const char* what,
                                bp_error* error) noexcept {
    if (const bp_status s = stream->device->status(error)) return s;
    if (may_capture || !stream->capturing) return BP_OK;
    return glue::fail(error, BP_FAILED_PRECONDITION,
                      "%s: the stream is capturing, which records kernels, copies and fills only",
                      what);
  }

  static bp_status check_range(const Buffer* buffer, uint64_t offset, uint64_t bytes, bool writes,
                               const char* what, bp_error* error) noexcept {
    if (!range_fits(buffer, offset, bytes)) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "%s: %" PRIu64 " bytes at %" PRIu64 " leave the buffer of %" PRIu64
                        " bytes",
                        what, bytes, offset, buffer == nullptr ? 0 : buffer->bytes);
    }
    if (writes && buffer != nullptr && buffer->read_only) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "%s: the buffer was imported read-only", what);
    }
    return BP_OK;
  }

  static bp_status copy(bp_stream* handle, bp_buffer* to, uint64_t to_offset, bp_buffer* from,
                        uint64_t from_offset, uint64_t bytes, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Stream* const stream = object<Stream>(handle);
      const Buffer* const target = object<Buffer>(to);
      const Buffer* const source = object<Buffer>(from);
      if (const bp_status s = check_range(target, to_offset, bytes, true, "copy", error)) return s;
      if (const bp_status s = check_range(source, from_offset, bytes, false, "copy", error))
        return s;
      if (const bp_status s = check_stream(stream, true, "copy", error)) return s;
      if (bytes == 0) return BP_OK;
      const auto scope = stream->device->enter();
      const Result result = stream->device->api.copy_on_device(
          target->address + to_offset, source->address + from_offset, bytes, stream->queue);
      return stream->device->check(result, "copying on the device", error);
    });
  }

  static bp_status write(bp_stream* handle, bp_buffer* to, uint64_t to_offset, const void* from,
                         uint64_t bytes, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Stream* const stream = object<Stream>(handle);
      const Buffer* const target = object<Buffer>(to);
      if (const bp_status s = check_range(target, to_offset, bytes, true, "write", error)) return s;
      if (const bp_status s = check_stream(stream, false, "write", error)) return s;
      if (bytes == 0) return BP_OK;
      return stream->device->staging.write(stream->queue, target->address + to_offset, from, bytes,
                                           error);
    });
  }

  static bp_status read(bp_stream* handle, void* to, bp_buffer* from, uint64_t from_offset,
                        uint64_t bytes, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Stream* const stream = object<Stream>(handle);
      const Buffer* const source = object<Buffer>(from);
      if (const bp_status s = check_range(source, from_offset, bytes, false, "read", error))
        return s;
      if (const bp_status s = check_stream(stream, false, "read", error)) return s;
      if (bytes == 0) return BP_OK;
      return stream->device->staging.read(stream->queue, to, source->address + from_offset, bytes,
                                          error);
    });
  }

  static bp_status fill(bp_stream* handle, bp_buffer* to, uint64_t offset, uint64_t bytes,
                        uint32_t word, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Stream* const stream = object<Stream>(handle);
      const Buffer* const target = object<Buffer>(to);
      if (const bp_status s = check_range(target, offset, bytes, true, "fill", error)) return s;
      if (offset % 4 != 0 || bytes % 4 != 0) {
        return glue::fail(error, BP_INVALID_ARGUMENT,
                          "fill: offset and bytes must be multiples of 4");
      }
      if (const bp_status s = check_stream(stream, true, "fill", error)) return s;
      if (bytes == 0) return BP_OK;
      const auto scope = stream->device->enter();
      const Result result =
          stream->device->api.fill_words(target->address + offset, word, bytes / 4, stream->queue);
      return stream->device->check(result, "filling", error);
    });
  }

  static bp_status timeline_create(bp_device* handle, bp_timeline** out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      Device* const device = object<Device>(handle);
      *out = handle_of<bp_timeline>(new Timeline(device, &device->events));
      device->children.fetch_add(1);
      return BP_OK;
    });
  }

  static bp_status timeline_destroy(bp_timeline* handle, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const std::unique_ptr<Timeline> timeline(object<Timeline>(handle));
      if (timeline != nullptr) timeline->device()->children.fetch_sub(1);
      return BP_OK;
    });
  }

  static bp_status signal(bp_stream* handle, bp_timeline* timeline, uint64_t value,
                          bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Stream* const stream = object<Stream>(handle);
      if (const bp_status s = check_stream(stream, false, "signal", error)) return s;
      return object<Timeline>(timeline)->signal(stream->queue, value, error);
    });
  }

  static bp_status wait(bp_stream* handle, bp_timeline* timeline, uint64_t value, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Stream* const stream = object<Stream>(handle);
      if (const bp_status s = check_stream(stream, false, "wait", error)) return s;
      return object<Timeline>(timeline)->wait(stream->queue, value, error);
    });
  }

  static bp_status query(bp_timeline* timeline, uint64_t* value, bp_error* error) {
    return glue::fenced(error, [&] { return object<Timeline>(timeline)->query(value, error); });
  }

  static bp_status host_wait(bp_timeline* timeline, uint64_t value, uint64_t timeout_ns,
                             bp_error* error) {
    return glue::fenced(
        error, [&] { return object<Timeline>(timeline)->host_wait(value, timeout_ns, error); });
  }

  // Relaxed: while one stream captures, other threads may allocate and load modules.
  static bp_status capture_begin(bp_stream* handle, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      Stream* const stream = object<Stream>(handle);
      if (const bp_status s = check_stream(stream, false, "capture_begin", error)) return s;
      const auto scope = stream->device->enter();
      const Result result = stream->device->api.capture_begin(stream->queue, Api::kCaptureRelaxed);
      if (const bp_status s = stream->device->check(result, "beginning a capture", error)) return s;
      stream->capturing = true;
      return BP_OK;
    });
  }

  static bp_status capture_end(bp_stream* handle, bp_recording** out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      Stream* const stream = object<Stream>(handle);
      Device* const device = stream->device;
      if (!stream->capturing) {
        return glue::fail(error, BP_FAILED_PRECONDITION,
                          "capture_end: the stream is not capturing");
      }
      stream->capturing = false;
      const auto scope = device->enter();
      typename Api::Graph graph = nullptr;
      typename Api::GraphExec exec{};
      Result result = device->api.capture_end(stream->queue, &graph);
      if (result == 0) {
        result = device->api.graph_instantiate(&exec, graph, 0);
      } else {
        // Has the capture ended? In one that goes on, all further work would be recorded and never
        // run; where it has, this says so and does nothing.
        (void)device->api.capture_end(stream->queue, &graph);
      }
      if (graph != nullptr) device->api.graph_destroy(graph);
      if (const bp_status s = device->check(result, "ending a capture", error)) return s;
      auto* const recording = new (std::nothrow) Recording{device, exec};
      if (recording == nullptr) {
        device->api.graph_exec_destroy(exec);
        return glue::fail(error, BP_EXHAUSTED, "no memory for a recording");
      }
      device->children.fetch_add(1);
      *out = handle_of<bp_recording>(recording);
      return BP_OK;
    });
  }

  static bp_status replay(bp_stream* handle, bp_recording* recording, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Stream* const stream = object<Stream>(handle);
      if (const bp_status s = check_stream(stream, false, "replay", error)) return s;
      const auto scope = stream->device->enter();
      const Result result =
          stream->device->api.graph_launch(object<Recording>(recording)->graph, stream->queue);
      return stream->device->check(result, "replaying a recording", error);
    });
  }

  static bp_status recording_destroy(bp_recording* handle, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const std::unique_ptr<Recording> recording(object<Recording>(handle));
      if (recording == nullptr) return BP_OK;
      Device* const device = recording->device;
      const auto scope = device->enter();
      device->api.graph_exec_destroy(recording->graph);
      device->children.fetch_sub(1);
      return BP_OK;
    });
  }

  // Fails every timeline that is alive, so that no thread stays in a wait. Used when quiescing.
  static void poison_all_timelines(bp_status failure) noexcept {
    bp_error why = BP_ERROR_INIT;
    glue::fail(&why, failure, "the plugin is shutting down");
    Timeline::poison_all(failure, why);
  }

  static constexpr bp_stream_api kTable = {
      sizeof(bp_stream_api),
      0,
      create,
      destroy,
      copy,
      write,
      read,
      fill,
      timeline_create,
      timeline_destroy,
      signal,
      wait,
      query,
      host_wait,
      capture_begin,
      capture_end,
      replay,
      recording_destroy,
  };
};

}  // namespace bp::event_driver
