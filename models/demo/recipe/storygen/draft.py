# SPDX-License-Identifier: Apache-2.0
"""A story before it is realised: paragraphs of templates plus what a follow-up question needs."""
from __future__ import annotations

from dataclasses import dataclass, field

from .intro import THEME_LESSON
from .world import Scene, expand


@dataclass
class Draft:
    name: str
    clause: str | None = None          # a relative clause for requests: "who lost his hat"
    themes: tuple[str, ...] = ()       # themes that this plot can honestly be said to be about
    paragraphs: list[list[str]] = field(default_factory=list)
    summary: str = ""
    next: list[str] = field(default_factory=list)
    lesson: str = ""
    extra_third: bool = False          # the third character carries the plot
    extra_plant: bool = False
    duo: bool = False                  # the friend matters as much as the hero

    def para(self, *sentences: str) -> None:
        self.paragraphs.append([t for t in sentences if t])

    def end(self, s: Scene, *sentences: str) -> None:
        """The last paragraph; the lesson is spoken there when the request named a theme."""
        self.lesson = expand(s.pick(THEME_LESSON[s.theme if s.theme in self.themes else s.pick(list(self.themes))]), s.rng)
        tail = [t for t in sentences if t]
        if s.theme in self.themes or s.rng.random() < 0.35:
            tail.insert(0, self.lesson)
        self.para(*tail)
