// SPDX-License-Identifier: Apache-2.0
// Writes the generated CUDA text of q4_g32 GEMV at the shapes of a 7B model, one file a schedule,
// and a manifest that gemv_spike reads:
//
//   file entry arithmetic rows columns threads groups lanes rows_per_thread unroll is_default
//
// Usage: bp_render_gemv FOLDER
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "kernels/legalize.h"
#include "kernels/library/gemv.h"
#include "kernels/render/render.h"

namespace bp::kernels {
namespace {

constexpr std::array<std::array<uint32_t, 2>, 5> kShapes = {
    {{4096, 4096}, {12288, 4096}, {22016, 4096}, {4096, 11008}, {32000, 4096}}};

bool same(const GemvSchedule& a, const GemvSchedule& b) {
  return a.threads == b.threads && a.lanes_per_row == b.lanes_per_row &&
         a.rows_per_thread == b.rows_per_thread && a.unroll == b.unroll;
}

std::vector<GemvSchedule> schedules(const GemvSchedule& first) {
  std::vector<GemvSchedule> out = {first};
  for (uint32_t threads : {64u, 128u, 256u}) {
    for (uint32_t lanes : {8u, 16u, 32u, 64u}) {
      for (uint32_t rows : {1u, 2u, 4u}) {
        for (uint32_t unroll : {1u, 4u}) {
          const GemvSchedule d{threads, lanes, rows, unroll};
          // Around 128 threads and whole warps everything; elsewhere what has a reason to win.
          const bool odd = lanes == 8 || lanes == 64 || threads != 128;
          if (same(d, first) || lanes > threads || (odd && unroll == 1)) continue;
          if ((lanes == 8 && rows != 1) || (lanes == 64 && rows == 4)) continue;
          if (threads != 128 && lanes != 32) continue;
          out.push_back(d);
        }
      }
    }
  }
  return out;
}

Status write_all(const std::filesystem::path& folder) {
  const Caps& caps = *find_profile("cuda");
  std::ofstream manifest(folder / "manifest.txt");
  uint32_t count = 0;
  for (const auto& [rows, columns] : kShapes) {
    for (bool int8 : {true, false}) {
      const GemvSpec spec{.format = "q4_g32", .int8 = int8, .rows = rows, .columns = columns};
      const GemvSchedule first = default_schedule(spec, caps);
      for (const GemvSchedule& d : schedules(first)) {
        const Kernel kernel = BP_TRY(legalize(BP_TRY(build_gemv(spec, d)), caps));
        const std::string text = BP_TRY(render(kernel, caps));
        const std::string file = fmt::format("gemv{}.cu", count++);
        std::ofstream(folder / file) << text;
        manifest << fmt::format("{} {} {} {} {} {} {} {} {} {} {}\n", file,
                                entry_point(kernel, caps), int8 ? "int8" : "f32", rows, columns,
                                d.threads, gemv_groups(spec, d), d.lanes_per_row, d.rows_per_thread,
                                d.unroll, same(d, first) ? 1 : 0);
      }
    }
  }
  manifest.flush();
  if (!manifest) return error(Code::kUnavailable, "cannot write into {}", folder.string());
  std::printf("%u kernels in %s\n", count, folder.c_str());
  return {};
}

}  // namespace
}  // namespace bp::kernels

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: bp_render_gemv FOLDER\n", stderr);
    return 2;
  }
  std::error_code code;
  std::filesystem::create_directories(argv[1], code);
  const bp::Status status = bp::kernels::write_all(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return status.ok() ? 0 : 1;
}
