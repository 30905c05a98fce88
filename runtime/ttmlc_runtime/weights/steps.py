"""The steps of a chain: each a shape rule, and the two directions of one movement of elements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.chain import Chain
from ttmlc_runtime.weights.parameter import Array, Parameter, Shape

CastDtype = Literal["bfloat16", "float16", "float32", "float64"]


@dataclass(frozen=True)
class Step(Chain):
    """A step on one chain."""

    of: Chain

    @property
    def partial(self) -> bool:
        return self.of.partial

    def parameters(self) -> Iterator[Parameter]:
        yield from self.of.parameters()

    def forward(self, parameters: Mapping[str, Array]) -> Array:
        return self.apply(self.of.forward(parameters))

    def inverse(self, array: Array) -> dict[str, Array]:
        return self.of.inverse(self.undo(array))

    def adjoint(self, array: Array) -> dict[str, Array]:
        return self.of.adjoint(self.undo(array))  # steps only move elements; a cast lets gradients through

    def apply(self, array: Array) -> Array:
        """The step itself."""
        raise NotImplementedError

    def undo(self, array: Array) -> Array:
        """The step backwards."""
        raise NotImplementedError

    def _split(self, dim: int, *inside: int) -> Shape:
        """The shape below with ``dim`` written as a product."""
        return (*self.of.shape[:dim], *inside, *self.of.shape[dim + 1 :])

    def _product(self, dim: int, sizes: tuple[int, int, int], what: str) -> None:
        """Refuse a dimension that is not the product ``sizes``."""
        rank = len(self.of.shape)
        if not 0 <= dim < rank or math.prod(sizes) != self.of.shape[dim]:
            raise WeightsError(f"dimension {dim} of {list(self.of.shape)} cannot be {what} as {sizes}")


@dataclass(frozen=True)
class Permute(Step):
    """Dimensions in another order."""

    order: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(len(self.of.shape))):
            raise WeightsError(
                f"{self.order} is no order of the {len(self.of.shape)} dimensions of {list(self.of.shape)}"
            )

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The permuted shape."""
        return tuple(self.of.shape[place] for place in self.order)

    def apply(self, array: Array) -> Array:
        return array.transpose(self.order)

    def undo(self, array: Array) -> Array:
        return array.transpose(np.argsort(self.order))

    def __str__(self) -> str:
        return f"{self.of}.T" if self.order == (1, 0) else f"{self.of}.permuted{self.order}"


@dataclass(frozen=True)
class Reshape(Step):
    """The same elements in another shape."""

    to: Shape

    def __post_init__(self) -> None:
        if any(size < 0 for size in self.to) or math.prod(self.to) != math.prod(self.of.shape):
            raise WeightsError(f"{list(self.of.shape)} does not have the elements of {list(self.to)}")

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The new shape."""
        return self.to

    def apply(self, array: Array) -> Array:
        return array.reshape(self.to)

    def undo(self, array: Array) -> Array:
        return array.reshape(self.of.shape)

    def __str__(self) -> str:
        return f"{self.of}.reshaped{self.to}"


@dataclass(frozen=True)
class Interleave(Step):
    """A written product (outer, parts, inner) of one dimension becomes (outer, inner, parts)."""

    dim: int
    sizes: tuple[int, int, int]

    def __post_init__(self) -> None:
        self._product(self.dim, self.sizes, "interleaved")

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The shape is that below."""
        return self.of.shape

    def apply(self, array: Array) -> Array:
        return self._exchanged(array, *self.sizes)

    def undo(self, array: Array) -> Array:
        outer, parts, inner = self.sizes
        return self._exchanged(array, outer, inner, parts)

    def _exchanged(self, array: Array, *sizes: int) -> Array:
        split = array.reshape(self._split(self.dim, *sizes))
        return split.swapaxes(self.dim + 1, self.dim + 2).reshape(self.shape)

    def __str__(self) -> str:
        return f"{self.of}.interleaved({self.dim}, {self.sizes})"


