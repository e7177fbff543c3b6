# SPDX-License-Identifier: Apache-2.0
"""Generating: the program gives the reference's tokens, repeatably, and stops when told to."""
import signal
import subprocess
import time
import unittest

from program import BUILD, PROGRAM, SANITIZED, ProgramTest


class Generate(ProgramTest):
    PROMPT = "Tell me a story about a fox and a lantern"

    def greedy(self, *more, model=None):
        return self.call_json("run", model or self.demo(), "-p", self.PROMPT, "--device", "cpu",
                              "--temperature", "0", *more)

    def test_stories260k_greedy_equals_the_reference_id_for_id(self):
        folder = self.shared("models/stories260K")
        lines = (folder / "greedy.txt").read_text().splitlines()
        expected = [int(x) for x in next(x for x in lines if x.startswith("all_ids")).split()[1:]]
        count = len(expected) - 5
        got = self.call_json("run", folder / "stories260K.gguf", "-p", "Once upon a time", "--raw",
                             "--temperature", "0", "--kv", "f32", "--device", "cpu", "-n", count)
        self.assertEqual(got["prompt_token_ids"] + got["token_ids"], expected)
        self.assertEqual(got["finish_reason"], "length")

    def test_the_demo_model_tells_a_whole_story_about_what_was_asked(self):
        got = self.greedy()
        self.assertEqual(got["finish_reason"], "stop")
        for word in ("fox", "lantern"):
            self.assertIn(word, got["text"])
        self.assertGreater(len(got["text"].split()), 60)
        self.assertEqual(got["device"], "cpu:0")

    def test_plain_output_is_the_text_alone(self):
        done = self.call("run", self.demo(), "-p", self.PROMPT, "--device", "cpu", "--temperature",
                         "0")
        self.assertEqual(done.stdout, self.greedy()["text"] + "\n")
        self.assertEqual(done.stderr, "")

    def test_the_seed_decides_and_nothing_else(self):
        def run(seed, *more):
            return self.call_json("run", self.demo(), "-p", self.PROMPT, "--seed", seed, "-n", "60",
                                  "--temperature", "1", *more)["token_ids"]
        self.assertEqual(run(1), run(1))
        self.assertNotEqual(run(1), run(2))
        self.assertEqual(run(3, "--threads", "1"), run(3, "--threads", "2"))

    def test_the_size_of_prompt_passes_does_not_change_the_text(self):
        model = self.demo("f32")
        whole = self.greedy("--kv", "f32", model=model)["token_ids"]
        for batch in (1, 3, 7):
            self.assertEqual(self.greedy("--kv", "f32", "--batch", batch, model=model)["token_ids"],
                             whole)

    def test_stop_texts_end_before_themselves_across_token_borders(self):
        text = self.greedy()["text"]
        for stop in (text[40:52], text[100:103], ". "):
            got = self.greedy("--stop", stop)
            self.assertEqual(got["text"], text[:text.index(stop)])
            self.assertEqual(got["finish_reason"], "stop")

    def test_length_limits_are_exact(self):
        for n in (0, 1, 17):
            got = self.greedy("-n", n)
            self.assertEqual(len(got["token_ids"]), n)
            self.assertEqual(got["finish_reason"], "length")
        got = self.greedy("--ctx", "64", "--ignore-eos")
        self.assertEqual(len(got["prompt_token_ids"]) + len(got["token_ids"]), 64)

    def test_ctrl_c_stops_at_once_and_keeps_what_was_said(self):
        process = subprocess.Popen(
            [str(PROGRAM), "run", str(self.demo("f32")), "-p", self.PROMPT, "--ignore-eos",
             "--ctx", "1024", "--json", "--device", "cpu"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=self.env, text=True)
        time.sleep(0.3 if not SANITIZED else 2)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - asked, 20)
        if process.returncode == 0:  # before, or during the generation
            self.assertIn(out.count('"finish_reason":"cancelled"') + out.count('"length"'), (1,))
        else:
            self.assertIn(process.returncode, (130, -signal.SIGINT), err)

    def test_quantized_models_stay_close_to_f32(self):
        text = self.folder / "text.txt"
        text.write_text(self.greedy(model=self.demo("f32"))["text"])
        for quant, bound in (("bf16", 5e-4), ("q8_g32", 2e-3), ("q4_g32", 0.2)):
            got = self.call_json("compare", self.demo("f32"), self.demo(quant), "--file", text,
                                 "--kv", "f32", "--device", "cpu")
            print(f"{quant}: KL {got['kl_divergence']:.2e}, agreement {got['top1_agreement']:.3f}")
            self.assertLess(got["kl_divergence"], bound)
            self.assertGreater(got["tokens"], 50)

    def test_stories260k_quantized_reports_its_distance(self):
        source = self.shared("models/stories260K") / "stories260K.gguf"
        text = self.folder / "lily.txt"
        text.write_text(self.call_json("run", source, "-p", "Once upon a time", "--raw",
                                       "--temperature", "0", "-n", 200)["text"])
        for quant, bound in (("q8_g32", 5e-3), ("q4_g32", 0.6)):
            out = self.folder / f"s-{quant}.bpm"
            self.call("convert", source, "-o", out, "--quant", quant)
            got = self.call_json("compare", source, out, "--file", text, "--kv", "f32")
            print(f"stories260K {quant}: KL {got['kl_divergence']:.2e}")
            self.assertLess(got["kl_divergence"], bound)

    def test_a_cache_of_8_bits_stays_close_to_f16(self):
        text = self.folder / "q8-cache.txt"
        text.write_text(self.greedy(model=self.demo("f32"))["text"])
        # Activations of 8 bits, which q4 meets on some processors, magnify every difference: there
        # f16 is as far from f32.
        for quant, bound, logits in (("f32", 2e-4, 3e-2), ("q4_g32", 1e-3, 1e-1)):
            got = self.call_json("compare", self.demo(quant), self.demo(quant), "--file", text,
                                 "--kv", "f16", "--kv-b", "q8", "--device", "cpu")
            print(f"{quant}, KV q8 against f16: KL {got['kl_divergence']:.2e}, largest "
                  f"{got['kl_divergence_max']:.2e}, agreement {got['top1_agreement']:.3f}, "
                  f"logits {got['logit_error_max_relative']:.2e}")
            self.assertLess(got["kl_divergence"], bound)
            self.assertLess(got["kl_divergence_max"], 50 * bound)
            self.assertLess(got["logit_error_max_relative"], logits)
            self.assertGreater(got["kl_divergence"], 0)  # it is another cache
            self.assertGreater(got["tokens"], 50)

    def test_a_cache_of_8_bits_refuses_heads_of_part_of_a_block_by_name(self):
        source = self.shared("models/stories260K") / "stories260K.gguf"
        self.fails("run", source, "-p", "Once", "--raw", "-n", "1", "--kv", "q8", "--device", "cpu",
                   says=["KV format 'q8'", "multiple of 32", "have 8"])

    def test_explain_names_device_and_kernel_of_every_step(self):
        done = self.call("run", self.demo(), "-p", "Hello", "-n", "1", "--explain", "--device",
                         "cpu", "--strict-placement")
        steps = self.call_json("inspect", self.demo())["plan_steps"]
        lines = [x for x in done.stderr.splitlines() if " cpu:0 " in x]
        self.assertEqual(len(lines), steps)

    def test_memory_is_known_before_and_kept_to(self):
        estimate = self.call_json("inspect", self.demo("f32"), "--memory", "--ctx", "512",
                                  "--device", "cpu")["memory"]
        hyper = self.call_json("inspect", self.demo("f32"))["hyper_parameters"]
        page = 16  # at most; the cache is rounded up to whole pages
        kv = 2 * 2 * hyper["layers"] * hyper["kv_heads"] * hyper["head_dim"]
        self.assertGreaterEqual(estimate["kv_bytes"], 512 * kv)
        self.assertLessEqual(estimate["kv_bytes"], (512 + 4 * page) * kv)
        parts = [v for k, v in estimate.items() if k.endswith("_bytes") and k != "total_bytes"]
        self.assertEqual(estimate["total_bytes"], sum(parts))
        q8 = self.call_json("inspect", self.demo("f32"), "--memory", "--ctx", "512", "--device",
                            "cpu", "--kv", "q8")["memory"]
        scales = (hyper["head_dim"] // 32 + 1) // 2 * 2
        self.assertEqual(q8["kv_bytes"] * 2 * hyper["head_dim"],
                         estimate["kv_bytes"] * (hyper["head_dim"] + 2 * scales))
        self.assertEqual(estimate["total_bytes"] - estimate["kv_bytes"],
                         q8["total_bytes"] - q8["kv_bytes"])
        if not SANITIZED:
            got = self.call_json("bench", self.demo("f32"), "--ctx", "512", "--prompt", "256",
                                 "--gen", "8", "--repeat", "1", "--device", "cpu")
            self.assertLess(got["peak_rss_bytes"], estimate["total_bytes"] + 64 * 2**20)

    def test_chat_keeps_the_conversation_and_its_commands_work(self):
        saved = self.folder / "chat.json"
        script = (f"Tell me a story about a bear\n/stats\n/save {saved}\n/reset\n/load {saved}\n"
                  "Another one, about a boat\n/nonsense\n/quit\n")
        done = self.call("chat", self.demo(), "--temperature", "0", "--device", "cpu",
                         stdin=script)
        self.assertIn("bear", done.stdout)
        self.assertIn("boat", done.stdout)
        self.assertIn("tokens in context", done.stdout)
        self.assertIn("unknown command /nonsense", done.stderr)
        self.assertIn('"assistant"', saved.read_text())

    def test_the_c_example_generates_like_the_program(self):
        example = BUILD / "examples" / "generate"
        done = subprocess.run([str(example), str(self.demo()), "Once upon a time", "cpu"],
                              capture_output=True, text=True, env=self.env)
        self.assertEqual(done.returncode, 0, done.stderr)
        got = self.call("run", self.demo(), "-p", "Once upon a time", "--raw", "--temperature",
                        "0", "-n", "64", "--device", "cpu")
        self.assertEqual(done.stdout, got.stdout)
        bad = subprocess.run([str(example), "/nowhere.bpm", "x"], capture_output=True, text=True)
        self.assertEqual(bad.returncode, 1)
        self.assertIn("NOT_FOUND", bad.stderr)


if __name__ == "__main__":
    unittest.main()
