# SPDX-License-Identifier: Apache-2.0
"""Plots that turn on somebody: fears, lessons, strangers, rescues, journeys. Some use the thing."""
from __future__ import annotations

from .banks import bank
from .draft import Draft
from .intro import closing, day, friend_intro, opening, trait
from .world import Scene


def rescue(s: Scene) -> Draft:
    d = Draft("rescue", clause="who saved a friend", themes=("courage", "being brave", "friendship", "helping others", "trust"))
    d.duo = True
    d.para(*opening(s), trait(s), friend_intro(s), "Wherever {H} went, {he} took {aO} along.", s.maybe(s.pick(bank(s.thing.cls, "desc")), 0.6))
    d.para(s.maybe("\"Why do you always carry {that} {noun}?\" asked {fH}. \"[You never know|One day we may need {it}],\" said {H}.", 0.5),
           day(s) + s.pick(["the two friends were playing [tag|hide-and-seek]. Suddenly there was a [crash|cry].", "the two friends went for a long walk. Suddenly the ground gave way.", "the two friends were out looking for berries. Suddenly there was a loud crack."]),
           s.pick(["{^fH} had fallen into a deep [hole|pit]!", "{^fH} had slipped down a steep [bank|slope] and could not get up again!", "{^fH} was stuck fast between two big rocks!"]),
           "\"Help!\" {fhe} cried. \"I can't get out!\"")
    d.para(s.pick(["{^N}'s heart beat fast. \"Don't be afraid,\" {he} called. \"I am here.\"", "{^H} was frightened, but {he} did not run away. \"Stay calm,\" {he} called. \"I will get you out!\""]),
           s.pick(["{^he} looked around. What could {he} use? Then {he} remembered {O}.", "{^he} thought hard. Then {he} looked at {O}, and {he} had an idea."]),
           s.pick(bank(s.thing.cls, "rescue")),
           s.pick(["A moment later {fH} was free.", "It was hard work, but at last {fH} was safe."]))
    d.para("\"You saved me!\" said {fH} and hugged {him} tight.", s.pick(["\"You would do the same for me,\" said {H}.", "\"That is what friends are for,\" said {H}.", "\"And I will never laugh about {that} {noun} again,\" {fhe} added."]))
    d.end(s, s.maybe(s.pick(bank(s.thing.cls, "joy")), 0.5), closing(s))
    d.summary = "{^fA} fell and could not get out. {^his2} friend{comma}, stayed calm and used {aO} to save {fhim}.".replace("{^his2}", "{^fhis}")
    d.next = ["The next day, the two friends went back to the same place. They put up a sign that said \"Take care!\" so that nobody else would fall. Then they shared a big sandwich in the sun, and {H} still had {O} with {him}."]
    return d


def lost_home(s: Scene) -> Draft:
    d = Draft("lost_home", clause="who got lost", themes=("courage", "being brave", "hope", "friendship", "never giving up"))
    d.para(*opening(s), trait(s), friend_intro(s))
    d.para(day(s) + s.pick(["{H} took {aO} and went for a walk.", "{H} packed {aO} and went out to explore."]), s.maybe("\"Don't go too far,\" said {fH}. \"[I won't|Of course not],\" said {H}.", 0.7),
           s.pick(["But there was so much to see: [a blue butterfly|a trail of tiny footprints], then [a shiny stone|a bush full of berries]. {^he} went on and on.", "{^he} followed a [yellow butterfly|little stream], and {he} did not notice how far {he} had gone."]),
           s.pick(["When {he} looked up, the sun was going down, and nothing looked familiar.", "Then a thick fog came down, and {he} could not see the way any more.", "Suddenly it was dark. \"Where am I?\" whispered {H}."]))
    d.para(s.pick(["{^he} called, but only the wind answered.", "{^he} went left, and {he} went right, but every path looked the same.", "An owl hooted. The shadows looked long and strange."]) if s.place.cls != "space" else "{^he} called, but nobody answered.",
           s.pick(["A tear rolled down {his} cheek. \"[Be brave|I must think],\" {he} told {self}.", "{^he} was frightened, but {he} took a deep breath. \"Crying won't help,\" {he} said. \"[Thinking will|I must think].\""]),
           s.pick(bank(s.thing.cls, "guide")))
    d.para(s.pick(["At home there was hot soup and a warm blanket.", "When {he} was home again, {fH} hugged {him} for a long time."]),
           s.pick(["\"I was so worried about you!\" said {fH}.", "\"Next time we will go together,\" said {fH}."]),
           s.pick(["\"I was lost,\" said {H}, \"but I had {O}, and I did not give up.\"", "{^H} put {O} [beside {his} bed|in a safe place]. \"[Thank you|You helped me],\" {he} whispered to {it}."]))
    d.end(s, closing(s))
    d.summary = "{^A} walked too far and got lost. {^he} was frightened, but {he} stayed brave, and {O} helped {him} to get home."
    d.next = ["The next morning, {H} and {fH} walked the same path together. This time they put a little white stone at every corner. \"Now nobody will get lost here again,\" said {H}. And when evening came, they followed the white stones home."]
    return d


_FEARS = [
    ("the dark", "When the light went out at night, {he} [hid under the blanket|pulled the blanket over {his} head].", "the night was as black as ink", "into the dark night"),
    ("thunder", "At the first rumble, {he} [hid under the bed|ran and hid].", "a storm came, and the thunder rolled", "out into the storm"),
    ("high places", "{^he} would not even [climb on a chair|walk over a little bridge].", "the path led along a high, narrow ledge", "up, up, up to the high ledge"),
    ("deep water", "{^he} never went closer to the river than ten steps.", "the river was high and fast", "right into the cold water"),
    ("being alone", "{^he} always wanted [somebody close by|company].", "there was nobody else to help", "all alone along the long path"),
    ("loud noises", "Even a [falling leaf|slamming door] made {him} jump.", "the wind howled and the branches cracked", "straight through the noise"),
]


