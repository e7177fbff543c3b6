# SPDX-License-Identifier: Apache-2.0
"""Measures the exported checkpoint on held-out requests, greedy and sampled; writes a JSON report.

Known subjects come from seeds that training never used; unknown ones are HELD_OUT nouns, which no
training text contains. Loss is measured on held-out conversations and stories.
"""
from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path

import torch
import torch.nn.functional as F

from chat_format import render
from data import NOT_LEARNED, make_shard
from decode import Decoder
from storygen import words
from storygen.requests import story_request
from storygen.story import write
from storygen.world import with_article
from train import HELD_OUT_SEED

REQUEST_SEED = 40_000_000
UNKNOWN_WORDINGS = ["Tell me a story about {X}.", "Write a story about {X}", "A short story with {X}, please.",
                    "Can you tell me a story about {X}?", "{X}", "story about {X}"]


def names(text: str, noun: str) -> bool:
    return re.search(rf"\b{re.escape(noun)}\b", text, re.IGNORECASE) is not None


def repeats(text: str) -> bool:
    """A sentence of four words or more that occurs three times, or one right after itself."""
    sentences = [s.strip() for s in re.split(r"(?<=[.!?])\"?\s+", text) if len(s.split()) >= 4]
    return any(a == b for a, b in zip(sentences, sentences[1:])) or any(sentences.count(s) > 2 for s in set(sentences))


def known_requests(count: int) -> list[tuple[str, list[str]]]:
    out, i = [], 0
    while len(out) < count:
        rng = random.Random(REQUEST_SEED + i)
        i += 1
        story = write(rng)
        subjects = story.ask.actors + story.ask.things + ([story.ask.sky] if story.ask.sky else [])
        if subjects:
            out.append((story_request(rng, story), subjects))
    return out


def unknown_requests(count: int) -> list[tuple[str, list[str]]]:
    rng = random.Random(REQUEST_SEED)
    actors = words.HELD_OUT["actors"]
    things = [w.replace("+", " ").rstrip("*") for w in words.HELD_OUT["things"]]
    out = []
    for i in range(count):
        chosen = [actors[i % len(actors)]] if i % 3 != 1 else []
        chosen += [things[i % len(things)]] if i % 3 != 0 else []
        out.append((rng.choice(UNKNOWN_WORDINGS).replace("{X}", " and ".join(with_article(n) for n in chosen)), chosen))
    return out


def run(teller: Decoder, requests: list[tuple[str, list[str]]], sampled: bool, keep: list) -> dict:
    texts: list[tuple[str, bool]] = []
    size = 100
    for i in range(0, len(requests), size):
        texts += teller.generate([render([("user", r)], True) for r, _ in requests[i : i + size]], sampled, seed=i)
    subjects = [(names(t, n)) for (t, _), (_, wanted) in zip(texts, requests) for n in wanted]
    lengths = sorted(len(t.split()) for t, _ in texts)
    keep += [dict(request=r, wanted=w, sampled=sampled, ended=e, text=t) for (r, w), (t, e) in zip(requests, texts)]
    share = lambda flags: round(sum(flags) / len(flags), 4)  # noqa: E731
    return dict(requests=len(requests), subjects_named=share(subjects),
                all_subjects_named=share([all(names(t, n) for n in w) for (t, _), (_, w) in zip(texts, requests)]),
                ended_with_eos=share([e for _, e in texts]), no_repeated_sentences=share([not repeats(t) for t, _ in texts]),
                distinct=share([True] * len({t for t, _ in texts}) + [False] * (len(texts) - len({t for t, _ in texts}))),
                words_median=lengths[len(lengths) // 2], words_p5=lengths[len(lengths) // 20], words_p95=lengths[-len(lengths) // 20])


@torch.no_grad()
def held_out_loss(teller: Decoder, tokenizer: Path, rows: int) -> float:
    shard = torch.from_numpy(make_shard(tokenizer, HELD_OUT_SEED, 1, rows).astype("int32")).long()
    total, count = 0.0, 0
    for i in range(0, rows, 8):
        part = shard[i : i + 8].to(teller.device)
        targets = torch.where(part >= NOT_LEARNED, -100, part)[:, 1:]
        logits = teller.model((part & (NOT_LEARNED - 1))[:, :-1])
        total += float(F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=-100, reduction="sum"))
        count += int((targets >= 0).sum())
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--stories", type=Path, help="write every text here, to be read by a person")
    args = parser.parse_args()
    teller = Decoder(args.model)
    keep: list = []
    loss = held_out_loss(teller, args.model / "tokenizer.json", args.rows)
    report = dict(held_out_loss=round(loss, 4), held_out_perplexity=round(float(torch.tensor(loss).exp()), 4))
    for label, requests in (("known", known_requests(args.requests)), ("unknown", unknown_requests(args.requests))):
        for sampled in (False, True):
            report[f"{label}_{'sampled' if sampled else 'greedy'}"] = run(teller, requests, sampled, keep)
            print(json.dumps(report), flush=True)
    if args.report:
        args.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if args.stories:
        args.stories.write_text("\n".join(json.dumps(k, ensure_ascii=False) for k in keep) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
