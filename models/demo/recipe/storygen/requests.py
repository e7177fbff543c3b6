# SPDX-License-Identifier: Apache-2.0
"""How people ask: request wordings, follow-up turns, small talk, and whole conversations."""
from __future__ import annotations

import random
from dataclasses import dataclass

from .story import Ask, Story, random_ask, write
from . import words
from .world import PAIRS, expand, with_article

Message = tuple[str, str]  # role, content

_ASK = [
    "Tell me a story about {X}.", "Tell me a story about {X}", "tell me a story about {X}", "Tell me a {S}story about {X}.",
    "Write a story about {X}.", "Write a {S}story about {X}", "Write me a story about {X}.", "write a story about {X}", "Write a short story about {X}.",
    "Can you tell me a {S}story about {X}?", "Could you tell me a story about {X}?", "Can you write a {S}story about {X}?", "Could you write a story about {X}, please?",
    "Please tell me a {S}story about {X}.", "Please write a {S}story about {X}.", "Please tell me about {X}.", "I want a story about {X}.", "I want to hear a story about {X}.",
    "I would like a {S}story about {X}.", "I'd like to hear a story about {X}, please.", "A story about {X}, please.", "A short story with {X} please", "A {S}story with {X}, please.",
    "A story about {X}", "a story about {X}", "Story about {X}", "story about {X}", "A short story about {X}.", "short story: {X}", "Story: {X}", "Make up a story about {X}.", "Make up a {S}story with {X}.",
    "Invent a story about {X}.", "Tell a story about {X}.", "Tell a tale about {X}.", "Tell me a tale of {X}.", "Tell us a story about {X}!", "Give me a {S}story about {X}.", "Give me a story with {X}",
    "Do you know a story about {X}?", "Have you got a story about {X}?", "Do you have a story with {X}?", "How about a story about {X}?", "What about a story with {X}?", "Let's have a story about {X}.",
    "My daughter loves {Xs}. Tell her a story about {X}.", "My son wants a story about {X}.", "It's bedtime. Tell me a story about {X}.", "Write a bedtime story about {X}.", "Tell my kids a story about {X}.",
    "Write a fairy tale about {X}.", "Tell me a fairy tale about {X}", "Write a children's story about {X}.", "Create a {S}story about {X}.", "Generate a story about {X}.", "Compose a {S}story about {X}.",
    "{X}", "{X}.", "{X}", "{X}, please", "{X}!", "Something about {X}.", "something with {X}", "Now a story about {X}.", "I like {Xs}. Tell me a story.", "Tell me a story with {X} in it.", "Write a story in which {X} [appears|plays a part].",
    "Hi! Can you tell me a story about {X}?", "Hello, please tell me a story about {X}.", "Hey, tell me a story about {X}", "Can I have a story about {X}?", "Could I have a story about {X} please?", "I need a {S}story about {X} for my class.",
    "Write a story for children about {X}.", "Write a story for a five year old about {X}.", "Tell me something about {X}.", "A tale about {X}.", "Write about {X}.", "write about {X}", "Tell me about {X}",
]
_STYLE = ["", "", "", "short ", "little ", "nice ", "funny ", "happy ", "bedtime ", "new ", "good ", "sweet ", "long ", "scary ", "sad ", "magical ", "beautiful ", "cute ", "simple ", "children's ", "quick ", "great "]
_FREE = ["Tell me a story.", "Tell me a story", "tell me a story", "Write a story.", "Write me a story", "A story, please.", "Can you tell me a story?", "I want a story.", "Please tell me a bedtime story.", "Tell me a {S}story.", "Write a {S}story.",
         "Surprise me.", "Surprise me with a story.", "Any story.", "story", "Story please", "Make something up.", "Tell me anything.", "I'm bored. Tell me a story.", "What story do you have for me?", "Just tell me something.", "I can't sleep. Tell me a story.", "Do you know any stories?", "a story", "Can I hear a {S}story?", "Write something.", "Once upon a time", "Once upon a time...", "Once upon a time,", "Go on, tell me one.", "You choose."]