def fear(s: Scene) -> Draft:
    options = _FEARS[:3] + _FEARS[4:] if s.hero.habitat == "sea" or s.hero.move == "swam" else _FEARS
    what, habit, scene_, way = s.pick(options)
    d = Draft("fear", clause=s.pick([f"who was afraid of {what}", f"who is afraid of {what}", f"that was scared of {what}"]), themes=("courage", "being brave", "friendship", "helping others"))
    d.duo = True
    d.para(*opening(s), s.pick([f"{{^H}} was afraid of {what}.", f"There was one thing that {{H}} was afraid of: {what}."]), habit,
           s.pick([f"\"Everyone is afraid of something,\" said {{his}} friend{{fcomma}}. But {{H}} was ashamed.", f"The others laughed at {{him}}, but not {{his}} friend{{fcomma}}."]))
    d.para(f"[One night|One evening], {{fH}} did not come home. {{^H}} waited and waited. Then {{he}} heard a faint cry from far away. \"Help! [My foot is stuck|I am hurt]!\"", f"It was {{fN}}! But {scene_}." if what != "being alone" else f"It was {{fN}}! But {scene_}.",
           s.pick(["{^N}'s knees shook. \"I can't,\" {he} whispered. Then {he} heard the cry again.", "{^H} wanted to run and hide. But {he} thought of {his} friend."]))
    d.para(s.pick([f"\"I am afraid,\" {{he}} said, \"but {{fN}} needs me.\" And {{he}} went {way}.", f"{{^he}} took a deep breath, and then {{he}} went {way}."]),
           s.maybe("{^he} had {aO} with {him}, and {he} held {it} tight.", 0.5) if not s.extra.get("thing_asked") else "{^he} took {aO} with {him} and held {it} tight.",
           s.pick(["\"One step,\" {he} told {self}. \"And now one more.\"", "{^he} sang a little song to keep {his} courage up."]),
           s.pick(["At last {he} found {fH}. {^fhis} foot was caught under a [root|heavy branch]. {^H} pulled and pulled until {fhe} was free.", "There was {fH}, caught under a fallen branch. {^H} pushed with all {his} might, and at last {fhe} was free."]))
    d.para("\"You came!\" said {fH}. \"" + s.pick(["But weren't you afraid?", "Were you not frightened?"]) + "\"", s.pick(["\"Yes, I was,\" said {H}. \"I was very much afraid. But you were more important.\"", "\"Terribly,\" said {H}. \"But I came all the same.\""]),
           s.maybe("{^H} held up {O}, and they [found|made] their way home together.", 1.0) if s.extra.get("thing_asked") else "Arm in arm they went home.")
    d.end(s, s.pick([f"After that, {{H}} was still a little afraid of {what}, but now {{he}} knew how brave {{he}} could be.", f"And when somebody asked who was the bravest of all, {{fH}} always pointed at {{H}}."]), s.maybe(closing(s), 0.4))
    d.summary = f"{{^A}} was afraid of {what}. But when {{his}} friend{{fcomma}}, needed help, {{he}} went anyway and saved {{fhim}}."
    d.next = [f"A week later, a little one asked {{H}}, \"How do you stop being afraid of {what}?\" {{^H}} smiled. \"You don't have to stop,\" {{he}} said. \"You just take a friend by the hand and go slowly.\" And together they took the first step."]
    return d


_SKILLS = [
    ("swim", "swimming", "{^he} splashed and coughed and went under like a stone", "Suddenly a cry came from the river. {^xA}{xnamed} had fallen in! {^H} jumped into the water and swam and swam until {he} reached {xhim}. {^he} brought {xhim} safely to the shore", ("sea", "pond", "water"), ("fish",)),
    ("sing", "singing", "{his} voice squeaked like a rusty door", "The evening of the big feast came, and suddenly {xA}{xnamed}, who was meant to sing, lost {xhis} voice. So {H} stood up and sang. When {he} had finished, it was quiet for a moment, and then everyone clapped and cheered", (), ()),
    ("dance", "dancing", "{he} tripped over {his} own feet and fell into a bush", "At the summer feast the music began, but nobody dared to dance. {^H} stepped into the middle and danced so merrily that even {xA}{xnamed} joined in, and soon everyone was dancing", ("sea",), ()),
    ("paint", "painting", "the picture looked like a spilled soup", "In winter everything was grey, and {xA}{xnamed} was very sad. {^H} took {his} colours and painted a whole wall full of flowers. {^xH} looked at them and smiled for the first time in weeks", ("sea",), ()),
    ("bake bread", "baking", "the bread came out as hard as a brick", "One cold day the baker fell ill, and there was no bread for anyone. {^H} baked all night. In the morning there were fifty warm loaves, and {xA}{xnamed} said that they were the best of all", ("sea",), ()),
    ("read", "reading", "the letters danced in front of {his} eyes", "Then a letter came for {xA}{xnamed} who had lost {xhis} glasses. {^H} took the letter and read it aloud, word by word. It said that {xhis} brother was coming home at last, and {xhe} cried for joy", (), ()),
    ("whistle", "whistling", "nothing came out but air", "One foggy evening, {xA}{xnamed} lost the way. {^H} went to the edge of the fog and whistled as loud as {he} could, and {xH} followed the sound safely home", ("sea",), ()),
]
_FLY = ("fly", "flying", "{he} flapped and flapped and fell flat on {his} nose", "Then a great wind came, and it carried off {xA}{xnamed}, who was so small and light. {^H} did not stop to think. {^he} spread {his} wings and flew after {xhim}, caught {xhim} in the air and brought {xhim} safely down", (), ())


