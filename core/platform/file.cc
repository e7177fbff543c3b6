// SPDX-License-Identifier: Apache-2.0
#include "core/platform/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>
#include <utility>

namespace bp {
namespace {

namespace fs = std::filesystem;

Code code_of_errno(int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      return Code::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return Code::kExhausted;
    case EEXIST:
      return Code::kFailedPrecondition;
    default:
      return Code::kUnavailable;
  }
}

Status system_error(int number, std::string_view action, const fs::path& path) {
  Status status = error(code_of_errno(number), "cannot {} '{}': {}", action, path.native(),
                        std::generic_category().message(number));
  status.set_native(number);
  return status;
}

int64_t modified_ns(const struct stat& info) {
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

// Temporary files are `<target>.<pid>.partial`; those of dead processes are swept here. Written
// against POSIX, as the standard library's directory iterator ends the process without memory.
void remove_stale_partials(const fs::path& target) {
  const fs::path folder = target.parent_path().empty() ? fs::path(".") : target.parent_path();
  const std::string prefix = target.filename().native() + ".";
  const std::string_view suffix = ".partial";
  DIR* directory = ::opendir(folder.c_str());
  if (directory == nullptr) return;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name.size() <= prefix.size() + suffix.size() || !name.starts_with(prefix) ||
        !name.ends_with(suffix)) {
      continue;
    }
    const char* first = name.data() + prefix.size();
    const char* last = name.data() + name.size() - suffix.size();
    pid_t owner = 0;
    const auto parsed = std::from_chars(first, last, owner);
    if (parsed.ec != std::errc() || parsed.ptr != last || owner <= 0) continue;
    if (kill(owner, 0) == 0 || errno != ESRCH) continue;  // still at work
    ::unlinkat(::dirfd(directory), entry->d_name, 0);
  }
  ::closedir(directory);
}

}  // namespace

File::File(int descriptor, uint64_t size_bytes, int64_t modified, fs::path path)
    : descriptor_(descriptor),
      size_bytes_(size_bytes),
      modified_ns_(modified),
      path_(std::move(path)) {}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::shared_ptr<File>> File::open(const fs::path& path) {
  // The owner exists before what it owns: nothing leaks when memory runs out in between.
  std::shared_ptr<File> file(new File(-1, 0, 0, path));
  file->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file->descriptor_ < 0) return system_error(errno, "open", path);
  struct stat info {};
  if (::fstat(file->descriptor_, &info) != 0) return system_error(errno, "examine", path);
  if (!S_ISREG(info.st_mode)) {
    return error(Code::kInvalidArgument, "'{}' is not a regular file", path.native());
  }
  file->size_bytes_ = static_cast<uint64_t>(info.st_size);
  file->modified_ns_ = modified_ns(info);
  return file;
}

Status File::read_at(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const size_t chunk = std::min<size_t>(out.size(), size_t{1} << 30);
    const ssize_t got = ::pread(descriptor_, out.data(), chunk, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return system_error(errno, "read", path_);
    }
    if (got == 0) {
      return error(Code::kCorrupt, "'{}' ends at byte {}, {} bytes early", path_.native(), offset,
                   out.size());
    }
    out = out.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

Status File::check_unchanged() const {
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0) return system_error(errno, "examine", path_);
  if (static_cast<uint64_t>(info.st_size) != size_bytes_ || modified_ns(info) != modified_ns_) {
    return error(Code::kCorrupt, "'{}' was changed while in use; load it again", path_.native());
  }
  return {};
}

void File::release(uint64_t offset, uint64_t length) const noexcept {
  if (!std::in_range<off_t>(offset) || !std::in_range<off_t>(length) || length == 0) return;
  // A length of 0 would mean "to the end". The result is ignored: this is only advice.
  (void)::posix_fadvise(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(length),
                        POSIX_FADV_DONTNEED);
}

MappedFile::MappedFile(std::shared_ptr<File> file) : file_(std::move(file)) {}

Status MappedFile::check_unchanged() const {
  if (guard_ && guard_->damaged()) {
    return error(Code::kCorrupt, "'{}' was cut off while in use; load it again",
                 file_->path().native());
  }
  return file_->check_unchanged();
}

MappedFile::~MappedFile() {
  guard_.reset();  // before the addresses can belong to somebody else
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_bytes_);
}

