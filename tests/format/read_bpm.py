#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a .bpm file knowing nothing but model_format/SPEC.md: no FlatBuffers library, no NumPy.

  read_bpm.py FILE              header, tensors and steps, after checking every digest
  read_bpm.py FILE TENSOR       the tensor's values, one a line, for the formats in DECODERS
"""
import hashlib
import struct
import sys
from typing import Any, Callable

FIELDS = {  # SPEC.md, "Tables": name -> kind, in order of the field numbers
    "Model": "format_version:u32 name:str architecture:str licence:str tool:str sources:[SourceFile] "
             "metrics:[Metric] hyper_parameters:HyperParameters generation:- segments:[Segment] "
             "tensors:[Tensor] tokenizer:- chat_templates:- plan:Plan weights_format:str",
    "SourceFile": "name:str bytes:u64 sha256:bytes",
    "Metric": "name:str value:f64 detail:str",
    "HyperParameters": "vocabulary:u64 dim:u64 layers:u64 heads:u64 kv_heads:u64 head_dim:u64",
    "Segment": "offset:u64 bytes:u64 sha256:bytes",
    "Plane": "segment:u32 offset:u64 bytes:u64 layout:str",
    "Tensor": "name:str format:str shape:[u64] planes:[Plane] sha256:bytes",
    "Plan": "symbols:- values:[Value] steps:[Step] ropes:- arena_bytes:- page_size:u32",
    "Value": "name:str role:u8 format:str",
    "Step": "op:str version:u32=1 inputs:[i32] outputs:[i32] attributes:- layer:i32=-1",
}
SCALARS = {"u8": "<B", "u32": "<I", "i32": "<i", "u64": "<Q", "f64": "<d"}


class Table:
    """A FlatBuffers table: fields are found through its vtable, absent ones have a default."""

    def __init__(self, data: bytes, at: int, kind: str) -> None:
        self.data, self.at, self.kind = data, at, kind
        self.vtable = at - struct.unpack_from("<i", data, at)[0]
        self.slots = (struct.unpack_from("<H", data, self.vtable)[0] - 4) // 2

    def __getattr__(self, name: str) -> Any:
        for number, field in enumerate(FIELDS[self.kind].split()):
            field_name, _, kind = field.partition(":")
            if field_name != name:
                continue
            kind, _, default = kind.partition("=")
            place = 0
            if number < self.slots:
                place = struct.unpack_from("<H", self.data, self.vtable + 4 + 2 * number)[0]
            if place:
                return self.read(self.at + place, kind)
            return int(default or 0) if kind in SCALARS else [] if kind[0] == "[" else None
        raise AttributeError(name)

    def read(self, at: int, kind: str) -> Any:
        if kind in SCALARS:
            return struct.unpack_from(SCALARS[kind], self.data, at)[0]
        at += struct.unpack_from("<I", self.data, at)[0]
        if kind in FIELDS:
            return Table(self.data, at, kind)
        count = struct.unpack_from("<I", self.data, at)[0]
        if kind in ("str", "bytes"):
            content = self.data[at + 4:at + 4 + count]
            return content.decode("utf-8") if kind == "str" else content
        element = kind[1:-1]
        size = struct.calcsize(SCALARS[element]) if element in SCALARS else 4
        return [self.read(at + 4 + size * i, element) for i in range(count)]


class BpmFile:
    def __init__(self, data: bytes) -> None:
        magic, version, plan_at, plan_bytes, file_bytes, digest = struct.unpack_from(
            "<8sIIQQ32s", data)
        assert magic == b"BPLANE\0\1" and version == 1, "not a model file of version 1"
        assert file_bytes == len(data), "truncated"
        plan = data[plan_at:plan_at + plan_bytes]
        assert hashlib.sha256(plan).digest() == digest, "damaged plan"
        assert plan[4:8] == b"BPM1", "foreign FlatBuffer"
        self.data = data
        self.model = Table(plan, struct.unpack_from("<I", plan)[0], "Model")

    def planes(self, tensor: Table) -> list[bytes]:
        starts = [self.model.segments[p.segment].offset + p.offset for p in tensor.planes]
        return [self.data[s:s + p.bytes] for s, p in zip(starts, tensor.planes)]

    def check_digests(self) -> None:
        of_tensors: dict[int, bytes] = {}
        for tensor in self.model.tensors:
            digests = b"".join(hashlib.sha256(p).digest() for p in self.planes(tensor))
            assert hashlib.sha256(digests).digest() == tensor.sha256, f"damaged {tensor.name}"
            segment = tensor.planes[0].segment
            of_tensors[segment] = of_tensors.get(segment, b"") + tensor.sha256
        for number, segment in enumerate(self.model.segments):
            assert hashlib.sha256(of_tensors[number]).digest() == segment.sha256

    def values(self, tensor: Table) -> list[float]:
        return DECODERS[tensor.format](*self.planes(tensor))


def halves(plane: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(plane) // 2}e", plane)


def bfloats(plane: bytes) -> list[float]:
    words = struct.unpack(f"<{len(plane) // 2}H", plane)
    return list(struct.unpack(f"<{len(words)}f", struct.pack(f"<{len(words)}I",
                                                             *(w << 16 for w in words))))


def nibbles(quants: bytes, group: int) -> list[int]:
    part = quants[16 * group:16 * group + 16]
    return [b & 15 for b in part] + [b >> 4 for b in part]


def q8(quants: bytes, scales: bytes) -> list[float]:
    signed = struct.unpack(f"<{len(quants)}b", quants)
    return [d * q for g, d in enumerate(halves(scales)) for q in signed[32 * g:32 * g + 32]]


def q4(quants: bytes, scales: bytes) -> list[float]:
    return [d * (q - 8) for g, d in enumerate(halves(scales)) for q in nibbles(quants, g)]


def q4z(quants: bytes, scales: bytes, minima: bytes) -> list[float]:
    pairs = zip(halves(scales), halves(minima))
    return [d * q + m for g, (d, m) in enumerate(pairs) for q in nibbles(quants, g)]


DECODERS: dict[str, Callable[..., Any]] = {
    "f32": lambda plane: struct.unpack(f"<{len(plane) // 4}f", plane),
    "f16": halves, "bf16": bfloats, "q8_g32": q8, "q4_g32": q4, "q4_g32z": q4z,
}


def main() -> None:
    with open(sys.argv[1], "rb") as stream:
        file = BpmFile(stream.read())
    if len(sys.argv) > 2:
        tensor = next(t for t in file.model.tensors if t.name == sys.argv[2])
        print("\n".join(repr(v) for v in file.values(tensor)))
        return
    file.check_digests()
    print(f"{file.model.name}: {file.model.architecture}, made by {file.model.tool}")
    for t in file.model.tensors:
        print(f"{t.name}\t{t.format}\t{t.shape}\t{sum(p.bytes for p in t.planes)} bytes")
    for s in file.model.plan.steps:
        names = [file.model.plan.values[i].name for i in s.outputs]
        print(f"step {s.op} v{s.version} layer {s.layer} -> {', '.join(names)}")


if __name__ == "__main__":
    main()