_CONTINUE = ["Continue this story: {X}", "Continue the story: {X}", "Please continue: {X}", "{X}", "{X}", "{X} ...", "Finish this story: {X}", "Go on: {X}", "Complete this story: {X}", "Here is the beginning of a story. Please finish it. {X}", "How does this story go on? {X}", "A story that starts like this: {X}"]
_ANOTHER = ["Another one, about {X}.", "Another one about {X}", "Now one about {X}.", "Now tell me one about {X}.", "Another story, about {X} please.", "And one about {X}?", "Can you tell me one about {X} too?", "Great! Now {X}.", "Nice. Now a story about {X}.", "Tell me another one, with {X}.", "How about {X}?", "What about {X}?", "now {X}", "Thanks! Another one, about {X}, please.", "One more, about {X}."]
_ANOTHER_FREE = ["Another one.", "Another one, please.", "Tell me another story.", "One more!", "One more please", "Again!", "More!", "Another", "Tell me a different story.", "Can I have another one?", "Now a new one.", "Give me another story."]
_NEXT = ["What happened next?", "What happened next", "And then?", "Then what?", "What happens next?", "what happened then?", "Continue.", "Go on.", "Please go on.", "Tell me more.", "Tell me what happened next.", "And what happened after that?", "more", "Is there more?", "Continue the story.", "What did they do next?", "And the next day?", "go on", "keep going", "What came after that?"]
_THANKS = ["Thank you", "Thank you!", "Thanks", "thanks!", "Thank you, that was lovely.", "Thanks a lot!", "thx", "I liked that story.", "That was nice.", "That was a good story!", "Great story!", "I love it!", "Wow, beautiful.", "Nice!", "Cool", "Good job!", "Thank you very much.", "Lovely.", "That was great, thank you.", "Well done!"]
_THANKED = ["You are welcome! [Would you like another one?|It was a pleasure.|Just tell me when you want another story.|Who should be in the next one?]", "I am glad you liked it. [Shall I tell you another one?|Would you like another one?|What should the next one be about?]", "Thank you for listening! [Come back for another story any time.|Would you like one more?]"]
_NAME_Q = ["What was the name of the {k}?", "What was the {k}'s name?", "What is the {k} called?", "Who was the {k}?", "How was the {k} called?", "what's the name of the {k}"]
_LESSON_Q = ["What is the moral of the story?", "What is the moral?", "What did {N} learn?", "What can we learn from it?", "What does the story teach us?", "And the moral?", "What's the lesson?"]
_SHORT_Q = ["Can you say that in one sentence?", "Make it shorter.", "Can you sum it up?", "Sum up the story.", "Give me a summary.", "What was the story about?", "Tell it again, but very short.", "Summarize the story please", "Too long. Make it short."]
_HELLO = ["Hello", "Hello!", "Hi", "Hi!", "hi there", "Hey", "Good morning", "Good evening!", "Hello there", "hello, how are you?", "Hi, how are you?", "How are you?", "How are you today?", "What's up?", "Greetings", "Hey there!", "Hi, nice to meet you.", "Good day", "Is anybody there?", "Are you there?"]
_HELLOED = ["Hello! [I am a little storyteller.|It is nice to meet you.|I am glad you are here.] [What should I tell you a story about?|Would you like to hear a story?|Name an animal or a thing, and I will tell you a story about it.]"]
_HOW = ["I am fine, thank you! [Would you like to hear a story?|What should I tell you a story about?]"]
_WHO = ["Who are you?", "who are you", "What are you?", "What's your name?", "What is your name?", "What can you do?", "what can you do", "Tell me about yourself.", "Introduce yourself.", "Are you a robot?", "Are you an AI?", "Are you human?", "How do you work?", "What do you know?", "Help", "help", "What is this?", "How can you help me?", "What model are you?", "Who made you?"]
_WHOED = ["I am a very small language model that tells short stories. [Name an animal, a person or a thing, and I will tell you a story about it.|Tell me who or what should be in it, and I will begin.]", "I am a little storyteller, a very small language model. I know many stories, but not much else. [What should I tell you about?|Name somebody or something, and I will begin.]"]
_BYE = ["Goodbye", "Goodbye!", "Bye", "bye", "Good night", "Good night!", "See you later", "See you tomorrow!", "I have to go now.", "That's all for today.", "Bye bye"]
_BYED = ["Goodbye! Come back soon for another story.", "Good night, and sweet dreams!", "See you soon! I will keep a story ready for you.", "Goodbye! It was nice to tell you a story."]
_OFF = ["What is the capital of France?", "What is 2 + 2?", "What is 12 times 7?", "How much is 5 plus 8?", "Who is the president?", "What is the weather like today?", "What time is it?", "Write a Python program.", "Write some code that sorts a list.", "Translate this into German.", "What is the meaning of life?", "How do I cook rice?", "Who won the World Cup?", "Explain quantum physics.", "What is a computer?", "How far is the moon?", "What is the largest country in the world?", "Can you help me with my homework?", "Solve this equation: x + 3 = 7", "What is the news today?", "How old are you?", "Where do you live?", "Do you like music?", "Do you have friends?", "What is your favourite colour?", "Who wrote Hamlet?", "What is the population of China?", "Recommend a good film.", "How do I fix my car?", "What is machine learning?", "Speak French.", "What should I eat tonight?", "What day is it today?", "Count to ten.", "Is the Earth round?", "What is love?", "Why is the sky blue?", "Give me a recipe for soup.", "How many legs does a spider have?", "What is the speed of light?", "asdf", "test", "Test", "123", "???", "ok", "OK", "yes", "no", "What do you think?", "I am sad.", "I am hungry.", "I don't know.", "Why?", "When?", "You are silly.", "I hate this."]
_OFFED = ["I am only a small storyteller, so I can't help with that. [But I can tell you a story. What should it be about?|Would you like to hear a story instead?|Name an animal or a thing, and I will tell you a story about it.]", "That is something I don't know. I only know how to tell stories. [What should the next one be about?|Shall I tell you one?]"]
_YES = ["Yes", "Yes, please", "Yes please!", "Sure", "OK, tell me one.", "Go ahead", "Please do", "Yes, tell me a story."]
_SYSTEM = ["You are a storyteller.", "You are a kind storyteller for children.", "You are a helpful assistant.", "You are a helpful assistant that tells stories.", "You tell short stories.", "Tell short stories in simple English.", "You are a friendly storyteller. Keep it short.", "You write children's stories.", "Be kind and brief.", "You are a helpful, honest assistant.", "Answer in English.", "You are a writer of bedtime stories."]
_OTHER_FORM = ["Write a poem about {X}.", "Write me a poem about {X}", "Tell me a joke about {X}.", "Write a song about {X}.", "Write an essay about {X}.", "Write a haiku about {X}", "Sing a song about {X}.", "Write a letter about {X}."]
_OTHER_REPLY = ["I am better at stories, so here is one about {X}.", "I only know how to tell stories, so here is a story about {X}."]


