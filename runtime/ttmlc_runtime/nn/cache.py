"""Keys and values that attention has seen, kept on the device from call to call of a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import InputError

Array = np.ndarray[Any, Any]
HIDDEN = -1e9
TILE = types.TILE_SIZE


class Cache:
    """Room for the tokens of a batch, a column a token: given to a model as its mask.

    The first call fills it from the left with the tokens of the prompts, each call after it adds one token a row.
    Attentions are told apart by their order in a call. Rows share their columns: prompts are padded on the left.

    Args:
        there: 1 where a token is there and 0 where it is padding, [B, S]: S is a multiple of 32.
        columns: the room, a multiple of 32 that is more than S.
        filling: how many of the S columns, from the left, only fill up a tile: no count counts them.

    Raises:
        InputError: S or ``columns`` is no such number.
    """

    def __init__(self, there: Array, columns: int, filling: int = 0) -> None:
        rows, tokens = there.shape
        if tokens % TILE or columns % TILE or not 0 < tokens < columns:
            raise InputError(
                f"a cache of {columns} columns for {tokens} tokens: both are whole tiles of {TILE}"
            )
        self.columns = columns
        self.there = np.zeros((rows, columns), bool)
        self.there[:, :tokens] = there
        self.used = 0
        """How many columns are written."""
        self._added = tokens
        self._kept: list[tuple[types.Tensor, types.Tensor]] = []
        self._next = 0
        self._filling = filling
        self._counts: list[Array] = []
        self._counted = 0

    @property
    def filled(self) -> bool:
        """Whether the tokens of the prompts are in it, so that one more a row comes."""
        return self.used > 0

    def begin(self, tokens: int) -> None:
        """Make ready for a call with so many tokens a row.

        Raises:
            InputError: it is another number than the call wants, or there is no room.
        """
        if tokens != self._added:
            raise InputError(f"a cache takes {self._added} tokens a row now, not {tokens}")
        if self.used + tokens > self.columns:
            raise InputError(f"the cache is full: it has room for {self.columns} tokens a row")
        if self.filled:
            self.there[:, self.used] = True
        self._next = self._counted = 0

    def end(self) -> None:
        """The call is over, and its tokens are in."""
        self.used += self._added
        self._added = 1

    def hidden(self, window: int | None) -> Array:
        """What is added for each column as the newest token sees them, [B, 1, 1, columns]."""
        age = self.used - np.arange(self.columns)
        seen = self.there & (age >= 0)
        if window is not None:
            seen &= age < window
        return np.where(seen, np.float32(0), np.float32(HIDDEN))[:, None, None]

    def keep(self, k: types.Tensor, v: types.Tensor) -> tuple[types.Tensor, types.Tensor]:
        """Keep the keys and values of this call's tokens, and give all that attention may see.

        Of prompts these are their own, [B, kv, S, width]; of one more token all that are kept, [B, kv, columns, width],
        which are written where they are: a program a call of each, and none is built anew.
        """
        if not self.filled:
            self._kept.append((self._room(k), self._room(v)))
            return k, v
        kept = self._kept[self._next]
        self._next += 1
        for cache, new in zip(kept, (k, v), strict=True):
            row = new if new.shape[0] == 1 else ttnn.permute(new, (2, 1, 0, 3))  # [1, kv, B, width]
            ttnn.update_cache(cache, row, self.used)
        return kept

    def running(self, counted: Array) -> Array:
        """The sum of ``counted`` [B, S] up to each token of this call, on from those before it; int64.

        Counts are told apart by their order in a call, as attentions are.
        """
        if not self.filled:
            real = np.arange(counted.shape[1]) >= self._filling
            sums = np.cumsum(counted * real, axis=-1)
            self._counts.append(sums[:, -1:])
            return sums
        sums = self._counts[self._counted] + np.cumsum(counted, axis=-1)
        self._counts[self._counted] = sums[:, -1:]
        self._counted += 1
        return sums

    def _room(self, x: types.Tensor) -> types.Tensor:
        """A copy of x with zeros up to the last column."""
        return ttnn.pad(x, [(0, 0), (0, 0), (0, self.columns - x.shape[2]), (0, 0)], 0.0)