def skill(s: Scene) -> Draft:
    if s.hero.move in ("flew", "fluttered") and s.rng.random() < 0.7:
        choice = _FLY
    else:
        choice = s.pick([k for k in _SKILLS if s.hero.habitat not in k[4] and s.hero.move not in ("swam", "glided", "paddled") or k[0] in ("sing", "read")])
    verb, noun, fail, test, _, _ = choice
    d = Draft("skill", clause=s.pick([f"who could not {verb}", f"who wanted to learn to {verb}", f"who learned to {verb}", f"who can't {verb}"]), themes=("never giving up", "patience", "friendship", "hope", "trust"))
    d.para(*opening(s), s.pick([f"{{^H}} wanted to {verb} more than anything, but {{he}} could not.", f"All the others could {verb}, but {{H}} could not."]),
           s.pick([f"Whenever {{he}} tried, {fail}.", f"{{^he}} tried once, and {fail}. {{^he}} tried again, and it was no better."]))
    d.para(s.pick([f"\"You will never learn it,\" the others laughed. {{^H}} sat down by {{self}} and cried.", f"\"Maybe {noun} is not for me,\" {{he}} said sadly."]),
           s.pick(["There {fA}{fnamed} found {him}.", "Just then {fA}{fnamed} came by and sat down next to {him}."]),
           s.pick([f"\"Do you know how often I fell before I could walk?\" asked {{fH}}. \"A hundred times. [Come|Let us try], I will help you.\"", f"\"Nobody can {verb} on the first day,\" said {{fH}}. \"Let us practise, a little every day.\""]))
    d.para(s.pick(["So they practised every [morning|evening]. On the first day it went badly. On the tenth day it went a little better.", "Day after day they practised together. {^H} often wanted to give up, but {fH} always said, \"Once more!\""]),
           s.pick([f"And then one day it happened. \"I can {verb}!\" {{H}} shouted. \"{{^fN}}, look, I can {verb}!\"", f"Then, on a [bright|quiet] morning, {{H}} found that {{he}} could {verb} at last. {{^he}} laughed out loud."]),
           s.maybe("To celebrate, {fH} gave {him} {aO}. {^H} loved {it} at once.", 1.0 if s.extra.get("thing_asked") else 0.2))
    d.para(test + ".", s.pick(["\"I am glad that you never gave up,\" said {fH}, and {H} was, too.", "Nobody laughed at {H} any more. They all cheered.", f"\"Thank you for teaching me,\" {{H}} said to {{fN}}."]))
    d.end(s, s.maybe("{^H} put {O} in {his} window, where everyone could see {it}.", 1.0) if s.extra.get("thing_asked") else "", closing(s))
    d.summary = f"{{^A}} could not {verb}. {{^fA}} helped {{him}} to practise every day, and in the end {{he}} could {verb} and used it to help somebody."
    d.next = [f"Soon the little ones came to {{H}} and asked, \"Will you teach us to {verb}?\" \"Yes,\" said {{H}}, \"but you have to practise every day.\" {{^fH}} laughed, for {{fhe}} remembered the first lesson very well."]
    return d


def newcomer(s: Scene) -> Draft:
    d = Draft("newcomer", clause="who was lonely", themes=("friendship", "kindness", "helping others", "trust"))
    d.duo = True
    d.para(*opening(s), trait(s))
    d.para(day(s) + "{fA}{fnamed} moved in next door.", s.pick(["Nobody there had ever met {a_kind} before.", "Everyone whispered. \"{^a_kind}? Here? I don't like it,\" said one of them."]).replace("{a_kind}", "{fAkind}").replace("{^a_kind}", "{^fAkind}"),
           s.pick(["So nobody said hello, and {fH} sat alone in front of {fhis} door every evening.", "When {fH} came near, the others went away, and {fhe} was very lonely."]),
           "{^H} watched {fhim} and felt sorry. \"[Somebody should visit {fhim}|It must be hard to be new],\" {he} thought.")
    d.para(s.pick(["The next morning, {H} [knocked at the door|went over], and {he} brought {aO} as a present.", "The next day, {H} took {aO} and went over to say hello."]),
           s.pick(["{^H} was a little shy. \"Hello,\" {he} said. \"I am {N}. {^this1} for you.\"", "\"Welcome,\" said {H}. \"{^this1} for you.\""]).replace("{^this1}", "{^this} {is}").replace("I am {N}", "I live next door"),
           s.pick(["{^fN}'s face lit up like the sun. \"Nobody has ever given me {aOp},\" {fhe} said.", "{^fH} was so happy that {fhe} did not know what to say. \"Thank you,\" {fhe} whispered at last. \"You are the first one who came.\""]).replace("{aOp}", "such a fine present"),
           "They talked all afternoon, and {H} found out that {fN} [knew a hundred jokes|could tell wonderful stories|could cook the best soup in the world].")
    d.para(s.pick(["The next day {H} brought one friend along, and the day after that came all the others.", "Soon {H} told the others, and one by one they came to see for themselves."]),
           s.pick(["Even {xA}{xnamed}, who had been the most afraid of all, came with a plate of cookies.", "{^xA}{xnamed} came first of all. \"I was silly,\" {xhe} said. \"I was afraid, just because {fhe} was new.\""]),
           s.pick(bank(s.thing.cls, "joy")))
    d.end(s, closing(s))
    d.summary = "{^fA} was new and lonely, until {A} brought {fhim} {aO} and made friends with {fhim}."
    d.next = ["When the next newcomer arrived in autumn, {fH} was the very first to knock at the door. {^fhe} brought a warm pie, and {fhe} said, \"I know how it feels to be new. Come, I will show you everything!\""]
    return d


def contest(s: Scene) -> Draft:
    what, prep, near = s.pick([
        ("a great race", "{^he} practised every day and {was_fast} faster and faster".replace("{was_fast}", "got"), "The end was already in sight, and {H} was in front"),
        ("a boat race", "{^he} built a little boat and practised every day", "The end was already in sight, and {N}'s boat was in front"),
        ("a treasure hunt", "{^he} studied every path and every tree", "There was only one more clue to solve, and {H} was ahead of everyone"),
    ])
    d = Draft("contest", clause="who wanted to win " + what.replace("a great race", "a race"), themes=("kindness", "helping others", "friendship", "never giving up"))
    d.duo = True
    d.para(*opening(s), f"Every year there was {what}, and [the winner got|the first prize was] {{aO}}.", "{^H} wanted to win more than anything.", prep + ".",
           "{^his} friend{fcomma}, wanted to win, too.")
    d.para("At last the big day came.", "\"Ready, steady, go!\" called {xA}{xnamed}, and off they went.", s.pick(["They went over the hill, past the mill and along the river.", "It was hard. Some fell behind, and some gave up."]),
           near + ".", s.pick(["Then {he} heard a cry. {^fH} had fallen and hurt {fhis} leg.", "Then {he} looked back. {^fH} was stuck in the mud and could not move."]))
    d.para(s.pick(["{^H} looked at the end, so near, and {he} looked back at {fN}.", "For a moment {H} did not know what to do."]), s.pick(["\"Winning is nice,\" {he} thought, \"but a friend is nicer.\" And {he} turned around.", "Then {he} turned around and ran back."]).replace("ran back", "hurried back"),
           s.pick(["{^he} helped {fhim} up, and they went on together, slowly, step by step.", "\"Lean on me,\" said {H}, and side by side they went on."]),
           "They came in last of all.")
    d.para(s.pick(["But everyone had seen it, and everyone clapped.", "But when they arrived, the crowd cheered louder than ever."]), "\"The prize goes to {H},\" said {xH}, \"because [a good heart is worth more than speed|helping a friend is the greatest victory].\" And {xhe} gave {him} {O}.".replace("goes to {H}", "goes to {N}"),
           s.pick(bank(s.thing.cls, "joy")))
    d.end(s, closing(s))
    d.summary = f"{{^A}} wanted to win {what}, but {{he}} turned back to help {{his}} friend{{fcomma}}. In the end {{he}} was given {{aO}} for {{his}} kindness."
    d.next = ["The next year, {H} and {fH} did not race against each other. They made a team. They did not come first, and they did not come last, but nobody laughed as much on the way as they did."]
    return d


