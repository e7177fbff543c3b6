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

// The entry points of NVRTC and hipRTC, which differ in their prefix and in what they give.
struct RuntimeCompiler {
  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*,
                const char* const*) = nullptr;
  int (*compile)(Program, int, const char* const*) = nullptr;
  int (*log_size)(Program, size_t*) = nullptr;
  int (*log)(Program, char*) = nullptr;
  int (*result_size)(Program, size_t*) = nullptr;
  int (*result)(Program, char*) = nullptr;
  int (*destroy)(Program*) = nullptr;
  bool loaded = false;

  RuntimeCompiler(std::initializer_list<const char*> names, const std::string& prefix,
                  const std::string& result_name) {
    void* library = nullptr;
    for (const char* name : names) {
      if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    if (library == nullptr) return;
    loaded = find(library, prefix + "CreateProgram", &create) &&
             find(library, prefix + "CompileProgram", &compile) &&
             find(library, prefix + "GetProgramLogSize", &log_size) &&
             find(library, prefix + "GetProgramLog", &log) &&
             find(library, prefix + "Get" + result_name + "Size", &result_size) &&
             find(library, prefix + "Get" + result_name, &result) &&
             find(library, prefix + "DestroyProgram", &destroy);
  }

  Compiled run(const std::string& text, const std::vector<std::string>& options) const {
    Compiled out;
    Program program = nullptr;
    out.state = Compiled::kFailed;
    if (create(&program, text.c_str(), "kernel", 0, nullptr, nullptr) != 0) return out;
    std::vector<const char*> pointers;
    for (const std::string& option : options) pointers.push_back(option.c_str());
    const int code = compile(program, static_cast<int>(pointers.size()), pointers.data());
    size_t bytes = 0;
    log_size(program, &bytes);
    out.log.resize(bytes);
    log(program, out.log.data());
    if (code == 0) {
      out.state = Compiled::kOk;
      result_size(program, &bytes);
      out.assembly.resize(bytes);
      result(program, out.assembly.data());
    }
    destroy(&program);
    return out;
  }

  template <typename F>
  static bool find(void* library, const std::string& name, F* out) {
    *out = reinterpret_cast<F>(dlsym(library, name.c_str()));
    return *out != nullptr;
  }
};

Compiled absent(std::string what) {
  Compiled out;
  out.log = std::move(what);
  return out;
}

}  // namespace

Compiled compile_cuda(const std::string& text, uint32_t arch) {
  static const RuntimeCompiler kNvrtc({"libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12",
                                       "libnvrtc.so.11.2", "/usr/local/cuda/lib64/libnvrtc.so"},
                                      "nvrtc", "PTX");
  if (!kNvrtc.loaded) return absent("NVRTC (libnvrtc.so) is absent");
  return kNvrtc.run(text, {fmt::format("--gpu-architecture=compute_{}", arch), "--std=c++17"});
}

Compiled compile_hiprtc(const std::string& text, const std::string& arch) {
  static const RuntimeCompiler kHiprtc({"libamdhip64.so.5"}, "hiprtc", "Code");
  if (!kHiprtc.loaded) return absent("hipRTC (Debian: libamdhip64-5) is absent");
  return kHiprtc.run(text, {"--offload-arch=" + arch});
}

Compiled compile_hip(const std::string& text, const std::string& arch) {
  if (hip_compiler().empty()) return absent("no clang with AMD GPU support (Debian: clang-15)");
  Compiled out;
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
  if (ptx_compiler().empty()) return absent("no clang with NVIDIA GPU support");
  Compiled out;
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
  if (!kThere) {
    return absent("glslangValidator or spirv-val (Debian: glslang-tools, spirv-tools) is absent");
  }
  Compiled out;
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
