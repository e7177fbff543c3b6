# SPDX-License-Identifier: Apache-2.0
"""How the end-to-end tests call the program: the built binary, in a home of its own."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["BP_BUILD"])
SOURCE = pathlib.Path(os.environ["BP_SOURCE"])
SHARED = pathlib.Path(os.environ["BP_SHARED"])
SANITIZED = bool(os.environ.get("BP_SANITIZE"))
PROGRAM = BUILD / "bin" / "backplane"
DEMO = SOURCE / "models" / "demo"


class ProgramTest(unittest.TestCase):
    """A temporary folder for the class, which is also cache and working directory."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory(prefix="backplane-test-")
        cls.folder = pathlib.Path(cls._folder.name)
        cls.env = {**os.environ, "XDG_CACHE_HOME": str(cls.folder / "cache")}
        cls.env.pop("BACKPLANE_PLUGIN_PATH", None)

    @classmethod
    def tearDownClass(cls):
        cls._folder.cleanup()

    @classmethod
    def call(cls, *args, stdin="", expect=0, env=None, timeout=300):
        """Runs the program and checks its exit status; returns the finished process."""
        done = subprocess.run([str(PROGRAM), *map(str, args)], input=stdin, text=True,
                              capture_output=True, env=env or cls.env, cwd=cls.folder,
                              timeout=timeout)
        if expect is not None and done.returncode != expect:
            raise AssertionError(f"backplane {' '.join(map(str, args))}: exit {done.returncode}, "
                                 f"expected {expect}\n{done.stdout}\n{done.stderr}")
        return done

    @classmethod
    def call_json(cls, *args, **more):
        return json.loads(cls.call(*args, "--json", **more).stdout)

    @classmethod
    def usable_device(cls, backend):
        """The first device of a backend as `devices` tells of it; skips the class where there is
        none, but for a stand-in (BP_BACKEND_REQUIRED), which cannot be absent."""
        of_backend = [x for x in cls.call_json("devices") if x["plugin"] == backend]
        for device in of_backend:
            if device["usable"]:
                return device
        reason = of_backend[0]["reason"] if of_backend else "no such plugin was built"
        cls._folder.cleanup()  # tearDownClass is not called when setUpClass fails
        if os.environ.get("BP_BACKEND_REQUIRED"):
            raise AssertionError(f"the stand-in for {backend} is not usable: {reason}")
        print(f"skipped: backend {backend} is not usable: {reason}", flush=True)
        raise unittest.SkipTest(reason)

    @classmethod
    def demo(cls, quant="q4_g32"):
        """The demo checkpoint, converted once for the class."""
        path = cls.folder / f"demo-{quant}.bpm"
        if not path.exists():
            cls.call("convert", DEMO, "-o", path, "--quant", quant)
        return path

    def shared(self, name):
        path = SHARED / name
        if not path.exists():
            self.skipTest(f"{name} does not lie beside the checkout")
        return path

    def fails(self, *args, says, expect=1, **more):
        """The command must fail with one line that has all of these words."""
        done = self.call(*args, expect=expect, **more)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, done.stderr)
        if expect == 1:
            lines = [x for x in done.stderr.splitlines() if not x.startswith("note:")]
            self.assertEqual(len(lines), 1, done.stderr)
            self.assertTrue(lines[0].startswith("backplane: "), done.stderr)
        return done
