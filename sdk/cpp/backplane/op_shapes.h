// SPDX-License-Identifier: Apache-2.0
// The ops of docs/ops.md as checked shapes: one struct an op, filled from a parsed record by
// read(), which refuses, with a reason that names the slot, everything that the op's definition
// does not allow. A provider then asks itself only what of that it can run.
//
// Letters are those of docs/ops.md. Header-only; plain values, any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "backplane/op.h"

namespace bp::ops {

inline constexpr int64_t kMaxExpertsUsed = 64;  // of one token
inline constexpr int64_t kMaxHeads = 1 << 16;
inline constexpr int64_t kMaxHeadDim = 1024;
inline constexpr int64_t kMaxPageSize = 1 << 20;

enum class Activation : uint8_t { kNone, kSilu, kGelu, kGeluTanh };

inline bool parse_activation(std::string_view name, Activation* out) noexcept {
  if (name == "none") return *out = Activation::kNone, true;
  if (name == "silu") return *out = Activation::kSilu, true;
  if (name == "gelu") return *out = Activation::kGelu, true;
  if (name == "gelu_tanh") return *out = Activation::kGeluTanh, true;
  return false;
}

namespace internal {

inline bool read_activation(const Op& op, bool needed, Activation* out, Reason& reason) {
  std::string_view name = "none";
  if (!op.string_attribute("activation", needed, &name, reason)) return false;
  if (!parse_activation(name, out)) return reason.no("unknown activation");
  if (needed && *out == Activation::kNone) return reason.no("a gate needs an activation");
  return true;
}

// Gate and up weights, [(E,)? F, K] each, or merged [(E,)? 2F, K].
inline bool read_glu_weights(const Operand& gate, const Operand& up, uint32_t rank, uint64_t rows,
                             uint64_t columns, Reason& reason) {
  if (!check_weight(gate, rank, "weight", reason) ||
      !check_extent(gate, rank - 1, columns, "weight", reason)) {
    return false;
  }
  if (!up.present()) {
    if (rows > UINT64_MAX / 2) return reason.no("impossible output shape");
    return check_extent(gate, rank - 2, 2 * rows, "weight", reason);
  }
  return check_extent(gate, rank - 2, rows, "weight", reason) &&
         check_weight(up, rank, "up", reason) &&
         check_extent(up, rank - 1, columns, "up", reason) &&
         check_extent(up, rank - 2, rows, "up", reason) &&
         (rank < 3 || check_extent(up, 0, gate.dims[0].offset, "up", reason));
}

inline bool check_residual(const Operand& residual, const Operand& y, Reason& reason) {
  return !residual.present() || (check_value(residual, Format::kF32, 2, "residual", reason) &&
                                 check_same(residual, 0, y, 0, "residual", reason) &&
                                 check_same(residual, 1, y, 1, "residual", reason));
}

inline bool read_experts_used(const Operand& ids, uint64_t* out, Reason& reason) {
  if (ids.constant_dim(1, out) && *out != 0 && *out <= static_cast<uint64_t>(kMaxExpertsUsed)) {
    return true;
  }
  return reason.no("1 to %" PRId64 " experts a token are supported", kMaxExpertsUsed);
}

inline bool check_cache(const Operand& cache, uint64_t kv_heads, uint64_t page_size,
                        uint64_t head_dim, const char* slot, Reason& reason) {
  if (cache.role != BP_ROLE_STATE) return reason.no("%s is no state", slot);
  if (cache.format != Format::kF32 && cache.format != Format::kF16 &&
      cache.format != Format::kBf16 && cache.format != Format::kQ8) {
    return reason.no("%s: caches are f32, f16, bf16 or q8", slot);
  }
  if (cache.format == Format::kQ8 && head_dim % kCacheBlock != 0) {
    return reason.no("%s: q8 takes heads of a multiple of %u elements, not %" PRIu64, slot,
                     kCacheBlock, head_dim);
  }
  if (cache.rank != 4) return reason.no("%s has rank %u, expected is 4", slot, cache.rank);
  return check_extent(cache, 1, kv_heads, slot, reason) &&
         check_extent(cache, 2, page_size, slot, reason) &&
         check_extent(cache, 3, head_dim, slot, reason);
}

}  // namespace internal

struct LinearShape {
  uint64_t rows = 0, columns = 0;  // N, K
  Format format = Format::kF32;
  bool has_bias = false, has_residual = false;
  Activation activation = Activation::kNone;
  float softcap = 0;
  bp_dim tokens{};  // T

