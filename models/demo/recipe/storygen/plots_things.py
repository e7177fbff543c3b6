# SPDX-License-Identifier: Apache-2.0
"""Plots that turn on a thing: lost, found, shared, broken, made, carried, wished for."""
from __future__ import annotations

from .banks import bank
from .draft import Draft
from .intro import closing, day, friend_intro, opening, trait
from .world import Scene

SEARCH = [
    "They looked [under the bushes|behind the stones|beside the path], but {O} {was} not there.",
    "They searched [high and low|everywhere], [behind every stone|under every leaf|in every corner], but they found [nothing|only an old sock].",
    "First they looked [at home|near the path]. Then they looked [by the water|behind the hill]. {^O} {was} nowhere to be seen.",
    "They asked [everyone they met|all the neighbours], but nobody had seen {O}.",
]


def own(s: Scene) -> list[str]:
    """The hero's dearest possession: its first mention, its looks, and why it is loved."""
    first = s.pick(["{^H} owned {aO}.", "{^H} had {aO} that {he} loved [very much|dearly|more than anything].",
                    "The thing {he} loved most was {aO}.", "For {his} birthday, {he} had been given {aO}."])
    return [first, s.pick(bank(s.thing.cls, "desc")), s.pick(bank(s.thing.cls, "love"))]


def lost_thing(s: Scene) -> Draft:
    d = Draft("lost", clause="who lost {his} {noun}", themes=("sharing", "kindness", "friendship", "helping others", "trust"))
    d.para(*opening(s), *own(s))
    d.para(day(s) + s.pick(["{O} {was} gone!", "{H} woke up and saw that {O} {was} gone.", "{H} looked for {O}, but {ity} {was} gone."]),
           s.pick(["\"Oh no!\" cried {H}. \"Where can {ity} be?\"", "{^H} felt like crying.", "\"Somebody must have seen {it},\" said {H}, and {he} set out at once."]),
           s.pick(["{^he} ran to {his} friend{fcomma}. \"Please help me,\" {he} said. \"[Of course|I will],\" said {fH}. \"Two pairs of eyes are better than one.\"",
                   "{^his} friend{fcomma}, came to help. \"Don't worry,\" said {fH}. \"We will find {it} together.\""]),
           s.pick(SEARCH))
    end = s.rng.randrange(3)
    if end == 0:
        d.para(s.pick(["At last they heard somebody [crying|singing] softly.", "Then they heard a small sound from [behind a bush|inside an old log|around the corner]."]),
               "It was {xA}{xnamed}, and beside {xhim} lay {O}.",
               "\"I found {it} [on the path|in the grass],\" said {xH}. \"I had never seen anything so lovely, and I [was so lonely|had nobody to play with]. I am sorry.\"",
               s.pick(["{^H} was not angry any more.", "{^H} thought for a moment. Then {he} smiled."]),
               "\"[Come with us|Come home with us],\" {he} said. \"[You can share {it} with me|{^O} {is} nicer with friends].\"")
        d.para(s.pick(["So {xH} came along, and that evening there were three friends instead of two.", "{^xH} [jumped for joy|could hardly believe it], and the three of them went home together."]),
               s.pick(bank(s.thing.cls, "joy")))
        d.summary = "{^A} lost {his} {noun}. With a friend's help {he} found {it}, and {he} made a new friend, {xA}, on the way."
    elif end == 1:
        d.para("Then {H} met {xA}{xnamed}.", "\"Are you looking for {this}?\" asked {xH}, and {xhe} held up {O}. \"The wind [blew|rolled] {it} [into my garden|to my door], and I kept {it} safe.\"",
               "\"[Thank you|Oh, thank you]!\" said {H}. \"How can I ever thank you?\"",
               "\"[Come and visit me sometimes|Just be my friend],\" said {xH}. \"[It gets lonely here|I would like that most of all].\"")
        d.para("And so {H} did. " + s.pick(["Every Sunday {he} and {fH} visited {xH}.", "The very next day {he} and {fH} came back with a basket of good things."]), s.pick(bank(s.thing.cls, "joy")))
        d.summary = "{^A} lost {his} {noun}. {^xA} had kept {it} safe, and they became friends."
    else:
        d.para("\"Let us think,\" said {fH}. \"Where did you have {it} last?\"",
               s.pick(["{^H} closed {his} eyes and thought hard.", "{^H} thought and thought."]) + " \"[I was sitting under the old tree|I was resting by the big stone|I was helping {xA} with {xhis} bags]!\" {he} said.",
               "They [ran|hurried] back, and there [{was} {O}, just where {H} had left {it}|{ity} {was}, safe and sound].",
               "\"I forgot {it} {self2}!\" said {H}, and both of them laughed [until they cried|out loud].".replace(" {self2}", " there all by myself"))
        d.para(s.pick(bank(s.thing.cls, "joy")), "\"[A good friend helps you look|A friend who helps you think],\" said {H}, \"is [even better than {aO0}|the best thing to have].\"".replace("{aO0}", "any {noun}").replace("any {noun}", "finding what you lost"))
        d.summary = "{^A} lost {his} {noun} and looked everywhere with a friend, until {he} remembered where {he} had left {it}."
    d.end(s, closing(s))
    d.next = ["The next morning, {H} tied a ribbon around {O}, so that {ity} would never get lost again. Then {he} went to see {fH}, and they spent the whole day [by the stream|in the sunshine] together. When evening came, {O} {was} still there, safe and sound.",
              "A week later, {fH} lost something too: {fhis} [red button|little blue bag]. \"Don't worry,\" said {H}. \"I know all about finding things.\" They looked everywhere, and they found it [under a chair|behind the door]. \"Thank you,\" said {fH}. \"Now we are even!\""]
    return d


