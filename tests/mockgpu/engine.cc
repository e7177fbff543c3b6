// SPDX-License-Identifier: Apache-2.0
#include "tests/mockgpu/engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>

namespace mock {
namespace {

constexpr size_t kGuardBytes = 256;  // behind every allocation, to tell overruns
constexpr unsigned char kGuard = 0xc5;
constexpr size_t kPoisonedBytes = 1u << 20;  // new memory up to here is filled with garbage
constexpr uint32_t kDefaultSharedBytes = BP_MOCK_SHARED_BYTES;

using Operation = std::function<Code()>;

struct Stream {
  int device = 0;
  bool capturing = false;
  bool invalidated = false;
  std::vector<Operation> captured;
};
struct Event {
  int device = 0;
  uint64_t recorded = 0;  // number of the last record
  uint64_t passed = 0;    // number of the last record that has run
};
struct Graph {
  int device = 0;
  std::vector<Operation> operations;
};
struct Module;
struct Function {
  std::shared_ptr<Program> program;
  Kernel kernel;
  uint32_t dynamic_limit = 0;
};
struct Module {
  int device = 0;
  std::shared_ptr<Program> program;
  std::vector<std::unique_ptr<Function>> functions;
};
struct Allocation {
  int device = 0;
  size_t bytes = 0;
  size_t mapped = 0;
  bool host = false;
};
struct DeviceState {
  int retained = 0;
  Code lost = kOk;
  size_t used = 0;
};
struct Pending {
  int device;
  Operation operation;
};

// Never destroyed: the plugin under test may release objects while the process ends.
struct State {
  std::mutex mutex;
  std::map<std::string, uint64_t> faults;  // calls left until the fault, 0 for none
  std::map<std::string, int64_t> counters;
  std::map<int, DeviceState> devices;
  std::map<uintptr_t, Allocation> allocations;
  std::map<uintptr_t, size_t> registered;
  std::unordered_map<void*, std::shared_ptr<Stream>> streams;
  std::unordered_map<void*, std::shared_ptr<Event>> events;
  std::unordered_map<void*, std::shared_ptr<Graph>> graphs;
  std::unordered_map<void*, std::shared_ptr<Graph>> execs;
  std::unordered_map<void*, std::shared_ptr<Module>> modules;
  std::unordered_map<void*, Function*> functions;
  std::deque<Pending> queue;
  bool held = false;
};
State& state() {
  static State* const kept = new State;
  return *kept;
}

constexpr const char* kFaults[] = {"fail_alloc", "fail_load", "fail_launch", "fail_call",
                                   "lose_at"};

// Faults may be asked for before the first call, by BACKPLANE_MOCK_FAIL_ALLOC=3 and the like.
void read_environment(State& s) {
  static const bool done = [&] {
    for (const char* const name : kFaults) {
      std::string variable = std::string("BACKPLANE_MOCK_") + name;
      for (char& c : variable) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      s.faults[name] = setting(variable.c_str(), 0);
    }
    return true;
  }();
  (void)done;
}

bool is_due(State& s, const char* fault) {
  uint64_t& left = s.faults[fault];
  return left != 0 && --left == 0;
}

template <class T>
std::shared_ptr<T> find(std::unordered_map<void*, std::shared_ptr<T>>& table, void* handle) {
  const auto at = table.find(handle);
  if (at != table.end()) return at->second;
  ++state().counters["misuse"];
  return nullptr;
}
template <class T>
void* insert(std::unordered_map<void*, std::shared_ptr<T>>& table, std::shared_ptr<T> object,
             const char* counter) {
  void* const handle = object.get();
  table[handle] = std::move(object);
  ++state().counters[counter];
  return handle;
}
template <class T>
Code erase(std::unordered_map<void*, std::shared_ptr<T>>& table, void* handle,
           const char* counter) {
  if (find(table, handle) == nullptr) return kInvalidHandle;
  table.erase(handle);
  --state().counters[counter];
  return kOk;
}

// Is [address, address + bytes) inside one allocation or registered range?
bool is_known(State& s, const void* address, size_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  auto next = s.allocations.upper_bound(at);
  if (next != s.allocations.begin()) {
    --next;
    if (at - next->first <= next->second.bytes &&
        bytes <= next->second.bytes - (at - next->first)) {
      return true;
    }
  }
  auto range = s.registered.upper_bound(at);
  if (range == s.registered.begin()) return false;
  --range;
  return at - range->first <= range->second && bytes <= range->second - (at - range->first);
}

void run_now(int device, const Operation& operation) {
  {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    if (s.devices[device].lost != kOk) return;
  }
  if (const Code code = operation()) lose(device, code);
}

// Runs everything that is queued. Called without the lock.
void drain() {
  State& s = state();
  for (;;) {
    Pending next;
    {
      const std::lock_guard lock(s.mutex);
      if (s.queue.empty()) return;
      next = std::move(s.queue.front());
      s.queue.pop_front();
    }
    run_now(next.device, next.operation);
  }
}

// Captures, queues or runs.
Code submit(const std::shared_ptr<Stream>& stream, Operation operation) {
  State& s = state();
  {
    const std::lock_guard lock(s.mutex);
    if (stream->capturing) {
      stream->captured.push_back(std::move(operation));
      return kOk;
    }
    if (s.held) {
      s.queue.push_back({stream->device, std::move(operation)});
      return kOk;
    }
  }
  run_now(stream->device, operation);
  return kOk;
}

std::shared_ptr<Stream> find_stream(void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return find(s.streams, handle);
}

// Prints the counters when BACKPLANE_MOCK_REPORT names a file.
struct Report {
  ~Report() {
    const char* const path = std::getenv("BACKPLANE_MOCK_REPORT");
    if (path == nullptr) return;
    if (std::FILE* const file = std::fopen(path, "a")) {
      for (const auto& [name, value] : state().counters) {
        std::fprintf(file, "%s %lld\n", name.c_str(), static_cast<long long>(value));
      }
      std::fclose(file);
    }
  }
} report;

}  // namespace

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr || value[0] == '\0' ? otherwise : std::strtoull(value, nullptr, 0);
}