  bool read(const Op& op, Reason& reason) {
    const Operand &x = op.input(0), &weight = op.input(1), &y = op.output(0);
    if (!check_counts(op, 2, 4, 1, reason) ||
        !check_attributes(op, {"activation", "softcap"}, reason) ||
        !check_value(x, Format::kF32, 2, "x", reason) ||
        !check_weight(weight, 2, "weight", reason) ||
        !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason)) {
      return false;
    }
    weight.constant_dim(0, &rows);
    weight.constant_dim(1, &columns);
    double cap = 0;
    has_bias = op.input(2).present();
    has_residual = op.input(3).present();
    if (!check_extent(x, 1, columns, "x", reason) || !check_extent(y, 1, rows, "y", reason) ||
        (has_bias && !check_vector(op.input(2), rows, "bias", reason)) ||
        !internal::check_residual(op.input(3), y, reason) ||
        !internal::read_activation(op, false, &activation, reason) ||
        !op.float_attribute("softcap", false, &cap, reason)) {
      return false;
    }
    softcap = static_cast<float>(cap);
    format = weight.format;
    tokens = x.dims[0];
    return true;
  }
};

struct LinearGluShape {
  uint64_t rows = 0, columns = 0;  // F, K
  Format gate_format = Format::kF32, up_format = Format::kF32;
  bool is_merged = false, has_bias = false;
  Activation activation = Activation::kSilu;
  bp_dim tokens{};

  bool read(const Op& op, Reason& reason) {
    const Operand &x = op.input(0), &y = op.output(0);
    if (!check_counts(op, 2, 4, 1, reason) || !check_attributes(op, {"activation"}, reason) ||
        !check_value(x, Format::kF32, 2, "x", reason) ||
        !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason)) {
      return false;
    }
    if (!x.constant_dim(1, &columns)) return reason.no("x has no constant width");
    if (!y.constant_dim(1, &rows)) return reason.no("y has no constant width");
    is_merged = !op.input(3).present();
    if (!internal::read_glu_weights(op.input(1), op.input(3), 2, rows, columns, reason)) {
      return false;
    }
    has_bias = op.input(2).present();
    if (has_bias && !check_vector(op.input(2), 2 * rows, "bias", reason)) return false;
    gate_format = op.input(1).format;
    up_format = is_merged ? gate_format : op.input(3).format;
    tokens = x.dims[0];
    return internal::read_activation(op, true, &activation, reason);
  }
};

struct MoeLinearGluShape {
  uint64_t experts = 0, experts_used = 0;  // E, k
  uint64_t rows = 0, columns = 0;          // F, K
  Format gate_format = Format::kF32, up_format = Format::kF32;
  bool is_merged = false;
  Activation activation = Activation::kSilu;
  bp_dim tokens{};

