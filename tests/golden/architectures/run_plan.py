#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the plan of a .bpm in numpy and compares its logits with the goldens.

    python run_plan.py MODEL.bpm CASE_INDEX [--steps N]

A second, independent reading of docs/ops.md: when this and the runtime disagree, one of them does
not do what the page says. float64 arithmetic, f32 KV cache; weights in f32, f16 or bf16. The
FlatBuffer is turned into JSON by flatc, so nothing of the project's own reader is used.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import struct
import subprocess
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent
SCHEMA = HERE.parents[2] / "model_format/schema/bpm.fbs"
FORMATS = {"f32": "<f4", "f16": "<f2", "bf16": "<u2"}


def load(path: pathlib.Path) -> tuple[dict, list[np.ndarray]]:
    raw = path.read_bytes()
    offset, size = struct.unpack_from("<IQ", raw, 12)
    with tempfile.TemporaryDirectory() as folder:
        buffer = pathlib.Path(folder) / "model.bin"
        buffer.write_bytes(raw[offset:offset + size])
        subprocess.run(["flatc", "--json", "--strict-json", "--raw-binary", "--defaults-json",
                        "-o", folder, str(SCHEMA), "--", str(buffer)], check=True)
        model = json.loads((pathlib.Path(folder) / "model.json").read_text())
    tensors = []
    for tensor in model["tensors"]:
        plane = tensor["planes"][0]
        at = model["segments"][plane["segment"]]["offset"] + plane["offset"]
        data = np.frombuffer(raw, FORMATS[tensor["format"]], plane["bytes"] // np.dtype(
            FORMATS[tensor["format"]]).itemsize, at)
        if tensor["format"] == "bf16":
            data = (data.astype(np.uint32) << 16).view(np.float32)
        tensors.append(data.astype(np.float64).reshape(tensor["shape"]))
    return model, tensors


def activate(kind: str, x: np.ndarray) -> np.ndarray:
    if kind == "silu":
        return x / (1 + np.exp(-x))
    if kind == "gelu_tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))
    assert kind == "none", kind
    return x


