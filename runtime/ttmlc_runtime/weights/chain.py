"""Chains: the invertible steps that join parameters to what the device holds.

A *parameter* is the logical tensor under its Hugging Face name. A *storage* is what the device holds. Between them
stands a chain of steps that only move, pad or leave out elements, so that loading and saving are the same chain in
two directions and lose no bit::

    concat(parameter("q.weight", (64, 96)).T, parameter("k.weight", (64, 96)).T)     # [96, 128] on the device

A chain is a small tree: its leaves are parameters, ``forward`` makes the device's array from theirs, ``inverse``
gives theirs back. The steps themselves are in ``steps``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.parameter import Array, Parameter, Shape

if TYPE_CHECKING:
    from ttmlc_runtime.weights.steps import CastDtype


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
        """The parameters' arrays, by name, from the device's; zeros where a window left elements out."""
        raise NotImplementedError

    def adjoint(self, array: Array) -> dict[str, Array]:
        """The parameters' gradients, by name, from the device's; an element that is there twice has the sum."""
        raise NotImplementedError

    @property
    def partial(self) -> bool:
        """Whether a window leaves elements out, so that this chain alone cannot give its parameters back."""
        raise NotImplementedError

    def covered(self) -> dict[str, Array]:
        """For each parameter, which of its elements this chain holds: bool arrays in its shape."""
        return self.inverse(np.ones(self.shape, bool))

    # The steps, as a spec's compiler writes them.

    @property
    def T(self) -> Chain:  # noqa: N802  # numpy's and torch's own name
        """The two dimensions exchanged."""
        if len(self.shape) != 2:
            raise WeightsError(f"only a matrix can be transposed, and this is {list(self.shape)}")
        return self.permuted(1, 0)

    def permuted(self, *order: int) -> Chain:
        """The dimensions in another order."""
        from ttmlc_runtime.weights.steps import Permute

        return Permute(self, order)

    def reshaped(self, *shape: int) -> Chain:
        """The same elements in another shape: written products split or merged."""
        from ttmlc_runtime.weights.steps import Reshape

        return Reshape(self, shape)

    def interleaved(self, dim: int, sizes: tuple[int, int, int]) -> Chain:
        """An axis inside a written product taken in turns.

        ``dim`` is a product of (outer, parts, inner) = ``sizes`` and becomes (outer, inner, parts). With
        (heads, 2, head_dim / 2) it is the way from half-by-half rotary rows to pairs; with the last two exchanged,
        the way back.
        """
        from ttmlc_runtime.weights.steps import Interleave

        return Interleave(self, dim, sizes)

    def padded(self, dim: int, sizes: tuple[int, int, int], to: int, value: float = 0.0) -> Chain:
        """An axis inside a written product widened with ``value``.

        ``dim`` is a product of (outer, axis, inner) = ``sizes``; the axis becomes ``to`` wide.
        """
        from ttmlc_runtime.weights.steps import Pad

        return Pad(self, dim, sizes, to, value)

    def window(self, dim: int, start: int, stop: int) -> Chain:
        """The elements [start, stop) along ``dim`` alone."""
        from ttmlc_runtime.weights.steps import Window

        return Window(self, dim, start, stop)

    def shards(self, dim: int, count: int) -> tuple[Chain, ...]:
        """``count`` equal parts along ``dim``, one for each device; :func:`gather` joins them again."""
        if count < 1 or self.shape[dim] % count:
            raise WeightsError(
                f"dimension {dim} of {list(self.shape)} does not divide among {count} devices: pad it first"
            )
        width = self.shape[dim] // count
        return tuple(self.window(dim, place * width, (place + 1) * width) for place in range(count))

    def cast(self, to: CastDtype) -> Chain:
        """Every value rounded to a dtype: the one step that may lose bits, and only of values that do not fit."""
        from ttmlc_runtime.weights.steps import Cast

        return Cast(self, to)


@dataclass(frozen=True)
class Leaf(Chain):
    """A parameter as it lies in the checkpoint."""

    parameter: Parameter

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The parameter's shape."""
        return self.parameter.shape

    @property
    def partial(self) -> bool:
        return False

    def parameters(self) -> Iterator[Parameter]:
        yield self.parameter

    def forward(self, parameters: Mapping[str, Array]) -> Array:
        return parameters[self.parameter.name]

    def inverse(self, array: Array) -> dict[str, Array]:
        return {self.parameter.name: array}

    def adjoint(self, array: Array) -> dict[str, Array]:
        return {self.parameter.name: array}

    def __str__(self) -> str:
        return self.parameter.name


