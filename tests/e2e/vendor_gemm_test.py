# SPDX-License-Identifier: Apache-2.0
"""Prompts by the vendor's library and by our own kernels say the same, with and without it.

Runs over a stand-in driver and a stand-in library; BP_BACKEND names them.
"""
import json
import os
import pathlib
import unittest

from library import Library
from program import BUILD, SANITIZED, ProgramTest

BACKEND = os.environ["BP_BACKEND"]
LIBRARY = {"cuda": "cuBLASLt", "rocm": "hipBLASLt"}[BACKEND]
VARIABLE = {"cuda": "BACKPLANE_CUBLASLT", "rocm": "BACKPLANE_HIPBLASLT"}[BACKEND]
BOUND = 1e-2  # of the largest logit, as in backends_test.py
CONTEXT = 256
PROMPT = ("Once upon a time there was a fox who had lost a lantern. It was the only lantern for "
          "miles, and everybody in the village came to ask the fox what had happened to it. ") * 3


def relative_difference(reference, logits):
    if any(x != x for x in logits):
        return float("inf")
    return (max(abs(a - b) for a, b in zip(reference, logits))
            / max(max(reference), -min(reference)))


class VendorGemm(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Choices must not come from another run; compiled kernels may, by the stand-in's own cache.
        os.environ["XDG_CACHE_HOME"] = str(cls.folder / "cache")
        cls.device = f"{BACKEND}:0"

    def logits(self, model, mode, lengths):
        """What follows the first tokens of the prompt, for several lengths."""
        os.environ["BACKPLANE_VENDOR_GEMM"] = mode  # read when the session binds the device
        try:
            with Library(BUILD / "lib" / "libbackplane.so").open(model) as opened:
                ids = opened.tokenize(PROMPT)
                self.assertGreater(len(ids), max(lengths))
                with opened.session(self.device, CONTEXT) as session:
                    out = []
                    for length in lengths:
                        session.rewind()
                        out.append(session.feed(ids[:length]))
                    return out
        finally:
            del os.environ["BACKPLANE_VENDOR_GEMM"]

    def test_prompts_say_the_same_with_and_without_the_library(self):
        if SANITIZED:
            self.skipTest("Python cannot load a sanitized library")
        lengths = (40, 64, 97)
        for quant in ("q4_g32", "f16"):
            model = self.demo(quant)
            ours = self.logits(model, "off", lengths)
            theirs = self.logits(model, "on", lengths)
            for length, a, b in zip(lengths, ours, theirs):
                difference = relative_difference(a, b)
                print(f"{self.device} {quant}, {length} tokens: {difference:.1e} apart", flush=True)
                self.assertLessEqual(difference, BOUND)
            self.assertEqual(ours[0], theirs[0])  # too short for the library
            self.assertNotEqual(ours[2], theirs[2])  # it was really used: sums run in another order

    def start(self, expect, **environment):
        return self.call("--log-level", "info", "run", self.demo(), "-p", PROMPT, "-n", 1,
                         "--ctx", CONTEXT, "--temperature", 0, "--json", "--explain", "--device",
                         self.device, env={**self.env, **environment}, expect=expect)

    def run_with(self, **environment):
        done = self.start(0, **environment)
        return json.loads(done.stdout), done.stderr

    def report(self, name):
        return dict(line.split() for line in pathlib.Path(name).read_text().splitlines())

    def test_the_default_measures_once_and_remembers(self):
        count = self.folder / "counters"
        _, said = self.run_with(BACKPLANE_MOCK_REPORT=str(count))
        self.assertIn(f"prompts by {LIBRARY}", said)
        self.assertIn("where faster", said)
        self.assertIn("by our kernels", said)  # the line that tells both times
        self.assertGreater(int(self.report(count)["products"]), 0)
        _, said = self.run_with()
        self.assertNotIn("by our kernels", said)

    def test_a_failure_while_measuring_is_not_remembered(self):
        # A folder of its own: nothing has been chosen in it yet.
        cache = {"XDG_CACHE_HOME": str(self.folder / "failing")}
        _, said = self.run_with(BACKPLANE_MOCK_GEMM_WRONG="1", **cache)
        self.assertIn("does not compute", said)
        _, said = self.run_with(**cache)
        self.assertIn("by our kernels", said)  # measured now

    def test_a_failure_at_any_call_leaks_nothing(self):
        def report(name, expect, **environment):
            path = self.folder / name
            done = self.start(expect, BACKPLANE_VENDOR_GEMM="on", BACKPLANE_MOCK_REPORT=str(path),
                              **environment)
            self.assertGreaterEqual(done.returncode, 0, done.stderr)  # no signal
            counters = {k: int(v) for k, v in self.report(path).items()}
            for kind in ("allocations", "streams", "events", "modules", "gemm_objects", "misuse",
                         "overruns"):
                self.assertEqual(counters.get(kind, 0), 0, f"{name}: {kind}\n{done.stderr}")
            return counters
        calls = report("whole", 0)["calls"]
        for n in range(1, 9):
            report(f"fault-{n}", None, BACKPLANE_MOCK_FAIL_CALL=str(calls * n // 9))
        report("launch", None, BACKPLANE_MOCK_FAIL_LAUNCH="7")
        report("lost", None, BACKPLANE_MOCK_LOSE_AT=str(calls // 2))

    def test_off_never_opens_it(self):
        got, said = self.run_with(BACKPLANE_VENDOR_GEMM="off")
        self.assertNotIn(LIBRARY, said)
        self.assertEqual(got["fallback_steps"], 0)

    def test_a_missing_library_is_no_failure(self):
        got, said = self.run_with(BACKPLANE_VENDOR_GEMM="on", **{VARIABLE: "/nowhere/none.so"})
        self.assertIn("/nowhere/none.so", said)
        self.assertIn("our own kernels", said)
        self.assertEqual(got["fallback_steps"], 0)

    def test_a_library_that_computes_wrongly_is_dropped(self):
        got, said = self.run_with(BACKPLANE_VENDOR_GEMM="on", BACKPLANE_MOCK_GEMM_WRONG="1")
        self.assertIn("does not compute", said)
        fair, _ = self.run_with(BACKPLANE_VENDOR_GEMM="off")
        self.assertEqual(got["token_ids"], fair["token_ids"])


if __name__ == "__main__":
    unittest.main()
