// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/gguf/gguf_tensor_type.h"

#include <cstring>

#include "core/base/status.h"

namespace bp {
namespace {

// Fields in the order of the file; plane numbers are those of formats.h. In the K formats with
// minima d and dmin stand together, and so they do in the plane "super".
constexpr GgufTensorType kTypes[] = {
    {0, "F32", "f32", 1, {{{0, 0, 4}}}},
    {1, "F16", "f16", 1, {{{0, 0, 2}}}},
    {30, "BF16", "bf16", 1, {{{0, 0, 2}}}},
    {2, "Q4_0", "q4_g32", 2, {{{1, 0, 2}, {0, 0, 16}}}},
    {3, "Q4_1", "q4_g32z", 3, {{{1, 0, 2}, {2, 0, 2}, {0, 0, 16}}}},
    {6, "Q5_0", "q5_g32", 3, {{{2, 0, 2}, {1, 0, 4}, {0, 0, 16}}}},
    {7, "Q5_1", "q5_g32z", 4, {{{2, 0, 2}, {3, 0, 2}, {1, 0, 4}, {0, 0, 16}}}},
    {8, "Q8_0", "q8_g32", 2, {{{1, 0, 2}, {0, 0, 32}}}},
    {10, "Q2_K", "q2_k", 3, {{{1, 0, 16}, {0, 0, 64}, {2, 0, 4}}}},
    {11, "Q3_K", "q3_k", 4, {{{1, 0, 32}, {0, 0, 64}, {2, 0, 12}, {3, 0, 2}}}},
    {12, "Q4_K", "q4_k", 3, {{{2, 0, 4}, {1, 0, 12}, {0, 0, 128}}}},
    {13, "Q5_K", "q5_k", 4, {{{3, 0, 4}, {2, 0, 12}, {1, 0, 32}, {0, 0, 128}}}},
    {14, "Q6_K", "q6_k", 4, {{{0, 0, 128}, {1, 0, 64}, {2, 0, 16}, {3, 0, 2}}}},
    {20, "IQ4_NL", "iq4_nl", 2, {{{1, 0, 2}, {0, 0, 16}}}},
    {39, "MXFP4", "mxfp4", 2, {{{1, 0, 1}, {0, 0, 16}}}},
};

// Every source byte has a home and every plane byte a source: checked when this is compiled.
constexpr bool table_is_consistent() {
  for (const GgufTensorType& type : kTypes) {
    // An index, because sanitizers make comparing the address of an element with null not constant.
    size_t found = 0;
    while (found < kWeightFormats.size() && kWeightFormats[found].name != type.format) ++found;
    if (found == kWeightFormats.size()) return false;
    const WeightFormat& format = kWeightFormats[found];
    std::array<uint32_t, 4> filled{};
    for (size_t i = 0; i < type.field_count; ++i) {
      const GgufField& field = type.fields[i];
      if (field.plane >= format.plane_count || field.offset != filled[field.plane]) return false;
      filled[field.plane] += field.bytes;
      bool copied = false;  // by a case of split_gguf_blocks()
      for (const uint32_t size : {1u, 2u, 4u, 12u, 16u, 32u, 64u, 128u}) {
        copied = copied || field.bytes == size;
      }
      if (!copied) return false;
    }
    for (size_t i = 0; i < format.plane_count; ++i) {
      if (filled[i] != format.planes[i].bytes_per_block) return false;
    }
  }
  return true;
}
static_assert(table_is_consistent());

struct NumberedName {
  uint32_t number;
  std::string_view name;
};
// Types that are not read, withdrawn ones included, so that a refusal can say what it met.
constexpr NumberedName kOthers[] = {
    {4, "Q4_2"},    {5, "Q4_3"},     {9, "Q8_1"},        {15, "Q8_K"},       {16, "IQ2_XXS"},
    {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},      {21, "IQ3_S"},      {22, "IQ2_S"},
    {23, "IQ4_XS"}, {24, "I8"},      {25, "I16"},        {26, "I32"},        {27, "I64"},
    {28, "F64"},    {29, "IQ1_M"},   {31, "Q4_0_4_4"},   {32, "Q4_0_4_8"},   {33, "Q4_0_8_8"},
    {34, "TQ1_0"},  {35, "TQ2_0"},   {36, "IQ4_NL_4_4"}, {37, "IQ4_NL_4_8"}, {38, "IQ4_NL_8_8"},
    {40, "NVFP4"},  {41, "Q1_0"},
};

// With the size known to the compiler a copy is one or a few moves instead of a call.
template <size_t kBytes>
void copy_field(const std::byte* source, size_t source_stride, std::byte* target,
                size_t target_stride, uint64_t blocks) {
  for (uint64_t i = 0; i < blocks; ++i) {
    std::memcpy(target + i * target_stride, source + i * source_stride, kBytes);
  }
}

}  // namespace

const GgufTensorType* find_gguf_type(uint32_t number) noexcept {
  for (const GgufTensorType& type : kTypes) {
    if (type.number == number) return &type;
  }
  return nullptr;
}

std::string gguf_type_label(uint32_t number) {
  if (const GgufTensorType* type = find_gguf_type(number)) return std::string(type->name);
  for (const NumberedName& other : kOthers) {
    if (other.number == number) return std::string(other.name);
  }
  return fmt::format("number {}", number);
}

std::string gguf_types_read() {
  std::string names;
  for (const GgufTensorType& type : kTypes) {
    if (!names.empty()) names += ' ';
    names += type.name;
  }
  return names;
}

void split_gguf_blocks(const GgufTensorType& type, const std::byte* source, uint64_t first_block,
                       uint64_t blocks, const PlaneBuffers& planes) noexcept {
  const WeightFormat& format = *find_weight_format(type.format);
  const size_t stride = type.block_bytes();
  for (size_t i = 0; i < type.field_count; ++i) {
    const GgufField& field = type.fields[i];
    const size_t target_stride = format.planes[field.plane].bytes_per_block;
    std::byte* target = planes[field.plane].data() + first_block * target_stride + field.offset;
    switch (field.bytes) {
      case 1:
        copy_field<1>(source, stride, target, target_stride, blocks);
        break;
      case 2:
        copy_field<2>(source, stride, target, target_stride, blocks);
        break;
      case 4:
        copy_field<4>(source, stride, target, target_stride, blocks);
        break;
      case 12:
        copy_field<12>(source, stride, target, target_stride, blocks);
        break;
      case 16:
        copy_field<16>(source, stride, target, target_stride, blocks);
        break;
      case 32:
        copy_field<32>(source, stride, target, target_stride, blocks);
        break;
      case 64:
        copy_field<64>(source, stride, target, target_stride, blocks);
        break;
      default:
        copy_field<128>(source, stride, target, target_stride, blocks);
        break;
    }
    source += field.bytes;
  }
}

}  // namespace bp
