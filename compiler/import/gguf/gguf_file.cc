// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/gguf/gguf_file.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "compiler/import/gguf/gguf_tensor_type.h"
#include "compiler/import/gguf/header_reader.h"
#include "compiler/import/utf8.h"
#include "core/base/checked.h"
#include "core/base/limits.h"

namespace bp {

// Reads the header forward into a GgufFile.
class GgufFile::Parser {
 public:
  Parser(std::shared_ptr<File> file, GgufFile* out)
      : file_size_(file->size_bytes()), reader_(std::move(file), kMaxHeaderBytes), out_(out) {}

  Status run() {
    BP_TRY(read_preamble());
    BP_TRY(read_metadata());
    BP_TRY(check_alignment());
    BP_TRY(read_tensor_list());
    return place_tensors();
  }

 private:
  struct Listed {
    SourceTensor tensor;
    const GgufTensorType* type = nullptr;
    uint64_t offset = 0;  // from the start of the data, then absolute
    uint64_t end = 0;     // absolute
  };

  Status read_preamble();
  Status read_metadata();
  Result<std::string> read_name(uint64_t max_bytes);
  Result<GgufValue> read_value();
  Status read_scalars(GgufValue* value);
  Status read_strings(GgufValue* value);
  Status check_alignment();
  Status read_tensor_list();
  Result<Listed> read_tensor();
  Status finish_tensor(uint32_t type_number, Listed* listed);
  Status place_tensors();

  uint64_t file_size_;
  HeaderReader reader_;
  GgufFile* out_;
  uint64_t tensor_count_ = 0;
  uint64_t key_count_ = 0;
  uint64_t alignment_ = 32;
  std::vector<Listed> listed_;
};

Status GgufFile::Parser::read_preamble() {
  const uint32_t magic = BP_TRY(reader_.number<uint32_t>());
  if (magic != 0x46554747) return error(Code::kCorrupt, "this is not a GGUF file");  // "GGUF"
  out_->version_ = BP_TRY(reader_.number<uint32_t>());
  const uint32_t version = out_->version_;
  if (version != 0 && (version & 0xffffu) == 0) {
    return error(Code::kIncompatible, "big-endian GGUF is not read; convert it to little-endian");
  }
  if (version != 2 && version != 3) {
    return error(Code::kIncompatible, "GGUF version {} is not read; versions 2 and 3 are", version);
  }
  tensor_count_ = BP_TRY(reader_.number<uint64_t>());
  key_count_ = BP_TRY(reader_.number<uint64_t>());
  if (tensor_count_ > limits::kMaxTensors) {
    return error(Code::kExhausted, "{} tensors are announced; at most {} are accepted",
                 tensor_count_, limits::kMaxTensors);
  }
  if (key_count_ > kMaxKeys) {
    return error(Code::kExhausted, "{} keys are announced; at most {} are accepted", key_count_,
                 kMaxKeys);
  }
  return {};
}

// A length and that many bytes, which must be printable.
Result<std::string> GgufFile::Parser::read_name(uint64_t max_bytes) {
  const uint64_t length = BP_TRY(reader_.number<uint64_t>());
  if (length == 0 || length > max_bytes) {
    return error(Code::kCorrupt, "the name has {} bytes; 1 to {} are allowed", length, max_bytes);
  }
  std::string name;
  BP_TRY(reader_.append(length, &name));
  if (!is_printable_utf8(name)) {
    return error(Code::kCorrupt, "the name is not printable UTF-8 text");
  }
  return name;
}

Status GgufFile::Parser::read_metadata() {
  for (uint64_t i = 0; i < key_count_; ++i) {
    std::string key =
        BP_TRY(read_name(kMaxKeyBytes).with_context("key {} of {}", i + 1, key_count_));
    GgufValue value = BP_TRY(read_value().with_context("key '{}'", key));
    BP_TRY(out_->metadata_.add(std::move(key), std::move(value)));
  }
  return {};
}

Result<GgufValue> GgufFile::Parser::read_value() {
  GgufValue value;
  uint32_t number = BP_TRY(reader_.number<uint32_t>());
  if (static_cast<GgufType>(number) == GgufType::kArray) {
    value.is_array = true;
    number = BP_TRY(reader_.number<uint32_t>());
    value.count = BP_TRY(reader_.number<uint64_t>());
    if (static_cast<GgufType>(number) == GgufType::kArray) {
      return error(Code::kUnimplemented, "arrays of arrays are not read");
    }
  }
  value.type = static_cast<GgufType>(number);
  if (value.type == GgufType::kString) {
    BP_TRY(read_strings(&value));
  } else if (gguf_scalar_bytes(value.type) != 0) {
    BP_TRY(read_scalars(&value));
  } else {
    return error(Code::kCorrupt, "value type {} does not exist", number);
  }
  return value;
}

Status GgufFile::Parser::read_scalars(GgufValue* value) {
  uint64_t bytes;
  if (!try_mul<uint64_t>(value->count, gguf_scalar_bytes(value->type), &bytes)) {
    return error(Code::kCorrupt, "an array of {} elements cannot be", value->count);
  }
  BP_TRY(reader_.append(bytes, &value->bytes));
  if (value->type != GgufType::kBool) return {};
  for (const char c : value->bytes) {
    if (c != 0 && c != 1) return error(Code::kCorrupt, "a bool holds {}", static_cast<int>(c));
  }
  return {};
}

Status GgufFile::Parser::read_strings(GgufValue* value) {
  if (value->count > reader_.remaining() / sizeof(uint64_t)) {  // each has at least its length
    return error(Code::kCorrupt, "{} strings are announced, but only {} bytes follow", value->count,
                 reader_.remaining());
  }
  for (uint64_t i = 0; i < value->count; ++i) {
    const uint64_t length = BP_TRY(reader_.number<uint64_t>());
    BP_TRY(reader_.append(length, &value->bytes).with_context("string {}", i));
    value->ends.push_back(value->bytes.size());
  }
  return {};
}

Status GgufFile::Parser::check_alignment() {
  alignment_ = BP_TRY(out_->metadata_.get_u64_or("general.alignment", 32));
  if (alignment_ == 0 || alignment_ > kMaxAlignment || (alignment_ & (alignment_ - 1)) != 0) {
    return error(Code::kCorrupt, "key 'general.alignment' is {}, not a power of two up to {}",
                 alignment_, kMaxAlignment);
  }
  const uint64_t parts = BP_TRY(out_->metadata_.get_u64_or("split.count", 1));
  if (parts > 1) {
    return error(Code::kUnimplemented,
                 "this is one of {} parts of a split model; join them first (llama-gguf-split "
                 "--merge)",
                 parts);
  }
  return {};
}

Status GgufFile::Parser::read_tensor_list() {
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    listed_.push_back(BP_TRY(read_tensor().with_context("tensor {} of {}", i + 1, tensor_count_)));
  }
  return {};
}

