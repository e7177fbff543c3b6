# SPDX-License-Identifier: Apache-2.0
"""Word lists: who can be in a story, what things it can hold, and where it can happen.

The lists are plain text, one group a line, so that they can be read and extended at a glance.
HELD_OUT nouns never reach the training text: they measure whether a subject that the model has
never met is copied from the request.
"""

# group: habitat / past verb of moving / adjectives : kinds
_CREATURES = """
forest/trotted/red,clever,quick,curious,young : fox wolf coyote raccoon
forest/padded/brown,gentle,big,sleepy,round : bear badger wolverine lynx skunk
forest/scampered/tiny,quick,shy,cheerful,brown : squirrel chipmunk mouse hedgehog dormouse shrew vole weasel marten
forest/hopped/small,soft,white,quick,shy : rabbit hare bunny
forest/walked/graceful,gentle,tall,quiet,young : deer fawn moose elk stag
forest/flew/wise,grey,quiet,young,brown : owl woodpecker robin sparrow crow raven cuckoo
forest/crawled/tiny,patient,green,slow,small : caterpillar snail beetle ant spider worm
forest/fluttered/tiny,blue,bright,golden,small : butterfly moth firefly ladybird ladybug dragonfly bee bumblebee
farm/trotted/friendly,spotted,sturdy,white,young : pony horse donkey goat lamb calf foal mule
farm/wandered/gentle,spotted,plump,friendly,brown : cow sheep pig piglet bull llama alpaca ox
farm/waddled/yellow,fluffy,plump,small,white : duck duckling goose gosling turkey
farm/hurried/speckled,plump,busy,proud,small : hen chicken rooster chick
house/padded/grey,fluffy,striped,sleepy,black : cat kitten kitty
house/ran/brown,playful,loyal,scruffy,spotted : dog puppy terrier poodle sheepdog
house/scurried/tiny,soft,brown,curious,round : hamster gerbil rat
pond/hopped/green,small,cheerful,spotted,young : frog toad
pond/walked/slow,old,patient,green,small : turtle tortoise newt lizard gecko chameleon
pond/paddled/sleek,playful,brown,busy,young : otter beaver muskrat
pond/glided/white,proud,graceful,young,elegant : swan heron crane
jungle/prowled/striped,golden,proud,strong,young : tiger lion leopard panther jaguar cheetah
jungle/swung/cheeky,small,clever,playful,brown : monkey chimpanzee gorilla orangutan lemur
jungle/plodded/big,grey,gentle,young,wrinkled : elephant rhino hippo
jungle/strode/tall,spotted,gentle,young,graceful : giraffe zebra antelope camel gazelle ostrich
jungle/flew/green,noisy,bright,colourful,young : parrot macaw
jungle/crept/slow,sleepy,gentle,shaggy,quiet : sloth anteater panda koala
jungle/slid/long,green,quiet,shy,thin : snake python
jungle/hopped/young,strong,brown,quick,kind : kangaroo wallaby
snow/waddled/small,black-and-white,cheerful,round,young : penguin puffin
snow/padded/white,big,furry,young,gentle : husky yak
snow/trotted/white,strong,young,proud,gentle : reindeer
snow/slid/grey,plump,playful,young,sleek : seal
sea/swam/little,silver,bright,curious,orange : fish goldfish seahorse clownfish minnow salmon
sea/swam/big,blue,gentle,kind,young : whale dolphin shark manatee
sea/swam/shy,clever,purple,small,curious : octopus squid jellyfish eel
sea/scuttled/red,small,grumpy,busy,tiny : crab shrimp
sky/flew/small,brave,young,blue,cheerful : bird swallow hummingbird bluebird finch canary nightingale
sky/flew/white,bold,hungry,young,noisy : seagull gull albatross
sky/flew/proud,strong,golden,young,swift : eagle hawk falcon
sky/flew/white,gentle,grey,faithful,young : dove pigeon stork
sky/flew/small,black,shy,sleepy,furry : bat
farm/strutted/proud,bright,vain,beautiful,young : peacock pheasant
"""

