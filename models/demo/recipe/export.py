# SPDX-License-Identifier: Apache-2.0
"""Writes a trained model as a Hugging Face directory and checks it against `transformers`."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from chat_format import BOS, CHAT_TEMPLATE, EOS, PAD, SPECIAL_TOKENS, render
from model import Config, StoryModel

SIZE_LIMIT = 12_000_000
TOLERANCE = 1e-4


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def export(weights: dict[str, torch.Tensor], out: Path) -> None:
    c = Config()
    ids = {t: SPECIAL_TOKENS.index(t) for t in SPECIAL_TOKENS}  # the trainer numbers them first
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in sorted(weights.items())},
              out / "model.safetensors", metadata={"format": "pt"})
    write_json(out / "config.json", dict(
        architectures=["LlamaForCausalLM"], model_type="llama", torch_dtype="bfloat16", **c.as_dict(), head_dim=c.head_dim,
        hidden_act="silu", attention_bias=False, mlp_bias=False, attention_dropout=0.0, initializer_range=0.02,
        rope_scaling=None, tie_word_embeddings=True, use_cache=True, bos_token_id=ids[BOS], eos_token_id=ids[EOS], pad_token_id=ids[PAD]))
    write_json(out / "generation_config.json", dict(
        bos_token_id=ids[BOS], eos_token_id=ids[EOS], pad_token_id=ids[PAD], do_sample=True, temperature=0.8, top_p=0.95, max_new_tokens=512))
    write_json(out / "special_tokens_map.json", dict(bos_token=BOS, eos_token=EOS, pad_token=PAD,
                                                     additional_special_tokens=SPECIAL_TOKENS[3:]))
    write_json(out / "tokenizer_config.json", dict(
        tokenizer_class="PreTrainedTokenizerFast", model_max_length=c.max_position_embeddings, bos_token=BOS, eos_token=EOS, pad_token=PAD,
        additional_special_tokens=SPECIAL_TOKENS[3:], clean_up_tokenization_spaces=False,
        added_tokens_decoder={str(i): dict(content=t, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
                              for t, i in ids.items()}, chat_template=CHAT_TEMPLATE))


def check(weights: dict[str, torch.Tensor], out: Path) -> None:
    """The directory must load elsewhere and compute what was trained."""
    size = (out / "model.safetensors").stat().st_size
    if size > SIZE_LIMIT:
        raise SystemExit(f"model.safetensors has {size} bytes; the limit is {SIZE_LIMIT}")
    tokenizer = AutoTokenizer.from_pretrained(out)
    messages = [("system", "You are a storyteller."), ("user", " Tell me a story about a fox and a lantern. "), ("assistant", "Once."), ("user", "More")]
    as_dicts = [dict(role=r, content=t) for r, t in messages]
    for prompt in (True, False):
        theirs = tokenizer.apply_chat_template(as_dicts, tokenize=False, add_generation_prompt=prompt)
        if theirs != render(messages, prompt):
            raise SystemExit(f"the chat template differs:\n{theirs!r}\n{render(messages, prompt)!r}")
    ids = torch.tensor([tokenizer(render(messages, True), add_special_tokens=False)["input_ids"]])
    ours = StoryModel(Config()).eval()
    ours.load_state_dict({k: v.float() for k, v in weights.items()})
    theirs = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    with torch.no_grad():
        a, b = ours(ids), theirs(ids).logits
    worst = float((a - b).abs().max())
    print(f"{out}: {size} bytes; largest logit difference to transformers {worst:.2e} on {ids.shape[1]} tokens")
    if not worst < TOLERANCE:
        raise SystemExit(f"logits differ by {worst}, more than {TOLERANCE}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="weights.pt of train.py")
    parser.add_argument("--out", type=Path, required=True, help="the directory that holds tokenizer.json")
    args = parser.parse_args()
    weights = torch.load(args.weights, map_location="cpu", weights_only=True)
    export(weights, args.out)
    check(weights, args.out)


if __name__ == "__main__":
    main()
