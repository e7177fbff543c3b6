// SPDX-License-Identifier: Apache-2.0
#include "model_format/reader.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/base/checked.h"
#include "core/base/limits.h"
#include "core/platform/file.h"
#include "model_format/layout.h"
#include "model_format/verify.h"

namespace bp {
namespace {

// How much is read at a time: large enough for the disk, small beside any model.
constexpr uint64_t kReadChunkBytes = uint64_t{4} << 20;

// Owned memory at an address that suits segments, and the FlatBuffer as well.
struct FreeDeleter {
  void operator()(std::byte* memory) const noexcept { std::free(memory); }
};
using AlignedBytes = std::unique_ptr<std::byte[], FreeDeleter>;

Result<AlignedBytes> allocate(uint64_t size_bytes) {
  uint64_t rounded;
  void* memory = nullptr;
  if (try_align_up(size_bytes, kSegmentAlignment, &rounded) && rounded <= SIZE_MAX) {
    memory = std::aligned_alloc(kSegmentAlignment, rounded);
  }
  if (memory == nullptr) {
    return error(Code::kExhausted, "no memory for {} bytes of the model", size_bytes);
  }
  return AlignedBytes(static_cast<std::byte*>(memory));
}

// Runs `body`, turning what the standard library throws into a failure.
template <typename Body>
auto guarded(Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return error(Code::kExhausted, "no memory left while opening the model");
  } catch (...) {
    return error(Code::kInternal, "an unexpected exception while opening the model");
  }
}

// The first byte is 0 and every byte equals the one after it: as fast as memcmp is.
bool all_zero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace

struct ModelFile::State {
  // Where weights come from: exactly one of these three holds them.
  std::shared_ptr<MappedFile> mapping;
  std::shared_ptr<const void> owner;          // of borrowed memory; may be null
  std::vector<AlignedBytes> copied_segments;  // one per segment

  ReadAt read_at;  // set while opening, and kept for mapped files
  AlignedBytes plan_bytes;
  const fb::Model* model = nullptr;
  ModelHeader header;
  NameIndex names;
  std::vector<std::span<const std::byte>> segments;

  uint32_t segment_count() const {
    return model->segments() == nullptr ? 0 : model->segments()->size();
  }
  uint32_t tensor_count() const {
    return model->tensors() == nullptr ? 0 : model->tensors()->size();
  }
  const fb::Tensor& tensor(uint32_t index) const { return *model->tensors()->Get(index); }

