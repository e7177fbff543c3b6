// SPDX-License-Identifier: Apache-2.0
// libcublasLt and libhipblaslt of the stand-in: the entry points that bp.gemm/1 resolves, over a
// plain product of halves with f32 sums. It is strict about what the plugins may pass: live
// objects, layouts that fit, known memory, the algorithm that it gave out.
#include <cstring>
#include <mutex>
#include <set>
#include <vector>

#include "sdk/cpp/backplane/float16.h"
#include "tests/mockgpu/engine.h"

#ifdef BP_MOCK_HIPBLASLT
#define LT(name) hipblasLt##name
#else
#define LT(name) cublasLt##name
#endif
#define LT_API extern "C" __attribute__((visibility("default"))) int

namespace {

using mock::Code;
using mock::Kind;

#ifdef BP_MOCK_HIPBLASLT
constexpr int kNotInitialized = 1, kAllocFailed = 2, kInvalidValue = 3, kExecutionFailed = 5,
              kInternalError = 6, kNotSupported = 7;
constexpr int kComputeF32 = 2, kTransposed = 112, kTransposeA = 0;
constexpr size_t kAlgorithmBytes = 24;
#else
constexpr int kNotInitialized = 1, kAllocFailed = 3, kInvalidValue = 7, kExecutionFailed = 13,
              kInternalError = 14, kNotSupported = 15;
constexpr int kComputeF32 = 68, kTransposed = 1, kTransposeA = 3;
constexpr size_t kAlgorithmBytes = 64;
#endif
constexpr int kF32 = 0, kF16 = 2, kMaxWorkspace = 1;
constexpr size_t kWorkspaceBytes = 4096;  // what products of the stand-in want
constexpr uint64_t kMagic = 0x6d6f636b67656d6d;

struct Object {
  int type = 0;  // of a layout
  uint64_t rows = 0, columns = 0;
  int64_t stride = 0;
  int32_t transpose_a = 0;
  uint64_t workspace = 0;
};
struct Algorithm {
  uint64_t magic;
  uint64_t columns;  // of D when it was chosen
};
static_assert(sizeof(Algorithm) <= kAlgorithmBytes);

// Never destroyed, like the driver's state.
struct Objects {
  std::mutex mutex;
  std::set<void*> live;
};
Objects& objects() {
  static auto* const kept = new Objects;
  return *kept;
}

int status_of(Code code) {
  switch (code) {
    case mock::kOk:
      return 0;
    case mock::kInvalidContext:
      return kNotInitialized;
    case mock::kOutOfMemory:
    case mock::kOutOfResources:
      return kAllocFailed;
    case mock::kInvalidValue:
    case mock::kInvalidHandle:
      return kInvalidValue;
    case mock::kIllegalAddress:
      return kExecutionFailed;
    default:
      return kInternalError;
  }
}

int begin(Kind kind) {
  const int device = mock::current_device();
  if (device < 0) return kNotInitialized;
  return status_of(mock::begin_library(kind, device));
}

bool is_live(void* object) {
  {
    const std::lock_guard lock(objects().mutex);
    if (objects().live.contains(object)) return true;
  }
  mock::count_library("misuse", 1);
  return false;
}

int make(void** out, const Object& object) {
  if (const int failed = begin(Kind::kAny)) return failed;
  *out = new Object(object);
  const std::lock_guard lock(objects().mutex);
  objects().live.insert(*out);
  mock::count_library("gemm_objects", 1);
  return 0;
}

// What releases does so even when it reports a failure.
int end(void* object) {
  const int failed = begin(Kind::kAny);
  if (!is_live(object)) return kInvalidValue;
  {
    const std::lock_guard lock(objects().mutex);
    objects().live.erase(object);
  }
  delete static_cast<Object*>(object);
  mock::count_library("gemm_objects", -1);
  return failed;
}

// Do the four fit together, as a transposed f16 A, an f16 B, and D for the sums?
bool fits(const Object& product, const Object& a, const Object& b, const Object& d) {
  const auto sound = [](const Object& o) { return o.stride >= static_cast<int64_t>(o.rows); };
  return product.transpose_a == kTransposed && a.type == kF16 && b.type == kF16 &&
         (d.type == kF32 || d.type == kF16) && a.rows == b.rows && d.rows == a.columns &&
         d.columns == b.columns && sound(a) && sound(b) && sound(d);
}

std::vector<float> floats_of(const uint16_t* from, const Object& layout) {
  std::vector<float> out(layout.columns * layout.rows);
  for (uint64_t c = 0; c < layout.columns; ++c) {
    for (uint64_t r = 0; r < layout.rows; ++r) {
      out[c * layout.rows + r] = bp::f16_to_f32(from[c * static_cast<uint64_t>(layout.stride) + r]);
    }
  }
  return out;
}

float dot(const float* a, const float* b, uint64_t n) {
  constexpr uint64_t kLanes = 16;
  float sums[kLanes] = {};
  uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (uint64_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  float sum = 0;
  for (; i < n; ++i) sum += a[i] * b[i];
  for (const float lane : sums) sum += lane;
  return sum;
}

struct Product {
  Object a, b, d;
  float alpha, beta;
  const uint16_t *a_data, *b_data;
  void* d_data;

  void run() const {
    const std::vector<float> w = floats_of(a_data, a), x = floats_of(b_data, b);
    for (uint64_t t = 0; t < d.columns; ++t) {
      for (uint64_t n = 0; n < d.rows; ++n) {
        const uint64_t at = t * static_cast<uint64_t>(d.stride) + n;
        float sum = alpha * dot(&w[n * a.rows], &x[t * b.rows], a.rows);
        if (d.type == kF32) {
          float* const y = static_cast<float*>(d_data) + at;
          *y = beta != 0 ? sum + beta * *y : sum;
        } else {
          uint16_t* const y = static_cast<uint16_t*>(d_data) + at;
          if (beta != 0) sum += beta * bp::f16_to_f32(*y);
          *y = bp::f32_to_f16(sum);
        }
      }
    }
  }
};

bool is_memory(const void* at, const Object& layout, size_t element) {
  return mock::is_memory(
      at, ((layout.columns - 1) * static_cast<size_t>(layout.stride) + layout.rows) * element);
}

}  // namespace

#ifdef BP_MOCK_HIPBLASLT
LT_API hipblasLtGetVersion(void* handle, int* out) {
  *out = static_cast<int>(mock::setting("BACKPLANE_MOCK_GEMM_VERSION", 100000));
  return is_live(handle) ? 0 : kInvalidValue;
}
#else
extern "C" __attribute__((visibility("default"))) size_t cublasLtGetVersion() {
  return mock::setting("BACKPLANE_MOCK_GEMM_VERSION", 130100);
}
#endif

LT_API LT(Create)(void** out) {
  return make(out, {});
}
LT_API LT(Destroy)(void* handle) {
  return end(handle);
}
LT_API LT(MatmulDescCreate)(void** out, int compute, int scale) {
  if (compute != kComputeF32 || scale != kF32) return kNotSupported;
  return make(out, {});
}
LT_API LT(MatmulDescDestroy)(void* product) {
  return end(product);
}
LT_API LT(MatmulDescSetAttribute)(void* product, int attribute, const void* value, size_t bytes) {
  if (const int failed = begin(Kind::kAny)) return failed;
  if (!is_live(product) || attribute != kTransposeA || bytes != 4) return kInvalidValue;
  std::memcpy(&static_cast<Object*>(product)->transpose_a, value, 4);
  return 0;
}
LT_API LT(MatrixLayoutCreate)(void** out, int type, uint64_t rows, uint64_t columns,
                              int64_t stride) {
  return make(out, {.type = type, .rows = rows, .columns = columns, .stride = stride});
}
LT_API LT(MatrixLayoutDestroy)(void* layout) {
  return end(layout);
}
LT_API LT(MatmulPreferenceCreate)(void** out) {
  return make(out, {});
}
LT_API LT(MatmulPreferenceDestroy)(void* preference) {
  return end(preference);
}
LT_API LT(MatmulPreferenceSetAttribute)(void* preference, int attribute, const void* value,
                                        size_t bytes) {
  if (const int failed = begin(Kind::kAny)) return failed;
  if (!is_live(preference)) return kInvalidValue;
  if (attribute == kMaxWorkspace && bytes == 8) {
    std::memcpy(&static_cast<Object*>(preference)->workspace, value, 8);
    return 0;
  }
  return attribute >= 5 && attribute <= 8 && bytes == 4 ? 0 : kInvalidValue;
}
LT_API LT(MatmulAlgoGetHeuristic)(void* handle, void* product, void* a, void* b, void* c, void* d,
                                  void* preference, int wanted, void* results, int* found) {
  *found = 0;
  if (const int failed = begin(Kind::kAny)) return failed;
  for (void* const object : {handle, product, a, b, c, d, preference}) {
    if (!is_live(object)) return kInvalidValue;
  }
  const auto as = [](void* object) -> const Object& { return *static_cast<Object*>(object); };
  if (wanted < 1 || !fits(as(product), as(a), as(b), as(d))) return kInvalidValue;
  if (mock::setting("BACKPLANE_MOCK_GEMM_NONE", 0) != 0) return kNotSupported;
  const Algorithm algorithm{kMagic, as(d).columns};
  auto* const out = static_cast<char*>(results);
  std::memset(out, 0, kAlgorithmBytes + 32);
  std::memcpy(out, &algorithm, sizeof algorithm);
  const size_t workspace = as(preference).workspace >= kWorkspaceBytes ? kWorkspaceBytes : 0;
  std::memcpy(out + kAlgorithmBytes, &workspace, sizeof workspace);
  *found = 1;
  return 0;
}
LT_API LT(Matmul)(void* handle, void* product, const void* alpha, const void* a, void* a_layout,
                  const void* b, void* b_layout, const void* beta, const void* c, void* c_layout,
                  void* d, void* d_layout, const void* chosen, void* workspace,
                  size_t workspace_bytes, void* stream) {
  if (const int failed = begin(Kind::kLaunch)) return failed;
  for (void* const object : {handle, product, a_layout, b_layout, c_layout, d_layout}) {
    if (!is_live(object)) return kInvalidValue;
  }
  Product work{*static_cast<Object*>(a_layout),  *static_cast<Object*>(b_layout),
               *static_cast<Object*>(d_layout),  *static_cast<const float*>(alpha),
               *static_cast<const float*>(beta), static_cast<const uint16_t*>(a),
               static_cast<const uint16_t*>(b),  d};
  Algorithm algorithm{};
  std::memcpy(&algorithm, chosen, sizeof algorithm);
  if (algorithm.magic != kMagic || c != d ||
      !fits(*static_cast<Object*>(product), work.a, work.b, work.d)) {
    return kInvalidValue;
  }
  if (mock::setting("BACKPLANE_MOCK_GEMM_PICKY", 0) != 0 && algorithm.columns != work.d.columns) {
    return kNotSupported;
  }
  if (!is_memory(a, work.a, 2) || !is_memory(b, work.b, 2) ||
      !is_memory(d, work.d, work.d.type == kF32 ? 4 : 2) ||
      (workspace_bytes != 0 && !mock::is_memory(workspace, workspace_bytes))) {
    mock::count_library("misuse", 1);
    return kInvalidValue;
  }
  mock::count_library("products", 1);
  const bool wrong = mock::setting("BACKPLANE_MOCK_GEMM_WRONG", 0) != 0;
  return status_of(mock::submit_library(stream, [=]() -> Code {
    // Whatever else lies in the workspace is lost.
    if (workspace_bytes != 0) std::memset(workspace, 0xff, workspace_bytes);
    work.run();
    if (wrong) std::memset(work.d_data, 0, 4);
    return mock::kOk;
  }));
}
