#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the architecture goldens: tiny random checkpoints and the logits that transformers gives.

    python make.py [--only NAME] [OUT]      # needs torch, transformers, safetensors, gguf

Every family that the compiler knows gets a folder with config.json and safetensors (some in
several layouts that the world uses), and some of them a GGUF of the same weights. Logits are
computed in float32 with eager attention from the very weights that are stored. cases.json lists
what to load, the token ids and the file with float32 logits [tokens, vocabulary].
Dimensions are awkward on purpose: grouped heads, head_dim that is not dim / heads, windows shorter
than the prompt, soft caps that bite, norm gains and biases that are not the identity.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import zlib

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

PROMPT_TOKENS = 40
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

LLAMA = dict(model_type="llama", vocab_size=260, hidden_size=64, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=4, intermediate_size=96,
             max_position_embeddings=128, rms_norm_eps=1e-5, hidden_act="silu",
             rope_theta=10000.0, tie_word_embeddings=False)
SMALL = dict(hidden_size=32, intermediate_size=64)
GEMMA = dict(vocab_size=260, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, rms_norm_eps=1e-6, sliding_window=6,
             hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
             query_pre_attn_scalar=24)
GEMMA3 = dict(GEMMA, model_type="gemma3_text", hidden_size=44, head_dim=16, intermediate_size=64,
              num_hidden_layers=4, rope_theta=1000000.0, rope_local_base_freq=10000.0,
              sliding_window_pattern=3, rope_scaling={"rope_type": "linear", "factor": 4.0})
LONG = dict(type="longrope", short_factor=[1.0, 1.1, 1.3, 1.6, 2.0, 2.5],
            long_factor=[1.2, 1.9, 3.0, 4.5, 6.0, 8.0])

# name -> (dtype of the stored weights, config.json as checkpoints on the Hub spell it)
MODELS: dict[str, tuple[str, dict]] = {
    "llama2": ("f16", dict(LLAMA, **SMALL)),
    "llama3": ("bf16", dict(LLAMA, num_key_value_heads=2, head_dim=24, tie_word_embeddings=True,
                            rope_theta=500000.0,
                            rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                              high_freq_factor=4.0,
                                              original_max_position_embeddings=64))),
    "llama_linear_bias": ("f16", dict(LLAMA, **SMALL, num_key_value_heads=1, attention_bias=True,
                                      mlp_bias=True, rope_scaling=dict(type="linear", factor=4.0))),
    "mistral": ("bf16", dict(LLAMA, **SMALL, model_type="mistral", num_key_value_heads=2, head_dim=20,
                             sliding_window=8)),
    "mistral_full": ("bf16", dict(LLAMA, **SMALL, model_type="mistral", num_key_value_heads=2,
                                  sliding_window=None)),
    "qwen2": ("bf16", dict(LLAMA, **SMALL, model_type="qwen2", num_key_value_heads=2,
                           tie_word_embeddings=True, use_sliding_window=False, sliding_window=4,
                           max_window_layers=1, rope_theta=1000000.0)),
    "qwen2_window": ("bf16", dict(LLAMA, **SMALL, model_type="qwen2", num_key_value_heads=2,
                                  use_sliding_window=True, sliding_window=4,
                                  max_window_layers=1)),
    "qwen3": ("bf16", dict(LLAMA, **SMALL, model_type="qwen3", num_key_value_heads=2, head_dim=24,
                           rope_theta=1000000.0)),
    "gemma2": ("bf16", dict(GEMMA, model_type="gemma2", hidden_size=40, head_dim=24,
                            intermediate_size=64, num_hidden_layers=3, rope_theta=10000.0,
                            attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma3": ("f16", dict(GEMMA3)),
    "gemma3_vision": ("bf16", dict(GEMMA3)),  # stored as the text part of a multimodal checkpoint
    "phi3": ("bf16", dict(LLAMA, **SMALL, model_type="phi3", num_key_value_heads=2,
                          pad_token_id=0, eos_token_id=2, sliding_window=10,
                          partial_rotary_factor=0.5)),
    "phi3_longrope": ("bf16", dict(LLAMA, model_type="phi3", hidden_size=48,
                                   pad_token_id=0, eos_token_id=2,
                                   original_max_position_embeddings=32,
                                   rope_scaling=LONG)),
    "mixtral": ("bf16", dict(LLAMA, **SMALL, model_type="mixtral", num_key_value_heads=2,
                             num_local_experts=4, num_experts_per_tok=2, sliding_window=None)),
    "qwen3_moe": ("bf16", dict(LLAMA, **SMALL, model_type="qwen3_moe", num_key_value_heads=2,
                               head_dim=16, num_hidden_layers=3, num_experts=6,
                               num_experts_per_tok=3, moe_intermediate_size=32,
                               norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[1])),
    # The naming and the config spelling that transformers 5 uses in memory.
    "qwen3_moe_fused": ("bf16", dict(LLAMA, **SMALL, model_type="qwen3_moe", num_key_value_heads=2,
                                     head_dim=16, num_experts=4, num_experts_per_tok=2,
                                     moe_intermediate_size=32, norm_topk_prob=False,
                                     decoder_sparse_step=1, mlp_only_layers=[])),
}
TOKENS = {"phi3_longrope": [24, 48]}  # below and above the switch of factors
NEW_CONFIG = {"gemma2", "qwen3_moe_fused", "gemma3_vision", "llama2"}  # written by transformers 5
GGUFS = ["llama3", "llama_linear_bias", "qwen2", "qwen3", "gemma2", "gemma3", "phi3_longrope",
         "mixtral", "qwen3_moe"]
GGUF_TYPES = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16,
              "bf16": gguf.GGMLQuantizationType.BF16}


