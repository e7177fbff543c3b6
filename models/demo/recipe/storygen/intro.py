# SPDX-License-Identifier: Apache-2.0
"""Openings, settings, weather and closings that every plot shares."""
from __future__ import annotations

from .world import Scene

SETTING: dict[str, list[str]] = {
    "forest": ["The trees there were so tall that they seemed to hold up the sky.", "In that place the [moss|ground] was soft and the [birds|leaves] were never quiet."],
    "meadow": ["The grass there was high and full of [flowers|crickets|bees].", "In summer it smelled of [clover|warm grass] and honey."],
    "hill": ["From up there you could see [the whole valley|all the way to the sea].", "The wind up there was always [fresh|singing]."],
    "village": ["It was the kind of place where everyone knew everyone.", "The houses there had [red|crooked] roofs and [blue|green] doors."],
    "farm": ["There was always [hay to carry|work to do] and somebody to talk to.", "The day there began when the rooster crowed."],
    "house": ["It was [small|old] but [warm|cosy], and the floor creaked in a friendly way."],
    "castle": ["It had [a hundred windows|nine tall towers] and one very [squeaky|heavy] gate."],
    "water": ["The water there was [clear|calm and green], and willow branches hung over it.", "In the evening the [frogs|crickets] sang there."],
    "sea": ["All day long the waves [came and went|rolled and whispered], and the air tasted of salt."],
    "jungle": ["It was hot and green, and [somebody was|there were birds] always chattering."],
    "snow": ["The snow there was so bright that it made you blink.", "In winter the nights were long and full of stars."],
    "desert": ["By day the sand was [golden|hot], and by night the sky was full of stars."],
    "city": ["There was always something [new|going on] to see."],
    "cave": ["It was [dark|quiet], and every sound had an echo."],
    "island": ["There was sea on every side, and [coconut|pine] trees grew near the shore."],
    "space": ["The stars shone there day and night, and it was very, very quiet."],
    "bridge": ["The water [splashed|ran] merrily there, and travellers often stopped to rest."],
}

DAY = ["One [sunny|bright|fine|cool|windy|foggy|warm|cold] [morning|afternoon|day], ", "One [morning|day|evening], ",
       "One day in [spring|summer|autumn|early spring|late summer], ", "Then one [morning|day], "]

NATURE_TRAITS = [
    "{^H} was [small|not very big], but {his} heart was [big|as big as the sky].",
    "{^he} [loved|liked] [long walks|adventures|stories|surprises|quiet mornings] [more than anything|best of all].",
    "Everyone liked {him}, because {he} always had [a kind word|time for others|a smile] foreveryone.",
    "{^he} asked questions all day long, and {he} [listened|remembered] well.",
    "{^he} was known for {his} [loud laugh|good ideas|bright eyes|funny songs].",
]

CLOSING = [
    "And from that day on, {N} and {fN} were [the best of friends|better friends than ever].",
    "That night, {H} fell asleep with a smile.",
    "And if you go {to} today, you may still [hear|see] them laughing there.",
    "And they all lived happily [ever after|for many years].",
    "{^H} looked up at the [stars|evening sky] and thought, \"[What a day|This was the best day ever]!\"",
    "It had been a [long|wonderful|strange and wonderful] day, and {H} [would never forget it|remembered it forever].",
]

THEME_LESSON: dict[str, list[str]] = {
    "friendship": ["{^H} had learned that friendship is [worth more than any treasure|the best gift of all]."],
    "kindness": ["{^H} had learned that kindness [always finds its way back|costs nothing and means everything]."],
    "courage": ["{^H} had learned that courage does not mean having no fear. It means [going on anyway|doing the right thing even when you are afraid]."],
    "sharing": ["{^H} had learned that sharing makes [good things better|every joy twice as big]."],
    "honesty": ["{^H} had learned that honesty [makes the heart light|is always the best way]."],
    "patience": ["{^H} had learned that patience [makes good things grow|is sometimes the best help of all]."],
    "teamwork": ["{^H} had learned that teamwork [makes hard things easy|can do what nobody can do alone]."],
    "hope": ["{^H} had learned that hope is like a small light: [it can be enough|you must never let it go out]."],
    "forgiveness": ["{^H} had learned that forgiveness [makes two hearts light|is a gift for both friends]."],
    "love": ["{^H} had learned that love [is in the small things we do for each other|grows when you give it away]."],
    "being brave": ["{^H} had learned that being brave means [going on even when you are afraid|trying, even with shaking knees]."],
    "helping others": ["{^H} had learned that helping others [is the quickest way to be happy|makes the whole world warmer]."],
    "never giving up": ["{^H} had learned that never giving up is [half of every success|the secret of everything hard]."],
    "trust": ["{^H} had learned that trust [is built one small step at a time|is the strongest rope of all]."],
    "magic": ["{^H} had learned that the best magic [is a kind heart|lives in a friend's smile]."],
    "family": ["{^H} had learned that family is [where somebody waits for you|the place where you are always welcome]."],
}


def opening(s: Scene) -> list[str]:
    """Names the hero and the place; the first sentence always says what the hero is."""
    first = s.pick([
        "Once upon a time, there was {A}{named} who lived {at}.",
        "Once upon a time, there was {A}{named}. {^he} lived {at}.",
        "Once upon a time, {at}, there lived {A}{named}.",
        "Once there was {A}{named} who lived {at}.",
        "There was once {A}{named} who lived {at}.",
        "[Long ago|Many years ago|A long time ago], {at}, there lived {A}{named}.",
        "[Not so long ago|In a land far away|Far, far away], {A}{named} lived {at}." if s.place.cls != "space" else "High above the Earth, {A}{named} lived {at}.",
    ] + (["{N} was {A} who lived {at}."] if s.hero.name else []))
    out = [first]
    if s.rng.random() < 0.4:
        out.append(s.pick(SETTING[s.place.cls]))
    return out


def trait(s: Scene) -> str:
    return s.maybe(s.pick(NATURE_TRAITS), 0.4)


def friend_intro(s: Scene) -> str:
    return s.pick([
        "{^his} best friend was {fA}{fnamed}.",
        "{^his} best friend was {fA}{fnamed}, [and the two of them did everything together|who lived nearby|who always made {him} laugh].",
        "Next door lived {fA}{fnamed}, and the two were [good|great|the best of] friends.",
        "{^he} spent [most of {his} days|every afternoon] with {his} friend{fcomma}.",
    ])


def day(s: Scene) -> str:
    return s.pick(DAY)


def closing(s: Scene, friends: bool = True) -> str:
    pool = CLOSING if friends else CLOSING[1:]
    return s.pick(pool)
