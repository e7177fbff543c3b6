# SPDX-License-Identifier: Apache-2.0
"""Chooses what a story is asked to be about, casts it, writes it, and checks that it kept its word."""
from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from . import words
from .draft import Draft
from .plots_people import PEOPLE_PLOTS
from .plots_things import THING_PLOTS
from .world import Character, Place, Scene, Thing

INVENTED_SHARE = 0.07
_FIXED_GENDER = dict(cow="f", hen="f", bull="m", rooster="m", ox="m", stag="m", superhero="x")
_THEMES = ["friendship", "kindness", "courage", "sharing", "honesty", "patience", "teamwork", "hope",
           "forgiveness", "love", "being brave", "helping others", "never giving up", "trust", "magic", "family"]
_SKY = ["star", "moon", "cloud", "sun", "rainbow"]
_WEATHER = ["storm", "snow", "rain", "drought", "fog"]
_HOMES = {"forest": ["forest", "forest", "forest", "meadow", "hill", "water"], "farm": ["farm", "farm", "meadow", "village"],
          "house": ["house", "village", "city", "farm"], "pond": ["water", "water", "meadow"], "jungle": ["jungle", "jungle", "water"],
          "snow": ["snow"], "sea": ["sea", "island"], "sky": ["forest", "meadow", "hill", "village"], "village": ["village", "village", "farm", "city", "bridge"],
          "castle": ["castle"], "mountain": ["hill", "cave"], "city": ["city", "village"], "space": ["space"]}
_PATTERNS = [("a", 22), ("at", 21), ("t", 11), ("aa", 11), ("ap", 6), ("tp", 2), ("aaa", 3), ("aat", 5), ("p", 3), ("atp", 2),
             ("m", 4), ("am", 3), ("s", 2), ("as", 2), ("w", 2), ("aw", 1), ("", 5)]
_ANY = frozenset(f.__name__ for f in THING_PLOTS + PEOPLE_PLOTS)
_NO = {  # thing class -> plots that would not make sense with it
    "food": {"lost_thing", "found_thing", "break_and_confess", "repair", "magic_wishes", "lost_home"}, "fruit": {"lost_thing", "break_and_confess", "repair", "magic_wishes", "make_gift"},
    "vehicle": {"found_thing", "delivery", "lost_thing", "quarrel", "sleepless", "journey", "newcomer", "monster", "mystery", "lost_little_one", "fallen", "fear", "magic_wishes"},
    "plant": {"lost_thing", "make_gift", "rescue", "lost_home", "sleepless", "repair", "journey", "mystery", "fear", "lost_little_one", "weather", "magic_wishes", "found_thing", "quarrel"},
    "misc": {"magic_wishes"}, "machine": {"magic_wishes", "rescue", "journey"}, "home": {"rescue", "journey"}, "music": {"magic_wishes"}, "wear": set(),
    "guide": {"rescue"}, "treasure": {"make_gift"}, "magic": {"make_gift", "repair"},
}
_THINGLIKE = frozenset("train truck tractor bus car cloud snowman ghost phoenix".split())
_LOOK = ["", "", "little", "small", "old", "special", "fine"]


@dataclass
class Ask:
    """What a request names; an empty Ask leaves everything to the teller."""
    actors: list[str] = field(default_factory=list)
    things: list[str] = field(default_factory=list)
    place: str | None = None
    theme: str | None = None
    sky: str | None = None
    weather: str | None = None
    adjective: str | None = None
    name: str | None = None


@dataclass
class Story:
    ask: Ask
    scene: Scene
    draft: Draft
    text: str
    sentences: list[str]
    summary: str
    lesson: str

    def next_part(self) -> str:
        return self.scene.say(self.scene.pick(self.draft.next))


def invent_word(rng: random.Random) -> str:
    """A word that nobody has met: it can only be copied, never recalled."""
    onset = "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl l m n p pl pr qu r s sh sk sl sm sn sp st t th tr tw v w wh y z".split()
    nucleus = "a e i o u a e i o u ai ee oo ou ea".split()
    coda = "b ck d ff g l ll m mp n nd ng nk nt p r rf rk rt s sh sk st t x zz".split()
    out = ""
    for _ in range(rng.choice([1, 2, 2, 2, 3])):
        out += rng.choice(onset) + rng.choice(nucleus) + (rng.choice(coda) if rng.random() < 0.5 else "")
    return out + (rng.choice(["", "le", "y", "er", "o", "in", "ster"]) if len(out) < 8 else "")


def _pick_actor(rng: random.Random, not_in: set[str]) -> str:
    while True:
        if rng.random() < INVENTED_SHARE:
            kind = invent_word(rng)
        else:
            kind = rng.choice(list(words.ANIMALS)) if rng.random() < 0.62 else rng.choice(list(words.PEOPLE))
        if kind not in not_in:
            return kind


def _pick_thing(rng: random.Random) -> str:
    return invent_word(rng) if rng.random() < INVENTED_SHARE else rng.choice(list(words.THINGS))


