# SPDX-License-Identifier: Apache-2.0
"""Bad input everywhere: one clear line, the right exit status, nothing left behind."""
import json
import os
import shutil
import unittest

from program import DEMO, ProgramTest


class Errors(ProgramTest):
    def test_wrong_usage_exits_with_2_and_explains(self):
        for args in (["frobnicate"], ["run"], ["run", "x", "--top-p", "1.5", "-p", "y"],
                     ["run", "x"], ["convert", "x"], []):
            done = self.call(*args, expect=2)
            self.assertTrue(done.stderr or done.stdout)

    def test_every_command_has_help_that_teaches(self):
        for command in ("run", "chat", "convert", "inspect", "bench", "perplexity", "compare",
                        "tokenize", "detokenize", "template", "devices", "plugins", "doctor"):
            self.assertIn("Usage", self.call(command, "--help").stdout)
        self.assertIn("backplane 0.", self.call("--version").stdout)

    def test_paths_that_do_not_exist_are_named(self):
        for args in (["run", "/nowhere.bpm", "-p", "x"], ["inspect", "/nowhere.bpm"],
                     ["convert", "/nowhere", "-o", "out.bpm"], ["tokenize", "/nowhere", "--text", "x"]):
            self.fails(*args, says="/nowhere")

    def test_a_folder_without_a_model_says_what_was_looked_for(self):
        empty = self.folder / "empty"
        empty.mkdir()
        self.fails("convert", empty, "-o", "out.bpm", says="config.json")
        self.assertFalse((self.folder / "out.bpm").exists())

    def test_an_unknown_architecture_is_refused_by_name(self):
        folder = self.folder / "strange"
        shutil.copytree(DEMO, folder)
        config = json.loads((folder / "config.json").read_text())
        config.update(architectures=["QuantumForCausalLM"], model_type="quantum")
        (folder / "config.json").write_text(json.dumps(config))
        self.fails("convert", folder, "-o", "out.bpm", says=["uantum", "lama"])
        self.assertFalse((self.folder / "out.bpm").exists())

    def test_files_that_are_no_models_are_refused(self):
        text = self.folder / "text.bpm"
        text.write_text("hello")
        self.fails("run", text, "-p", "x", says="text.bpm")
        gguf = self.folder / "text.gguf"
        gguf.write_text("hello")
        self.fails("run", gguf, "-p", "x", says="text.gguf")

    def test_a_damaged_model_is_found_by_its_digests(self):
        model = bytearray(self.demo().read_bytes())
        broken = self.folder / "broken.bpm"
        for place in (100, 70):  # inside the plan: found when opening
            changed = bytearray(model)
            changed[place] ^= 1
            broken.write_bytes(changed)
            self.fails("run", broken, "-p", "x", says="broken.bpm")
        changed = bytearray(model)
        changed[len(model) - 70000] ^= 64  # a weight: found when asked for
        broken.write_bytes(changed)
        self.fails("inspect", broken, "--verify", says="digest")
        broken.write_bytes(model[:-1])
        self.fails("inspect", broken, says="broken.bpm")

    def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(self):
        prompt = "story " * 400
        count = len(self.call("tokenize", self.demo(), "--text", prompt, "--ids", "--no-bos")
                    .stdout.split())
        done = self.fails("run", self.demo(), "-p", prompt, "--raw", "--ctx", "100", says="100")
        numbers = [int(x) for x in done.stderr.replace(",", " ").split() if x.isdigit()]
        self.assertTrue(any(count <= n <= count + 1 for n in numbers), done.stderr)
        self.fails("run", self.demo(), "-p", "x", "--ctx", "100000", says=["100000", "1024"])

    def test_weights_that_are_not_numbers_give_an_error(self):
        folder = self.folder / "nan"
        shutil.copytree(DEMO, folder)
        data = bytearray((folder / "model.safetensors").read_bytes())
        header = int.from_bytes(data[:8], "little")
        tensors = json.loads(data[8:8 + header])
        begin = next(v for k, v in tensors.items() if k.endswith("mlp.down_proj.weight"))
        at = 8 + header + begin["data_offsets"][0]
        data[at:at + 2] = b"\xc0\x7f"  # a bf16 NaN
        (folder / "model.safetensors").write_bytes(data)
        self.fails("convert", folder, "-o", "nan.bpm", says=["down_proj", "nan.bpm"][:1])
        self.call("convert", folder, "-o", "nan.bpm", "--quant", "bf16", expect=None)
        if (self.folder / "nan.bpm").exists():  # kept as it is: found when it matters
            self.fails("run", "nan.bpm", "-p", "x", "--device", "cpu", says="not numbers")

    def test_a_device_that_is_not_there_is_an_error_with_the_choices(self):
        self.fails("run", self.demo(), "-p", "x", "--device", "quantum", says=["quantum", "cpu:0"])

    def test_without_any_plugin_the_doctor_says_where_it_looked(self):
        # The library looks beside itself, so a copy without plugins has none.
        bare = self.folder / "bare"
        (bare / "bin").mkdir(parents=True)
        (bare / "lib").mkdir()
        from program import BUILD
        shutil.copy(BUILD / "bin" / "backplane", bare / "bin")
        for library in (BUILD / "lib").glob("libbackplane.so*"):
            shutil.copy(library, bare / "lib", follow_symlinks=False)
        import subprocess
        done = subprocess.run([str(bare / "bin" / "backplane"), "doctor"], capture_output=True,
                              text=True, env=self.env)
        self.assertEqual(done.returncode, 1)
        self.assertIn("BACKPLANE_PLUGIN_PATH", done.stdout)

    def test_plugins_in_untrusted_places_are_refused(self):
        from program import BUILD
        folder = self.folder / "plugins"
        shutil.copytree(BUILD / "lib" / "plugins.d", folder)
        os.chmod(folder, 0o777)
        done = self.call("plugins", env={**self.env, "BACKPLANE_PLUGIN_PATH": str(folder)})
        self.assertIn("may be written by others", done.stdout)
        # A relative folder is never searched.
        done = self.call("plugins", env={**self.env, "BACKPLANE_PLUGIN_PATH": "plugins"})
        self.assertNotIn(str(folder), done.stdout)

    def test_the_backend_template_is_a_device_at_once_and_falls_back_loudly(self):
        from program import BUILD
        env = {**self.env, "BACKPLANE_PLUGIN_PATH": str(BUILD / "tests" / "null")}
        devices = json.loads(self.call("devices", "--json", env=env).stdout)
        self.assertIn("null:0", [d["id"] for d in devices])
        args = ["run", self.demo(), "-p", "A fox", "-n", "8", "--temperature", "0"]
        done = self.call(*args, "--device", "null", env=env)
        self.assertIn("steps run on the CPU, not on null:0", done.stderr)
        self.assertEqual(done.stdout, self.call(*args, "--device", "cpu").stdout)
        self.fails(*args, "--device", "null", "--strict-placement", says="strict placement",
                   env=env)

    def test_standard_output_that_cannot_be_written_is_an_error(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        import subprocess
        from program import PROGRAM
        with open("/dev/full", "w") as full:
            done = subprocess.run([str(PROGRAM), "run", str(self.demo()), "-p", "x", "-n", "5"],
                                  stdout=full, stderr=subprocess.PIPE, text=True, env=self.env)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write", done.stderr)


if __name__ == "__main__":
    unittest.main()