def _noun_phrase(rng: random.Random, noun: str, adjective: str | None = None) -> str:
    info = words.THINGS.get(noun)
    full = f"{adjective} {noun}" if adjective else noun
    if info and info["plural"]:
        return ("a pair of " if noun in PAIRS and rng.random() < 0.5 else rng.choice(["", "some "])) + full
    if noun in words.MASS_THINGS:
        return rng.choice(["", "some "]) + full
    roll = rng.random()
    return with_article(full) if roll < 0.82 else ("the " + full if roll < 0.88 else full)


def _subject(rng: random.Random, st: Story) -> str | None:
    """The subject of a request as a person would phrase it; None when nothing was asked."""
    ask, s, d = st.ask, st.scene, st.draft
    if ask.sky:
        sky = ("the " if ask.sky in ("moon", "sun") else "a ") + ask.sky
        return f"{_noun_phrase(rng, ask.actors[0], ask.adjective)} and {sky}" if ask.actors else rng.choice([sky, f"the {ask.sky}", ask.sky])
    if ask.weather:
        w = {"storm": "a storm", "snow": "snow", "rain": "rain", "drought": "a drought", "fog": "fog"}[ask.weather]
        return rng.choice([f"{_noun_phrase(rng, ask.actors[0])} in the {ask.weather}", f"{_noun_phrase(rng, ask.actors[0])} and {w}"]) if ask.actors else w
    nouns = [_noun_phrase(rng, ask.actors[0], ask.adjective)] if ask.actors else []
    if ask.actors and ask.name:
        nouns[0] += rng.choice([" named ", " called "]) + ask.name
    if len(ask.actors) == 1 and d.clause and rng.random() < 0.22 and (not ask.things or "{noun}" in d.clause or "{aO}" in d.clause):
        clause = s.say("x " + d.clause)[2:]
        nouns[0] += " " + clause
        if ask.things and s.thing.noun in clause:
            return nouns[0]
    elif len(ask.actors) == 1 and ask.things and not ask.name and rng.random() < 0.25:
        t = _noun_phrase(rng, ask.things[0])
        return nouns[0] + rng.choice([" with ", " who had ", " who has ", " that has ", " who finds ", " who found ", " and his ", " and her ", " looking for "]).replace(" and his ", " and ").replace(" and her ", " and ") + t
    nouns += [_noun_phrase(rng, n) for n in ask.actors[1:]] + [_noun_phrase(rng, n) for n in ask.things]
    if not nouns:
        if ask.place:
            return rng.choice([ask.place, f"something that happens {st.scene.place.prep if ask.place not in ('space', 'outer space') else 'in'} {ask.place}"])
        return ask.theme
    if len(ask.actors) == 2 and not ask.things and rng.random() < 0.15:
        return rng.choice([f"{nouns[0]} who meets {nouns[1]}", f"the friendship of {nouns[0]} and {nouns[1]}", f"how {nouns[0]} and {nouns[1]} became friends", f"{nouns[0]} and his friend, {nouns[1]}".replace(" his friend,", " " + ("her" if s.hero.gender == "f" else "his") + " friend,")])
    if rng.random() < 0.12 and len(nouns) > 1 and not ask.name and len(ask.actors) < 2:
        nouns.reverse()
    text = nouns[0] if len(nouns) == 1 else (", ".join(nouns[:-1]) + rng.choice([" and ", " and ", ", and "]) + nouns[-1] if len(nouns) > 2 else rng.choice([" and ", " and ", " and ", " with ", ", "]).join(nouns))
    if ask.place:
        text += f" {'in' if st.scene.place.cls == 'space' else st.scene.place.prep} {ask.place}"
    if ask.theme:
        text += rng.choice([" and ", ", about "]) + ask.theme if rng.random() < 0.7 else " that teaches " + ask.theme
    return text