_SCARY = ["dragon", "giant", "troll", "monster", "ogre", "wolf", "bear", "yeti", "tiger", "lion", "dinosaur"]
_MONSTER = [
    ("roared every night so that nobody could sleep", "had a bad toothache", "{^H} looked into {xhis} mouth. There was a sharp thorn stuck beside a tooth! {^he} took hold of it and pulled it out"),
    ("stole the washing from every garden", "was cold, because {xhe} had no blanket", "\"You could have asked,\" said {H}. Together with {fN} {he} made a big warm blanket out of a hundred little pieces of cloth"),
    ("stamped about on the hill until the windows shook", "was lonely and wanted to be noticed", "\"Would you like to have supper with us?\" asked {H}. Nobody had ever asked {xhim} that before"),
    ("scared everyone who came near the bridge", "was afraid of strangers", "\"We won't hurt you,\" said {H}, and {he} sat down and waited quietly, until {xhe} came closer, step by step"),
]


def monster(s: Scene) -> Draft:
    deed, why, cure = s.pick(_MONSTER)
    if "third_asked" not in s.extra:
        s.third.kind = s.pick([k for k in _SCARY if k not in (s.hero.kind, s.friend.kind)])
        s.third.adjective, s.third.move = s.pick(["big", "huge", "grumpy", "fierce", "wild"]), "stomped"
        s.third.name = None
    x = "{xA}"
    d = Draft("monster", clause=None, themes=("courage", "kindness", "being brave", "friendship", "helping others"))
    d.extra_third = True
    d.para(*opening(s), trait(s), f"Not far away lived {x}{{xnamed}}, who {deed}. Everyone was afraid of {{xhim}}.")
    d.para(day(s) + s.pick(["{H} had had enough. \"I will go and talk to {xhim},\" {he} said.", "{H} said, \"Has anybody ever asked {xhim} why?\" Nobody had."]),
           s.pick(["\"Are you mad?\" cried {his} friend{fcomma}. But when {H} set out, {fH} came along.", "{^his} friend{fcomma}, shook with fear, but {fhe} would not let {him} go alone."]),
           s.pick(["They took {aO} as a present.", "For luck, {H} took {aO} along."]),
           s.pick(["It was dark and quiet when they arrived. Then a deep voice growled, \"Who is there?\"", "\"Go away!\" cried a loud voice when they came near."]),
           s.pick(["{^N}'s legs shook, but {he} did not run. \"I am {A2},\" {he} said, \"and I only want to ask: why are you so angry?\"".replace("I am {A2},\" {he} said, \"and I only", "Good evening,\" {he} said. \"We only").replace("I only want", "only want").replace("We only want", "We only want"), "\"Please,\" said {H}, \"we only want to talk. What is the matter?\""]))
    d.para(f"It was quiet for a long time. Then they heard a sniff. {{^xH}} {why}.", cure + ".", s.pick(["{^xH} blinked. \"Nobody was ever so kind to me,\" {xhe} said.", "A big smile spread over {xN}'s face. \"Thank you,\" {xhe} said. \"I am sorry for all the trouble.\""]),
           s.pick(["{^H} gave {xhim} {O}, and {xhe} held {it} as if {ity} {was} made of gold.", "Then they showed {xhim} {O}, and {xhe} laughed for joy."]))
    d.end(s, s.pick(["After that nobody was afraid any more, and {xH} was invited to every feast.", "From then on {xH} helped everyone, and the little ones liked {xhim} best of all."]), s.maybe(closing(s, False), 0.4))
    d.summary = f"Everyone was afraid of {{xA}}. {{^A}} went to talk to {{xhim}} and found out that {{xhe}} {why}. {{^he}} helped, and they became friends."
    d.next = ["In winter, when the snow was deep, {xH} carried wood to every house. \"And to think that we were once afraid of you!\" said {fH}. {^xH} only smiled and asked if there was any soup left."]
    return d


_MYSTERY = [
    ("a strange tapping sound came from {place1}", "It was {xA}{xnamed}, {xhe} was trying to [mend a tiny chair|crack a very hard nut]", "\"I only work at night, because I am too shy to be seen,\" said {xH}"),
    ("something was gone from the kitchen: first a cookie, then an apple, then a whole cake", "It was {xA}{xnamed}, with crumbs all around {xhis} mouth", "\"I was so hungry,\" said {xH}, \"and I did not dare to ask\""),
    ("a soft light moved about in the garden", "It was {xA}{xnamed} with a jar full of fireflies", "\"I am looking for my little brother's ring,\" said {xH}. \"He lost it here, and he has cried ever since\""),
    ("somebody was heard crying, but nobody could be seen", "It was {xA}{xnamed}, sitting all alone behind a barrel", "\"I am far from home,\" said {xH}, \"and I don't know the way back\""),
]