def found_thing(s: Scene) -> Draft:
    d = Draft("found", clause="who found {aO}", themes=("honesty", "kindness", "friendship", "helping others"))
    d.para(*opening(s), trait(s), friend_intro(s))
    d.para(day(s) + s.pick(["{H} found {aO} [lying in the grass|beside the path|under a bush].", "while {H} was out walking, {he} saw something [in the grass|behind a stone|by the path]. It was {aO}!" if not s.thing.plural else "while {H} was out walking, {he} found {aO} [in the grass|behind a stone|by the path]."]),
           s.pick(bank(s.thing.cls, "desc2" if False else "desc") if s.thing.cls in ("light", "treasure", "magic", "toy") else ["{^ity} looked [very fine|lovely|as if somebody had taken good care of {it}]."]),
           s.pick(["\"I have always wanted something like {this},\" {he} said. \"Now {ity} {is} mine!\"", "{^he} carried {it} home and hid {it} under the bed.", "\"How lucky I am!\" {he} said, and {he} took {it} home."]))
    d.para("[But the next day|The next morning|But that evening], {H} and {fH} met {xA}{xnamed} who [was crying|looked very sad].",
           "\"What is wrong?\" asked {fH}.",
           "\"I have lost {my} {noun},\" said {xH}. \"My [grandmother|father|best friend] gave {it} to me, and I have looked everywhere.\"".replace("{my}", "my"),
           s.pick(["{^H} looked at the ground. {^his} heart felt as heavy as a stone.", "{^H} said nothing, but all that night {he} could not sleep."]),
           s.pick(["{^he} wanted to keep {O}, but {he} could not forget {xN}'s sad face.", "{^he} thought of {O}, and {he} thought of the tears."]))
    d.para(s.pick(["At last {he} knew what to do.", "Then {he} made up {his} mind."]) + " {^he} [ran home and came back with|fetched] {O}.",
           "\"I found {it},\" {he} said. \"I should have told you [at once|sooner]. I am sorry.\"",
           "{^xH} [hugged {him}|laughed and cried at the same time]. \"Thank you for telling the truth,\" {xhe} said. \"[That was not easy|Not everyone would have done that].\"",
           s.pick(bank(s.thing.cls, "joy")).replace("{fH}", "{xH}").replace("{fhe}", "{xhe}").replace("{fN}", "{xN}").replace("{fhim}", "{xhim}").replace("{^fH}", "{^xH}").replace("both of them", "the three of them") if s.thing.cls in ("music", "toy", "light", "book", "food", "fruit") else "{^xH} let {H} [come and see|borrow] {O} whenever {he} liked.")
    d.end(s, s.pick(["{^H} had given up {aO}, but {he} had found a new friend, and that was much better.", "{^fH} was proud of {him}. \"[Anyone can find a thing|Finding is easy],\" {fhe} said, \"but it takes a good heart to give it back.\""]), s.maybe(closing(s, False), 0.4))
    d.summary = "{^A} found {aO} and wanted to keep {it}. But {he} gave {it} back to {xA}, who had lost {it}, and they became friends."
    d.next = ["The next week, {xH} came to visit {H} and brought [a warm apple pie|a basket of berries]. \"This is for an honest friend,\" {xhe} said. They ate it together with {fH}, and they talked until the moon was high."]
    return d


