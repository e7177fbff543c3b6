// SPDX-License-Identifier: Apache-2.0
// Memory that runs out at every possible place: reading, verifying and writing report EXHAUSTED and
// leave nothing behind. allocation_hook.cc replaces operator new, hence a program of its own.
#include <gtest/gtest.h>

#include "model_format/allocation_hook.h"
#include "model_format/reader.h"
#include "model_format/tiny_model.h"

namespace bp {
namespace {

using testing::make_tiny_model;
using testing::TemporaryFolder;

// Runs `body` with 0, 1, 2, … allocations until it succeeds. Everything before has to be EXHAUSTED.
template <typename Body>
void fail_at_every_allocation(Body body) {
  int64_t n = 0;
  for (; n < 100'000; ++n) {
    testing::allocations_left = n;
    const Status status = body();
    testing::allocations_left = -1;
    if (status.ok()) break;
    ASSERT_EQ(status.code(), Code::kExhausted) << "allocation " << n << ": " << status.to_string();
  }
  EXPECT_GT(n, 3) << "the body hardly allocates: is the hook in place?";
  EXPECT_LT(n, 100'000);
}

class Allocation : public ::testing::Test {
 protected:
  void SetUp() override {
    const Status status = testing::write_tiny_model(make_tiny_model(true), path_);
    ASSERT_TRUE(status.ok()) << status.to_string();
  }
  TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path("m.bpm");
};

TEST_F(Allocation, failing_anywhere_while_opening_a_file_is_exhausted) {
  fail_at_every_allocation([&] { return ModelFile::open(path_).status(); });
}

TEST_F(Allocation, failing_anywhere_while_copying_weights_is_exhausted) {
  OpenOptions options;
  options.copy_weights = true;
  fail_at_every_allocation([&] { return ModelFile::open(path_, options).status(); });
}

TEST_F(Allocation, failing_anywhere_while_opening_memory_is_exhausted) {
  const auto bytes = testing::read_whole_file(path_);
  fail_at_every_allocation([&] { return ModelFile::open_memory(bytes.bytes(), nullptr).status(); });
}

TEST_F(Allocation, failing_anywhere_while_checking_digests_is_exhausted) {
  const auto file = ModelFile::open(path_).value();
  fail_at_every_allocation([&] { return file->verify_digests(); });
}

TEST_F(Allocation, failing_anywhere_while_writing_is_exhausted_and_leaves_no_file) {
  const auto target = folder_.path("w.bpm");
  const std::vector<std::byte> zeros(1 << 16);
  int64_t n = 0;
  for (bool done = false; !done; ++n) {
    auto tiny = make_tiny_model(true);  // the test's own memory is not limited
    testing::allocations_left = n;
    const Status status = [&]() -> Status {
      auto writer = BP_TRY(ModelWriter::create(target, AtomicFile::Existing::kRefuse));
      for (const auto& t : tiny.tensors) BP_TRY(writer->declare_tensor(t.name, t.format, t.shape));
      BP_TRY(writer->begin_weights(std::move(tiny.model)));
      for (uint32_t t = 0; t < tiny.tensors.size(); ++t) {
        for (uint32_t p = 0; writer->plane_bytes(t, p) != 0; ++p) {
          BP_TRY(writer->write_plane(t, p, 0, std::span(zeros).first(writer->plane_bytes(t, p))));
        }
      }
      return writer->finish();
    }();
    testing::allocations_left = -1;
    done = status.ok();
    if (!done) {
      ASSERT_EQ(status.code(), Code::kExhausted) << n << ": " << status.to_string();
      ASSERT_FALSE(std::filesystem::exists(target));
      ASSERT_EQ(std::distance(std::filesystem::directory_iterator(folder_.folder()), {}), 1);
    }
  }
  EXPECT_GT(n, 100);
  EXPECT_TRUE(ModelFile::open(target).ok());
}

}  // namespace
}  // namespace bp