Result<GgufFile::Parser::Listed> GgufFile::Parser::read_tensor() {
  static constexpr uint32_t kMaxDimensions = 4;
  Listed listed;
  listed.tensor.name = BP_TRY(read_name(limits::kMaxNameBytes));
  const uint32_t rank = BP_TRY(reader_.number<uint32_t>());
  if (rank == 0 || rank > kMaxDimensions) {
    return error(Code::kCorrupt, "'{}' has {} dimensions; 1 to {} are allowed", listed.tensor.name,
                 rank, kMaxDimensions);
  }
  for (uint32_t i = 0; i < rank; ++i) {  // the file has the innermost dimension first
    listed.tensor.shape.push_back(BP_TRY(reader_.number<uint64_t>()));
  }
  std::reverse(listed.tensor.shape.begin(), listed.tensor.shape.end());
  const uint32_t type_number = BP_TRY(reader_.number<uint32_t>());
  listed.offset = BP_TRY(reader_.number<uint64_t>());
  BP_TRY(finish_tensor(type_number, &listed).with_context("'{}'", listed.tensor.name));
  return listed;
}

// Type, element count and size in bytes (left in `end` until the data's place is known).
Status GgufFile::Parser::finish_tensor(uint32_t type_number, Listed* listed) {
  SourceTensor& tensor = listed->tensor;
  listed->type = find_gguf_type(type_number);
  if (listed->type == nullptr) {
    return error(Code::kUnimplemented, "tensor type {} is not read; these are: {}",
                 gguf_type_label(type_number), gguf_types_read());
  }
  tensor.format = listed->type->format;
  tensor.source_type = listed->type->name;
  uint64_t elements = 1;
  for (const uint64_t dimension : tensor.shape) {
    if (dimension == 0 || !try_mul(elements, dimension, &elements) ||
        elements > limits::kMaxTensorElements) {
      return error(Code::kCorrupt, "the shape [{}] is empty or too large",
                   fmt::join(tensor.shape, ", "));
    }
  }
  const uint32_t block = find_weight_format(tensor.format)->block_elements;
  if (tensor.columns() % block != 0) {
    return error(Code::kCorrupt, "rows of {} elements are not whole {} blocks of {}",
                 tensor.columns(), tensor.source_type, block);
  }
  listed->end = elements / block * listed->type->block_bytes();
  if (listed->offset % alignment_ != 0) {
    return error(Code::kCorrupt, "offset {} is not a multiple of the alignment {}", listed->offset,
                 alignment_);
  }
  return {};
}

