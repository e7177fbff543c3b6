// SPDX-License-Identifier: Apache-2.0
#include "tests/mockgpu/fiber.h"

#include <sys/mman.h>

#include <cstddef>
#include <cstring>
#include <memory>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace mock {
namespace {

// The odd part keeps the tops of stacks out of each other's cache sets.
constexpr size_t kStackBytes = (64u << 10) + 17 * 64;

void fiber_main();

#if defined(__x86_64__) || defined(__aarch64__)
// Saves the callee-saved registers on the stack, its pointer in *from, and goes on where `to` was
// saved.
extern "C" void bp_mock_switch(void** from, void* to);

#if defined(__x86_64__)
asm(R"(
.text
.globl bp_mock_switch
.hidden bp_mock_switch
.type bp_mock_switch, @function
bp_mock_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size bp_mock_switch, .-bp_mock_switch
)");

void* first_frame(std::byte* top) {
  auto* sp = reinterpret_cast<void**>(top) - 1;  // as a call leaves it: 8 off a multiple of 16
  *--sp = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  return sp;
}
#else
asm(R"(
.text
.globl bp_mock_switch
.hidden bp_mock_switch
.type bp_mock_switch, %function
bp_mock_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size bp_mock_switch, .-bp_mock_switch
)");

void* first_frame(std::byte* top) {
  auto* sp = reinterpret_cast<void**>(top) - 20;
  std::memset(sp, 0, 160);
  sp[11] = reinterpret_cast<void*>(&fiber_main);  // x30
  return sp;
}
#endif

struct Fiber {
  void* sp = nullptr;
  void start(std::byte* stack) { sp = first_frame(stack + kStackBytes - 64); }
};
void switch_fibers(Fiber* from, Fiber* to) {
  bp_mock_switch(&from->sp, to->sp);
}
#else
struct Fiber {
  ucontext_t context;
  void start(std::byte* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    makecontext(&context, &fiber_main, 0);
  }
};
void switch_fibers(Fiber* from, Fiber* to) {
  swapcontext(&from->context, &to->context);
}
#endif

// State of the group that a host thread runs; kept, since stacks are worth keeping.
struct Group {
  GroupRun run;
  uint32_t current = 0;
  uint32_t finished = 0;
  const char* failure = nullptr;
  Fiber main;
  Fiber fibers[kMaxGroupThreads];
  bool started[kMaxGroupThreads];
  bool done[kMaxGroupThreads];
  uint32_t shuffles[kMaxGroupThreads];
  uint32_t barriers[kMaxGroupThreads];
  unsigned exchange[2][kMaxGroupThreads];
  float gathered[2][kMaxGroupThreads * kGathered];
  std::byte* stacks = nullptr;

  Group() {
    void* memory = mmap(nullptr, kStackBytes * kMaxGroupThreads, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED) stacks = static_cast<std::byte*>(memory);
  }
  ~Group() {
    if (stacks != nullptr) munmap(stacks, kStackBytes * kMaxGroupThreads);
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  void fail(const char* why) {
    failure = why;
    switch_fibers(&fibers[current], &main);  // never comes back
  }
  void go(uint32_t next) {
    const uint32_t from = current;
    if (next == from) return;
    if (done[next]) fail("a thread ended while others wait for it at a barrier or shuffle");
    if (!started[next]) {
      started[next] = true;
      fibers[next].start(stacks + next * kStackBytes);
    }
    current = next;
    run.bound->thread[0] = next;
    switch_fibers(&fibers[from], &fibers[next]);
    // Whoever came back here has set `current` and the thread index to this one.
  }
};

Group& group() {
  static thread_local std::unique_ptr<Group> kept;
  if (kept == nullptr) kept = std::make_unique<Group>();
  return *kept;
}
thread_local Group* running = nullptr;

void fiber_main() {
  Group& g = *running;
  g.run.entry(g.run.arguments);
  const uint32_t t = g.current;
  g.done[t] = true;
  ++g.finished;
  if (t + 1 < g.run.threads) g.go(t + 1);
  if (g.finished != g.run.threads) g.failure = "threads disagree about a barrier or shuffle";
  switch_fibers(&g.fibers[t], &g.main);
}

// Lets every lane of the subgroup come to this point; `post` puts down what a lane brings, on one
// of two sides: a lane may be one exchange ahead of those that have not read yet, never more.
// Returns the subgroup's first thread and the one after its last.
struct Lanes {
  uint32_t first, end;
};
template <class Post>
Lanes exchange(Group& g, const Post& post) {
  const uint32_t t = g.current;
  const uint32_t first = t / g.run.subgroup * g.run.subgroup;
  uint32_t end = first + g.run.subgroup;
  if (end > g.run.threads) end = g.run.threads;
  post(g.shuffles[t] & 1);
  const uint32_t mine = ++g.shuffles[t];
  if (t + 1 == end) {
    for (uint32_t i = first; i < end; ++i) {
      if (g.shuffles[i] != mine) g.fail("lanes of a subgroup disagree about a shuffle");
    }
  }
  g.go(t + 1 < end ? t + 1 : first);
  return {first, end};
}

unsigned shuffle_xor(unsigned value, unsigned mask) {
  Group& g = *running;
  const uint32_t t = g.current;
  unsigned* side = nullptr;
  const Lanes lanes = exchange(g, [&](uint32_t which) {
    side = g.exchange[which];
    side[t] = value;
  });
  const uint32_t partner = lanes.first + ((t - lanes.first) ^ mask);
  return partner < lanes.end ? side[partner] : 0;
}

const float* gather(const float* values, unsigned count) {
  Group& g = *running;
  float* side = nullptr;
  const uint32_t t = g.current;
  const Lanes lanes = exchange(g, [&](uint32_t which) {
    side = g.gathered[which];
    std::memcpy(side + t * kGathered, values, count * sizeof(float));
  });
  return side + lanes.first * kGathered;
}

void barrier() {
  Group& g = *running;
  const uint32_t t = g.current;
  const uint32_t mine = ++g.barriers[t];
  if (t + 1 == g.run.threads) {
    for (uint32_t i = 0; i < t; ++i) {
      if (g.barriers[i] != mine) g.fail("threads of a group disagree about a barrier");
    }
  }
  g.go(t + 1 < g.run.threads ? t + 1 : 0);
}

}  // namespace

const Hooks kHooks = {&shuffle_xor, &barrier, &gather};

const char* run_group(const GroupRun& run) {
  if (run.bound->synchronizes == 0) {
    for (uint32_t t = 0; t < run.threads; ++t) {
      run.bound->thread[0] = t;
      run.entry(run.arguments);
    }
    return nullptr;
  }
  if (run.threads == 0 || run.threads > kMaxGroupThreads) return "too many threads in a group";
  Group& g = group();
  if (g.stacks == nullptr) return "no memory for the stacks of a group";
  g.run = run;
  g.current = 0;
  g.finished = 0;
  g.failure = nullptr;
  std::memset(g.started, 0, run.threads);
  std::memset(g.done, 0, run.threads);
  std::memset(g.shuffles, 0, run.threads * sizeof g.shuffles[0]);
  std::memset(g.barriers, 0, run.threads * sizeof g.barriers[0]);
  Group* const before = running;
  running = &g;
  g.started[0] = true;
  g.fibers[0].start(g.stacks);
  run.bound->thread[0] = 0;
  switch_fibers(&g.main, &g.fibers[0]);
  running = before;
  return g.failure;
}

}  // namespace mock