@dataclass(frozen=True)
class Pad(Step):
    """An axis of a written product widened with one value, which the inverse drops."""

    dim: int
    sizes: tuple[int, int, int]
    to: int
    value: float = 0.0

    def __post_init__(self) -> None:
        self._product(self.dim, self.sizes, "padded")
        if self.to < self.sizes[1]:
            raise WeightsError(f"an axis of {self.sizes[1]} cannot be padded to {self.to}")

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The padded shape."""
        outer, _, inner = self.sizes
        return self._split(self.dim, outer * self.to * inner)

    def apply(self, array: Array) -> Array:
        outer, axis, inner = self.sizes
        wide = np.full(self._split(self.dim, outer, self.to, inner), self.value, array.dtype)
        wide[self._kept()] = array.reshape(self._split(self.dim, outer, axis, inner))
        return wide.reshape(self.shape)

    def undo(self, array: Array) -> Array:
        outer, _, inner = self.sizes
        split = array.reshape(self._split(self.dim, outer, self.to, inner))
        return split[self._kept()].reshape(self.of.shape)

    def _kept(self) -> tuple[slice, ...]:
        return (slice(None),) * (self.dim + 1) + (slice(0, self.sizes[1]),)

    def __str__(self) -> str:
        return f"{self.of}.padded({self.dim}, {self.sizes}, to={self.to})"


@dataclass(frozen=True)
class Window(Step):
    """The elements [start, stop) along one dimension: what one device of several, or one storage of several, holds.

    A window alone cannot give its parameter back: its inverse is zero elsewhere, and ``gather`` joins several.
    """

    dim: int
    start: int
    stop: int

    def __post_init__(self) -> None:
        rank = len(self.of.shape)
        if not 0 <= self.dim < rank or not 0 <= self.start <= self.stop <= self.of.shape[self.dim]:
            raise WeightsError(
                f"[{self.start}, {self.stop}) is no window of dimension {self.dim} of {list(self.of.shape)}"
            )

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The window's shape."""
        return self._split(self.dim, self.stop - self.start)

    @property
    def partial(self) -> bool:
        return True

    def apply(self, array: Array) -> Array:
        return array[self._place()]

    def undo(self, array: Array) -> Array:
        whole = np.zeros(self.of.shape, array.dtype)
        whole[self._place()] = array
        return whole

    def _place(self) -> tuple[slice, ...]:
        return (*(slice(None),) * self.dim, slice(self.start, self.stop))

    def __str__(self) -> str:
        return f"{self.of}[{self.start}:{self.stop} of dim {self.dim}]"


@dataclass(frozen=True)
class Cast(Step):
    """Every value rounded to nearest even in ``to``; bfloat16 values stay in float32 arrays, which hold them exactly.

    Values that ``to`` can hold come through unchanged, and the inverse changes nothing: what a device held is what
    is saved.
    """

    to: CastDtype

    def __post_init__(self) -> None:
        if self.to not in ("bfloat16", "float16", "float32", "float64"):
            raise WeightsError(f"a parameter cannot be cast to {self.to!r}")

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The shape is that below."""
        return self.of.shape

    def apply(self, array: Array) -> Array:
        return to_bfloat16(array) if self.to == "bfloat16" else array.astype(self.to, copy=False)

    def undo(self, array: Array) -> Array:
        return array

    def __str__(self) -> str:
        return f"{self.of}.cast({self.to!r})"


def bfloat16_bits(array: Array) -> Array:
    """The bits of each value rounded to bfloat16, to nearest even; uint16. A NaN stays one.

    From float64 the rounding goes through float32, as torch's does.
    """
    with np.errstate(over="ignore"):
        wide = np.ascontiguousarray(array, np.float32)
    bits = wide.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    odd += np.uint32(0x7FFF)
    odd += bits
    odd >>= np.uint32(16)
    nan = np.isnan(wide)
    if nan.any():  # the addition may have carried a NaN's fraction away, or into its exponent
        top = bits[nan] >> np.uint32(16)
        odd[nan] = np.where(top & np.uint32(0x7F), top, top | np.uint32(0x40))
    return odd.astype(np.uint16).reshape(np.shape(array))


def to_bfloat16(array: Array) -> Array:
    """Each value rounded to bfloat16, in a float32 array."""
    return from_bfloat16_bits(bfloat16_bits(array))


def from_bfloat16_bits(bits: Array) -> Array:
    """float32 values from the bits of bfloat16 ones; nothing is lost."""
    wide = bits.astype(np.uint32)
    wide <<= np.uint32(16)
    return wide.view(np.float32)
