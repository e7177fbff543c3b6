// SPDX-License-Identifier: Apache-2.0
// A complete small model for tests: every op, several weight formats, a tokenizer and a template,
// in a file of two or three 64 KiB units. For tests only; not part of the product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/platform/file.h"
#include "model_format/bpm_generated.h"
#include "model_format/reader.h"
#include "model_format/writer.h"

namespace bp::testing {

// Builds a plan step by step. Scratch values get disjoint places in the arena, in order of
// declaration, so that every plan built here is valid as far as memory goes.
class PlanBuilder {
 public:
  static constexpr int kTokens = 0, kSequences = 1, kOutputs = 2, kPages = 3, kBlocks = 4;
  static constexpr uint32_t kPageSize = 16;

  PlanBuilder();
  static fb::Dim symbol(int index, uint64_t offset = 0);
  static fb::Dim constant(uint64_t value);

  int weight(const std::string& name, const std::string& format, std::vector<uint64_t> shape);
  int input(const std::string& name, std::vector<fb::Dim> shape);
  int rope_input(uint32_t rotary_dim);  // adds the rotary table as well
  int state(const std::string& name, uint64_t kv_heads, uint64_t head_dim);
  int scratch(const std::string& name, std::vector<fb::Dim> shape,
              const std::string& format = "f32", fb::Role role = fb::Role::Scratch);
  struct Attribute {
    std::string name;
    fb::AttributeValueUnion value;
  };
  void step(const std::string& op, std::vector<int> inputs, std::vector<int> outputs,
            std::vector<Attribute> attributes, int layer);

  struct DeclaredTensor {
    std::string name;
    std::string format;
    std::vector<uint64_t> shape;
  };
  const std::vector<DeclaredTensor>& tensors() const { return tensors_; }
  std::unique_ptr<fb::PlanT> finish();

 private:
  int add(std::unique_ptr<fb::ValueT> value);
  std::unique_ptr<fb::PlanT> plan_ = std::make_unique<fb::PlanT>();
  std::vector<DeclaredTensor> tensors_;
  uint64_t arena_constant_ = 0;
  std::vector<uint64_t> arena_scale_ = std::vector<uint64_t>(5);
};

PlanBuilder::Attribute int_attribute(const std::string& name, int64_t value);
PlanBuilder::Attribute float_attribute(const std::string& name, double value);
PlanBuilder::Attribute string_attribute(const std::string& name, const std::string& value);

struct TinyModel {
  fb::ModelT model;  // without segments and tensors
  std::vector<PlanBuilder::DeclaredTensor> tensors;
};
// One dense layer; with `experts` a second one with experts and separate projections.
TinyModel make_tiny_model(bool experts);

// The bytes that every plane of the tiny file holds: a fixed pseudo-random sequence, with f16
// scales that are small positive numbers.
std::vector<std::byte> tiny_plane_bytes(uint32_t tensor, uint32_t plane, uint64_t size_bytes);

// Declares, writes and finishes, giving rows to the writer in pieces of `chunk_bytes`.
Status write_tiny_model(TinyModel&& tiny, const std::filesystem::path& path,
                        uint64_t chunk_bytes = 1 << 20);

// A folder under the system's temporary one, removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path path(const std::string& name) const { return folder_ / name; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

// Bytes at an address that is a multiple of 64, as ModelFile::open_memory() wants them.
class AlignedBuffer {
 public:
  explicit AlignedBuffer(uint64_t size_bytes);
  explicit AlignedBuffer(std::span<const std::byte> content);
  std::span<std::byte> bytes() const { return {begin_, size_bytes_}; }
  std::span<std::byte> first(uint64_t count) const { return bytes().first(count); }

 private:
  std::unique_ptr<std::byte[]> storage_;
  std::byte* begin_;
  uint64_t size_bytes_;
};
AlignedBuffer read_whole_file(const std::filesystem::path& path);

// Follows every pointer, index and range of an opened model, as its users do; the result depends
// on all of them. Whatever open() has accepted must survive this.
uint64_t walk_model(const ModelFile& file);

}  // namespace bp::testing
