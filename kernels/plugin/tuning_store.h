// SPDX-License-Identifier: Apache-2.0
// What was measured on this machine, kept on disk: records of named numbers under string keys.
//
// One file, a JSON object a line, {"key": "…", "values": {"threads": 128, "tuned_us": 9.8}}, sorted
// by key, to be read and edited by people. A key says everything that a measurement depends on, so
// whatever changed simply misses. The file is read when the store is first asked; lines that are
// cut off, edited wrongly or foreign count as absent. Changes are written at once, together with
// what other processes wrote meanwhile, under a temporary name that is then renamed. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/status.h"

namespace bp::kernels {

// Integers and doubles by name. Doubles are finite.
class TuningRecord {
 public:
  void set(std::string_view name, int64_t value);
  void set(std::string_view name, double value);
  // Absent, or of the other kind where it matters: nothing. An integer is also a number.
  std::optional<int64_t> integer(std::string_view name) const;
  std::optional<double> number(std::string_view name) const;

  struct Value {
    bool is_integer = true;
    int64_t integer = 0;
    double number = 0;
    friend bool operator==(const Value&, const Value&) = default;
  };
  const std::map<std::string, Value, std::less<>>& values() const noexcept { return values_; }
  friend bool operator==(const TuningRecord&, const TuningRecord&) = default;

 private:
  std::map<std::string, Value, std::less<>> values_;
};

class TuningStore {
 public:
  // `path` of the file, whose folder is created when the first record is written. Empty: records
  // are kept for the life of this object alone.
  explicit TuningStore(std::string path) : path_(std::move(path)) {}

  const std::string& path() const noexcept { return path_; }
  bool empty();
  std::optional<TuningRecord> find(std::string_view key);
  // Both take effect for this object whatever happens to the file; the failure says why a change is
  // not on disk.
  Status put(std::string_view key, TuningRecord record);
  Status erase(std::string_view key);

 private:
  using Records = std::map<std::string, TuningRecord, std::less<>>;
  void load();  // once; needs mutex_
  Records read() const;
  Status write(const Records& records) const;

  const std::string path_;
  std::mutex mutex_;  // guards the following
  bool loaded_ = false;
  Records records_;
};

}  // namespace bp::kernels