def rms(x: np.ndarray, gain: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * gain


class Executor:
    """One sequence, pages in order."""

    def __init__(self, path: pathlib.Path, context: int):
        self.model, self.tensors = load(path)
        self.plan = self.model["plan"]
        self.page = self.plan["page_size"]
        self.pages = (context + self.page - 1) // self.page
        self.context = context
        self.position = 0
        self.caches: dict[int, np.ndarray] = {}

    def rope(self, index: int, positions: np.ndarray) -> np.ndarray:
        rope = self.plan["ropes"][index]
        is_long = 0 < rope["long_from"] < self.context
        frequencies = np.array(rope["long_frequencies" if is_long else "frequencies"])
        factor = rope["long_attention_factor" if is_long else "attention_factor"]
        angles = positions[:, None] * frequencies[None]
        return np.concatenate([np.cos(angles), np.sin(angles)], 1) * factor

    def value(self, index: int, env: dict) -> np.ndarray | None:
        if index < 0:
            return None
        if index in env:
            return env[index]
        value = self.plan["values"][index]
        if value["role"] == "Weight":
            return self.tensors[value["tensor"]]
        if value["role"] == "State":
            if index not in self.caches:
                shape = [self.pages] + [d["offset"] for d in value["shape"][1:]]
                self.caches[index] = np.full(shape, np.nan)
            return self.caches[index]
        assert value["role"] == "Input", value
        return env["inputs"][value["name"]]

    def forward(self, ids: list[int]) -> np.ndarray:
        count = len(ids)
        positions = np.arange(self.position, self.position + count)
        self.position += count
        env: dict = {"inputs": {
            "token_ids": np.array(ids), "positions": positions, "sequence_of": np.zeros(count, int),
            "query_start": np.array([0, count]), "context_length": np.array([self.position]),
            "page_table": np.arange(self.pages)[None], "output_rows": np.arange(count)}}
        for i in range(len(self.plan["ropes"])):
            env["inputs"][f"rope/{i}"] = self.rope(i, positions)
        for step in self.plan["steps"]:
            attributes = {a["name"]: a["value"]["value"] for a in step.get("attributes", [])}
            inputs = [self.value(i, env) for i in step["inputs"]]
            results = getattr(self, step["op"])(inputs, attributes)
            for index, result in zip(step["outputs"], results):
                self.check_shape(index, result, count)
                env[index] = result
        return next(env[i] for i, v in enumerate(self.plan["values"])
                    if v["role"] == "Output" and v["name"] == "logits")

    def check_shape(self, index: int, result: np.ndarray, count: int) -> None:
        value = self.plan["values"][index]
        shape = tuple(d["offset"] if d["symbol"] < 0 else d["scale"] * count + d["offset"]
                      for d in value["shape"])
        assert shape == result.shape, (value["name"], shape, result.shape)

    def embed(self, i, a):
        return [i[1][i[0]] * a.get("scale", 1.0)]

    def rms_norm(self, i, a):
        y = rms(i[0], i[1], a["eps"])
        return [y if i[2] is None else y + i[2]]

    def layer_norm(self, i, a):
        x, gain, bias, residual = i
        x = x - x.mean(axis=-1, keepdims=True)
        y = rms(x, gain, a["eps"])
        y = y if bias is None else y + bias
        return [y if residual is None else y + residual]

    def linear(self, i, a):
        y = i[0] @ i[1].T
        if i[2] is not None:
            y = y + i[2]
        y = activate(a.get("activation", "none"), y)
        cap = a.get("softcap", 0)
        if cap > 0:
            y = cap * np.tanh(y / cap)
        return [y if i[3] is None else y + i[3]]

    def linear_glu(self, i, a):
        x, weight, bias, up = i
        if up is not None:
            weight = np.concatenate([weight, up])
        y = x @ weight.T
        if bias is not None:
            y = y + bias
        half = y.shape[1] // 2
        return [activate(a["activation"], y[:, :half]) * y[:, half:]]

    def rope_kv_write(self, i, a):
        q, k, v, rope, q_norm, k_norm, positions, sequence_of, page_table, k_cache, v_cache = i
        heads, kv_heads, dim = a["heads"], a["kv_heads"], a["head_dim"]
        if k is None:
            cuts = [heads * dim, (heads + kv_heads) * dim]
            q, k, v = np.split(q, cuts, axis=1)
        q, k, v = (x.reshape(len(x), -1, dim) for x in (q, k, v))
        if q_norm is not None:
            q = rms(q, q_norm, a["norm_eps"])
        if k_norm is not None:
            k = rms(k, k_norm, a["norm_eps"])
        q, k = (self.rotate(x, rope, a) for x in (q, k))
        for t, position in enumerate(positions):
            page = page_table[sequence_of[t]][position // a["page_size"]]
            k_cache[page, :, position % a["page_size"]] = k[t]
            v_cache[page, :, position % a["page_size"]] = v[t]
        return [q.reshape(len(q), -1)]

    @staticmethod
    def rotate(x, rope, a):
        if rope is None:
            return x
        half = a["rotary_dim"] // 2
        cos, sin = rope[:, None, :half], rope[:, None, half:]
        x = x.copy()
        if a["interleaved"]:
            first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
        else:
            first, second = slice(0, half), slice(half, 2 * half)
        u, v = x[..., first].copy(), x[..., second].copy()
        x[..., first], x[..., second] = u * cos - v * sin, v * cos + u * sin
        return x

    def attention(self, i, a):
        q, k_cache, v_cache, query_start, context_length, page_table = i
        heads, kv_heads, dim = a["heads"], a["kv_heads"], a["head_dim"]
        length, count = context_length[0], query_start[1]
        pages = page_table[0]
        keys = k_cache[pages].transpose(1, 0, 2, 3).reshape(kv_heads, -1, dim)[:, :length]
        values = v_cache[pages].transpose(1, 0, 2, 3).reshape(kv_heads, -1, dim)[:, :length]
        y = np.empty((count, heads, dim))
        for t in range(count):
            p = length - (count - t)
            first = max(0, p - a["window"] + 1) if a["window"] > 0 else 0
            for h in range(heads):
                g = h // (heads // kv_heads)
                score = a["scale"] * keys[g, first:p + 1] @ q[t].reshape(heads, dim)[h]
                if a["softcap"] > 0:
                    score = a["softcap"] * np.tanh(score / a["softcap"])
                weight = np.exp(score - score.max())
                y[t, h] = weight / weight.sum() @ values[g, first:p + 1]
        return [y.reshape(count, -1)]

    def gather_rows(self, i, a):
        return [i[0][i[1]]]

    def moe_route(self, i, a):
        p = np.exp(i[0] - i[0].max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        ids = np.argsort(-p, axis=1, kind="stable")[:, :a["experts_used"]]
        weights = np.take_along_axis(p, ids, 1)
        if a["normalize"]:
            weights = weights / weights.sum(-1, keepdims=True)
        return [ids, weights]

    def moe_linear_glu(self, i, a):
        x, weight, ids, up = i
        if up is not None:
            weight = np.concatenate([weight, up], 1)
        y = np.einsum("tk,tenk->ten", x, weight[ids].transpose(0, 1, 2, 3))
        half = y.shape[-1] // 2
        return [activate(a["activation"], y[..., :half]) * y[..., half:]]

    def moe_linear(self, i, a):
        x, weight, ids, weights, residual = i
        y = np.einsum("tef,tenf,te->tn", x, weight[ids], weights)
        return [y if residual is None else y + residual]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("case", type=int)
    parser.add_argument("--steps", type=int, default=7, help="tokens decoded one by one at the end")
    args = parser.parse_args()
    case = json.loads((HERE / "cases.json").read_text())[args.case]
    golden = np.fromfile(HERE / case["logits"], "<f4").reshape(-1, case["vocabulary"])
    executor = Executor(args.model, len(case["tokens"]))
    split = len(case["tokens"]) - args.steps
    parts = [executor.forward(case["tokens"][:split])]
    parts += [executor.forward([token]) for token in case["tokens"][split:]]
    logits = np.concatenate(parts)
    error = np.abs(logits - golden).max() / np.abs(golden).max()
    print(f"{case['source']:28} tokens {len(case['tokens'])} steps {len(executor.plan['steps'])} "
          f"relative error {error:.2e}")
    raise SystemExit(0 if error < 2e-3 else 1)


if __name__ == "__main__":
    main()
