#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of opening, converting and running large models.

    bench/shapes.py FILE.gguf --out bench/results/NAME.json [--quant keep] [--tokens 8]

Converts the file, runs it twice, and writes: seconds and peak memory of the conversion, load time,
decode speed, and peak resident memory beside the estimate made before anything was allocated.
"""
import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(command) -> tuple[str, float, int]:
    """stdout, seconds and peak resident bytes of one command."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command}: {err}")
    return out, time.perf_counter() - began, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--out", required=True)
    parser.add_argument("--quant", default="keep")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--program", default=str(ROOT / "build/release/bin/backplane"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=pathlib.Path(args.file).parent) as folder:
        model = str(pathlib.Path(folder) / "model.bpm")
        _, convert_s, convert_rss = run([args.program, "convert", args.file, "-o", model,
                                         "--quant", args.quant])
        estimate = json.loads(run([args.program, "inspect", model, "--memory", "--ctx",
                                   str(args.ctx), "--device", "cpu", "--json"])[0])["memory"]
        runs = []
        for _ in range(2):
            out, seconds, rss = run([args.program, "run", model, "-p", "Once upon a time", "--raw",
                                     "-n", str(args.tokens), "--ctx", str(args.ctx), "--device",
                                     "cpu", "--temperature", "0", "--ignore-eos", "--json"])
            timings = json.loads(out)["timings"]
            runs.append({"seconds": seconds, "peak_rss_bytes": rss, **timings})
        size = pathlib.Path(model).stat().st_size
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), platform.processor())
    report = {"command": f"bench/shapes.py {pathlib.Path(args.file).name} --quant {args.quant} "
                         f"--tokens {args.tokens} --ctx {args.ctx}",
              "machine": f"{cpu}, {os.cpu_count()} processors",
              "file": pathlib.Path(args.file).name, "quant": args.quant, "ctx": args.ctx,
              "date": time.strftime("%Y-%m-%d"), "file_bytes": size,
              "convert_seconds": convert_s, "convert_peak_rss_bytes": convert_rss,
              "estimate": estimate, "runs": runs,
              "peak_over_file_and_kv_bytes":
                  runs[-1]["peak_rss_bytes"] - size - estimate["kv_bytes"]}
    pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