  bool read(const Op& op, Reason& reason) {
    const Operand &x = op.input(0), &weight = op.input(1), &ids = op.input(2), &y = op.output(0);
    if (!check_counts(op, 3, 4, 1, reason) || !check_attributes(op, {"activation"}, reason) ||
        !check_value(x, Format::kF32, 2, "x", reason) ||
        !check_value(ids, Format::kI32, 2, "ids", reason) ||
        !check_value(y, Format::kF32, 3, "y", reason) || !check_same(x, 0, y, 0, "y", reason) ||
        !check_same(ids, 0, y, 0, "ids", reason) || !check_same(ids, 1, y, 1, "ids", reason) ||
        !check_weight(weight, 3, "weight", reason)) {
      return false;
    }
    weight.constant_dim(0, &experts);
    if (!x.constant_dim(1, &columns)) return reason.no("x has no constant width");
    if (!y.constant_dim(2, &rows)) return reason.no("y has no constant width");
    is_merged = !op.input(3).present();
    if (!internal::read_experts_used(ids, &experts_used, reason) ||
        !internal::read_glu_weights(weight, op.input(3), 3, rows, columns, reason)) {
      return false;
    }
    gate_format = weight.format;
    up_format = is_merged ? gate_format : op.input(3).format;
    tokens = x.dims[0];
    return internal::read_activation(op, true, &activation, reason);
  }
};

struct MoeLinearShape {
  uint64_t experts = 0, experts_used = 0;  // E, k
  uint64_t rows = 0, columns = 0;          // N, F
  Format format = Format::kF32;
  bool has_residual = false;
  bp_dim tokens{};

  bool read(const Op& op, Reason& reason) {
    const Operand &x = op.input(0), &weight = op.input(1), &ids = op.input(2);
    const Operand &shares = op.input(3), &residual = op.input(4), &y = op.output(0);
    if (!check_counts(op, 4, 5, 1, reason) || !check_attributes(op, {}, reason) ||
        !check_value(x, Format::kF32, 3, "x", reason) ||
        !check_weight(weight, 3, "weight", reason) ||
        !check_value(ids, Format::kI32, 2, "ids", reason) ||
        !check_value(shares, Format::kF32, 2, "weights", reason) ||
        !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason) ||
        !check_same(ids, 0, y, 0, "ids", reason) || !check_same(x, 1, ids, 1, "ids", reason) ||
        !check_same(shares, 0, y, 0, "weights", reason) ||
        !check_same(shares, 1, ids, 1, "weights", reason)) {
      return false;
    }
    weight.constant_dim(0, &experts);
    weight.constant_dim(1, &rows);
    weight.constant_dim(2, &columns);
    if (!check_extent(x, 2, columns, "x", reason) || !check_extent(y, 1, rows, "y", reason) ||
        !internal::read_experts_used(ids, &experts_used, reason) ||
        !internal::check_residual(residual, y, reason)) {
      return false;
    }
    has_residual = residual.present();
    format = weight.format;
    tokens = x.dims[0];
    return true;
  }
};

struct EmbedShape {
  uint64_t vocabulary = 0, columns = 0;  // V, n
  Format format = Format::kF32;
  float scale = 1;
  bp_dim tokens{};

  bool read(const Op& op, Reason& reason) {
    const Operand &ids = op.input(0), &table = op.input(1), &y = op.output(0);
    if (!check_counts(op, 2, 2, 1, reason) || !check_attributes(op, {"scale"}, reason) ||
        !check_value(ids, Format::kI32, 1, "token_ids", reason) ||
        !check_weight(table, 2, "table", reason) || !check_value(y, Format::kF32, 2, "y", reason) ||
        !check_same(ids, 0, y, 0, "y", reason)) {
      return false;
    }
    table.constant_dim(0, &vocabulary);
    table.constant_dim(1, &columns);
    double factor = 1;
    if (!check_extent(y, 1, columns, "y", reason) ||
        !op.float_attribute("scale", false, &factor, reason)) {
      return false;
    }
    scale = static_cast<float>(factor);
    format = table.format;
    tokens = ids.dims[0];
    return true;
  }
};

struct RmsNormShape {
  uint64_t columns = 0;  // n
  bool has_residual = false;
  double eps = 0;
  bp_dim tokens{};

