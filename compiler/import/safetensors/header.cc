// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/safetensors/header.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "compiler/import/json.h"
#include "compiler/import/utf8.h"
#include "core/base/checked.h"
#include "core/base/limits.h"

namespace bp {
namespace {

struct Dtype {
  std::string_view name;
  std::string_view format;
};
constexpr Dtype kDtypes[] = {{"F32", "f32"}, {"F16", "f16"}, {"BF16", "bf16"}};

// Integers of a JSON array, at most `max_count`.
Result<std::vector<uint64_t>> integers(const Json& object, std::string_view key, size_t max_count) {
  const Json* array = json_find(object, key);
  if (array == nullptr || !array->is_array() || array->size() > max_count) {
    return error(Code::kCorrupt, "'{}' must be an array of at most {} integers", key, max_count);
  }
  std::vector<uint64_t> numbers;
  for (const Json& item : *array) {
    if (!item.is_number_unsigned()) {
      return error(Code::kCorrupt, "'{}' holds something that is not an integer of at least 0",
                   key);
    }
    numbers.push_back(item.get<uint64_t>());
  }
  return numbers;
}

Status set_format(const Json& description, SourceTensor* tensor) {
  const Json* dtype_of = json_find(description, "dtype");
  if (dtype_of == nullptr || !dtype_of->is_string()) {
    return error(Code::kCorrupt, "it has no string 'dtype'");
  }
  tensor->source_type = dtype_of->get_ref<const std::string&>();
  for (const Dtype& dtype : kDtypes) {
    if (dtype.name == tensor->source_type) tensor->format = dtype.format;
  }
  if (!tensor->format.empty()) return {};
  if (!is_printable_utf8(tensor->source_type) || tensor->source_type.size() > 32) {
    tensor->source_type = "?";
  }
  return error(Code::kUnimplemented, "dtype {} is not read; F32, F16 and BF16 are",
               tensor->source_type);
}

// One member of the header; `begin` and `end` count from the first data byte.
Result<SafetensorsEntry> read_entry(const std::string& name, const Json& description) {
  SafetensorsEntry entry;
  entry.tensor.name = name;
  if (!description.is_object()) return error(Code::kCorrupt, "its description is no object");
  BP_TRY(set_format(description, &entry.tensor));
  entry.tensor.shape = BP_TRY(integers(description, "shape", limits::kMaxTensorRank));
  const auto offsets = BP_TRY(integers(description, "data_offsets", 2));
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    return error(Code::kCorrupt, "'data_offsets' must be a begin and an end that is not before it");
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  uint64_t elements = 1;
  for (const uint64_t dimension : entry.tensor.shape) {
    if (dimension == 0 || !try_mul(elements, dimension, &elements) ||
        elements > limits::kMaxTensorElements) {
      return error(Code::kCorrupt, "the shape [{}] is empty or too large",
                   fmt::join(entry.tensor.shape, ", "));
    }
  }
  const uint64_t bytes = find_weight_format(entry.tensor.format)->bytes(elements);
  if (entry.end - entry.begin != bytes) {
    return error(Code::kCorrupt, "shape [{}] of {} takes {} bytes, but its range has {}",
                 fmt::join(entry.tensor.shape, ", "), entry.tensor.source_type, bytes,
                 entry.end - entry.begin);
  }
  return entry;
}

// Sorts by place and turns offsets into absolute ones.
Status place_entries(uint64_t data_start, uint64_t file_size,
                     std::vector<SafetensorsEntry>* entries) {
  std::stable_sort(entries->begin(), entries->end(),
                   [](const auto& a, const auto& b) { return a.begin < b.begin; });
  const uint64_t data_bytes = file_size - data_start;
  uint64_t expected = 0;
  for (SafetensorsEntry& entry : *entries) {
    if (entry.end > data_bytes) {
      return error(Code::kCorrupt,
                   "tensor '{}' ends at byte {} of the data, which has {}; is the file complete?",
                   entry.tensor.name, entry.end, data_bytes);
    }
    if (entry.begin != expected) {
      return error(Code::kCorrupt, "tensor '{}' begins at byte {} of the data, {} byte {}",
                   entry.tensor.name, entry.begin,
                   entry.begin < expected ? "overlapping what ends at" : "leaving a hole from",
                   expected);
    }
    expected = entry.end;
    entry.begin += data_start;
    entry.end += data_start;
  }
  if (expected != data_bytes) {
    return error(Code::kCorrupt, "{} bytes of data belong to no tensor", data_bytes - expected);
  }
  return {};
}

}  // namespace

Result<std::vector<SafetensorsEntry>> read_safetensors_header(const File& file) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t length = 0;
  if (file.size_bytes() < sizeof length) {
    return error(Code::kCorrupt, "{} bytes are too few for a safetensors file", file.size_bytes());
  }
  BP_TRY(file.read_at(0, std::as_writable_bytes(std::span(&length, 1))));
  if (length > file.size_bytes() - sizeof length || length > kMaxSafetensorsHeaderBytes) {
    return error(Code::kCorrupt,
                 "the header claims {} bytes; the file has {} after it begins, and {} are accepted",
                 length, file.size_bytes() - sizeof length, kMaxSafetensorsHeaderBytes);
  }
  std::string text(length, '\0');
  BP_TRY(file.read_at(sizeof length, std::as_writable_bytes(std::span(text))));
  // Name, description, array: four levels are one more than the format knows.
  const Json header =
      BP_TRY(parse_json(text, {kMaxSafetensorsHeaderBytes, 4}).with_context("safetensors header"));
  if (!header.is_object()) return error(Code::kCorrupt, "the safetensors header is no object");
  if (header.size() > limits::kMaxTensors) {
    return error(Code::kExhausted, "{} tensors; at most {} are accepted", header.size(),
                 limits::kMaxTensors);
  }
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, description] : header.items()) {
    if (name == "__metadata__") continue;  // free text about the file
    if (name.empty() || name.size() > limits::kMaxNameBytes || !is_printable_utf8(name)) {
      return error(Code::kCorrupt, "a tensor's name is empty, not printable, or over {} bytes",
                   limits::kMaxNameBytes);
    }
    entries.push_back(BP_TRY(read_entry(name, description).with_context("tensor '{}'", name)));
  }
  BP_TRY(place_entries(sizeof length + length, file.size_bytes(), &entries));
  return entries;
}

}  // namespace bp
