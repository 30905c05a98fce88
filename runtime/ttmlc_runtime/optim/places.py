"""Where an optimizer finds things: the storages of parameters, and what of a storage is no parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import ConfigError, WeightsError
from ttmlc_runtime.weights.chain import joined
from ttmlc_runtime.weights.parameter import Array
from ttmlc_runtime.weights.storage import Storage, to_host

ttnn = choose()


TILE = 32


class Handle(Protocol):
    """A parameter, as ``model.parameters()`` gives it."""

    name: str
    shape: tuple[int, ...]

    @property
    def storages(self) -> Sequence[Storage]:
        """All that hold it, wholly or in part."""


def handles(given: Handle | Iterable[Handle], who: str) -> list[Handle]:
    """The parameters that ``who`` was given, one or several.

    Raises:
        ConfigError: there is something else among them.
    """
    several: list[Any] = list(given) if isinstance(given, Iterable) else [given]
    for one in several:
        if not hasattr(one, "storages"):
            raise ConfigError(
                f"{who} takes parameters as model.parameters() gives them, and no {type(one).__name__}"
            )
    return several


def primaries(parameters: Iterable[Handle]) -> list[Storage]:
    """The storages that have the gradients of ``parameters``, each once, in order."""
    return list(dict.fromkeys(storage.primary for one in parameters for storage in one.storages))


def rounds(tensor: types.Tensor) -> bool:
    """Whether the device rounds what this tensor holds to less than float32."""
    exact = getattr(tensor.device(), "numerics", "device") != "device"  # a board has no such choice
    return not exact and tensor.dtype != ttnn.float32


def padded_with_zeros(tensor: types.Tensor) -> types.Tensor:
    """The tensor, in tiles, with zeros in what is left of them.

    A vector that fills the first row of its tiles stays as it is: of the other rows nothing is ever read, neither
    where a matmul adds a bias nor where a norm scales, so that they may hold anything.
    """
    sizes = tuple(tensor.shape)[-2:]
    if sizes and not any(size % TILE for size in sizes):
        return tensor
    filled: types.Tensor = ttnn.fill_implicit_tile_padding(tensor, 0.0)
    return filled


class Filling:
    """The elements of a storage that belong to no parameter: axes padded to whole tiles. Steps leave them alone."""

    def __init__(self, storage: Storage) -> None:
        chain = storage.chain
        self._on_device: tuple[types.Tensor, types.Tensor] | None = None
        self.whole = not chain.partial and math.prod(chain.shape) == sum(
            math.prod(parameter.shape) for parameter in chain.parameters()
        )
        """Whether there are none."""
        if self.whole:
            return
        shapes = {parameter.name: parameter.shape for parameter in chain.parameters()}
        empty, full = (
            chain.forward({name: np.full(shape, value, np.float32) for name, shape in shapes.items()})
            for value in (0, 1)
        )
        live = full != empty
        self.whole = bool(live.all())
        self._live, self._values = live.astype(np.float32), np.where(live, np.float32(0), empty)

    def _tensors(self, like: types.Tensor) -> tuple[types.Tensor, types.Tensor]:
        if self._on_device is None:
            live, values = (
                ttnn.Tensor(array, ttnn.float32, like.device(), ttnn.TILE_LAYOUT)
                for array in (self._live, self._values)
            )
            self._on_device = live, values
        return self._on_device

    def out_of(self, gradient: types.Tensor) -> types.Tensor:
        """The gradient, 0 in what is no parameter."""
        return gradient if self.whole else ttnn.multiply(gradient, self._tensors(gradient)[0])

    def back_into(self, values: types.Tensor) -> types.Tensor:
        """Values after a step, with what is no parameter as it always is."""
        if self.whole:
            return values
        live, filling = self._tensors(values)
        return ttnn.add(ttnn.multiply(values, live), filling, output_tensor=values)

    def zeroed(self, array: Array) -> Array:
        """The same as ``out_of``, on the host."""
        return array if self.whole else array * self._live.astype(array.dtype)


_fillings: WeakKeyDictionary[Storage, Filling] = WeakKeyDictionary()


def filling(storage: Storage) -> Filling:
    """That of a storage, found once."""
    if storage not in _fillings:
        _fillings[storage] = Filling(storage)
    return _fillings[storage]


def exported(
    storages: Iterable[Storage], tensor_of: Callable[[Storage], types.Tensor | None]
) -> dict[str, Array]:
    """What tensors in storages' shapes hold, by parameter and in the checkpoint's layout.

    Raises:
        WeightsError: a parameter is in several storages, and only some of them have a tensor.
    """
    found: dict[str, Array] = {}
    parts: dict[str, list[tuple[Array, Array]]] = {}
    for storage in storages:
        tensor = tensor_of(storage)
        if tensor is None:
            continue
        covered = storage.chain.covered() if storage.chain.partial else {}
        for name, values in storage.chain.inverse(to_host(tensor)).items():
            if storage.chain.partial:
                parts.setdefault(name, []).append((values, covered[name]))
            else:
                found[name] = np.ascontiguousarray(values)
    return {**{name: joined(name, pieces) for name, pieces in parts.items()}, **found}


def imported(storage: Storage, arrays: Mapping[str, Array], what: str) -> Array:
    """A storage's array from its parameters' arrays.

    Raises:
        WeightsError: one is missing or of another shape.
    """
    for parameter in storage.chain.parameters():
        if parameter.name not in arrays:
            raise WeightsError(
                f"the optimizer's state has no {what} of {parameter.name}, and of others in {storage.name}"
            )
        shape = arrays[parameter.name].shape
        if shape != parameter.shape:
            raise WeightsError(
                f"{what} of {parameter.name} is {list(shape)}, and the parameter {list(parameter.shape)}"
            )
    return storage.chain.forward({name: arrays[name] for name in storage.names})