# gender: f, m or x (either); habitat / verb / adjectives : kinds
_PEOPLE = """
f/village/walked/young,cheerful,curious,clever,brave : girl
m/village/walked/young,cheerful,curious,clever,brave : boy
x/village/hurried/kind,young,hard-working,cheerful,quiet : baker farmer shepherd tailor miller weaver gardener cook carpenter blacksmith potter
x/village/walked/kind,patient,young,thoughtful,cheerful : teacher doctor nurse painter musician librarian clockmaker shoemaker toymaker singer dancer artist inventor
x/village/walked/quiet,brave,young,strong,honest : woodcutter hunter traveller mailman postman firefighter policeman detective merchant beekeeper miner
m/village/walked/kind,quiet,poor,patient,lonely : fisherman man grandfather grandpa father
f/village/walked/kind,quiet,poor,patient,lonely : woman grandmother grandma mother
m/castle/strode/young,proud,kind,brave,lonely : king prince
f/castle/walked/young,proud,kind,brave,lonely : queen princess
x/castle/rode/brave,young,honest,bold,clumsy : knight
x/castle/walked/cheerful,clever,young,funny,quiet : jester clown juggler acrobat magician servant guard
m/forest/walked/old,forgetful,kind,clever,young : wizard
f/forest/walked/old,kind,forgetful,clever,young : witch
x/sea/marched/bold,cheerful,young,brave,loud : pirate sailor captain
f/sea/swam/young,curious,brave,gentle,silver : mermaid
x/forest/danced/tiny,bright,merry,shy,kind : elf fairy pixie gnome goblin dwarf leprechaun
x/forest/flew/small,young,bright,kind,golden : dragon phoenix griffin
x/forest/trotted/white,gentle,shy,young,silver : unicorn
x/mountain/stomped/big,shy,lonely,gentle,clumsy : giant troll ogre monster yeti
x/house/floated/small,shy,friendly,pale,gentle : ghost
x/city/rolled/small,silver,shiny,helpful,curious : robot
x/space/floated/small,green,friendly,curious,young : alien astronaut
x/city/ran/brave,kind,young,quick,quiet : superhero ninja hero child student runner
x/forest/stomped/big,green,young,gentle,clumsy : dinosaur
x/snow/rolled/round,cheerful,white,jolly,kind : snowman
x/sky/drifted/small,white,fluffy,gentle,grey : cloud
x/city/rolled/little,red,blue,busy,cheerful : train truck tractor bus car
"""