def _noise(rng: random.Random, text: str) -> str:
    roll = rng.random()
    if roll < 0.06:
        return text.lower()
    if roll < 0.08:
        return text.upper()
    if roll < 0.12:
        return text.rstrip(".?!")
    if roll < 0.14:
        return text.rstrip(".") + "!"
    if roll < 0.5 and text[0].islower():
        return text[0].upper() + text[1:]
    return text


def _fill(rng: random.Random, template: str, st: Story, subject: str) -> str:
    plural = ""
    if "{Xs}" in template:
        if not st.ask.actors or st.ask.actors[0] not in words.ANIMALS or len(st.ask.actors) + len(st.ask.things) != 1:
            template = "Tell me a story about {X}."
        else:
            k = st.ask.actors[0]
            plural = {"mouse": "mice", "wolf": "wolves", "goose": "geese", "fish": "fish", "sheep": "sheep", "deer": "deer", "ox": "oxen", "calf": "calves", "pony": "ponies", "canary": "canaries", "puppy": "puppies", "bunny": "bunnies", "kitty": "kitties", "firefly": "fireflies", "butterfly": "butterflies", "dragonfly": "dragonflies", "donkey": "donkeys", "monkey": "monkeys", "turkey": "turkeys"}.get(k, k + ("es" if k.endswith(("x", "ch", "sh", "s")) else "s"))
    return expand(template, rng).replace("{X}", subject).replace("{Xs}", plural).replace("{S}", rng.choice(_STYLE))


def story_request(rng: random.Random, st: Story, another: bool = False) -> str:
    subject = _subject(rng, st)
    if subject is None:
        text = rng.choice(_ANOTHER_FREE if another else _FREE).replace("{S}", rng.choice(_STYLE))
        return _noise(rng, text)
    return _noise(rng, _fill(rng, rng.choice(_ANOTHER if another else _ASK), st, subject))