@dataclass(frozen=True)
class Concat(Chain):
    """Chains side by side along ``axis``; the parts may differ in size there."""

    parts: tuple[Chain, ...]
    axis: int

    def __post_init__(self) -> None:
        rest = {part.shape[: self.axis] + part.shape[self.axis + 1 :] for part in self.parts}
        ranks = {len(part.shape) for part in self.parts}
        if len(rest) != 1 or len(ranks) != 1:
            raise WeightsError(
                f"chains of {[list(part.shape) for part in self.parts]} do not fit side by side along {self.axis}"
            )

    @property
    def shape(self) -> Shape:  # type: ignore[override]  # a property where the base declares a field
        """The joined shape."""
        first = self.parts[0].shape
        width = sum(part.shape[self.axis] for part in self.parts)
        return (*first[: self.axis], width, *first[self.axis + 1 :])

    @property
    def partial(self) -> bool:
        return any(part.partial for part in self.parts)

    def parameters(self) -> Iterator[Parameter]:
        for part in self.parts:
            yield from part.parameters()

    def forward(self, parameters: Mapping[str, Array]) -> Array:
        pieces = [part.forward(parameters) for part in self.parts]
        # In rows: by itself numpy would keep the columns of transposed parts, and a copy would follow.
        whole = np.empty(self.shape, np.result_type(*pieces))
        return np.concatenate(pieces, self.axis, out=whole)

    def inverse(self, array: Array) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for part, piece in self._pieces(array):
            for name, values in part.inverse(piece).items():
                found[name] = _overlaid(found[name], values) if name in found else values
        return found

    def adjoint(self, array: Array) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for part, piece in self._pieces(array):
            for name, values in part.adjoint(piece).items():
                found[name] = found[name] + values if name in found else values
        return found

    def _pieces(self, array: Array) -> Iterator[tuple[Chain, Array]]:
        ends = np.cumsum([part.shape[self.axis] for part in self.parts])[:-1]
        return zip(self.parts, np.split(array, ends, self.axis), strict=True)

    def __str__(self) -> str:
        return f"concat({', '.join(map(str, self.parts))})"


def _overlaid(one: Array, other: Array) -> Array:
    """Two windows of one array, each zero outside, as one; by bits, so that -0.0 and NaN stay what they are."""
    if one.dtype == bool:
        return one | other
    bits = np.dtype(f"u{one.dtype.itemsize}")
    joined = np.ascontiguousarray(one).view(bits) | np.ascontiguousarray(other).view(bits)
    return joined.view(one.dtype)


def concat(*parts: Chain, axis: int = -1) -> Chain:
    """Chains side by side along ``axis``, the last by default."""
    if not parts or not parts[0].shape:
        raise WeightsError("concat needs chains that have dimensions")
    return Concat(parts, axis % len(parts[0].shape))


def gather(chains: Sequence[Chain], arrays: Sequence[Array]) -> dict[str, Array]:
    """The parameters from what several devices, or several storages, hold of them.

    Raises:
        WeightsError: some elements of a parameter are in none of the arrays.
    """
    pieces: dict[str, list[tuple[Array, Array]]] = {}
    for chain, array in zip(chains, arrays, strict=True):
        masks = chain.covered()
        for name, values in chain.inverse(array).items():
            pieces.setdefault(name, []).append((values, masks[name]))
    return {name: joined(name, found) for name, found in pieces.items()}


def joined(name: str, pieces: Sequence[tuple[Array, Array]]) -> Array:
    """One parameter from windows of it: values, and which of them count. The first piece that has one wins.

    Raises:
        WeightsError: no piece has some element.
    """
    values, have = pieces[0][0].copy(), pieces[0][1].copy()
    for more, mask in pieces[1:]:
        fresh = mask & ~have
        values[fresh] = more[fresh]
        have |= fresh
    if not have.all():
        raise WeightsError(
            f"{name}: {have.size - int(have.sum())} of its {have.size} elements are in none of the parts"
        )
    return values
