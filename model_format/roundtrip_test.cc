// SPDX-License-Identifier: Apache-2.0
// What the writer writes, the reader reads, through each of its doors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "core/platform/digest.h"
#include "model_format/layout.h"
#include "model_format/reader.h"
#include "model_format/tiny_model.h"
#include "model_format/writer.h"

namespace bp {
namespace {

using testing::AlignedBuffer;
using testing::make_tiny_model;
using testing::read_whole_file;
using testing::TemporaryFolder;
using testing::tiny_plane_bytes;
using testing::write_tiny_model;

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

class RoundTrip : public ::testing::Test {
 protected:
  void SetUp() override {
    const Status status = write_tiny_model(make_tiny_model(true), path_);
    ASSERT_TRUE(status.ok()) << status.to_string();
  }
  TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path("tiny.bpm");
};

void expect_all_weights(const ModelFile& file) {
  const auto tiny = make_tiny_model(true);
  ASSERT_EQ(file.tensor_count(), tiny.tensors.size());
  for (uint32_t t = 0; t < file.tensor_count(); ++t) {
    EXPECT_EQ(file.find_tensor(tiny.tensors[t].name), t);
    const uint32_t planes = find_weight_format(tiny.tensors[t].format)->plane_count;
    for (uint32_t p = 0; p < planes; ++p) {
      const auto found = file.plane(t, p);
      ASSERT_FALSE(found.empty());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(found.data()) % kPlaneAlignment, 0u);
      EXPECT_TRUE(equal(found, tiny_plane_bytes(t, p, found.size())));
    }
    EXPECT_TRUE(file.plane(t, planes).empty());
  }
  EXPECT_TRUE(file.plane(file.tensor_count(), 0).empty());
  EXPECT_EQ(file.find_tensor("no such tensor"), std::nullopt);
}

TEST_F(RoundTrip, mapped_file_gives_every_weight_back) {
  const auto file = ModelFile::open(path_);
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  EXPECT_TRUE(file.value()->is_mapped());
  expect_all_weights(*file.value());
  EXPECT_EQ(file.value()->model().architecture()->string_view(), "llama");
  EXPECT_EQ(file.value()->model().metrics()->Get(0)->value(), 0.125);
  EXPECT_TRUE(file.value()->verify_digests().ok());
  EXPECT_TRUE(file.value()->check_unchanged().ok());
  for (uint32_t t = 0; t < file.value()->tensor_count(); ++t) {
    file.value()->release(t);
    file.value()->will_need(t);
    EXPECT_TRUE(file.value()->verify_tensor(t).ok());
  }
  expect_all_weights(*file.value());
}

TEST_F(RoundTrip, copied_weights_survive_the_file) {
  OpenOptions options;
  options.copy_weights = true;
  const auto file = ModelFile::open(path_, options);
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  std::filesystem::resize_file(path_, 100);
  EXPECT_FALSE(file.value()->is_mapped());
  expect_all_weights(*file.value());
  EXPECT_TRUE(file.value()->verify_digests().ok());
  EXPECT_TRUE(file.value()->check_unchanged().ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.value()->segment(0).data()) % kSegmentAlignment, 0u);
}

TEST_F(RoundTrip, memory_is_borrowed_with_its_owner) {
  auto bytes = std::make_shared<AlignedBuffer>(read_whole_file(path_));
  auto file = ModelFile::open_memory(bytes->bytes(), bytes);
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  EXPECT_EQ(bytes.use_count(), 2);
  EXPECT_EQ(file.value()->segment(0).data(),
            bytes->bytes().data() + file.value()->model().segments()->Get(0)->offset());
  expect_all_weights(*file.value());
  EXPECT_TRUE(file.value()->verify_digests().ok());
  file = error(Code::kCancelled, "dropped");
  EXPECT_EQ(bytes.use_count(), 1);
}

TEST_F(RoundTrip, misaligned_memory_is_an_argument_error) {
  const AlignedBuffer file = read_whole_file(path_);
  AlignedBuffer shifted(file.bytes().size() + 8);
  std::copy(file.bytes().begin(), file.bytes().end(), shifted.bytes().begin() + 8);
  const auto opened = ModelFile::open_memory(shifted.bytes().subspan(8), nullptr);
  EXPECT_EQ(opened.status().code(), Code::kInvalidArgument);
}

