// SPDX-License-Identifier: Apache-2.0
// Speed of the CPU plugin's matrix ops at the shapes of a 7B model, against what the machine can
// do at all, measured in the same run: a read-only stream, and the matrix unit fed from its cache.
//
//   kernel_bench [format …] [--tokens 1,128] [--threads 2] [--gigabytes 1.5] [--shape N,K] [--glu]
//                [--cpu-time]   time of the processor instead of the clock, for one thread on a
//                               machine that is busy otherwise
//
// Weights are random and rotate among copies that together exceed any cache. For few tokens the
// figure that counts is GB/s of weight bytes, for many TOPS (two operations a multiplication).
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "plugins/cpu/testing/op_runner.h"

namespace {

using bp::cpu::testing::OpenPlugin;
struct Options {
  std::vector<std::string> formats;
  std::vector<uint64_t> tokens = {1, 4, 8, 16, 32, 128, 512};
  uint32_t threads = 2;
  double gigabytes = 1.5;
  uint64_t rows = 4096, columns = 4096;
  bool glu = false;
};

bool uses_cpu_time = false;

double now_seconds() {
  timespec time{};
  clock_gettime(uses_cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Seconds of the fastest half of the rounds, averaged.
double measure(const std::function<void()>& round, double least_seconds) {
  round();
  std::vector<double> times;
  double spent = 0;
  while (spent < least_seconds || times.size() < 3) {
    const double begin = now_seconds();
    round();
    times.push_back(now_seconds() - begin);
    spent += times.back();
  }
  std::sort(times.begin(), times.end());
  const size_t half = (times.size() + 1) / 2;
  double sum = 0;
  for (size_t i = 0; i < half; ++i) sum += times[i];
  return sum / static_cast<double>(half);
}

void* map_bytes(uint64_t bytes) {
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::fprintf(stderr, "no memory for %llu bytes\n", static_cast<unsigned long long>(bytes));
    std::exit(1);
  }
  return memory;
}

uint64_t xorshift(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

// GB/s of a read-only stream of all threads.
double stream_rate(const bp_host* host, const std::byte* data, uint64_t bytes) {
  using Line = uint64_t __attribute__((vector_size(64)));
  static volatile uint64_t sink;
  const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
    Line sums[4] = {};
    for (uint64_t block = begin; block < end; ++block) {
      const Line* const from = reinterpret_cast<const Line*>(data + block * 65536);
      for (uint64_t i = 0; i < 1024; i += 4) {
        __builtin_prefetch(from + i + 64);
        __builtin_prefetch(from + i + 66);
        for (uint64_t j = 0; j < 4; ++j) sums[j] ^= from[i + j];
      }
    }
    sink = sink + (sums[0][0] ^ sums[1][1] ^ sums[2][2] ^ sums[3][3]);
  };
  const double seconds = measure([&] { bp::glue::parallel_for(host, bytes / 65536, 1, body); }, 1);
  return static_cast<double>(bytes) / seconds / 1e9;
}

class Benchmark {
 public:
  explicit Benchmark(const Options& options) : options_(options), plugin_("", options.threads) {}

  void run(const std::string& format_name) {
    const bp::WeightFormat* const format = bp::find_weight_format(format_name);
    if (format == nullptr) {
      std::fprintf(stderr, "unknown format %s\n", format_name.c_str());
      return;
    }
    fill_weights(*format);
    for (const uint64_t tokens : options_.tokens) run_tokens(*format, tokens);
    munmap(memory_, memory_bytes_);
  }

 private:
  void fill_weights(const bp::WeightFormat& format) {
    weight_rows_ = options_.glu ? 2 * options_.rows : options_.rows;
    weight_bytes_ = format.bytes(weight_rows_ * options_.columns);
    copies_ = std::max<uint64_t>(
        1, static_cast<uint64_t>(options_.gigabytes * 1e9 / static_cast<double>(weight_bytes_)));
    memory_bytes_ = copies_ * (weight_bytes_ + 4096);
    memory_ = static_cast<std::byte*>(map_bytes(memory_bytes_));
    const auto sample = bp::cpu::testing::TestWeight::random(
        format.name, {64, std::max<uint64_t>(options_.columns, 256)}, 1);
    weights_.assign(copies_, bp_weight{});
    std::byte* at = memory_;
    for (bp_weight& weight : weights_) {
      weight.size = sizeof weight;
      weight.plane_count = format.plane_count;
      for (uint32_t p = 0; p < format.plane_count; ++p) {
        const std::vector<std::byte>& from = sample.planes[p];
        const uint64_t bytes = weight_rows_ * options_.columns / format.block_elements *
                               format.planes[p].bytes_per_block;
        for (uint64_t i = 0; i < bytes; i += from.size()) {
          std::memcpy(at + i, from.data(), std::min<uint64_t>(from.size(), bytes - i));
        }
        weight.planes[p] = at;
        weight.bytes[p] = bytes;
        at += (bytes + 63) / 64 * 64;
      }
    }
  }

  void run_tokens(const bp::WeightFormat& format, uint64_t tokens) {
    const bp_dim x_dims[2] = {{-1, 0, 0, tokens}, {-1, 0, 0, options_.columns}};
    const bp_dim w_dims[2] = {{-1, 0, 0, weight_rows_}, {-1, 0, 0, options_.columns}};
    const bp_dim y_dims[2] = {{-1, 0, 0, tokens}, {-1, 0, 0, options_.rows}};
    const bp_string f32 = bp::glue::text("f32");
    const bp_operand inputs[2] = {
        {sizeof(bp_operand), BP_ROLE_INPUT, f32, x_dims, 2, 0},
        {sizeof(bp_operand), BP_ROLE_WEIGHT, bp::glue::text(format.name), w_dims, 2, 1}};
    const bp_operand output = {sizeof(bp_operand), BP_ROLE_OUTPUT, f32, y_dims, 2, 2};
    bp_attribute activation{};
    activation.size = sizeof activation;
    activation.kind = BP_ATTRIBUTE_STRING;
    activation.name = bp::glue::text("activation");
    activation.string_value = bp::glue::text(options_.glu ? "silu" : "none");
    bp_op op{};
    op.size = sizeof op;
    op.version = 1;
    op.name = bp::glue::text(options_.glu ? "linear_glu" : "linear");
    op.inputs = inputs;
    op.outputs = &output;
    op.attributes = &activation;
    op.attribute_count = 1;
    op.attribute_stride = sizeof(bp_attribute);
    op.input_count = 2;
    op.output_count = 1;
    op.operand_stride = sizeof(bp_operand);
    bp_match match{};
    match.size = sizeof match;
    const bp_kernel_api& api = *plugin_.kernel_api;
    api.match(plugin_.target, &op, sizeof op, 1, nullptr, 0, &match, sizeof match, nullptr);
    std::vector<bp_kernel*> kernels;
    for (const bp_weight& weight : weights_) {
      const bp_weight slots[2] = {bp_weight{sizeof(bp_weight), 0, 0, {}, {}, {}}, weight};
      bp_kernel* kernel = nullptr;
      bp_error error = BP_ERROR_INIT;
      if (api.prepare(plugin_.target, &op, nullptr, 0, slots, sizeof(bp_weight), &kernel, nullptr,
                      &error) != BP_OK) {
        std::fprintf(stderr, "prepare: %s %s\n", match.reason, error.text);
        return;
      }
      kernels.push_back(kernel);
    }
    std::vector<float> x = bp::cpu::testing::random_floats(tokens * options_.columns, 3);
    std::vector<float> y(tokens * options_.rows);
    std::vector<std::byte> workspace(match.workspace_bytes);
    const bp_operand_buffer in[2] = {import(x.data(), x.size() * 4), {}};
    const bp_operand_buffer out = import(y.data(), y.size() * 4);
    bp_kernel_launch launch{};
    launch.size = sizeof launch;
    launch.input_count = 2;
    launch.output_count = 1;
    launch.inputs = in;
    launch.outputs = &out;
    if (!workspace.empty()) launch.workspace = import(workspace.data(), workspace.size());
    size_t next = 0;
    // Few tokens: all copies in a round, so that no cache helps.
    const uint64_t per_round = tokens < 32 ? copies_ : 1;
    const double seconds = measure(
                               [&] {
                                 for (uint64_t i = 0; i < per_round; ++i) {
                                   api.enqueue(kernels[next], plugin_.stream, &launch, nullptr);
                                   next = (next + 1) % kernels.size();
                                 }
                               },
                               0.7) /
                           static_cast<double>(per_round);
    const double operations = 2.0 * static_cast<double>(weight_rows_) *
                              static_cast<double>(options_.columns) * static_cast<double>(tokens);
    std::printf("%-8s %-8s %5llu x %5llu  tokens %4llu  %9.1f us  %6.2f GB/s  %6.3f TOPS\n",
                std::string(format.name).c_str(), match.reason,
                static_cast<unsigned long long>(weight_rows_),
                static_cast<unsigned long long>(options_.columns),
                static_cast<unsigned long long>(tokens), seconds * 1e6,
                static_cast<double>(weight_bytes_) / seconds / 1e9, operations / seconds / 1e12);
    std::fflush(stdout);
    for (bp_kernel* kernel : kernels) api.release(kernel, nullptr);
  }

  bp_operand_buffer import(void* data, uint64_t bytes) {
    bp_import what{};
    what.size = sizeof what;
    what.kind = BP_IMPORT_HOST_POINTER;
    what.pointer = data;
    what.length = bytes;
    bp_operand_buffer out{};
    plugin_.memory_api->import(plugin_.device, &what, &out.buffer, nullptr);
    out.bytes = bytes;
    return out;
  }

  Options options_;
  OpenPlugin plugin_;
  std::byte* memory_ = nullptr;
  uint64_t memory_bytes_ = 0, weight_bytes_ = 0, copies_ = 0, weight_rows_ = 0;
  std::vector<bp_weight> weights_;
};

std::vector<uint64_t> parse_list(const char* text) {
  std::vector<uint64_t> out;
  for (char* end = nullptr; *text != '\0'; text = *end == ',' ? end + 1 : end) {
    out.push_back(std::strtoull(text, &end, 10));
    if (end == text) break;
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : "";
    if (argument == "--tokens") {
      options.tokens = parse_list(value), ++i;
    } else if (argument == "--threads") {
      options.threads = static_cast<uint32_t>(std::strtoul(value, nullptr, 10)), ++i;
    } else if (argument == "--gigabytes") {
      options.gigabytes = std::strtod(value, nullptr), ++i;
    } else if (argument == "--shape") {
      const std::vector<uint64_t> shape = parse_list(value);
      if (shape.size() != 2) return std::fprintf(stderr, "--shape N,K\n"), 2;
      options.rows = shape[0], options.columns = shape[1], ++i;
    } else if (argument == "--cpu-time") {
      uses_cpu_time = true;
    } else if (argument == "--glu") {
      options.glu = true;
    } else {
      options.formats.push_back(argument);
    }
  }
  if (options.formats.empty()) options.formats = {"q4_g32", "q8_g32", "q4_k", "q6_k", "bf16"};
  const uint64_t stream_bytes = uint64_t{1} << 30;
  void* const stream = map_bytes(stream_bytes);
  uint64_t state = 88172645463325252u;
  for (uint64_t i = 0; i < stream_bytes / 8; i += 8) {
    static_cast<uint64_t*>(stream)[i] = xorshift(&state);
  }
  {
    const bp::cpu::testing::TestHost host(options.threads);
    std::printf("read stream of %u threads: %.2f GB/s\n", options.threads,
                stream_rate(host.table(), static_cast<const std::byte*>(stream), stream_bytes));
  }
  munmap(stream, stream_bytes);
  Benchmark benchmark(options);
  for (const std::string& format : options.formats) benchmark.run(format);
  return 0;
}
