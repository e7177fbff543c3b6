// SPDX-License-Identifier: Apache-2.0
// Compilers behind the compile checks. Programs run as child processes on files in a fresh folder.
#include "kernels/testing/compilers.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace bp::kernels::testing {
namespace {

namespace fs = std::filesystem;

// A folder that lives as long as the object.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "bp-kernels-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Runs a shell command with its output in `log`; true when it succeeded.
bool run(const std::string& command, const std::string& log_file, std::string* log) {
  const int code = std::system(fmt::format("{} > {} 2>&1", command, log_file).c_str());
  *log = read(log_file);
  return code == 0;
}

bool on_path(const std::string& program) {
  return std::system(fmt::format("command -v {} > /dev/null 2>&1", program).c_str()) == 0;
}

// The first clang that takes these options, by trying them on an empty file.
std::string find_clang(const char* options) {
  for (const char* name : {"clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang"}) {
    const std::string probe =
        fmt::format("{} {} -S -o /dev/null /dev/null > /dev/null 2>&1", name, options);
    if (on_path(name) && std::system(probe.c_str()) == 0) return name;
  }
  return {};
}

// One that knows AMD's GPUs up to gfx1100.
const std::string& hip_compiler() {
  static const std::string kName =
      find_clang("-x hip --offload-arch=gfx1100 --cuda-device-only -nogpuinc -nogpulib");
  return kName;
}

constexpr char kPtxOptions[] =
    "-x cl -cl-std=CL1.2 -target nvptx64-nvidia-nvcl -Xclang -finclude-default-header "
    "-Xclang -target-feature -Xclang +ptx63 -fgnu-keywords";
const std::string& ptx_compiler() {
  static const std::string kName = find_clang(kPtxOptions);
  return kName;
}

// NVRTC's handful of entry points, as its documentation declares them.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*,
                const char* const*) = nullptr;
  int (*compile)(Program, int, const char* const*) = nullptr;
  int (*log_size)(Program, size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*ptx_size)(Program, size_t*) = nullptr;
  int (*ptx)(Program, char*) = nullptr;
  int (*destroy)(Program*) = nullptr;
  bool loaded = false;

  Nvrtc() {
    void* library = nullptr;
    for (const char* name : {"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2",
                             "/usr/local/cuda/lib64/libnvrtc.so"}) {
      if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    if (library == nullptr) return;
    loaded = find(library, "nvrtcCreateProgram", &create) &&
             find(library, "nvrtcCompileProgram", &compile) &&
             find(library, "nvrtcGetProgramLogSize", &log_size) &&
             find(library, "nvrtcGetProgramLog", &log) &&
             find(library, "nvrtcGetPTXSize", &ptx_size) && find(library, "nvrtcGetPTX", &ptx) &&
             find(library, "nvrtcDestroyProgram", &destroy);
  }

  template <typename F>
  static bool find(void* library, const char* name, F* out) {
    *out = reinterpret_cast<F>(dlsym(library, name));
    return *out != nullptr;
  }
};

}  // namespace

Compiled compile_cuda(const std::string& text, uint32_t arch) {
  static const Nvrtc kNvrtc;
  Compiled out;
  if (!kNvrtc.loaded) return out.log = "NVRTC (libnvrtc.so) is absent", out;
  Nvrtc::Program program = nullptr;
  out.state = Compiled::kFailed;
  if (kNvrtc.create(&program, text.c_str(), "kernel.cu", 0, nullptr, nullptr) != 0) return out;
  const std::string target = fmt::format("--gpu-architecture=compute_{}", arch);
  const char* options[] = {target.c_str(), "--std=c++17"};
  const int code = kNvrtc.compile(program, 2, options);
  size_t bytes = 0;
  kNvrtc.log_size(program, &bytes);
  out.log.resize(bytes);
  kNvrtc.log(program, out.log.data());
  if (code == 0) {
    out.state = Compiled::kOk;
    kNvrtc.ptx_size(program, &bytes);
    out.assembly.resize(bytes);
    kNvrtc.ptx(program, out.assembly.data());
  }
  kNvrtc.destroy(&program);
  return out;
}

Compiled compile_hip(const std::string& text, const std::string& arch) {
  Compiled out;
  if (hip_compiler().empty())
    return out.log = "no clang with AMD GPU support (Debian: clang-15)", out;
  const Folder folder;
  write(folder.file("kernel.hip"), text);
  const bool ok =
      run(fmt::format("{} -x hip --offload-arch={} --cuda-device-only -nogpuinc -nogpulib -O3 "
                      "-ffp-contract=off -Werror -S -o {} {}",
                      hip_compiler(), arch, folder.file("out.s"), folder.file("kernel.hip")),
          folder.file("log"), &out.log);
  out.state = ok ? Compiled::kOk : Compiled::kFailed;
  out.assembly = read(folder.file("out.s"));
  return out;
}

Compiled compile_opencl_ptx(const std::string& text, uint32_t arch) {
  Compiled out;
  if (ptx_compiler().empty()) return out.log = "no clang with NVIDIA GPU support", out;
  const Folder folder;
  write(folder.file("kernel.cl"), text);
  const bool ok = run(fmt::format("{} {} -march=sm_{} -O1 -S -o {} {}", ptx_compiler(), kPtxOptions,
                                  arch, folder.file("out.s"), folder.file("kernel.cl")),
                      folder.file("log"), &out.log);
  out.state = ok ? Compiled::kOk : Compiled::kFailed;
  out.assembly = read(folder.file("out.s"));
  return out;
}

Compiled compile_glsl(const std::string& text) {
  static const bool kThere = on_path("glslangValidator") && on_path("spirv-val");
  Compiled out;
  if (!kThere)
    return out.log = "glslangValidator or spirv-val (Debian: glslang-tools, spirv-tools) is absent",
           out;
  const Folder folder;
  write(folder.file("kernel.comp"), text);
  bool ok = run(fmt::format("glslangValidator -V --target-env vulkan1.2 -S comp -o {} {}",
                            folder.file("out.spv"), folder.file("kernel.comp")),
                folder.file("log"), &out.log);
  // Modules with matrices become valid in the Vulkan plugin (see name_matrix_components there), and
  // validators of this compiler's age do not know them.
  if (ok && text.find("SPV_KHR_cooperative_matrix") == std::string::npos)
    ok = run(fmt::format("spirv-val --target-env vulkan1.2 {}", folder.file("out.spv")),
             folder.file("log"), &out.log);
  out.state = ok ? Compiled::kOk : Compiled::kFailed;
  const std::string bytes = read(folder.file("out.spv"));
  out.spirv.resize(bytes.size() / 4);
  bytes.copy(reinterpret_cast<char*>(out.spirv.data()), out.spirv.size() * 4);
  return out;
}

}  // namespace bp::kernels::testing
