// SPDX-License-Identifier: Apache-2.0
// Files: read-only views, memory maps and atomic replacement. The only code that opens files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/base/status.h"
#include "core/platform/mapping_guard.h"

namespace bp {

// A file opened for reading. Thread-safe: reads are positional. Closed by the destructor.
class File {
 public:
  // NOT_FOUND, DENIED, or INVALID_ARGUMENT when the path is not a regular file.
  static Result<std::shared_ptr<File>> open(const std::filesystem::path& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  uint64_t size_bytes() const noexcept { return size_bytes_; }
  const std::filesystem::path& path() const noexcept { return path_; }
  // Fills `out` from byte `offset` on, or CORRUPT when the file ends first.
  Status read_at(uint64_t offset, std::span<std::byte> out) const;
  // CORRUPT when the file has been truncated or replaced in place since it was opened.
  Status check_unchanged() const;
  // Tells the kernel that a range will not be read again soon, so that its cached pages may go.
  void release(uint64_t offset, uint64_t length) const noexcept;
  int descriptor() const noexcept { return descriptor_; }

 private:
  File(int descriptor, uint64_t size_bytes, int64_t modified_ns, std::filesystem::path path);
  int descriptor_;
  uint64_t size_bytes_;
  int64_t modified_ns_;
  std::filesystem::path path_;
};

// A whole file mapped read-only. Pages are shared with the page cache and every other process.
// Truncating the file under a mapping makes touches of the lost pages fault; readers that need
// protection call check_unchanged() at their borders, and programs that want the fault to become an
// error there install the mapping guard (mapping_guard.h).
class MappedFile {
 public:
  static Result<std::shared_ptr<MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const noexcept { return {data_, size_bytes_}; }
  const File& file() const noexcept { return *file_; }
  // CORRUPT when the file has been truncated or replaced in place since it was opened, or a page of
  // the mapping has been lost meanwhile.
  Status check_unchanged() const;
  // Tells the kernel that a range will be read soon, or is no longer needed in memory.
  void will_need(uint64_t offset, uint64_t length) const noexcept;
  void release(uint64_t offset, uint64_t length) const noexcept;

 private:
  explicit MappedFile(std::shared_ptr<File> file);
  std::shared_ptr<File> file_;
  const std::byte* data_ = nullptr;
  uint64_t size_bytes_ = 0;
  std::optional<GuardedRange> guard_;
};

// The whole file as a string; EXHAUSTED when it is larger than `max_bytes`.
Result<std::string> read_text_file(const std::filesystem::path& path, uint64_t max_bytes);

// A file under construction. It lives under a temporary name beside its target and takes the
// target's name in commit(), so readers see the old content or the whole new one, and a killed
// process leaves nothing under the final name. The destructor removes an uncommitted file; a
// killed process's leftovers carry its process id and are removed by the next writer.
class AtomicFile {
 public:
  enum class Existing { kRefuse, kReplace };
  // The parent folder must exist. FAILED_PRECONDITION when the target exists and may not be
  // replaced.
  static Result<std::unique_ptr<AtomicFile>> create(const std::filesystem::path& target,
                                                    Existing existing);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends. EXHAUSTED names the disk when it is full.
  Status write(std::span<const std::byte> bytes);
  // Overwrites bytes that were already written.
  Status write_at(uint64_t offset, std::span<const std::byte> bytes);
  // Zero bytes up to the given offset.
  Status pad_to(uint64_t offset);
  uint64_t position() const noexcept { return position_; }
  // Flushes to disk and renames. The object is finished afterwards.
  Status commit();

 private:
  AtomicFile(int descriptor, std::filesystem::path temporary, std::filesystem::path target,
             Existing existing);
  int descriptor_;
  uint64_t position_ = 0;
  std::filesystem::path temporary_;
  std::filesystem::path target_;
  Existing existing_;
};

}  // namespace bp
