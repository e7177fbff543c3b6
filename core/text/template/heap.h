// SPDX-License-Identifier: Apache-2.0
// Where the values of one render are made, and where its spending is counted.
//
// Every operation that can grow with its input asks here first: steps for time, bytes for memory.
// Counting is cumulative (a freed string is not given back), which bounds both at once.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/base/status.h"
#include "core/text/template/value.h"

namespace bp::jinja {

inline constexpr uint32_t kMaxValueDepth = 160;      // nesting of lists and dictionaries
inline constexpr uint32_t kMaxRangeItems = 100'000;  // of one range(), the limit of Jinja's sandbox

// One render's accounts. Not thread-safe; each render has its own.
class Heap {
 public:
  explicit Heap(const RenderLimits& limits) : limits_(limits) {}

  const RenderLimits& limits() const { return limits_; }

  Status step(uint64_t count = 1) {
    steps_ += count;  // cannot wrap: counts are sizes of live objects
    if (steps_ > limits_.max_steps) return too_many_steps();
    return {};
  }
  Status iterate();
  // Announces an allocation of this size. Call before allocating.
  Status reserve(uint64_t size_bytes);
  // The same for one string, which has a limit of its own.
  Status reserve_string(uint64_t size_bytes);

  Result<Value> string(Text text, bool markup = false);
  Result<Value> string(std::string bytes, bool content) {
    return string(Text(std::move(bytes), content));
  }
  // `type` is kList, kTuple, kView or kIterator; `content` the origin of its punctuation.
  Result<Value> sequence(Kind type, std::vector<Value> items, bool content,
                         const char* type_name = nullptr);
  Result<Value> list(std::vector<Value> items, bool content) {
    return sequence(Kind::kList, std::move(items), content);
  }
  Result<Value> tuple(std::vector<Value> items, bool content) {
    return sequence(Kind::kTuple, std::move(items), content);
  }
  Result<Value> generator(std::vector<Value> items, bool content) {
    return sequence(Kind::kIterator, std::move(items), content, "generator");
  }
  Result<Value> group(Value key, Value members);
  Result<Value> range(int64_t start, int64_t stop, int64_t step);
  // Equal keys are merged as Python does. Keys that cannot be hashed are an error.
  Result<Value> dict(std::vector<std::pair<Value, Value>> entries, bool content);
  Result<Value> bound_method(Value self, const Method* method);

 private:
  Status too_many_steps() const;
  Result<uint32_t> height_over(uint32_t tallest) const;

  const RenderLimits& limits_;
  uint64_t steps_ = 0;
  uint64_t iterations_ = 0;
  uint64_t work_bytes_ = 0;
};

}  // namespace bp::jinja