std::string setting_text(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr || value[0] == '\0' ? otherwise : value;
}

void count(const char* name, int64_t change) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.counters[name] += change;
}

Code begin(Kind kind, int device) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  read_environment(s);
  ++s.counters["calls"];
  if (device >= 0) {
    if (is_due(s, "lose_at")) s.devices[device].lost = kIllegalAddress;
    if (s.devices[device].lost != kOk) return s.devices[device].lost;
  }
  if (is_due(s, "fail_call")) return kOperatingSystem;
  switch (kind) {
    case Kind::kAlloc:
      return is_due(s, "fail_alloc") ? kOutOfMemory : kOk;
    case Kind::kLoad:
      return is_due(s, "fail_load") ? kInvalidImage : kOk;
    case Kind::kLaunch:
      return is_due(s, "fail_launch") ? kOutOfResources : kOk;
    case Kind::kAny:
      return kOk;
  }
  return kOk;
}

Code begin_release(int device) {
  return begin(Kind::kAny, device);
}

int device_count() {
  return static_cast<int>(setting("BACKPLANE_MOCK_DEVICES", 1));
}

void retain(int device) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.devices[device].retained++ == 0) s.devices[device].lost = kOk;
  ++s.counters["contexts"];
}

void release(int device) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  --s.devices[device].retained;
  --s.counters["contexts"];
}

namespace {

void check_guard(State& s, uintptr_t address, const Allocation& a) {
  const auto* const guard = reinterpret_cast<const unsigned char*>(address) + a.bytes;
  if (std::any_of(guard, guard + kGuardBytes, [](unsigned char c) { return c != kGuard; })) {
    ++s.counters["overruns"];
  }
}

// Erases what belongs to the device from a table of handles.
template <class T>
void erase_all(std::unordered_map<void*, std::shared_ptr<T>>& table, int device,
               const char* counter) {
  state().counters[counter] -= static_cast<int64_t>(
      std::erase_if(table, [&](const auto& entry) { return entry.second->device == device; }));
}

}  // namespace

void reset(int device) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  std::erase_if(s.queue, [&](const Pending& pending) { return pending.device == device; });
  std::erase_if(s.allocations, [&](const auto& entry) {
    const auto& [address, a] = entry;
    if (a.device != device) return false;
    check_guard(s, address, a);
    munmap(reinterpret_cast<void*>(address), a.mapped);
    --s.counters[a.host ? "host_allocations" : "allocations"];
    return true;
  });
  for (const auto& [handle, module] : s.modules) {
    if (module->device != device) continue;
    for (const auto& function : module->functions) s.functions.erase(function.get());
  }
  erase_all(s.streams, device, "streams");
  erase_all(s.events, device, "events");
  erase_all(s.graphs, device, "graphs");
  erase_all(s.execs, device, "graph_execs");
  erase_all(s.modules, device, "modules");
  s.devices[device].used = 0;
  s.devices[device].lost = kOk;
}

