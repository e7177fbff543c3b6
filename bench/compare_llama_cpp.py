#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed beside llama.cpp on the same GGUF files, in one alternating run.

    bench/compare_llama_cpp.py FILE.gguf… --out bench/results/NAME.json [--repeat 5]
    bench/compare_llama_cpp.py FILE.gguf… --out … --device vulkan --gpu-layers 99

Needs the PyPI packages llama-cpp-python (built for this machine: CMAKE_ARGS=-DGGML_NATIVE=ON, for
the second form also -DGGML_VULKAN=ON) and numpy in the Python that runs it, and a release build of
backplane. On lavapipe set GGML_VK_VISIBLE_DEVICES=0, since llama.cpp passes over CPU devices. Each repeat starts both
programs anew, one after the other, in turn; the first of a pair changes every time. Figures are
medians with the smallest and the largest.
"""
import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def measure_llama(path: str, threads: int, prompt: int, generate: int, layers: int) -> dict:
    """Runs in a process of its own."""
    import llama_cpp
    import numpy as np
    began = time.perf_counter()
    llama = llama_cpp.Llama(model_path=path, n_ctx=max(prompt, generate + 2), n_batch=512,
                            n_ubatch=512, n_threads=threads, n_threads_batch=threads,
                            n_gpu_layers=layers, verbose=False)
    load = time.perf_counter() - began
    ids = np.random.default_rng(1).integers(0, llama.n_vocab(), prompt).tolist()
    llama.reset()
    llama.eval([1])
    for _ in range(4):
        llama.eval([2])
    llama.reset()
    began = time.perf_counter()
    llama.eval(ids)
    prompt_rate = prompt / (time.perf_counter() - began)
    llama.reset()
    llama.eval([1])
    began = time.perf_counter()
    for i in range(generate - 1):
        llama.eval([2 + i % 1000])
    generate_rate = (generate - 1) / (time.perf_counter() - began)
    return {"prompt": prompt_rate, "generate": generate_rate, "load_ms": load * 1e3,
            "version": llama_cpp.__version__}


def run_llama(path, args) -> dict:
    done = subprocess.run([sys.executable, __file__, "--worker", path, str(args.threads),
                           str(args.prompt), str(args.gen), str(args.gpu_layers)],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run_backplane(path, args) -> dict:
    done = subprocess.run([args.program, "bench", path, "--device", args.device, "--threads",
                           str(args.threads), "--prompt", str(args.prompt), "--gen",
                           str(args.gen), "--repeat", "1", "--json"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    report = json.loads(done.stdout)
    return {"prompt": report["prompt"]["tok_s"]["median"],
            "generate": report["generate"]["tok_s"]["median"], "load_ms": report["load_ms"],
            "stream_gb_s": report["stream_gb_s"], "bytes_per_token": report["bytes_per_token"],
            "peak_rss_bytes": report["peak_rss_bytes"]}


def spread(values) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def compare(path, args) -> dict:
    ours, theirs = [], []
    run_backplane(path, args)  # converts into the cache, and warms the page cache for both
    for i in range(args.repeat):
        for which in ("ours", "theirs") if i % 2 == 0 else ("theirs", "ours"):
            if which == "ours":
                ours.append(run_backplane(path, args))
            else:
                theirs.append(run_llama(path, args))
        print(f"{pathlib.Path(path).name} {i + 1}/{args.repeat}: prompt "
              f"{ours[-1]['prompt']:.1f} against {theirs[-1]['prompt']:.1f}, decode "
              f"{ours[-1]['generate']:.2f} against {theirs[-1]['generate']:.2f}", file=sys.stderr)
    result = {"file": pathlib.Path(path).name, "repeats": args.repeat,
              "llama_cpp_python": theirs[0]["version"]}
    for what in ("prompt", "generate"):
        a, b = [x[what] for x in ours], [x[what] for x in theirs]
        result[what] = {"backplane_tok_s": spread(a), "llama_cpp_tok_s": spread(b),
                        "ratio_of_medians": statistics.median(a) / statistics.median(b),
                        "ratios": spread([x / y for x, y in zip(a, b)])}
    stream = statistics.median(x["stream_gb_s"] for x in ours)
    used = statistics.median(x["generate"] * x["bytes_per_token"] / 1e9 for x in ours)
    result["stream_gb_s"] = stream
    result["stream_share_of_decode"] = used / stream
    result["load_ms"] = {"backplane": spread([x["load_ms"] for x in ours]),
                         "llama_cpp": spread([x["load_ms"] for x in theirs])}
    result["peak_rss_bytes"] = max(x["peak_rss_bytes"] for x in ours)
    return result


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "--worker":
        path, *numbers = sys.argv[2:7]
        print(json.dumps(measure_llama(path, *map(int, numbers))))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--device", default="cpu", help="of backplane")
    parser.add_argument("--gpu-layers", type=int, default=0, help="of llama.cpp")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--gen", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--program", default=str(ROOT / "build/release/bin/backplane"))
    args = parser.parse_args()
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True,
                            text=True).stdout.strip()
    report = {"command": " ".join(["bench/compare_llama_cpp.py",
                                   *[pathlib.Path(f).name for f in args.files],
                                   "--device", args.device, "--gpu-layers", str(args.gpu_layers),
                                   "--threads", str(args.threads), "--prompt", str(args.prompt),
                                   "--gen", str(args.gen), "--repeat", str(args.repeat)]),
              "date": time.strftime("%Y-%m-%d"), "cpu": cpu, "threads": args.threads,
              "commit": commit, "python": platform.python_version(), "models": []}
    for path in args.files:
        report["models"].append(compare(path, args))
        pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")
    for model in report["models"]:
        print(f"{model['file']}: prompt {model['prompt']['ratio_of_medians']:.2f} x, decode "
              f"{model['generate']['ratio_of_medians']:.2f} x llama.cpp, "
              f"{model['stream_share_of_decode'] * 100:.0f} % of the memory stream")


if __name__ == "__main__":
    main()
