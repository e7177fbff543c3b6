#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Decode and prompt speed of one model on several devices, in alternating runs.

    bench/devices.py MODEL.bpm --device cuda --device vulkan --out bench/results/NAME.json

Every round measures each device once: a prompt of 512 tokens, then 512 tokens generated from a prompt
of one. What the device's memory gives is measured in the same run, by a kernel that only reads.
Writes medians and spreads, the command, the machine, drivers and versions, and prints a table.
"""
import argparse
import datetime
import json
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def output(command) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def spread(values) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "all": values}


def revision() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True,
                          text=True)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--device", action="append", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--gen", type=int, default=512)
    parser.add_argument("--note", default="")
    parser.add_argument("--revision", default=revision())
    parser.add_argument("--program", default=str(ROOT / "build/release/bin/backplane"))
    args = parser.parse_args()
    rounds = {device: [] for device in args.device}
    for _ in range(args.rounds):
        for device in args.device:
            command = [args.program, "bench", args.model, "--device", device, "--repeat", "2",
                       "--json"]
            prompt = json.loads(output(command + ["--prompt", str(args.prompt), "--gen", "0"]))
            decode = json.loads(output(command + ["--prompt", "1", "--gen", str(args.gen)]))
            rounds[device].append((prompt, decode))
    results = []
    for device, runs in rounds.items():
        decode = [d["generate"]["tok_s"]["median"] for _, d in runs]
        stream = [d["stream_gb_s"] for _, d in runs]
        bytes_per_token = runs[0][1]["bytes_per_token"]
        results.append({
            "device": runs[0][1]["device"],
            "prompt_tokens": args.prompt,
            "prompt_tok_s": spread([p["prompt"]["tok_s"]["median"] for p, _ in runs]),
            "generated_tokens": args.gen,
            "generate_tok_s": spread(decode),
            "bytes_per_token": bytes_per_token,
            "stream_gb_s": spread(stream),
            "stream_share": statistics.median(decode) * bytes_per_token / 1e9
                            / max(statistics.median(stream), 1e-9),
            "launches_per_token": runs[0][1]["launches_per_token"],
            "load_ms": spread([p["load_ms"] for p, _ in runs]),
            "peak_rss_bytes": runs[0][1]["peak_rss_bytes"],
            "fallback_steps": runs[0][1]["fallback_steps"],
        })
    record = {
        "date": datetime.date.today().isoformat(),
        "command": "bench/devices.py " + " ".join(
            [pathlib.Path(args.model).name] + [f"--device {d}" for d in args.device]
            + [f"--rounds {args.rounds} --prompt {args.prompt} --gen {args.gen}"]),
        "revision": args.revision,
        "note": args.note,
        "machine": {"processor": platform.processor() or platform.machine(),
                    "system": platform.platform()},
        "devices": json.loads(output([args.program, "devices", "--json"])),
        "results": results,
    }
    pathlib.Path(args.out).write_text(json.dumps(record, indent=1) + "\n")
    print(f"{'device':12} {'prompt tok/s':>14} {'decode tok/s':>14} {'read GB/s':>10} {'share':>6} "
          f"{'launches':>9}")
    for r in results:
        print(f"{r['device']:12} {r['prompt_tok_s']['median']:14.1f} "
              f"{r['generate_tok_s']['median']:14.1f} {r['stream_gb_s']['median']:10.0f} "
              f"{r['stream_share']:6.2f} {r['launches_per_token']:9}")


if __name__ == "__main__":
    main()
