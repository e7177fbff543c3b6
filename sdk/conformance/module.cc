// SPDX-License-Identifier: Apache-2.0
// bp.module/1: compiling, loading and launching a small kernel of the device's dialect.
#include <algorithm>
#include <cstring>
#include <thread>

#include "backplane/plugin_glue.h"
#include "sdk/conformance/check.h"
#include "sdk/conformance/module_text.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {
namespace {

// One compiled and loaded text; unloaded by the destructor.
class Probe {
 public:
  static Result<std::unique_ptr<Probe>> build(const Context& context) {
    auto out = std::make_unique<Probe>(context);
    BP_TRY(out->compile(&out->binary_));
    BP_TRY(context.call("load", context.module_api().load, context.device, &out->source_,
                        static_cast<const void*>(out->binary_.data()),
                        uint64_t{out->binary_.size()}, &out->module_));
    BP_EXPECT(out->module_ != nullptr, "load returned OK and no module");
    const bp_string entry = glue::text(out->text_.entry);
    BP_TRY(context.call("function", context.module_api().function, out->module_, &entry,
                        &out->function_));
    BP_EXPECT(out->function_ != nullptr, "function returned OK and no function");
    return out;
  }
  explicit Probe(const Context& context)
      : context_(context),
        threads_(std::min(64u, context.entry.caps.max_group_threads)),
        text_(module_text(context.entry.caps.dialect, threads_, context.entry.caps.subgroup_max)) {
    source_.size = sizeof source_;
    source_.text = glue::text(text_.text);
    source_.entry = glue::text(text_.entry);
    source_.group_threads = threads_;
    source_.buffer_count = kModuleBuffers;
    source_.param_words = kModuleParams;
    source_.shared_bytes = 4 * threads_;
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  ~Probe() {
    if (module_ != nullptr) context_.module_api().unload(module_, nullptr);
  }

  Status compile(std::vector<std::byte>* binary) {
    const auto take = [](void* user, const void* data, uint64_t bytes) {
      const auto* const from = static_cast<const std::byte*>(data);
      auto* const out = static_cast<std::vector<std::byte>*>(user);
      out->insert(out->end(), from, from + bytes);
    };
    context_.alive();
    BP_TRY(context_.call("compile", context_.module_api().compile, context_.device, &source_,
                         bp_bytes_fn{take}, bp_bytes_fn{nullptr}, static_cast<void*>(binary)));
    BP_EXPECT(!binary->empty(), "compile returned OK and no binary");
    return {};
  }

  const bp_module_source& source() const { return source_; }
  const std::vector<std::byte>& binary() const { return binary_; }
  bp_function* function() const { return function_; }
  bp_module* module() const { return module_; }
  uint32_t threads() const { return threads_; }

 private:
  const Context& context_;
  uint32_t threads_;
  ModuleText text_;
  bp_module_source source_{};
  std::vector<std::byte> binary_;
  bp_module* module_ = nullptr;
  bp_function* function_ = nullptr;
};

// What a launch of the probe shall do, in words of 32 bits.
struct Job {
  uint32_t n, mul, stride, rows;
  uint64_t x_offset = 0, y_offset = 0;  // bytes

