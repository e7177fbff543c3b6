// SPDX-License-Identifier: Apache-2.0
// Segments and tensors: every byte of the file after the FlatBuffer belongs to exactly one plane,
// or is padding of a known place and length.
#include <algorithm>
#include <numeric>

#include "core/base/checked.h"
#include "core/platform/digest.h"
#include "model_format/layout.h"
#include "model_format/verify_parts.h"

namespace bp::verify {
namespace {

Status check_segments(const fb::Model& model, uint64_t plan_bytes, uint64_t file_bytes) {
  const uint64_t count = length(model.segments());
  const uint64_t plan_end = kModelHeaderBytes + plan_bytes;  // both far below 2^63
  if (count > limits::kMaxSegments) {
    return error(Code::kCorrupt, "{} segments; at most {} are possible", count,
                 limits::kMaxSegments);
  }
  uint64_t cursor = plan_end;
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Segment& segment = *model.segments()->Get(i);
    const uint64_t offset = segment.offset();
    const uint64_t bytes = segment.bytes();
    if (offset % kSegmentAlignment != 0 || bytes % kSegmentAlignment != 0 || bytes == 0) {
      return error(Code::kCorrupt,
                   "segment {} (offset {}, {} bytes) is empty or not in units of {}", i, offset,
                   bytes, kSegmentAlignment);
    }
    // The room before the first one was reserved before the FlatBuffer's final size was known.
    const bool adjoins =
        i == 0 ? offset >= cursor && offset - cursor <= limits::kMaxPlanBytes : offset == cursor;
    if (!adjoins) {
      return error(Code::kCorrupt, "segment {} begins at byte {}, expected {}", i, offset, cursor);
    }
    if (!range_fits(offset, bytes, file_bytes)) {
      return error(Code::kCorrupt, "segment {} ({} bytes at {}) reaches past the file's {} bytes",
                   i, bytes, offset, file_bytes);
    }
    if (length(segment.sha256()) != kSha256Bytes) {
      return error(Code::kCorrupt, "segment {} has a digest of {} bytes", i,
                   length(segment.sha256()));
    }
    cursor = offset + bytes;
  }
  if (cursor != file_bytes) {
    return error(Code::kCorrupt, "the file has {} bytes, its contents end at {}", file_bytes,
                 cursor);
  }
  return {};
}

// Walks the planes in order and knows where the next one has to be.
class PlaneCursor {
 public:
  explicit PlaneCursor(const fb::Model& model) : model_(model) {}

  Status place(const fb::Plane& plane, bool first_of_tensor) {
    if (plane.segment() >= length(model_.segments())) {
      return error(Code::kCorrupt, "segment {} does not exist", plane.segment());
    }
    if (first_of_tensor && (fresh_ || plane.segment() != segment_)) {
      if (!fresh_) BP_TRY(close());
      const uint32_t expected = fresh_ ? 0 : segment_ + 1;
      if (plane.segment() != expected) {
        return error(Code::kCorrupt, "lies in segment {}, expected {}", plane.segment(), expected);
      }
      segment_ = expected;
      end_ = 0;
      fresh_ = false;
    }
    uint64_t expected_offset;
    if (plane.segment() != segment_ || !try_align_up(end_, kPlaneAlignment, &expected_offset) ||
        plane.offset() != expected_offset) {
      return error(Code::kCorrupt,
                   "lies at {} of segment {}, which is not where the one before it "
                   "ends",
                   plane.offset(), plane.segment());
    }
    if (!range_fits(plane.offset(), plane.bytes(), model_.segments()->Get(segment_)->bytes())) {
      return error(Code::kCorrupt, "reaches past the end of segment {}", segment_);
    }
    end_ = plane.offset() + plane.bytes();
    return {};
  }

  // The current segment must end where its last plane does, rounded up.
  Status close() const {
    const uint64_t bytes = model_.segments()->Get(segment_)->bytes();
    uint64_t rounded;
    if (!try_align_up(end_, kSegmentAlignment, &rounded) || rounded != bytes) {
      return error(Code::kCorrupt, "segment {} has {} bytes, its tensors end at {}", segment_,
                   bytes, end_);
    }
    return {};
  }

  Status finish() const {
    const uint64_t segments = length(model_.segments());
    if (fresh_) {
      if (segments != 0) return error(Code::kCorrupt, "{} segments without tensors", segments);
      return {};
    }
    BP_TRY(close());
    if (segment_ + 1 != segments) {
      return error(Code::kCorrupt, "segment {} holds no tensor", segment_ + 1);
    }
    return {};
  }

