// SPDX-License-Identifier: Apache-2.0
// write() and read() of bp.stream/1 for drivers that copy asynchronously only between a device and
// page-locked memory. Bytes to the device are copied into a page-locked chunk before the call
// returns; bytes from the device land in a chunk and are handed over by settle(), which timelines
// call before they report a value as reached. Chunks are kept and used again.
//
// Device is event_driver::Device, or whatever else has its functions for events and copies.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "backplane/plugin_glue.h"

namespace bp::event_driver {

// Chunks of one device. Thread-safe.
template <class Device>
class Staging {
 public:
  using Queue = typename Device::Queue;
  using Address = typename Device::Address;

  explicit Staging(Device* device) : device_(device) {}
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging() { clear(); }

  // `from` may be reused when the call returns.
  bp_status write(Queue queue, Address to, const void* from, uint64_t bytes, bp_error* error) {
    const auto* at = static_cast<const std::byte*>(from);
    return in_pieces(queue, bytes, error, [&](Chunk* chunk, uint64_t done, uint64_t piece) {
      std::memcpy(chunk->memory, at + done, piece);
      chunk->to = nullptr;
      return device_->copy_in(queue, to + done, chunk->memory, piece, error);
    });
  }
  // `to` is filled by the settle() that follows the copy.
  bp_status read(Queue queue, void* to, Address from, uint64_t bytes, bp_error* error) {
    auto* const at = static_cast<std::byte*>(to);
    return in_pieces(queue, bytes, error, [&](Chunk* chunk, uint64_t done, uint64_t piece) {
      chunk->to = at + done;
      chunk->bytes = piece;
      return device_->copy_out(queue, chunk->memory, from + done, piece, error);
    });
  }

  // Hands over what has arrived of the reads that a signal has followed; nothing on a device that
  // is lost. Memory of other reads may be gone: whoever ran into an error never signals.
  bp_status settle(bp_error* error) noexcept { return settle(false, error); }
  // From now on the reads on that queue so far are to be handed over.
  void signalled(Queue queue) noexcept {
    const std::lock_guard lock(mutex_);
    for (Chunk* c = busy_; c != nullptr; c = c->next) c->owed = c->owed || c->queue == queue;
  }
  // Forgets the reads on that queue that no signal has followed.
  void abandon(Queue queue) noexcept {
    const std::lock_guard lock(mutex_);
    for (Chunk* c = busy_; c != nullptr; c = c->next) {
      if (c->queue == queue && !c->owed) c->to = nullptr;
    }
  }

  // Releases all chunks. No copy may be under way any more.
  void clear() noexcept {
    const std::lock_guard lock(mutex_);
    for (Chunk** list : {&busy_, &free_}) {
      while (*list != nullptr) {
        Chunk* const chunk = *list;
        *list = chunk->next;
        destroy(chunk);
      }
    }
    small_ = large_ = 0;
  }

 private:
  static constexpr uint64_t kSmallBytes = 64u << 10;
  static constexpr uint64_t kLargeBytes = 4u << 20;
  static constexpr uint32_t kMaxSmall = 64;
  static constexpr uint32_t kMaxLarge = 8;

  struct Chunk {
    void* memory = nullptr;
    uint64_t capacity = 0;
    typename Device::Event event{};
    Queue queue{};
    void* to = nullptr;  // where a read goes, NULL for a write
    uint64_t bytes = 0;
    bool owed = false;  // a read that a signal has followed
    Chunk* next = nullptr;
  };

  // With `all`, reads that no signal has followed are handed over as well.
  bp_status settle(bool all, bp_error* error) noexcept {
    const std::lock_guard lock(mutex_);
    Chunk** link = &busy_;
    while (*link != nullptr) {
      if (const bp_status s = device_->status(error)) return s;
      Chunk* const chunk = *link;
      bool passed = chunk->to == nullptr || chunk->owed || all;
      if (passed) {
        if (const bp_status s = device_->poll_event(chunk->event, &passed, error)) return s;
      }
      if (!passed) {
        link = &chunk->next;
        continue;
      }
      if (chunk->to != nullptr) std::memcpy(chunk->to, chunk->memory, chunk->bytes);
      *link = chunk->next;
      chunk->next = free_;
      free_ = chunk;
    }
    return BP_OK;
  }

  template <class Copy>
  bp_status in_pieces(Queue queue, uint64_t bytes, bp_error* error, const Copy& copy) {
    for (uint64_t done = 0; done < bytes;) {
      const uint64_t piece = std::min(bytes - done, kLargeBytes);
      Chunk* chunk = nullptr;
      if (const bp_status s = take(piece, &chunk, error)) return s;
      chunk->queue = queue;
      chunk->owed = false;
      bp_status status = copy(chunk, done, piece);
      if (status == BP_OK) status = device_->record_event(chunk->event, queue, error);
      const std::lock_guard lock(mutex_);
      if (status != BP_OK) {
        chunk->next = free_;
        free_ = chunk;
        return status;
      }
      // In the order of submission, since the oldest is done first.
      Chunk** end = &busy_;
      while (*end != nullptr) end = &(*end)->next;
      chunk->next = nullptr;
      *end = chunk;
      done += piece;
    }
    return BP_OK;
  }

  // A free chunk of that size: an old one, a new one, or the first that becomes free.
  bp_status take(uint64_t bytes, Chunk** out, bp_error* error) {
    const uint64_t capacity = bytes <= kSmallBytes ? kSmallBytes : kLargeBytes;
    for (bool starved = false;; starved = true) {
      if (const bp_status s = settle(starved, error)) return s;
      {
        const std::lock_guard lock(mutex_);
        for (Chunk** link = &free_; *link != nullptr; link = &(*link)->next) {
          if ((*link)->capacity != capacity) continue;
          *out = *link;
          *link = (*out)->next;
          return BP_OK;
        }
        uint32_t& count = capacity == kSmallBytes ? small_ : large_;
        if (count < (capacity == kSmallBytes ? kMaxSmall : kMaxLarge)) {
          if (const bp_status s = create(capacity, out, error)) return s;
          ++count;
          return BP_OK;
        }
      }
      std::this_thread::yield();
    }
  }
  bp_status create(uint64_t capacity, Chunk** out, bp_error* error) {
    auto chunk = std::make_unique<Chunk>();
    chunk->capacity = capacity;
    if (const bp_status s = device_->allocate_pinned(capacity, &chunk->memory, error)) return s;
    if (const bp_status s = device_->create_event(&chunk->event, error)) {
      device_->free_pinned(chunk->memory);
      return s;
    }
    *out = chunk.release();
    return BP_OK;
  }
  void destroy(Chunk* chunk) noexcept {
    device_->destroy_event(chunk->event);
    device_->free_pinned(chunk->memory);
    delete chunk;
  }

  Device* device_;
  std::mutex mutex_;
  Chunk* free_ = nullptr;
  Chunk* busy_ = nullptr;  // oldest first
  uint32_t small_ = 0;
  uint32_t large_ = 0;
};

}  // namespace bp::event_driver