# class: nouns (a trailing * marks a plural noun)
_THINGS = """
light : lantern lamp candle torch flashlight candlestick
music : drum flute violin guitar bell trumpet piano harp whistle horn fiddle banjo ukulele tambourine xylophone accordion clarinet recorder
food : cake pie cookie sandwich pancake muffin pudding pizza cupcake biscuit bun loaf pumpkin+pie chocolate+cake birthday+cake gingerbread soup stew jam honey cheese bread popcorn sweets* pancakes* cookies* doughnut
fruit : apple pear peach plum orange banana strawberry cherry melon watermelon carrot pumpkin potato turnip mushroom nut acorn berry lemon blueberries* tomato cabbage coconut mango
wear : hat scarf coat cloak sweater jacket cap dress apron mask necklace bracelet boots* mittens* gloves* shoes* slippers* socks* glasses* crown ring belt ribbon raincoat backpack watch button
toy : ball kite doll puppet balloon teddy+bear spinning+top toy+train toy+boat marble puzzle rocking+horse hoop yo-yo skateboard swing toy+car teddy paper+boat skates* blocks* jigsaw football toy
tool : rope ladder broom hammer shovel bucket basket umbrella net needle spade axe wheelbarrow paintbrush brush spoon fishing+rod saw pencil pen pot pan scissors* sack bag box rake wheel thread hook stick kettle chalk paint crayon crayons*
guide : map compass telescope key spyglass flag magnifying+glass mirror signpost
treasure : pearl gem coin shell feather treasure+chest golden+egg diamond ruby emerald crystal silver+spoon medal stone golden+coin pebble amber jewel treasure gold egg golden+key seashell
book : book letter storybook diary picture painting poem notebook postcard scroll drawing photograph newspaper
vehicle : boat bicycle wagon sled raft cart ship canoe bike hot-air+balloon scooter rowing+boat sailboat rocket carriage spaceship airplane submarine
plant : seed flower rose sunflower sapling daisy tulip bean vine rosebush daffodil cactus leaf
tree : tree apple+tree oak+tree pine+tree cherry+tree bush
home : clock teapot cup blanket pillow chair vase quilt plate bowl rug table jar bottle music+box bed cushion curtain door mug bench birdhouse
machine : machine engine radio camera computer telephone typewriter sewing+machine windmill phone television clockwork+bird magnet
misc : pump tap coil tile brick plank ladle lid cork crate trunk drawer shelf\
 stool sofa lamppost sponge soap towel comb hairbrush toothbrush fan heater stove toaster fridge zip\
 buckle shoelace collar leash nest web cocoon beehive feeder pin nail screw spring battery bulb wire cable\
 ticket stamp parcel package present gift card calendar globe ruler eraser ink quill\
 scale weight cane staff shield sword helmet armour banner tapestry coin+purse purse suitcase\
 hayfork plough tyre hose watering+can flowerpot mop dustpan\
 recipe
big : gate fence statue fountain bathtub chimney throne oven well clock+tower tower bridge roundabout stage
magic : wand magic+wand magic+stone magic+lamp potion spell+book magic+carpet magic+mirror magic+ring crystal+ball broomstick magic+hat magic+seed
"""

# class / preposition / verb-preposition : places (with article)
_PLACES = """
forest/in/into : the+forest the+woods the+old+forest the+pine+forest the+green+wood the+wood
meadow/in/into : the+meadow the+valley the+orchard the+garden the+park the+field
hill/on/up : the+hill the+green+hill the+mountain the+mountainside the+high+hill
village/in/to : the+village the+little+town the+quiet+village the+town the+market+square
farm/on/to : the+farm the+old+farm
house/in/into : the+old+house the+cottage the+attic the+kitchen the+barn the+treehouse the+little+house
castle/in/to : the+castle the+palace the+old+tower the+kingdom
water/by/to : the+lake the+river the+pond the+stream the+waterfall the+swamp
sea/by/to : the+sea the+beach the+harbour the+lighthouse the+shore the+ocean the+seaside
jungle/in/into : the+jungle the+rainforest
snow/in/into : the+snowy+forest the+frozen+north the+snowy+mountains
desert/in/into : the+desert the+dunes
city/in/to : the+city the+big+city the+busy+street the+library the+school the+museum the+zoo the+bakery the+toy+shop the+circus the+hospital the+bookshop the+theatre the+playground the+train+station
cave/in/into : the+cave the+dark+cave the+old+mine
island/on/to : the+island the+little+island
space/in/into : space outer+space
bridge/by/to : the+bridge the+old+bridge the+mill the+old+well the+windmill
"""

HELD_OUT = dict(
    actors="""ferret walrus tapir pelican lobster porcupine meerkat armadillo toucan flamingo starfish
    opossum bison hyena kingfisher grasshopper platypus baboon cricket plumber butcher geologist""".split(),
    things="""cello abacus saddle anvil trombone chandelier thimble hourglass parasol bonnet goblet dagger
    harmonica hammock anchor trophy tricycle pineapple pretzel waffle orchid dandelion envelope
    catapult tent""".split(),
    places="lagoon monastery vineyard glacier quarry airport canyon".split(),
)