  uint64_t bytes() const { return uint64_t{4} * stride * rows; }
};

bp_launch launch_record(const Probe& probe, const Job& job, const bp_launch_buffer* buffers,
                        const uint32_t* params) {
  bp_launch out{};
  out.size = sizeof out;
  out.buffer_count = kModuleBuffers;
  out.param_words = kModuleParams;
  out.group_threads = probe.threads();
  out.grid[0] = (job.n + probe.threads() - 1) / probe.threads();
  out.grid[1] = job.rows;
  out.grid[2] = 1;
  out.buffers = buffers;
  out.params = params;
  return out;
}

Status launch(const Context& context, const Queue& queue, const Probe& probe, const Job& job,
              const Buffer& x, const Buffer& y) {
  const bp_launch_buffer buffers[] = {{x.handle(), job.x_offset, job.bytes()},
                                      {y.handle(), job.y_offset, job.bytes()}};
  const uint32_t params[] = {job.n, job.mul, job.stride};
  const bp_launch record = launch_record(probe, job, buffers, params);
  return context.call("launch", context.module_api().launch, queue.stream(), probe.function(),
                      &record);
}

// Applies the job to y as the text says.
void expect(const Probe& probe, const Job& job, const std::vector<std::byte>& x,
            std::vector<std::byte>* y) {
  const auto value = [&](uint32_t row, uint32_t column) {
    uint32_t word = 0;
    if (column >= job.n) return word;
    std::memcpy(&word, x.data() + job.x_offset + 4 * (uint64_t{row} * job.stride + column), 4);
    return word;
  };
  for (uint32_t row = 0; row < job.rows; ++row) {
    for (uint32_t column = 0; column < job.n; ++column) {
      const uint32_t thread = column % probe.threads();
      const uint32_t first = column - thread;
      const uint32_t word =
          value(row, column) * job.mul + value(row, first + (thread + 1) % probe.threads()) + row;
      std::memcpy(y->data() + job.y_offset + 4 * (uint64_t{row} * job.stride + column), &word, 4);
    }
  }
}

constexpr const char* kNoDialect = "the device has no dialect that this program can write";
bool has_text(const Context& context) {
  return context.owner->has_modules() &&
         !module_text(context.entry.caps.dialect, 64, 32).text.empty();
}

Verdict compiles_and_names_itself(Context& context) {
  if (!has_text(context)) return skip("{}", kNoDialect);
  const auto take = [](void* user, const void* data, uint64_t bytes) {
    static_cast<std::string*>(user)->append(static_cast<const char*>(data), bytes);
  };
  std::string ids[2];
  for (std::string& id : ids) {
    BP_TRY(context.call("compiler_id", context.module_api().compiler_id, context.device,
                        bp_bytes_fn{take}, static_cast<void*>(&id)));
  }
  BP_EXPECT(!ids[0].empty() && ids[0] == ids[1], "compiler_id says '{}', then '{}'", ids[0],
            ids[1]);
  const auto probe = BP_TRY(Probe::build(context));
  std::vector<std::byte> again;
  BP_TRY(probe->compile(&again));
  return pass("{}, a binary of {} bytes", ids[0].substr(0, 60), probe->binary().size());
}

Verdict reports_mistakes(Context& context) {
  if (!has_text(context)) return skip("{}", kNoDialect);
  const ModuleText broken =
      broken_module_text(context.entry.caps.dialect, 64, context.entry.caps.subgroup_max);
  bp_module_source source{};
  source.size = sizeof source;
  source.text = glue::text(broken.text);
  source.entry = glue::text(broken.entry);
  source.group_threads = 64;
  source.buffer_count = kModuleBuffers;
  source.param_words = kModuleParams;
  struct Seen {
    uint64_t binary = 0;
    std::string log;
  } seen;
  const auto binary = [](void* user, const void*, uint64_t bytes) {
    static_cast<Seen*>(user)->binary += bytes;
  };
  const auto log = [](void* user, const void* data, uint64_t bytes) {
    static_cast<Seen*>(user)->log.append(static_cast<const char*>(data), bytes);
  };
  bp_error detail = BP_ERROR_INIT;
  context.alive();
  const bp_status status =
      context.module_api().compile(context.device, &source, binary, log, &seen, &detail);
  BP_TRY(expect_status(status, BP_INVALID_ARGUMENT, "compile of a text with a mistake"));
  BP_EXPECT(seen.binary == 0, "a binary came from a text with a mistake");
  BP_EXPECT(seen.log.find("nobody_declared_this") != std::string::npos,
            "the log does not name the mistake: '{}'", seen.log.substr(0, 100));
  BP_TRY(expect_status(
      context.module_api().compile(context.device, &source, binary, nullptr, &seen, nullptr),
      BP_INVALID_ARGUMENT, "compile of a text with a mistake, nobody listening"));
  return pass("INVALID_ARGUMENT, a log of {} bytes that names the mistake", seen.log.size());
}

Verdict refuses_corrupt_binaries(Context& context) {
  if (!has_text(context)) return skip("{}", kNoDialect);
  const auto probe = BP_TRY(Probe::build(context));
  const std::vector<std::byte>& good = probe->binary();
  uint32_t tried = 0;
  const auto refuse = [&](const std::vector<std::byte>& bytes, std::string_view what) -> Status {
    bp_module* module = nullptr;
    const bp_status status = context.module_api().load(
        context.device, &probe->source(), bytes.data(), bytes.size(), &module, nullptr);
    if (status == BP_OK && module != nullptr) context.module_api().unload(module, nullptr);
    ++tried;
    return expect_refusal(status, what);
  };
  BP_TRY(refuse({}, "load of 0 bytes"));
  BP_TRY(refuse(std::vector<std::byte>(good.size(), std::byte{0xA7}), "load of garbage"));
  for (const size_t left : {size_t{1}, good.size() / 2, good.size() - 1}) {
    BP_TRY(refuse({good.begin(), good.begin() + static_cast<ptrdiff_t>(left)},
                  fmt::format("load of the first {} of {} bytes", left, good.size())));
  }
  for (const size_t at : {size_t{0}, good.size() / 3, good.size() / 2, good.size() - 1}) {
    std::vector<std::byte> flipped = good;
    flipped[at] ^= std::byte{0x10};
    BP_TRY(refuse(flipped, fmt::format("load with byte {} of {} changed", at, good.size())));
  }
  // The good one still loads.
  const auto again = BP_TRY(Probe::build(context));
  return pass("{} damaged binaries refused", tried);
}

Verdict launches_at_offsets(Context& context) {
  if (!has_text(context)) return skip("{}", kNoDialect);
  const auto probe = BP_TRY(Probe::build(context));
  Queue queue = BP_TRY(Queue::open(context));
  const uint32_t step = std::max(16u, context.entry.caps.buffer_offset_alignment);
  constexpr uint64_t kBytes = 1u << 20;
  const Buffer x = BP_TRY(context.allocate(kBytes));
  const Buffer y = BP_TRY(context.allocate(kBytes));
  const std::vector<std::byte> x_bytes = pattern(kBytes, 31);
  std::vector<std::byte> y_bytes = pattern(kBytes, 32);
  BP_TRY(queue.write(x, 0, x_bytes));
  BP_TRY(queue.write(y, 0, y_bytes));
  const uint32_t t = probe->threads();
  const Job jobs[] = {{1, 1, 1, 1},
                      {t, 3, t, 1},
                      {t - 1, 5, t, 2},
                      {t + 1, 7, 2 * t, 3, step, 0},
                      {997, 0x10001, 1024, 7, 3 * step, 5 * step},
                      {10'007, 9, 10'016, 13, step, 7 * step},
                      {3, 11, 4, 1000, 64 * step, 17 * step}};
  for (const Job& job : jobs) {
    BP_TRY(launch(context, queue, *probe, job, x, y));
    expect(*probe, job, x_bytes, &y_bytes);
    BP_TRY(expect_bytes(BP_TRY(queue.content(y)), y_bytes,
                        fmt::format("{} columns, {} rows, offsets {} and {}", job.n, job.rows,
                                    job.x_offset, job.y_offset)));
  }
  BP_TRY(expect_bytes(BP_TRY(queue.content(x)), x_bytes, "the buffer that is only read"));
  return pass("{} launches in x and y, offsets in steps of {}", std::size(jobs), step);
}

Verdict many_launches(Context& context) {
  if (!has_text(context)) return skip("{}", kNoDialect);
  const auto probe = BP_TRY(Probe::build(context));
  Queue queue = BP_TRY(Queue::open(context));
  const Job job{200, 3, 256, 2};
  const Buffer buffers[2] = {BP_TRY(context.allocate(job.bytes())),
                             BP_TRY(context.allocate(job.bytes()))};
  std::vector<std::byte> bytes[2] = {pattern(job.bytes(), 33), pattern(job.bytes(), 34)};
  for (int i = 0; i < 2; ++i) BP_TRY(queue.write(buffers[i], 0, bytes[i]));
  constexpr int kLaunches = 500;
  for (int i = 0; i < kLaunches; ++i) {  // each reads what the one before wrote
    BP_TRY(launch(context, queue, *probe, job, buffers[i % 2], buffers[1 - i % 2]));
    expect(*probe, job, bytes[i % 2], &bytes[1 - i % 2]);
  }
  for (int i = 0; i < 2; ++i) {
    BP_TRY(expect_bytes(BP_TRY(queue.content(buffers[i])), bytes[i], "after all launches"));
  }
  return pass("{} launches, each on the results of the one before", kLaunches);
}

Verdict launches_from_threads(Context& context) {
  if (!has_text(context)) return skip("{}", kNoDialect);
  const auto probe = BP_TRY(Probe::build(context));
  constexpr size_t kThreads = 4;
  std::vector<Status> results(kThreads);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      results[i] = [&]() -> Status {
        Queue queue = BP_TRY(Queue::open(context));
        const Job job{300, static_cast<uint32_t>(2 * i + 1), 320, 5};
        const Buffer x = BP_TRY(context.allocate(job.bytes()));
        const Buffer y = BP_TRY(context.allocate(job.bytes()));
        for (uint32_t round = 0; round < 20; ++round) {
          const std::vector<std::byte> from = pattern(job.bytes(), round);
          std::vector<std::byte> want = pattern(job.bytes(), round + 1);
          BP_TRY(queue.write(x, 0, from));
          BP_TRY(queue.write(y, 0, want));
          BP_TRY(launch(context, queue, *probe, job, x, y));
          expect(*probe, job, from, &want);
          BP_TRY(expect_bytes(BP_TRY(queue.content(y)), want,
                              fmt::format("thread {}, round {}", i, round)));
        }
        return {};
      }();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Status& result : results) BP_TRY(std::move(result));
  return pass("{} threads, one function, a stream each", kThreads);
}

Verdict refuses_wrong_launches(Context& context) {
  if (!has_text(context)) return skip("{}", kNoDialect);
  const auto probe = BP_TRY(Probe::build(context));
  Queue queue = BP_TRY(Queue::open(context));
  const Job job{64, 1, 64, 1};
  const Buffer x = BP_TRY(context.allocate(4096));
  const Buffer y = BP_TRY(context.allocate(4096));
  const std::vector<std::byte> y_bytes = pattern(4096, 35);
  BP_TRY(queue.write(y, 0, y_bytes));
  const uint32_t params[8] = {job.n, job.mul, job.stride};
  const bp_launch_buffer good[3] = {
      {x.handle(), 0, 256}, {y.handle(), 0, 256}, {y.handle(), 256, 256}};
  const auto refuse = [&](auto&& change, std::string_view what) -> Status {
    bp_launch_buffer buffers[3] = {good[0], good[1], good[2]};
    bp_launch record = launch_record(*probe, job, buffers, params);
    change(record, buffers);
    return expect_refusal(
        context.module_api().launch(queue.stream(), probe->function(), &record, nullptr), what);
  };
  using Buffers = bp_launch_buffer*;
  BP_TRY(refuse([](bp_launch& r, Buffers) { r.buffer_count = 1; }, "a launch with 1 of 2 buffers"));
  BP_TRY(refuse([](bp_launch& r, Buffers) { r.buffer_count = 3; }, "a launch with 3 of 2 buffers"));
  BP_TRY(refuse([](bp_launch& r, Buffers) { r.param_words = 2; }, "a launch with 2 of 3 params"));
  BP_TRY(refuse([](bp_launch& r, Buffers) { r.param_words = 8; }, "a launch with 8 of 3 params"));
  BP_TRY(refuse([](bp_launch& r, Buffers) { r.group_threads /= 2; },
                "a launch with other workgroups than compiled"));
  BP_TRY(refuse([](bp_launch&, Buffers b) { b[1].offset = 4; }, "a launch at offset 4"));
  BP_TRY(refuse([](bp_launch&, Buffers b) { b[1].bytes = 8192; },
                "a launch whose range leaves its buffer"));
  BP_TRY(refuse([](bp_launch&, Buffers b) { b[0].offset = uint64_t{1} << 40; },
                "a launch whose offset lies beyond its buffer"));
  BP_TRY(refuse([](bp_launch&, Buffers b) { b[0].buffer = nullptr; }, "a launch without a buffer"));
  bp_function* function = nullptr;
  const bp_string unknown = glue::text("nobody_wrote_this");
  BP_TRY(
      expect_refusal(context.module_api().function(probe->module(), &unknown, &function, nullptr),
                     "a function of an unknown name"));
  BP_TRY(expect_bytes(BP_TRY(queue.content(y)), y_bytes, "a buffer after refused launches"));
  BP_TRY(context.call("status", context.device_api().status, context.device));
  return pass("counts, sizes, offsets and ranges that do not fit are refused");
}

}  // namespace

void add_module_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"module.compile", N::kDevice, "a text of the device's dialect becomes a function",
                 compiles_and_names_itself});
  out.push_back({"module.compile.mistake", N::kDevice,
                 "a text that does not compile is INVALID_ARGUMENT and has a log",
                 reports_mistakes});
  out.push_back({"module.load.corrupt", N::kDevice, "damaged binaries are refused",
                 refuses_corrupt_binaries});
  out.push_back({"module.launch", N::kDevice, "grids in x and y, offsets, params, shared memory",
                 launches_at_offsets});
  out.push_back(
      {"module.launch.many", N::kDevice, "hundreds of dependent launches in order", many_launches});
  out.push_back({"module.launch.threads", N::kDevice, "one function from several threads",
                 launches_from_threads});
  out.push_back({"module.launch.refused", N::kDevice, "launches that do not fit are refused",
                 refuses_wrong_launches});
}

}  // namespace bp::conformance