Result<std::shared_ptr<MappedFile>> MappedFile::open(const fs::path& path) {
  auto file = BP_TRY(File::open(path));
  const uint64_t size = file->size_bytes();
  std::shared_ptr<MappedFile> mapping(new MappedFile(std::move(file)));
  if (size == 0) return mapping;  // an empty file maps to an empty span
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, mapping->file_->descriptor(), 0);
  if (mapped == MAP_FAILED) return system_error(errno, "map", path);
  mapping->data_ = static_cast<const std::byte*>(mapped);
  mapping->size_bytes_ = size;
  mapping->guard_.emplace(mapped, size);
  return mapping;
}

namespace {
void advise(const std::byte* base, uint64_t size, uint64_t offset, uint64_t length, int advice) {
  if (base == nullptr || offset >= size) return;
  length = std::min(length, size - offset);
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t first =
      advice == MADV_DONTNEED ? (offset + page - 1) / page * page : offset / page * page;
  const uint64_t last = advice == MADV_DONTNEED ? (offset + length) / page * page : offset + length;
  if (first < last) ::madvise(const_cast<std::byte*>(base) + first, last - first, advice);
}
}  // namespace

void MappedFile::will_need(uint64_t offset, uint64_t length) const noexcept {
  advise(data_, size_bytes_, offset, length, MADV_WILLNEED);
}

void MappedFile::release(uint64_t offset, uint64_t length) const noexcept {
  advise(data_, size_bytes_, offset, length, MADV_DONTNEED);
}

Result<std::string> read_text_file(const fs::path& path, uint64_t max_bytes) {
  auto file = BP_TRY(File::open(path));
  if (file->size_bytes() > max_bytes) {
    return error(Code::kExhausted, "'{}' has {} bytes; at most {} are accepted", path.native(),
                 file->size_bytes(), max_bytes);
  }
  std::string text(file->size_bytes(), '\0');
  BP_TRY(file->read_at(0, std::as_writable_bytes(std::span(text))));
  return text;
}

AtomicFile::AtomicFile(int descriptor, fs::path temporary, fs::path target, Existing existing)
    : descriptor_(descriptor),
      temporary_(std::move(temporary)),
      target_(std::move(target)),
      existing_(existing) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

Result<std::unique_ptr<AtomicFile>> AtomicFile::create(const fs::path& target, Existing existing) {
  std::error_code ignored;
  if (existing == Existing::kRefuse && fs::exists(fs::symlink_status(target, ignored))) {
    return error(Code::kFailedPrecondition, "'{}' exists already", target.native());
  }
  if (fs::is_directory(target, ignored)) {
    return error(Code::kInvalidArgument, "'{}' is a directory", target.native());
  }
  remove_stale_partials(target);
  fs::path temporary = target;
  temporary += fmt::format(".{}.partial", ::getpid());
  std::unique_ptr<AtomicFile> file(new AtomicFile(-1, std::move(temporary), target, existing));
  file->descriptor_ =
      ::open(file->temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file->descriptor_ < 0) return system_error(errno, "create", file->temporary_);
  return file;
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  BP_TRY(write_at(position_, bytes));
  position_ += bytes.size();
  return {};
}

Status AtomicFile::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t chunk = std::min<size_t>(bytes.size(), size_t{1} << 30);
    const ssize_t put = ::pwrite(descriptor_, bytes.data(), chunk, static_cast<off_t>(offset));
    if (put < 0) {
      if (errno == EINTR) continue;
      return system_error(errno, "write", target_);
    }
    bytes = bytes.subspan(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return {};
}

Status AtomicFile::pad_to(uint64_t offset) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  while (position_ < offset) {
    const uint64_t length = std::min<uint64_t>(kZeros.size(), offset - position_);
    BP_TRY(write(std::span(kZeros).first(length)));
  }
  return {};
}

Status AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) return system_error(errno, "flush", target_);
  if (existing_ == Existing::kRefuse) {  // link() fails on an existing name, rename() would not
    if (::link(temporary_.c_str(), target_.c_str()) != 0) {
      return system_error(errno, "create", target_);
    }
    ::unlink(temporary_.c_str());
  } else if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    return system_error(errno, "replace", target_);
  }
  ::close(descriptor_);
  descriptor_ = -1;
  return {};
}

}  // namespace bp