void lose(int device, Code code) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.devices[device].lost == kOk) s.devices[device].lost = code;
}

// ---- memory ---------------------------------------------------------------------------------

Code memory_alloc(int device, size_t bytes, bool host, void** out) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const size_t total = setting("BACKPLANE_MOCK_MEMORY_MB", 16384) << 20;
  DeviceState& d = s.devices[device];
  if (bytes == 0) return kInvalidValue;
  if (!host && (bytes > total || d.used > total - bytes)) return kOutOfMemory;
  if (bytes > SIZE_MAX / 2) return kOutOfMemory;
  Allocation a{device, bytes, (bytes + kGuardBytes + 4095) / 4096 * 4096, host};
  void* const memory = mmap(nullptr, a.mapped, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return kOutOfMemory;
  if (bytes <= kPoisonedBytes) std::memset(memory, 0xff, bytes);
  std::memset(static_cast<char*>(memory) + bytes, kGuard, kGuardBytes);
  if (!host) d.used += bytes;
  s.allocations[reinterpret_cast<uintptr_t>(memory)] = a;
  ++s.counters[host ? "host_allocations" : "allocations"];
  *out = memory;
  return kOk;
}

Code memory_free(void* address, bool host) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto at = s.allocations.find(reinterpret_cast<uintptr_t>(address));
  if (at == s.allocations.end() || at->second.host != host) {
    ++s.counters["misuse"];
    return kInvalidValue;
  }
  const Allocation& a = at->second;
  check_guard(s, at->first, a);
  if (!host) s.devices[a.device].used -= a.bytes;
  munmap(address, a.mapped);
  --s.counters[host ? "host_allocations" : "allocations"];
  s.allocations.erase(at);
  return kOk;
}

Code host_register(void* address, size_t bytes) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (address == nullptr || bytes == 0) return kInvalidValue;
  if (is_known(s, address, 1)) return kAlreadyRegistered;
  s.registered[reinterpret_cast<uintptr_t>(address)] = bytes;
  ++s.counters["registrations"];
  return kOk;
}

Code host_unregister(void* address) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.registered.erase(reinterpret_cast<uintptr_t>(address)) == 0) {
    ++s.counters["misuse"];
    return kNotRegistered;
  }
  --s.counters["registrations"];
  return kOk;
}

void memory_info(int device, size_t* available, size_t* total) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  *total = setting("BACKPLANE_MOCK_MEMORY_MB", 16384) << 20;
  *available = *total - s.devices[device].used;
}

// ---- streams and events ---------------------------------------------------------------------

Code stream_create(int device, void** out) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  auto stream = std::make_shared<Stream>();
  stream->device = device;
  *out = insert(s.streams, std::move(stream), "streams");
  return kOk;
}

Code stream_destroy(void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return erase(s.streams, handle, "streams");
}

Code stream_synchronize(void* handle) {
  const auto stream = find_stream(handle);
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capturing) {
    stream->invalidated = true;
    return kCaptureUnsupported;
  }
  drain();
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return s.devices[stream->device].lost;
}

Code event_create(int device, void** out) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  auto event = std::make_shared<Event>();
  event->device = device;
  *out = insert(s.events, std::move(event), "events");
  ++s.counters["events_created"];
  return kOk;
}

Code event_destroy(void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return erase(s.events, handle, "events");
}

Code event_record(void* handle, void* stream_handle) {
  State& s = state();
  std::shared_ptr<Event> event;
  std::shared_ptr<Stream> stream;
  uint64_t number = 0;
  {
    const std::lock_guard lock(s.mutex);
    event = find(s.events, handle);
    stream = find(s.streams, stream_handle);
    if (event == nullptr || stream == nullptr || event->device != stream->device) {
      return kInvalidHandle;
    }
    if (stream->capturing) return kCaptureUnsupported;
    number = ++event->recorded;
  }
  return submit(stream, [event, number]() -> Code {
    State& all = state();
    const std::lock_guard lock(all.mutex);
    event->passed = number;
    return kOk;
  });
}

