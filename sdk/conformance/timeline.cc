// SPDX-License-Identifier: Apache-2.0
// bp.stream/1: timelines, where streams, threads and the host meet.
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "sdk/conformance/check.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {
namespace {

// A timeline that is destroyed at the end of the check.
class Timeline {
 public:
  static Result<Timeline> create(const Context& context) {
    Timeline out(context);
    BP_TRY(context.call("timeline_create", context.stream_api().timeline_create, context.device,
                        &out.handle_));
    BP_EXPECT(out.handle_ != nullptr, "timeline_create returned OK and no timeline");
    return out;
  }
  Timeline(Timeline&& other) noexcept
      : context_(other.context_), handle_(std::exchange(other.handle_, nullptr)) {}
  Timeline& operator=(Timeline&&) = delete;
  ~Timeline() {
    if (handle_ != nullptr) context_->stream_api().timeline_destroy(handle_, nullptr);
  }
  bp_timeline* get() const noexcept { return handle_; }
  Status signal(const Queue& queue, uint64_t value) const {
    return context_->call("signal", context_->stream_api().signal, queue.stream(), handle_, value);
  }
  Status wait(const Queue& queue, uint64_t value) const {
    return context_->call("wait", context_->stream_api().wait, queue.stream(), handle_, value);
  }
  Status host_wait(uint64_t value) const {
    return context_->call("host_wait", context_->stream_api().host_wait, handle_, value,
                          context_->options.timeout_ns);
  }
  Result<uint64_t> query() const {
    uint64_t value = UINT64_MAX;
    BP_TRY(context_->call("query", context_->stream_api().query, handle_, &value));
    return value;
  }

