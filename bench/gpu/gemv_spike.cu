// SPDX-License-Identifier: Apache-2.0
// Generated against hand-written q4_g32 GEMV, and both against the card's read bandwidth.
//
// For each shape: weight sets are drawn at random (many, so that together they exceed the L2 cache
// several times), every kernel's result is compared with a double-precision CPU reference, and a
// graph that walks through all sets is timed with events; medians of replays. A read-only stream
// over a large buffer and over the same bytes, launched the same way, is measured in the same run.
//
// Usage: gemv_spike TEXTS_FOLDER RESULT.json   (TEXTS_FOLDER as written by bp_render_gemv)
#include <cuda.h>
#include <cuda_runtime.h>
#include <nvrtc.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "hand_gemv.cuh"

namespace {

constexpr size_t kWorkingSetBytes = size_t{600} << 20;  // of rotating weights; an L2 has 50 or 60 MB
constexpr size_t kStreamBytes = size_t{2} << 30;
constexpr int kReplays = 30;
constexpr double kTolerance = 2e-5;  // of the largest |y|; f32 sums over up to 11008 products

#define CHECK(call) check((call) == 0, #call, __LINE__)
void check(bool ok, const char* what, int line) {
  if (ok) return;
  std::fprintf(stderr, "line %d: %s failed (last CUDA error: %s)\n", line, what,
               cudaGetErrorString(cudaGetLastError()));
  std::exit(1);
}

__device__ __host__ inline uint32_t mix(uint64_t z) {
  z += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return (uint32_t)(z >> 32);
}

__global__ void fill_quants(uint32_t* out, size_t n, uint64_t seed) {
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) out[i] = mix(seed + i);
}
__global__ void fill_scales(__half* out, size_t n, uint64_t seed) {
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
    out[i] = __float2half((float)mix(seed + i) * 0x1p-32f * 0.02f + 0.001f);
  }
}

// Reads everything, writes only what cannot happen.
__global__ void __launch_bounds__(256) read_stream(const uint4* p, size_t n, uint32_t* out) {
  uint32_t x = 0;
  const size_t step = (size_t)gridDim.x * 256;
  size_t i = blockIdx.x * (size_t)256 + threadIdx.x;
  for (; i + 3 * step < n; i += 4 * step) {
    const uint4 a = hand::stream(p + i), b = hand::stream(p + i + step), c = hand::stream(p + i + 2 * step),
                d = hand::stream(p + i + 3 * step);
    x ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w ^ c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
  }
  for (; i < n; i += step) {
    const uint4 a = hand::stream(p + i);
    x ^= a.x ^ a.y ^ a.z ^ a.w;
  }
  if (x == 0x12345678u && n == 1) *out = x;
}

struct Variant {
  std::string name;
  bool int8 = false, generated = false, is_default = false;
  std::function<void(cudaStream_t, const uint4*, const __half*, float*)> launch;
  double us = 0, error = 0;
};

struct Shape {
  int rows, columns;
  size_t sets, quant_bytes, scale_bytes;
  std::vector<uint4*> quants;
  std::vector<__half*> scales;
  float* y;
  float* x_f32;
  uint4* x_int8;
  uint2* x_scales;
  std::vector<float> x;
  std::vector<int8_t> q;
  std::vector<float> d;
  double bytes(bool int8) const {
    return (double)quant_bytes + (double)scale_bytes + rows * 4.0 + columns * (int8 ? 1.25 : 4.0);
  }
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

// Microseconds of one of the `count` launches that `enqueue` puts into a stream.
double time_graph(size_t count, const std::function<void(cudaStream_t)>& enqueue) {
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  enqueue(stream);
  CHECK(cudaStreamEndCapture(stream, &graph));
  CHECK(cudaGraphInstantiate(&exec, graph, 0));
  cudaEvent_t begin, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  std::vector<double> us;
  for (int i = -3; i < kReplays; ++i) {
    CHECK(cudaEventRecord(begin, stream));
    CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaEventRecord(end, stream));
    CHECK(cudaEventSynchronize(end));
    float ms = 0;
    CHECK(cudaEventElapsedTime(&ms, begin, end));
    if (i >= 0) us.push_back(ms * 1000.0 / (double)count);
  }
  CHECK(cudaGetLastError());
  cudaEventDestroy(begin), cudaEventDestroy(end);
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph), cudaStreamDestroy(stream);
  return median(us);
}