  Status load_plan(uint64_t actual_file_bytes);
  Status check_gap() const;
  Status copy_segments();
  void view_segments(std::span<const std::byte> file);
  // Calls back with pieces of [offset, offset + length) of a segment.
  template <typename Consume>
  Status read_segment(uint32_t segment, uint64_t offset, uint64_t length, Consume consume) const;
  Status verify_padding(uint32_t segment, uint64_t begin, uint64_t end) const;
  Result<Sha256Digest> tensor_digest(uint32_t index,
                                     const std::function<bool(uint64_t)>& advance) const;
  Status verify_one(uint32_t index, const std::function<bool(uint64_t)>& advance) const;
};

Status ModelFile::State::load_plan(uint64_t actual_file_bytes) {
  std::array<std::byte, kModelHeaderBytes> head{};
  const uint64_t head_bytes = std::min<uint64_t>(head.size(), actual_file_bytes);
  BP_TRY(read_at(0, std::span(head).first(head_bytes)));
  header = BP_TRY(decode_header(std::span(head).first(head_bytes), actual_file_bytes));
  plan_bytes = BP_TRY(allocate(header.plan_bytes));
  const std::span<std::byte> plan(plan_bytes.get(), header.plan_bytes);
  BP_TRY(read_at(header.plan_offset, plan));
  if (BP_TRY(Sha256::of(plan)) != header.plan_digest) {
    return error(Code::kCorrupt,
                 "the digest of the plan is wrong: the file is damaged, copy it "
                 "again");
  }
  BP_TRY(verify_model(plan, actual_file_bytes, &names));
  model = fb::GetModel(plan.data());
  return check_gap();
}

// Zeros between the FlatBuffer and the first segment.
Status ModelFile::State::check_gap() const {
  uint64_t position = header.plan_offset + header.plan_bytes;
  const uint64_t end =
      segment_count() == 0 ? header.file_bytes : model->segments()->Get(0)->offset();
  std::vector<std::byte> chunk(std::min(kSegmentAlignment, end - position));
  while (position < end) {
    const std::span piece(chunk.data(), std::min<uint64_t>(chunk.size(), end - position));
    BP_TRY(read_at(position, piece));
    if (!all_zero(piece)) {
      return error(Code::kCorrupt, "there are bytes other than 0 between plan and weights");
    }
    position += piece.size();
  }
  return {};
}

Status ModelFile::State::copy_segments() {
  for (uint32_t s = 0; s < segment_count(); ++s) {
    const fb::Segment& segment = *model->segments()->Get(s);
    AlignedBytes memory = BP_TRY(allocate(segment.bytes()));
    for (uint64_t done = 0; done < segment.bytes();) {
      const uint64_t length = std::min(kReadChunkBytes, segment.bytes() - done);
      BP_TRY(read_at(segment.offset() + done, std::span(memory.get() + done, length)));
      done += length;
    }
    segments.emplace_back(memory.get(), segment.bytes());
    copied_segments.push_back(std::move(memory));
  }
  return {};
}

void ModelFile::State::view_segments(std::span<const std::byte> file) {
  for (uint32_t s = 0; s < segment_count(); ++s) {
    const fb::Segment& segment = *model->segments()->Get(s);
    segments.push_back(file.subspan(segment.offset(), segment.bytes()));
  }
}

template <typename Consume>
Status ModelFile::State::read_segment(uint32_t segment, uint64_t offset, uint64_t length,
                                      Consume consume) const {
  std::vector<std::byte> chunk;
  if (mapping != nullptr) chunk.resize(std::min(kReadChunkBytes, length));
  while (length > 0) {
    const uint64_t piece_bytes = std::min(kReadChunkBytes, length);
    std::span<const std::byte> piece = segments[segment].subspan(offset, piece_bytes);
    if (mapping != nullptr) {  // through the descriptor: an error where the mapping would fault
      const std::span<std::byte> into(chunk.data(), piece_bytes);
      BP_TRY(read_at(model->segments()->Get(segment)->offset() + offset, into));
      piece = into;
    }
    BP_TRY(consume(piece));
    offset += piece_bytes;
    length -= piece_bytes;
  }
  return {};
}

Status ModelFile::State::verify_padding(uint32_t segment, uint64_t begin, uint64_t end) const {
  return read_segment(segment, begin, end - begin, [&](std::span<const std::byte> piece) -> Status {
    if (all_zero(piece)) return {};
    return error(Code::kCorrupt,
                 "segment {} has padding that is not 0; the file is damaged, copy "
                 "it again",
                 segment);
  });
}

Result<Sha256Digest> ModelFile::State::tensor_digest(
    uint32_t index, const std::function<bool(uint64_t)>& advance) const {
  Sha256 of_planes = BP_TRY(Sha256::create());
  Sha256 of_bytes = BP_TRY(Sha256::create());
  for (const fb::Plane* plane : *tensor(index).planes()) {
    BP_TRY(read_segment(plane->segment(), plane->offset(), plane->bytes(),
                        [&](std::span<const std::byte> piece) -> Status {
                          if (!advance(piece.size())) {
                            return error(Code::kCancelled, "verification was stopped");
                          }
                          return of_bytes.update(piece);
                        }));
    const Sha256Digest digest = BP_TRY(of_bytes.finish());
    BP_TRY(of_planes.update(std::as_bytes(std::span(digest))));
  }
  return of_planes.finish();
}

// The tensor's digest, and the padding after each of its planes.
Status ModelFile::State::verify_one(uint32_t index,
                                    const std::function<bool(uint64_t)>& advance) const {
  const fb::Tensor& found = tensor(index);
  const Sha256Digest digest = BP_TRY(tensor_digest(index, advance));
  if (!std::equal(digest.begin(), digest.end(), found.sha256()->begin())) {
    return error(Code::kCorrupt,
                 "the digest of tensor '{}' is wrong: the file is damaged, copy it "
                 "again",
                 found.name()->string_view());
  }
  for (uint32_t p = 0; p < found.planes()->size(); ++p) {
    const fb::Plane& plane = *found.planes()->Get(p);
    const fb::Plane* next = nullptr;
    if (p + 1 < found.planes()->size()) {
      next = found.planes()->Get(p + 1);
    } else if (index + 1 < tensor_count()) {
      next = tensor(index + 1).planes()->Get(0);
    }
    const uint64_t end = next != nullptr && next->segment() == plane.segment()
                             ? next->offset()
                             : segments[plane.segment()].size();
    BP_TRY(verify_padding(plane.segment(), plane.offset() + plane.bytes(), end));
  }
  return {};
}

ModelFile::ModelFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
ModelFile::~ModelFile() = default;

Result<std::shared_ptr<const ModelFile>> ModelFile::open(const std::filesystem::path& path,
                                                         const OpenOptions& options) {
  return guarded([&]() -> Result<std::shared_ptr<const ModelFile>> {
    auto state = std::make_unique<State>();
    auto mapping = BP_TRY(MappedFile::open(path));
    const File& file = mapping->file();
    state->read_at = [&file](uint64_t offset, std::span<std::byte> out) {
      return file.read_at(offset, out);
    };
    BP_TRY(state->load_plan(file.size_bytes()).with_context("'{}'", path.native()));
    if (options.copy_weights) {
      BP_TRY(state->copy_segments().with_context("'{}'", path.native()));
      state->read_at = nullptr;
    } else {
      state->view_segments(mapping->bytes());
    }
    // What was read belongs together only if nobody wrote meanwhile.
    BP_TRY(mapping->check_unchanged());
    if (!options.copy_weights) state->mapping = std::move(mapping);
    return std::shared_ptr<const ModelFile>(new ModelFile(std::move(state)));
  });
}

Result<std::shared_ptr<const ModelFile>> ModelFile::open_memory(std::span<const std::byte> bytes,
                                                                std::shared_ptr<const void> owner) {
  return guarded([&]() -> Result<std::shared_ptr<const ModelFile>> {
    if (reinterpret_cast<uintptr_t>(bytes.data()) % kPlaneAlignment != 0) {
      return error(Code::kInvalidArgument,
                   "a model in memory has to begin at a multiple of {} bytes", kPlaneAlignment);
    }
    auto state = std::make_unique<State>();
    state->read_at = [bytes](uint64_t offset, std::span<std::byte> out) -> Status {
      if (!range_fits(offset, out.size(), bytes.size())) {
        return error(Code::kCorrupt, "the model ends at byte {}", bytes.size());
      }
      std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
      return {};
    };
    BP_TRY(state->load_plan(bytes.size()));
    state->view_segments(bytes);
    state->read_at = nullptr;
    state->owner = std::move(owner);
    return std::shared_ptr<const ModelFile>(new ModelFile(std::move(state)));
  });
}

Result<std::shared_ptr<const ModelFile>> ModelFile::open_source(uint64_t size_bytes,
                                                                const ReadAt& read_at) {
  return guarded([&]() -> Result<std::shared_ptr<const ModelFile>> {
    auto state = std::make_unique<State>();
    state->read_at = read_at;
    BP_TRY(state->load_plan(size_bytes));
    BP_TRY(state->copy_segments());
    state->read_at = nullptr;
    return std::shared_ptr<const ModelFile>(new ModelFile(std::move(state)));
  });
}

const fb::Model& ModelFile::model() const noexcept {
  return *state_->model;
}
uint64_t ModelFile::size_bytes() const noexcept {
  return state_->header.file_bytes;
}
const Sha256Digest& ModelFile::digest() const noexcept {
  return state_->header.plan_digest;
}
bool ModelFile::is_mapped() const noexcept {
  return state_->mapping != nullptr;
}
uint32_t ModelFile::tensor_count() const noexcept {
  return state_->tensor_count();
}

std::optional<uint32_t> ModelFile::find_tensor(std::string_view name) const noexcept {
  const uint64_t hash = name_hash(name);
  const auto& entries = state_->names.entries;
  auto entry = std::lower_bound(entries.begin(), entries.end(), hash,
                                [](const auto& e, uint64_t h) { return e.hash < h; });
  for (; entry != entries.end() && entry->hash == hash; ++entry) {
    if (state_->tensor(entry->index).name()->string_view() == name) return entry->index;
  }
  return std::nullopt;
}

std::span<const std::byte> ModelFile::plane(uint32_t tensor, uint32_t plane) const noexcept {
  if (tensor >= tensor_count() || plane >= state_->tensor(tensor).planes()->size()) return {};
  const fb::Plane& found = *state_->tensor(tensor).planes()->Get(plane);
  return state_->segments[found.segment()].subspan(found.offset(), found.bytes());
}

std::span<const std::byte> ModelFile::segment(uint32_t segment) const noexcept {
  if (segment >= state_->segments.size()) return {};
  return state_->segments[segment];
}

Status ModelFile::verify_digests(const DigestProgress& progress) const {
  return guarded([&]() -> Status {
    uint64_t total = 0;
    for (const auto& bytes : state_->segments) total += bytes.size();
    uint64_t done = 0;
    const std::function<bool(uint64_t)> advance = [&](uint64_t bytes) {
      done += bytes;
      return !progress || progress(done, total);
    };
    for (uint32_t i = 0; i < tensor_count(); ++i) BP_TRY(state_->verify_one(i, advance));
    if (progress && !progress(total, total)) {
      return error(Code::kCancelled, "verification was stopped");
    }
    return {};
  });
}

Status ModelFile::verify_tensor(uint32_t tensor) const {
  return guarded([&]() -> Status {
    if (tensor >= tensor_count()) {
      return error(Code::kInvalidArgument, "tensor {} of {}", tensor, tensor_count());
    }
    return state_->verify_one(tensor, [](uint64_t) { return true; });
  });
}

void ModelFile::will_need(uint32_t tensor) const noexcept {
  if (!is_mapped() || tensor >= tensor_count()) return;
  for (const fb::Plane* plane : *state_->tensor(tensor).planes()) {
    state_->mapping->will_need(
        state_->model->segments()->Get(plane->segment())->offset() + plane->offset(),
        plane->bytes());
  }
}

void ModelFile::release(uint32_t tensor) const noexcept {
  if (!is_mapped() || tensor >= tensor_count()) return;
  for (const fb::Plane* plane : *state_->tensor(tensor).planes()) {
    state_->mapping->release(
        state_->model->segments()->Get(plane->segment())->offset() + plane->offset(),
        plane->bytes());
  }
}

Status ModelFile::check_unchanged() const {
  return state_->mapping == nullptr ? Status() : state_->mapping->check_unchanged();
}

}  // namespace bp
