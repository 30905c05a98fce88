"""Film reviews with ratings: fetched once, split and batched the same way every time.

They are 10605 snippets of reviews, each rated from -4 to 4 by twenty people (Hutto and Gilbert, "VADER: A Parsimonious
Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014), and lie in the source archive of
vaderSentiment 3.3.2 (MIT licence).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer
from training.archives import Shipped
from training.sides import Batch

REVIEWS = Shipped(
    "the film reviews",
    "vaderSentiment==3.3.2",
    "2.5 MB",
    ("additional_resources/hutto_ICWSM_2014.tar.gz", "movieReviewSnippets_GroundTruth.txt"),
    "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350",
)
HELD_OUT, LONGEST = 1500, 64
SPLIT_SEED = 2014
"""Of the split alone, so that runs of other seeds are measured on the same reviews."""
POOL = 50
"""Batches whose rows are sorted by length together: enough for little padding, few enough to stay mixed."""


@dataclass(frozen=True)
class Reviews:
    """Tokens of reviews, each its own length, and whether each is a good one."""

    tokens: list[list[int]]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, places: np.ndarray) -> Batch:
        """Rows padded to the longest of them: ids and mask [B, S], labels [B]."""
        rows = [self.tokens[place] for place in places]
        shape = (len(rows), max(map(len, rows)))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)], mask[at, : len(row)] = row, 1
        labels = np.array([self.labels[place] for place in places])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def tokens_of(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Ids of texts, none longer than ``LONGEST``."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return [encoded.ids for encoded in tokenizer.encode_batch(texts)]


def load(tokenizer: Tokenizer, limit: int | None = None) -> tuple[Reviews, Reviews]:
    """Reviews to train on and reviews held out; ``limit`` takes the first so many of either.

    Ratings between -1 and 1 say little and are left out; 9173 are left, half of them good.

    Raises:
        NoDataError: they cannot be fetched.
    """
    texts, labels = [], []
    for line in REVIEWS.fetch().read_text("utf-8").splitlines():
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= 1:
            texts.append(text)
            labels.append(int(float(rating) > 0))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(texts))
    tokens = tokens_of(tokenizer, texts)
    parts = order[HELD_OUT:][:limit], order[:HELD_OUT][:limit]
    train, held_out = (Reviews([tokens[i] for i in part], [labels[i] for i in part]) for part in parts)
    return train, held_out


def batches(reviews: Reviews, size: int, seed: int | Sequence[int]) -> list[np.ndarray]:
    """The batches of one epoch, as places of rows: shuffled, and rows of like length together."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(reviews))
    lengths = np.array([len(row) for row in reviews.tokens])
    found: list[np.ndarray] = []
    for start in range(0, len(order), POOL * size):
        pool = order[start : start + POOL * size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += [pool[at : at + size] for at in range(0, len(pool), size)]
    return [found[place] for place in generator.permutation(len(found))]


def in_order_of_length(reviews: Reviews, size: int) -> Iterator[np.ndarray]:
    """All rows once, for an evaluation."""
    order = np.argsort([len(row) for row in reviews.tokens], kind="stable")
    yield from (order[at : at + size] for at in range(0, len(order), size))