def mystery(s: Scene) -> Draft:
    sound, who, why = s.pick(_MYSTERY)
    sound = sound.replace("{place1}", s.pick(["the attic", "the old barn", "the garden", "behind the wall"]))
    d = Draft("mystery", clause="who solved a mystery", themes=("kindness", "helping others", "courage", "teamwork"))
    d.para(*opening(s), s.pick(["{^H} was curious and loved [riddles|puzzles|secrets].", "Nothing was too small for {H} to notice."]), friend_intro(s))
    d.para(f"Then something strange began to happen. Every night, {sound}.", s.pick(["\"It must be a ghost,\" said {fH}, and {fhe} shook.", "Nobody knew what it was, and everyone was a little afraid."]).replace("a ghost", "a ghost" if "ghost" not in (s.hero.kind, s.friend.kind, s.third.kind) else "the wind"),
           s.pick(["\"I don't think so,\" said {H}. \"Tonight we will stay awake and find out.\"", "\"There is a reason for everything,\" said {H}. \"Let us find out.\""]),
           s.pick(["They took {aO} and hid behind [a big chair|some boxes].", "With {aO} beside them, they waited in the dark."]))
    d.para(s.pick(["The clock struck [ten|eleven]. Then it struck twelve. Suddenly there it was again!", "For a long time nothing happened. Then {fH} whispered, \"Listen!\""]),
           s.pick(["{^H} picked up {O} and tiptoed closer. \"Who is there?\" {he} asked.", "{^H} held {O} tight and jumped out. \"Stop!\" {he} called."]), who + "!", why[:-1] + ".\"" if why.endswith("\"") else why + ".",
           s.pick(["{^H} felt sorry for {xhim}. \"You don't have to hide,\" {he} said. \"We will help you.\"", "{^H} smiled. \"Why didn't you say so?\" {he} asked. \"Come, we will help you.\""]))
    d.para(s.pick(["And that is what they did.", "They helped {xhim} that very night."]), s.pick(["By morning, everything was all right again, and {xH} had two new friends.", "And when the sun came up, the three of them had breakfast together."]), s.maybe(s.pick(bank(s.thing.cls, "joy")), 0.6))
    d.end(s, "\"[The mystery is solved|So it was no ghost at all],\" said {H}. \"It was just somebody who needed a friend.\"", s.maybe(closing(s), 0.4))
    d.summary = "Something strange happened every night. {^A} and a friend stayed awake to find out why, and they found {xA} who needed help."
    d.next = ["The next night it was quiet, and everyone slept well. But a week later there was a new riddle: somebody had painted a big red heart on {N}'s door. {^H} looked at the paint on {xN}'s nose and laughed. That was an easy one!"]
    return d


def sleepless(s: Scene) -> Draft:
    d = Draft("sleep", clause="who could not sleep", themes=("friendship", "love", "family", "patience"))
    d.duo = True
    d.para(*opening(s), s.pick(["One night {H} could not sleep.", "It was late, but {H} was wide awake."]), s.pick(["{^he} turned to the left, and {he} turned to the right.", "{^he} counted to a hundred, and then {he} counted back again."]), "The moon shone brightly, and everything was still." if s.place.cls != "cave" else "Everything was still.")
    d.para(s.pick(["\"Maybe a drink of water will help,\" {he} thought. But it did not.", "\"Maybe I am hungry,\" {he} thought, and {he} ate a cookie. But that did not help."]),
           "{^he} picked up {aO} and went outside.", "There sat {his} friend{fcomma}, looking up at the stars.", "\"Can't you sleep either?\" asked {H}. \"No,\" said {fH}. \"[My head is too full|I keep thinking about tomorrow].\"")
    d.para(s.pick(["So they sat down side by side with {O} between them.", "\"Look what I brought,\" said {H}, and {he} showed {fhim} {O}."]), "\"Let us tell each other the best thing that happened today,\" said {fH}.",
           s.pick(["\"I saw a rainbow,\" said {H}.", "\"I heard the first cuckoo,\" said {H}.", "\"I found the sweetest berry,\" said {H}."]), s.pick(["\"And I made you laugh,\" said {fH}.", "\"And I have somebody to sit with,\" said {fH}."]),
           s.pick(["They talked more and more quietly. An owl hooted far away, and the wind hummed a song.", "The stars twinkled, and the night wind hummed like a mother by a cradle."]), s.pick(["{^H} yawned. Then {fH} yawned, too.", "Soon their eyes grew heavy."]))
    d.end(s, s.pick(["In the morning, the sun found them there, fast asleep, side by side.", "{^H} went back to bed, put {O} beside {his} pillow and was asleep before {he} could count to three."]), s.maybe("Good night, {call}. Good night, {fcall}.", 0.6))
    d.summary = "{^A} could not sleep. {^he} went outside with {aO}, met {his} friend{fcomma}, and they talked about good things until they were sleepy."
    d.next = ["The next evening, {H} was not worried about sleeping any more. {^he} lay down, closed {his} eyes and thought of the best thing that had happened that day. It was a very good thing, and {he} was still smiling when {he} fell asleep."]
    return d


_GOALS = ["the end of the rainbow", "the top of the highest mountain", "the sea", "the place where the sun goes to sleep", "the great waterfall", "the valley of a thousand flowers"]


