# SPDX-License-Identifier: Apache-2.0
"""Golden ids of tokenizer.json files, from the PyPI package `tokenizers`.

    golden.py vocabularies            makes vocabularies/*.json anew
    golden.py write [--shared DIR]    makes texts.jsonl and *.golden anew (1,000 texts)
    golden.py compare --probe PROGRAM [--shared DIR] [--texts 10000]
                                      runs bp_tokenizer_probe against the package, text by text

The first line of a golden is the digest of its tokenizer.json; after it, a line for each text holds
four 32-bit digests: ids of the text as data, ids with special tokens, and the
latter decoded without and with special tokens.
"""
from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
from pathlib import Path

from tokenizers import Tokenizer

from texts import texts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
GOLDEN_TEXTS = 1000


def digest(data: bytes) -> int:
    """FNV-1a, 64 bits, folded to 32."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return (value ^ value >> 32) & 0xFFFFFFFF


def id_bytes(ids: list[int]) -> bytes:
    return struct.pack(f"<{len(ids)}I", *ids)


class Reference:
    def __init__(self, path: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    def answer(self, text: str) -> tuple[list[int], list[int], str, str]:
        t = self.tokenizer
        t.encode_special_tokens = True
        plain = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = False
        ids = t.encode(text, add_special_tokens=True).ids
        return (plain, ids, t.decode(ids, skip_special_tokens=True),
                t.decode(ids, skip_special_tokens=False))


def sources(shared: Path) -> dict[str, Path]:
    """Name of the golden to tokenizer.json."""
    found = {p.stem: p for p in sorted((HERE / "vocabularies").glob("*.json"))}
    for name in ("gpt-2", "phi-3", "smollm"):
        found[f"shared-{name}"] = shared / "tokenizers" / name / "tokenizer.json"
    found["demo"] = ROOT / "models" / "demo" / "tokenizer.json"
    return {name: path for name, path in found.items() if path.exists()}


def write(shared: Path) -> None:
    lines = texts(GOLDEN_TEXTS)
    with (HERE / "texts.jsonl").open("w", encoding="utf-8") as out:
        for text in lines:
            out.write(json.dumps(text, ensure_ascii=False) + "\n")
    for name, path in sources(shared).items():
        reference = Reference(path)
        with (HERE / f"{name}.golden").open("w", encoding="ascii") as out:
            out.write(f"{digest(path.read_bytes()):08x}\n")
            for text in lines:
                plain, ids, hidden, shown = reference.answer(text)
                parts = (id_bytes(plain), id_bytes(ids), hidden.encode(), shown.encode())
                out.write("".join(f"{digest(p):08x}" for p in parts) + "\n")
        print(f"{name}: {len(lines)} texts")


def compare_one(name: str, path: Path, probe: Path, lines: list[str]) -> int:
    reference = Reference(path)
    given = "".join(text.encode().hex() + "\n" for text in lines)
    run = subprocess.run([str(probe), f"json:{path}"], input=given, capture_output=True, text=True,
                         check=False)
    if run.returncode != 0:
        print(f"{name}: {run.stderr.strip()}")
        return 1
    answers = run.stdout.splitlines()
    if len(answers) != len(lines):
        print(f"{name}: {len(answers)} answers to {len(lines)} texts")
        return 1
    wrong = 0
    for text, answer in zip(lines, answers):
        fields = answer.split("|")
        ours = ([int(i) for i in fields[0].split()], [int(i) for i in fields[1].split()],
                bytes.fromhex(fields[2]).decode(), bytes.fromhex(fields[3]).decode())
        theirs = reference.answer(text)
        for what, a, b in zip(("plain", "special", "decoded", "decoded with special"), ours, theirs):
            if a != b:
                wrong += 1
                if wrong <= 5:
                    print(f"{name}: {what} of {text!r}\n  ours   {a!r}\n  theirs {b!r}")
    print(f"{name}: {len(lines)} texts, {wrong} differences")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("vocabularies", "write", "compare"))
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--probe", type=Path)
    parser.add_argument("--texts", type=int, default=10000)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    if arguments.action == "vocabularies":
        from vocabularies import write_all
        write_all(HERE / "vocabularies")
        return 0
    if arguments.action == "write":
        write(arguments.shared)
        return 0
    if arguments.probe is None:
        parser.error("compare needs --probe")
    lines = texts(arguments.texts)
    wrong = 0
    for name, path in sources(arguments.shared).items():
        if arguments.only in (None, name):
            wrong += compare_one(name, path, arguments.probe, lines)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