def random_ask(rng: random.Random) -> Ask:
    pattern = rng.choices([p for p, _ in _PATTERNS], [w for _, w in _PATTERNS])[0]
    ask = Ask()
    for letter in pattern:
        if letter == "a":
            ask.actors.append(_pick_actor(rng, set(ask.actors)))
        elif letter == "t":
            ask.things.append(_pick_thing(rng))
        elif letter == "p":
            ask.place = rng.choice(list(words.PLACES))
        elif letter == "m":
            ask.theme = rng.choice(_THEMES)
        elif letter == "s":
            ask.sky = rng.choice(_SKY)
        elif letter == "w":
            ask.weather = rng.choice(_WEATHER)
    if len(ask.actors) == 1:
        if rng.random() < 0.14:
            ask.adjective = rng.choice(_ASKED_ADJECTIVES)
        if rng.random() < 0.10:
            ask.name = _pick_name(rng, "x")[0]
    return ask


_ASKED_ADJECTIVES = "brave little|brave|little|lonely|clever|kind|shy|grumpy|lazy|tiny|magic|magical|happy|sad|curious|hungry|sleepy|friendly|greedy|proud|old|young|small|big|funny|silly|lost|red|blue|white|black|green|golden|purple|pink|naughty|gentle|wise|poor|rich|beautiful|forgetful|talking|baby|clumsy|silver|invisible|tired|honest".split("|")


def _pick_name(rng: random.Random, gender: str) -> tuple[str, str]:
    if gender == "x":
        gender = rng.choice("fm")
    if rng.random() < 0.06:
        return invent_word(rng).capitalize(), gender
    return rng.choice(words.NAMES_F if gender == "f" else words.NAMES_M), gender


def _character(rng: random.Random, kind: str, named: float, taken: set[str], name: str | None = None) -> Character:
    info = words.ANIMALS.get(kind) or words.PEOPLE.get(kind) or dict(habitat="forest", move="walked", gender="x", adjectives=["small", "shy", "cheerful"], animal=True)
    gender = _FIXED_GENDER.get(kind, info["gender"])
    while True:
        own_name, gender_ = _pick_name(rng, gender)
        if own_name not in taken:
            break
    if name is not None:
        own_name = name
        gender_ = gender if gender != "x" else "f" if name in words.NAMES_F else "m" if name in words.NAMES_M else gender_
    keep = name is not None or rng.random() < named
    if keep:
        taken.add(own_name)
    adjective = rng.choice(info["adjectives"]) if rng.random() < 0.65 else rng.choice(["little", "", "", "kind", "friendly", "old"])
    return Character(kind, gender_, own_name if keep else None, adjective, info["habitat"], info["move"], info["animal"])


def _thing(rng: random.Random, noun: str) -> Thing:
    info = words.THINGS.get(noun) or dict(noun=noun, cls="misc", plural=False)
    look = rng.choice(["", "", "old"]) if info["cls"] in ("big", "tree") else rng.choice(_LOOK) if info["cls"] not in ("food", "fruit", "plant") else rng.choice(["", "", "fine", "lovely"])
    return Thing(noun, info["cls"], info["plural"], look if len(noun.split()) == 1 else "")


def _other_kind(rng: random.Random, like: Character, taken: set[str]) -> str:
    """A companion from the same surroundings, so that a whale does not meet a squirrel unasked."""
    swims = like.move == "swam"
    pool = {**words.ANIMALS, **words.PEOPLE}
    for _ in range(60):
        kind = rng.choice(list(pool))
        info = pool[kind]
        fits = (info["move"] in ("swam", "scuttled")) if swims else info["move"] != "swam"
        near = swims or info["habitat"] == like.habitat or rng.random() < 0.3
        if fits and near and kind not in taken and kind not in _THINGLIKE:
            return kind
    return "turtle" if swims else "owl" if "owl" not in taken else "rabbit"


def _cast(rng: random.Random, ask: Ask) -> Scene:
    taken: set[str] = set()
    kinds = list(ask.actors)
    if not kinds:
        if ask.place:
            cls = words.PLACES[ask.place]["cls"]
            fitting = [k for k, v in {**words.ANIMALS, **words.PEOPLE}.items() if cls in _HOMES[v["habitat"]]]
            kinds = [rng.choice(fitting)] if fitting else [rng.choice(list(words.PEOPLE))]
        else:
            kinds = [rng.choice(["girl", "boy"]) if rng.random() < 0.12 else _pick_actor(rng, set())]
    hero = _character(rng, kinds[0], 0.8, taken, ask.name)
    if ask.adjective:
        hero.adjective = ask.adjective
    while len(kinds) < 3:
        kinds.append(_other_kind(rng, hero, set(kinds)))
    friend = _character(rng, kinds[1], 0.75, taken)
    if friend.gender == hero.gender and rng.random() < 0.6 and (words.PEOPLE.get(friend.kind) or {"gender": "x"})["gender"] == "x" and friend.kind not in _FIXED_GENDER:
        other = "m" if hero.gender == "f" else "f"
        friend.gender = other
        if friend.name:
            friend.name = rng.choice([n for n in (words.NAMES_F if other == "f" else words.NAMES_M) if n not in taken])
            taken.add(friend.name)
    third = _character(rng, kinds[2], 0.35, taken)
    noun = ask.things[0] if ask.things else rng.choice(list(words.THINGS))
    second = ask.things[1] if len(ask.things) > 1 else "apple"
    if ask.place:
        place = Place(**words.PLACES[ask.place])
    else:
        cls = rng.choice(_HOMES[hero.habitat])
        if hero.kind == "camel":
            cls = "desert"
        place = Place(**rng.choice([p for p in words.PLACES.values() if p["cls"] == cls]))
    if place.cls == "space":
        place = Place(place.name, "space", "on a small planet far out in", "to")
    scene = Scene(rng, hero, friend, third, _thing(rng, noun), _thing(rng, second), place, ask.theme)
    for key, value in (("sky", ask.sky), ("weather", ask.weather)):
        if value:
            scene.extra[key] = value
    if len(ask.actors) > 2:
        scene.extra["third_asked"] = "1"
    if ask.things:
        scene.extra["thing_asked"] = "1"
    return scene