TEST_F(RoundTrip, callbacks_are_read_once_and_not_kept) {
  const AlignedBuffer bytes = read_whole_file(path_);
  uint64_t asked = 0;
  const auto file = ModelFile::open_source(
      bytes.bytes().size(), [&](uint64_t offset, std::span<std::byte> out) -> Status {
        asked += out.size();
        std::copy_n(bytes.bytes().begin() + static_cast<ptrdiff_t>(offset), out.size(),
                    out.begin());
        return {};
      });
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  EXPECT_EQ(asked, bytes.bytes().size());
  expect_all_weights(*file.value());
  EXPECT_TRUE(file.value()->verify_digests().ok());
  EXPECT_EQ(asked, bytes.bytes().size());
}

TEST_F(RoundTrip, failing_callback_fails_the_open_with_its_own_status) {
  const AlignedBuffer bytes = read_whole_file(path_);
  for (uint64_t fail_at = 0; fail_at < bytes.bytes().size(); fail_at += 4096) {
    const auto file = ModelFile::open_source(
        bytes.bytes().size(), [&](uint64_t offset, std::span<std::byte> out) -> Status {
          if (offset + out.size() > fail_at) return error(Code::kDeviceLost, "the tape broke");
          std::copy_n(bytes.bytes().begin() + static_cast<ptrdiff_t>(offset), out.size(),
                      out.begin());
          return {};
        });
    ASSERT_EQ(file.status().code(), Code::kDeviceLost) << fail_at;
  }
}

TEST_F(RoundTrip, model_may_be_used_from_many_threads) {
  const auto file = ModelFile::open(path_).value();
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      if (file->verify_digests().ok() && file->find_tensor("embedding") == 0u) ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good.load(), 4);
}

TEST_F(RoundTrip, digest_progress_reaches_the_end_and_can_stop) {
  const auto file = ModelFile::open(path_).value();
  uint64_t last = 0;
  uint64_t whole = 0;
  ASSERT_TRUE(file->verify_digests([&](uint64_t done, uint64_t total) {
                    EXPECT_GE(done, last);
                    last = done;
                    whole = total;
                    return true;
                  })
                  .ok());
  EXPECT_EQ(last, whole);
  EXPECT_GT(whole, 0u);
  const Status stopped = file->verify_digests([](uint64_t, uint64_t) { return false; });
  EXPECT_EQ(stopped.code(), Code::kCancelled);
}

// ---- the writer ---------------------------------------------------------------------------------

TEST_F(RoundTrip, same_input_gives_the_same_bytes_whatever_the_chunks) {
  const AlignedBuffer expected = read_whole_file(path_);
  for (const uint64_t chunk : {1u, 7u, 64u, 1000u}) {
    const auto other = folder_.path("other.bpm");
    ASSERT_TRUE(write_tiny_model(make_tiny_model(true), other, chunk).ok());
    EXPECT_TRUE(equal(read_whole_file(other).bytes(), expected.bytes())) << chunk;
  }
}

