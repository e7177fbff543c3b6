# SPDX-License-Identifier: Apache-2.0
"""The reference: jinja2 set up as Hugging Face transformers sets it up for chat templates."""
import copy
import datetime
import json
from typing import Any

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW_LOCAL_SECONDS = 1753523696  # 2025-07-26 09:54:56
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class Generation(jinja2.ext.Extension):
    """{% generation %}: the body is a call block's, its text comes out unchanged."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_support")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _support(self, caller: Any) -> str:
        return caller()


def raise_exception(message: str) -> None:
    raise jinja2.exceptions.TemplateError(message)


def tojson(x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
           sort_keys: bool = False) -> str:
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


def strftime_now(pattern: str) -> str:
    epoch = datetime.datetime(1970, 1, 1)
    return (epoch + datetime.timedelta(seconds=NOW_LOCAL_SECONDS)).strftime(pattern)


def make_environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = strftime_now
    return environment


ENVIRONMENT = make_environment()


def render(source: str, variables: dict[str, Any]) -> dict[str, str]:
    """{"out": text}, or {"err": message, "type": exception}."""
    try:
        # A copy: some filters change what they are given (indent on a list).
        return {"out": ENVIRONMENT.from_string(source).render(**copy.deepcopy(variables))}
    except Exception as failure:  # every failure is a result here
        return {"err": str(failure), "type": type(failure).__name__}


def chat_variables(conversation: dict[str, Any]) -> dict[str, Any]:
    """The variables of a conversation, as apply_chat_template passes them."""
    return {
        **SPECIAL_TOKENS,
        "messages": conversation["messages"],
        "tools": conversation.get("tools"),
        "documents": conversation.get("documents"),
        "add_generation_prompt": conversation.get("add_generation_prompt", False),
        **conversation.get("variables", {}),
    }
