"""Parameters, and the invertible chains that join them to what the device holds.

A *parameter* is the logical tensor under its Hugging Face name. A *storage* is what the device holds. Between them
stands a chain of steps that only move or pad elements, so that loading and saving are the same chain in two
directions and lose no bit::

    concat(parameter("q.weight", (64, 96)).T, parameter("k.weight", (64, 96)).T)     # [96, 128] on the device

A chain is a small tree: its leaves are parameters, ``forward`` makes the device's array from theirs, ``inverse``
gives theirs back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime.errors import WeightsError

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Initialiser = Callable[[np.random.Generator, Shape], Array]


def normal(std: float) -> Initialiser:
    """Draws from a normal distribution around 0; ``std`` is its standard deviation."""

    def draw(generator: np.random.Generator, shape: Shape) -> Array:
        return generator.standard_normal(shape, np.float32) * np.float32(std)

    return draw


def zeros(generator: np.random.Generator, shape: Shape) -> Array:
    """All zeros."""
    return np.zeros(shape, np.float32)


def ones(generator: np.random.Generator, shape: Shape) -> Array:
    """All ones."""
    return np.ones(shape, np.float32)


@dataclass(frozen=True)
class Parameter:
    """A logical tensor: its name in the checkpoint, other names that are read, its shape and how it begins."""

    name: str
    shape: Shape
    init: Initialiser
    also: tuple[str, ...] = ()
    zero_row: int | None = None

    def initial(self, seed: int) -> Array:
        """Initial values, float32; they depend on the seed and the name alone, not on the order of parameters."""
        import hashlib

        digest = hashlib.sha256(f"{seed} {self.name}".encode()).digest()
        values = self.init(np.random.default_rng(int.from_bytes(digest[:8], "little")), self.shape)
        if self.zero_row is not None:
            values[self.zero_row] = 0
        return values


class Chain:
    """A step, with the chains it is applied to below it."""

    shape: Shape

    def parameters(self) -> Iterator[Parameter]:
        """The leaves, left to right."""
        raise NotImplementedError

    def forward(self, parameters: Mapping[str, Array]) -> Array:
        """The device's array from the parameters' arrays, by name."""
        raise NotImplementedError

    def inverse(self, array: Array) -> dict[str, Array]:
        """The parameters' arrays, by name, from the device's."""
        raise NotImplementedError

    @property
    def T(self) -> Chain:  # noqa: N802  # numpy's and torch's own name
        """The two dimensions exchanged."""
        return self.permuted(*reversed(range(len(self.shape))))

    def permuted(self, *order: int) -> Chain:
        """The dimensions in another order."""
        return Permute(self, order)

    def reshaped(self, *shape: int) -> Chain:
        """The same elements in another shape: written products split or merged."""
        return Reshape(self, shape)

    def padded(self, dim: int, sizes: tuple[int, int, int], to: int) -> Chain:
        """An axis inside a written product widened with zeros.

        ``dim`` is a product of (outer, axis, inner) = ``sizes``; the axis becomes ``to`` wide.
        """
        return Pad(self, dim, sizes, to)

    def shards(self, dim: int, count: int) -> tuple[Chain, ...]:
        """``count`` equal parts along ``dim``, one for each device."""
        return tuple(Window(self, dim, place, count) for place in range(count))


@dataclass(frozen=True)
class Leaf(Chain):
    """A parameter as it lies in the checkpoint."""

    parameter: Parameter

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The parameter's shape."""
        return self.parameter.shape

    def parameters(self) -> Iterator[Parameter]:
        yield self.parameter

    def forward(self, parameters: Mapping[str, Array]) -> Array:
        return parameters[self.parameter.name]

    def inverse(self, array: Array) -> dict[str, Array]:
        return {self.parameter.name: array}


@dataclass(frozen=True)
class Step(Chain):
    """A step on one chain."""

    of: Chain

    def parameters(self) -> Iterator[Parameter]:
        yield from self.of.parameters()

    def forward(self, parameters: Mapping[str, Array]) -> Array:
        return self.apply(self.of.forward(parameters))

    def inverse(self, array: Array) -> dict[str, Array]:
        return self.of.inverse(self.undo(array))

    def apply(self, array: Array) -> Array:
        """The step itself."""
        raise NotImplementedError

    def undo(self, array: Array) -> Array:
        """The step backwards."""
        raise NotImplementedError


