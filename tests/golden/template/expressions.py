# SPDX-License-Identifier: Apache-2.0
"""One-line templates that pin the template language, and the variables they see.

expressions.txt holds an expression a line, where a backslash at the end continues it; statements.py
holds whole templates.
"""
import pathlib
from typing import Any

from statements import STATEMENTS

VARIABLES: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}],
    "n": 7, "neg": -7, "zero": 0, "big": 9007199254740993, "f": 2.5, "tiny": 1e-7, "huge": 1e22,
    "t": True, "no": False, "none_value": None, "s": "Hello, World", "empty": "", "spaces": "  x \n",
    "u": "Grüße ǆ ß 你好 👍", "sigma": "ΟΔΥΣΣΕΥΣ Σ ΑΣ.", "q": "it's \"q\"", "html": "<b a='1'>&\"",
    "list": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "nested": [[1, [2]], {"a": [None]}],
    "d": {"b": 1, "a": {"x": [10, 20]}, "C": None, "items": "shadow"}, "empty_list": [],
    "empty_dict": {}, "mixed": [1, "a", None, 2.5, True],
    "people": [{"name": "Ann", "age": 31, "tag": {"k": "x"}}, {"name": "bob", "age": 25},
               {"name": "Cid", "age": 31, "tag": {"k": "y"}}],
    "text": "a,b,,c", "para": "line one\nline two\r\n\nlast", "num": "42", "fl": " 3.5e1 ",
}
_EXPRESSIONS = (pathlib.Path(__file__).parent / "expressions.txt").read_bytes().decode()

CASES: list[str] = ["{{ " + line + " }}" for line in
                    _EXPRESSIONS.replace("\\\n", "\x00").strip("\n").split("\n")]
CASES = [case.replace("\x00", "\\\n") for case in CASES] + STATEMENTS

# Failures that every version of Python or Jinja words in its own way; here only that they fail is
# compared. All other messages are compared word for word.
LOOSE: set[str] = {
    "{{ range() }}", "{{ '{} {}'.format(1) }}", "{{ '{:z}'.format(1) }}", "{{ '{}{0}'.format(1, 2) }}",
    "{{ s|replace }}", "{{ s.replace(1, 2) }}", "{{ s.center() }}", "{{ s.upper(1) }}", "{{ {1 }}",
    "{{ 1 2 }}", "{{ foo(a=1, b=2, **d) }}", "{{ range(**{'a': 1}) }}", "{{ 'unterminated }}",
    "{{ @ }}", "{{ $x }}", "{{ 'a }}", "{% break %}",
    "{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{{", "{{ n", "{%", "{% if", "{% if n %}", "{% if n %}{% else %}", "{% set x %}",
    "{% for x in list %}{% endif %}",
}
