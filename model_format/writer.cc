// SPDX-License-Identifier: Apache-2.0
#include "model_format/writer.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <optional>
#include <utility>

#include "core/base/checked.h"
#include "core/base/limits.h"
#include "model_format/verify.h"

namespace bp {
namespace {

// Room for what is added to the model between begin_weights() and finish().
constexpr uint64_t kPlanSlackBytes = 16 * 1024;

template <typename Body>
auto guarded(Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return error(Code::kExhausted, "no memory left while writing the model");
  } catch (...) {
    return error(Code::kInternal, "an unexpected exception while writing the model");
  }
}

// The FlatBuffer library asserts, rather than fails, near 2 GiB, so the large parts are counted
// before they are packed.
uint64_t rough_plan_bytes(const fb::ModelT& model) {
  uint64_t bytes = model.licence.size();
  for (const auto& entry : model.chat_templates) {
    if (entry != nullptr) bytes += entry->source.size();
  }
  if (model.tokenizer != nullptr) {
    const fb::TokenizerT& t = *model.tokenizer;
    bytes += t.token_bytes.size() + t.types.size() + t.rules.size();
    bytes += 4 * (t.token_offsets.size() + t.scores.size() + t.merges.size());
  }
  bytes += 64 * model.tensors.size();
  if (model.plan != nullptr) {
    bytes += 32 * (model.plan->values.size() + model.plan->steps.size());
    for (const auto& rope : model.plan->ropes) {
      if (rope != nullptr) bytes += 4 * (rope->frequencies.size() + rope->long_frequencies.size());
    }
  }
  return bytes;
}

void store(const Sha256Digest& digest, std::vector<uint8_t>& out) {
  std::copy(digest.begin(), digest.end(), out.begin());
}

}  // namespace

struct ModelWriter::State {
  struct PlaneState {
    uint64_t file_offset = 0;
    uint64_t bytes = 0;
    uint64_t written = 0;
    std::optional<Sha256> hash;  // only while the plane is being written
    Sha256Digest digest{};
  };
  struct TensorState {
    std::vector<PlaneState> planes;
  };

  std::unique_ptr<AtomicFile> file;
  std::vector<std::unique_ptr<fb::TensorT>> declared;  // moved into the model by begin_weights()
  std::vector<TensorState> tensors;
  fb::ModelT model;
  uint64_t weight_bytes = 0;
  std::atomic<uint64_t> weight_bytes_written{0};
  uint64_t weights_begin = 0;  // file offset of the first segment
  bool weights_begun = false;

  Status lay_out();
  Status pack(flatbuffers::FlatBufferBuilder& builder) const;
  void move_segments_to(uint64_t offset);
  uint64_t file_bytes() const;
  Status seal_digests();
  Status write_plan(AtomicFile& out);
};

ModelWriter::ModelWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ModelWriter::~ModelWriter() = default;

Result<std::unique_ptr<ModelWriter>> ModelWriter::create(const std::filesystem::path& path,
                                                         AtomicFile::Existing existing) {
  return guarded([&]() -> Result<std::unique_ptr<ModelWriter>> {
    auto state = std::make_unique<State>();
    state->file = BP_TRY(AtomicFile::create(path, existing));
    return std::unique_ptr<ModelWriter>(new ModelWriter(std::move(state)));
  });
}

Result<uint32_t> ModelWriter::declare_tensor(std::string_view name, std::string_view format,
                                             std::span<const uint64_t> shape) {
  return guarded([&]() -> Result<uint32_t> {
    State& s = *state_;
    if (s.weights_begun) {
      return error(Code::kFailedPrecondition, "tensor '{}' is declared after begin_weights()",
                   name);
    }
    if (s.declared.size() >= limits::kMaxTensors) {
      return error(Code::kInvalidArgument, "more than {} tensors", limits::kMaxTensors);
    }
    if (name.empty() || name.size() > limits::kMaxNameBytes) {
      return error(Code::kInvalidArgument, "a tensor's name has {} bytes; 1 to {} are possible",
                   name.size(), limits::kMaxNameBytes);
    }
    const WeightFormat* known = find_weight_format(format);
    if (known == nullptr) {
      return error(Code::kInvalidArgument, "tensor '{}': there is no format '{}'", name, format);
    }
    auto tensor = std::make_unique<fb::TensorT>();
    tensor->name = name;
    tensor->format = format;
    tensor->shape.assign(shape.begin(), shape.end());
    tensor->sha256.assign(kSha256Bytes, 0);
    State::TensorState state;
    for (uint32_t p = 0; p < known->plane_count; ++p) {
      const Result<uint64_t> bytes = plane_size_bytes(*known, p, shape);
      if (!bytes.ok()) {
        return error(Code::kInvalidArgument, "tensor '{}': {}", name, bytes.status().message());
      }
      auto plane = std::make_unique<fb::PlaneT>();
      plane->layout = known->planes[p].name;
      plane->bytes = bytes.value();
      tensor->planes.push_back(std::move(plane));
      state.planes.emplace_back();
      state.planes.back().bytes = bytes.value();
    }
    s.tensors.push_back(std::move(state));
    s.declared.push_back(std::move(tensor));
    return static_cast<uint32_t>(s.declared.size() - 1);
  });
}

