// SPDX-License-Identifier: Apache-2.0
// Timelines of bp.stream/1 made of events: markers recorded on a queue, of which the driver can
// tell whether they have passed, and which can hold another queue.
//
// A timeline is a list of (value, event) in the order of the signals, and rises strictly in that
// order: a value is reached when its event and all earlier ones have passed. Events come from a
// pool and go back to it, so a steady state allocates nothing.
//
// Device is event_driver::Device, or whatever else has its functions for events, status and settle.
#pragma once

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include "backplane/plugin_glue.h"

namespace bp::event_driver {

// Events of one device that are not in use. Thread-safe.
template <class Device>
class EventPool {
 public:
  struct Node {
    typename Device::Event event{};
    typename Device::Queue queue{};  // where it was recorded last
    uint64_t value = 0;
    Node* next = nullptr;
  };

  explicit EventPool(Device* device) : device_(device) {}
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  ~EventPool() { clear(); }

  bp_status take(Node** out, bp_error* error) {
    {
      const std::lock_guard lock(mutex_);
      if (free_ != nullptr) {
        *out = free_;
        free_ = free_->next;
        (*out)->next = nullptr;
        return BP_OK;
      }
    }
    auto node = std::make_unique<Node>();
    if (const bp_status s = device_->create_event(&node->event, error)) return s;
    *out = node.release();
    return BP_OK;
  }
  void give(Node* node) noexcept {
    const std::lock_guard lock(mutex_);
    node->next = free_;
    free_ = node;
  }
  // Destroys every event that has come back.
  void clear() noexcept {
    const std::lock_guard lock(mutex_);
    while (free_ != nullptr) {
      const std::unique_ptr<Node> node(free_);
      free_ = node->next;
      device_->destroy_event(node->event);
    }
  }

 private:
  Device* device_;
  std::mutex mutex_;
  Node* free_ = nullptr;
};

// A counter that only rises. Thread-safe. Once poisoned it keeps answering with that failure.
template <class Device>
class EventTimeline {
 public:
  using Queue = typename Device::Queue;
  using Pool = EventPool<Device>;

  EventTimeline(Device* device, Pool* pool) : device_(device), pool_(pool) {
    const std::lock_guard lock(list_mutex_);
    next_ = list_;
    if (list_ != nullptr) list_->previous_ = this;
    list_ = this;
  }
  EventTimeline(const EventTimeline&) = delete;
  EventTimeline& operator=(const EventTimeline&) = delete;
  ~EventTimeline() {
    {
      const std::lock_guard lock(list_mutex_);
      if (next_ != nullptr) next_->previous_ = previous_;
      (previous_ != nullptr ? previous_->next_ : list_) = next_;
    }
    while (first_ != nullptr) pop();
  }

  Device* device() const noexcept { return device_; }