def randomise(model: torch.nn.Module, dtype: torch.dtype, generator: torch.Generator) -> None:
    """Random weights, large enough that logits and attention are far from flat, in dtype."""
    gemma = model.config.model_type.startswith("gemma")
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name:
            value = noise * 0.2 + (0.0 if gemma else 1.0)
        elif name.endswith("bias"):
            value = noise * 0.3
        elif "embed_tokens" in name:
            value = noise * (2.0 / weight.shape[-1] ** 0.5)
        else:
            gain = 2.5 if "mlp.gate.weight" in name or "lm_head" in name else 1.5
            value = noise * (gain / weight.shape[-1] ** 0.5)
        weight.data.copy_(value.to(dtype).float())


def split_experts(state: dict[str, torch.Tensor], mixtral: bool) -> dict[str, torch.Tensor]:
    """transformers' fused experts in the per-expert layout that published checkpoints have."""
    out: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        stem, _, leaf = name.rpartition(".experts.")
        if mixtral and ".mlp.gate." in name:
            name = name.replace(".mlp.gate.", ".block_sparse_moe.gate.")
        if leaf == "gate_up_proj":
            half = value.shape[1] // 2
            parts = {("w1" if mixtral else "gate_proj"): value[:, :half],
                     ("w3" if mixtral else "up_proj"): value[:, half:]}
        elif leaf == "down_proj":
            parts = {("w2" if mixtral else "down_proj"): value}
        else:
            out[name] = value
            continue
        stem = stem.replace(".mlp", ".block_sparse_moe") if mixtral else stem
        for part, experts in parts.items():
            for e in range(experts.shape[0]):
                out[f"{stem}.experts.{e}.{part}.weight"] = experts[e]
    return out


def write_checkpoint(name: str, folder: pathlib.Path, config: dict, stored: str,
                     state: dict[str, torch.Tensor], parsed) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.to(DTYPES[stored]).contiguous().clone() for k, v in state.items()}
    written = dict(config)
    if name in NEW_CONFIG:
        written = json.loads(parsed.to_json_string(use_diff=False))
        written.pop("transformers_version", None)
    if name == "gemma3_vision":
        state = {"language_model." + k: v for k, v in state.items()}
        state["vision_tower.vision_model.embeddings.patch_embedding.bias"] = torch.zeros(4)
        written = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
                   "text_config": written, "vision_config": {"model_type": "siglip_vision_model"}}
    (folder / "config.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")
    if name != "qwen2":
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(state)  # sharded, with an index
    weight_map, total = {}, 0
    for shard, part in enumerate([names[::2], names[1::2]], start=1):
        file = f"model-{shard:05d}-of-00002.safetensors"
        save_file({k: state[k] for k in part}, folder / file, metadata={"format": "pt"})
        weight_map |= {k: file for k in part}
    total = sum(v.numel() * v.element_size() for v in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "self_attn.qkv_proj": "attn_qkv",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate_up_proj": "ffn_up", "mlp.gate": "ffn_gate_inp",
}
GGUF_GEMMA = {"post_attention_layernorm": "post_attention_norm",
              "pre_feedforward_layernorm": "ffn_norm",
              "post_feedforward_layernorm": "post_ffw_norm"}
GGUF_ARCHITECTURE = {"mixtral": "llama", "mistral": "llama", "gemma3_text": "gemma3",
                     "qwen3_moe": "qwen3moe"}


def interleave_rows(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q and k in the order that GGUF's llama family has: rotary pairs side by side."""
    pairs = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def gguf_metadata(writer: gguf.GGUFWriter, arch: str, c) -> None:
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    rope = c.rope_parameters
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_vocab_size(c.vocab_size)
    if arch == "gemma3":
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if arch in ("gemma2", "gemma3", "phi3") and c.sliding_window:
        writer.add_sliding_window(c.sliding_window)
    if arch in ("gemma2", "gemma3"):
        writer.add_attention_scale(c.query_pre_attn_scalar ** -0.5)
    if arch == "gemma3":
        writer.add_sliding_window_pattern(3)
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(c.attn_logit_softcapping)
        writer.add_final_logit_softcapping(c.final_logit_softcapping)
    if rope["rope_type"] == "longrope":
        scale = c.max_position_embeddings / c.original_max_position_embeddings
        factor = np.sqrt(1 + np.log(scale) / np.log(c.original_max_position_embeddings))
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_attn_factors(float(factor))
        writer.add_rope_scaling_orig_ctx_len(c.original_max_position_embeddings)
        writer.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], np.float32))
    if getattr(c, "num_experts_per_tok", None):
        writer.add_expert_count(c.num_local_experts)
        writer.add_expert_used_count(c.num_experts_per_tok)
        if arch == "qwen3moe":
            writer.add_expert_feed_forward_length(c.moe_intermediate_size)