// Gives every plane its segment and offset, and makes the segments. File offsets follow later.
Status ModelWriter::State::lay_out() {
  std::vector<std::unique_ptr<fb::SegmentT>>& segments = model.segments;
  segments.clear();
  uint64_t end = 0;  // of the last plane, in the current segment
  for (const auto& tensor : model.tensors) {
    uint64_t tensor_bytes = 0;
    for (const auto& plane : tensor->planes) {
      if (!try_add(tensor_bytes, plane->bytes, &tensor_bytes) ||
          !try_align_up(tensor_bytes, kPlaneAlignment, &tensor_bytes)) {
        return error(Code::kInvalidArgument, "tensor '{}' is too large", tensor->name);
      }
    }
    uint64_t begin = 0;
    if (!try_align_up(end, kPlaneAlignment, &begin) || segments.empty() ||
        begin > kPreferredSegmentBytes || tensor_bytes > kPreferredSegmentBytes - begin) {
      begin = 0;
      segments.push_back(std::make_unique<fb::SegmentT>());
      segments.back()->sha256.assign(kSha256Bytes, 0);
    }
    for (const auto& plane : tensor->planes) {
      plane->segment = static_cast<uint32_t>(segments.size() - 1);
      plane->offset = begin;
      end = begin + plane->bytes;
      if (!try_align_up(end, kPlaneAlignment, &begin) ||
          !try_align_up(end, kSegmentAlignment, &segments.back()->bytes) ||
          !try_add(weight_bytes, plane->bytes, &weight_bytes)) {
        return error(Code::kInvalidArgument, "tensor '{}' is too large", tensor->name);
      }
    }
  }
  return {};
}

void ModelWriter::State::move_segments_to(uint64_t offset) {
  weights_begin = offset;
  for (const auto& segment : model.segments) {
    segment->offset = offset;
    offset += segment->bytes;
  }
  for (size_t t = 0; t < tensors.size(); ++t) {
    for (size_t p = 0; p < tensors[t].planes.size(); ++p) {
      const fb::PlaneT& plane = *model.tensors[t]->planes[p];
      tensors[t].planes[p].file_offset = model.segments[plane.segment]->offset + plane.offset;
    }
  }
}

uint64_t ModelWriter::State::file_bytes() const {
  return model.segments.empty() ? 0 : model.segments.back()->offset + model.segments.back()->bytes;
}

Status ModelWriter::State::pack(flatbuffers::FlatBufferBuilder& builder) const {
  if (rough_plan_bytes(model) > limits::kMaxPlanBytes) {
    return error(Code::kExhausted, "plan, tokenizer and templates need more than {} bytes",
                 limits::kMaxPlanBytes);
  }
  builder.Finish(fb::Model::Pack(builder, &model), fb::ModelIdentifier());
  return {};
}

// Segment and tensor digests from the digests of the planes; SPEC.md, "Digests".
Status ModelWriter::State::seal_digests() {
  Sha256 of_tensors = BP_TRY(Sha256::create());
  Sha256 of_planes = BP_TRY(Sha256::create());
  uint32_t segment = 0;
  for (size_t t = 0; t < tensors.size(); ++t) {
    fb::TensorT& tensor = *model.tensors[t];
    if (tensor.planes[0]->segment != segment) {
      store(BP_TRY(of_tensors.finish()), model.segments[segment]->sha256);
      segment = tensor.planes[0]->segment;
    }
    for (const PlaneState& plane : tensors[t].planes) {
      BP_TRY(of_planes.update(std::as_bytes(std::span(plane.digest))));
    }
    const Sha256Digest digest = BP_TRY(of_planes.finish());
    store(digest, tensor.sha256);
    BP_TRY(of_tensors.update(std::as_bytes(std::span(digest))));
  }
  if (!tensors.empty()) store(BP_TRY(of_tensors.finish()), model.segments[segment]->sha256);
  return {};
}

Status ModelWriter::begin_weights(fb::ModelT&& model) {
  return guarded([&]() -> Status {
    State& s = *state_;
    if (s.weights_begun) return error(Code::kFailedPrecondition, "begin_weights() comes twice");
    s.weights_begun = true;
    s.model = std::move(model);
    s.model.format_version = kModelFormatVersion;
    s.model.tensors = std::move(s.declared);
    BP_TRY(s.lay_out());
    // Zero would not be stored at all, so any other offset measures the size.
    s.move_segments_to(kSegmentAlignment);
    BP_TRY(s.seal_digests());  // of nothing yet: consistent, for the verifier
    flatbuffers::FlatBufferBuilder draft;
    BP_TRY(s.pack(draft));
    uint64_t begin;
    if (!try_align_up(kModelHeaderBytes + draft.GetSize() + kPlanSlackBytes, kSegmentAlignment,
                      &begin)) {
      return error(Code::kInternal, "the plan's size overflows");
    }
    s.move_segments_to(begin);
    draft.Clear();
    BP_TRY(s.pack(draft));
    const uint64_t end =
        s.model.segments.empty() ? kModelHeaderBytes + draft.GetSize() : s.file_bytes();
    return verify_model(std::as_bytes(std::span(draft.GetBufferPointer(), draft.GetSize())), end)
        .with_context("the model to be written");
  });
}