def share_thing(s: Scene) -> Draft:
    d = Draft("share", clause="who did not want to share {his} {noun}", themes=("sharing", "friendship", "kindness"))
    d.para(*opening(s), *own(s))
    d.para(friend_intro(s), day(s) + "{fH} came by. \"[May I|Can I] [try|hold] {O}?\" {fhe} asked. \"Please, only for a little while.\"" if s.thing.cls not in ("food", "fruit") else day(s) + "{fH} came by. \"May I have a little of {O}?\" {fhe} asked.",
           s.pick(["\"No!\" said {H}. \"{^ity} {is} mine, [only mine|and nobody else may touch {it}]!\"", "{^H} held {O} tight. \"No,\" {he} said. \"You might [drop {it}|spoil {it}].\""]),
           "{^fH} went away with {fhis} head hanging down.")
    d.para(s.pick(["So {H} sat alone with {O}. At first {he} was happy. But [after a while|soon] it was very quiet.", "Now {H} had {O} all to {self}. But it was strange: {ity} did not seem so wonderful any more."]),
           s.pick(["There was nobody to laugh with and nobody to talk to.", "From far away {he} heard the others [laughing|singing], and {he} felt lonely."]),
           s.pick(["\"What good {is} {O},\" {he} said at last, \"if I have nobody to share {it} with?\"", "Then {xA}{xnamed} came along the path. \"You look sad,\" {xhe} said. \"Would you like to know a secret? [A joy that you share is twice as big|Things get better when you share them].\""]))
    d.para(s.pick(["{^H} jumped up and [ran|hurried] to {fN}'s house.", "Quickly {he} [ran|hurried] to find {fN}."]),
           "\"I am sorry,\" {he} said. \"I was [selfish|unkind]. Will you share {O} with me?\"",
           "{^fH} smiled. \"[Yes, please|I would love to],\" {fhe} said.", s.pick(bank(s.thing.cls, "joy")))
    d.end(s, closing(s))
    d.summary = "{^A} did not want to share {his} {noun}. But alone {he} was lonely, so {he} said sorry and shared {it} with {his} friend{fcomma}."
    d.next = ["The next day, {fH} came with a surprise: a [plate of warm cookies|basket of sweet berries]. \"You shared with me, so I will share with you,\" {fhe} said. They sat down side by side, and nobody counted who had more."]
    return d


def quarrel(s: Scene) -> Draft:
    d = Draft("quarrel", clause=None, themes=("friendship", "sharing", "forgiveness", "teamwork"))
    d.duo = True
    d.para(*opening(s), friend_intro(s))
    d.para(day(s) + s.pick(["the two friends found {aO} [by the path|under a tree|in the grass].", "as the two friends were walking, they saw {aO} [by the path|under a tree|in the grass]."]),
           "\"I saw {it} first!\" [cried|shouted] {H}.", "\"No, I did!\" [cried|shouted] {fH}.",
           s.pick(["They both took hold of {it} and pulled.", "{^H} pulled on one side, and {fH} pulled on the other."]),
           "Then it happened: " + s.pick(bank(s.thing.cls, "broke")).replace("{^ity}", "{ity}") + ".")
    d.para(s.pick(["For a moment nobody said a word.", "It was suddenly very quiet."]),
           s.pick(["{^H} looked at {O}, and then {he} looked at {his} friend. \"I am sorry,\" {he} said. \"I [should not have pulled|was selfish].\"", "\"Look what we have done,\" said {fH} with tears in {fhis} eyes. \"I am sorry.\" \"I am sorry too,\" said {H}."]),
           s.pick(["\"Let us mend {it} together,\" said {fH}.", "\"[Maybe|Perhaps] we can put {it} right,\" said {H}, \"if we work together.\""]) if s.thing.cls not in ("food",) else "\"Come,\" said {fH}. \"Let us put it right together.\"",
           s.pick(bank(s.thing.cls, "mend")))
    d.para(s.pick(bank(s.thing.cls, "joy")), s.pick(["\"You know,\" said {H}, \"{ity} {is} much nicer now that we share {it}.\"", "\"I would rather have a friend than {aOplain},\" said {fH}. \"Me too,\" said {H}."]).replace("{aOplain}", "anything else in the world"))
    d.end(s, closing(s))
    d.summary = "Two friends, {A} and {fA}, quarrelled about {aO} until {ity} broke. They said sorry, put things right together and shared {it}."
    d.next = ["A few days later, the two friends found something else in the grass: a shiny red apple. {^H} looked at {fH}, and {fH} looked at {H}. Then they both laughed. \"Half for you and half for me!\" they said at the same time."]
    return d


