// SPDX-License-Identifier: Apache-2.0
// bp.gemm/1: products of odd shapes with strides and offsets, passes shorter than prepared,
// recording, and what must be refused.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backplane/float16.h"
#include "backplane/plugin_glue.h"
#include "sdk/conformance/check.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {
namespace {

constexpr uint64_t kWorkspaceBytes = 4u << 20;
constexpr uint64_t kBefore = 256;  // bytes in front of each matrix that belong to nobody
constexpr float kUntouched = 0.5f;

struct Job {
  uint64_t tokens, rows, columns;
  uint64_t pad = 0;  // elements behind each row
  bool half = false;
  bool accumulate = false;
  uint64_t passed = 0;  // tokens of the enqueue, 0: all
};

bp_gemm_shape shape_of(const Job& job) {
  bp_gemm_shape shape{};
  shape.size = sizeof shape;
  shape.y_type = job.half ? BP_GEMM_F16 : BP_GEMM_F32;
  shape.tokens = job.tokens;
  shape.rows = job.rows;
  shape.columns = job.columns;
  shape.x_stride = shape.w_stride = job.columns + job.pad;
  shape.y_stride = job.rows + job.pad;
  shape.workspace_bytes = kWorkspaceBytes;
  shape.accumulate = job.accumulate ? 1 : 0;
  return shape;
}

// Released at the end of its scope.
struct Product {
  explicit Product(const Context& of) : context(of) {}
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  ~Product() { context.gemm_api().release(gemm, nullptr); }
  const Context& context;
  bp_gemm* gemm = nullptr;
  uint64_t workspace = 0;
};

// Quarters between −1 and 1: their products and sums are exact in f32.
std::vector<uint16_t> quarters(uint64_t count, uint32_t seed) {
  std::vector<uint16_t> out(count);
  for (uint16_t& half : out) {
    seed = seed * 1664525u + 1013904223u;
    half = f32_to_f16(static_cast<float>(static_cast<int>(seed >> 24) % 9 - 4) * 0.25f);
  }
  return out;
}

// A matrix of the device behind bytes that belong to nobody.
template <class Element>
Result<Buffer> place(const Context& context, const Queue& queue, const std::vector<Element>& from) {
  const uint64_t bytes = from.size() * sizeof(Element);
  Buffer buffer = BP_TRY(context.allocate(kBefore + bytes + 16));
  BP_TRY(queue.write(buffer, kBefore, std::as_bytes(std::span(from))));
  return buffer;
}

bp_launch_buffer whole(const Buffer& buffer, uint64_t bytes) {
  return {buffer.handle(), kBefore, bytes};
}

// UNIMPLEMENTED comes back for shapes that the library does not have.
Status prepare(const Job& job, Product* out) {
  const Context& context = out->context;
  const bp_gemm_shape shape = shape_of(job);
  BP_TRY(context.call("prepare", context.gemm_api().prepare, context.device, &shape, &out->gemm));
  BP_EXPECT(out->gemm != nullptr, "prepare returned OK and no product");
  BP_TRY(context.call("workspace", context.gemm_api().workspace, out->gemm, &out->workspace));
  BP_EXPECT(out->workspace <= kWorkspaceBytes, "a workspace of {} bytes, at most {} were offered",
            out->workspace, kWorkspaceBytes);
  return {};
}

struct Operands {
  std::vector<uint16_t> x, w;
};

double reference(const Job& job, const Operands& in, uint64_t token, uint64_t row) {
  const uint64_t stride = job.columns + job.pad;
  double sum = job.accumulate ? kUntouched : 0;
  for (uint64_t k = 0; k < job.columns; ++k) {
    sum += double{f16_to_f32(in.x[token * stride + k])} * f16_to_f32(in.w[row * stride + k]);
  }
  return sum;
}

Status compare(const Job& job, const Operands& in, const std::vector<std::byte>& y) {
  const uint64_t stride = job.rows + job.pad, element = job.half ? 2 : 4;
  const uint64_t passed = job.passed == 0 ? job.tokens : job.passed;
  for (uint64_t i = 0; i < job.tokens * stride; ++i) {
    const uint64_t token = i / stride, row = i % stride;
    float got = 0;
    uint16_t half = 0;
    const std::byte* const at = y.data() + kBefore + i * element;
    if (job.half) {
      std::memcpy(&half, at, sizeof half);
      got = f16_to_f32(half);
    } else {
      std::memcpy(&got, at, sizeof got);
    }
    const bool ours = token < passed && row < job.rows;
    const double want = ours ? reference(job, in, token, row) : kUntouched;
    const double bound = (job.half ? 1e-3 : 1e-6) * std::abs(want) + 1e-6;
    BP_EXPECT(std::abs(got - want) <= bound, "{} x {} x {}: y[{}, {}] is {} instead of {}{}",
              job.tokens, job.rows, job.columns, token, row, got, want,
              ours ? "" : ", which is none of the product's");
  }
  return {};
}

// `recorded`: by way of a recording.
Status run(const Context& context, Queue& queue, const Job& job, bool recorded) {
  Product product(context);
  BP_TRY(prepare(job, &product));
  const uint64_t stride = job.columns + job.pad;
  const Operands in{quarters(job.tokens * stride, 1), quarters(job.rows * stride, 2)};
  const uint64_t results = job.tokens * (job.rows + job.pad);
  const Buffer x = BP_TRY(place(context, queue, in.x));
  const Buffer w = BP_TRY(place(context, queue, in.w));
  const Buffer y =
      job.half
          ? BP_TRY(place(context, queue, std::vector<uint16_t>(results, f32_to_f16(kUntouched))))
          : BP_TRY(place(context, queue, std::vector<float>(results, kUntouched)));
  const Buffer scratch = BP_TRY(context.allocate(kBefore + product.workspace + 16));
  bp_gemm_launch launch{};
  launch.size = sizeof launch;
  launch.tokens = job.passed == 0 ? job.tokens : job.passed;
  launch.x = whole(x, in.x.size() * 2);
  launch.w = whole(w, in.w.size() * 2);
  launch.y = whole(y, results * (job.half ? 2 : 4));
  launch.workspace = whole(scratch, product.workspace);
  bp_recording* recording = nullptr;
  if (recorded) {
    BP_TRY(context.call("capture_begin", context.stream_api().capture_begin, queue.stream()));
  }
  const Status enqueued =
      context.call("enqueue", context.gemm_api().enqueue, product.gemm, queue.stream(), &launch);
  Status ended;
  if (recorded) {
    ended =
        context.call("capture_end", context.stream_api().capture_end, queue.stream(), &recording);
  }
  BP_TRY(Status(enqueued));
  BP_TRY(Status(ended));
  Status replayed;
  if (recorded) {
    replayed = context.call("replay", context.stream_api().replay, queue.stream(), recording);
  }
  const auto got = queue.content(y);
  if (recording != nullptr) context.stream_api().recording_destroy(recording, nullptr);
  BP_TRY(Status(replayed));
  return compare(job, in, BP_TRY(Result(got)));
}

// Skips where the plugin has no products, and says why where its library is missing.
bool is_absent(const Context& context, std::string* why, bp_gemm_info* info) {
  info->size = sizeof *info;
  *why = "the plugin offers no bp.gemm/1";
  if (!context.owner->has_gemm()) return true;
  const Status asked = context.call("describe", context.gemm_api().describe, context.device, info);
  *why = asked.message();
  return asked.code() == Code::kUnavailable;
}

Verdict names_its_library(Context& context) {
  std::string why;
  bp_gemm_info info{};
  if (is_absent(context, &why, &info)) return skip("{}", why);
  bp_gemm_info again{};
  again.size = sizeof again;
  BP_TRY(context.call("describe", context.gemm_api().describe, context.device, &again));
  BP_EXPECT(is_ended_utf8(info.library, sizeof info.library) && info.library[0] != '\0',
            "the library has no name");
  BP_EXPECT(std::memcmp(&info, &again, sizeof info) == 0, "another answer at the second call");
  return pass("{}{}", info.library,
              (info.flags & BP_GEMM_CAPTURE_SAFE) != 0 ? ", may be recorded" : "");
}

Verdict multiplies(Context& context) {
  std::string why;
  bp_gemm_info info{};
  if (is_absent(context, &why, &info)) return skip("{}", why);
  Queue queue = BP_TRY(Queue::open(context));
  uint32_t done = 0, lacking = 0;
  // One, primes, and one more and less than what tiles are made of.
  const Job jobs[] = {{1, 1, 1},     {2, 3, 5},     {17, 31, 7},   {63, 65, 64},   {64, 64, 64},
                      {65, 63, 129}, {128, 1, 256}, {1, 127, 255}, {129, 257, 40}, {96, 200, 1000}};
  for (const Job& shape : jobs) {
    for (const uint64_t pad : {uint64_t{0}, uint64_t{8}, uint64_t{3}}) {
      for (const int variant : {0, 1, 2, 3}) {
        if (context.options.quick && pad != 8 && variant != 0) continue;
        Job job = shape;
        job.pad = pad;
        job.half = variant % 2 == 1;
        job.accumulate = variant >= 2;
        context.alive();
        const Status status = run(context, queue, job, false);
        if (status.code() == Code::kUnimplemented) {
          ++lacking;
          continue;
        }
        BP_TRY(Status(status));
        ++done;
      }
    }
  }
  BP_EXPECT(done != 0, "none of {} shapes", lacking);
  return pass("{} products, {} shapes that {} does not have", done, lacking, info.library);
}

Verdict takes_shorter_passes(Context& context) {
  std::string why;
  bp_gemm_info info{};
  if (is_absent(context, &why, &info)) return skip("{}", why);
  Queue queue = BP_TRY(Queue::open(context));
  for (const uint64_t passed : {1u, 2u, 63u, 64u, 199u, 200u}) {
    Job job{200, 136, 64};
    job.passed = passed;
    BP_TRY(run(context, queue, job, false).with_context("{} of 200 tokens", passed));
  }
  return pass("any number of tokens up to that of the shape");
}

Verdict records(Context& context) {
  std::string why;
  bp_gemm_info info{};
  if (is_absent(context, &why, &info)) return skip("{}", why);
  if ((info.flags & BP_GEMM_CAPTURE_SAFE) == 0) return skip("{} says it cannot", info.library);
  Queue queue = BP_TRY(Queue::open(context));
  const Job job{70, 72, 64};
  BP_TRY(run(context, queue, job, false));
  BP_TRY(run(context, queue, job, true).with_context("recorded"));
  return pass("recorded and replayed");
}

Verdict refuses(Context& context) {
  std::string why;
  bp_gemm_info info{};
  if (is_absent(context, &why, &info)) return skip("{}", why);
  const auto refuse = [&](auto change, const char* what) -> Status {
    bp_gemm_shape shape = shape_of({64, 64, 64});
    change(shape);
    bp_gemm* gemm = nullptr;
    const bp_status status = context.gemm_api().prepare(context.device, &shape, &gemm, nullptr);
    if (gemm != nullptr) context.gemm_api().release(gemm, nullptr);
    return expect_refusal(status, what);
  };
  BP_TRY(refuse([](bp_gemm_shape& s) { s.tokens = 0; }, "0 tokens"));
  BP_TRY(refuse([](bp_gemm_shape& s) { s.rows = 0; }, "0 rows"));
  BP_TRY(refuse([](bp_gemm_shape& s) { s.columns = 0; }, "0 columns"));
  BP_TRY(refuse([](bp_gemm_shape& s) { s.x_stride = 8; }, "rows of x that overlap"));
  BP_TRY(refuse([](bp_gemm_shape& s) { s.w_stride = 8; }, "rows of w that overlap"));
  BP_TRY(refuse([](bp_gemm_shape& s) { s.y_stride = 8; }, "rows of y that overlap"));
  BP_TRY(refuse([](bp_gemm_shape& s) { s.y_type = 99; }, "a type that does not exist"));
  BP_TRY(refuse([](bp_gemm_shape& s) { s.rows = UINT64_MAX; }, "more rows than there can be"));
  Queue queue = BP_TRY(Queue::open(context));
  Product product(context);
  BP_TRY(prepare({64, 64, 64}, &product));
  const Buffer memory = BP_TRY(context.allocate(16384 + kBefore));
  const Buffer scratch = BP_TRY(context.allocate(product.workspace + kBefore + 16));
  bp_gemm_launch launch{};
  launch.size = sizeof launch;
  launch.tokens = 64;
  launch.x = launch.w = {memory.handle(), 0, 8192};
  launch.y = {memory.handle(), 0, 16384};
  launch.workspace = whole(scratch, product.workspace);
  const auto reject = [&](auto change, const char* what) -> Status {
    bp_gemm_launch wrong = launch;
    change(wrong);
    return expect_refusal(context.gemm_api().enqueue(product.gemm, queue.stream(), &wrong, nullptr),
                          what);
  };
  BP_TRY(reject([](bp_gemm_launch& l) { l.tokens = 65; }, "more tokens than prepared for"));
  BP_TRY(reject([](bp_gemm_launch& l) { l.x.bytes = 8190; }, "an x that is too short"));
  BP_TRY(reject([](bp_gemm_launch& l) { l.w.buffer = nullptr; }, "a w without a buffer"));
  BP_TRY(reject([](bp_gemm_launch& l) { l.y.offset = 512; }, "a y that leaves its buffer"));
  BP_TRY(context.call("status", context.device_api().status, context.device));
  return pass("shapes and ranges that do not fit are refused");
}

}  // namespace

void add_gemm_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"gemm.describe", N::kDevice, "the library's name and version", names_its_library});
  out.push_back(
      {"gemm.products", N::kDevice, "odd shapes, strides, offsets, both types of y", multiplies});
  out.push_back({"gemm.shorter", N::kDevice, "passes of fewer tokens than prepared for",
                 takes_shorter_passes});
  out.push_back({"gemm.recorded", N::kDevice, "a product that is recorded and replayed", records});
  out.push_back(
      {"gemm.refused", N::kDevice, "shapes and launches that do not fit are refused", refuses});
}

}  // namespace bp::conformance
