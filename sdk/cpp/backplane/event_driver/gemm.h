// SPDX-License-Identifier: Apache-2.0
// bp.gemm/1 for an event driver (see device.h) over a library shaped like cuBLASLt.
//
// Libraries count columns first: a row-major y[T, N] is their D[N, T], w[N, K] their A, transposed,
// and x[T, K] their B. So T is a count of columns alone, and strides are the leading dimensions.
//
// Opener offers `static const GemmLibrary* get(const Api&, bp_error*)`: the library, opened at the
// first call and kept, or NULL with BP_UNAVAILABLE in the error record.
#pragma once

#include <memory>
#include <mutex>

#include "backplane/event_driver/gemm_library.h"
#include "backplane/event_driver/stream.h"

namespace bp::event_driver {

// The library's own state on one device, shared by all products there.
template <class Api>
struct GemmContext {
  Device<Api>* device = nullptr;
  const GemmLibrary* library = nullptr;
  void* handle = nullptr;
  ~GemmContext() {
    const auto scope = device->enter();
    if (handle != nullptr) (void)library->destroy(handle);
  }
};

template <class Api>
struct Gemm {
  std::shared_ptr<GemmContext<Api>> context;
  bp_gemm_shape shape{};
  void* product = nullptr;
  void* w_layout = nullptr;
  std::mutex mutex;  // guards what follows, which depends on the tokens of a pass
  void* x_layout = nullptr;
  void* y_layout = nullptr;
  uint64_t layout_tokens = 0;
  GemmChoice choice;
  uint64_t choice_tokens = 0;
  uint64_t workspace_bytes = 0;  // that of the first choice; later ones make do with it

  Device<Api>& device() const noexcept { return *context->device; }
  const GemmLibrary& library() const noexcept { return *context->library; }

  ~Gemm() {
    if (context == nullptr) return;
    const auto scope = device().enter();
    drop_layouts();
    if (w_layout != nullptr) (void)library().layout_destroy(w_layout);
    if (product != nullptr) (void)library().product_destroy(product);
  }
  void drop_layouts() noexcept {
    if (x_layout != nullptr) (void)library().layout_destroy(x_layout);
    if (y_layout != nullptr) (void)library().layout_destroy(y_layout);
    x_layout = y_layout = nullptr;
    layout_tokens = 0;
  }
};

template <class Api, class Opener>
struct GemmSlots {
  using Device = event_driver::Device<Api>;
  using Buffer = event_driver::Buffer<Api>;
  using Stream = event_driver::Stream<Api>;
  using Context = GemmContext<Api>;
  using Gemm = event_driver::Gemm<Api>;

  static constexpr uint64_t kAlignment = 16;  // bytes, of every matrix
  static constexpr uint64_t kMaxExtent = INT32_MAX;

  // The status for a library's result. What the library reports of the device is vague, so the
  // driver is asked whether the context still lives.
  static bp_status check(const Context& context, int result, const char* what,
                         bp_error* error) noexcept {
    if (result == 0) return BP_OK;
    Device& device = *context.device;
    size_t available = 0, total = 0;
    const typename Api::Result alive = device.api.memory_info(&available, &total);
    if (Api::status_of(alive) == BP_DEVICE_LOST) return device.check(alive, what, error);
    const GemmFailure failure = context.library->meaning(result);
    return glue::fail_native(error, failure.status, result, "%s with %s on %s device %u: %s (%d)",
                             what, context.library->name, Api::kName, device.index, failure.words,
                             result);
  }

  static bp_status open_context(Device* device, std::shared_ptr<Context>* out, bp_error* error) {
    const GemmLibrary* const library = Opener::get(device->api, error);
    if (library == nullptr) return BP_UNAVAILABLE;
    const std::lock_guard lock(device->gemm_mutex);
    *out = std::static_pointer_cast<Context>(device->gemm.lock());
    if (*out != nullptr) return BP_OK;
    auto made = std::make_shared<Context>();
    made->device = device;
    made->library = library;
    const bp_status s = check(*made, library->create(&made->handle), "opening", error);
    if (s != BP_OK) return s;
    device->gemm = made;
    *out = std::move(made);
    return BP_OK;
  }

