// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/spirv.h"

#include <cstring>
#include <map>
#include <span>

namespace bp::vulkan {
namespace {

// Numbers of the SPIR-V specification.
constexpr uint32_t kMagic = 0x07230203;
constexpr size_t kHeaderWords = 5;
constexpr size_t kIdBoundWord = 3;
enum Opcode : uint32_t {
  kEntryPoint = 15,
  kExecutionMode = 16,
  kTypeVoid = 19,  // every entry point has its type, and compilers declare it first
  kTypeFloat = 22,
  kTypeStruct = 30,
  kTypePointer = 32,
  kConstant = 43,
  kVariable = 59,
  kDecorate = 71,
  kMemberDecorate = 72,
  kTypeCooperativeMatrix = 4456,
};
constexpr uint32_t kGlCompute = 5;
constexpr uint32_t kLocalSize = 17;
constexpr uint32_t kNonWritable = 24, kBinding = 33, kDescriptorSet = 34;
constexpr uint32_t kStorageBuffer = 12;

// Calls visit(opcode, operands) for each instruction, operands without its first word; it returns
// false for one that is too short for its kind.
template <class Visit>
const char* for_each_instruction(std::span<const uint32_t> words, const Visit& visit) {
  if (words.size() < kHeaderWords || words[0] != kMagic) return "it is no SPIR-V";
  for (size_t at = kHeaderWords; at < words.size();) {
    const size_t length = words[at] >> 16;
    if (length == 0 || length > words.size() - at) return "an instruction leaves the module";
    if (!visit(words[at] & 0xffff, words.subspan(at + 1, length - 1))) {
      return "an instruction is too short";
    }
    at += length;
  }
  return nullptr;
}

struct Id {
  uint32_t binding = UINT32_MAX, set = 0;
  bool read_only = false;
  uint32_t points_to = 0;
  uint32_t members = 0, read_only_members = 0;
};

struct Reader {
  std::map<uint32_t, Id> ids;
  std::vector<std::pair<uint32_t, uint32_t>> buffers;  // variable, its pointer type
  SpirvInterface* out;
  bool has_main = false;

  // One instruction without its first word. False when it is too short for its kind.
  bool instruction(uint32_t opcode, std::span<const uint32_t> w) {
    switch (opcode) {
      case kEntryPoint:
        if (w.size() < 4) return false;
        has_main = w[0] == kGlCompute && std::memcmp(&w[2], "main\0\0\0", 8) == 0;
        break;
      case kExecutionMode:
        if (w.size() >= 5 && w[1] == kLocalSize) std::memcpy(out->group, &w[2], sizeof out->group);
        break;
      case kTypeStruct:
        if (w.empty()) return false;
        ids[w[0]].members = static_cast<uint32_t>(w.size() - 1);
        break;
      case kTypePointer:
        if (w.size() < 3) return false;
        ids[w[0]].points_to = w[2];
        break;
      case kVariable:
        if (w.size() < 3) return false;
        if (w[2] == kStorageBuffer) buffers.emplace_back(w[1], w[0]);
        break;
      case kDecorate:
        if (w.size() < 2) return false;
        if (w[1] == kNonWritable) ids[w[0]].read_only = true;
        if (w[1] == kBinding && w.size() > 2) ids[w[0]].binding = w[2];
        if (w[1] == kDescriptorSet && w.size() > 2) ids[w[0]].set = w[2];
        break;
      case kMemberDecorate:
        if (w.size() < 3) return false;
        if (w[2] == kNonWritable) ++ids[w[0]].read_only_members;
        break;
      default:
        break;
    }
    return true;
  }

  const char* finish() {
    if (!has_main) return "it has no compute entry point 'main'";
    for (const auto& [variable, pointer] : buffers) {
      const Id& id = ids[variable];
      if (id.set != 0 || id.binding >= 32) return "a buffer is not at set 0, binding below 32";
      const Id& block = ids[ids[pointer].points_to];
      const bool read_only =
          id.read_only || (block.members != 0 && block.read_only_members == block.members);
      out->bindings |= 1u << id.binding;
      if (!read_only) out->written |= 1u << id.binding;
    }
    return nullptr;
  }
};

}  // namespace

const char* read_spirv(const std::vector<uint32_t>& words, SpirvInterface* out) {
  *out = {};
  Reader reader{.out = out};
  const char* const wrong =
      for_each_instruction(words, [&](uint32_t opcode, std::span<const uint32_t> operands) {
        return reader.instruction(opcode, operands);
      });
  return wrong != nullptr ? wrong : reader.finish();
}

const char* name_matrix_components(std::vector<uint32_t>* words) {
  std::map<uint32_t, uint32_t> constants;  // by id
  std::map<uint32_t, uint32_t> floats;     // ids by bits, of those that matrices have
  const auto bits_of = [&](std::span<const uint32_t> matrix) {
    const auto found = matrix.size() > 1 ? constants.find(matrix[1]) : constants.end();
    return found != constants.end() ? found->second : 0;
  };
  const char* wrong =
      for_each_instruction(*words, [&](uint32_t opcode, std::span<const uint32_t> w) {
        if (opcode == kConstant && w.size() > 2) constants[w[1]] = w[2];
        if (opcode == kTypeCooperativeMatrix && bits_of(w) != 0) floats[bits_of(w)] = 0;
        return true;
      });
  if (wrong != nullptr || floats.empty()) return wrong;
  (void)for_each_instruction(*words, [&](uint32_t opcode, std::span<const uint32_t> w) {
    const auto wanted = opcode == kTypeFloat && w.size() == 2 ? floats.find(w[1]) : floats.end();
    if (wanted != floats.end()) wanted->second = w[0];
    return true;
  });
  uint32_t bound = (*words)[kIdBoundWord];
  for (auto& [bits, id] : floats) {
    if (id == 0) id = bound++;
  }
  std::vector<uint32_t> out(words->begin(), words->begin() + kHeaderWords);
  out[kIdBoundWord] = bound;
  bool declared = false;
  (void)for_each_instruction(*words, [&](uint32_t opcode, std::span<const uint32_t> w) {
    // In front of all other types, and only there.
    if (opcode == kTypeFloat && w.size() == 2 && floats.count(w[1]) != 0) return true;
    if (opcode == kTypeVoid && !declared) {
      for (const auto& [bits, id] : floats) {
        out.insert(out.end(), {3u << 16 | kTypeFloat, id, bits});
      }
      declared = true;
    }
    const uint32_t bits = opcode == kTypeCooperativeMatrix ? bits_of(w) : 0;
    out.push_back(static_cast<uint32_t>(w.size() + 1) << 16 | opcode);
    out.insert(out.end(), w.begin(), w.end());
    if (bits != 0) out[out.size() - w.size() + 1] = floats[bits];
    return true;
  });
  *words = std::move(out);
  return nullptr;
}

}  // namespace bp::vulkan