  bool read(const Op& op, Reason& reason) {
    const Operand &x = op.input(0), &residual = op.input(2), &y = op.output(0);
    if (!check_counts(op, 2, 3, 1, reason) || !check_attributes(op, {"eps"}, reason) ||
        !check_value(x, Format::kF32, 2, "x", reason) ||
        !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason) ||
        !check_same(x, 1, y, 1, "y", reason)) {
      return false;
    }
    if (!x.constant_dim(1, &columns)) return reason.no("x has no constant width");
    if (!check_vector(op.input(1), columns, "gain", reason) ||
        !internal::check_residual(residual, y, reason)) {
      return false;
    }
    has_residual = residual.present();
    tokens = x.dims[0];
    return op.float_attribute("eps", true, &eps, reason);
  }
};

struct LayerNormShape {
  uint64_t columns = 0;  // n
  bool has_bias = false, has_residual = false;
  double eps = 0;
  bp_dim tokens{};

  bool read(const Op& op, Reason& reason) {
    const Operand &x = op.input(0), &bias = op.input(2), &residual = op.input(3), &y = op.output(0);
    if (!check_counts(op, 2, 4, 1, reason) || !check_attributes(op, {"eps"}, reason) ||
        !check_value(x, Format::kF32, 2, "x", reason) ||
        !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason) ||
        !check_same(x, 1, y, 1, "y", reason)) {
      return false;
    }
    if (!x.constant_dim(1, &columns)) return reason.no("x has no constant width");
    if (!check_vector(op.input(1), columns, "gain", reason) ||
        (bias.present() && !check_vector(bias, columns, "bias", reason)) ||
        !internal::check_residual(residual, y, reason)) {
      return false;
    }
    has_bias = bias.present();
    has_residual = residual.present();
    tokens = x.dims[0];
    return op.float_attribute("eps", true, &eps, reason);
  }
};

struct GatherRowsShape {
  uint64_t columns = 0;  // n
  bp_dim tokens{}, outputs{};

  bool read(const Op& op, Reason& reason) {
    const Operand &x = op.input(0), &rows = op.input(1), &y = op.output(0);
    if (!check_counts(op, 2, 2, 1, reason) || !check_attributes(op, {}, reason) ||
        !check_value(x, Format::kF32, 2, "x", reason) ||
        !check_value(rows, Format::kI32, 1, "rows", reason) ||
        !check_value(y, Format::kF32, 2, "y", reason) || !check_same(rows, 0, y, 0, "y", reason) ||
        !check_same(x, 1, y, 1, "y", reason)) {
      return false;
    }
    tokens = x.dims[0];
    outputs = rows.dims[0];
    return x.constant_dim(1, &columns) || reason.no("x has no constant width");
  }
};

struct RowSumsShape {
  uint64_t columns = 0;  // n
  bp_dim rows{};

  bool read(const Op& op, Reason& reason) {
    const Operand &x = op.input(0), &y = op.output(0);
    if (!check_counts(op, 1, 1, 1, reason) || !check_attributes(op, {}, reason) ||
        !check_value(x, Format::kF32, 2, "x", reason) ||
        !check_value(y, Format::kF32, 1, "y", reason) || !check_same(x, 0, y, 0, "y", reason)) {
      return false;
    }
    rows = x.dims[0];
    return x.constant_dim(1, &columns) || reason.no("x has no constant width");
  }
};

struct MoeRouteShape {
  uint64_t experts = 0, experts_used = 0;  // E, k
  bool normalize = false;
  bp_dim tokens{};

  bool read(const Op& op, Reason& reason) {
    const Operand &logits = op.input(0), &ids = op.output(0), &shares = op.output(1);
    if (!check_counts(op, 1, 1, 2, reason) ||
        !check_attributes(op, {"experts_used", "normalize"}, reason) ||
        !check_value(logits, Format::kF32, 2, "logits", reason) ||
        !check_value(ids, Format::kI32, 2, "ids", reason) ||
        !check_value(shares, Format::kF32, 2, "weights", reason) ||
        !check_same(logits, 0, ids, 0, "ids", reason) ||
        !check_same(logits, 0, shares, 0, "weights", reason)) {
      return false;
    }
    if (!logits.constant_dim(1, &experts) || experts > INT32_MAX) {
      return reason.no("logits have no constant width");
    }
    int64_t used = 0, normalized = 0;
    if (!op.int_attribute("experts_used", true, 1, kMaxExpertsUsed, &used, reason) ||
        !op.int_attribute("normalize", true, 0, 1, &normalized, reason)) {
      return false;
    }
    experts_used = static_cast<uint64_t>(used);
    normalize = normalized != 0;
    tokens = logits.dims[0];
    if (experts_used > experts) return reason.no("more experts used than there are");
    return check_extent(ids, 1, experts_used, "ids", reason) &&
           check_extent(shares, 1, experts_used, "weights", reason);
  }
};

