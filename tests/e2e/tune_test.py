# SPDX-License-Identifier: Apache-2.0
"""`tune` on one backend, BP_BACKEND: it finishes, is remembered, and changes no text.

Times are not looked at: what is fastest on a software device says nothing. Few candidates and
passes of one token keep the number of kernels that have to be compiled small.
"""
import json
import os
import pathlib
import signal
import subprocess
import time
import unittest

from program import PROGRAM, ProgramTest

BACKEND = os.environ["BP_BACKEND"]
REQUIRED = bool(os.environ.get("BP_BACKEND_REQUIRED"))  # a stand-in: it cannot be absent
CONTEXT = ("--ctx", 128, "--batch", 1)
PROMPT = "Tell me a story about a fox and a lantern"


class Tune(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.device = cls.usable_device(BACKEND)["id"]
        cls.model = cls.demo("q8_g32")
        cls.untuned = cls.say()
        cls.found = cls.tune()

    @classmethod
    def say(cls, **more):
        return cls.call_json("run", cls.model, "-p", PROMPT, "-n", 12, "--temperature", 0,
                             "--ignore-eos", "--strict-placement", "--device", cls.device,
                             *CONTEXT, **more)["token_ids"]

    @classmethod
    def tune(cls, *more, **options):
        return cls.call_json("tune", cls.model, "--device", cls.device, *CONTEXT, "--candidates",
                             2, *more, **options)

    @classmethod
    def store(cls, cache=None):
        folder = pathlib.Path(cache or cls.folder / "cache") / "backplane/plugins/kernels/tuning"
        files = list(folder.glob("*"))
        if len(files) != 1 or files[0].suffix != ".jsonl":
            raise AssertionError(f"one file is expected in {folder}: {files}")
        return files[0]

    @classmethod
    def records(cls):
        return [json.loads(x) for x in cls.store().read_text().splitlines()]

    def with_store(self, text):
        """The next runs find this text; afterwards everything is as it was."""
        path = self.store()
        before = path.read_text()
        self.addCleanup(lambda: path.write_text(before))
        path.write_text(text)

    def test_every_kernel_is_measured_and_reported(self):
        found = self.found
        self.assertEqual(found["device"], self.device)
        self.assertGreaterEqual(found["tunable"], 7)  # five products, attention, norm
        self.assertEqual((found["measured"], found["failed"]), (found["tunable"], 0))
        self.assertFalse(found["stopped"])
        self.assertEqual(len(found["kernels"]), found["tunable"])
        families = {x["kernel"].split()[0] for x in found["kernels"]}
        self.assertEqual(families, {"gemv", "gemv_glu", "attention", "norm"})
        for kernel in found["kernels"]:
            self.assertEqual((kernel["device"], kernel["known"]), (self.device, False))
            self.assertGreater(kernel["uses"], 0)
            self.assertLessEqual(kernel["tried"], 2)
            self.assertGreater(kernel["default_us"], 0)
            self.assertLessEqual(kernel["tuned_us"], kernel["default_us"])
            self.assertIn("threads ", kernel["schedule"])
        self.assertLessEqual(found["token_ms"]["tuned"], found["token_ms"]["default"])

    def test_the_model_says_the_same_as_before(self):
        self.assertEqual(self.say(), self.untuned)

    def test_a_second_run_knows_everything_and_measures_nothing(self):
        before = self.store().read_text()
        again = self.tune()
        self.assertEqual((again["measured"], again["tunable"]), (0, self.found["tunable"]))
        self.assertTrue(all(x["known"] for x in again["kernels"]))
        self.assertEqual([x["schedule"] for x in again["kernels"]],
                         [x["schedule"] for x in self.found["kernels"]])
        self.assertEqual(self.store().read_text(), before)

    def test_the_table_names_what_the_json_names(self):
        lines = self.call("tune", self.model, "--device", self.device, *CONTEXT, "--candidates",
                          2).stdout.splitlines()
        self.assertTrue(lines[0].startswith("kernel "), lines)
        for kernel in self.found["kernels"]:
            self.assertTrue(any(x.startswith(kernel["kernel"] + " ") for x in lines), lines)
        self.assertIn(f"{self.device}: {self.found['tunable']} kernels, 0 measured", lines[-2])

    def test_the_store_can_be_read_and_edited_by_people(self):
        records = self.records()
        self.assertEqual(len(records), self.found["tunable"])
        products = [x for x in records if x["key"].startswith("gemv ")]
        for record in products:
            record["values"].update(threads=64, lanes=8, rows=4, unroll=1)
        self.with_store("".join(json.dumps(x) + "\n" for x in records))
        self.assertEqual(self.say(), self.untuned)
        known = {x["kernel"]: x for x in self.tune()["kernels"]}
        edited = [x for x in known.values() if x["kernel"].startswith("gemv")]
        self.assertEqual({x["schedule"] for x in edited}, {"threads 64, lanes 8, rows 4, unroll 1"})
        self.assertEqual(self.say(env={**self.env, "BACKPLANE_TUNED": "0"}), self.untuned)

    def test_schedules_that_cannot_be_are_told_dropped_and_forgotten(self):
        records = self.records()
        bad = next(x for x in records if x["key"].startswith("gemv "))
        bad["values"]["threads"] = 48
        self.with_store("".join(json.dumps(x) + "\n" for x in records))
        done = self.call("run", self.model, "-p", PROMPT, "-n", 12, "--temperature", 0,
                         "--ignore-eos", "--device", self.device, "--json", *CONTEXT)
        self.assertEqual(json.loads(done.stdout)["token_ids"], self.untuned)
        self.assertIn("is dropped", done.stderr)
        self.assertEqual(len(self.records()), len(records) - 1)

    def test_damaged_lines_cost_their_record_alone(self):
        lines = self.store().read_text().splitlines()
        lines[0] = lines[0][:len(lines[0]) // 2]
        self.with_store("\n".join(lines[:-1] + ["\0garbage", lines[-1]]))
        self.assertEqual(self.say(), self.untuned)
        again = self.tune()
        self.assertEqual(again["measured"], 1)
        self.assertEqual(len(self.records()), self.found["tunable"])

    def test_an_interrupt_keeps_what_was_found(self):
        self.with_store("")
        path = self.store()
        process = subprocess.Popen(
            [str(PROGRAM), "tune", str(self.model), "--device", self.device, *map(str, CONTEXT),
             "--candidates", "6", "--json"], env=self.env, cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 240
        while not path.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("what was found is kept", err)
        found = json.loads(out)
        self.assertTrue(found["stopped"])
        self.assertGreaterEqual(len(self.records()), 1)
        self.assertEqual(len(self.records()), len(found["kernels"]))
        self.assertLess(len(found["kernels"]), found["tunable"])
        self.assertEqual(self.say(), self.untuned)

    def test_the_cpu_has_nothing_to_tune(self):
        done = self.call("tune", self.model, "--device", "cpu")
        self.assertIn("nothing to tune", done.stdout)
        self.assertEqual(self.call_json("tune", self.model, "--device", "cpu")["tunable"], 0)

    def test_wrong_usage_is_told(self):
        self.fails("tune", self.model, "--candidates", 0, says="--candidates", expect=2)
        self.fails("tune", self.model, "--device", "warp", says="no device 'warp'")
        self.assertIn("BACKPLANE_TUNED", self.call("tune", "--help").stdout)

    # ---- faults of the stand-in ----------------------------------------------------------------

    @unittest.skipUnless(REQUIRED, "needs a stand-in")
    def test_a_candidate_that_fails_is_dropped_and_the_run_goes_on(self):
        # The first launch is the standard's; one of the next is a candidate's.
        for fault in ("BACKPLANE_MOCK_FAIL_COMPILE", "BACKPLANE_MOCK_FAIL_LAUNCH"):
            with self.subTest(fault):
                self.with_store("")
                found = self.tune(env={**self.env, fault: "2"})
                self.assertEqual(found["measured"] + found["failed"], found["tunable"])
                rejected = sum(x["rejected"] for x in found["kernels"])
                self.assertEqual(rejected + found["failed"], 1)
                self.assertEqual(self.say(), self.untuned)

    @unittest.skipUnless(REQUIRED, "needs a stand-in")
    def test_a_winner_whose_code_does_not_compile_gives_way_to_the_standard(self):
        records = self.records()
        product = next(x for x in records if x["key"].startswith("gemv "))
        # No search tries so many lanes for such short rows, so no run has compiled it yet, and all
        # other code was kept on disk by the first one.
        product["values"].update(threads=32, lanes=32, rows=8, unroll=1)
        self.with_store(json.dumps(product) + "\n")
        env = {**self.env, "BACKPLANE_MOCK_FAIL_COMPILE": "1"}
        self.assertEqual(self.say(env=env), self.untuned)
        self.assertEqual(self.store().read_text(), "")

    @unittest.skipUnless(REQUIRED, "a driver of its own may want the cache too")
    def test_a_cache_that_cannot_be_written_is_an_error_that_says_so(self):
        blocked = self.folder / "blocked"
        blocked.write_text("a file where the folder should be")
        done = self.call("tune", self.model, "--device", self.device, *CONTEXT, "--candidates", 1,
                         "--json", env={**self.env, "XDG_CACHE_HOME": str(blocked)}, expect=1)
        self.assertIn("could not be written", done.stderr)
        self.assertEqual(json.loads(done.stdout)["measured"], self.found["tunable"])


if __name__ == "__main__":
    unittest.main()
