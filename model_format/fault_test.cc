// SPDX-License-Identifier: Apache-2.0
// Full disks, folders that may not be written, processes that are killed, files that change under
// their readers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "core/platform/mapping_guard.h"
#include "model_format/reader.h"
#include "model_format/tiny_model.h"

namespace bp {
namespace {

using testing::make_tiny_model;
using testing::TemporaryFolder;
using testing::write_tiny_model;

// Runs `body` in a child process and returns how it ended, as waitpid() says.
template <typename Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = -1;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

#define EXPECT_EXITS_WELL(status) \
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << (status)

TEST(WriterFault, full_disk_is_exhausted_at_every_size_and_leaves_nothing) {
  const TemporaryFolder folder;
  const auto path = folder.path("m.bpm");
  // A file size limit stands for the full disk: it stops the same system calls at a chosen byte.
  for (uint64_t limit = 0; limit < 131072; limit += 4099) {
    const int status = in_child([&] {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit size{limit, limit};
      if (::setrlimit(RLIMIT_FSIZE, &size) != 0) return 2;
      const Status written = write_tiny_model(make_tiny_model(true), path, 512);
      return written.code() == Code::kExhausted ? 0 : 1;
    });
    EXPECT_EXITS_WELL(status);
    EXPECT_TRUE(std::filesystem::is_empty(folder.folder())) << limit;
  }
}

TEST(WriterFault, failed_write_keeps_the_old_file) {
  const TemporaryFolder folder;
  const auto path = folder.path("m.bpm");
  ASSERT_TRUE(write_tiny_model(make_tiny_model(false), path).ok());
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit size{70'000, 70'000};
    if (::setrlimit(RLIMIT_FSIZE, &size) != 0) return 2;
    return write_tiny_model(make_tiny_model(true), path).ok() ? 1 : 0;
  });
  EXPECT_EXITS_WELL(status);
  const auto file = ModelFile::open(path);
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  EXPECT_TRUE(file.value()->verify_digests().ok());
}

TEST(WriterFault, unwritable_and_missing_folders_are_named_errors) {
  const TemporaryFolder folder;
  EXPECT_EQ(write_tiny_model(make_tiny_model(false), folder.path("no/such/m.bpm")).code(),
            Code::kNotFound);
  EXPECT_EQ(write_tiny_model(make_tiny_model(false), folder.folder()).code(),
            Code::kInvalidArgument);
  std::ofstream(folder.path("file")) << "x";
  EXPECT_EQ(write_tiny_model(make_tiny_model(false), folder.path("file/m.bpm")).code(),
            Code::kNotFound);
  const auto refused =
      ModelWriter::create(folder.path("file"), AtomicFile::Existing::kRefuse).status();
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition);
  // A super-user may write anywhere, so the test becomes somebody else in a child.
  const auto locked = folder.path("locked");
  std::filesystem::create_directory(locked);
  const int status = in_child([&] {
    if (::chmod(folder.folder().c_str(), 0755) != 0 || ::chmod(locked.c_str(), 0555) != 0) return 2;
    if (::geteuid() == 0 && ::setuid(65534) != 0) return 2;
    return write_tiny_model(make_tiny_model(false), locked / "m.bpm").code() == Code::kDenied ? 0
                                                                                              : 1;
  });
  EXPECT_EXITS_WELL(status);
}

TEST(WriterFault, killed_writer_leaves_nothing_under_the_final_name) {
  const TemporaryFolder folder;
  const auto path = folder.path("m.bpm");
  const int status = in_child([&] {
    auto tiny = make_tiny_model(false);
    auto writer = ModelWriter::create(path, AtomicFile::Existing::kReplace).value();
    for (const auto& t : tiny.tensors) {
      if (!writer->declare_tensor(t.name, t.format, t.shape).ok()) return 1;
    }
    if (!writer->begin_weights(std::move(tiny.model)).ok()) return 1;
    const std::vector<std::byte> bytes(writer->plane_bytes(0, 0));
    if (!writer->write_plane(0, 0, 0, bytes).ok()) return 1;
    ::kill(::getpid(), SIGKILL);
    return 1;
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_FALSE(std::filesystem::is_empty(folder.folder()));  // the partial file
  // The next writer sweeps it away.
  ASSERT_TRUE(write_tiny_model(make_tiny_model(false), path).ok());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.folder()), {}), 1);
}