// What rope_kv_write and attention both say of heads and caches.
struct HeadShape {
  uint64_t heads = 0, kv_heads = 0, head_dim = 0;  // H, G, D
  uint64_t page_size = 0;
  Format cache_format = Format::kF32;
  bp_dim pages{}, blocks{};  // P, B

  bool read(const Op& op, Reason& reason) {
    int64_t h = 0, g = 0, d = 0, p = 0;
    if (!op.int_attribute("heads", true, 1, kMaxHeads, &h, reason) ||
        !op.int_attribute("kv_heads", true, 1, kMaxHeads, &g, reason) ||
        !op.int_attribute("head_dim", true, 1, kMaxHeadDim, &d, reason) ||
        !op.int_attribute("page_size", true, 1, kMaxPageSize, &p, reason)) {
      return false;
    }
    if (h % g != 0) {
      return reason.no("%" PRId64 " heads are no multiple of %" PRId64 " kv heads", h, g);
    }
    heads = static_cast<uint64_t>(h);
    kv_heads = static_cast<uint64_t>(g);
    head_dim = static_cast<uint64_t>(d);
    page_size = static_cast<uint64_t>(p);
    return true;
  }

  bool read_caches(const Operand& k, const Operand& v, const Operand& page_table, Reason& reason) {
    if (!internal::check_cache(k, kv_heads, page_size, head_dim, "k cache", reason) ||
        !internal::check_cache(v, kv_heads, page_size, head_dim, "v cache", reason) ||
        !check_same(k, 0, v, 0, "v cache", reason) ||
        !check_value(page_table, Format::kI32, 2, "page_table", reason)) {
      return false;
    }
    cache_format = k.format;
    pages = k.dims[0];
    blocks = page_table.dims[1];
    return v.format == cache_format || reason.no("the caches differ in format");
  }
};

struct RopeKvWriteShape : HeadShape {
  uint64_t rotary_dim = 0;  // R
  bool is_merged = false, has_rope = false, has_q_norm = false, has_k_norm = false;
  bool is_interleaved = false;
  double norm_eps = 0;
  bp_dim tokens{};

  bool read(const Op& op, Reason& reason) {
    if (!check_counts(op, 11, 11, 1, reason) ||
        !check_attributes(
            op,
            {"heads", "kv_heads", "head_dim", "rotary_dim", "interleaved", "page_size", "norm_eps"},
            reason) ||
        !HeadShape::read(op, reason)) {
      return false;
    }
    is_merged = !op.input(1).present() && !op.input(2).present();
    has_rope = op.input(3).present();
    has_q_norm = op.input(4).present();
    has_k_norm = op.input(5).present();
    return read_vectors(op, reason) && read_rotation(op, reason) && read_places(op, reason);
  }

 private:
  bool read_vectors(const Op& op, Reason& reason) {
    const Operand &q = op.input(0), &y = op.output(0);
    const uint64_t q_width = heads * head_dim, kv_width = kv_heads * head_dim;
    if (!check_value(q, Format::kF32, 2, "q", reason) ||
        !check_extent(q, 1, is_merged ? q_width + 2 * kv_width : q_width, "q", reason) ||
        !check_value(y, Format::kF32, 2, "y", reason) ||
        !check_extent(y, 1, q_width, "y", reason) || !check_same(q, 0, y, 0, "y", reason)) {
      return false;
    }
    for (uint32_t slot = 1; slot <= 2 && !is_merged; ++slot) {
      const char* const name = slot == 1 ? "k" : "v";
      if (!check_value(op.input(slot), Format::kF32, 2, name, reason) ||
          !check_extent(op.input(slot), 1, kv_width, name, reason) ||
          !check_same(op.input(slot), 0, y, 0, name, reason)) {
        return false;
      }
    }
    tokens = q.dims[0];
    return true;
  }