Code event_query(void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto event = find(s.events, handle);
  if (event == nullptr) return kInvalidHandle;
  if (s.devices[event->device].lost != kOk) return s.devices[event->device].lost;
  return event->passed == event->recorded ? kOk : kNotReady;
}

// The one queue runs in the order of submission, so whatever was recorded before runs before.
Code stream_wait_event(void* stream_handle, void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto event = find(s.events, handle);
  const auto stream = find(s.streams, stream_handle);
  if (event == nullptr || stream == nullptr) return kInvalidHandle;
  return stream->capturing ? kCaptureUnsupported : kOk;
}

Code copy(void* stream_handle, void* to, const void* from, size_t bytes) {
  const auto stream = find_stream(stream_handle);
  if (stream == nullptr) return kInvalidHandle;
  // Either side may be memory of the host that nobody registered. A driver would stage such bytes
  // at once; what it does not know to be locked it must not touch later.
  bool to_known = false, from_known = false;
  {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    to_known = is_known(s, to, bytes);
    from_known = is_known(s, from, bytes);
  }
  if (!to_known && !from_known) return kInvalidValue;
  if (!from_known) {
    const std::string bytes_now(static_cast<const char*>(from), bytes);
    return submit(stream, [=]() -> Code {
      std::memcpy(to, bytes_now.data(), bytes_now.size());
      return kOk;
    });
  }
  const Code code = submit(stream, [=]() -> Code {
    std::memmove(to, from, bytes);
    return kOk;
  });
  if (!to_known) drain();
  return code;
}

Code fill(void* stream_handle, void* to, uint32_t word, size_t words) {
  const auto stream = find_stream(stream_handle);
  if (stream == nullptr) return kInvalidHandle;
  {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    if (words > SIZE_MAX / 4 || !is_known(s, to, words * 4)) return kInvalidValue;
  }
  return submit(stream, [=]() -> Code {
    auto* const at = static_cast<uint32_t*>(to);
    for (size_t i = 0; i < words; ++i) at[i] = word;
    return kOk;
  });
}

// ---- graphs ---------------------------------------------------------------------------------

Code capture_begin(void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto stream = find(s.streams, handle);
  if (stream == nullptr) return kInvalidHandle;
  if (stream->capturing) return kCaptureUnsupported;
  stream->capturing = true;
  stream->invalidated = false;
  stream->captured.clear();
  return kOk;
}

Code capture_end(void* handle, void** out) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  *out = nullptr;
  const auto stream = find(s.streams, handle);
  if (stream == nullptr) return kInvalidHandle;
  if (!stream->capturing) return kInvalidValue;
  stream->capturing = false;
  if (stream->invalidated) return kCaptureInvalidated;
  auto graph = std::make_shared<Graph>();
  graph->device = stream->device;
  graph->operations = std::move(stream->captured);
  stream->captured.clear();
  *out = insert(s.graphs, std::move(graph), "graphs");
  return kOk;
}

Code graph_instantiate(void* handle, void** out) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto graph = find(s.graphs, handle);
  if (graph == nullptr) return kInvalidHandle;
  *out = insert(s.execs, std::make_shared<Graph>(*graph), "graph_execs");
  return kOk;
}

Code graph_launch(void* exec, void* stream_handle) {
  std::shared_ptr<Graph> graph;
  {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    graph = find(s.execs, exec);
  }
  const auto stream = find_stream(stream_handle);
  if (stream == nullptr || graph == nullptr) return kInvalidHandle;
  count("graph_launches", 1);
  return submit(stream, [graph]() -> Code {
    for (const Operation& operation : graph->operations) {
      if (const Code code = operation()) return code;
    }
    return kOk;
  });
}

Code graph_destroy(void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return erase(s.graphs, handle, "graphs");
}

Code graph_exec_destroy(void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return erase(s.execs, handle, "graph_execs");
}

// ---- modules --------------------------------------------------------------------------------

Code module_load(int device, const void* image, const std::string& arch, void** out) {
  auto program = Program::load(image, arch);
  if (program == nullptr) return kInvalidImage;
  auto module = std::make_shared<Module>();
  module->device = device;
  module->program = std::move(program);
  State& s = state();
  const std::lock_guard lock(s.mutex);
  *out = insert(s.modules, std::move(module), "modules");
  return kOk;
}

