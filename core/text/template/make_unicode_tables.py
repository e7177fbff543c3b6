# SPDX-License-Identifier: Apache-2.0
"""Writes unicode_tables.inc: what Python's str methods know about characters, as ranges.

Usage: python3 make_unicode_tables.py > unicode_tables.inc
A range {first, last, step} holds first, first + step, …, last. A mapping {first, last, step, delta}
adds delta to each of them. Made with the Unicode version of the Python that runs this.
"""
import sys
import unicodedata
from typing import Callable, Iterable

ALL = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def runs(points: Iterable[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Greedy arithmetic runs of (point, delta) pairs that share a delta; steps 1 and 2 only."""
    out: list[list[int]] = []
    for point, delta in points:
        if out and out[-1][3] == delta:
            first, last, step, _ = out[-1]
            if first == last and point - last <= 2:
                out[-1] = [first, point, point - last, delta]
                continue
            if first != last and point - last == step:
                out[-1][1] = point
                continue
        out.append([point, point, 1, delta])
    return [tuple(r) for r in out]


def emit(name: str, kind: str, rows: list[str]) -> None:
    print(f"inline constexpr {kind} {name}[] = {{")
    line = "   "
    for row in rows:
        if len(line) + len(row) + 2 > 100:
            print(line)
            line = "   "
        line += " " + row + ","
    print(line)
    print("};")


def prop(name: str, test: Callable[[str], bool]) -> None:
    rows = runs((c, 0) for c in ALL if test(chr(c)))
    emit(name, "CharRange", [f"{{{a:#x}, {b:#x}, {s}}}" for a, b, s, _ in rows])


def mapping(name: str, convert: Callable[[str], str]) -> None:
    single, multi = [], []
    for c in ALL:
        to = convert(chr(c))
        if to == chr(c):
            continue
        if len(to) == 1:
            single.append((c, ord(to) - c))
        else:
            multi.append((c, [ord(x) for x in to] + [0] * (3 - len(to))))
    emit(name, "CaseRange", [f"{{{a:#x}, {b:#x}, {s}, {d}}}" for a, b, s, d in runs(single)])
    rows = [f"{{{c:#x}, {{{t[0]:#x}, {t[1]:#x}, {t[2]:#x}}}}}" for c, t in multi]
    emit(name + "Special", "CaseSpecial", rows or ["{0, {0, 0, 0}}"])


def main() -> None:
    print("// SPDX-License-Identifier: Apache-2.0")
    print(f"// Written by make_unicode_tables.py from Unicode {unicodedata.unidata_version}.")
    print("// clang-format off")
    mapping("kUpper", str.upper)
    mapping("kLower", str.lower)
    mapping("kTitle", str.title)
    prop("kUppercase", str.isupper)
    prop("kLowercase", str.islower)
    prop("kTitlecase", lambda c: c.istitle() and not c.isupper())
    prop("kCaseIgnorable", lambda c: ("A" + c + "\u03a3").lower().endswith("\u03c2")
         and not (c.isupper() or c.islower() or c.istitle()))
    prop("kAlphabetic", str.isalpha)
    prop("kDecimal", str.isdecimal)
    prop("kDigit", str.isdigit)
    prop("kNumeric", str.isnumeric)
    prop("kUnprintable", lambda c: not c.isprintable())
    print("// clang-format on")


if __name__ == "__main__":
    sys.exit(main())