  bool read_rotation(const Op& op, Reason& reason) {
    const Operand &rope = op.input(3), &y = op.output(0);
    int64_t rotated = 0, interleaved = 0;
    if (!op.int_attribute("rotary_dim", true, 0, static_cast<int64_t>(head_dim), &rotated,
                          reason) ||
        !op.int_attribute("interleaved", false, 0, 1, &interleaved, reason) ||
        !op.float_attribute("norm_eps", false, &norm_eps, reason)) {
      return false;
    }
    if (rotated % 2 != 0) return reason.no("rotary_dim %" PRId64 " is odd", rotated);
    rotary_dim = static_cast<uint64_t>(rotated);
    is_interleaved = interleaved != 0;
    return !has_rope || (check_value(rope, Format::kF32, 2, "rope", reason) &&
                         check_extent(rope, 1, rotary_dim, "rope", reason) &&
                         check_same(rope, 0, y, 0, "rope", reason));
  }

  bool read_places(const Op& op, Reason& reason) {
    const Operand& y = op.output(0);
    return (!has_q_norm || check_vector(op.input(4), head_dim, "q_norm", reason)) &&
           (!has_k_norm || check_vector(op.input(5), head_dim, "k_norm", reason)) &&
           check_value(op.input(6), Format::kI32, 1, "positions", reason) &&
           check_same(op.input(6), 0, y, 0, "positions", reason) &&
           check_value(op.input(7), Format::kI32, 1, "sequence_of", reason) &&
           check_same(op.input(7), 0, y, 0, "sequence_of", reason) &&
           read_caches(op.input(9), op.input(10), op.input(8), reason);
  }
};

struct AttentionShape : HeadShape {
  uint64_t window = 0;  // 0: everything
  float scale = 1, softcap = 0;
  bp_dim tokens{}, sequences{};

  bool read(const Op& op, Reason& reason) {
    if (!check_counts(op, 6, 6, 1, reason) ||
        !check_attributes(
            op, {"heads", "kv_heads", "head_dim", "window", "page_size", "scale", "softcap"},
            reason) ||
        !HeadShape::read(op, reason)) {
      return false;
    }
    const Operand &q = op.input(0), &y = op.output(0);
    const uint64_t width = heads * head_dim;
    if (!check_value(q, Format::kF32, 2, "q", reason) || !check_extent(q, 1, width, "q", reason) ||
        !check_value(y, Format::kF32, 2, "y", reason) || !check_extent(y, 1, width, "y", reason) ||
        !check_same(q, 0, y, 0, "y", reason) ||
        !check_value(op.input(3), Format::kI32, 1, "query_start", reason) ||
        !check_value(op.input(4), Format::kI32, 1, "context_length", reason) ||
        !read_caches(op.input(1), op.input(2), op.input(5), reason) ||
        !check_same(op.input(4), 0, op.input(5), 0, "page_table", reason)) {
      return false;
    }
    int64_t keys = 0;
    double factor = 1, cap = 0;
    if (!op.int_attribute("window", false, INT32_MIN, INT32_MAX, &keys, reason) ||
        !op.float_attribute("scale", true, &factor, reason) ||
        !op.float_attribute("softcap", false, &cap, reason)) {
      return false;
    }
    window = keys > 0 ? static_cast<uint64_t>(keys) : 0;
    scale = static_cast<float>(factor);
    softcap = cap > 0 ? static_cast<float>(cap) : 0;
    tokens = q.dims[0];
    sequences = op.input(4).dims[0];
    return true;
  }
};

}  // namespace bp::ops