  // Raises to `value` when the work on the queue so far has run. A failure poisons.
  bp_status signal(Queue queue, uint64_t value, bp_error* error) {
    const std::lock_guard lock(mutex_);
    settle();
    if (failure_.status != BP_OK) return report(error);
    if (value <= last_) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "signal: %" PRIu64 " is not larger than the %" PRIu64 " signalled before",
                        value, last_);
    }
    typename Pool::Node* node = nullptr;
    bp_error own = BP_ERROR_INIT;
    bp_status status = pool_->take(&node, &own);
    if (status == BP_OK) {
      status = device_->record_event(node->event, queue, &own);
      if (status != BP_OK) pool_->give(node);
    }
    if (status != BP_OK) {
      set_failure(status, own);
      return report(error);
    }
    device_->staging.signalled(queue);
    node->queue = queue;
    node->value = last_ = value;
    (first_ == nullptr ? first_ : newest_->next) = node;
    newest_ = node;
    changed_.notify_all();
    return BP_OK;
  }

  // Holds the queue until `value` is reached. An event can be waited for only once it is recorded,
  // so this blocks the calling thread until some other thread has signalled such a value.
  bp_status wait(Queue queue, uint64_t value, bp_error* error) {
    std::unique_lock lock(mutex_);
    for (;;) {
      settle();
      if (reached_ >= value) return BP_OK;
      if (failure_.status != BP_OK) return report(error);
      if (last_ >= value) break;
      changed_.wait_for(lock, std::chrono::nanoseconds(kLongestSleepNs));
    }
    typename Pool::Node* target = first_;
    while (target->value < value) target = target->next;
    for (typename Pool::Node* node = first_;; node = node->next) {
      // Of several events on one queue the last one is enough, and a queue need not wait for
      // itself.
      const bool covered = node != target && node->queue == target->queue;
      if (!covered && node->queue != queue) {
        if (const bp_status s = device_->queue_wait(queue, node->event, error)) return s;
      }
      if (node == target) return BP_OK;
    }
  }

  bp_status query(uint64_t* value, bp_error* error) {
    const std::lock_guard lock(mutex_);
    settle();
    *value = reached_;
    return failure_.status == BP_OK ? BP_OK : report(error);
  }

  // Polls: closely at first and where the wait before this one ended, else ever less, so that a
  // long wait costs neither a core nor more than a few percent of itself, and passes of equal
  // length are noticed at once. Poison wakes it, which a wait inside the driver would not allow.
  bp_status host_wait(uint64_t value, uint64_t timeout_ns, bp_error* error) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point start = Clock::now();
    std::unique_lock lock(mutex_);
    const bool is_short = last_wait_ns_ <= kLongestCloseNs;
    const uint64_t near_ns = is_short ? last_wait_ns_ - last_wait_ns_ / 8 : UINT64_MAX;
    const uint64_t beyond_ns = last_wait_ns_ + last_wait_ns_ / 4;
    uint64_t waited_ns = 0;
    for (;;) {
      settle();
      if (reached_ >= value) {
        last_wait_ns_ = waited_ns;
        return BP_OK;
      }
      if (failure_.status != BP_OK) return report(error);
      waited_ns = static_cast<uint64_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
      if (timeout_ns != UINT64_MAX && waited_ns >= timeout_ns) {
        return glue::fail(error, BP_DEADLINE,
                          "the timeline stood at %" PRIu64 " of %" PRIu64 " when time was up",
                          reached_, value);
      }
      const uint64_t left_ns = timeout_ns - waited_ns;
      if (last_ < value) {
        changed_.wait_for(lock, std::chrono::nanoseconds(std::min(left_ns, kLongestSleepNs)));
      } else if (waited_ns < kSpinNs || (waited_ns >= near_ns && waited_ns < beyond_ns)) {
        lock.unlock();
        std::this_thread::yield();
        lock.lock();
      } else {
        uint64_t nap_ns = std::clamp(waited_ns / 64, kShortestNapNs, kLongestNapNs);
        if (waited_ns < near_ns) nap_ns = std::min(nap_ns, near_ns - waited_ns);
        changed_.wait_for(lock, std::chrono::nanoseconds(std::min(left_ns, nap_ns)));
      }
    }
  }

  // Fails whatever has not been reached yet, and wakes every waiter.
  void poison(bp_status status, const bp_error& why) noexcept {
    const std::lock_guard lock(mutex_);
    set_failure(status, why);
  }
  // The same for all timelines that there are.
  static void poison_all(bp_status status, const bp_error& why) noexcept {
    const std::lock_guard lock(list_mutex_);
    for (EventTimeline* t = list_; t != nullptr; t = t->next_) t->poison(status, why);
  }

 private:
  static constexpr uint64_t kSpinNs = 200'000;
  static constexpr uint64_t kLongestCloseNs = 20'000'000;  // in longer waits no nap shows
  static constexpr uint64_t kShortestNapNs = 20'000;
  static constexpr uint64_t kLongestNapNs = 250'000;
  static constexpr uint64_t kLongestSleepNs = 100'000'000;  // a loss is noticed so late

  // The functions below expect mutex_ to be held.
  // Takes note of what has passed. A value is reached only when the reads before it are complete.
  void settle() {
    if (failure_.status != BP_OK) return;
    bp_error error = BP_ERROR_INIT;
    uint64_t passed_value = reached_;
    bp_status status = device_->status(&error);
    while (first_ != nullptr && status == BP_OK) {
      bool passed = false;
      status = device_->poll_event(first_->event, &passed, &error);
      if (!passed) break;
      passed_value = first_->value;
      pop();
    }
    if (passed_value != reached_) {
      const bp_status settled = device_->settle(status == BP_OK ? &error : nullptr);
      if (settled == BP_OK) reached_ = passed_value;
      if (status == BP_OK) status = settled;
    }
    if (status != BP_OK) set_failure(status, error);
  }
  void pop() noexcept {
    typename Pool::Node* const node = first_;
    first_ = node->next;
    pool_->give(node);
  }
  void set_failure(bp_status status, const bp_error& why) noexcept {
    if (failure_.status == BP_OK) {
      failure_ = why;
      failure_.status = status;
    }
    changed_.notify_all();
  }
  bp_status report(bp_error* error) const noexcept {
    return glue::fail_native(error, failure_.status, failure_.native,
                             "the timeline failed at %" PRIu64 ": %s", reached_, failure_.text);
  }

  Device* device_;
  Pool* pool_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t last_ = 0;          // largest value signalled
  uint64_t reached_ = 0;       // largest value whose event has passed
  uint64_t last_wait_ns_ = 0;  // of the host, until a value was reached
  typename Pool::Node* first_ = nullptr;
  typename Pool::Node* newest_ = nullptr;  // meaningless while first_ is NULL
  bp_error failure_ = BP_ERROR_INIT;

  inline static std::mutex list_mutex_;
  inline static EventTimeline* list_ = nullptr;
  EventTimeline* next_ = nullptr;
  EventTimeline* previous_ = nullptr;
};

}  // namespace bp::event_driver