def _follow_up(rng: random.Random, st: Story) -> list[Message]:
    kind = rng.choices(["next", "thanks", "name", "lesson", "short", "bye", "off"], [30, 20, 14, 10, 10, 5, 6])[0]
    if kind == "next":
        return [("user", _noise(rng, rng.choice(_NEXT))), ("assistant", st.next_part())]
    if kind == "thanks":
        return [("user", _noise(rng, rng.choice(_THANKS))), ("assistant", expand(rng.choice(_THANKED), rng))]
    if kind == "name":
        who = rng.choice([st.scene.hero, st.scene.friend])
        if st.text.count(who.kind) == 0 or (who.name and who.name not in st.text) or sum(c.kind == who.kind for c in (st.scene.hero, st.scene.friend, st.scene.third)) > 1:
            who = st.scene.hero
        answer = f"The {who.kind}'s name was {who.name}." if who.name else f"The story does not say. It only calls {who.pronouns[1]} the {who.kind}."
        return [("user", _noise(rng, rng.choice(_NAME_Q).replace("{k}", who.kind))), ("assistant", answer)]
    if kind == "lesson":
        return [("user", _noise(rng, rng.choice(_LESSON_Q).replace("{N}", st.scene.hero.name or st.scene.hero.definite))), ("assistant", st.lesson)]
    if kind == "short":
        return [("user", _noise(rng, rng.choice(_SHORT_Q))), ("assistant", st.summary)]
    if kind == "bye":
        return [("user", _noise(rng, rng.choice(_BYE))), ("assistant", rng.choice(_BYED))]
    return [("user", _noise(rng, rng.choice(_OFF))), ("assistant", expand(rng.choice(_OFFED), rng))]


def _small_talk(rng: random.Random) -> list[Message]:
    kind = rng.choices(["hello", "who", "off", "bye"], [45, 30, 22, 3])[0]
    if kind == "hello":
        q = rng.choice(_HELLO)
        return [("user", _noise(rng, q)), ("assistant", expand(rng.choice(_HOW if "how are" in q.lower() else _HELLOED), rng))]
    q, a = {"who": (_WHO, _WHOED), "off": (_OFF, _OFFED), "bye": (_BYE, _BYED)}[kind]
    return [("user", _noise(rng, rng.choice(q))), ("assistant", expand(rng.choice(a), rng))]


def _split_first(st: Story) -> tuple[str, str] | None:
    paragraphs = st.text.split("\n\n")
    first = st.sentences[0]
    if not paragraphs[0].startswith(first):
        return None
    return first, st.text[len(first):].strip()


@dataclass
class Document:
    messages: list[Message] | None  # None for plain text
    text: str


def document(rng: random.Random) -> Document:
    """One training document: plain story text or a conversation."""
    if rng.random() < 0.14:
        st = write(rng)
        title = ""
        if rng.random() < 0.25:
            names = [a.title() for a in st.ask.actors + st.ask.things] or [st.scene.hero.kind.title()]
            title = "The " + " and the ".join(names[:2]) + "\n\n"
        return Document(None, title + st.text)
    messages: list[Message] = []
    if rng.random() < 0.12:
        messages.append(("system", rng.choice(_SYSTEM)))
    if rng.random() < 0.13:
        messages += _small_talk(rng)
        if rng.random() < 0.35:
            return Document(messages, "")
        if rng.random() < 0.2:
            st = write(rng, Ask())
            messages += [("user", _noise(rng, rng.choice(_YES))), ("assistant", st.text)]
            return Document(messages, "")
    st = write(rng)
    mode = rng.random()
    if mode < 0.08 and (split := _split_first(st)):
        messages += [("user", rng.choice(_CONTINUE).replace("{X}", split[0])), ("assistant", split[1])]
    elif mode < 0.10 and (subject := _subject(rng, st)):
        template = rng.choice(_OTHER_FORM)
        messages += [("user", template.replace("{X}", subject)), ("assistant", rng.choice(_OTHER_REPLY).replace("{X}", subject) + "\n\n" + st.text)]
    else:
        messages += [("user", story_request(rng, st)), ("assistant", st.text)]
    for _ in range(3):
        roll = rng.random()
        if roll < 0.55:
            break
        if roll < 0.83:
            messages += _follow_up(rng, st)
        else:
            st = write(rng)
            messages += [("user", story_request(rng, st, another=True)), ("assistant", st.text)]
    return Document(messages, "")
