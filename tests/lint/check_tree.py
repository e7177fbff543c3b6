#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what a compiler does not: include edges, licence lines, sizes, forbidden calls.

Prints one line per finding and exits with 1 if there is any.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# What each folder may include, besides itself. The longest matching prefix rules.
# base <- platform <- {plugin, memory} <- plan <- exec <- engine <- capi <- apps
SDK = ["sdk/"]
BASE = SDK + ["core/base/"]
PLATFORM = BASE + ["core/platform/"]
TEXT = BASE + ["core/text/"]
PLAN = PLATFORM + ["core/plugin/", "core/plan/", "model_format/"]
EXEC = PLAN + ["core/exec/", "core/memory/"]
ENGINE = EXEC + ["core/engine/", "core/sample/", "core/text/"]
ALLOWED = {
    "sdk/": SDK,
    "sdk/conformance/": PLATFORM + ["core/plugin/", "sdk/conformance/"],
    "core/base/": BASE,
    "core/platform/": PLATFORM,
    "core/plugin/": PLATFORM,
    "core/memory/": PLATFORM,
    "core/sample/": BASE,
    "core/text/": TEXT,
    "core/text/codec/": TEXT + ["model_format/"],
    "core/plan/": PLAN,
    "core/exec/": EXEC,
    "core/engine/": ENGINE,
    "core/capi/": ENGINE + ["core/capi/"],
    "model_format/": PLATFORM,
    "compiler/": PLATFORM + ["core/text/tokenizer/", "core/text/codec/", "model_format/", "compiler/"],
    "kernels/": BASE + ["kernels/"],
    "plugins/": SDK,
    "apps/": ["sdk/", "core/", "model_format/", "compiler/", "apps/"],
}
PUBLIC_HEADERS = re.compile(r"^backplane/")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
FORBIDDEN = {
    "ends the process": re.compile(r"(?<![\w.:>])(?:std::)?(abort|exit|_Exit|quick_exit|terminate)\s*\("),
    "prints": re.compile(r"\bstd::cout|\bstd::cerr|(?<![\w:])printf\s*\(|\bfprintf\s*\(\s*std|fmt::print"),
}
LIBRARIES = ("core/", "model_format/", "compiler/", "kernels/", "plugins/", "sdk/")
MAX_LINES = 800
NO_LICENCE = (".json", ".jinja", ".md", ".txt", ".bin", ".map", ".fbs")


def tracked() -> list[str]:
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if out.returncode == 0 and out.stdout:
        return out.stdout.splitlines()
    return [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and "build" not in p.parts]


def rule_for(path: str) -> list[str] | None:
    best = max((p for p in ALLOWED if path.startswith(p)), key=len, default=None)
    if best is None:
        return None
    own = [best]
    if best == "plugins/":  # a plugin never includes a sibling
        own = ["/".join(path.split("/")[:2]) + "/"]
    return ALLOWED[best] + own


def resolve(include: str, path: str) -> str | None:
    """The tracked file that an include names, or None for system and generated headers."""
    folder = pathlib.PurePosixPath(path).parent
    parts = path.split("/")
    bases = [ROOT, ROOT / folder, ROOT / "sdk/include", ROOT / "sdk/cpp", ROOT / "/".join(parts[:2])]
    for base in bases:
        candidate = base / include
        if candidate.is_file():
            return candidate.resolve().relative_to(ROOT).as_posix()
    return None


def check_includes(path: str, text: str) -> list[str]:
    allowed = rule_for(path)
    if allowed is None or "_test." in path or "/testing/" in path:
        return []
    found = []
    for include in INCLUDE.findall(text):
        target = resolve(include, path)
        if target is None or any(target.startswith(prefix) for prefix in allowed):
            continue
        found.append(f"{path}: includes {target}, which this folder must not know")
    return found


def strip_comments(text: str) -> str:
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"//[^\n]*", "", text)


def check_file(path: str) -> list[str]:
    text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
    found = []
    code = path.endswith((".cc", ".h", ".c", ".cu", ".py"))
    if code or path.endswith((".cmake", "CMakeLists.txt")) or path == "dev":
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(text.splitlines()[:3]):
            found.append(f"{path}: has no licence line at its top")
    if code and text.count("\n") > MAX_LINES and "golden" not in path:
        found.append(f"{path}: has {text.count(chr(10))} lines, more than {MAX_LINES}")
    if "\t" in text and code:
        found.append(f"{path}: has tabs")
    if path.endswith((".cc", ".h")):
        found += check_includes(path, text)
        if path.startswith(LIBRARIES) and "_test." not in path and "/testing/" not in path and "conformance/" not in path:
            bare = strip_comments(text)
            for what, pattern in FORBIDDEN.items():
                if pattern.search(bare):
                    found.append(f"{path}: library code that {what}")
    return found


def main() -> int:
    found: list[str] = []
    for path in tracked():
        if path.endswith((".cc", ".h", ".c", ".cu", ".py", ".cmake", "CMakeLists.txt")) or path == "dev":
            found += check_file(path)
    architecture = ROOT / "ARCHITECTURE.md"
    if architecture.exists() and len(architecture.read_text().split()) > 600:
        found.append("ARCHITECTURE.md: has more than 600 words")
    for line in found:
        print(line)
    print(f"check_tree: {len(found)} findings", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
