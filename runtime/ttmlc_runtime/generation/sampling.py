"""Which token comes next: logits of the host are processed as Transformers does, and one is chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from ttmlc_runtime.errors import InputError, RuntimeFault

Array = np.ndarray[Any, Any]
Seeds = int | Sequence[int] | None
"""One number, from which each row's own is made; one a row; or None, which differs from call to call."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when they end; the names are those of Transformers' GenerationConfig.

    Raises:
        InputError: a value is out of its range, or would do nothing.
    """

    max_new_tokens: int
    min_new_tokens: int = 0
    """No row ends before it has so many."""
    do_sample: bool = False
    """Draw by probability; else the likeliest token is taken."""
    temperature: float = 1.0
    top_k: int | None = None
    """Draw among so many tokens, the likeliest."""
    top_p: float | None = None
    """Draw among the fewest tokens whose probabilities reach this sum."""
    repetition_penalty: float = 1.0
    """Logits of tokens that are there already are divided by it, or multiplied where they are negative."""
    eos_token_id: int | Sequence[int] | None = None
    """What ends a row."""
    pad_token_id: int | None = None
    """What fills a row that has ended; the first of ``eos_token_id`` where it is left out."""
    seed: Seeds = None

    def __post_init__(self) -> None:
        _whole("max_new_tokens", self.max_new_tokens, 1)
        _whole("min_new_tokens", self.min_new_tokens, 0)
        if self.min_new_tokens > self.max_new_tokens:
            raise InputError(
                f"min_new_tokens {self.min_new_tokens} is more than max_new_tokens {self.max_new_tokens}"
            )
        _real("temperature", self.temperature, "above 0", lambda value: value > 0)
        _real("repetition_penalty", self.repetition_penalty, "above 0", lambda value: value > 0)
        if self.top_k is not None:
            _whole("top_k", self.top_k, 0)
        if self.top_p is not None:
            _real("top_p", self.top_p, "in [0, 1]", lambda value: 0 <= value <= 1)
        for token in self.eos:
            _whole("eos_token_id", token, 0)
        if self.pad_token_id is not None:
            _whole("pad_token_id", self.pad_token_id, 0)
        idle = [name for name in ("temperature", "top_k", "top_p") if getattr(self, name) not in _OFF[name]]
        if idle and not self.do_sample:
            raise InputError(
                f"{', '.join(idle)} would do nothing: give do_sample=True to draw tokens, or leave it out"
            )

    @property
    def eos(self) -> tuple[int, ...]:
        """The tokens that end a row."""
        return () if self.eos_token_id is None else tuple(np.atleast_1d(self.eos_token_id).tolist())

    @property
    def pad(self) -> int | None:
        """What fills rows that have ended; None where none ends."""
        return self.pad_token_id if self.pad_token_id is not None or not self.eos else self.eos[0]

    def check(self, vocab: int) -> None:
        """Refuse tokens that a vocabulary of ``vocab`` does not have.

        Raises:
            InputError: with the token.
        """
        pads = () if self.pad_token_id is None else (self.pad_token_id,)
        for name, tokens in (("eos_token_id", self.eos), ("pad_token_id", pads)):
            for token in tokens:
                if token >= vocab:
                    raise InputError(f"{name} {token} is no token: there are {vocab}, from 0 on")


_OFF: dict[str, tuple[object, ...]] = {"temperature": (1.0,), "top_k": (None, 0), "top_p": (None, 1.0)}
"""The values that change nothing."""


def process(logits: Array, seen: Sequence[Array], new: int, sampling: Sampling) -> Array:
    """Logits [B, vocab] after all that ``sampling`` asks for, in Transformers' order; -inf where none may come.

    Args:
        logits: float32 or float64; left as they are.
        seen: of each row, the tokens that are there, the prompt's among them and padding not.
        new: how many of them are new.
        sampling: what is asked for.
    """
    scores = logits.copy()
    if sampling.repetition_penalty != 1.0:
        for row, tokens in zip(scores, seen, strict=True):
            there = np.unique(tokens)
            row[there] = np.where(
                row[there] < 0,
                row[there] * sampling.repetition_penalty,
                row[there] / sampling.repetition_penalty,
            )
    if new < sampling.min_new_tokens and sampling.eos:
        scores[:, list(sampling.eos)] = -np.inf
    if not sampling.do_sample:
        return scores
    if sampling.temperature != 1.0:
        with np.errstate(over="ignore"):  # the chooser tells of what is too large
            scores /= sampling.temperature
    if sampling.top_k:
        kept = min(sampling.top_k, scores.shape[-1])
        least = np.partition(scores, -kept, axis=-1)[:, -kept, None]
        scores[scores < least] = -np.inf
    if sampling.top_p is not None and sampling.top_p < 1.0:
        order = np.argsort(scores, axis=-1, kind="stable")
        below = np.cumsum(softmax(np.take_along_axis(scores, order, axis=-1)), axis=-1)
        left_out = below <= 1 - sampling.top_p
        left_out[:, -1] = False
        np.put_along_axis(left_out, order, left_out.copy(), axis=-1)
        scores[left_out] = -np.inf
    return scores


def softmax(scores: Array) -> Array:
    """Probabilities along the last axis, in the dtype of ``scores``."""
    weights: Array = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


class Chooser:
    """Chooses a token a row, step by step. Each row draws from a generator of its own, so that none sees the others."""

    def __init__(self, sampling: Sampling, rows: int) -> None:
        self.sampling = sampling
        self._generators = [np.random.default_rng(seed) for seed in _seeds(sampling.seed, rows)]

    def __call__(self, logits: Array, seen: Sequence[Array], new: int) -> Array:
        """The tokens, int64 [B]; the arguments are those of ``process``.

        Raises:
            RuntimeFault: logits are not numbers, or none is left that is one.
        """
        scores = process(logits, seen, new, self.sampling)
        broken = ~np.isfinite(scores.max(axis=-1))
        if broken.any():
            raise RuntimeFault(
                f"the logits of row {int(broken.argmax())} are not numbers after {new} new tokens: are the weights "
                "whole, does the model compute in its dtype, and is a temperature not all but 0?"
            )
        if not self.sampling.do_sample:
            return scores.argmax(axis=-1).astype(np.int64)
        sums = np.cumsum(softmax(scores.astype(np.float64)), axis=-1)
        whole = sums[:, -1:]
        draws = np.array([generator.random() for generator in self._generators])[:, None] * whole
        last = (sums < whole).sum(axis=-1)  # a draw may round up to the whole, and nothing comes after that
        return np.minimum((sums <= draws).sum(axis=-1), last).astype(np.int64)


def _seeds(seed: Seeds, rows: int) -> list[np.random.SeedSequence]:
    if seed is None:
        return np.random.SeedSequence().spawn(rows)
    if isinstance(seed, Integral) or not np.iterable(seed):
        _whole("seed", seed, 0)
        return [np.random.SeedSequence((int(seed), row)) for row in range(rows)]
    several = list(seed)
    if len(several) != rows:
        raise InputError(f"there are {len(several)} seeds and {rows} rows: give one seed, or one a row")
    for one in several:
        _whole("seed", one, 0)
    return [np.random.SeedSequence((int(one), 0)) for one in several]


def _whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} must be a whole number from {least} on, not {value!r}")


def _real(name: str, value: object, wanted: str, fits: Any) -> None:
    number = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    if not number or not fits(value):
        raise InputError(f"{name} must be a number {wanted}, not {value!r}")
