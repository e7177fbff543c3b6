#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prompts by the vendor's matrix library beside those by our own kernels, on a real card.

    bench/vendor_gemm.py MODEL.bpm --device cuda --out bench/results/NAME.json

First holds the library, and prompts that go through it, to the references of
backplane-conformance. Then measures prompts of several lengths with BACKPLANE_VENDOR_GEMM off, on
and auto, in alternating runs, and tells what auto measured and chose for each shape.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODES = ("off", "on", "auto")


def run(command, mode, cache):
    environment = {**os.environ, "BACKPLANE_VENDOR_GEMM": mode, "XDG_CACHE_HOME": cache}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "all": values}


def check(build, plugin, cache):
    """What the checks say; ends the program when one of them fails."""
    manifest = build / "lib" / "plugins.d" / f"{plugin}.plugin.json"
    done = run([build / "bin" / "backplane-conformance", "--filter", "^(gemm|kernels[.]linear)",
                manifest], "on", cache)
    lines = [x.strip() for x in done.stdout.splitlines() if "gemm." in x or "linear" in x]
    print("\n".join(lines))
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", required=True)
    parser.add_argument("--prompt", type=int, action="append", help="tokens; default 128 512 2048")
    parser.add_argument("--batch", type=int, default=512, help="tokens of a pass")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="")
    parser.add_argument("--skip-checks", action="store_true")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build" / "release")
    args = parser.parse_args()
    lengths = args.prompt or [128, 512, 2048]
    # A cache of its own, so that auto measures now and not what another run has found.
    with tempfile.TemporaryDirectory(prefix="backplane-bench-") as cache:
        checks = [] if args.skip_checks else check(args.build, args.device.split(":")[0], cache)
        rates = {mode: {n: [] for n in lengths} for mode in MODES}
        choices, plan = [], []
        for _ in range(args.rounds):
            for n in lengths:
                for mode in MODES:
                    done = run([args.build / "bin" / "backplane", "--log-level", "info", "bench",
                                args.model, "--device", args.device, "--prompt", str(n), "--gen",
                                "0", "--batch", str(args.batch), "--repeat", "3", "--explain",
                                "--json"], mode, cache)
                    got = json.loads(done.stdout)
                    rates[mode][n].append(got["prompt"]["tok_s"]["median"])
                    choices += [x for x in done.stderr.splitlines() if "by our kernels" in x]
                    plan = [x for x in got["plan"] if "prompts by" in x][:1] or plan
    out = {
        "command": " ".join(sys.argv), "date": datetime.date.today().isoformat(),
        "machine": platform.platform(), "note": args.note, "device": args.device,
        "model": args.model, "batch": args.batch, "plan": plan, "checks": checks,
        "choices": choices,
        "tok_s": {mode: {str(n): spread(v) for n, v in rows.items()}
                  for mode, rows in rates.items()},
    }
    pathlib.Path(args.out).write_text(json.dumps(out, indent=1) + "\n")
    print("\n".join(choices))
    print(f"{'tokens':>8} " + " ".join(f"{mode:>10}" for mode in MODES) + "   on/off")
    for n in lengths:
        medians = [out["tok_s"][mode][str(n)]["median"] for mode in MODES]
        print(f"{n:>8} " + " ".join(f"{x:>10.0f}" for x in medians) +
              f"   {medians[1] / medians[0]:.2f}")


if __name__ == "__main__":
    main()
