# SPDX-License-Identifier: Apache-2.0
"""Small synthetic tokenizer.json files in the manner of Mistral, Gemma, Llama 3 and T5, trained on
seeded texts with the `tokenizers` package."""
from __future__ import annotations

import json
from pathlib import Path

from texts import SPECIALS, Generator
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def corpus() -> list[str]:
    """No look-alikes of special tokens: merges would learn to make them, and then the reference
    makes special tokens out of plain text, which ours never does."""
    generator = Generator(7)
    texts = [generator.text() for _ in range(1500)]
    for special in sorted(SPECIALS, key=len, reverse=True):
        texts = [text.replace(special, " ") for text in texts]
    return texts


def merged_from(source: Tokenizer, specials: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary of a trained BPE after specials and byte tokens, as SentencePiece lays it out."""
    trained = json.loads(source.to_str())["model"]
    vocab = {token: i for i, token in enumerate(specials + BYTES)}
    for token in sorted(trained["vocab"], key=trained["vocab"].get):
        vocab.setdefault(token, len(vocab))
    return vocab, [tuple(m) for m in trained["merges"]]


def trained_bpe(normalizer, pre_tokenizer, size: int, alphabet: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=size, limit_alphabet=alphabet, show_progress=False,
                                  max_token_length=24)
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def mistral() -> Tokenizer:
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    vocab, merges = merged_from(trained_bpe(None, metaspace, 700, 150), ["<unk>", "<s>", "</s>"])
    result = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True,
                                  byte_fallback=True))
    result.pre_tokenizer = metaspace
    result.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                        decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    result.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    result.add_special_tokens([AddedToken(t, normalized=False, special=True)
                               for t in ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")])
    return result


def gemma() -> Tokenizer:
    replace = normalizers.Replace(" ", "▁")
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    trained = trained_bpe(replace, pre_tokenizers.Split("▁", "merged_with_previous"), 700, 150)
    vocab, merges = merged_from(trained, specials)
    result = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True,
                                  byte_fallback=True))
    result.normalizer = replace
    result.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    result.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                        decoders.Fuse()])
    result.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 2)])
    result.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in specials])
    result.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("▁▁", normalized=False),
                       AddedToken("<tool>", normalized=False)])
    return result


def llama3() -> Tokenizer:
    split = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = split
    trained.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=900, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(trained.to_str())["model"]
    # Whole words that no merge makes: only ignore_merges finds them.
    vocab = dict(model["vocab"])
    for word in ("internationalization", "Ġtokenizer", "世界"):
        vocab.setdefault("".join(chr(c) for c in byte_characters(word)) if word == "世界" else word,
                         len(vocab))
    result = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m) for m in model["merges"]],
                                  ignore_merges=True))
    result.pre_tokenizer = split
    result.decoder = decoders.ByteLevel()
    result.add_special_tokens([AddedToken(t, normalized=False, special=True)
                               for t in ("<|begin_of_text|>", "<|im_start|>", "<|im_end|>")])
    bos = result.token_to_id("<|begin_of_text|>")
    result.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A $B",
                                      special_tokens=[("<|begin_of_text|>", bos)])])
    return result


def byte_characters(text: str) -> list[int]:
    """The disguises of the bytes of a text."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in plain]
    table = {b: b for b in plain} | {b: 0x100 + i for i, b in enumerate(others)}
    return [table[b] for b in text.encode()]


def qwen() -> Tokenizer:
    """NFC, digits one by one, added tokens with every flag."""
    split = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    result = Tokenizer(models.BPE())
    result.normalizer = normalizers.NFC()
    result.pre_tokenizer = split
    result.decoder = decoders.ByteLevel()
    result.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=800, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    result.add_special_tokens([
        AddedToken("<|endoftext|>", normalized=False, special=True),
        AddedToken("<|im_start|>", normalized=False, special=True, rstrip=True),
        AddedToken("<|im_end|>", normalized=False, special=True, lstrip=True)])
    result.add_tokens([
        AddedToken("<tool>", normalized=False, lstrip=True, rstrip=True),
        AddedToken("fox", normalized=True, single_word=True),
        AddedToken("the quick", normalized=True),
        AddedToken("hello", normalized=False, single_word=True)])
    return result


def unigram(split: bool, byte_fallback: bool) -> Tokenizer:
    metaspace = pre_tokenizers.Metaspace(prepend_scheme="always", split=split)
    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = metaspace
    # A unigram vocabulary must hold every character of its corpus, so this one's is Latin.
    latin = ["".join(c for c in text if c < "\u0180") for text in corpus()]
    trained.train_from_iterator(latin, trainers.UnigramTrainer(
        vocab_size=600, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "</s>"]))
    vocab = [tuple(entry) for entry in json.loads(trained.to_str())["model"]["vocab"]]
    # Rounded, so that sums of scores do not depend on the last bit of a double.
    # The reference would take special and byte pieces for ordinary ones when their names stand in a
    # text (SentencePiece and ours do not); scores that never win keep it from that.
    never = ("<unk>", "</s>")
    vocab = [(piece, -1000.0 if piece in never else round(score * 1024) / 1024)
             for piece, score in vocab]
    if byte_fallback:
        vocab += [(b, -1000.0) for b in BYTES]
    result = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=byte_fallback))
    result.pre_tokenizer = metaspace
    result.decoder = (decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                         decoders.Fuse(), decoders.Strip(" ", 1, 0)])
                      if byte_fallback else decoders.Metaspace(prepend_scheme="always", split=split))
    result.add_special_tokens([AddedToken(t, normalized=False, special=True)
                               for t in ("<unk>", "</s>")])
    result.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return result


def splits() -> Tokenizer:
    """Every other step of the pipeline in one vocabulary."""
    result = Tokenizer(models.BPE())
    result.normalizer = normalizers.Sequence([
        normalizers.Strip(left=False, right=True), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), normalizers.Replace(Regex(r"\d{4,}"), "0000"),
        normalizers.Replace("--", "—"), normalizers.NFKC()])
    result.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.Split(Regex(r"\s{2,}"), "merged_with_next"),
        pre_tokenizers.Split("o", "merged_with_previous"),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split(Regex(r"[a-z]{1,9}"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)])
    result.decoder = decoders.ByteLevel()
    result.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=500, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    result.add_special_tokens([AddedToken("<|im_start|>", normalized=True, special=True),
                               AddedToken("<|im_end|>", normalized=False, special=True)])
    return result


def words() -> Tokenizer:
    """WhitespaceSplit and Whitespace, no unk: what is unknown vanishes."""
    result = Tokenizer(models.BPE())
    result.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                                    pre_tokenizers.Whitespace()])
    result.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=400, limit_alphabet=120, show_progress=False))
    result.decoder = decoders.Fuse()
    return result


ALL = {
    "mistral": mistral,
    "gemma": gemma,
    "llama3": llama3,
    "qwen": qwen,
    "unigram": lambda: unigram(True, False),
    "unigram_bytes": lambda: unigram(False, True),
    "splits": splits,
    "words": words,
}


def write_all(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in ALL.items():
        document = json.loads(make().to_str())
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