@dataclass(frozen=True)
class Permute(Step):
    """Dimensions in another order."""

    order: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.order) != list(range(len(self.of.shape))):
            raise WeightsError(
                f"{self.order} is no order of the {len(self.of.shape)} dimensions of {self.of.shape}"
            )

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The permuted shape."""
        return tuple(self.of.shape[place] for place in self.order)

    def apply(self, array: Array) -> Array:
        return array.transpose(self.order)

    def undo(self, array: Array) -> Array:
        return array.transpose(np.argsort(self.order))


@dataclass(frozen=True)
class Reshape(Step):
    """The same elements in another shape."""

    to: Shape

    def __post_init__(self) -> None:
        if math.prod(self.to) != math.prod(self.of.shape):
            raise WeightsError(f"{self.of.shape} does not have the elements of {self.to}")

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The new shape."""
        return self.to

    def apply(self, array: Array) -> Array:
        return array.reshape(self.to)

    def undo(self, array: Array) -> Array:
        return array.reshape(self.of.shape)


@dataclass(frozen=True)
class Pad(Step):
    """An axis of a written product widened with zeros, which the inverse drops."""

    dim: int
    sizes: tuple[int, int, int]
    to: int

    def __post_init__(self) -> None:
        if math.prod(self.sizes) != self.of.shape[self.dim] or self.to < self.sizes[1]:
            raise WeightsError(
                f"dimension {self.dim} of {self.of.shape} cannot be padded as {self.sizes} to {self.to}"
            )

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The padded shape."""
        outer, _, inner = self.sizes
        return (*self.of.shape[: self.dim], outer * self.to * inner, *self.of.shape[self.dim + 1 :])

    def _kept(self, before: int) -> tuple[slice, ...]:
        return (slice(None),) * (before + 1) + (slice(0, self.sizes[1]),)

    def apply(self, array: Array) -> Array:
        before, after = array.shape[: self.dim], array.shape[self.dim + 1 :]
        split = array.reshape(*before, *self.sizes, *after)
        wide = np.zeros((*before, self.sizes[0], self.to, self.sizes[2], *after), array.dtype)
        wide[self._kept(len(before))] = split
        return wide.reshape(self.shape)

    def undo(self, array: Array) -> Array:
        before, after = array.shape[: self.dim], array.shape[self.dim + 1 :]
        split = array.reshape(*before, self.sizes[0], self.to, self.sizes[2], *after)
        kept = split[self._kept(len(before))]
        return kept.reshape(self.of.shape)


@dataclass(frozen=True)
class Window(Step):
    """One of ``count`` equal parts along ``dim``: what one device of several holds.

    A window alone cannot give its parameter back; :func:`gather` joins all of them.
    """

    dim: int
    place: int
    count: int

    def __post_init__(self) -> None:
        if self.of.shape[self.dim] % self.count:
            raise WeightsError(
                f"dimension {self.dim} of {self.of.shape} does not divide among {self.count} devices"
            )

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """One part's shape."""
        whole = self.of.shape
        return (*whole[: self.dim], whole[self.dim] // self.count, *whole[self.dim + 1 :])

    def apply(self, array: Array) -> Array:
        return np.split(array, self.count, self.dim)[self.place]

    def undo(self, array: Array) -> Array:
        raise WeightsError("one shard does not hold its whole parameter: gather all of them")


def gather(windows: tuple[Chain, ...], arrays: list[Array]) -> dict[str, Array]:
    """The parameters from every shard of one chain."""
    first = windows[0]
    assert isinstance(first, Window)
    return first.of.inverse(np.concatenate(arrays, first.dim))


@dataclass(frozen=True)
class Concat(Chain):
    """Chains side by side along ``axis``; the parts may differ in size there."""

    parts: tuple[Chain, ...]
    axis: int

    def __post_init__(self) -> None:
        rest = {part.shape[: self.axis] + part.shape[self.axis + 1 :] for part in self.parts}
        if len(rest) != 1:
            raise WeightsError(
                f"chains of {[part.shape for part in self.parts]} do not fit side by side along {self.axis}"
            )

    @property
    def shape(self) -> Shape:  # type: ignore[override]
        """The joined shape."""
        first = self.parts[0].shape
        return (
            *first[: self.axis],
            sum(part.shape[self.axis] for part in self.parts),
            *first[self.axis + 1 :],
        )

    def parameters(self) -> Iterator[Parameter]:
        for part in self.parts:
            yield from part.parameters()

    def forward(self, parameters: Mapping[str, Array]) -> Array:
        return np.concatenate([part.forward(parameters) for part in self.parts], self.axis)

    def inverse(self, array: Array) -> dict[str, Array]:
        ends = np.cumsum([part.shape[self.axis] for part in self.parts])[:-1]
        found: dict[str, Array] = {}
        for part, piece in zip(self.parts, np.split(array, ends, self.axis), strict=True):
            found.update(part.inverse(piece))
        return found


def concat(*parts: Chain, axis: int = -1) -> Chain:
    """Chains side by side along ``axis``, the last by default."""
    rank = len(parts[0].shape)
    return Concat(parts, axis % rank)