fb::ModelT& ModelWriter::model() noexcept {
  return state_->model;
}

uint64_t ModelWriter::plane_bytes(uint32_t tensor, uint32_t plane) const noexcept {
  if (tensor >= state_->tensors.size() || plane >= state_->tensors[tensor].planes.size()) return 0;
  return state_->tensors[tensor].planes[plane].bytes;
}

Status ModelWriter::write_plane(uint32_t tensor, uint32_t plane, uint64_t offset,
                                std::span<const std::byte> bytes) {
  return guarded([&]() -> Status {
    State& s = *state_;
    if (!s.weights_begun || s.file == nullptr) {
      return error(Code::kFailedPrecondition,
                   "weights are written between begin_weights() and "
                   "finish()");
    }
    if (tensor >= s.tensors.size() || plane >= s.tensors[tensor].planes.size()) {
      return error(Code::kInvalidArgument, "there is no plane {} of tensor {}", plane, tensor);
    }
    State::PlaneState& target = s.tensors[tensor].planes[plane];
    if (offset != target.written || !range_fits(offset, bytes.size(), target.bytes)) {
      return error(
          Code::kInvalidArgument,
          "tensor '{}' plane {}: {} bytes at {} do not continue the {} of {} bytes written",
          s.model.tensors[tensor]->name, plane, bytes.size(), offset, target.written, target.bytes);
    }
    if (!target.hash) target.hash.emplace(BP_TRY(Sha256::create()));
    BP_TRY(s.file->write_at(target.file_offset + offset, bytes));
    BP_TRY(target.hash->update(bytes));
    target.written += bytes.size();
    s.weight_bytes_written.fetch_add(bytes.size(), std::memory_order_relaxed);
    if (target.written == target.bytes) {
      target.digest = BP_TRY(target.hash->finish());
      target.hash.reset();
    }
    return {};
  });
}

uint64_t ModelWriter::weight_bytes_written() const noexcept {
  return state_->weight_bytes_written.load(std::memory_order_relaxed);
}
uint64_t ModelWriter::weight_bytes_total() const noexcept {
  return state_->weight_bytes;
}

Status ModelWriter::State::write_plan(AtomicFile& out) {
  flatbuffers::FlatBufferBuilder builder;
  BP_TRY(pack(builder));
  const auto plan = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  const uint64_t plan_end = kModelHeaderBytes + plan.size();
  const bool has_weights = !model.segments.empty();
  if (has_weights && plan_end > weights_begin) {
    return error(Code::kFailedPrecondition,
                 "the model grew by more than {} bytes after begin_weights(); set large fields "
                 "before it",
                 kPlanSlackBytes);
  }
  ModelHeader header;
  header.plan_bytes = plan.size();
  header.file_bytes = has_weights ? file_bytes() : plan_end;
  header.plan_digest = BP_TRY(Sha256::of(plan));
  BP_TRY(verify_model(plan, header.file_bytes).with_context("the model to be written"));
  BP_TRY(out.write_at(0, encode_header(header)));
  BP_TRY(out.write_at(kModelHeaderBytes, plan));
  if (has_weights) {
    // Padding is never written: the file system fills holes with zeros. The last byte alone may
    // have to be, to give the file its size.
    const TensorState& last = tensors.back();
    if (last.planes.back().file_offset + last.planes.back().bytes < header.file_bytes) {
      const std::byte zero{0};
      BP_TRY(out.write_at(header.file_bytes - 1, std::span(&zero, 1)));
    }
  }
  return {};
}

Status ModelWriter::finish() {
  return guarded([&]() -> Status {
    State& s = *state_;
    if (!s.weights_begun || s.file == nullptr) {
      return error(Code::kFailedPrecondition, "finish() needs begin_weights() and comes once");
    }
    // Taken out of the state: whatever happens, the temporary file is committed or removed here.
    const std::unique_ptr<AtomicFile> file = std::move(s.file);
    if (s.model.tensors.size() != s.tensors.size()) {
      return error(Code::kFailedPrecondition, "the writer's tensors were changed through model()");
    }
    for (size_t t = 0; t < s.tensors.size(); ++t) {
      for (const State::PlaneState& plane : s.tensors[t].planes) {
        if (plane.written == plane.bytes) continue;
        return error(Code::kFailedPrecondition,
                     "tensor '{}' is incomplete: {} of {} bytes of a plane",
                     s.model.tensors[t]->name, plane.written, plane.bytes);
      }
    }
    BP_TRY(s.seal_digests());
    BP_TRY(s.write_plan(*file));
    return file->commit();
  });
}

}  // namespace bp