def journey(s: Scene) -> Draft:
    goal = s.extra.get("goal") or s.pick(_GOALS[:2] + _GOALS[3:] if s.hero.habitat == "sea" or s.place.cls == "sea" else _GOALS)
    d = Draft("journey", clause=f"who wanted to see {goal}", themes=("friendship", "never giving up", "hope", "courage", "teamwork"))
    d.para(*opening(s), s.pick([f"{{^H}} had one big dream: {{he}} wanted to see {goal}.", f"Every evening {{H}} dreamed of {goal}."]), s.pick(["\"That is much too far for you,\" everyone said.", "Nobody {he} knew had ever been there."]),
           day(s) + "{H} packed {aO} and a piece of bread and set out all the same.")
    d.para(s.pick(["On the first day {he} met {fA}{fnamed}. \"May I come along?\" {fhe} asked. \"I have always wanted to see the world.\"", "Soon {he} met {fA}{fnamed} who was sitting by the road. \"I have nowhere to go,\" said {fH}. \"Then come with me,\" said {H}."]),
           "So they went on together.",
           s.pick(["They crossed a wide plain where the sun burned hot, and they shared their last drop of water.", "They went through a dark wood where the wind howled, and they sang to keep each other brave."]),
           s.pick(["Then they came to a deep valley with no bridge. \"We have to turn back,\" said {fH}.", "Then it began to rain, and it rained for three days. \"Let us go home,\" said {fH}."]),
           s.pick(["But {H} shook {his} head. \"We have {O}, and we have each other,\" {he} said. \"We will find a way.\"", "\"Not yet,\" said {H}. \"Let us ask somebody.\" And {xA}{xnamed} showed them a secret path."]))
    d.para(f"On the seventh day they came over the last hill, and there it was: {goal}!", s.pick(["It was more beautiful than anything they had ever dreamed of.", "They stood quite still and did not say a word."]),
           s.pick(["\"We did it,\" whispered {H}.", "\"Look,\" said {fH} softly. \"Just look!\""]), s.pick(["They stayed until the first star came out.", "They sat down, put {O} between them and stayed all day."]))
    d.end(s, s.pick(["Then they went home again and told everyone, and this time nobody said that it was too far.", f"\"Do you know what was the best thing?\" asked {{H}} on the way home. \"Not {goal}. The best thing was going there with you.\""]), s.maybe(closing(s), 0.4))
    d.summary = f"{{^A}} dreamed of seeing {goal}. {{^he}} set out with {{aO}}, met {{fA}} on the way, and together they got there."
    d.next = ["When they were home again, {H} and {fH} drew a big map of their journey and hung it on the wall. \"Where shall we go next?\" asked {fH}. {^H} closed {his} eyes and put a finger on the map. \"There!\" {he} said, and they began to pack."]
    return d


_SKY = {"star": "had fallen from the sky", "moon": "had come too close to the hill and got caught in a tall tree", "cloud": "had lost the wind and was too tired to fly", "sun": "had overslept behind the hill and did not want to rise", "rainbow": "had lost one of its colours", "snowflake": "had landed on a warm stone and was afraid to melt"}


def fallen(s: Scene) -> Draft:
    sky = s.extra.get("sky") or s.rng.choice(["star", "moon", "cloud", "sun", "rainbow"])
    d = Draft("sky", clause=f"who helped the {sky}" if sky in ("moon", "sun") else f"who found a {'fallen ' if sky == 'star' else ''}{sky}", themes=("kindness", "helping others", "friendship", "hope", "teamwork"))
    who = {"star": "a little star", "moon": "the moon", "cloud": "a small white cloud", "sun": "the sun", "rainbow": "a rainbow", "snowflake": "a tiny snowflake"}[sky]
    d.para(*opening(s), trait(s), friend_intro(s), s.maybe("Together they liked to look at the sky.", 0.6))
    d.para(s.pick(["One night" if sky in ("star", "moon") else "One morning"]) + f", {{H}} saw something strange. There was {who}! It {_SKY[sky]}." + ("" if sky != "rainbow" else " The red was gone."),
           f"\"{s.pick(['Oh dear', 'Please help me'])},\" said the {sky} in a thin voice. \"{'I want to go home' if sky != 'sun' else 'I am so tired'}.\"" if sky != "rainbow" else "\"Please help me,\" said the rainbow in a thin voice. \"Without my red I can't shine.\"",
           s.pick([f"\"Don't be sad,\" said {{H}}. \"We will help you.\"", f"{{^H}} felt sorry for the {sky}. \"There must be a way,\" {{he}} said."]),
           "{^he} ran to fetch {fN}.".replace("ran", "went quickly"))
    if sky == "rainbow":
        d.para("They looked for something red. They tried [a tomato|a berry], but it was too small. They tried [an old hat|a flag], but it was too pale.", "Then {xA}{xnamed} brought the reddest rose of the garden. {^H} held it up, and the red flowed out of it, right into the sky.")
    elif sky == "sun":
        d.para("First they called, as loud as they could, but the sun only yawned. Then they sang a funny song, all together with {xA}{xnamed}, and it was so funny that the sun had to laugh.", "It laughed and laughed, and while it laughed, it rose higher and higher, until the whole land was bright.")
    else:
        d.para(s.pick([f"First they tried to throw it up, but the {sky} only fell down again." if sky == "star" else f"First they tried to push, but the {sky} did not move.", "First they tried a long ladder, but it was too short."]),
               f"Then {{H}} had an idea. " + s.pick([f"They asked {{xA}}{{xnamed}} to help, and all together they climbed the highest hill. There they called the wind, and the wind lifted the {sky} gently up into the sky.", f"They fetched a big blanket, and {{xA}}{{xnamed}} took hold of it, too. \"One, two, three!\" they called, and the {sky} flew up, up, up, all the way home."]))
    d.para(f"\"Thank you!\" called the {sky}. \"I will [always shine for you|never forget you].\"", "As a thank-you, there was {aO} in the grass the next morning. {^H} kept {it} all {his} life." if s.extra.get("thing_asked") else s.pick(["And from then on, it shone a little brighter over their home than anywhere else." if sky != "cloud" else "And on hot days, it always came to give them shade.", "{^H} and {fH} waved until it was far away."]))
    d.end(s, closing(s))
    d.summary = f"{{^A}} found {who} that {_SKY[sky]}. Together with friends {{he}} helped the {sky} to get back to the sky."
    d.next = [f"The next evening, {{H}} and {{fH}} sat outside and waved at the {sky}. It seemed to them that it waved back. \"Sleep well up there,\" said {{H}}. Then they went home, for it was late."]
    return d


_BABY = ["a tiny bird", "a little duckling", "a small kitten", "a lost puppy", "a baby rabbit", "a little lamb", "a baby owl"]


