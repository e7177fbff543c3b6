// SPDX-License-Identifier: Apache-2.0
#include "core/platform/process.h"

#include <dlfcn.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <system_error>

namespace bp {
namespace fs = std::filesystem;

fs::path library_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&library_folder), &info) == 0 ||
      info.dli_fname == nullptr) {
    return {};
  }
  std::error_code failure;
  const fs::path file = fs::canonical(info.dli_fname, failure);
  // For code inside the program dladdr repeats argv[0], which need not be a path.
  return failure ? program_folder() : file.parent_path();
}

fs::path program_folder() {
  std::error_code failure;
  const fs::path file = fs::read_symlink("/proc/self/exe", failure);
  return failure ? fs::path() : file.parent_path();
}

bool runs_privileged() {
  return ::getauxval(AT_SECURE) != 0;
}

std::optional<std::string> environment(const char* name) {
  if (runs_privileged()) return std::nullopt;
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

fs::path cache_folder() {
  if (auto root = environment("XDG_CACHE_HOME"); root && fs::path(*root).is_absolute()) {
    return fs::path(*root) / "backplane";
  }
  if (auto home = environment("HOME"); home && fs::path(*home).is_absolute()) {
    return fs::path(*home) / ".cache" / "backplane";
  }
  return {};
}

uint32_t available_cpus() {
  uint32_t count = 1;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    count = static_cast<uint32_t>(std::max(1, CPU_COUNT(&set)));
  }
  std::ifstream quota("/sys/fs/cgroup/cpu.max");
  std::string limit;
  double period = 0;
  if (quota >> limit >> period && limit != "max" && period > 0) {
    const double cpus = std::strtod(limit.c_str(), nullptr) / period;
    if (cpus >= 0.01 && cpus < count) count = static_cast<uint32_t>(std::max(1.0, cpus + 0.5));
  }
  return count;
}

uint64_t peak_resident_bytes() {
  struct rusage usage {};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

namespace {
Status check_owner_and_mode(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return error(errno == ENOENT ? Code::kNotFound : Code::kDenied, "cannot examine '{}': {}",
                 path.native(), std::generic_category().message(errno));
  }
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return error(Code::kDenied, "'{}' belongs to user {}, neither root nor you", path.native(),
                 info.st_uid);
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return error(Code::kDenied,
                 "'{}' may be written by others; remove that permission (chmod go-w)",
                 path.native());
  }
  return {};
}
}  // namespace

Status check_trusted(const fs::path& path) {
  std::error_code failure;
  const fs::path real = fs::canonical(path, failure);
  if (failure) {
    return error(Code::kNotFound, "cannot resolve '{}': {}", path.native(), failure.message());
  }
  BP_TRY(check_owner_and_mode(real));
  return check_owner_and_mode(real.parent_path());
}

}  // namespace bp
