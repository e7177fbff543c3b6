// SPDX-License-Identifier: Apache-2.0
// Every truncation and every one-byte edit of a small file: an error, or a valid file whose every
// pointer can be followed; never a crash. Meant to run under AddressSanitizer as well.
//
// Edits of the FlatBuffer are tried twice: as they are (the digest finds them), and with the
// header's digest brought up to date, as an attacker would do, so that the verifier has to find
// them. Environment BP_ALL_BYTE_VALUES: all 255 other values instead of 8.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "core/platform/digest.h"
#include "model_format/layout.h"
#include "model_format/reader.h"
#include "model_format/tiny_model.h"

namespace bp {
namespace {

using testing::AlignedBuffer;

class ModelBytes : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(testing::write_tiny_model(testing::make_tiny_model(false), path_).ok());
    original_ = std::make_unique<AlignedBuffer>(testing::read_whole_file(path_));
    bytes_ = std::make_unique<AlignedBuffer>(original_->bytes());
    const auto file = ModelFile::open_memory(original_->bytes(), nullptr);
    ASSERT_TRUE(file.ok()) << file.status().to_string();
    header_ = decode_header(original_->bytes(), original_->bytes().size()).value();
    weights_begin_ = file.value()->model().segments()->Get(0)->offset();
  }

  uint64_t plan_end() const { return kModelHeaderBytes + header_.plan_bytes; }

  // Opens what is in bytes_; a model that opens is walked. Says whether it did.
  bool open_and_walk() {
    const auto file = ModelFile::open_memory(bytes_->bytes(), nullptr);
    if (!file.ok()) {
      const Code code = file.status().code();
      EXPECT_TRUE(code == Code::kCorrupt || code == Code::kIncompatible)
          << file.status().to_string();
      EXPECT_FALSE(file.status().message().empty());
      return false;
    }
    walked_ += testing::walk_model(*file.value());
    return true;
  }

  void repair_digest() {
    ModelHeader header = header_;
    header.plan_digest =
        Sha256::of(bytes_->bytes().subspan(kModelHeaderBytes, header_.plan_bytes)).value();
    const auto encoded = encode_header(header);
    std::copy(encoded.begin(), encoded.end(), bytes_->bytes().begin());
  }
  void restore_header() {
    std::copy_n(original_->bytes().begin(), kModelHeaderBytes, bytes_->bytes().begin());
  }

  // Calls `check(position, k)` for the k-th other value at each position.
  template <typename Check>
  void edit_each(uint64_t begin, uint64_t end, Check check) {
    static constexpr uint8_t kFlips[] = {0x01, 0x80, 0xff, 0x10, 0x02, 0x7f, 0x04, 0x40};
    const bool all = std::getenv("BP_ALL_BYTE_VALUES") != nullptr;
    for (uint64_t at = begin; at < end; ++at) {
      const std::byte before = bytes_->bytes()[at];
      for (unsigned i = 0; i < (all ? 255u : std::size(kFlips)); ++i) {
        const auto flip = static_cast<uint8_t>(all ? i + 1 : kFlips[i]);
        bytes_->bytes()[at] = before ^ std::byte{flip};
        check(at, i);
        if (HasFailure()) {
          FAIL() << "byte " << at << ", flip " << unsigned{flip};
        }
      }
      bytes_->bytes()[at] = before;
    }
  }

  testing::TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path("tiny.bpm");
  std::unique_ptr<AlignedBuffer> original_;
  std::unique_ptr<AlignedBuffer> bytes_;
  ModelHeader header_;
  uint64_t weights_begin_ = 0;
  uint64_t walked_ = 0;
};

TEST_F(ModelBytes, every_truncation_is_refused) {
  for (uint64_t size = 0; size < original_->bytes().size(); ++size) {
    const auto file = ModelFile::open_memory(original_->first(size), nullptr);
    ASSERT_EQ(file.status().code(), Code::kCorrupt) << size;
  }
}

TEST_F(ModelBytes, truncation_with_a_header_that_agrees_is_refused) {
  for (uint64_t size = 0; size < original_->bytes().size();
       size += size < plan_end() + 100 ? 1 : 61) {
    AlignedBuffer cut(original_->first(size));  // its own allocation: reading past it is caught
    if (size >= kModelHeaderBytes) {
      ModelHeader header = header_;
      header.file_bytes = size;
      header.plan_bytes = std::min(header.plan_bytes, size - kModelHeaderBytes);
      header.plan_digest =
          Sha256::of(cut.bytes().subspan(kModelHeaderBytes, header.plan_bytes)).value();
      const auto encoded = encode_header(header);
      std::copy(encoded.begin(), encoded.end(), cut.bytes().begin());
    }
    const auto file = ModelFile::open_memory(cut.bytes(), nullptr);
    ASSERT_EQ(file.status().code(), Code::kCorrupt) << size;
  }
}

TEST_F(ModelBytes, every_edit_of_header_and_plan_is_refused) {
  edit_each(0, plan_end(), [&](uint64_t, unsigned) { EXPECT_FALSE(open_and_walk()); });
}

TEST_F(ModelBytes, every_edit_of_the_plan_with_a_repaired_digest_is_an_error_or_a_valid_file) {
  uint64_t opened = 0;
  uint64_t refused = 0;
  edit_each(kModelHeaderBytes, plan_end(), [&](uint64_t, unsigned) {
    repair_digest();
    ++(open_and_walk() ? opened : refused);
    restore_header();
  });
  // Both have to happen for the test to mean anything: a changed token is a valid file, a changed
  // offset is not.
  EXPECT_GT(opened, 100u);
  EXPECT_GT(refused, 100u);
  RecordProperty("opened", static_cast<int>(opened));
  RecordProperty("refused", static_cast<int>(refused));
}

TEST_F(ModelBytes, every_edit_between_plan_and_weights_is_refused) {
  edit_each(plan_end(), weights_begin_, [&](uint64_t at, unsigned k) {
    // Every byte of the gap is compared with 0 in the same loop: all values near its ends, one
    // value for each position in between.
    if (at < plan_end() + 256 || at + 256 >= weights_begin_ || k == at % 8) {
      EXPECT_FALSE(open_and_walk());
    }
  });
}

TEST_F(ModelBytes, every_edit_of_the_weights_is_found_by_the_digests) {
  const auto file = ModelFile::open_memory(bytes_->bytes(), nullptr).value();
  const auto& tensors = *file->model().tensors();
  // The tensor whose planes, or padding behind them, hold a byte.
  uint32_t tensor = 0;
  edit_each(weights_begin_, original_->bytes().size(), [&](uint64_t at, unsigned) {
    while (tensor + 1 < tensors.size() &&
           tensors.Get(tensor + 1)->planes()->Get(0)->offset() + weights_begin_ <= at) {
      ++tensor;
    }
    EXPECT_EQ(file->verify_tensor(tensor).code(), Code::kCorrupt);
  });
  EXPECT_EQ(tensor + 1, tensors.size());
  EXPECT_TRUE(file->verify_digests().ok());  // everything has been put back
}

}  // namespace
}  // namespace bp