def lost_little_one(s: Scene) -> Draft:
    used = {s.hero.kind, s.friend.kind, s.third.kind}
    baby = s.pick([b for b in _BABY if b.split()[-1] not in used])
    b = baby.split()[-1]
    d = Draft("baby", clause=f"who found {baby}", themes=("kindness", "helping others", "love", "family"))
    d.para(*opening(s), trait(s), friend_intro(s))
    d.para(day(s) + f"{{H}} heard a small sound [under a bush|behind a stone|in the tall grass]. It was {baby}, all alone and trembling.", f"\"Where is your mother?\" {{H}} asked. But the little {b} only cried.",
           s.pick([f"{{^H}} wrapped it up warmly and gave it something to eat.", f"{{^H}} sat down beside it and hummed a song until it stopped crying."]), f"Then {{he}} showed it {{aO}}, and the {b} looked at {{it}} with big eyes and forgot to be sad." if s.rng.random() < 0.5 or s.extra.get("thing_asked") else "")
    d.para("\"We have to find its mother,\" said {H}, and {fH} [agreed|nodded].", s.pick([f"They asked {{xA}}{{xnamed}}. \"I heard somebody calling near the old mill,\" said {{xH}}.", f"They met {{xA}}{{xnamed}}. \"Somebody has been looking for a little {b} all day,\" said {{xH}}. \"Go down to the stream!\""]),
           s.pick([f"They took turns carrying the {b}. It was a long way, and it grew dark.", f"On they went, through mud and rain, and the {b} slept in {{N}}'s arms."]),
           "At last they heard a worried voice. It was the mother!")
    d.para(f"The little {b} gave a shout of joy and ran to her." if b not in ("bird", "owl") else f"The little {b} gave a cry of joy and hopped to her.", "\"Thank you,\" said the mother. \"I looked everywhere. How can I thank you?\"", s.pick([f"\"Seeing you two together is thanks enough,\" said {{H}}.", f"\"May we visit the little one sometimes?\" asked {{H}}. \"Any time,\" said the mother."]))
    d.end(s, "{^H} let the little one keep {O}." if "thing_asked" in s.extra else "", s.pick(["On the way home, {H} was tired but very happy.", f"And the next spring, there was a knock at the door. It was the {b}, who had grown big and had come to say hello."]), s.maybe(closing(s), 0.4))
    d.summary = f"{{^A}} found {baby} that had lost its mother. {{^he}} and {{his}} friend{{fcomma}}, looked until they found her."
    d.next = [f"The next Sunday, the mother came to visit with the little {b}. They brought a basket of berries. The little {b} showed {{H}} a new trick, fell over, and laughed. {{^fH}} laughed, too, and so they spent the whole afternoon."]
    return d


_WEATHER = {"storm": ("a great storm came. The wind howled and the rain poured down", "the bridge was broken and many roofs were gone"),
            "snow": ("it began to snow, and it snowed for seven days", "every door was blocked, and there was no food left at {xN}'s house"),
            "rain": ("it began to rain, and it rained and rained", "the water rose higher and higher"),
            "drought": ("it did not rain for many weeks", "the wells were dry, and the flowers hung their heads"),
            "fog": ("a thick fog came down and stayed for three days", "nobody could find the way, and {xA}{xnamed} did not come home")}


def weather(s: Scene) -> Draft:
    key = s.extra.get("weather") or s.pick(["storm", "snow", "rain", "drought"])
    came, harm = _WEATHER[key]
    d = Draft("weather", clause=None, themes=("teamwork", "helping others", "hope", "courage", "being brave"))
    d.para(*opening(s), trait(s), friend_intro(s))
    d.para(f"One {s.pick(['year', 'day']) if key == 'drought' else 'day'}, {came}. " + f"Soon {harm}." if key != "snow" else "One winter, it began to snow, and it snowed for seven days. Soon every door was blocked, and {xA}{xnamed} had no food left.",
           s.pick(["\"What shall we do?\" everyone asked.", "Everyone was afraid and stayed at home."]), s.pick(["\"We must help each other,\" said {H}. \"If we all do a little, we can do a lot.\"", "But {H} said, \"Somebody has to do something. Let us begin.\""]))
    if key == "storm":
        d.para("{^he} took {aO} and went from house to house with {fN}.", "One brought wood, one brought nails, and one brought soup for everyone.", "They put up a new bridge, and they mended one roof after another. {^xA}{xnamed}, who was very old, had the leakiest roof of all, so they began with that one.")
    elif key == "snow":
        d.para("{^he} took {aO}, and {fH} took a big shovel. Together they dug a path through the snow, from door to door.", "It was so cold that their noses turned red, but they sang while they worked.", "In the evening they reached {xN}'s door with bread and hot soup. \"I had almost given up hope,\" said {xH}.")
    elif key == "rain":
        d.para("{^he} took {aO} and called everyone together.", "They filled sacks with sand and built a wall, {H} at one end and {fH} at the other. {^xA}{xnamed} carried the heaviest sacks of all.", "All night the water pushed against the wall, but the wall held. In the morning the rain stopped.")
    elif key == "drought":
        d.para("{^he} packed {aO} and set out with {fN} to look for water.", "They walked for two days. Then they met {xA}{xnamed}. \"There was once a spring behind the red rock,\" said {xH}, \"but a stone fell on it.\"", "All three of them pushed and pushed, until the stone rolled away. And there it was: clear, cold water, and it ran down all the way home.")
    else:
        d.para("{^he} took {aO}, and {fH} took a long rope. They tied one end to the door and went into the fog, step by step, calling and calling.", "At last they heard an answer. There sat {xH}, cold and tired. \"I knew that somebody would come,\" {xhe} said. And along the rope they all went safely home.")
    d.para(s.pick(["When it was over, everyone was tired and proud.", "Then the sun came out, and everyone cheered."]), s.pick(["They put long tables in the middle of the road and had a feast together.", "\"Alone I could not have done it,\" said {H}. \"But together we could.\""]), s.pick(bank(s.thing.cls, "joy")) if s.extra.get("thing_asked") else "")
    d.end(s, closing(s))
    noun = {"storm": "A storm", "snow": "Deep snow", "rain": "Heavy rain", "drought": "A long drought", "fog": "A thick fog"}[key]
    d.summary = f"{noun} brought trouble to everyone. {{^A}} and {{his}} friend{{fcomma}}, got everyone to help, and together they put things right."
    d.next = ["A month later, everything was green and quiet again. {^H} and {fH} sat on the new bench in the sun, and everyone who came by sat down with them for a while. \"We make a good team,\" said {fH}, and {H} agreed."]
    return d