TEST(ReaderFault, paths_that_are_not_models_are_named_errors) {
  const TemporaryFolder folder;
  EXPECT_EQ(ModelFile::open(folder.path("none.bpm")).status().code(), Code::kNotFound);
  EXPECT_EQ(ModelFile::open(folder.folder()).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(ModelFile::open("/dev/zero").status().code(), Code::kInvalidArgument);
  std::ofstream(folder.path("empty.bpm"));
  EXPECT_EQ(ModelFile::open(folder.path("empty.bpm")).status().code(), Code::kCorrupt);
  std::ofstream(folder.path("text.bpm")) << "GGUF or something else, but no model of ours";
  const Status foreign = ModelFile::open(folder.path("text.bpm")).status();
  EXPECT_EQ(foreign.code(), Code::kCorrupt);
  EXPECT_NE(foreign.message().find("text.bpm"), std::string_view::npos);
}

TEST(ReaderFault, impossible_size_from_a_callback_is_refused) {
  const auto zeros = [](uint64_t, std::span<std::byte> out) -> Status {
    std::fill(out.begin(), out.end(), std::byte{0});
    return {};
  };
  EXPECT_EQ(ModelFile::open_source(UINT64_MAX, zeros).status().code(), Code::kCorrupt);
  EXPECT_EQ(ModelFile::open_source(0, zeros).status().code(), Code::kCorrupt);
}

class ChangedFile : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(write_tiny_model(make_tiny_model(true), path_).ok());
    file_ = ModelFile::open(path_).value();
  }
  TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.path("m.bpm");
  std::shared_ptr<const ModelFile> file_;
};

TEST_F(ChangedFile, truncation_is_reported_at_the_border) {
  EXPECT_TRUE(file_->check_unchanged().ok());
  std::filesystem::resize_file(path_, 65536);
  EXPECT_EQ(file_->check_unchanged().code(), Code::kCorrupt);
}

TEST_F(ChangedFile, digests_of_a_truncated_file_fail_without_a_fault) {
  std::filesystem::resize_file(path_, 65536);
  EXPECT_EQ(file_->verify_digests().code(), Code::kCorrupt);
}

TEST_F(ChangedFile, edit_in_place_is_found) {
  std::fstream stream(path_, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(-65536, std::ios::end);
  stream.put('\x55');
  stream.close();
  EXPECT_EQ(file_->check_unchanged().code(), Code::kCorrupt);
  EXPECT_EQ(file_->verify_digests().code(), Code::kCorrupt);
}

TEST_F(ChangedFile, replacing_the_name_leaves_the_open_model_intact) {
  ASSERT_TRUE(write_tiny_model(make_tiny_model(false), path_).ok());
  EXPECT_TRUE(file_->check_unchanged().ok());
  EXPECT_TRUE(file_->verify_digests().ok());
}

TEST_F(ChangedFile, guard_turns_the_fault_into_an_error) {
  const int status = in_child([&] {
    if (!install_mapping_guard().ok() || !install_mapping_guard().ok()) return 2;
    if (::truncate(path_.c_str(), 65536) != 0) return 3;
    const auto lost = file_->plane(0, 0);
    uint64_t sum = 0;
    for (const std::byte b : lost) sum += std::to_integer<uint8_t>(b);
    if (sum != 0) return 4;  // lost pages read as zeros
    // Even when the file is given its old size back, the loss is remembered.
    if (::truncate(path_.c_str(), static_cast<off_t>(file_->size_bytes())) != 0) return 5;
    return file_->check_unchanged().code() == Code::kCorrupt ? 0 : 6;
  });
  EXPECT_EXITS_WELL(status);
}

void exit_from_handler(int) {
  ::_exit(42);
}

TEST_F(ChangedFile, guard_leaves_other_faults_to_the_handler_before_it) {
  const int status = in_child([&] {
    ::signal(SIGBUS, exit_from_handler);
    if (!install_mapping_guard().ok()) return 2;
    ::raise(SIGBUS);
    return 3;
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

TEST_F(ChangedFile, guard_does_not_hide_faults_that_are_not_ours) {
  const int status = in_child([&] {
    ::signal(SIGBUS, SIG_DFL);
    if (!install_mapping_guard().ok()) return 2;
    ::raise(SIGBUS);  // the default action is restored …
    ::raise(SIGBUS);  // … and ends the process
    return 3;
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGBUS);
}

}  // namespace
}  // namespace bp