  static bp_status describe(bp_device* handle, bp_gemm_info* out, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      const Device& device = *object<Device>(handle);
      const auto scope = device.enter();
      const GemmLibrary* const library = Opener::get(device.api, error);
      if (library == nullptr) return BP_UNAVAILABLE;
      bp_gemm_info info{};
      info.size = sizeof info;
      info.flags = BP_GEMM_CAPTURE_SAFE;
      glue::print_text(info.library, sizeof info.library, "%s %s", library->name,
                       library->version.c_str());
      glue::write_struct(out, info);
      return BP_OK;
    });
  }

  static bool is_shape(const bp_gemm_shape& s) noexcept {
    const auto extent = [](uint64_t value) { return value != 0 && value <= kMaxExtent; };
    return extent(s.tokens) && extent(s.rows) && extent(s.columns) && extent(s.x_stride) &&
           extent(s.w_stride) && extent(s.y_stride) && s.x_stride >= s.columns &&
           s.w_stride >= s.columns && s.y_stride >= s.rows &&
           (s.y_type == BP_GEMM_F32 || s.y_type == BP_GEMM_F16) && s.accumulate <= 1;
  }

  static int y_type(const Gemm& gemm) noexcept {
    return gemm.shape.y_type == BP_GEMM_F16 ? GemmLibrary::kF16 : GemmLibrary::kF32;
  }

  // Layouts of x and y for so many tokens. Expects the mutex to be held or nobody else to know.
  static bp_status lay_out(Gemm* gemm, uint64_t tokens, bp_error* error) {
    if (gemm->layout_tokens == tokens) return BP_OK;
    gemm->drop_layouts();
    const GemmLibrary& library = gemm->library();
    const bp_gemm_shape& s = gemm->shape;
    int result = library.layout_create(&gemm->x_layout, GemmLibrary::kF16, s.columns, tokens,
                                       static_cast<int64_t>(s.x_stride));
    if (result == 0) {
      result = library.layout_create(&gemm->y_layout, y_type(*gemm), s.rows, tokens,
                                     static_cast<int64_t>(s.y_stride));
    }
    if (result == 0) gemm->layout_tokens = tokens;
    return check(*gemm->context, result, "describing a matrix", error);
  }

  static int set_preferences(const Gemm& gemm, void* preference, uint64_t workspace) {
    const GemmLibrary& library = gemm.library();
    const GemmNumbers& n = library.numbers;
    int result = library.preference_set(preference, n.max_workspace, &workspace, sizeof workspace);
    const uint32_t alignment = kAlignment;
    for (int i = 0; i < 4 && n.min_alignment >= 0 && result == 0; ++i) {
      result =
          library.preference_set(preference, n.min_alignment + i, &alignment, sizeof alignment);
    }
    return result;
  }

  // The library's first choice for the present layouts.
  static bp_status choose(Gemm* gemm, uint64_t workspace, bp_error* error) {
    const GemmLibrary& library = gemm->library();
    void* preference = nullptr;
    int result = library.preference_create(&preference);
    if (result == 0) result = set_preferences(*gemm, preference, workspace);
    int found = 0;
    GemmChoice choice;
    if (result == 0) {
      result =
          library.heuristic(gemm->context->handle, gemm->product, gemm->w_layout, gemm->x_layout,
                            gemm->y_layout, gemm->y_layout, preference, 1, choice.data(), &found);
    }
    if (preference != nullptr) (void)library.preference_destroy(preference);
    if (result == 0 && found > 0) result = choice.state(library.numbers);
    if (const bp_status s = check(*gemm->context, result, "choosing an algorithm", error)) return s;
    if (found <= 0 || choice.workspace(library.numbers) > workspace) {
      return glue::fail(error, BP_UNIMPLEMENTED, "%s has no algorithm for this product",
                        library.name);
    }
    gemm->choice = choice;
    gemm->choice_tokens = gemm->layout_tokens;
    return BP_OK;
  }

  static bp_status build(Gemm* gemm, bp_error* error) {
    const GemmLibrary& library = gemm->library();
    const GemmNumbers& n = library.numbers;
    const bp_gemm_shape& s = gemm->shape;
    int result = library.product_create(&gemm->product, n.compute_f32, GemmLibrary::kF32);
    if (result == 0) {
      const int32_t transposed = n.transposed;
      result = library.product_set(gemm->product, n.transpose_a, &transposed, sizeof transposed);
    }
    if (result == 0) {
      result = library.layout_create(&gemm->w_layout, GemmLibrary::kF16, s.columns, s.rows,
                                     static_cast<int64_t>(s.w_stride));
    }
    if (const bp_status status = check(*gemm->context, result, "describing a product", error)) {
      return status;
    }
    if (const bp_status status = lay_out(gemm, s.tokens, error)) return status;
    if (const bp_status status = choose(gemm, s.workspace_bytes, error)) return status;
    gemm->workspace_bytes = gemm->choice.workspace(n);
    return BP_OK;
  }

  static bp_status prepare(bp_device* handle, const bp_gemm_shape* shape, bp_gemm** out,
                           bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      *out = nullptr;
      Device* const device = object<Device>(handle);
      const bp_gemm_shape wanted = glue::read_struct(shape);
      if (!is_shape(wanted)) {
        return glue::fail(error, BP_INVALID_ARGUMENT,
                          "a product of [%" PRIu64 ", %" PRIu64 "] and [%" PRIu64 ", %" PRIu64
                          "] whose extents, strides or types are impossible",
                          wanted.tokens, wanted.columns, wanted.rows, wanted.columns);
      }
      if (const bp_status s = device->status(error)) return s;
      const auto scope = device->enter();
      auto gemm = std::make_unique<Gemm>();
      gemm->shape = wanted;
      if (const bp_status s = open_context(device, &gemm->context, error)) return s;
      if (const bp_status s = build(gemm.get(), error)) return s;
      device->children.fetch_add(1);
      *out = handle_of<bp_gemm>(gemm.release());
      return BP_OK;
    });
  }

  static bp_status workspace(bp_gemm* handle, uint64_t* bytes, bp_error*) {
    *bytes = object<Gemm>(handle)->workspace_bytes;
    return BP_OK;
  }

  // Is a matrix of `rows` rows inside its range, and the range inside its buffer?
  static bp_status check_matrix(const Device* device, const bp_launch_buffer& at, uint64_t rows,
                                uint64_t columns, uint64_t stride, uint64_t element_bytes,
                                bool writes, const char* what, bp_error* error) noexcept {
    const auto* const buffer = object<const Buffer>(at.buffer);
    const uint64_t bytes = ((rows - 1) * stride + columns) * element_bytes;  // extents fit 31 bits
    if (buffer == nullptr || buffer->device != device || bytes > at.bytes ||
        !range_fits(buffer, at.offset, at.bytes) || at.offset % kAlignment != 0) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "%s of a product needs %" PRIu64
                        " bytes of a buffer, at a multiple of %" PRIu64 "; %" PRIu64 " at %" PRIu64
                        " were given",
                        what, bytes, kAlignment, at.bytes, at.offset);
    }
    if (writes && buffer->read_only) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "%s of a product was imported read-only", what);
    }
    return BP_OK;
  }

  static bp_status check_launch(const Gemm& gemm, const Stream* stream,
                                const bp_gemm_launch& launch, bp_error* error) noexcept {
    const Device* const device = &gemm.device();
    const bp_gemm_shape& s = gemm.shape;
    if (stream->device != device || launch.tokens > s.tokens) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "a product of %" PRIu64 " tokens, made ready for %" PRIu64
                        ", or a stream of another device",
                        launch.tokens, s.tokens);
    }
    const uint64_t y_bytes = s.y_type == BP_GEMM_F16 ? 2 : 4;
    bp_status status =
        check_matrix(device, launch.x, launch.tokens, s.columns, s.x_stride, 2, false, "x", error);
    if (status == BP_OK) {
      status = check_matrix(device, launch.w, s.rows, s.columns, s.w_stride, 2, false, "w", error);
    }
    if (status == BP_OK) {
      status = check_matrix(device, launch.y, launch.tokens, s.rows, s.y_stride, y_bytes, true, "y",
                            error);
    }
    if (status == BP_OK && gemm.workspace_bytes != 0) {
      status = check_matrix(device, launch.workspace, 1, gemm.workspace_bytes, 1, 1, true,
                            "the workspace", error);
    }
    return status;
  }

  static int multiply(const Gemm& gemm, const Stream& stream, const bp_gemm_launch& launch) {
    const auto address = [](const bp_launch_buffer& at) {
      return reinterpret_cast<void*>(object<const Buffer>(at.buffer)->address + at.offset);
    };
    const float one = 1.0f, add = gemm.shape.accumulate != 0 ? 1.0f : 0.0f;
    void* const y = address(launch.y);
    void* const scratch = gemm.workspace_bytes != 0 ? address(launch.workspace) : nullptr;
    return gemm.library().multiply(gemm.context->handle, gemm.product, &one, address(launch.w),
                                   gemm.w_layout, address(launch.x), gemm.x_layout, &add, y,
                                   gemm.y_layout, y, gemm.y_layout, gemm.choice.algorithm(),
                                   scratch, gemm.workspace_bytes, stream.queue);
  }

  static bp_status enqueue(bp_gemm* handle, bp_stream* queue, const bp_gemm_launch* given,
                           bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      Gemm& gemm = *object<Gemm>(handle);
      const Stream* const stream = object<Stream>(queue);
      const bp_gemm_launch launch = glue::read_struct(given);
      if (launch.tokens == 0) return BP_OK;
      if (const bp_status s = check_launch(gemm, stream, launch, error)) return s;
      if (const bp_status s = gemm.device().status(error)) return s;
      const auto scope = gemm.device().enter();
      const std::lock_guard lock(gemm.mutex);
      if (const bp_status s = lay_out(&gemm, launch.tokens, error)) return s;
      int result = multiply(gemm, *stream, launch);
      const bp_status meaning = result == 0 ? BP_OK : gemm.library().meaning(result).status;
      if (launch.tokens != gemm.choice_tokens &&
          (meaning == BP_UNIMPLEMENTED || meaning == BP_INVALID_ARGUMENT)) {
        // The algorithm was chosen for another size and does not take this one.
        if (const bp_status s = choose(&gemm, gemm.workspace_bytes, error)) return s;
        result = multiply(gemm, *stream, launch);
      }
      return check(*gemm.context, result, "multiplying", error);
    });
  }

  static bp_status release(bp_gemm* handle, bp_error* error) {
    return glue::fenced(error, [&]() -> bp_status {
      Gemm* const gemm = object<Gemm>(handle);
      if (gemm == nullptr) return BP_OK;
      Device* const device = &gemm->device();
      delete gemm;
      device->children.fetch_sub(1);
      return BP_OK;
    });
  }

  static constexpr bp_gemm_api kTable = {
      sizeof(bp_gemm_api), 0, describe, prepare, workspace, enqueue, release,
  };
};

}  // namespace bp::event_driver