NAMES_F = """Lily Mia Anna Ella Nora Ruby Ivy Rosa Clara Daisy Luna Maya Zoe Eva Emma Olivia Sophie Lucy Molly
Holly Poppy Bella Hazel Willow Fern Tilly Nell Ada Iris June Mabel Pearl Sadie Stella Violet Wren Amy Alice Betty
Cora Dora Edith Elsie Flora Freya Gina Grace Greta Hanna Heidi Ida Ines Jana Jenny Kira Lara Lena Lola Lottie Mina
Mira Nina Nola Olga Paula Petra Rita Rosie Sally Sara Selma Tara Tess Tina Una Vera Wanda Yara Zara Kate Mary Jane
Maria Julia Laura Susan Sarah Emily Chloe Amara Priya Leila Aisha Yuki Mei Sana Noor Thea Minnie Penny Honey Dot Pip
Misty Pippa Bess Marigold Juniper Clover Maple Olive Coral""".split()
NAMES_M = """Tim Tom Ben Max Sam Leo Jack Finn Noah Oscar Hugo Felix Theo Toby Milo Otto Arlo Rufus Jasper Rowan Ash
Bruno Barnaby Basil Benny Bert Billy Boris Caleb Casper Cedric Charlie Danny Dexter Eddie Eli Emil Ernie Ezra Frank
Fred Gus George Harry Henry Hank Ivan Jake Jim Joe Jonas Kai Karl Lars Liam Louis Luca Luke Magnus Marco Mark Martin
Mateo Monty Ned Nico Nils Ollie Omar Oren Oswald Pablo Paul Percy Peter Pete Quinn Ralph Ravi Remy Rex Robin Rory Seth
Simon Stan Sven Ted Thomas Umar Victor Walter Will Wilbur Yusuf Zac David Daniel John James Adam Alex Kofi Hiro Diego
Fenn Bramble Chester Digby Rusty Sunny Patch Pepper Biscuit Buttons Thistle Acorn Moss Bracken""".split()


def _clean(word: str) -> str:
    return word.replace("+", " ")


def _load_creatures() -> dict[str, dict]:
    out: dict[str, dict] = {}
    for line in _CREATURES.strip().splitlines():
        head, kinds = line.split(" : ")
        habitat, move, adjectives = head.split("/")
        for kind in kinds.split():
            out[_clean(kind)] = dict(kind=_clean(kind), habitat=habitat, move=move, gender="x",
                                     adjectives=adjectives.split(","), animal=True)
    return out


def _load_people() -> dict[str, dict]:
    out: dict[str, dict] = {}
    for line in _PEOPLE.strip().splitlines():
        head, kinds = line.split(" : ")
        gender, habitat, move, adjectives = head.split("/")
        for kind in kinds.split():
            out[_clean(kind)] = dict(kind=_clean(kind), habitat=habitat, move=move, gender=gender,
                                     adjectives=adjectives.split(","), animal=False)
    return out


def _load_things() -> dict[str, dict]:
    out: dict[str, dict] = {}
    for line in _THINGS.strip().splitlines():
        cls, nouns = line.split(" : ")
        for noun in nouns.split():
            plural = noun.endswith("*")
            noun = _clean(noun.rstrip("*"))
            out.setdefault(noun, dict(noun=noun, cls=cls, plural=plural))
    return out


def _load_places() -> dict[str, dict]:
    out: dict[str, dict] = {}
    for line in _PLACES.strip().splitlines():
        head, names = line.split(" : ")
        cls, prep, into = head.split("/")
        for name in names.split():
            name = _clean(name)
            out[name] = dict(name=name, cls=cls, prep=prep, into=into)
    return out


ANIMALS = _load_creatures()
PEOPLE = _load_people()
THINGS = _load_things()
PLACES = _load_places()
MASS_THINGS = frozenset("soup stew jam honey cheese bread popcorn gold gingerbread paint chalk thread".split())
