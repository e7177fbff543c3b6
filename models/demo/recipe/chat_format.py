# SPDX-License-Identifier: Apache-2.0
"""The one place that says how a conversation becomes text, and which of its tokens are learned."""
from __future__ import annotations

BOS, EOS, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
SPECIAL_TOKENS = [BOS, EOS, PAD, *ROLES.values()]

# The same rules as a Jinja template, for tokenizer_config.json.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('This model knows the roles system, user and assistant only.') }}"
    "{%- endif %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + eos_token + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{%- endif %}"
)

Message = tuple[str, str]


def render(messages: list[Message], add_generation_prompt: bool = False) -> str:
    text = BOS + "".join(f"{ROLES[role]}\n{content.strip()}{EOS}\n" for role, content in messages)
    return text + (ROLES["assistant"] + "\n" if add_generation_prompt else "")
