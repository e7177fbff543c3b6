# SPDX-License-Identifier: Apache-2.0
"""Trains the byte-level BPE tokenizer on generated text: GPT-2 layout, 4,096 tokens."""
from __future__ import annotations

import argparse
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from chat_format import SPECIAL_TOKENS
from storygen.requests import document

VOCAB_SIZE = 4096
SEED = 20_000_000  # far from the seeds of the training shards


def texts(count: int):
    for i in range(count):
        doc = document(random.Random(SEED + i))
        if doc.messages is None:
            yield doc.text
        else:
            for _, content in doc.messages:
                yield content


def train(count: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, special_tokens=SPECIAL_TOKENS, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts(count), trainer)
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the tokenizer.json to write")
    parser.add_argument("--documents", type=int, default=40_000)
    args = parser.parse_args()
    tokenizer = train(args.documents)
    tokenizer.save(str(args.out))
    print(f"{args.out}: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
