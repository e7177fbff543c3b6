// SPDX-License-Identifier: Apache-2.0
#include "tests/mockgpu/program.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>

extern char** environ;

namespace mock {
namespace {

constexpr char kMagic[8] = {'B', 'P', 'M', 'O', 'C', 'K', '0', '1'};
constexpr size_t kMaxArguments = 64;

struct Header {
  char magic[8];
  uint64_t bytes;
  char arch[48];
};

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && value[0] != '\0' ? value : otherwise;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

uint64_t hash_of(const std::string& text, uint64_t seed) {
  for (const char c : text) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return seed ^ seed >> 29;
}

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// Text behind the renderer's prologue, which names things that are no kernels.
std::string body_of(const std::string& text) {
  const size_t at = text.rfind("#endif");
  return at == std::string::npos ? text : text.substr(at + 6);
}

// Names of the kernels: identifiers before the parameter list, attributes skipped.
std::vector<std::string> kernels_in(const std::string& body) {
  std::vector<std::string> names;
  for (const char* const mark : {"__global__", "BP_KERNEL"}) {
    for (size_t at = body.find(mark); at != std::string::npos; at = body.find(mark, at)) {
      at += std::strlen(mark);
      while (at < body.size()) {
        while (at < body.size() && !is_word(body[at])) ++at;
        size_t end = at;
        while (end < body.size() && is_word(body[end])) ++end;
        const std::string word = body.substr(at, end - at);
        at = end;
        if (at >= body.size() || body[at] != '(') continue;
        if (word != "__launch_bounds__" && word != "__attribute__") {
          names.push_back(word);
          break;
        }
        for (int depth = 0; at < body.size(); ++at) {
          depth += body[at] == '(' ? 1 : body[at] == ')' ? -1 : 0;
          if (depth == 0) break;
        }
      }
    }
  }
  return names;
}

// Runs the compiler with its output in a file; true when it succeeded.
bool run_compiler(const std::vector<std::string>& arguments, const std::string& log_path) {
  std::vector<char*> pointers;
  for (const std::string& a : arguments) pointers.push_back(const_cast<char*>(a.c_str()));
  pointers.push_back(nullptr);
  // The driver's own libraries must not reach the compiler.
  std::vector<char*> variables;
  for (char** v = environ; *v != nullptr; ++v) {
    if (std::strncmp(*v, "LD_", 3) != 0) variables.push_back(*v);
  }
  variables.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child = 0;
  const int spawned =
      posix_spawnp(&child, pointers[0], &actions, nullptr, pointers.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  if (spawned != 0) return false;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string sealed(const std::string& object, const std::string& arch) {
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.bytes = object.size();
  std::strncpy(header.arch, arch.c_str(), sizeof header.arch - 1);
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + object;
}

std::vector<std::string> compiler_command() {
  std::istringstream words(environment("BACKPLANE_MOCK_CXX", BP_MOCK_CXX) + " " +
                           environment("BACKPLANE_MOCK_FLAGS", BP_MOCK_FLAGS) +
                           " -std=c++17 -w -fPIC -shared -fvisibility=hidden -x c++");
  std::vector<std::string> command;
  for (std::string word; words >> word;) command.push_back(word);
  return command;
}

std::string source_of(const std::string& text, const std::string& dialect) {
  const std::string body = body_of(text);
  bool synchronizes = false;
  for (const char* const name : {"__syncthreads", "__shfl", "bp_barrier", "bp_shuffle", "bp_mma"}) {
    synchronizes = synchronizes || body.find(name) != std::string::npos;
  }
  // HIP text says how wide a wave is only behind the prelude, which wants to know.
  std::string wave;
  const size_t stated = text.find("#define BP_SUBGROUP ");
  if (stated == 0) wave = text.substr(0, text.find('\n') + 1);
  std::string source = wave + "#define BP_MOCK_" + dialect + "\n#define BP_MOCK_SYNCHRONIZES " +
                       (synchronizes ? "1" : "0") + "\n" + read_file(BP_MOCK_PRELUDE) +
                       "\n#line 1 \"kernel\"\n" + text + "\n";
  for (const std::string& name : kernels_in(body)) source += "BP_MOCK_ENTRY(" + name + ")\n";
  return source;
}

}  // namespace

CompileResult compile_text(const std::string& text, const std::string& dialect,
                           const std::string& arch) {
  namespace fs = std::filesystem;
  CompileResult out;
  const std::string source = source_of(text, dialect);
  std::vector<std::string> command = compiler_command();
  std::string key = source;
  for (const std::string& word : command) key += "\n" + word;
  char name[40];
  std::snprintf(name, sizeof name, "%016llx%016llx",
                static_cast<unsigned long long>(hash_of(key, 0xcbf29ce484222325u)),
                static_cast<unsigned long long>(hash_of(key, 0x9ae16a3b2f90404fu)));
  const std::string cache = environment("BACKPLANE_MOCK_CACHE", "");
  std::error_code ignored;
  if (!cache.empty()) {
    fs::create_directories(cache, ignored);
    const std::string object = read_file(cache + "/" + name);
    if (!object.empty()) return out.ok = true, out.image = sealed(object, arch), out;
  }
  std::string folder = environment("TMPDIR", "/tmp") + "/bpmockXXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return out.log = "no temporary folder", out;
  std::ofstream(folder + "/kernel.cc", std::ios::binary) << source;
  command.insert(command.end(), {folder + "/kernel.cc", "-o", folder + "/kernel.so"});
  out.ok = run_compiler(command, folder + "/log");
  out.log = read_file(folder + "/log");
  const std::string object = read_file(folder + "/kernel.so");
  if (out.ok && object.empty()) out.ok = false;
  if (out.ok && !cache.empty()) {
    const std::string place = cache + "/" + name;
    const std::string fresh =
        place + "." + std::to_string(getpid()) + folder.substr(folder.size() - 6);
    std::ofstream(fresh, std::ios::binary) << object;
    fs::rename(fresh, place, ignored);
  }
  if (out.ok) out.image = sealed(object, arch);
  if (!out.ok && out.log.empty()) out.log = "the compiler '" + command[0] + "' could not be run";
  fs::remove_all(folder, ignored);
  return out;
}

struct Program::Lock {
  std::mutex mutex;
};

Program::~Program() {
  if (library_ != nullptr) dlclose(library_);
}

std::shared_ptr<Program> Program::load(const void* image, const std::string& arch) {
  Header header;
  std::memcpy(&header, image, sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || arch != header.arch) return nullptr;
  // A fresh name each time: the loader takes equal names for equal libraries.
  std::string path = environment("TMPDIR", "/tmp") + "/bpmockXXXXXX";
  const int fd = mkstemp(path.data());
  if (fd < 0) return nullptr;
  const char* at = static_cast<const char*>(image) + sizeof header;
  bool written = true;
  for (uint64_t done = 0; done < header.bytes && written;) {
    const ssize_t n = write(fd, at + done, header.bytes - done);
    written = n > 0;
    if (written) done += static_cast<uint64_t>(n);
  }
  close(fd);
  auto program = std::make_shared<Program>();
  program->lock_ = std::make_unique<Lock>();
  if (written) program->library_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  unlink(path.c_str());
  if (program->library_ == nullptr) return nullptr;
  using Bind = void (*)(const Hooks*, Bound*);
  const auto bind = reinterpret_cast<Bind>(dlsym(program->library_, "bp_mock_bind"));
  if (bind == nullptr) return nullptr;
  bind(&kHooks, &program->bound_);
  return program;
}

bool Program::find(const std::string& name, Kernel* out) const {
  using Arguments = unsigned (*)(unsigned*);
  out->entry =
      reinterpret_cast<void (*)(void**)>(dlsym(library_, ("bp_mock_entry_" + name).c_str()));
  const auto arguments =
      reinterpret_cast<Arguments>(dlsym(library_, ("bp_mock_arguments_" + name).c_str()));
  if (out->entry == nullptr || arguments == nullptr) return false;
  unsigned bytes[kMaxArguments];
  const unsigned count = arguments(bytes);
  out->argument_bytes.assign(bytes, bytes + count);
  return true;
}

const char* Program::run(const Kernel& kernel, const uint32_t grid[3], uint32_t threads,
                         uint32_t subgroup, void** arguments) {
  const std::lock_guard lock(lock_->mutex);
  const unsigned dimensions[3] = {threads, 1, 1};
  std::memcpy(bound_.block_dim, dimensions, sizeof dimensions);
  std::memcpy(bound_.grid_dim, grid, 3 * sizeof grid[0]);
  const GroupRun run{kernel.entry, arguments, &bound_, threads, subgroup};
  for (uint32_t z = 0; z < grid[2]; ++z) {
    for (uint32_t y = 0; y < grid[1]; ++y) {
      for (uint32_t x = 0; x < grid[0]; ++x) {
        const unsigned block[3] = {x, y, z};
        std::memcpy(bound_.block, block, sizeof block);
        // Whoever reads shared memory before writing it shall get NaNs, not zeros.
        if (shared_bytes() != 0) std::memset(bound_.shared_begin, 0xff, shared_bytes());
        if (const char* const why = run_group(run)) return why;
      }
    }
  }
  return nullptr;
}

}  // namespace mock
