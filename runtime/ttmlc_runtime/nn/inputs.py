"""What a model is called with, checked on the host and brought to the device."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import InputError
from ttmlc_runtime.nn.cache import HIDDEN, Cache
from ttmlc_runtime.nn.rotary import Rotary, Table

Labels = Any
"""Labels of a loss, integers or floats: as Integers, of the shape that the loss wants."""
Integers = Any
"""Integers [B, S]: a numpy array, nested lists, or anything that numpy can read (a torch tensor on the host)."""

FILLING = -1e30
"""Added for keys that only fill up tiles: so much less that even a row which sees nothing averages real keys alone."""
TILE = 32
POSITIONS = 1 << 24
"""Rotary positions are below this."""


@dataclass(frozen=True)
class Mask:
    """A validity mask over keys in the forms that attention takes, each made where one first asks for it."""

    keys: types.Tensor | None
    """What is added for each key, [B, 1, 1, S]; None hides none."""
    later: bool
    """Whether each query's later keys are hidden too."""
    device: types.Device | None = field(default=None, compare=False)
    tokens: int = field(default=0, compare=False)
    window: int | None = None
    """How many keys a query sees, itself included; None, and as many as there are tokens, hide none."""
    cache: Cache | None = field(default=None, compare=False)
    """Where keys and values are kept, if they are."""
    _grouped: dict[int, types.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.window is not None and (self.window < 1 or not self.later):
            why = "a window shows one key at least" if self.later else "only a causal query has a window"
            raise InputError(f"{why}: the window is {self.window}")

    @property
    def slides(self) -> bool:
        """Whether the window hides any key."""
        return self.window is not None and self.window < self.tokens

    @property
    def causal(self) -> bool:
        """Whether causality is left to the op, because nothing else hides keys."""
        return self.later and self.keys is None and not self.slides

    @cached_property
    def additive(self) -> types.Tensor | None:
        """What is added to scores, [B, 1, S, S], causality and window folded in; None where there is no such thing."""
        if self.keys is None:
            return self._filled(self._there(self._outside())) if self.slides else None
        return self._filled(ttnn.add(self._there(self._outside()), self.keys))

    def seen(self, k: types.Tensor, v: types.Tensor) -> tuple[types.Tensor, types.Tensor]:
        """The keys and values that the mask is over: where a cache is kept, those of earlier tokens too."""
        return (k, v) if self.cache is None else self.cache.keep(k, v)

    @cached_property
    def scores(self) -> types.Tensor | None:
        """What is added to scores where attention is composed of other ops: it broadcasts; None hides nothing.

        Raises:
            InputError: there is a cache, which recorded calls do not fill.
        """
        self._recorded()
        if self.later:
            return self._there(self._outside()) if self.causal else self.additive
        return None if self.keys is None else self._filled(self.keys)

    def scores_of(self, group: int) -> types.Tensor | None:
        """As ``scores``, where ``group`` heads of queries stand one behind the other: [B, kv, group * S, S]."""
        self._recorded()
        if group == 1 or not self.later:
            return self.scores
        if group not in self._grouped:
            rows = self._there(np.tile(self._outside(), (1, 1, group, 1)))
            self._grouped[group] = rows if self.keys is None else self._filled(ttnn.add(rows, self.keys))
        return self._grouped[group]

    def _recorded(self) -> None:
        if self.cache is not None:
            raise InputError("a cache is filled by inference: call the model under no_grad()")

    def _outside(self) -> np.ndarray[Any, Any]:
        """What hides the keys after each query's own place, and those before its window: [1, 1, tokens, tokens]."""
        shape = (1, 1, self.tokens, self.tokens)
        if not self.later:
            return np.zeros(shape, np.float32)
        hidden = np.full(shape, HIDDEN, np.float32)
        after = np.triu(hidden, 1)
        return after if self.window is None else after + np.tril(hidden, -self.window)

    def _there(self, values: np.ndarray[Any, Any]) -> types.Tensor:
        return ttnn.Tensor(values, ttnn.bfloat16, self.device, ttnn.TILE_LAYOUT)

    def _filled(self, hiding: types.Tensor) -> types.Tensor:
        """With keys that only fill up tiles hidden below everything."""
        return ttnn.fill_implicit_tile_padding(hiding, FILLING) if self.tokens % TILE else hiding


class NewestMask(Mask):
    """What one more token a row sees of a cache: ``keys`` is [B, 1, 1, columns], and is all that is added."""

    @property
    def causal(self) -> bool:
        """Nothing comes later."""
        return False

    @cached_property
    def additive(self) -> types.Tensor | None:
        """As ``keys``."""
        return self.keys


def _array(name: str, value: Integers, over: str = "") -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # torch raises the last for tensors it cannot give
        raise InputError(f"{name} is no array of one shape: {error}") from None
    if array.ndim != (3 if over else 2):
        hint = ": a single row is input[None, :]" if array.ndim == 1 and not over else ""
        hint = f": of one example with several {over} it is input[None]" if array.ndim == 2 and over else hint
        wanted = f"[batch, {over}, tokens]" if over else "[batch, tokens]"
        raise InputError(f"{name} must be {wanted}, not {list(array.shape)}{hint}")
    if 0 in array.shape:
        raise InputError(f"{name} is empty: {list(array.shape)}")
    return array


class Inputs:
    """The inputs of one call; the first one gives batch and tokens, the others must agree.

    With ``over`` each is [batch, over, tokens], where ``over`` says what the axis is called; on the device their batch
    is one, of batch * over rows, which is what ``shape`` begins with. ``outer`` is then (batch, over).
    """

    def __init__(self, device: types.Device, first: Integers, *, over: str = "") -> None:
        self.device = device
        self.over = over
        self.given: tuple[int, ...] = _array("the first input", first, over).shape
        self.outer = self.given[:-1]
        self.shape: tuple[int, int] = (prod(self.outer), self.given[-1])
        self._keys: dict[tuple[str, int | None], types.Tensor] = {}

    @property
    def positions(self) -> np.ndarray[Any, Any]:
        """0 .. S-1 for every row."""
        return np.broadcast_to(np.arange(self.given[-1]), self.given)

    def _given(self, name: str, value: Integers) -> np.ndarray[Any, Any]:
        array = _array(name, value, self.over)
        if array.shape != self.given:
            raise InputError(f"{name} is {list(array.shape)}, and the first input {list(self.given)}")
        return array

    def require(self, holds: bool, message: str) -> None:  # as nn.require: a condition and its words
        """Refuse the call with ``message`` unless ``holds``.

        Raises:
            InputError: it does not hold.
        """
        if not holds:
            raise InputError(message)

    def integers(
        self, name: str, value: Integers | None, shape: tuple[int, ...] | None = None, *, default: Any = None
    ) -> np.ndarray[Any, Any]:
        """Integers as an int64 array on the host, of ``shape``, or of the first input's.

        Raises:
            InputError: missing without a default, no integers, or of another shape.
        """
        array = self._host(name, value, shape, default)
        if array.dtype.kind not in "iu":
            raise InputError(_no_integers(name, array))
        if array.dtype == np.uint64:  # what int64 cannot hold stays above every range
            array = np.minimum(array, np.uint64(np.iinfo(np.int64).max))
        return array.astype(np.int64)

    def flags(
        self, name: str, value: Integers | None, shape: tuple[int, ...] | None = None, *, default: Any = None
    ) -> np.ndarray[Any, Any]:
        """What is true and false, given as that or as 1 and 0, as a bool array on the host.

        Raises:
            InputError: missing without a default, other values, or of another shape.
        """
        array = self._host(name, value, shape, default)
        if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
            raise InputError(_odd_mask(name, array))
        return array.astype(bool)

    def _host(
        self, name: str, value: Integers | None, shape: tuple[int, ...] | None, default: Any
    ) -> np.ndarray[Any, Any]:
        if value is None:
            if default is None:
                raise InputError(f"{name} is missing")
            value = np.broadcast_to(np.asarray(default), self.given if shape is None else shape)
        if shape is None:
            return self._given(name, value)
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"{name} is no array of one shape: {error}") from None
        if array.shape != shape:
            raise InputError(f"{name} is {list(array.shape)} and must be {list(shape)}")
        return array

    def running(self, counted: np.ndarray[Any, Any], mask: Integers | Cache | None) -> np.ndarray[Any, Any]:
        """The sum of ``counted`` [B, S] up to each token, int64; where ``mask`` is a cache, on from what it carries."""
        if isinstance(mask, Cache):
            return mask.running(counted)
        return np.cumsum(counted, axis=-1)

    def places(self, name: str, value: Integers, shape: tuple[int, int, int, int]) -> types.Tensor:
        """An index for each row as zeros with a one at its place: bfloat16 tiles of ``shape``, [B, 1, 1, S].

        A product with these picks, exactly, one of what stands along the last dim, and has a gradient.

        Args:
            name: what messages call the index.
            value: integers [batch] (or [batch, choices]), or a number: the same for all.
            shape: of the result; the last dim is what the indexes count.

        Raises:
            InputError: no integers, of another shape, or out of range; it names the first that is.
        """
        array = np.asarray(value) if isinstance(value, int) else self.integers(name, value, self.outer)
        below = shape[-1]
        wrong = (array < 0) | (array >= below)
        if wrong.any():
            raise InputError(f"{_first(name, array, wrong)} and must be in [0, {below})")
        rows = np.broadcast_to(array, self.outer).reshape(-1, 1)
        ones = (rows == np.arange(below)).astype(np.float32)
        return ttnn.Tensor(ones.reshape(shape), ttnn.bfloat16, self.device, ttnn.TILE_LAYOUT)

    def ids(self, name: str, value: Integers | None, *, below: int, default: Any = None) -> types.Tensor:
        """Integers as uint32 rows on the device, each in [0, below).

        Raises:
            InputError: missing without a default, no integers, or out of range; it names the first that is.
        """
        array = self._integers(name, value, below, default)
        return ttnn.Tensor(
            np.ascontiguousarray(array.reshape(self.shape), np.int32),
            ttnn.uint32,
            self.device,
            ttnn.ROW_MAJOR_LAYOUT,
        )

    def _integers(self, name: str, value: Integers | None, below: int, default: Any) -> np.ndarray[Any, Any]:
        if value is None:
            if default is None:
                raise InputError(f"{name} is missing")
            value = np.broadcast_to(np.asarray(default), self.given)
        array = self._given(name, value)
        if array.dtype.kind not in "iu":
            raise InputError(_no_integers(name, array))
        wrong = (array < 0) | (array >= below)
        if wrong.any():
            raise InputError(f"{_first(name, array, wrong)} and must be in [0, {below})")
        return array

    def rotary(self, name: str, value: Integers | None, table: Table, *, default: Any = None) -> Rotary:
        """The angles of tokens at positions that are integers in [0, 2**24), which float32 tells apart.

        Raises:
            InputError: as of ``ids``.
        """
        array = self._integers(name, value, POSITIONS, default)
        return table.at(array.reshape(self.shape), self.device)

    def mask(
        self, name: str, value: Integers | Cache | None, *, causal: bool = False, window: int | None = None
    ) -> Mask:
        """A mask [B, S] over keys, 1 where one may be seen, in the forms that are added to scores.

        Without a mask nothing is added, and causality is the op's own. With one, or with a ``window`` that hides keys,
        causality is folded in. The keys that only fill up tiles are never seen. A cache is a mask over what it holds.

        Raises:
            InputError: its values are not 0 and 1, or its shape is another; the window is not causal, or less than 1.
        """
        if value is None:
            return Mask(None, causal, self.device, self.shape[1], window)
        if isinstance(value, Cache):
            return self._over(name, value, causal, window)
        array = self._given(name, value)
        if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
            raise InputError(_odd_mask(name, array))
        return Mask(self._seen(name, array.astype(bool)), causal, self.device, self.shape[1], window)

    def _seen(self, name: str, seen: np.ndarray[Any, Any]) -> types.Tensor:
        batch, tokens = self.shape
        row = np.where(seen, np.float32(0), np.float32(HIDDEN)).reshape(batch, 1, 1, tokens)
        return self._added(name, None, row)

    def _added(self, name: str, window: int | None, row: np.ndarray[Any, Any]) -> types.Tensor:
        """What is added for each key on the device: once, however many masks of different windows are of one input."""
        if (name, window) not in self._keys:
            self._keys[name, window] = ttnn.Tensor(row, ttnn.bfloat16, self.device, ttnn.TILE_LAYOUT)
        return self._keys[name, window]

    def _over(self, name: str, cache: Cache, causal: bool, window: int | None) -> Mask:
        """The mask of a call that goes on with a cache, or fills it."""
        if not causal:
            raise InputError("only causal attention goes on with a cache")
        tokens = self.shape[1]
        if not cache.filled:
            return Mask(self._seen(name, cache.there[:, :tokens]), True, self.device, tokens, window, cache)
        keys = self._added(name, window, cache.hidden(window))
        return NewestMask(keys, True, self.device, tokens, window, cache)


