# SPDX-License-Identifier: Apache-2.0
"""Seeded texts that try a tokenizer's rules: every kind of character, blanks, digits, quotes,
emoji, control characters, and look-alikes of special tokens. All are valid UTF-8."""
from __future__ import annotations

import random
import sys
import unicodedata

SEED = 20240917

WORDS = (
    "the quick brown fox jumps over lazy dogs hello world Hello World tokenizer don't I'm we've "
    "they'll he'd you're it's 'S 'T 'RE 'VE 'M 'LL 'D isn't naïve café Zürich straße ŒUVRE Ünïcödé "
    "привет мир Ελλάδα שלום مرحبا नमस्ते สวัสดี こんにちは 世界 你好 한국어 Việt Nguyễn ſ K 'ſ "
    "internationalization antidisestablishmentarianism camelCase PascalCase snake_case kebab-case "
    "HTTPServer x86_64 int main(void) { return 0; } #include <stdio.h> def f(x): https://a.b/c?d=e&f=g"
).split(" ")
SPECIALS = [
    "<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|end|>",
    "<|assistant|>", "<pad>", "<bos>", "<eos>", "[INST]", "[/INST]", "<start_of_turn>", "<0x0A>",
    "<|im_sta", "|im_start|>", "< s>", "<|placeholder1|>", "▁", "▁▁", "<mask>", "Ġ", "Ċ", "<tool>",
]
EMOJI = [
    "😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "😶‍🌫️", "✅", "🇩🇪", "🇯🇵🇧🇷", "1️⃣", "❤️", "🤷🏻‍♀️", "\u200d", "\ufe0f",
]
BLANKS = [
    " ", "  ", "   ", "    ", "\t", "\n", "\r\n", "\n\n", "\r", " \n", "\n ", "\t ", "\u00a0", "\u3000",
    "\u2003", "\u2028", "\u2029", "\u0085", "\u180e", "\u200b", "\ufeff", "\u000b", "\u000c", "\u1680",
]
COMBINING = ["e\u0301", "a\u0308\u0323", "\u0301", "q\u0323\u0307", "q\u0307\u0323", "\u0f71\u0f72",
             "가", "\u1100\u1161\u11a8", "Å", "\u212b", "ﬁ", "²", "½", "Ⅷ", "①", "\u0958", "\u2126"]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + [
    "…", "—", "“", "”", "‘", "’", "。", "，", "、", "！", "¿", "§", "©", "€", "£", "…)", "...", "!!", "?!", "('", "')",
]


def assigned() -> list[str]:
    """Characters that every Unicode version in use here knows: those of 14.0."""
    if unicodedata.unidata_version < "14":
        sys.exit("Python with Unicode 14 data or newer is needed")
    known = unicodedata.ucd_3_2_0
    return [
        chr(c) for c in range(0x20, 0x110000)
        if not 0xD800 <= c <= 0xDFFF and known.category(chr(c)) not in ("Cn", "Co", "Cs")
    ]


def by_category(characters: list[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for c in characters:
        groups.setdefault(unicodedata.category(c), []).append(c)
    return groups


class Generator:
    def __init__(self, seed: int = SEED) -> None:
        self.random = random.Random(seed)
        self.groups = by_category(assigned())
        self.categories = sorted(self.groups)

    def digits(self) -> str:
        r = self.random
        kind = r.randrange(4)
        if kind == 0:
            return "".join(r.choice("0123456789") for _ in range(r.randint(1, 12)))
        if kind == 1:
            return f"{r.randint(0, 10**6):,}.{r.randint(0, 99):02d}"
        if kind == 2:
            return "".join(r.choice(self.groups["Nd"] + self.groups["No"]) for _ in range(r.randint(1, 4)))
        return f"{r.randint(1900, 2100)}-{r.randint(1, 12):02d}-{r.randint(1, 31):02d}"

    def part(self) -> str:
        r = self.random
        kind = r.randrange(14)
        if kind < 4:
            return r.choice(WORDS)
        if kind < 6:
            return r.choice(BLANKS) * r.choice([1, 1, 1, 2, 3, 7, 17])
        if kind == 6:
            return self.digits()
        if kind == 7:
            return r.choice(PUNCTUATION) * r.choice([1, 1, 2, 5])
        if kind == 8:
            return r.choice(SPECIALS)
        if kind == 9:
            return r.choice(EMOJI)
        if kind == 10:
            return r.choice(COMBINING)
        if kind == 11:
            return chr(r.choice([*range(0x20), 0x7F, *range(0x80, 0xA0), 0xAD, 0xFFFD]))
        if kind == 12:
            category = r.choice(self.categories)
            return "".join(r.choice(self.groups[category]) for _ in range(r.randint(1, 4)))
        return " " + r.choice(WORDS) + r.choice([" ", ".", ",", "\n", ""])

    def text(self) -> str:
        r = self.random
        if r.randrange(40) == 0:
            return r.choice(["", " ", "\n", r.choice(WORDS) * r.randint(1, 40)])
        # NUL ends a text for some programs; it is tried on its own by the unit tests.
        return "".join(self.part() for _ in range(r.randint(1, 24))).replace("\0", "")


def texts(count: int) -> list[str]:
    generator = Generator()
    return [generator.text() for _ in range(count)]