Status GgufFile::Parser::place_tensors() {
  uint64_t data_start;
  if (!try_align_up(reader_.position(), alignment_, &data_start)) {
    return error(Code::kCorrupt, "the data starts nowhere");
  }
  for (Listed& listed : listed_) {
    const uint64_t bytes = listed.end;
    if (!try_add(listed.offset, data_start, &listed.offset) ||
        !range_fits(listed.offset, bytes, file_size_)) {
      return error(Code::kCorrupt,
                   "tensor '{}' needs {} bytes from byte {}, but the file has {}; is it complete?",
                   listed.tensor.name, bytes, listed.offset, file_size_);
    }
    listed.end = listed.offset + bytes;
  }
  std::stable_sort(listed_.begin(), listed_.end(),
                   [](const Listed& a, const Listed& b) { return a.offset < b.offset; });
  for (size_t i = 0; i < listed_.size(); ++i) {
    Listed& listed = listed_[i];
    if (i > 0 && listed_[i - 1].end > listed.offset) {
      return error(Code::kCorrupt, "tensors '{}' and '{}' overlap", out_->tensors().back().name,
                   listed.tensor.name);
    }
    out_->places_.push_back({listed.type, listed.offset});
    BP_TRY(out_->add_tensor(std::move(listed.tensor)));
  }
  return {};
}

Result<std::shared_ptr<GgufFile>> GgufFile::open(const std::filesystem::path& path) {
  auto file = BP_TRY(File::open(path));
  try {
    std::shared_ptr<GgufFile> out(new GgufFile(file));
    out->add_file({path, file->size_bytes()});
    BP_TRY(std::make_unique<Parser>(file, out.get())->run().with_context("'{}'", path.native()));
    return out;
  } catch (const std::exception&) {
    return error(Code::kExhausted, "'{}': no memory for its header", path.native());
  }
}

Status GgufFile::read_checked_blocks(size_t index, uint64_t first_block, uint64_t block_count,
                                     const PlaneBuffers& planes) const {
  const Place& place = places_[index];
  const uint64_t block_bytes = place.type->block_bytes();
  uint64_t offset = place.offset + first_block * block_bytes;
  if (place.type->field_count == 1) return file_->read_at(offset, planes[0]);
  const uint64_t chunk_blocks = std::min<uint64_t>(block_count, kScratchBytes / 2 / block_bytes);
  std::unique_ptr<std::byte[]> chunk(new (std::nothrow) std::byte[chunk_blocks * block_bytes]);
  if (chunk == nullptr) return error(Code::kExhausted, "no memory to read a tensor");
  for (uint64_t done = 0; done < block_count;) {
    const uint64_t blocks = std::min(chunk_blocks, block_count - done);
    BP_TRY(file_->read_at(offset, {chunk.get(), blocks * block_bytes}));
    split_gguf_blocks(*place.type, chunk.get(), done, blocks, planes);
    done += blocks;
    offset += blocks * block_bytes;
  }
  return {};
}

void GgufFile::release(size_t index) const noexcept {
  if (index >= places_.size()) return;
  const Place& place = places_[index];
  const uint64_t block = find_weight_format(place.type->format)->block_elements;
  file_->release(place.offset, tensors()[index].elements() / block * place.type->block_bytes());
}

}  // namespace bp
