# SPDX-License-Identifier: Apache-2.0
"""Turns generated documents into packed rows of token ids.

A row is ROW ids as uint16. Bit 15 of an id marks a token that is read but not learned: padding, and
everything in a conversation that the assistant did not write. Shard i depends on (seed, i) alone.
"""
from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from chat_format import BOS, EOS, PAD, ROLES, SPECIAL_TOKENS
from storygen.requests import Document, document

CONTEXT = 1024
ROW = CONTEXT + 1
NOT_LEARNED = 0x8000
ROWS_PER_SHARD = 512
_OPEN_BINS = 24


class Encoder:
    """Token ids and learn flags of a document."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.ids = {t: self.tokenizer.token_to_id(t) for t in SPECIAL_TOKENS}
        self.newline = self.plain("\n")

    def plain(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode(self, doc: Document) -> list[int]:
        if doc.messages is None:
            return [self.ids[BOS] | NOT_LEARNED, *self.plain(doc.text), self.ids[EOS]]
        out = [self.ids[BOS] | NOT_LEARNED]
        for role, content in doc.messages:
            # the newline after a role marker is its own token only when text follows it directly
            body = self.plain("\n" + content.strip())
            body = [*self.newline, *self.plain(content.strip())] if body[: len(self.newline)] != self.newline else body
            part = [self.ids[ROLES[role]], *body, self.ids[EOS]]
            if role == "assistant":
                head = 1 + len(self.newline)
                part = [t | NOT_LEARNED for t in part[:head]] + part[head:]
            else:
                part = [t | NOT_LEARNED for t in part]
            if len(out) + len(part) + 1 > ROW:
                break
            out += part + [t | NOT_LEARNED for t in self.newline]
        return out


def make_shard(tokenizer_path: Path, seed: int, index: int, rows: int = ROWS_PER_SHARD) -> np.ndarray:
    """[rows, ROW] ids; documents never straddle rows, and every row starts with one."""
    encoder = Encoder(tokenizer_path)
    rng = random.Random(seed * 1_000_003 + index)
    bins: list[list[int]] = []
    done: list[list[int]] = []
    while len(done) < rows:
        ids = encoder.encode(document(rng))[:ROW]
        fitting = [b for b in bins if len(b) + len(ids) <= ROW]
        if fitting:
            max(fitting, key=len).extend(ids)
            continue
        bins.append(ids)
        if len(bins) > _OPEN_BINS:
            fullest = max(bins, key=len)
            bins.remove(fullest)
            done.append(fullest)
    out = np.full((rows, ROW), encoder.ids[PAD] | NOT_LEARNED, dtype=np.uint16)
    for i, row in enumerate(done):
        out[i, : len(row)] = row
    return out