def make_gift(s: Scene) -> Draft:
    d = Draft("make", clause="who made {aO} for a friend", themes=("friendship", "kindness", "teamwork", "love", "never giving up"))
    d.duo = True
    d.para(*opening(s), friend_intro(s))
    d.para(s.pick(["Soon it would be {fN}'s birthday, and {H} wanted to give {fhim} something special.", "Tomorrow was {fN}'s birthday, and {H} had no present."]),
           s.pick(["\"I know!\" {he} said. \"I will make {aO}.\"", "{^he} thought all morning. \"I will make {aO} {self2},\" {he} said at last."]).replace(" {self2}", ""),
           "For that, {he} needed " + s.pick(bank(s.thing.cls, "make")) + "." if s.thing.cls != "magic" else "For that, {he} needed a piece of silver wood, a drop of morning dew and a lot of patience.")
    d.para(s.pick(["{^he} went to see {xA}{xnamed}. \"I will give you what you need,\" said {xH}, \"if you help me [sweep my house|carry this wood|find my glasses].\" {^H} worked hard all morning, and {xH} kept {xhis} word.",
                   "{^he} asked {xA}{xnamed} for help. \"I have just the things you need,\" said {xH}. \"Take them. [A present for a friend is worth it|You once helped me, and I have not forgotten].\""]),
           s.pick(["At home {H} set to work. The first try went wrong, and so did the second. But {he} did not give up.", "{^H} worked until late at night. It was not easy, and once {he} nearly gave up, but then {he} thought of {fN}'s smile."]),
           s.pick(["When the sun came up, {O} {was} ready.", "At last {O} {was} finished. {^ity} {was} not perfect, but {ity} {was} made with love."]))
    d.para(s.pick(["The next day, everyone came to the party.", "At the party, {fH} opened {fhis} presents one by one."]),
           "When {fH} saw {O}, {fhis} eyes [grew wide|shone].", "\"You made {it} yourself?\" {fhe} asked. \"[This is the best present I have ever had|I will keep {it} forever]!\"",
           s.pick(bank(s.thing.cls, "joy")))
    d.end(s, closing(s))
    d.summary = "{^A} wanted to give {his} friend{fcomma}, a birthday present. {^he} worked hard and made {aO}, and it was the best present of all."
    d.next = ["When {N}'s own birthday came, there was a big box in front of the door. {^H} opened it, and out jumped {fH}! \"Surprise!\" {fhe} called. \"I made a cake, and I brought all our friends.\" They sang and laughed until it was dark."]
    return d


