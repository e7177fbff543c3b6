# SPDX-License-Identifier: Apache-2.0
"""One backend, BP_BACKEND, held to the CPU: the same tokens or a tie, no fallback, a sound cache.

The CPU's portable kernels are the measure: they multiply in f32 what its tuned ones round to 8 bits.

Every prompt is continued greedily on the CPU. The backend is given the same sequence token by
token; at each position it has to choose what the CPU chose. Where it does not, both logits are
compared: backends round differently (prompts may go through f16 or bf16 products), so a near tie
may flip, and anything larger than that fails.
"""
import json
import os
import unittest

from library import Library
from program import BUILD, DEMO, SANITIZED, ProgramTest

BACKEND = os.environ["BP_BACKEND"]
FULL = os.environ.get("BACKPLANE_TEST_FULL") == "1"
TOKENS = 64 if FULL else 24
BOUND = 1e-2  # of the largest logit
# Quantized weights meet activations of 8 bits on some devices (and on some processors), rounded once
# for every 32 of them: 0.4 % of the largest each, which the layers add up.
INT8_BOUND = 3e-2
CONTEXT = 512

HEROES = ("fox", "bear", "boat", "lantern", "tailor", "little cloud", "wooden horse", "mouse",
          "lighthouse", "baker")
FORMS = ("Tell me a story about a {0} and a {1}", "{0}", "Write a short story about the {0}.",
         "Once upon a time there was a {0} who had lost a {1}. It was the only {1} for miles, and "
         "everybody in the village came to ask the {0} what had happened to it. The {0} looked at "
         "the floor and said nothing, but the old {1} maker knew at once what had to be done.",
         "Please tell me about a {0} that cannot sleep!")
