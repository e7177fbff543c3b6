// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/plan_memory.h"

#include <algorithm>
#include <numeric>

#include "backplane/formats.h"
#include "core/base/checked.h"

namespace bp::compiler {
namespace {

constexpr size_t kConstantRegion = kSymbolCount;  // values without any symbol

// Values that share one place because each takes over the one before.
struct Buffer {
  size_t region = kConstantRegion;
  uint64_t unit_bytes = 0;  // per unit of the region's symbol, rounded up
  int32_t first = 0;        // index of the node that makes it
  int32_t last = 0;         // index of the last node that reads it
  uint64_t offset = 0;      // per unit
};

class Planner {
 public:
  explicit Planner(const Graph& graph) : graph_(graph) {}

  Result<MemoryPlan> run() {
    buffer_of_.assign(graph_.values.size(), -1);
    last_use_.assign(graph_.values.size(), -1);
    find_last_uses();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for (const ValueId v : graph_.nodes[i].outputs) {
        BP_TRY(place_output(static_cast<int32_t>(i), v));
      }
    }
    pack();
    return assemble();
  }

 private:
  void find_last_uses() {
    const int32_t end = static_cast<int32_t>(graph_.nodes.size());
    for (int32_t i = 0; i < end; ++i) {
      for (const ValueId v : graph_.nodes[static_cast<size_t>(i)].inputs) {
        if (v != kAbsent) last_use_[static_cast<size_t>(v)] = i;
      }
    }
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      if (graph_.values[v].role == Role::kOutput) last_use_[v] = end;
    }
  }

  // Bytes of a value: unit × symbol + constant, for the one symbol it has.
  Result<LinearBytes> bytes_of(const Value& value, size_t* region) const {
    LinearBytes out;
    uint64_t unit = element_bytes(value.format);
    uint64_t extra = 0;  // the symbolic dimension's offset
    *region = kConstantRegion;
    for (const Dim& dim : value.shape) {
      if (dim.symbol == Symbol::kConstant) {
        unit = BP_TRY(checked_mul(unit, dim.offset));
        continue;
      }
      if (*region != kConstantRegion || dim.scale != 1) {
        return error(Code::kInternal, "value '{}' has more than one symbol", value.name);
      }
      *region = static_cast<size_t>(dim.symbol);
      extra = dim.offset;
    }
    if (unit == 0) return error(Code::kInternal, "value '{}' has no size", value.name);
    if (*region == kConstantRegion) {
      out.offset = unit;
    } else {
      out.scale[*region] = unit;
      out.offset = BP_TRY(checked_mul(unit, extra));
      // No op of today makes a result of symbol + constant rows, and packing by units needs none.
      if (extra != 0) return error(Code::kInternal, "value '{}' has an offset", value.name);
    }
    return out;
  }

  Status place_output(int32_t at, ValueId id) {
    const size_t v = static_cast<size_t>(id);
    size_t region;
    const LinearBytes bytes = BP_TRY(bytes_of(graph_.values[v], &region));
    const uint64_t unit = region == kConstantRegion ? bytes.offset : bytes.scale[region];
    uint64_t rounded;
    if (!try_align_up(unit, kArenaAlignment, &rounded)) {
      return error(Code::kCorrupt, "value '{}' is too large", graph_.values[v].name);
    }
    const int32_t heir = residual_buffer(at, id, region, rounded);
    if (heir >= 0) {
      buffer_of_[v] = heir;
      Buffer& buffer = buffers_[static_cast<size_t>(heir)];
      buffer.last = std::max(buffer.last, last_use_[v]);
      return {};
    }
    buffer_of_[v] = static_cast<int32_t>(buffers_.size());
    buffers_.push_back({region, rounded, at, std::max(at, last_use_[v]), 0});
    return {};
  }

  // The buffer of the node's residual operand if `output` may take it over, else -1.
  int32_t residual_buffer(int32_t at, ValueId output, size_t region, uint64_t unit) const {
    const Node& node = graph_.nodes[static_cast<size_t>(at)];
    size_t slot = 0;
    if (node.op == "linear" || node.op == "layer_norm") {
      slot = 3;
    } else if (node.op == "rms_norm") {
      slot = 2;
    } else if (node.op == "moe_linear") {
      slot = 4;
    } else {
      return -1;
    }
    if (slot >= node.inputs.size() || node.outputs[0] != output) return -1;
    const ValueId residual = node.inputs[slot];
    if (residual == kAbsent || last_use_[static_cast<size_t>(residual)] != at) return -1;
    if (std::count(node.inputs.begin(), node.inputs.end(), residual) != 1) return -1;
    const int32_t buffer = buffer_of_[static_cast<size_t>(residual)];
    if (buffer < 0) return -1;
    const Buffer& b = buffers_[static_cast<size_t>(buffer)];
    return b.region == region && b.unit_bytes == unit ? buffer : -1;
  }

  // Greedy interval packing: larger buffers first, each at the lowest offset that is free for its
  // whole life.
  void pack() {
    std::vector<size_t> order(buffers_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [this](size_t a, size_t b) {
      return buffers_[a].unit_bytes > buffers_[b].unit_bytes;
    });
    std::vector<size_t> placed;  // sorted by offset
    for (const size_t index : order) {
      Buffer& buffer = buffers_[index];
      uint64_t offset = 0;
      for (const size_t other_index : placed) {
        const Buffer& other = buffers_[other_index];
        const bool together = other.region == buffer.region && other.first <= buffer.last &&
                              buffer.first <= other.last;
        if (!together) continue;
        if (offset + buffer.unit_bytes <= other.offset) break;
        offset = std::max(offset, other.offset + other.unit_bytes);
      }
      buffer.offset = offset;
      const auto after = std::upper_bound(
          placed.begin(), placed.end(), offset,
          [this](uint64_t at, size_t other) { return at < buffers_[other].offset; });
      placed.insert(after, index);
      uint64_t& end = region_units_[buffer.region];
      end = std::max(end, offset + buffer.unit_bytes);
    }
  }

  Result<MemoryPlan> assemble() const {
    MemoryPlan plan;
    plan.places.resize(graph_.values.size());
    std::array<LinearBytes, kSymbolCount + 1> start;
    LinearBytes next;
    // Constants first: their size is a multiple of the alignment, so what follows is aligned.
    for (const size_t region :
         {kConstantRegion, size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}}) {
      start[region] = next;
      if (region == kConstantRegion) {
        next.offset += region_units_[region];
      } else {
        next.scale[region] += region_units_[region];
      }
    }
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      if (buffer_of_[v] < 0) continue;
      const Buffer& buffer = buffers_[static_cast<size_t>(buffer_of_[v])];
      Place place;
      size_t region;
      place.bytes = BP_TRY(bytes_of(graph_.values[v], &region));
      place.offset = start[region];
      if (region == kConstantRegion) {
        place.offset.offset += buffer.offset;
      } else {
        place.offset.scale[region] += buffer.offset;
      }
      plan.places[v] = place;
    }
    plan.arena = next;
    return plan;
  }

  const Graph& graph_;
  std::vector<int32_t> buffer_of_;  // by value, -1: not in the arena
  std::vector<int32_t> last_use_;   // by value, index of a node
  std::vector<Buffer> buffers_;
  std::array<uint64_t, kSymbolCount + 1> region_units_{};
};

}  // namespace

Result<MemoryPlan> plan_memory(const Graph& graph) {
  return Planner(graph).run();
}

}  // namespace bp::compiler