def break_and_confess(s: Scene) -> Draft:
    d = Draft("confess", clause="who broke {aO}", themes=("honesty", "forgiveness", "trust", "being brave"))
    d.duo = True
    d.para(*opening(s), friend_intro(s), "{^fH} had {aO}, and {fhe} was very proud of {it}.", s.maybe(s.pick(bank(s.thing.cls, "desc")).replace("{N}", "{fN}").replace("{H}", "{fH}").replace("{his}", "{fhis}").replace("{him}", "{fhim}"), 0.5))
    d.para(day(s) + s.pick(["while {fH} was away, {H} wanted to take a closer look at {it}.", "{fH} went out for a while. \"I will only touch {it} once,\" {H} told {self}."]),
           s.pick(bank(s.thing.cls, "broke")) + ".", s.pick(["{^H} was frightened. Quickly {he} hid {O} under a [blanket|bush] and ran home.", "\"Oh dear,\" whispered {H}. {^he} pushed {O} into a dark corner and said nothing."]))
    d.para(s.pick(["That evening {fH} [looked everywhere|searched and searched]. \"Have you seen my {noun}?\" {fhe} asked. \"N-no,\" said {H}.", "\"Where {is} my {noun}?\" asked {fH} the next day. {^H} looked at the ground. \"I don't know,\" {he} said."]),
           s.pick(["But the lie sat in {his} stomach like a cold stone. {^he} could not eat, and {he} could not sleep.", "But from then on nothing was fun any more. The lie grew heavier and heavier."]),
           s.pick(["\"What is wrong?\" asked {xA}{xnamed} who was passing by. {^H} told {xhim} everything. \"The truth is hard for one minute,\" said {xH}, \"but a lie is hard for a long, long time.\"", "At last {H} could not bear it any longer."]))
    d.para("{^H} took a deep breath and went to {fN}. \"[I broke {O}|It was me. I broke {it}],\" {he} said. \"And then I lied to you. I am so sorry.\"",
           s.pick(["{^fH} was quiet for a long time. Then {fhe} put {fhis} arm around {H}. \"I am sad about {O},\" {fhe} said, \"but I am glad that you told me the truth.\"", "\"Thank you for telling me,\" said {fH}. \"A friend is worth more than {aO0}.\""]).replace("{aO0}", "any thing in the world"),
           s.pick(bank(s.thing.cls, "mend")))
    d.end(s, s.pick(["{^H} felt as light as a feather again.", "That night, for the first time in days, {H} slept well."]), s.maybe("And {he} never told a lie to a friend again.", 0.5))
    d.summary = "{^A} broke {aO} that belonged to a friend and lied about it. {^he} felt bad until {he} told the truth, and then {he} was forgiven."
    d.next = ["The next day, {fH} let {H} hold {O} again. {^H} was very careful this time. \"You see,\" said {fH}, \"I still trust you.\" That made {H} happier than any present could."]
    return d


def delivery(s: Scene) -> Draft:
    d = Draft("deliver", clause="who had to carry {aO} a long way", themes=("kindness", "helping others", "never giving up", "being brave"))
    d.para(*opening(s), trait(s))
    d.para(day(s) + s.pick(["{his} grandmother called {him}. \"Please take {aO} to {xA}{xnamed}, who lives behind the hills,\" she said.", "a letter came. It was from {xA}{xnamed} who lived far away. \"Please bring me {aO},\" it said. \"I need {it} very much.\""]),
           "{^H} packed {O} [carefully|well] and set out.",
           s.pick(["On the way {he} met {fA}{fnamed} who was [stuck in the mud|caught in a thorn bush|too tired to go on].", "Halfway there, {he} heard a cry for help. It was {fA}{fnamed}, and {fhe} was [stuck between two stones|tangled in an old net]."]),
           "\"I am in a hurry,\" said {H}, \"but [I can't leave you here|a friend in need comes first].\" {^he} put {O} down and helped {fhim} [until {fhe} was free|up].",
           "\"Thank you!\" said {fH}. \"Let me come with you.\"")
    d.para(s.pick(["Soon they came to a wide river. There was no bridge. \"[I know this place|Follow me],\" said {fH}. \"There is a row of stones under the old willow.\" And so they crossed without getting {O} wet.",
                   "Soon a thick fog came down, and {H} could not see the path. \"[Stay close to me|Hold on to me],\" said {fH}. \"I know every stone here.\" And so they found the way.",
                   "Then it began to rain hard. \"Quick, into this cave!\" said {fH}. \"I know it well.\" There they stayed until the rain stopped, and {O} stayed dry."]),
           s.pick(["\"If I had not stopped to help you,\" said {H}, \"I would never have made it.\"", "\"How lucky that I met you,\" said {H}."]))
    d.para("In the evening they came to {xN}'s house. {^xH} [clapped|laughed with joy] when {xhe} saw {O}.", "\"You came all this way!\" {xhe} said. \"Come in, both of you. There is [hot soup|warm bread and honey] on the table.\"", s.pick(bank(s.thing.cls, "joy")) if s.thing.cls in ("food", "light", "book", "fruit") else "They sat by the fire and told {xhim} all about their journey.")
    d.end(s, closing(s))
    d.summary = "{^A} had to bring {aO} to {xA}. On the way {he} helped {fA}, and later {fN} helped {him}, and so {O} arrived safely."
    d.next = ["The next morning, {xH} gave the two travellers [a warm cake|a bag of nuts] for the way home. The sun was shining, and the path seemed much shorter now. \"Shall we go on another journey soon?\" asked {fH}. \"Yes,\" said {H}, \"but first I need a good sleep!\""]
    return d