Shape make_shape(int rows, int columns, uint64_t seed) {
  Shape s{};
  s.rows = rows, s.columns = columns;
  const size_t blocks = (size_t)rows * columns / 32;
  s.quant_bytes = blocks * 16, s.scale_bytes = blocks * 2;
  s.sets = std::max<size_t>(3, kWorkingSetBytes / (s.quant_bytes + s.scale_bytes));
  for (size_t i = 0; i < s.sets; ++i) {
    uint4* quants;
    __half* scales;
    CHECK(cudaMalloc(&quants, s.quant_bytes));
    CHECK(cudaMalloc(&scales, s.scale_bytes));
    fill_quants<<<1024, 256>>>((uint32_t*)quants, s.quant_bytes / 4, seed + i * 0x100000001ull);
    fill_scales<<<1024, 256>>>(scales, blocks, seed * 7 + i * 0x100000003ull);
    CHECK(cudaGetLastError());
    s.quants.push_back(quants), s.scales.push_back(scales);
  }
  std::vector<uint2> pairs;
  for (int i = 0; i < columns; ++i) s.x.push_back((float)(int32_t)mix(seed * 31 + i) * 0x1p-31f * 2.0f);
  for (int b = 0; b < columns / 32; ++b) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(s.x[b * 32 + i]));
    const float scale = largest / 127;
    int sum = 0;
    for (int i = 0; i < 32; ++i) {
      s.q.push_back((int8_t)std::nearbyint(s.x[b * 32 + i] / scale));
      sum += s.q.back();
    }
    s.d.push_back(scale);
    uint2 pair;
    std::memcpy(&pair.x, &scale, 4), pair.y = (uint32_t)sum;
    pairs.push_back(pair);
  }
  CHECK(cudaMalloc(&s.y, rows * 4));
  CHECK(cudaMalloc(&s.x_f32, columns * 4));
  CHECK(cudaMalloc(&s.x_int8, columns));
  CHECK(cudaMalloc(&s.x_scales, columns / 4));
  CHECK(cudaMemcpy(s.x_f32, s.x.data(), columns * 4, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(s.x_int8, s.q.data(), columns, cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(s.x_scales, pairs.data(), columns / 4, cudaMemcpyHostToDevice));
  return s;
}

void free_shape(Shape& s) {
  for (uint4* p : s.quants) cudaFree(p);
  for (__half* p : s.scales) cudaFree(p);
  cudaFree(s.y), cudaFree(s.x_f32), cudaFree(s.x_int8), cudaFree(s.x_scales);
}

std::vector<double> reference(const Shape& s, size_t set, bool int8) {
  const size_t blocks = s.columns / 32;
  std::vector<uint8_t> quants(s.quant_bytes);
  std::vector<__half> scales(s.scale_bytes / 2);
  CHECK(cudaMemcpy(quants.data(), s.quants[set], s.quant_bytes, cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(scales.data(), s.scales[set], s.scale_bytes, cudaMemcpyDeviceToHost));
  std::vector<double> x(s.columns), y(s.rows);
  for (int i = 0; i < s.columns; ++i) x[i] = int8 ? (double)s.q[i] * s.d[i / 32] : s.x[i];
  for (int r = 0; r < s.rows; ++r) {
    double sum = 0;
    for (size_t b = 0; b < blocks; ++b) {
      const uint8_t* block = &quants[(r * blocks + b) * 16];
      double part = 0;
      for (int j = 0; j < 16; ++j) {
        part += ((block[j] & 15) - 8) * x[b * 32 + j] + ((block[j] >> 4) - 8) * x[b * 32 + 16 + j];
      }
      sum += part * __half2float(scales[r * blocks + b]);
    }
    y[r] = sum;
  }
  return y;
}

// Largest difference, as a share of the largest result. Poisons the output first.
double error_of(const Variant& v, const Shape& s, size_t set, const std::vector<double>& want) {
  CHECK(cudaMemset(s.y, 0xff, s.rows * 4));  // NaN
  v.launch(nullptr, s.quants[set], s.scales[set], s.y);
  CHECK(cudaGetLastError());
  std::vector<float> got(s.rows);
  CHECK(cudaMemcpy(got.data(), s.y, s.rows * 4, cudaMemcpyDeviceToHost));
  double largest = 0, off = 0;
  for (double w : want) largest = std::max(largest, std::fabs(w));
  for (int r = 0; r < s.rows; ++r) {
    const double e = std::fabs(got[r] - want[r]) / largest;
    if (!(e <= off)) off = e;  // NaN stays
  }
  return off;
}

template <int ROWS, int WARPS, int AHEAD>
void add_hand(const Shape& s, std::vector<Variant>* out) {
  char name[64];
  std::snprintf(name, sizeof name, "hand rows %d warps %d ahead %d", ROWS, WARPS, AHEAD);
  const int groups = (s.rows + ROWS * WARPS - 1) / (ROWS * WARPS), blocks = s.columns / 32;
  Variant v;
  v.name = name;
  v.int8 = true;
  v.launch = [=](cudaStream_t stream, const uint4* q, const __half* d, float* y) {
    hand::gemv_int8<ROWS, WARPS, AHEAD><<<groups, 32 * WARPS, 0, stream>>>(q, d, s.x_int8, s.x_scales, y, s.rows, blocks);
  };
  out->push_back(v);
  v.int8 = false;
  v.launch = [=](cudaStream_t stream, const uint4* q, const __half* d, float* y) {
    hand::gemv_f32<ROWS, WARPS, AHEAD><<<groups, 32 * WARPS, 0, stream>>>(q, d, (const float4*)s.x_f32, y, s.rows, blocks);
  };
  out->push_back(v);
}

CUfunction compile(const std::string& path, const std::string& entry, int arch) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  nvrtcProgram program;
  CHECK(nvrtcCreateProgram(&program, text.str().c_str(), path.c_str(), 0, nullptr, nullptr));
  const std::string target = "--gpu-architecture=sm_" + std::to_string(arch);
  const char* options[] = {target.c_str()};
  if (nvrtcCompileProgram(program, 1, options) != 0) {
    size_t n = 0;
    nvrtcGetProgramLogSize(program, &n);
    std::string log(n, 0);
    nvrtcGetProgramLog(program, log.data());
    std::fprintf(stderr, "%s\n%s\n", path.c_str(), log.c_str());
    std::exit(1);
  }
  size_t n = 0;
  CHECK(nvrtcGetCUBINSize(program, &n));
  std::string cubin(n, 0);
  CHECK(nvrtcGetCUBIN(program, cubin.data()));
  CHECK(nvrtcDestroyProgram(&program));
  CUmodule module;
  CUfunction function;
  CHECK(cuModuleLoadData(&module, cubin.data()));
  CHECK(cuModuleGetFunction(&function, module, entry.c_str()));
  return function;
}

void add_generated(const std::string& folder, int arch, const Shape& s, std::vector<Variant>* out) {
  std::ifstream manifest(folder + "/manifest.txt");
  check(manifest.good(), "opening the manifest", __LINE__);
  std::string file, entry, arithmetic;
  int rows, columns, threads, groups, lanes, held, unroll, is_default;
  while (manifest >> file >> entry >> arithmetic >> rows >> columns >> threads >> groups >> lanes >> held >> unroll >> is_default) {
    if (rows != s.rows || columns != s.columns) continue;
    const CUfunction function = compile(folder + "/" + file, entry, arch);
    Variant v;
    char name[96];
    std::snprintf(name, sizeof name, "threads %d lanes %d rows %d unroll %d", threads, lanes, held, unroll);
    v.name = name;
    v.generated = true;
    v.is_default = is_default != 0;
    v.int8 = arithmetic == "int8";
    const bool int8 = v.int8;
    v.launch = [=](cudaStream_t stream, const uint4* q, const __half* d, float* y) {
      const void* a = q;
      const void* b = d;
      const void* c = int8 ? (const void*)s.x_int8 : (const void*)s.x_f32;
      const void* e = s.x_scales;
      unsigned int params[] = {1, 0};  // tokens, first_row
      void* with_int8[] = {&a, &b, &c, &e, &y, params};
      void* with_f32[] = {&a, &b, &c, &y, params};
      CHECK(cuLaunchKernel(function, groups, 1, 1, threads, 1, 1, 0, (CUstream)stream, int8 ? with_int8 : with_f32, nullptr));
    };
    out->push_back(v);
  }
}

const Variant* best(const std::vector<Variant>& all, bool int8, bool generated, bool only_default) {
  const Variant* found = nullptr;
  for (const Variant& v : all) {
    if (v.int8 != int8 || v.generated != generated || (only_default && !v.is_default)) continue;
    if (found == nullptr || v.us < found->us) found = &v;
  }
  check(found != nullptr, "a variant of each kind", __LINE__);
  return found;
}

std::string as_json(const char* key, const Variant& v, double bytes) {
  char out[320];
  std::snprintf(out, sizeof out, "\"%s\": {\"variant\": \"%s\", \"us\": %.3f, \"gb_per_s\": %.1f, \"error\": %.2e}",
                key, v.name.c_str(), v.us, bytes / v.us / 1e3, v.error);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: gemv_spike TEXTS_FOLDER RESULT.json\n", stderr);
    return 2;
  }
  CHECK(cudaSetDevice(0));
  CHECK(cudaFree(nullptr));
  cudaDeviceProp device;
  CHECK(cudaGetDeviceProperties(&device, 0));
  int driver = 0;
  CHECK(cudaDriverGetVersion(&driver));
  const int arch = device.major * 10 + device.minor, units = device.multiProcessorCount;
  const uint64_t seed = (uint64_t)std::time(nullptr);

  uint4* big;
  uint32_t* sink;
  CHECK(cudaMalloc(&big, kStreamBytes));
  CHECK(cudaMalloc(&sink, 4));
  fill_quants<<<4096, 256>>>((uint32_t*)big, kStreamBytes / 4, seed);
  double stream_us = 1e30;
  for (int per_unit : {4, 8, 16, 32}) {
    const double us = time_graph(1, [&](cudaStream_t s) {
      read_stream<<<units * per_unit, 256, 0, s>>>(big, kStreamBytes / 16, sink);
    });
    stream_us = std::min(stream_us, us);
  }
  cudaFree(big);
  const double read_gbs = kStreamBytes / stream_us / 1e3;
  std::printf("%s, sm_%d, %d units, L2 %d MB, driver %d; read-only stream of 2 GiB: %.0f GB/s\n",
              device.name, arch, units, device.l2CacheSize >> 20, driver, read_gbs);
  std::printf("%-12s %-5s | %9s %9s | %9s %9s | %9s %9s | %6s %6s | %6s %9s\n", "shape", "arith", "hand us",
              "GB/s", "default", "GB/s", "tuned us", "GB/s", "def/h", "tun/h", "share", "same-size");

  std::ofstream json(argv[2]);
  json << "{\"device\": \"" << device.name << "\", \"driver\": " << driver << ", \"date\": " << seed
       << ", \"read_gb_per_s\": " << read_gbs << ", \"results\": [";
  bool ok = true, first = true;
  const int shapes[][2] = {{4096, 4096}, {12288, 4096}, {22016, 4096}, {4096, 11008}, {32000, 4096}};
  for (const auto& [rows, columns] : shapes) {
    Shape s = make_shape(rows, columns, seed);
    std::vector<Variant> all;
    add_hand<1, 4, 1>(s, &all), add_hand<1, 4, 4>(s, &all), add_hand<2, 4, 1>(s, &all);
    add_hand<2, 4, 2>(s, &all), add_hand<2, 4, 4>(s, &all), add_hand<4, 4, 1>(s, &all);
    add_hand<4, 4, 2>(s, &all), add_hand<2, 8, 2>(s, &all), add_hand<1, 8, 4>(s, &all);
    add_hand<1, 2, 4>(s, &all), add_hand<2, 2, 2>(s, &all), add_hand<2, 2, 4>(s, &all);
    add_generated(argv[1], arch, s, &all);
    for (bool int8 : {true, false}) {
      for (size_t set : {size_t{0}, s.sets - 1}) {
        const std::vector<double> want = reference(s, set, int8);
        for (Variant& v : all) {
          if (v.int8 != int8) continue;
          const double e = error_of(v, s, set, want);
          if (!(e <= v.error)) v.error = e;
          if (!(e <= kTolerance)) {
            ok = false;
            std::printf("WRONG: %d x %d %s: error %.3e\n", rows, columns, v.name.c_str(), e);
          }
        }
      }
    }
    for (Variant& v : all) {
      v.us = time_graph(s.sets, [&](cudaStream_t stream) {
        for (size_t i = 0; i < s.sets; ++i) v.launch(stream, s.quants[i], s.scales[i], s.y);
      });
    }
    // The same bytes, merely read: what launches of this size can reach at most.
    double same_us = 1e30;
    for (int per_unit : {2, 4, 8}) {
      same_us = std::min(same_us, time_graph(s.sets, [&](cudaStream_t stream) {
        for (size_t i = 0; i < s.sets; ++i) read_stream<<<units * per_unit, 256, 0, stream>>>(s.quants[i], s.quant_bytes / 16, sink);
      }));
    }
    const double same_gbs = (double)s.quant_bytes / same_us / 1e3;
    for (bool int8 : {true, false}) {
      const Variant* h = best(all, int8, false, false);
      const Variant* d = best(all, int8, true, true);
      const Variant* t = best(all, int8, true, false);
      const double bytes = s.bytes(int8);
      char shape[32];
      std::snprintf(shape, sizeof shape, "%dx%d", rows, columns);
      std::printf("%-12s %-5s | %9.2f %9.0f | %9.2f %9.0f | %9.2f %9.0f | %6.3f %6.3f | %6.3f %9.0f\n", shape,
                  int8 ? "int8" : "f32", h->us, bytes / h->us / 1e3, d->us, bytes / d->us / 1e3, t->us,
                  bytes / t->us / 1e3, h->us / d->us, h->us / t->us, bytes / t->us / 1e3 / read_gbs, same_gbs);
      json << (first ? "\n" : ",\n") << "  {\"rows\": " << rows << ", \"columns\": " << columns
           << ", \"arithmetic\": \"" << (int8 ? "int8" : "f32") << "\", \"sets\": " << s.sets << ", "
           << as_json("hand", *h, bytes) << ", " << as_json("generated_default", *d, bytes) << ", "
           << as_json("generated_tuned", *t, bytes) << ", \"same_size_read_gb_per_s\": " << same_gbs
           << ", \"all\": [";
      bool first_variant = true;
      for (const Variant& v : all) {
        if (v.int8 != int8) continue;
        json << (first_variant ? "" : ", ") << "{\"variant\": \"" << (v.generated ? "generated " : "") << v.name << "\", \"us\": " << v.us << "}";
        first_variant = false;
      }
      json << "]}";
      first = false;
    }
    free_shape(s);
  }
  json << "\n], \"all_correct\": " << (ok ? "true" : "false") << "}\n";
  std::printf("%s\n", ok ? "all results correct" : "SOME RESULTS WRONG");
  return ok ? 0 : 1;
}
