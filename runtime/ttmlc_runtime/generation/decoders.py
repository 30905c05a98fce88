"""How logits of the next token are computed: what ``generate`` asks for, with a cache and without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ttmlc_runtime import ttnn
from ttmlc_runtime.generation.prompt import Prompt
from ttmlc_runtime.generation.spec import NextToken
from ttmlc_runtime.nn.cache import Cache
from ttmlc_runtime.nn.outputs import Activation

Array = np.ndarray[Any, Any]
TILE = 32
ROOM = 128
"""Columns of a cache are a multiple of this."""


class Decoder(Protocol):
    """Logits of the next token, [B, vocab] on the host; ``cache`` is what a decoder keeps from step to step."""

    def prefill(self, prompt: Prompt) -> tuple[Array, Any]:
        """The logits after the prompts, and what is kept of them."""

    def decode(self, tokens: Array, cache: Any) -> Array:
        """The logits after one more token a row, int64 [B]; the cache then holds it."""


@dataclass
class Kept:
    """What the recomputing decoder keeps: the tokens themselves."""

    prompt: Prompt


class Recomputing:
    """Runs the whole of each row again for every token: right for every model, and slow for long texts.

    Rows are filled up on the right to whole tiles, with tokens that none before them sees, so that a program is built
    once for 32 lengths; and only the tile with the last tokens comes to the host. Where a model counts its tokens'
    places itself, no row is filled beyond the places that it has.
    """

    def __init__(self, model: Any, says: NextToken) -> None:
        self.model = model
        self.says = says

    def prefill(self, prompt: Prompt) -> tuple[Array, Kept]:
        """See ``Decoder``."""
        return self._last(prompt), Kept(prompt)

    def decode(self, tokens: Array, cache: Kept) -> Array:
        """See ``Decoder``."""
        before = cache.prompt
        ids = np.concatenate([before.ids, tokens[:, None]], axis=-1)
        mask = np.pad(before.mask, ((0, 0), (0, 1)), constant_values=1)
        cache.prompt = Prompt(ids, mask)
        return self._last(cache.prompt)

    def _last(self, prompt: Prompt) -> Array:
        tokens = prompt.ids.shape[1]
        longest = None if self.says.positions else self.says.longest(self.model.config)
        whole = tokens + -tokens % TILE
        filling = ((0, 0), (0, whole - tokens if longest is None else max(0, min(whole, longest) - tokens)))
        given = {self.says.ids: np.pad(prompt.ids, filling)}
        if self.says.mask:
            given[self.says.mask] = np.pad(prompt.mask, filling)
        if self.says.positions:
            given[self.says.positions] = np.pad(prompt.positions, filling)
        logits: Activation = self.model(**given)[self.says.logits]
        return _last_tile(logits)[:, (tokens - 1) % TILE]


def _last_tile(logits: Activation) -> Array:
    """The last tile of logits [B, S, vocab] on the host: [B, 32, vocab], or fewer rows where S is no whole tiles."""
    rows, tokens, vocab = logits.shape
    tensor = logits.tensor
    ends = list(tensor.shape)
    begins = [0] * len(ends)
    begins[-2] = (tokens - 1) // TILE * TILE
    if begins[-2]:
        tensor = ttnn.slice(tensor, begins, ends)
    return Activation(tensor, (rows, tokens - begins[-2], vocab)).numpy()


@dataclass
class Going:
    """What the decoder with a cache keeps: the cache, and each row's next position, int64 [B]."""

    cache: Cache
    positions: Array


class Cached:
    """Runs each token once: what attention sees of those before it is kept on the device.

    Prompts are filled up on the left to whole tiles, and the cache has room in steps of ``ROOM`` columns, so that
    programs are built once for many lengths, and none from token to token.
    """

    def __init__(self, model: Any, says: NextToken) -> None:
        self.model = model
        self.says = says

    def prefill(self, prompt: Prompt) -> tuple[Array, Going]:
        """See ``Decoder``."""
        filling = ((0, 0), (-prompt.ids.shape[1] % TILE, 0))
        filled = Prompt(np.pad(prompt.ids, filling), np.pad(prompt.mask, filling))
        tokens = filled.ids.shape[1]
        columns = tokens + prompt.room + -(tokens + prompt.room) % ROOM
        cache = Cache(filled.mask, columns, tokens - prompt.ids.shape[1])
        logits = self._run(filled.ids, filled.positions, cache)
        return _last_tile(logits)[:, -1], Going(cache, prompt.lengths)

    def decode(self, tokens: Array, cache: Going) -> Array:
        """See ``Decoder``."""
        logits = self._run(tokens[:, None], cache.positions[:, None], cache.cache)
        cache.positions = cache.positions + 1
        return logits.numpy()[:, 0]

    def _run(self, ids: Array, positions: Array, cache: Cache) -> Activation:
        cache.begin(ids.shape[1])
        given = {self.says.ids: ids, self.says.mask: cache}
        if self.says.positions:
            given[self.says.positions] = positions
        logits: Activation = self.model(**given)[self.says.logits]
        cache.end()
        return logits