TEST_F(RoundTrip, order_of_planes_and_threads_do_not_change_the_bytes) {
  auto tiny = make_tiny_model(true);
  const auto other = folder_.path("other.bpm");
  auto writer = ModelWriter::create(other, AtomicFile::Existing::kRefuse).value();
  for (const auto& t : tiny.tensors) {
    ASSERT_TRUE(writer->declare_tensor(t.name, t.format, t.shape).ok());
  }
  ASSERT_TRUE(writer->begin_weights(std::move(tiny.model)).ok());
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (uint32_t part = 0; part < 3; ++part) {
    threads.emplace_back([&, part] {
      for (auto t = static_cast<uint32_t>(tiny.tensors.size()); t-- > 0;) {
        if (t % 3 != part) continue;
        for (uint32_t p = 4; p-- > 0;) {
          const auto bytes = tiny_plane_bytes(t, p, writer->plane_bytes(t, p));
          for (uint64_t at = 0; at < bytes.size(); at += 100) {
            const auto piece =
                std::span(bytes).subspan(at, std::min<uint64_t>(100, bytes.size() - at));
            if (!writer->write_plane(t, p, at, piece).ok()) ++failures;
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
  EXPECT_EQ(writer->weight_bytes_written(), writer->weight_bytes_total());
  ASSERT_TRUE(writer->finish().ok());
  EXPECT_TRUE(equal(read_whole_file(other).bytes(), read_whole_file(path_).bytes()));
}

TEST_F(RoundTrip, metrics_may_be_added_after_the_weights) {
  auto tiny = make_tiny_model(false);
  const auto other = folder_.path("other.bpm");
  auto writer = ModelWriter::create(other, AtomicFile::Existing::kRefuse).value();
  for (const auto& t : tiny.tensors) {
    ASSERT_TRUE(writer->declare_tensor(t.name, t.format, t.shape).ok());
  }
  ASSERT_TRUE(writer->begin_weights(std::move(tiny.model)).ok());
  for (uint32_t t = 0; t < tiny.tensors.size(); ++t) {
    for (uint32_t p = 0; p < 4; ++p) {
      const std::vector<std::byte> zeros(writer->plane_bytes(t, p));
      if (!zeros.empty()) {
        ASSERT_TRUE(writer->write_plane(t, p, 0, zeros).ok());
      }
    }
  }
  auto metric = std::make_unique<fb::MetricT>();
  metric->name = "late";
  metric->value = 2;
  writer->model().metrics.push_back(std::move(metric));
  EXPECT_FALSE(std::filesystem::exists(other));
  ASSERT_TRUE(writer->finish().ok());
  const auto file = ModelFile::open(other).value();
  EXPECT_EQ(file->model().metrics()->Get(1)->name()->string_view(), "late");
  EXPECT_TRUE(file->verify_digests().ok());
}

TEST_F(RoundTrip, model_that_outgrows_its_reservation_is_refused) {
  auto tiny = make_tiny_model(false);
  tiny.tensors.resize(0);
  const auto other = folder_.path("other.bpm");
  auto writer = ModelWriter::create(other, AtomicFile::Existing::kRefuse).value();
  tiny = make_tiny_model(false);
  for (const auto& t : tiny.tensors) {
    ASSERT_TRUE(writer->declare_tensor(t.name, t.format, t.shape).ok());
  }
  ASSERT_TRUE(writer->begin_weights(std::move(tiny.model)).ok());
  for (uint32_t t = 0; t < tiny.tensors.size(); ++t) {
    for (uint32_t p = 0; p < 4; ++p) {
      const std::vector<std::byte> zeros(writer->plane_bytes(t, p));
      if (!zeros.empty()) {
        ASSERT_TRUE(writer->write_plane(t, p, 0, zeros).ok());
      }
    }
  }
  writer->model().licence = std::string(100'000, 'x');
  EXPECT_EQ(writer->finish().code(), Code::kFailedPrecondition);
  writer = nullptr;
  EXPECT_FALSE(std::filesystem::exists(other));
}

class Writer : public ::testing::Test {
 protected:
  void SetUp() override {
    writer_ = ModelWriter::create(folder_.path("w.bpm"), AtomicFile::Existing::kRefuse).value();
  }
  void begin() {
    tiny_ = make_tiny_model(false);
    for (const auto& t : tiny_.tensors) {
      ASSERT_TRUE(writer_->declare_tensor(t.name, t.format, t.shape).ok());
    }
    const Status status = writer_->begin_weights(std::move(tiny_.model));
    ASSERT_TRUE(status.ok()) << status.to_string();
  }
  Code declare(const std::string& name, const std::string& format, std::vector<uint64_t> shape) {
    return writer_->declare_tensor(name, format, shape).status().code();
  }
  TemporaryFolder folder_;
  std::unique_ptr<ModelWriter> writer_;
  testing::TinyModel tiny_;
};

TEST_F(Writer, bad_declarations_are_argument_errors) {
  EXPECT_EQ(declare("", "f32", {4}), Code::kInvalidArgument);
  EXPECT_EQ(declare(std::string(1000, 'n'), "f32", {4}), Code::kInvalidArgument);
  EXPECT_EQ(declare("x", "f33", {4}), Code::kInvalidArgument);
  EXPECT_EQ(declare("x", "q4_g32", {4, 33}), Code::kInvalidArgument);
  EXPECT_EQ(declare("x", "f32", {}), Code::kInvalidArgument);
  EXPECT_EQ(declare("x", "f32", {4, 0}), Code::kInvalidArgument);
}

TEST_F(Writer, faulty_plan_is_refused_before_any_weight) {
  auto tiny = make_tiny_model(false);
  tiny.model.plan->steps[1]->op = "frobnicate";
  for (const auto& t : tiny.tensors) {
    ASSERT_TRUE(writer_->declare_tensor(t.name, t.format, t.shape).ok());
  }
  EXPECT_EQ(writer_->begin_weights(std::move(tiny.model)).code(), Code::kIncompatible);
}

TEST_F(Writer, calls_out_of_order_are_refused) {
  const std::byte one[1] = {};
  EXPECT_EQ(writer_->write_plane(0, 0, 0, one).code(), Code::kFailedPrecondition);
  EXPECT_EQ(writer_->finish().code(), Code::kFailedPrecondition);
  begin();
  EXPECT_EQ(declare("late", "f32", {4}), Code::kFailedPrecondition);
  EXPECT_EQ(writer_->begin_weights({}).code(), Code::kFailedPrecondition);
}

TEST_F(Writer, gaps_repeats_and_overruns_are_refused) {
  begin();
  const std::vector<std::byte> bytes(writer_->plane_bytes(0, 0));
  EXPECT_EQ(writer_->write_plane(0, 0, 1, std::span(bytes).first(4)).code(),
            Code::kInvalidArgument);
  EXPECT_TRUE(writer_->write_plane(0, 0, 0, std::span(bytes).first(4)).ok());
  EXPECT_EQ(writer_->write_plane(0, 0, 0, std::span(bytes).first(4)).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(writer_->write_plane(0, 0, 4, bytes).code(), Code::kInvalidArgument);
  EXPECT_EQ(writer_->write_plane(0, 9, 0, bytes).code(), Code::kInvalidArgument);
  EXPECT_EQ(writer_->write_plane(99, 0, 0, bytes).code(), Code::kInvalidArgument);
}

TEST_F(Writer, incomplete_weights_leave_no_file) {
  begin();
  const Status status = writer_->finish();
  EXPECT_EQ(status.code(), Code::kFailedPrecondition);
  EXPECT_NE(status.message().find("embedding"), std::string_view::npos) << status.message();
  EXPECT_TRUE(std::filesystem::is_empty(folder_.folder()));
}

TEST_F(Writer, abandoned_writer_leaves_no_file) {
  begin();
  writer_ = nullptr;
  EXPECT_TRUE(std::filesystem::is_empty(folder_.folder()));
}

// ---- large tensors ------------------------------------------------------------------------------

TEST_F(Writer, segments_are_split_at_a_gigabyte) {
  // Sparse on disk: only the declared sizes are large. Weights of 600 MB each cannot share one.
  auto tiny = make_tiny_model(false);
  const auto count = static_cast<uint32_t>(tiny.tensors.size());
  for (const auto& t : tiny.tensors) {
    ASSERT_TRUE(writer_->declare_tensor(t.name, t.format, t.shape).ok());
  }
  for (const char* name : {"large/0", "large/1"}) {
    ASSERT_EQ(declare(name, "f32", {150, 1 << 20}), Code::kOk);
  }
  ASSERT_TRUE(writer_->begin_weights(std::move(tiny.model)).ok());
  const fb::ModelT& model = writer_->model();
  ASSERT_EQ(model.segments.size(), 2u);
  EXPECT_EQ(model.tensors[count]->planes[0]->segment, 0u);
  EXPECT_EQ(model.tensors[count + 1]->planes[0]->segment, 1u);
  EXPECT_EQ(model.tensors[count + 1]->planes[0]->offset, 0u);
  EXPECT_EQ(model.segments[1]->offset, model.segments[0]->offset + model.segments[0]->bytes);
}

}  // namespace
}  // namespace bp