 private:
  explicit Timeline(const Context& context) : context_(&context) {}
  const Context* context_;
  bp_timeline* handle_ = nullptr;
};

Verdict only_rises(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  const Timeline timeline = BP_TRY(Timeline::create(context));
  BP_EXPECT(BP_TRY(timeline.query()) == 0, "a new timeline does not stand at 0");
  BP_TRY(timeline.host_wait(0));
  for (const uint64_t value : {uint64_t{1}, uint64_t{2}, uint64_t{10}, uint64_t{1} << 40}) {
    BP_TRY(timeline.signal(queue, value));
    BP_TRY(timeline.host_wait(value));
    BP_EXPECT(BP_TRY(timeline.query()) == value, "query after value {} was reached says {}", value,
              BP_TRY(timeline.query()));
    BP_TRY(timeline.host_wait(value - 1));  // what has been passed needs no waiting
  }
  const bp_stream_api& api = context.stream_api();
  for (const uint64_t value : {uint64_t{1} << 40, uint64_t{5}, uint64_t{0}}) {
    BP_TRY(expect_status(api.signal(queue.stream(), timeline.get(), value, nullptr),
                         BP_INVALID_ARGUMENT,
                         fmt::format("signal of {} after {}", value, uint64_t{1} << 40)));
  }
  BP_EXPECT(BP_TRY(timeline.query()) == uint64_t{1} << 40, "a refused signal moved the timeline");
  return pass("rises by any step; equal and smaller values are refused");
}

Verdict waits_end_at_the_deadline(Context& context) {
  Queue queue = BP_TRY(Queue::open(context));
  const Timeline timeline = BP_TRY(Timeline::create(context));
  const bp_stream_api& api = context.stream_api();
  for (const uint64_t timeout_ns : {0ull, 1'000'000ull}) {
    BP_TRY(expect_status(api.host_wait(timeline.get(), 1, timeout_ns, nullptr), BP_DEADLINE,
                         fmt::format("host_wait for {} ns on a value nobody signals", timeout_ns)));
  }
  // The deadline was the caller's affair; the timeline is as good as before.
  BP_TRY(timeline.signal(queue, 1));
  BP_TRY(timeline.host_wait(1));
  BP_TRY(expect_status(api.host_wait(timeline.get(), 1, 0, nullptr), BP_OK,
                       "host_wait of 0 ns on a value that was reached"));
  BP_TRY(expect_status(api.host_wait(timeline.get(), 1, UINT64_MAX, nullptr), BP_OK,
                       "host_wait for ever on a value that was reached"));
  return pass("DEADLINE, and usable afterwards");
}

Verdict orders_streams(Context& context) {
  Queue producer = BP_TRY(Queue::open(context));
  Queue consumer = BP_TRY(Queue::open(context));
  const Timeline there = BP_TRY(Timeline::create(context));
  const Timeline back = BP_TRY(Timeline::create(context));
  constexpr uint64_t kBytes = 1u << 20;
  const Buffer a = BP_TRY(context.allocate(kBytes));
  const Buffer b = BP_TRY(context.allocate(kBytes));
  std::vector<uint32_t> seen(30);
  for (uint32_t i = 0; i < seen.size(); ++i) {
    if (i > 0) BP_TRY(back.wait(producer, i));
    BP_TRY(producer.fill(a, 0, kBytes, 1000 + i));
    BP_TRY(there.signal(producer, i + 1));
    BP_TRY(there.wait(consumer, i + 1));
    BP_TRY(consumer.copy(b, 0, a, 0, kBytes));
    BP_TRY(consumer.read(std::as_writable_bytes(std::span(&seen[i], 1)), b, kBytes - 4));
    BP_TRY(back.signal(consumer, i + 1));
  }
  BP_TRY(back.host_wait(seen.size()));
  for (uint32_t i = 0; i < seen.size(); ++i) {
    BP_EXPECT(seen[i] == 1000 + i, "round {}: the second stream saw {}", i, seen[i]);
  }
  return pass("{} rounds to and fro between two streams", seen.size());
}

// What the waiting thread of the next check uses; it keeps it alive when it has to be left behind.
struct EarlyWait {
  EarlyWait(Timeline first, Timeline second, Queue queue, Buffer memory)
      : gate(std::move(first)),
        done(std::move(second)),
        held(std::move(queue)),
        buffer(std::move(memory)) {}
  Timeline gate, done;
  Queue held;
  Buffer buffer;
  uint32_t seen = 0;
  Status result;
  std::atomic<bool> waiting{false};
};

Verdict waits_before_the_signal(Context& context) {
  Queue opener = BP_TRY(Queue::open(context));
  const auto shared = std::make_shared<EarlyWait>(
      BP_TRY(Timeline::create(context)), BP_TRY(Timeline::create(context)),
      BP_TRY(Queue::open(context)), BP_TRY(context.allocate(4096)));
  EarlyWait& wait = *shared;
  BP_TRY(opener.fill(wait.buffer, 0, 4096, 1));
  BP_TRY(opener.finish());
  // On a synchronous device the wait blocks its thread, so it has one of its own.
  std::thread thread([shared] {
    EarlyWait& w = *shared;
    w.result = [&]() -> Status {
      w.waiting.store(true);
      BP_TRY(w.gate.wait(w.held, 1));
      BP_TRY(w.held.read(std::as_writable_bytes(std::span(&w.seen, 1)), w.buffer, 4092));
      return w.done.signal(w.held, 1);
    }();
  });
  while (!wait.waiting.load()) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // more likely in the order meant
  const bp_status early = context.stream_api().host_wait(wait.done.get(), 1, 0, nullptr);
  Status opened = opener.fill(wait.buffer, 0, 4096, 2);
  if (opened.ok()) opened = wait.gate.signal(opener, 1);
  if (!opened.ok()) {  // nobody will open the gate: the thread must not be joined for ever
    thread.detach();
    return opened;
  }
  thread.join();
  BP_TRY(Status(wait.result));
  BP_TRY(wait.done.host_wait(1));
  BP_EXPECT(early == BP_DEADLINE, "the stream went on before its wait was over: {}",
            status_name(early));
  BP_EXPECT(wait.seen == 2, "a stream that waited saw {} where 2 was written before the signal",
            wait.seen);
  return pass("a wait that comes before its signal holds the stream");
}

Verdict query_is_monotonic(Context& context) {
  const Timeline timeline = BP_TRY(Timeline::create(context));
  constexpr uint64_t kLast = 400;
  Status result;
  std::atomic<bool> finished{false};
  std::thread thread([&] {
    result = [&]() -> Status {
      Queue queue = BP_TRY(Queue::open(context));
      const Buffer buffer = BP_TRY(context.allocate(65'536));
      for (uint64_t value = 1; value <= kLast; ++value) {
        BP_TRY(queue.fill(buffer, 0, 65'536, static_cast<uint32_t>(value)));
        BP_TRY(timeline.signal(queue, value));
      }
      return timeline.host_wait(kLast);
    }();
    finished.store(true);
  });
  uint64_t last = 0;
  Status failure;
  for (bool again = true; again && failure.ok();) {
    again = !finished.load();  // once more after the last signal
    const auto value = timeline.query();
    if (!value.ok()) {
      failure = value.status();
    } else if (value.value() < last || value.value() > kLast) {
      failure = fail("query says {} after {}", value.value(), last);
    } else {
      last = value.value();
    }
    std::this_thread::yield();
  }
  thread.join();
  BP_TRY(std::move(failure));
  BP_TRY(std::move(result));
  BP_EXPECT(last == kLast, "query says {} once {} was waited for", last, kLast);
  return pass("rose to {} under the eyes of another thread", kLast);
}

Verdict many_threads_wait(Context& context) {
  const Timeline timeline = BP_TRY(Timeline::create(context));
  constexpr size_t kThreads = 8;
  std::vector<Status> results(kThreads);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { results[i] = timeline.host_wait(1 + i % 4); });
  }
  const Status signalled = [&]() -> Status {
    Queue queue = BP_TRY(Queue::open(context));
    for (uint64_t value = 1; value <= 4; ++value) BP_TRY(timeline.signal(queue, value));
    return queue.finish();
  }();
  for (std::thread& thread : threads) thread.join();
  BP_TRY(Status(signalled));
  for (Status& result : results) BP_TRY(std::move(result));
  return pass("{} threads woke up", kThreads);
}

Verdict streams_of_many_threads(Context& context) {
  constexpr size_t kThreads = 4;
  std::vector<Status> results(kThreads);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      results[i] = [&]() -> Status {
        for (uint32_t round = 0; round < 20; ++round) {
          Queue queue = BP_TRY(Queue::open(context));
          const Buffer buffer = BP_TRY(context.allocate(30'011));
          const std::vector<std::byte> wanted =
              pattern(30'011, static_cast<uint32_t>(i * 1000 + round));
          BP_TRY(queue.write(buffer, 0, wanted));
          BP_TRY(expect_bytes(BP_TRY(queue.content(buffer)), wanted,
                              fmt::format("thread {}, round {}", i, round)));
        }
        return {};
      }();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Status& result : results) BP_TRY(std::move(result));
  return pass("{} threads make, use and destroy streams and buffers", kThreads);
}

}  // namespace

void add_timeline_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back(
      {"timeline.rises", N::kDevice, "values only rise; query says which is reached", only_rises});
  out.push_back({"timeline.deadline", N::kDevice, "host_wait ends with DEADLINE in time",
                 waits_end_at_the_deadline});
  out.push_back({"timeline.streams", N::kDevice, "two streams take turns", orders_streams});
  out.push_back({"timeline.early_wait", N::kDevice,
                 "a stream may wait for a value before anybody signals it",
                 waits_before_the_signal});
  out.push_back(
      {"timeline.query", N::kDevice, "query never falls, from another thread", query_is_monotonic});
  out.push_back(
      {"timeline.threads", N::kDevice, "many threads wait for one timeline", many_threads_wait});
  out.push_back({"stream.threads", N::kDevice, "streams of several threads at once",
                 streams_of_many_threads});
}

}  // namespace bp::conformance
