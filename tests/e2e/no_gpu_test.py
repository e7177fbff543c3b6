# SPDX-License-Identifier: Apache-2.0
"""A machine without any GPU, driver or ICD: the CPU works, and every other backend says why not."""
import json
import unittest

from program import BUILD, ProgramTest

HIDDEN = {
    "OCL_ICD_VENDORS": "/nonexistent", "OCL_ICD_FILENAMES": "/nonexistent/libnone.so",
    "VK_DRIVER_FILES": "/nonexistent/none.json", "VK_ICD_FILENAMES": "/nonexistent/none.json",
    "VK_ADD_DRIVER_FILES": "",
    # Real drivers, where a machine has them, are told to show nothing.
    "CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "-1",
}


class NoGpu(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env = {**{k: v for k, v in cls.env.items() if k != "LD_LIBRARY_PATH"}, **HIDDEN}
        built = {json.loads(x.read_text())["id"]: json.loads(x.read_text())
                 for x in (BUILD / "lib" / "plugins.d").glob("*.plugin.json")}
        cls.drivers = sorted(x for x in built if x != "cpu" and "device" in built[x]["kinds"])

    def test_there_is_something_to_hide(self):
        self.assertIn("cuda", self.drivers)
        self.assertIn("rocm", self.drivers)

    def test_devices_lists_the_cpu_and_a_reason_for_each_other(self):
        devices = self.call_json("devices")
        self.assertEqual([x["id"] for x in devices if x["usable"]], ["cpu:0"])
        reasons = {x["plugin"]: x["reason"] for x in devices if not x["usable"]}
        for backend in self.drivers:
            self.assertGreater(len(reasons[backend]), 15, backend)
            self.assertNotIn("\n", reasons[backend])
        lines = self.call("devices").stdout.splitlines()
        for backend in self.drivers:
            self.assertTrue(any(x.startswith(backend) and "not usable: " in x for x in lines))

    def test_plugins_gives_the_verdicts(self):
        plugins = {x["id"]: x for x in self.call_json("plugins")}
        self.assertTrue(plugins["cpu"]["usable"])
        for backend in self.drivers:
            self.assertFalse(plugins[backend]["usable"])
            self.assertGreater(len(plugins[backend]["reason"]), 15)

    def test_doctor_explains_and_is_content(self):
        done = self.call("doctor")
        self.assertIn("`--device auto` means cpu:0 here", done.stdout)
        self.assertEqual(done.stderr, "")
        for backend in self.drivers:
            self.assertIn(f"{backend} ", done.stdout)

    def test_auto_runs_on_the_cpu(self):
        got = self.call_json("run", self.demo(), "-p", "Hello", "-n", "3")
        self.assertEqual(got["device"], "cpu:0")

    def test_asking_for_a_hidden_device_fails_with_the_reason(self):
        reasons = {x["plugin"]: x["reason"] for x in self.call_json("devices") if not x["usable"]}
        for backend in self.drivers:
            self.fails("run", self.demo(), "-p", "Hello", "--device", backend,
                       says=[backend, reasons[backend]])


if __name__ == "__main__":
    unittest.main()