def proud(s: Scene) -> Draft:
    what, fall, help_ = s.pick([
        ("the fastest of all", "{^he} was so busy showing off that {he} did not look where {he} was going, and {he} fell right into a [muddy ditch|deep puddle]", "Slow and steady, {fH} came along the path, saw {him} and pulled {him} out"),
        ("the cleverest of all", "{^he} did not listen to anyone, took the wrong path and got stuck in a swamp", "\"I know a way out,\" said {fH}, who had lived there all {fhis} life, and {fhe} showed {him} where to step"),
        ("the most beautiful of all", "{^he} looked at {self} in the water for so long that {he} leaned over too far and fell in with a big splash", "{^fH} jumped up at once and pulled {him} out, wet and covered with green weed"),
        ("the strongest of all", "{^he} tried to lift a huge rock all by {self}, and the rock rolled onto {his} foot and would not move", "{^fH} could not lift the rock either. But {fhe} was clever, and {fhe} used a long branch to push it away"),
    ])
    d = Draft("proud", clause=f"who thought {{he}} was {what}", themes=("friendship", "kindness", "teamwork", "helping others"))
    d.duo = True
    d.para(*opening(s), f"{{^H}} was very proud. \"I am {what},\" {{he}} said [to everyone|every day].", s.pick([f"{{^he}} laughed at {{fA}}{{fnamed}}, who was [quiet and slow|not proud at all].", f"Nearby lived {{fA}}{{fnamed}}. {{^H}} often laughed at {{fhim}}, but {{fH}} only smiled."]),
           s.maybe("{^he} even wore {aO} so that everyone would look at {him}." if s.thing.cls == "wear" else "{^he} showed {his} {noun} to everyone, too, and said that no one had anything so fine.", 1.0 if s.extra.get("thing_asked") else 0.15))
    d.para(day(s) + s.pick(["{H} said, \"Watch me, everyone!\"", "everyone came together for the summer feast, and {H} wanted to show what {he} could do."]), fall + ".", s.pick(["\"Help!\" {he} cried. But the others had already gone home.", "Some of the others laughed. \"Help!\" cried {H}, and now {he} did not feel proud at all."]))
    d.para(help_ + ".", s.pick(["{^H} could not look {fhim} in the eyes. \"I laughed at you,\" {he} said, \"and still you helped me. Why?\"", "\"Why did you help me?\" asked {H}. \"I was never nice to you.\""]),
           s.pick(["\"Because you needed help,\" said {fH}. \"It is as simple as that.\"", "\"Everyone falls sometimes,\" said {fH}. \"Then it is good to have a friend.\""]),
           s.pick(["{^H} was quiet for a while. \"I am sorry,\" {he} said then. \"Will you be my friend?\"", "\"I was foolish,\" said {H}. \"Being kind is better than being first.\""]))
    d.end(s, s.pick(["And {H} did not boast any more. Well, hardly ever.", "From then on, {H} clapped for the others, and that felt better than being clapped for."]) , "{^he} even gave {fhim} {O}." if s.extra.get("thing_asked") else "", s.maybe(closing(s), 0.5))
    d.summary = f"{{^A}} was proud and said {{he}} was {what}. Then {{he}} got into trouble, and {{fA}} helped {{him}}. {{^H}} said sorry, and they became friends."
    d.next = ["The next time there was a feast, {H} did not want to be the best. {^he} carried chairs and poured juice for everyone. \"You know,\" said {fH}, \"now you really are something special.\""]
    return d


def garden(s: Scene) -> Draft:
    plant = s.thing if s.thing.cls == "plant" and not s.thing.plural else None
    d = Draft("garden", clause="who planted a seed", themes=("patience", "hope", "never giving up", "friendship", "love"))
    d.extra_plant = plant is not None
    name = "{noun}" if plant and s.thing.noun not in ("seed", "leaf") else "flower"
    d.para(*opening(s), trait(s), day(s) + "{xA}{xnamed} gave {him} a tiny seed. \"Plant it and be patient,\" said {xH}. \"Something wonderful will grow.\"")
    d.para("{^H} dug a little hole in a sunny place, put the seed in and gave it water.", s.pick(["The next morning {he} ran out to look. There was nothing to see but earth.", "Every morning {he} went to look, and every morning there was nothing."]).replace("ran", "hurried"),
           s.pick(["\"Maybe it is asleep,\" said {his} friend{fcomma}.", "\"Maybe it needs more time,\" said {his} friend{fcomma}."]),
           s.pick(["A week went by, and then another. \"I give up,\" said {H}. \"Nothing will ever grow here.\"", "It rained, and the wind blew, and still there was nothing. {^H} was very sad."]),
           s.pick(["\"Give it one more week,\" said {fH}. \"I will water it with you.\"", "But {fH} said, \"Good things take time. Let us sing to it.\" And so they did, every evening."]))
    d.para(s.pick(["Then, one bright morning, there was a tiny green tip!", "And then one day {fH} shouted, \"Come quick!\" There was a small green leaf."]), f"It grew and grew, a little more every day, until it was {('a beautiful ' + name) if True else ''}, [as tall as {{H}}|red and gold and full of bees].",
           s.pick([f"Everyone came to see the {name}, and {{xH}} came, too. \"You see?\" {{xhe}} said. \"You were patient.\"", f"\"It was worth waiting for,\" said {{H}}."]))
    d.end(s, "In autumn there were [a hundred|many] new seeds, and {H} gave one to everyone {he} knew.", s.maybe(closing(s), 0.5))
    d.summary = f"{{^A}} planted a seed and waited. {{^he}} nearly gave up, but {{his}} friend{{fcomma}}, helped {{him}} to be patient, and a beautiful {name} grew."
    d.next = ["In winter, everything was covered with snow. \"Is it gone forever?\" asked {fH}. \"No,\" said {H}. \"It is only asleep.\" And when spring came, there was not one green tip in the garden but a hundred."]
    return d


PEOPLE_PLOTS = [rescue, lost_home, fear, skill, newcomer, contest, monster, mystery, sleepless, journey, fallen, lost_little_one, weather, proud, garden]
