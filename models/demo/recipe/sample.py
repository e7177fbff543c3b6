# SPDX-License-Identifier: Apache-2.0
"""Talks to the exported checkpoint through `transformers`: one request, or plain text to continue."""
from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chat_format import BOS, render


class Teller:
    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().to(self.device)

    @torch.no_grad()
    def generate(self, prompts: list[str], sampled: bool, seed: int = 0, limit: int = 512) -> list[tuple[str, bool]]:
        """(text, whether it ended with EOS) of each prompt; prompts are rendered text."""
        torch.manual_seed(seed)
        self.tokenizer.padding_side = "left"
        batch = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False, return_token_type_ids=False).to(self.device)
        how = dict(do_sample=True, temperature=0.8, top_p=0.95, top_k=0) if sampled else dict(do_sample=False, temperature=None, top_p=None, top_k=None)
        out = self.model.generate(**batch, max_new_tokens=limit, **how)
        texts = []
        for row in out[:, batch["input_ids"].shape[1]:].tolist():
            ended = self.tokenizer.eos_token_id in row
            row = row[: row.index(self.tokenizer.eos_token_id)] if ended else row
            texts.append((self.tokenizer.decode(row), ended))
        return texts

    def chat(self, messages: list[tuple[str, str]], sampled: bool = False, seed: int = 0) -> str:
        return self.generate([render(messages, True)], sampled, seed)[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--sampled", action="store_true", help="temperature 0.8, top-p 0.95")
    parser.add_argument("--plain", action="store_true", help="continue the text, without a chat")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("turns", nargs="+", help="what the user says, turn by turn")
    args = parser.parse_args()
    teller = Teller(args.model)
    if args.plain:
        print(args.turns[0] + teller.generate([BOS + args.turns[0]], args.sampled, args.seed)[0][0])
        return
    messages: list[tuple[str, str]] = []
    for turn in args.turns:
        messages.append(("user", turn))
        messages.append(("assistant", teller.chat(messages, args.sampled, args.seed)))
        print(f"> {turn}\n{messages[-1][1]}\n")


if __name__ == "__main__":
    main()