def wish_thing(s: Scene) -> Draft:
    d = Draft("wish", clause="who wished for {aO}", themes=("patience", "never giving up", "kindness", "hope"))
    d.para(*opening(s), s.pick(["More than anything, {H} wished for {aO}.", "There was one thing {H} wanted more than anything: {aO}."]), s.pick(["Every evening {he} looked at the first star and wished.", "{^he} dreamed about {it} every night."]))
    d.para(day(s) + s.pick(["{he} saw {aO1} in the window of a little shop. But {ity} cost ten silver coins, and {H} had only one.", "{he} heard that {xA}{xnamed} had {aO1} to give away. \"You may have {it},\" said {xH}, \"if you work for me for seven days.\""]).replace("{aO1}", "just {this_one}").replace("{this_one}", "the {noun} {he} wanted" if not s.thing.mass else "the {noun} {he} wanted"),
           s.pick(["So {he} went to work. {^he} carried water, swept the [yard|floors] and chopped wood.", "So {he} worked hard. {^he} picked apples, carried bags and watched over the [sheep|little ones]."]),
           "Each day {he} was a little closer to {his} wish.")
    d.para(s.pick(["But on the last day, {H} met {fA}{fnamed} who was [shivering|weeping] by the road. \"I have nothing to eat,\" said {fH}. \"[It has been three days|I am so hungry].\"", "On the way home {he} met {fA}{fnamed}. {^fhis} [house|nest] had been broken by the storm, and {fhe} did not know where to sleep."]),
           s.pick(["{^H} thought of {O}. Then {he} looked at {fN}, and {he} knew what to do. {^he} gave {fhim} all that {he} had earned.", "{^H} thought for a long time. Then {he} gave {fhim} everything {he} had, and {he} stayed to help, too."]),
           "\"You are very kind,\" said {fH}. \"I will not forget it.\"")
    d.para(s.pick(["The next morning, there was a [parcel|box] in front of {N}'s door. In it {was} {O}!", "Some days later there was a knock at the door. Outside stood {fH}, and {fhe} was holding {O}."]),
           s.pick(["\"For someone with a good heart,\" said the [card|note] beside {it}.", "It turned out that everyone {at} had heard what {H} had done, and they had all given a little."]), "{^H} ran to show {it} to {fN}.", s.pick(bank(s.thing.cls, "joy")))
    d.end(s, closing(s))
    d.summary = "{^A} worked hard to get {aO}. {^he} gave {his} money to somebody in need instead, and in the end {his} kindness was rewarded with {O}."
    d.next = ["From then on, {H} and {fH} met every day. \"What do you wish for now?\" asked {fH}. {^H} thought for a while. \"Nothing,\" {he} said. \"I have {O}, and I have a friend. What else is there?\""]
    return d


