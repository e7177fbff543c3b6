# SPDX-License-Identifier: Apache-2.0
"""Trains the model on text that worker processes write while it learns; most of it is seen once.

The learning rate follows step / --steps where --steps is given (reproducible up to the rounding of
the machine), else the share of --minutes, counted from the start of the process, that is used up.
Writes log.jsonl as it goes and weights.pt (bf16) every --save-every steps and at the end, so that a
machine that is taken away costs only the last of the work; SIGTERM ends a run as if its time were up.
"""
from __future__ import annotations

import argparse
import json
import math
import multiprocessing as mp
import signal
import time
from collections import deque
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from data import NOT_LEARNED, make_shard
from model import Config, StoryModel

HELD_OUT_SEED = 7_777


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--tokenizer", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--steps", type=int, default=0)
    p.add_argument("--minutes", type=float, default=5.0)
    p.add_argument("--rows", type=int, default=64, help="rows of 1,024 tokens a step")
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--warmup", type=int, default=200)
    p.add_argument("--workers", type=int, default=14)
    p.add_argument("--shard-rows", type=int, default=512)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--save-every", type=int, default=500)
    p.add_argument("--keep", type=int, default=100, help="shards seen before any may be seen again")
    p.add_argument("--max-wait-s", type=float, default=120.0)
    return p.parse_args()


def batches(args: argparse.Namespace, pool, counts: dict[str, int]):
    """Batches [rows, ROW] in shard order; a shard already seen fills in while the next is not ready."""
    make = partial(make_shard, args.tokenizer, args.seed, rows=args.shard_rows)
    pending: deque = deque()
    seen: list[np.ndarray] = []
    rng = np.random.default_rng(args.seed)
    index = 0
    while True:
        while len(pending) < args.workers * 3:
            pending.append(pool.apply_async(make, (index,)))
            index += 1
        if pending[0].ready() or len(seen) < args.keep:
            shard = pending.popleft().get(args.max_wait_s)
            counts["fresh"] += 1
            seen.append(shard)
        else:
            shard = rng.permutation(seen[int(rng.integers(len(seen)))])
            counts["again"] += 1
        for i in range(0, len(shard) - args.rows + 1, args.rows):
            yield torch.from_numpy(shard[i : i + args.rows].astype(np.int32))


def split(rows: torch.Tensor, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs, and targets with -100 where nothing is to be learned."""
    rows = rows.to(device, non_blocking=True).long()
    ids = rows & (NOT_LEARNED - 1)
    targets = torch.where(rows >= NOT_LEARNED, -100, ids)
    return ids[:, :-1].contiguous(), targets[:, 1:].contiguous()


def main() -> None:
    began = time.monotonic()
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    pool = mp.get_context("fork").Pool(args.workers)  # before CUDA starts
    counts = {"fresh": 0, "again": 0}  # shards
    stream = batches(args, pool, counts)
    first = next(stream)
    held_out = torch.from_numpy(pool.apply(make_shard, (args.tokenizer, HELD_OUT_SEED, 0, 128)).astype(np.int32))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    model = StoryModel(Config()).to(device)
    parameters = sum(p.numel() for p in model.parameters())
    decay = [p for p in model.parameters() if p.dim() == 2]
    plain = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
                                  lr=args.lr, betas=(0.9, 0.95), eps=1e-9, fused=device == "cuda")

    def loss_of(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16):
            logits = model(ids)
        return F.cross_entropy(logits.float().view(-1, logits.shape[-1]), targets.view(-1), ignore_index=-100)

    step_loss = torch.compile(loss_of) if args.compile else loss_of

    @torch.no_grad()
    def evaluate() -> float:
        parts = [float(loss_of(*split(held_out[i : i + 16], device))) for i in range(0, len(held_out), 16)]
        return sum(parts) / len(parts)

    def save() -> None:
        """Replaces weights.pt whole, so that a kill never leaves half a file."""
        part = args.out / "weights.part"
        torch.save({k: v.to(torch.bfloat16).cpu() for k, v in model.state_dict().items()}, part)
        part.rename(args.out / "weights.pt")

    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))  # after the fork
    log = (args.out / "log.jsonl").open("w")
    step, waited = 0, 0.0
    recent: list[torch.Tensor] = []
    while True:
        elapsed = time.monotonic() - began
        progress = step / args.steps if args.steps else elapsed / (60 * args.minutes)
        if progress >= 1 or stopped:
            break
        lr = args.lr * min(1.0, (step + 1) / args.warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = lr
        t = time.monotonic()
        rows = first if step == 0 else next(stream)
        waited += time.monotonic() - t
        loss = step_loss(*split(rows, device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        recent.append(loss.detach())
        step += 1
        if step % 100 == 0 or step in (1, 10, 50):
            mean = float(torch.stack(recent).mean())
            recent.clear()
            entry = dict(step=step, loss=round(mean, 4), lr=round(lr, 6), tokens=step * args.rows * 1024,
                         s=round(time.monotonic() - began, 1), waited_s=round(waited, 1))
            if step % 500 == 0:
                entry["held_out"] = round(evaluate(), 4)
            print(json.dumps(entry), flush=True)
            log.write(json.dumps(entry) + "\n")
            log.flush()
        if step % args.save_every == 0:
            save()
    save()
    entry = dict(step=step, tokens=step * args.rows * 1024, held_out=round(evaluate(), 4), parameters=parameters,
                 s=round(time.monotonic() - began, 1), waited_s=round(waited, 1), shards=counts, final=True)
    print(json.dumps(entry), flush=True)
    log.write(json.dumps(entry) + "\n")
    log.close()
    pool.terminate()


if __name__ == "__main__":
    main()