Code module_unload(void* handle) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto module = find(s.modules, handle);
  if (module == nullptr) return kInvalidHandle;
  for (const auto& function : module->functions) s.functions.erase(function.get());
  return erase(s.modules, handle, "modules");
}

Code module_function(void* handle, const char* name, void** out) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const auto module = find(s.modules, handle);
  if (module == nullptr) return kInvalidHandle;
  auto function = std::make_unique<Function>();
  function->program = module->program;
  if (!module->program->find(name, &function->kernel)) return kNotFound;
  const uint32_t declared = module->program->shared_bytes();
  function->dynamic_limit = kDefaultSharedBytes > declared ? kDefaultSharedBytes - declared : 0;
  *out = function.get();
  s.functions[function.get()] = function.get();
  module->functions.push_back(std::move(function));
  return kOk;
}

uint32_t function_shared_bytes(void* function) {
  return static_cast<Function*>(function)->program->shared_bytes();
}

void function_allow_shared(void* function, uint32_t dynamic_bytes) {
  static_cast<Function*>(function)->dynamic_limit = dynamic_bytes;
}

Code launch(void* handle, void* stream_handle, const uint32_t grid[3], uint32_t threads,
            uint32_t subgroup, uint32_t shared_bytes, void** arguments) {
  const auto stream = find_stream(stream_handle);
  Function function;
  {
    State& s = state();
    const std::lock_guard lock(s.mutex);
    const auto at = s.functions.find(handle);
    if (stream == nullptr || at == s.functions.end()) {
      ++s.counters["misuse"];
      return kInvalidHandle;
    }
    function = *at->second;
    ++s.counters["launches"];
  }
  if (threads == 0 || threads > kMaxGroupThreads || shared_bytes > function.dynamic_limit ||
      grid[0] == 0 || grid[1] == 0 || grid[2] == 0) {
    return kInvalidValue;
  }
  // Arguments are copied now; each begins at a multiple of 16.
  size_t total = 0;
  for (const uint32_t bytes : function.kernel.argument_bytes) total += (bytes + 15u) / 16 * 16;
  auto values = std::make_shared<std::vector<std::max_align_t>>(total / 16 + 1);
  auto pointers = std::make_shared<std::vector<void*>>();
  auto* at = reinterpret_cast<char*>(values->data());
  for (size_t i = 0; i < function.kernel.argument_bytes.size(); ++i) {
    const uint32_t bytes = function.kernel.argument_bytes[i];
    std::memcpy(at, arguments[i], bytes);
    pointers->push_back(at);
    at += (bytes + 15u) / 16 * 16;
  }
  struct Grid {
    uint32_t size[3];
  };
  const Grid blocks{{grid[0], grid[1], grid[2]}};
  return submit(stream, [=]() -> Code {
    const char* const why =
        function.program->run(function.kernel, blocks.size, threads, subgroup, pointers->data());
    (void)values;
    if (why == nullptr) return kOk;
    std::fprintf(stderr, "mock GPU: %s\n", why);
    return kLaunchFailed;
  });
}

// ---- for the library of matrix products -----------------------------------------------------

Code begin_library(Kind kind, int device) {
  return begin(kind, device);
}

void count_library(const char* name, int64_t change) {
  count(name, change);
}

bool is_memory(const void* address, size_t bytes) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return is_known(s, address, bytes);
}

Code submit_library(void* stream_handle, Operation operation) {
  const auto stream = find_stream(stream_handle);
  if (stream == nullptr) return kInvalidHandle;
  return submit(stream, std::move(operation));
}

}  // namespace mock

int bp_mock_set(const char* name, uint64_t value) {
  mock::State& s = mock::state();
  const std::string wanted = name;
  if (wanted == "hold") {
    {
      const std::lock_guard lock(s.mutex);
      s.held = value != 0;
    }
    if (value == 0) mock::drain();
    return 1;
  }
  const std::lock_guard lock(s.mutex);
  mock::read_environment(s);
  for (const char* const fault : mock::kFaults) {
    if (wanted == fault) return s.faults[fault] = value, 1;
  }
  return 0;
}

uint64_t bp_mock_get(const char* name) {
  mock::State& s = mock::state();
  const std::lock_guard lock(s.mutex);
  const auto fault = s.faults.find(name);
  if (fault != s.faults.end()) return fault->second;  // calls left until it strikes
  return static_cast<uint64_t>(s.counters[name]);
}
