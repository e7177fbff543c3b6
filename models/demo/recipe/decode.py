# SPDX-License-Identifier: Apache-2.0
"""Batched decoding with a preallocated cache: what `sample.py` computes, many requests at once."""
from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from chat_format import EOS
from data import Encoder
from model import Config, StoryModel, rotate


class Decoder:
    def __init__(self, folder: Path) -> None:
        self.c = Config()
        self.encoder = Encoder(folder / "tokenizer.json")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = StoryModel(self.c).eval()
        self.model.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
        self.model.to(self.device)

    def _step(self, ids: Tensor, cache: Tensor, start: int, pad: Tensor) -> Tensor:
        """Logits [rows, vocabulary] of the last column. ids [rows, new]; pad [rows] unused columns at the left.

        cache [layer, key or value, rows, heads, columns, head_dim] is filled from column `start` on.
        """
        c, (rows, new) = self.c, ids.shape
        end = start + new
        columns = torch.arange(end, device=ids.device)
        position = (columns[start:] - pad[:, None]).clamp(min=0)
        cos, sin = self.model.cos[position][:, None], self.model.sin[position][:, None]
        allowed = (columns <= columns[start:, None]) & (columns >= pad[:, None, None])
        # a padding column sees itself, so that no softmax is empty
        allowed = (allowed | (columns == columns[start:, None]))[:, None]
        x = self.model.model.embed_tokens(ids)
        for i, layer in enumerate(self.model.model.layers):
            a, h = layer.self_attn, layer.input_layernorm(x)
            q, k, v = (p(h).view(rows, new, -1, c.head_dim).transpose(1, 2) for p in (a.q_proj, a.k_proj, a.v_proj))
            cache[i, 0, :, :, start:end] = rotate(k, cos, sin)
            cache[i, 1, :, :, start:end] = v
            # the queries that share a key head stand side by side: [rows, key heads, group * new, head_dim]
            group = c.num_attention_heads // c.num_key_value_heads
            q = rotate(q, cos, sin).reshape(rows, c.num_key_value_heads, group * new, c.head_dim)
            y = F.scaled_dot_product_attention(q, cache[i, 0, :, :, :end], cache[i, 1, :, :, :end],
                                               attn_mask=allowed.repeat(1, 1, group, 1))
            y = y.reshape(rows, c.num_attention_heads, new, c.head_dim).transpose(1, 2).reshape(rows, new, -1)
            x = x + a.o_proj(y)
            x = x + layer.mlp(layer.post_attention_layernorm(x))
        return F.linear(self.model.model.norm(x[:, -1]), self.model.model.embed_tokens.weight)

    @torch.no_grad()
    def generate(self, prompts: list[str], sampled: bool, seed: int = 0, limit: int = 512) -> list[tuple[str, bool]]:
        """(text, whether it ended with EOS) of each rendered prompt."""
        generator = torch.Generator(self.device).manual_seed(seed)
        eos = self.encoder.ids[EOS]
        prompt_ids = [self.encoder.plain(p) for p in prompts]
        width = max(map(len, prompt_ids))
        limit = min(limit, self.c.max_position_embeddings - width)
        pad = torch.tensor([width - len(p) for p in prompt_ids], device=self.device)
        ids = torch.tensor([[eos] * (width - len(p)) + p for p in prompt_ids], device=self.device)
        shape = (self.c.num_hidden_layers, 2, len(prompts), self.c.num_key_value_heads, width + limit, self.c.head_dim)
        cache = torch.zeros(shape, device=self.device)
        made: list[list[int]] = [[] for _ in prompts]
        alive = torch.arange(len(prompts), device=self.device)
        start = 0
        for _ in range(limit):
            logits = self._step(ids, cache, start, pad)
            start += ids.shape[1]
            token = self._nucleus(logits, generator) if sampled else logits.argmax(-1)
            for row, t in zip(alive.tolist(), token.tolist()):
                made[row].append(t)
            going = token != eos
            if not going.any():
                break
            if int(going.sum()) < 0.75 * len(token):  # finished rows leave, to save their work
                alive, pad, cache = alive[going], pad[going], cache[:, :, going]
                token = token[going]
            elif not going.all():
                # a finished row that stays writes into a list nobody reads any more
                made = [m if eos not in m else m[: m.index(eos) + 1] for m in made]
            ids = token[:, None]
        out = []
        for m in made:
            ended = eos in m
            out.append((self.encoder.tokenizer.decode(m[: m.index(eos)] if ended else m), ended))
        return out

    @staticmethod
    def _nucleus(logits: Tensor, generator: torch.Generator, temperature: float = 0.8, top_p: float = 0.95) -> Tensor:
        p, order = (logits / temperature).softmax(-1).sort(-1, descending=True)
        p = p.masked_fill(p.cumsum(-1) - p >= top_p, 0.0)
        return order.gather(-1, torch.multinomial(p, 1, generator=generator)).squeeze(-1)