def magic_wishes(s: Scene) -> Draft:
    d = Draft("magic", clause="who found {aO} that could grant wishes", themes=("magic", "sharing", "kindness"))
    d.para(*opening(s), s.pick(["{^he} was never quite happy with what {he} had.", "{^he} often dreamed of being [rich|famous|a king]."]).replace("|a king", ""))
    d.para(day(s) + "{H} found {aO} [under a tree|in a hollow log|by the water].", s.pick(["When {he} touched {it}, a voice said, \"You may make three wishes. But be careful what you wish for!\"", "Then {he} heard a tiny voice. \"I am old and full of magic,\" {ity} seemed to say. \"Make three wishes, but choose well.\""]).replace("{ity} seemed to say", "it said"))
    d.para(s.pick(["\"I wish for a mountain of cakes!\" said {H}. At once there were cakes everywhere. {^he} ate and ate until {his} stomach hurt.", "\"I wish for a house full of gold!\" said {H}. At once there was so much gold that {he} could not open {his} own door."]),
           s.pick(["\"I wish to be as tall as a tree!\" {he} said next. And {he} grew and grew, until {his} best friend{fcomma}, ran away in fear.", "\"Now I wish that everyone would do what I say!\" {he} said. But then {his} friend{fcomma}, only nodded and said \"Yes\" to everything, and it was terribly dull."]),
           "Now {H} was [all alone|sad], and there was just one wish left.")
    d.para(s.pick(["{^he} thought about it for a long, long time.", "This time {he} did not hurry."]), "\"I wish,\" {he} said [softly|at last], \"that everything was just as it was before.\"",
           s.pick(["There was a flash of light, and all was as it had been.", "{^O} glowed once more and then went dark. Everything was as before."]),
           "There stood {fH}, [smiling|laughing]. \"[Where have you been?|Shall we play?]\" {fhe} asked.", "{^H} hugged {fhim} tight. {^he} gave {O} to {xA}{xnamed}, who [kept {it} safe|was wise enough not to use {it}]." if True else "")
    d.end(s, s.pick(["\"I have all that I need,\" said {H}, and {he} meant it.", "And {H} never again wished for more than a good friend and a sunny day."]))
    d.summary = "{^A} found {aO} that granted three wishes. The first two made {him} unhappy, so with the last one {he} wished for everything to be as before."
    d.next = ["One day {fH} asked, \"If you had one more wish, what would it be?\" {^H} looked at the sunshine and at {his} friend. \"I would wish for a sandwich,\" {he} said, and they both laughed. Then they went home and made two big ones."]
    return d


def repair(s: Scene) -> Draft:
    d = Draft("repair", clause="who mended {aO}", themes=("teamwork", "never giving up", "helping others", "patience"))
    d.para(*opening(s), s.pick(["In that place there {was} {aO} that everybody loved.", "Everyone there was proud of {aO} that stood in the middle of it all."]) if s.thing.cls == "big" else "In that place there {was} {aO} that belonged to everyone.", s.pick(bank(s.thing.cls, "desc")) if s.thing.cls == "big" else "")
    d.para("But one night a [great|terrible] storm came. In the morning {O} {was} broken.", s.pick(["\"It can't be mended,\" said {xA}{xnamed}, shaking {xhis} head. \"{^ity} {is} too old.\"", "Everyone was sad. \"That is the end of {it},\" said {xA}{xnamed}."]),
           s.pick(["\"We have to try,\" said {H}.", "But {H} did not want to give up. \"I will mend {it},\" {he} said, \"even if it takes all year.\""]))
    d.para(s.pick(["{^he} started all alone. On the first day {he} carried stones. On the second day {he} carried wood. It was slow, hard work.", "All day long {he} worked, and in the evening {he} had done only a tiny part."]),
           s.pick(["On the third day, {his} friend{fcomma}, came with a [hammer|bucket of paint]. \"Two are faster than one,\" said {fH}.", "{fA}{fnamed} watched {him} for a while. Then {fhe} picked up a brush. \"Let me help,\" {fhe} said."]),
           "Then came the neighbours, one after another, and at last even {xH} [came to help|brought {xhis} tools].", s.pick(bank(s.thing.cls, "mend")))
    d.para(s.pick(["Everyone cheered and danced around {O} until late at night.", "There was a big feast, with music and pies and lights in all the windows."]), "\"I was wrong,\" said {xH}. \"[Nothing is too old to mend if you do it together|One small friend can start a great thing].\"")
    d.end(s, closing(s))
    d.summary = "A storm broke {aO} that everyone loved. {^A} began to mend {it} alone, and in the end everyone helped."
    d.next = ["In the spring, {H} planted flowers all around {O}. {^fH} carried the water, and {xH} brought the seeds. When the flowers opened, travellers came from far away to see them."]
    return d


THING_PLOTS = [lost_thing, found_thing, share_thing, quarrel, make_gift, break_and_confess, delivery, wish_thing, magic_wishes, repair]