def is_int(values: Labels) -> bool:
    """Whether ``values`` are integers, as Python, numpy or torch has them."""
    return np.asarray(values).dtype.kind in "iu"


def is_float(values: Labels) -> bool:
    """Whether ``values`` are real numbers."""
    return np.asarray(values).dtype.kind == "f"


def is_bool(values: Labels) -> bool:
    """Whether ``values`` are true or false."""
    return np.asarray(values).dtype.kind == "b"


def _no_integers(name: str, array: np.ndarray[Any, Any]) -> str:
    cast = ": convert them with .astype(int)" if array.dtype.kind in "fb" else ""
    return f"{name} must be integers, not {array.dtype}{cast}"


def _odd_mask(name: str, array: np.ndarray[Any, Any]) -> str:
    if array.dtype.kind not in "biuf":
        return f"{name} must hold 1 (seen) and 0 (hidden), not {array.dtype}"
    return f"{_first(name, array, ~np.isin(array, (0, 1)))}; a mask holds 1 (seen) and 0 (hidden) only"


def _first(name: str, array: np.ndarray[Any, Any], wrong: np.ndarray[Any, Any]) -> str:
    """The first element that is wrong, with its place."""
    place = tuple(int(at) for at in np.argwhere(wrong)[0])
    inside = f"[{', '.join(map(str, place))}]" if place else ""
    return f"{name}{inside} is {array[place]}"
