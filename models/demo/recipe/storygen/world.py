# SPDX-License-Identifier: Apache-2.0
"""The small world of one story: its characters, things and place, and the template engine.

A template is plain text with two constructs: `[a|b|c]` picks one branch at random (they nest, and a
branch may be empty), `{key}` looks a word up in the story's Scene.
"""
from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from . import words

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_KEY = re.compile(r"\{([^{}]*)\}")
_SENTENCE_START = re.compile(r"(^|[.!?] |[.]\" |\n|(?:^|[.!?:] |\n)\")([a-z])")
_AN_EXCEPTIONS = ("unicorn", "uniform", "ukulele", "useful", "one-", "european")
_PRONOUNS = {"f": ("she", "her", "her", "herself"), "m": ("he", "him", "his", "himself"),
             "x": ("it", "it", "its", "itself")}


def with_article(phrase: str) -> str:
    """'owl' -> 'an owl'."""
    vowel = phrase[0].lower() in "aeiou" and not phrase.lower().startswith(_AN_EXCEPTIONS)
    return ("an " if vowel or phrase.lower().startswith(("hour", "honest", "heir")) else "a ") + phrase


def expand(template: str, rng: random.Random) -> str:
    """Resolves every [a|b|c], innermost first."""
    while True:
        match = _CHOICE.search(template)
        if match is None:
            return template
        pick = rng.choice(match.group(1).split("|"))
        template = template[:match.start()] + pick + template[match.end():]


@dataclass
class Character:
    kind: str
    gender: str
    name: str | None
    adjective: str
    habitat: str
    move: str
    animal: bool
    asked_adjective: bool = False

    @property
    def pronouns(self) -> tuple[str, str, str, str]:
        return _PRONOUNS[self.gender]

    @property
    def indefinite(self) -> str:
        return with_article(f"{self.adjective} {self.kind}" if self.adjective else self.kind)

    @property
    def definite(self) -> str:
        return f"the {self.kind}"


@dataclass
class Thing:
    noun: str
    cls: str
    plural: bool
    adjective: str

    @property
    def mass(self) -> bool:
        return self.noun in words.MASS_THINGS

    @property
    def indefinite(self) -> str:
        phrase = f"{self.adjective} {self.noun}" if self.adjective else self.noun
        if self.plural:
            pair = self.noun in PAIRS
            return ("a pair of " if pair else "some ") + phrase
        return ("some " + phrase) if self.mass else with_article(phrase)

    @property
    def definite(self) -> str:
        return f"the {self.noun}"


PAIRS = frozenset("boots mittens gloves shoes slippers socks glasses skates scissors".split())


@dataclass
class Place:
    name: str
    cls: str
    prep: str
    into: str


@dataclass
class Scene:
    """Everything a template can name. Prefixes: none hero, f friend, x third; o thing, q second thing."""
    rng: random.Random
    hero: Character
    friend: Character
    third: Character
    thing: Thing
    second: Thing
    place: Place
    theme: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)  # characters that were introduced by name

    def _refer(self, who: Character) -> str:
        same = sum(c.kind == who.kind for c in (self.hero, self.friend, self.third)) > 1
        if who.name is None:
            return who.definite
        if same:
            return who.name
        return who.name if self.rng.random() < 0.68 else who.definite

    def lookup(self, key: str) -> str:
        if key in self.extra:
            return self.extra[key]
        prefix, who = "", self.hero
        for p, c in (("f", self.friend), ("x", self.third)):
            if key.startswith(p) and key[1:] in _CHARACTER_KEYS:
                prefix, who = p, c
        if key[len(prefix):] in _CHARACTER_KEYS:
            return self._character(key[len(prefix):], who)
        if key in _THING_KEYS:
            return self._thing(key, self.thing)
        if key[0] == "q" and key[1:] in _THING_KEYS:
            return self._thing(key[1:], self.second)
        if key in ("at", "P", "to"):
            p = self.place
            return {"at": f"{p.prep} {p.name}", "P": p.name, "to": f"{p.into} {p.name}"}[key]
        raise KeyError(key)

    def _character(self, key: str, who: Character) -> str:
        she, her, hers, self_ = who.pronouns
        return {"H": self._refer(who), "N": who.name or who.definite, "K": who.kind,
                "call": who.name or f"{'little' if self.rng.random() < 0.5 else 'dear'} {who.kind}",
                "Akind": with_article(who.kind), "D": who.definite, "A": who.indefinite, "he": she, "him": her, "his": hers,
                "self": self_, "went": who.move,
                "named": f" {'named' if self.rng.random() < 0.7 else 'called'} {who.name}"
                if who.name else "",
                "comma": f" {who.name}, {who.indefinite}" if who.name else f", {who.indefinite}",
                }[key]

    @staticmethod
    def _thing(key: str, t: Thing) -> str:
        many = t.plural
        return {"O": t.definite, "aO": t.indefinite, "noun": t.noun, "it": "them" if many else "it",
                "ity": "they" if many else "it", "is": "are" if many else "is",
                "was": "were" if many else "was", "this": "these" if many else "this",
                "that": "those" if many else "that", "its": "their" if many else "its",
                "has": "have" if many else "has", "s": "" if many else "s",
                "one": "ones" if many else "one"}[key]

    def say(self, template: str) -> str:
        """Realises one template and tidies spacing and capitals."""
        text = expand(template, self.rng)
        while True:
            new = _KEY.sub(lambda m: self._key(m.group(1)), text)
            if new == text:
                break
            text = expand(new, self.rng)
        text = re.sub(r" +", " ", text).strip().replace(" ,", ",").replace(" .", ".")
        return capitalise(text)

    def _key(self, key: str) -> str:
        if key.startswith("^"):
            word = self.lookup(key[1:])
            return word[0].upper() + word[1:]
        return self.lookup(key)

    def pick(self, options: list[str]) -> str:
        return self.rng.choice(options)

    def maybe(self, template: str, chance: float = 0.5) -> str:
        return template if self.rng.random() < chance else ""


_CHARACTER_KEYS = frozenset("H N K Akind call D A comma he him his self went named".split())
_THING_KEYS = frozenset("O aO noun it ity is was this that its has s one".split())


def capitalise(text: str) -> str:
    return _SENTENCE_START.sub(lambda m: m.group(1) + m.group(2).upper(), text)
