# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in several safetensors files: as good as one; cut off or hostile ones are refused."""
import json
import os
import shutil
import unittest

from program import DEMO, ProgramTest

INDEX = "model.safetensors.index.json"


def read_tensors():
    """The demo checkpoint's tensors: (name, description, bytes), in the order of their data."""
    data = (DEMO / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    out = []
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        out.append((name, entry, data[8 + length + begin:8 + length + end]))
    return out


def safetensors(tensors, edit=None):
    """The bytes of a file with these tensors; `edit` may change the header before it is written."""
    header, at = {}, 0
    for name, entry, data in tensors:
        header[name] = {**entry, "data_offsets": [at, at + len(data)]}
        at += len(data)
    if edit is not None:
        edit(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(data for _, _, data in tensors)


class Shards(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tensors = read_tensors()
        third = len(tensors) // 3
        cls.parts = [tensors[:third], tensors[third:2 * third], tensors[2 * third:]]
        cls.names = [f"model-{i + 1:05}-of-00003.safetensors" for i in range(3)]
        cls.whole = cls.folder / "shards"
        cls.whole.mkdir()
        for file in DEMO.iterdir():
            if file.is_file() and file.name != "model.safetensors":
                shutil.copy(file, cls.whole)
        for name, part in zip(cls.names, cls.parts):
            (cls.whole / name).write_bytes(safetensors(part))
        cls.index = {name: shard for shard, part in zip(cls.names, cls.parts)
                     for name, _, _ in part}
        (cls.whole / INDEX).write_text(cls.index_text(cls.index))

    @staticmethod
    def index_text(weight_map):
        return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})

    def setUp(self):
        # A checkpoint to damage: every file is a link, replaced where a test writes its own.
        self.hurt = self.folder / self.id().rsplit(".", 1)[1]
        self.hurt.mkdir()
        for file in self.whole.iterdir():
            os.link(file, self.hurt / file.name)

    def put(self, name, content):
        path = self.hurt / name
        path.unlink(missing_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def refused(self, *says):
        """Converting and running must both fail, say these words, and leave no file."""
        done = self.fails("convert", self.hurt, "-o", "hurt.bpm", says=says, timeout=60)
        self.assertEqual(list(self.folder.glob("hurt.bpm*")), [])
        self.fails("run", self.hurt, "-p", "x", "-n", "1", says=says, timeout=60)
        self.assertEqual(list((self.folder / "cache").rglob("*.bpm*")), [])
        return done

    def edit_header(self, shard, edit):
        self.put(self.names[shard], safetensors(self.parts[shard], edit))

    def test_shards_give_the_weights_of_the_single_file(self):
        self.call("convert", self.whole, "-o", "shards.bpm", "--quant", "bf16")
        args = ["-p", "A fox", "-n", "12", "--temperature", "0", "--device", "cpu"]
        self.assertEqual(self.call_json("run", "shards.bpm", *args)["token_ids"],
                         self.call_json("run", self.demo("bf16"), *args)["token_ids"])

    def test_a_shard_that_was_cut_off_anywhere_is_named(self):
        for shard, name in enumerate(self.names):
            data = (self.whole / name).read_bytes()
            header = 8 + int.from_bytes(data[:8], "little")
            cuts = [0, 7, 8, header - 1, header, (header + len(data)) // 2, len(data) - 1]
            for cut in cuts if shard == 1 else cuts[-1:]:
                self.put(name, data[:cut])
                self.refused(name)
            self.put(name, data)

    def test_a_shard_with_bytes_behind_its_tensors_is_refused(self):
        self.put(self.names[2], (self.whole / self.names[2]).read_bytes() + b"more")
        self.refused(self.names[2], "4 bytes")

    def test_an_index_that_was_cut_off_is_refused(self):
        text = (self.whole / INDEX).read_text()
        for cut in (0, 1, len(text) // 2, len(text) - 1):
            self.put(INDEX, text[:cut])
            self.refused(INDEX)

    def test_a_shard_that_is_not_there_is_named(self):
        (self.hurt / self.names[1]).unlink()
        self.refused(self.names[1])

    def test_an_index_that_misplaces_a_tensor_is_refused_by_its_name(self):
        moved = next(name for name, _, _ in self.parts[0])
        self.put(INDEX, self.index_text({**self.index, moved: self.names[2]}))
        self.refused(moved, self.names[2])

    def test_an_index_without_a_tensor_that_the_model_needs_is_refused_by_its_name(self):
        dropped = next(name for name, _, _ in self.parts[1])
        self.put(INDEX, self.index_text({k: v for k, v in self.index.items() if k != dropped}))
        self.refused(dropped)

    def test_an_index_that_gives_a_tensor_twice_is_refused(self):
        name = next(iter(self.index))
        text = self.index_text(self.index)
        again = json.dumps(name) + ": " + json.dumps(self.names[1])
        self.put(INDEX, text.replace('"weight_map": {', '"weight_map": {' + again + ", ", 1))
        self.refused(INDEX, "twice")

    def test_an_index_cannot_lead_out_of_its_folder(self):
        outside = self.folder / "outside.safetensors"
        outside.write_bytes((self.whole / self.names[0]).read_bytes())
        moved = next(name for name, _, _ in self.parts[0])
        for target in ("../outside.safetensors", str(outside), "./" + self.names[0], "..", "",
                       "a/../" + self.names[0], "/etc/passwd", "tokenizer.json",
                       "..\\outside.safetensors", self.names[0] + "\0"):
            self.put(INDEX, self.index_text({**self.index, moved: target}))
            self.refused()
        for strange in (7, None, ["x"], {"a": "b"}):
            self.put(INDEX, self.index_text({**self.index, moved: strange}))
            self.refused(INDEX)

    def test_a_link_that_leads_out_of_the_folder_is_refused(self):
        outside = self.folder / "elsewhere.safetensors"
        outside.write_bytes((self.whole / self.names[0]).read_bytes())
        (self.hurt / self.names[0]).unlink()
        (self.hurt / self.names[0]).symlink_to(outside)
        self.refused(self.names[0])

    def test_what_is_no_regular_file_is_refused_without_waiting(self):
        (self.hurt / self.names[0]).unlink()
        (self.hurt / self.names[0]).mkdir()
        self.refused(self.names[0])
        (self.hurt / self.names[0]).rmdir()
        os.mkfifo(self.hurt / self.names[0])
        self.refused(self.names[0])

    def test_headers_that_lie_about_their_length_are_refused_before_memory_is_reserved(self):
        data = (self.whole / self.names[1]).read_bytes()
        for length in (2**64 - 1, 2**63, 2**40, len(data) - 7, 0):
            self.put(self.names[1], length.to_bytes(8, "little") + data[8:])
            self.refused(self.names[1])

    def test_ranges_and_shapes_that_lie_are_refused(self):
        first, second = (name for name, _, _ in self.parts[1][:2])

        def overlap(header):
            header[second]["data_offsets"] = header[first]["data_offsets"]

        def backwards(header):
            header[first]["data_offsets"].reverse()

        def far(header):
            header[first]["data_offsets"] = [2**63, 2**64 - 1]

        def negative(header):
            header[first]["data_offsets"] = [-2, 0]

        def huge(header):
            header[first]["shape"] = [2**33, 2**33]

        def empty(header):
            header[first]["shape"] = [0, 16]

        def larger(header):
            header[first]["shape"][0] += 1

        def strange(header):
            header[first]["dtype"] = "F8_E5M2"

        for edit in (overlap, backwards, far, negative, huge, empty, larger, strange):
            with self.subTest(edit.__name__):
                self.edit_header(1, edit)
                self.refused(self.names[1])

    def test_tensors_of_other_shapes_than_the_model_asks_for_are_refused_by_name(self):
        name, entry, data = self.parts[1][0]
        turned = {**entry, "shape": [1, *entry["shape"]] if len(entry["shape"]) == 1
                  else list(reversed(entry["shape"]))}
        if turned["shape"] == entry["shape"]:
            turned["shape"] = [entry["shape"][0] * 2, entry["shape"][1] // 2]
        self.put(self.names[1], safetensors([(name, turned, data), *self.parts[1][1:]]))
        self.refused(name)

    def test_a_single_file_wins_over_an_index_beside_it(self):
        shutil.copy(DEMO / "model.safetensors", self.hurt)
        self.put(INDEX, "no JSON at all")
        self.call("convert", self.hurt, "-o", "single.bpm", "--overwrite")


if __name__ == "__main__":
    unittest.main()
