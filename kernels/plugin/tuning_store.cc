// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/tuning_store.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/base/json_read.h"

namespace bp::kernels {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxFileBytes = uint64_t{32} << 20;
constexpr uint64_t kMaxLineBytes = 1u << 16;
constexpr size_t kMaxRecords = 1u << 16;
constexpr size_t kMaxValues = 64;  // of one record
constexpr uint64_t kMaxDepth = 4;

// One line; nothing for what is no record.
std::optional<std::pair<std::string, TuningRecord>> parse_line(std::string_view line) {
  if (line.empty() || line.size() > kMaxLineBytes) return std::nullopt;
  Json json;
  if (!read_json(line, kMaxDepth, &json).ok() || !json.is_object()) return std::nullopt;
  const auto key = json.find("key"), values = json.find("values");
  if (key == json.end() || !key->is_string() || values == json.end() || !values->is_object() ||
      values->size() > kMaxValues) {
    return std::nullopt;
  }
  TuningRecord record;
  for (const auto& [name, value] : values->items()) {
    if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) return std::nullopt;
    if (value.is_number_integer()) {
      record.set(name, value.get<int64_t>());
    } else if (value.is_number_float() && std::isfinite(value.get<double>())) {
      record.set(name, value.get<double>());
    } else {
      return std::nullopt;
    }
  }
  return std::pair{key->get<std::string>(), std::move(record)};
}

std::string line_of(const std::string& key, const TuningRecord& record) {
  Json values = Json::object();
  for (const auto& [name, value] : record.values()) {
    values[name] = value.is_integer ? Json(value.integer) : Json(value.number);
  }
  const Json json = {{"key", key}, {"values", std::move(values)}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

void TuningRecord::set(std::string_view name, int64_t value) {
  values_[std::string(name)] = {true, value, 0};
}

void TuningRecord::set(std::string_view name, double value) {
  values_[std::string(name)] = {false, 0, std::isfinite(value) ? value : 0};
}

std::optional<int64_t> TuningRecord::integer(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end() || !found->second.is_integer) return std::nullopt;
  return found->second.integer;
}

std::optional<double> TuningRecord::number(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  const Value& value = found->second;
  return value.is_integer ? static_cast<double>(value.integer) : value.number;
}

TuningStore::Records TuningStore::read() const {
  Records records;
  std::error_code failure;
  if (path_.empty() || !std::filesystem::is_regular_file(path_, failure) || failure) return records;
  const uint64_t bytes = std::filesystem::file_size(path_, failure);
  if (failure || bytes > kMaxFileBytes) return records;
  std::ifstream in(path_, std::ios::binary);
  for (std::string line; records.size() < kMaxRecords && std::getline(in, line);) {
    if (auto parsed = parse_line(line)) {
      records.insert_or_assign(std::move(parsed->first), std::move(parsed->second));
    }
  }
  return records;
}

void TuningStore::load() {
  if (loaded_) return;
  loaded_ = true;
  records_ = read();
}

Status TuningStore::write(const Records& records) const {
  if (path_.empty()) return error(Code::kFailedPrecondition, "there is no cache folder");
  static std::atomic<uint64_t> count{0};
  const std::filesystem::path path(path_);
  std::error_code failure;
  std::filesystem::create_directories(path.parent_path(), failure);
  // Unique among processes by the clock and among threads by the count.
  const std::string temporary =
      fmt::format("{}.{:x}.{}.new", path_,
                  std::chrono::system_clock::now().time_since_epoch().count(), ++count);
  {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    for (const auto& [key, record] : records) out << line_of(key, record);
    out.flush();
    if (!out) {
      std::filesystem::remove(temporary, failure);
      return error(Code::kDenied, "cannot write '{}'", temporary);
    }
  }
  std::filesystem::rename(temporary, path, failure);
  if (!failure) return {};
  const std::string why = failure.message();
  std::filesystem::remove(temporary, failure);
  return error(Code::kDenied, "cannot replace '{}': {}", path_, why);
}

bool TuningStore::empty() {
  const std::lock_guard lock(mutex_);
  load();
  return records_.empty();
}

std::optional<TuningRecord> TuningStore::find(std::string_view key) {
  const std::lock_guard lock(mutex_);
  load();
  const auto found = records_.find(key);
  if (found == records_.end()) return std::nullopt;
  return found->second;
}

Status TuningStore::put(std::string_view key, TuningRecord record) {
  const std::lock_guard lock(mutex_);
  load();
  Records on_disk = read();
  if (records_.size() >= kMaxRecords || on_disk.size() >= kMaxRecords) {
    return error(Code::kExhausted, "more than {} records in '{}'", kMaxRecords, path_);
  }
  on_disk.insert_or_assign(std::string(key), record);
  records_.insert_or_assign(std::string(key), std::move(record));
  return write(on_disk);
}

Status TuningStore::erase(std::string_view key) {
  const std::lock_guard lock(mutex_);
  load();
  if (const auto found = records_.find(key); found != records_.end()) records_.erase(found);
  Records on_disk = read();
  const auto found = on_disk.find(key);
  if (found == on_disk.end()) return {};
  on_disk.erase(found);
  return write(on_disk);
}

}  // namespace bp::kernels