def llama3_factors(c) -> np.ndarray:
    """What GGUF stores as rope_freqs.weight: divisors of the plain frequencies."""
    rope, dim = c.rope_parameters, c.head_dim
    plain = 1.0 / rope["rope_theta"] ** (np.arange(0, dim, 2, dtype=np.float64) / dim)
    wavelength = 2 * np.pi / plain
    original = rope["original_max_position_embeddings"]
    low, high = original / rope["low_freq_factor"], original / rope["high_freq_factor"]
    smooth = ((original / wavelength - rope["low_freq_factor"])
              / (rope["high_freq_factor"] - rope["low_freq_factor"]))
    middle = 1.0 / ((1 - smooth) / rope["factor"] + smooth)
    return np.where(wavelength < high, 1.0,
                    np.where(wavelength > low, rope["factor"], middle)).astype(np.float32)


def write_gguf(path: pathlib.Path, c, stored: str, state: dict[str, torch.Tensor]) -> None:
    arch = GGUF_ARCHITECTURE.get(c.model_type, c.model_type)
    gemma = arch.startswith("gemma")
    names = GGUF_NAMES | (GGUF_GEMMA if gemma else {})
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name(f"golden {c.model_type}")
    gguf_metadata(writer, arch, c)
    if arch == "llama" and c.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(c))

    def add(name: str, value: np.ndarray) -> None:
        if value.ndim == 1 or "gate_inp" in name:
            writer.add_tensor(name, value.astype(np.float32))
        else:
            raw = gguf.quants.quantize(value.astype(np.float32), GGUF_TYPES[stored])
            writer.add_tensor(name, raw, raw_dtype=GGUF_TYPES[stored])

    for name, value in state.items():
        array = value.float().numpy()
        stem, _, leaf = name.rpartition(".")
        prefix = ""
        if stem.startswith("model.layers."):
            layer, _, stem = stem.removeprefix("model.layers.").partition(".")
            prefix = f"blk.{layer}."
        if stem == "mlp.experts":
            if leaf == "down_proj":
                add(prefix + "ffn_down_exps.weight", array)
            else:
                half = array.shape[1] // 2
                add(prefix + "ffn_gate_exps.weight", array[:, :half])
                add(prefix + "ffn_up_exps.weight", array[:, half:])
            continue
        if gemma and "norm" in stem:
            array = array + 1.0
        if arch == "llama" and stem in ("self_attn.q_proj", "self_attn.k_proj"):
            query = stem == "self_attn.q_proj"
            heads = c.num_attention_heads if query else c.num_key_value_heads
            array = interleave_rows(array, heads)
        add(f"{prefix}{names[stem]}.{leaf}", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(name: str, out: pathlib.Path) -> list[dict]:
    stored, config = MODELS[name]
    seed = zlib.crc32(name.encode())
    generator = torch.Generator().manual_seed(seed)
    parsed = AutoConfig.for_model(**json.loads(json.dumps(config)))
    model = AutoModelForCausalLM.from_config(parsed, attn_implementation="eager").float().eval()
    randomise(model, DTYPES[stored], generator)
    state = {k: v for k, v in model.state_dict().items()
             if not (k == "lm_head.weight" and config["tie_word_embeddings"])}
    disk = state if name.endswith("_fused") else split_experts(state, "mixtral" in name)
    write_checkpoint(name, out / name, config, stored, disk, parsed)
    sources = [name]
    if name in GGUFS:
        write_gguf(out / name / "model.gguf", parsed, stored, state)
        sources.append(f"{name}/model.gguf")

    cases = []
    for count in TOKENS.get(name, [PROMPT_TOKENS]):
        ids = torch.randint(0, config["vocab_size"], (count,), generator=generator)
        for source in sources:
            file = f"{name}/logits-{count}.bin"
            if config["model_type"].startswith("gemma"):
                # transformers rounds the embedding's scale to the type of the checkpoint; readers
                # of GGUF do not.
                rounded = not source.endswith(".gguf")
                scale = torch.tensor(config["hidden_size"] ** 0.5)
                model.model.embed_tokens.embed_scale = (
                    scale.to(DTYPES[stored]).float() if rounded else scale)
                file = file if rounded else f"{name}/logits-{count}-gguf.bin"
            with torch.no_grad():
                logits = model(ids[None]).logits[0].float().numpy()
            (out / file).write_bytes(logits.astype("<f4").tobytes())
            print(f"{source:28} tokens {count} std {logits.std():.2f} max {abs(logits).max():.2f}")
            cases.append(dict(source=source, stored=stored, tokens=ids.tolist(), logits=file,
                              vocabulary=config["vocab_size"]))
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    parser.add_argument("--only", choices=MODELS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cases = []
    for name in [args.only] if args.only else MODELS:
        cases += make(name, args.out)
    if not args.only:
        lines = ",\n".join(json.dumps(case) for case in cases)
        (args.out / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
