#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make the reference vectors for reading and dequantizing GGUF tensors.

Needs numpy and the PyPI package `gguf` (0.19.0 made the committed files). Writes, beside itself:
  types.gguf    one tensor of every type that Backplane reads: random quants, finite random scales
  expected.bin  their values by gguf.quants.dequantize: f32, little-endian, tensors in file order
  narrow.bin    f32 pattern (4 bytes), its f16 and bf16 patterns (2 + 2 bytes), repeated
"""
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

HERE = pathlib.Path(__file__).parent
# Where the f16 fields of a block begin; other bytes are random.
HALVES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2],
    Type.Q6_K: [208], Type.IQ4_NL: [0], Type.MXFP4: [],
}


def finite_halves(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random f16 patterns: every exponent but that of infinity, both signs, subnormals too."""
    bits = rng.integers(0, 0x7C00, count, dtype=np.uint16)
    return bits | (rng.integers(0, 2, count, dtype=np.uint16) << 15)


def blocks_of(rng: np.random.Generator, kind: Type, shape: tuple[int, ...]) -> np.ndarray:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (*shape[:-1], shape[-1] // block, size), dtype=np.uint8)
    flat = raw.reshape(-1, size)
    for at in HALVES[kind]:
        flat[:, at : at + 2] = finite_halves(rng, len(flat)).view(np.uint8).reshape(-1, 2)
    if kind == Type.MXFP4:
        flat[:5, 0] = [0, 1, 2, 254, 255]  # the borders of its exponent
    return raw.reshape(*shape[:-1], -1)


def tensors(rng: np.random.Generator) -> list[tuple[Type, np.ndarray]]:
    single = rng.integers(0, 0x7F800000, (5, 9), dtype=np.uint32)
    brain = rng.integers(0, 0x7F80, (5, 10), dtype=np.uint16)
    made = [
        (Type.F32, single.view(np.float32)),
        (Type.F16, finite_halves(rng, 2 * 3 * 50).reshape(2, 3, 50).view(np.float16)),
        (Type.BF16, brain.view(np.uint8)),
    ]
    for kind in HALVES:
        shape = (2, 3, 96) if gguf.GGML_QUANT_SIZES[kind][0] == 32 else (3, 512)
        made.append((kind, blocks_of(rng, kind, shape)))
    return made


def narrowing(rng: np.random.Generator) -> np.ndarray:
    bits = rng.integers(0, 1 << 32, 1500, dtype=np.uint64).astype(np.uint32)
    # Around what f16 can hold, where ties and subnormals are: exact halves of steps included.
    exponent = rng.integers(100, 145, 1500, dtype=np.uint32) << 23
    mantissa = rng.integers(0, 1 << 11, 1500, dtype=np.uint32) << 12
    near = exponent | mantissa | (rng.integers(0, 2, 1500, dtype=np.uint32) << 31)
    edges = [0, 0x80000000, 1, 0x33000000, 0x33000001, 0x33800000, 0x387FC000, 0x387FE000,
             0x387FFFFF, 0x38800000, 0x477FE000, 0x477FEFFF, 0x477FF000, 0x47800000, 0x7F7F7FFF,
             0x7F7F8000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x00008000, 0x00018000, 0x3F808000]
    bits = np.concatenate([bits, near, near + 1, np.array(edges, np.uint32)])
    bits = bits[~np.isnan(bits.view(np.float32))]
    out = np.zeros(len(bits), dtype=[("f32", "<u4"), ("f16", "<u2"), ("bf16", "<u2")])
    out["f32"] = bits
    with np.errstate(over="ignore"):
        out["f16"] = bits.view(np.float32).astype(np.float16).view(np.uint16)
    rows = bits.view(np.float32).reshape(1, -1)
    out["bf16"] = gguf.quants.quantize(rows, Type.BF16).view(np.uint16).ravel()
    return out


def main() -> None:
    rng = np.random.default_rng(20)
    writer = gguf.GGUFWriter(HERE / "types.gguf", "vectors", use_temp_file=False)
    writer.add_string("vectors.text", "f\u00fcnf \u4e94")
    writer.add_array("vectors.numbers", [1, 2, 3])
    expected = []
    for kind, data in tensors(rng):
        writer.add_tensor(f"t.{kind.name}", data, raw_dtype=kind)
        with np.errstate(over="ignore"):
            expected.append(gguf.quants.dequantize(data, kind).astype("<f4").ravel())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    np.concatenate(expected).tofile(HERE / "expected.bin")
    narrowing(rng).tofile(HERE / "narrow.bin")


if __name__ == "__main__":
    main()