 private:
  const fb::Model& model_;
  uint32_t segment_ = 0;
  uint64_t end_ = 0;
  bool fresh_ = true;
};

Status check_tensor(const fb::Tensor& tensor, PlaneCursor& cursor) {
  const std::string_view format_name = view(tensor.format());
  if (!is_utf8(format_name) || format_name.size() > limits::kMaxNameBytes || format_name.empty()) {
    return error(Code::kCorrupt, "has no format");
  }
  const WeightFormat* format = find_weight_format(format_name);
  if (format == nullptr) {
    return error(Code::kIncompatible,
                 "has format '{}', which this program does not know; use a "
                 "newer one",
                 format_name);
  }
  if (tensor.shape() == nullptr || !aligned_for_u64(tensor.shape())) {
    return error(Code::kCorrupt, "has no shape, or a misaligned one");
  }
  if (length(tensor.planes()) != format->plane_count) {
    return error(Code::kCorrupt, "has {} planes; format {} has {}", length(tensor.planes()),
                 format->name, format->plane_count);
  }
  if (length(tensor.sha256()) != kSha256Bytes) {
    return error(Code::kCorrupt, "has a digest of {} bytes", length(tensor.sha256()));
  }
  const std::span<const uint64_t> shape(tensor.shape()->data(), tensor.shape()->size());
  for (uint32_t p = 0; p < format->plane_count; ++p) {
    const fb::Plane& plane = *tensor.planes()->Get(p);
    if (view(plane.layout()) != format->planes[p].name) {
      return error(Code::kCorrupt, "plane {} is not '{}'", p, format->planes[p].name);
    }
    const uint64_t bytes = BP_TRY(plane_size_bytes(*format, p, shape));
    if (plane.bytes() != bytes) {
      return error(Code::kCorrupt, "plane {} has {} bytes; its shape needs {}", p, plane.bytes(),
                   bytes);
    }
    BP_TRY(cursor.place(plane, p == 0).with_context("plane {}", p));
  }
  return {};
}

Status check_unique_names(const fb::Model& model, NameIndex& names) {
  std::sort(names.entries.begin(), names.entries.end(), [&](const auto& a, const auto& b) {
    if (a.hash != b.hash) return a.hash < b.hash;
    return view(model.tensors()->Get(a.index)->name()) <
           view(model.tensors()->Get(b.index)->name());
  });
  for (size_t i = 1; i < names.entries.size(); ++i) {
    const auto& a = names.entries[i - 1];
    const auto& b = names.entries[i];
    const std::string_view name = view(model.tensors()->Get(b.index)->name());
    if (a.hash == b.hash && view(model.tensors()->Get(a.index)->name()) == name) {
      return error(Code::kCorrupt, "tensors {} and {} have the same name '{}'", a.index, b.index,
                   name);
    }
  }
  return {};
}

// A segment's digest is made of its tensors' digests, so it can be checked without the weights.
Status check_segment_digests(const fb::Model& model) {
  if (length(model.segments()) == 0) return {};
  Sha256 hash = BP_TRY(Sha256::create());
  uint32_t tensor = 0;
  for (uint32_t s = 0; s < model.segments()->size(); ++s) {
    while (tensor < model.tensors()->size()) {
      const fb::Tensor& next = *model.tensors()->Get(tensor);
      if (next.planes()->Get(0)->segment() != s) break;
      BP_TRY(hash.update(std::as_bytes(std::span(next.sha256()->data(), kSha256Bytes))));
      ++tensor;
    }
    const Sha256Digest digest = BP_TRY(hash.finish());
    if (!std::equal(digest.begin(), digest.end(), model.segments()->Get(s)->sha256()->begin())) {
      return error(Code::kCorrupt, "the digest of segment {} is not that of its tensors' digests",
                   s);
    }
  }
  return {};
}

}  // namespace

Status check_weights(const fb::Model& model, uint64_t plan_bytes, uint64_t file_bytes,
                     NameIndex* tensor_names) {
  BP_TRY(check_segments(model, plan_bytes, file_bytes));
  const uint64_t count = length(model.tensors());
  if (count > limits::kMaxTensors) {
    return error(Code::kCorrupt, "{} tensors; at most {} are possible", count, limits::kMaxTensors);
  }
  NameIndex names;
  names.entries.reserve(count);
  PlaneCursor cursor(model);
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Tensor& tensor = *model.tensors()->Get(i);
    BP_TRY(check_name(tensor.name(), "tensor", i));
    BP_TRY(check_tensor(tensor, cursor).with_context("tensor '{}'", view(tensor.name())));
    names.entries.push_back({name_hash(view(tensor.name())), i});
  }
  BP_TRY(cursor.finish());
  BP_TRY(check_unique_names(model, names));
  BP_TRY(check_segment_digests(model));
  if (tensor_names != nullptr) *tensor_names = std::move(names);
  return {};
}

}  // namespace bp::verify