def _plot(rng: random.Random, s: Scene, ask: Ask):
    if ask.sky:
        return next(f for f in PEOPLE_PLOTS if f.__name__ == "fallen")
    if ask.weather:
        return next(f for f in PEOPLE_PLOTS if f.__name__ == "weather")
    allowed = set(_ANY) - _NO.get(s.thing.cls, set())
    if s.thing.cls in ("big", "tree"):
        allowed = {"repair"}
    elif s.thing.mass:
        allowed = {"share_thing", "make_gift", "delivery"}
    elif s.thing.plural:
        allowed -= {"rescue", "wish_thing", "magic_wishes", "repair"}
    if s.thing.cls == "plant" and not s.thing.plural:
        allowed |= {"garden"}
    elif ask.things:
        allowed -= {"garden"}
    if s.thing.cls != "misc" and not (s.thing.cls in ("tool", "machine", "vehicle", "big", "tree")):
        allowed -= {"repair"}
    if s.hero.move == "swam":
        allowed &= {"lost_thing", "found_thing", "share_thing", "quarrel", "make_gift", "break_and_confess", "newcomer", "skill", "fallen", "magic_wishes", "monster", "proud"}
    if s.place.cls == "space":
        allowed &= {"share_thing", "quarrel", "make_gift", "break_and_confess", "newcomer", "magic_wishes", "sleepless", "lost_thing", "wish_thing"}
    if s.hero.kind in ("train", "truck", "tractor", "bus", "car", "cloud"):
        allowed &= {"newcomer", "fear", "lost_home", "proud", "lost_little_one", "share_thing", "make_gift", "journey", "weather", "delivery"}
    if ask.things:
        allowed -= {"weather"} if s.thing.cls not in ("tool", "misc") else set()
    plots = [f for f in THING_PLOTS + PEOPLE_PLOTS if f.__name__ in allowed]
    if not plots:
        return None
    if ask.things and len(plots) > 4:  # a story about a thing should turn on it
        central = [f for f in plots if f in THING_PLOTS or f.__name__ in ("rescue", "lost_home", "newcomer", "contest", "journey", "garden")]
        return rng.choice(central if central and rng.random() < 0.8 else plots)
    # the people plots carry more variety when nothing was asked for
    return rng.choice(plots)


def _count(text: str, noun: str) -> int:
    return len(re.findall(rf"\b{re.escape(noun)}\b", text, re.IGNORECASE))


def keeps_word(text: str, ask: Ask) -> bool:
    """Whether every asked subject is named, things and actors at least twice."""
    if any(_count(text, n) < 2 for n in ask.actors + ask.things):
        return False
    if ask.place and _count(text, ask.place) < 1:
        return False
    if ask.theme and ask.theme not in text:
        return False
    return not (ask.name and ask.name not in text)


def write(rng: random.Random, ask: Ask | None = None) -> Story:
    """One story that honours the request; tries again with other choices until it does."""
    free = ask is None
    ask = random_ask(rng) if ask is None else ask
    for attempt in range(400):
        if free and attempt % 12 == 11:  # an unlucky combination, a fish and a chimney say
            ask = random_ask(rng)
        s = _cast(rng, ask)
        plot = _plot(rng, s, ask)
        if plot is None:
            continue
        draft = plot(s)
        if ask.theme and ask.theme not in draft.themes:
            continue
        parts: list[list[str]] = []
        try:
            for paragraph in draft.paragraphs:
                parts.append([t for t in (s.say(p) for p in paragraph) if t])
        except KeyError as error:
            raise KeyError(f"{draft.name}: {error}") from error
        text = "\n\n".join(" ".join(p) for p in parts if p)
        n = len(text.split())
        if not keeps_word(text, ask) or not 95 <= n <= 265:
            continue
        return Story(ask, s, draft, text, [x for p in parts for x in p], s.say(draft.summary), s.say(draft.lesson))
    raise RuntimeError(f"no plot can honour {ask}")
