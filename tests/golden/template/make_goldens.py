# SPDX-License-Identifier: Apache-2.0
"""Writes the golden files of the chat template tests with the reference in environment.py.

Usage: python3 make_goldens.py [--templates FOLDER] [--show TEMPLATE INDEX]
  expressions.json  one-line templates of expressions.py with what jinja2 makes of them
  language.json     the templates in language/, rendered with every conversation
  models.json       templates of published models that lie in FOLDER (not part of this
                    repository): name, SHA-256 of the source, and of each render its size and
                    SHA-256, or the error
--show prints one render of a model's template in full, to compare by eye.
Needs Jinja2 3.1.
"""
import argparse
import hashlib
import json
import pathlib
from typing import Any

import conversations
import environment
import expressions

HERE = pathlib.Path(__file__).resolve().parent


def write(name: str, data: Any) -> None:
    text = json.dumps(data, ensure_ascii=False, indent=0, separators=(",", ":"))
    (HERE / name).write_text(text + "\n", encoding="utf-8")
    print(name, len(text))


def digest(result: dict[str, Any]) -> dict[str, Any]:
    if "err" in result:
        return result
    data = result["out"].encode()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def make_expressions() -> None:
    cases = []
    for source in expressions.CASES:
        result = environment.render(source, expressions.VARIABLES)
        if " at 0x" not in result.get("out", "") + result.get("err", ""):  # addresses differ
            loose = {"loose": True} if source in expressions.LOOSE else {}
            cases.append({"source": source, **result, **loose})
    write("expressions.json", {"variables": expressions.VARIABLES, "cases": cases})


def make_language() -> None:
    out = {}
    for path in sorted((HERE / "language").glob("*.jinja")):
        source = path.read_bytes().decode()
        out[path.name] = [environment.render(source, environment.chat_variables(c))
                          for c in conversations.CONVERSATIONS]
    write("language.json", {"now_local_seconds": environment.NOW_LOCAL_SECONDS,
                            "special_tokens": environment.SPECIAL_TOKENS,
                            "conversations": conversations.CONVERSATIONS, "templates": out})


def make_models(folder: pathlib.Path) -> None:
    out = {}
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_bytes()
        renders = [digest(environment.render(source.decode(), environment.chat_variables(c)))
                   for c in conversations.CONVERSATIONS]
        out[path.name] = {"sha256": hashlib.sha256(source).hexdigest(), "renders": renders}
    write("models.json", out)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--templates", type=pathlib.Path,
                        default=HERE.parents[3] / "shared" / "templates")
    parser.add_argument("--show", nargs=2)
    arguments = parser.parse_args()
    if arguments.show:
        source = (arguments.templates / arguments.show[0]).read_bytes().decode()
        conversation = conversations.CONVERSATIONS[int(arguments.show[1])]
        result = environment.render(source, environment.chat_variables(conversation))
        print(result.get("out", result), end="")
        return
    make_expressions()
    make_language()
    if arguments.templates.is_dir():
        make_models(arguments.templates)


if __name__ == "__main__":
    main()
