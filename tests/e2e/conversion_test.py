# SPDX-License-Identifier: Apache-2.0
"""Converting: deterministic, atomic, refused early, cached for `run`."""
import os
import resource
import signal
import subprocess
import time
import unittest

from program import DEMO, PROGRAM, ProgramTest


class Conversion(ProgramTest):
    def test_the_same_source_gives_the_same_bytes(self):
        for quant in ("q4_g32", "bf16"):
            a, b = self.folder / "a.bpm", self.folder / "b.bpm"
            self.call("convert", DEMO, "-o", a, "--quant", quant, "--overwrite", "--threads", "1")
            self.call("convert", DEMO, "-o", b, "--quant", quant, "--overwrite", "--threads", "3")
            self.assertEqual(a.read_bytes(), b.read_bytes())

    def test_an_existing_file_is_kept_unless_told_otherwise(self):
        out = self.folder / "existing.bpm"
        out.write_text("precious")
        self.fails("convert", DEMO, "-o", out, says="exists")
        self.assertEqual(out.read_text(), "precious")
        self.call("convert", DEMO, "-o", out, "--overwrite")
        self.call("inspect", out, "--verify")

    def test_a_killed_conversion_leaves_nothing_under_the_final_name(self):
        out = self.folder / "killed.bpm"
        for delay in (0.01, 0.02, 0.03, 0.05, 0.08):
            process = subprocess.Popen([str(PROGRAM), "convert", str(DEMO), "-o", str(out),
                                        "--overwrite", "--quant", "f32"], env=self.env,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            process.wait()
            if out.exists():
                self.call("inspect", out, "--verify")  # then it is whole
        self.call("convert", DEMO, "-o", out, "--overwrite")
        self.assertEqual(list(self.folder.glob("killed.bpm.*")), [], "leftovers are swept")

    def test_a_disk_that_fills_up_is_a_named_error_and_leaves_nothing(self):
        out = self.folder / "full.bpm"

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

        done = subprocess.run([str(PROGRAM), "convert", str(DEMO), "-o", str(out)],
                              preexec_fn=limit, capture_output=True, text=True, env=self.env)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("full.bpm", done.stderr)
        self.assertEqual(list(self.folder.glob("full.bpm*")), [])

    def test_run_converts_once_and_finds_it_again(self):
        cache = self.folder / "cache" / "backplane"
        first = self.call_json("run", DEMO, "-p", "Hello", "-n", "4", "--temperature", "0")
        files = {p: p.stat().st_mtime_ns for p in cache.rglob("*.bpm")}
        self.assertEqual(len(files), 1)
        second = self.call_json("run", DEMO, "-p", "Hello", "-n", "4", "--temperature", "0")
        self.assertEqual(first["token_ids"], second["token_ids"])
        self.assertEqual(files, {p: p.stat().st_mtime_ns for p in cache.rglob("*.bpm")})

    def test_an_unwritable_folder_is_named(self):
        if os.geteuid() == 0:
            target = "/proc/none.bpm"
        else:
            locked = self.folder / "locked"
            locked.mkdir(mode=0o500)
            target = locked / "x.bpm"
        self.fails("convert", DEMO, "-o", target, says=str(target))


if __name__ == "__main__":
    unittest.main()