# 50 pairs of every form with every hero; five of them hold each form once.
PROMPTS = [FORMS[i % 5].format(HEROES[i // 5], HEROES[(i // 5 + 3) % 10]) for i in range(50)]
PROMPTS = PROMPTS if FULL else [PROMPTS[i * 11 % 50] for i in range(5)]


def chat(prompt):
    return json.dumps([{"role": "user", "content": prompt}])


def best(logits):
    return logits.index(max(logits))  # ties go to the lowest id, as in the library


def relative_difference(reference, logits):
    """Largest difference over the largest logit; a NaN anywhere is infinite."""
    if any(x != x for x in logits):
        return float("inf")
    return (max(abs(a - b) for a, b in zip(reference, logits))
            / max(max(reference), -min(reference)))


def greedy(session, ids, count):
    """Ids that follow, and the logits that each was chosen from."""
    session.rewind()
    logits, out = session.feed(ids), []
    while True:
        out.append((best(logits), logits))
        if len(out) == count:
            return out
        logits = session.feed([out[-1][0]])


class Tally:
    def __init__(self):
        self.positions, self.worst, self.flips = 0, 0.0, []

    def add(self, prompt, at, reference, logits):
        difference = relative_difference(reference, logits)
        self.positions += 1
        self.worst = max(self.worst, difference)
        if best(reference) != best(logits):
            self.flips.append(f"prompt {prompt}, token {at}: {best(reference)} on the CPU, "
                              f"{best(logits)} here, logits {difference:.1e} apart")
        return difference


class Backend(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Kept in the build tree, so that a second run of this test compiles nothing.
        cache = os.environ["BP_BACKEND_CACHE"]
        ours = {"XDG_CACHE_HOME": cache, "BACKPLANE_CPU_ISA": "reference"}
        cls.env = {**cls.env, **ours}
        os.environ.update(ours)  # for the library in this process
        found = cls.usable_device(BACKEND)
        cls.device = found["id"]
        print(f"{cls.device}: {found['name']}, {found['driver']}", flush=True)

    def run_on(self, device, *more, model=None, cache=None):
        env = {**self.env, "XDG_CACHE_HOME": str(cache)} if cache else self.env
        return self.call("run", model or self.demo("q8_g32"), "-p", PROMPTS[0], "--temperature",
                         "0", "--ignore-eos", "--json", "--strict-placement", "--device", device,
                         *more, env=env, timeout=900)  # a cold start of a busy machine

    def hold(self, name, path, tokenize, bound=BOUND):
        """Every prompt through the CPU and the backend, with the CPU's tokens for both."""
        if SANITIZED:
            self.skipTest("Python cannot load a sanitized library")
        tally = Tally()
        with Library(BUILD / "lib" / "libbackplane.so").open(path) as model:
            prompts = [tokenize(model, prompt) for prompt in PROMPTS]
            with model.session("cpu", CONTEXT) as cpu, model.session(self.device, CONTEXT) as here:
                for index, ids in enumerate(prompts):
                    expected = greedy(cpu, ids, TOKENS)
                    here.rewind()
                    for at, (_, reference) in enumerate(expected):
                        logits = here.feed([expected[at - 1][0]] if at else ids)
                        difference = tally.add(index, at, reference, logits)
                        self.assertLessEqual(difference, bound, f"{name}, prompt {index}, token "
                                             f"{at}: best {best(reference)}, {best(logits)}")
        print(f"{self.device} {name}: {len(PROMPTS)} prompts x {TOKENS} tokens, "
              f"{len(tally.flips)} flipped, logits at most {tally.worst:.1e} apart", flush=True)
        for flip in tally.flips:
            print(f"  {flip}")
        self.assertEqual(tally.positions, len(PROMPTS) * TOKENS)
        # Ties within the bound are rare; a backend that mixes tokens up has many.
        flips = tally.positions // (50 if bound == BOUND else 20)
        self.assertLessEqual(len(tally.flips), max(1, flips))

    def test_the_demo_model_at_q8_says_what_the_cpu_says(self):
        self.hold("demo q8_g32", self.demo("q8_g32"), lambda m, x: m.tokenize_chat(chat(x)))

    def test_activations_of_8_bits_stay_close(self):
        # Devices with int8 products use them for large matrices; here for small ones too.
        os.environ["BACKPLANE_INT8_ELEMENTS"] = "1"
        try:
            self.hold("demo q8_g32, int8", self.demo("q8_g32"),
                      lambda m, x: m.tokenize_chat(chat(x)), INT8_BOUND)
        finally:
            del os.environ["BACKPLANE_INT8_ELEMENTS"]

    def test_the_demo_model_at_f16_says_what_the_cpu_says(self):
        self.hold("demo f16", self.demo("f16"), lambda m, x: m.tokenize_chat(chat(x)))

    def test_stories260k_says_what_the_cpu_says(self):
        source = self.shared("models/stories260K/stories260K.gguf")
        path = self.folder / "stories260K.bpm"
        self.call("convert", source, "-o", path)
        self.hold("stories260K", path, lambda m, x: m.tokenize(x))

    def test_a_cache_of_8_bits_stays_close_to_f16(self):
        text = self.folder / "q8-cache.txt"
        text.write_text(" ".join(PROMPTS))
        # Against f16 on the same device, and against the same cache on the CPU: two devices round
        # differently, and what falls to the other side of a step is a whole step off.
        for first, kv, bound in ((self.device, "f16", 2e-3), ("cpu", "q8", 1e-3)):
            got = json.loads(self.call(
                "compare", self.demo("f16"), self.demo("f16"), "--file", text, "--device", first,
                "--kv", kv, "--device-b", self.device, "--kv-b", "q8", "--strict-placement",
                "--json", timeout=900).stdout)
            print(f"{self.device} KV q8 against {first} KV {kv}: KL {got['kl_divergence']:.2e}, "
                  f"largest {got['kl_divergence_max']:.2e}, agreement "
                  f"{got['top1_agreement']:.3f}, logits {got['logit_error_max_relative']:.2e}",
                  flush=True)
            self.assertLess(got["kl_divergence"], bound)
            self.assertLess(got["kl_divergence_max"], 25 * bound)
            self.assertLess(got["logit_error_max_relative"], 5e-2)
            self.assertGreater(got["tokens"], 100)

    def test_the_program_says_what_the_library_says(self):
        if SANITIZED:
            self.skipTest("Python cannot load a sanitized library")
        got = json.loads(self.run_on(self.device, "-n", 12).stdout)
        self.assertEqual((got["device"], got["fallback_steps"]), (self.device, 0))
        with Library(BUILD / "lib" / "libbackplane.so").open(self.demo("q8_g32")) as model:
            ids = model.tokenize_chat(chat(PROMPTS[0]))
            self.assertEqual(got["prompt_token_ids"], ids)
            with model.session(self.device, CONTEXT) as here:
                self.assertEqual(got["token_ids"], [x for x, _ in greedy(here, ids, 12)])

    def test_explain_shows_every_step_on_the_device(self):
        for quant in ("q8_g32", "f16"):
            model = self.demo(quant)
            done = self.run_on(self.device, "-n", 1, "--explain", model=model)
            lines = [x for x in done.stderr.splitlines() if f" {self.device} " in x]
            self.assertEqual(len(lines), self.call_json("inspect", model)["plan_steps"],
                             done.stderr)
            self.assertNotIn("fallback", done.stderr)

    # ---- compiled kernels on disk --------------------------------------------------------------

    def kernels_in(self, cache):
        files = (cache / "backplane" / "plugins" / "kernels" / "code").glob("*")
        return {x: (x.stat().st_ino, x.stat().st_mtime_ns, x.stat().st_size) for x in files}

    def test_a_warm_start_compiles_nothing_and_damaged_files_are_replaced(self):
        cache = self.folder / "cold"
        def ids():
            return json.loads(self.run_on(self.device, "-n", 4, cache=cache).stdout)["token_ids"]
        cold = ids()
        kept = self.kernels_in(cache)
        self.assertGreater(len(kept), 5)
        self.assertEqual([x.suffix for x in kept if x.suffix != ".code"], [])
        self.assertEqual(ids(), cold)
        self.assertEqual(self.kernels_in(cache), kept)  # whatever is compiled is written anew

        # One file for each kind of damage: cut, emptied, a flipped bit, a foreign magic, and the
        # whole and valid file of another kernel.
        names = sorted(kept)
        damaged = {x: x.read_bytes() for x in names[:4]}
        cut, emptied, flipped, foreign = names[:4]
        damaged[cut] = damaged[cut][:len(damaged[cut]) // 2]
        damaged[emptied] = b""
        damaged[flipped] = damaged[flipped][:-1] + bytes([damaged[flipped][-1] ^ 1])
        damaged[foreign] = bytes(8) + damaged[foreign][8:]
        damaged[names[4]] = names[5].read_bytes()
        for path, content in damaged.items():
            path.write_bytes(content)
        self.assertEqual(ids(), cold)
        repaired = self.kernels_in(cache)
        self.assertEqual({x for x in repaired if repaired[x] != kept[x]}, set(damaged))
        self.assertEqual(set(repaired), set(kept))
        for path, content in damaged.items():
            self.assertNotEqual(path.read_bytes(), content, path)
        self.assertEqual(ids(), cold)
        self.assertEqual(self.kernels_in(cache), repaired)

    @unittest.skipUnless(FULL, "compiles everything once more")
    def test_without_a_place_for_a_cache_it_runs_all_the_same(self):
        blocked = self.folder / "blocked"
        blocked.write_text("a file where the folder should be")
        got = json.loads(self.run_on(self.device, "-n", 4, cache=blocked).stdout)
        self.assertEqual(got["token_ids"],
                         json.loads(self.run_on(self.device, "-n", 4).stdout)["token_ids"])


if __name__ == "__main__":
    assert DEMO.exists()
    unittest.main()
