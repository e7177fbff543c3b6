#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Generated q4_g32 GEMV against a hand-written one, on an NVIDIA GPU: builds, checks, times, and
# prints a table; writes gemv_spike.json.
#
#   bench/gpu/gemv_spike.sh [--texts FOLDER] [--build-only]
#
# The generated texts come from FOLDER when given (made elsewhere by bp_render_gemv, so that the
# machine with the GPU needs nothing but nvcc), else from a build of this checkout.
# Results go to $OUT when set, else to build/gpu/.
set -euo pipefail
cd "$(dirname "$0")/../.."
texts="" build_only=0
while [ $# -gt 0 ]; do
  case "$1" in
    --texts) texts="$2"; shift 2 ;;
    --build-only) build_only=1; shift ;;
    *) echo "usage: $0 [--texts FOLDER] [--build-only]" >&2; exit 2 ;;
  esac
done
work="${WORK:-build/gpu}"
mkdir -p "$work"
nvcc="$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)"
if [ -z "$texts" ]; then
  cmake --preset release > "$work/configure.log"
  cmake --build build/release --target bp_render_gemv > "$work/build.log"
  texts="$work/texts"
  "$(find build/release -name bp_render_gemv -type f | head -1)" "$texts"
fi
"$nvcc" -arch="${BP_CUDA_ARCH:-sm_90}" -O3 -std=c++17 -lineinfo -o "$work/gemv_spike" bench/gpu/gemv_spike.cu -lnvrtc -lcuda \
  -L"$(dirname "$nvcc")/../lib64/stubs"
[ "$build_only" = 1 ] && { echo "built $work/gemv_spike"; exit 0; }
"$work/gemv_spike" "$texts" "${OUT:-$work}/gemv_spike.json"
