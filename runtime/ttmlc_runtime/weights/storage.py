"""Storages: chains, and the live tensors that came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.chain import Chain, joined
from ttmlc_runtime.weights.parameter import Array

# What `from ttmlc_runtime import ttnn` gives, without importing the package that offers the rooms above this one too.
ttnn = choose()


def to_host(tensor: types.Tensor) -> Array:
    """A device tensor's values: float32, or float64 from such a device. Of a mesh, those of its first chip."""
    host = ttnn.to_dtype(tensor.cpu(), ttnn.float32)
    device = tensor.device()
    if device is not None and device.get_num_devices() > 1:
        host = ttnn.get_device_tensors(host)[0]
    return host.to_numpy()


@dataclass(eq=False)
class Storage:
    """What the device holds of some parameters: a chain, a label, a layout, and the tensor once it is filled."""

    name: str
    chain: Chain
    layout: types.Layout | None = None
    dtype: types.DataType | None = None
    _tensor: types.Tensor | None = field(default=None, repr=False)
    _staged: dict[str, Array] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that it holds, wholly or in part."""
        return tuple(dict.fromkeys(parameter.name for parameter in self.chain.parameters()))

    @property
    def tensor(self) -> types.Tensor:
        """The live tensor.

        Raises:
            WeightsError: no values have been loaded into it.
        """
        if self._tensor is None:
            waits = [name for name in self.names if name not in self._staged]
            raise WeightsError(f"{self.name} has no values yet: it waits for {', '.join(waits)}")
        return self._tensor

    @property
    def filled(self) -> bool:
        """Whether it has a tensor."""
        return self._tensor is not None

    def offer(self, name: str, array: Array, device: types.Device) -> None:
        """Take one parameter; when the last one of the chain is here, the tensor is made and the arrays let go."""
        self._staged[name] = array
        if all(wanted in self._staged for wanted in self.names):
            staged, self._staged = self._staged, {}
            self.fill(staged, device)

    def forget(self) -> None:
        """Let go of parameters that wait for others."""
        self._staged = {}

    def reserve(self, device: types.Device) -> None:
        """Take the memory of the tensor and leave its values as they happen to be."""
        layout = self.layout if self.layout is not None else ttnn.TILE_LAYOUT
        self._tensor = ttnn.empty(
            list(self.chain.shape), dtype=self.dtype or ttnn.bfloat16, layout=layout, device=device
        )

    def fill(self, parameters: Mapping[str, Array], device: types.Device) -> None:
        """Make the tensor from all parameters of the chain."""
        values = self.chain.forward(parameters)
        layout = self.layout if self.layout is not None else ttnn.TILE_LAYOUT
        # ttnn reads arrays that lie in rows, and takes no float16.
        dtype = np.float64 if values.dtype == np.float64 else np.float32
        self._tensor = ttnn.Tensor(
            np.ascontiguousarray(values, dtype), self.dtype or ttnn.bfloat16, device, layout
        )

    def host(self) -> Array:
        """The device's array: float32, or float64 on such a device."""
        return to_host(self.tensor)

    def read(self) -> dict[str, Array]:
        """The parameters, by name, as the device holds them; zeros where a window leaves elements out."""
        return {name: np.ascontiguousarray(array) for name, array in self.chain.inverse(self.host()).items()}


def readers(storages: Iterable[Storage]) -> dict[str, list[Storage]]:
    """The storages that hold each parameter, in order of making."""
    found: dict[str, list[Storage]] = {}
    for storage in storages:
        for name in storage.names:
            found.setdefault(name, []).append(storage)
    return found


def primary(holders: list[Storage]) -> list[Storage]:
    """The storages that saving reads a parameter from: the first that holds it whole, else all its windows."""
    return next(([storage] for storage in holders if not storage.chain.partial), holders)


def reader(storages: Iterable[Storage]) -> Callable[[str], Array]:
    """A function that reads parameters one by one, bringing each storage to the host once.

    What a storage holds besides the wanted parameter is kept until it is asked for, so that reading in order of
    making keeps little more than one storage on the host.

    Raises:
        WeightsError: storages hold only a part of a parameter; from the function.
    """
    sources = {name: primary(holders) for name, holders in readers(storages).items()}
    waiting: dict[int, set[str]] = {}
    for name, holders in sources.items():
        for storage in holders:
            waiting.setdefault(id(storage), set()).add(name)
    kept: dict[int, dict[str, Array]] = {}

    def values(storage: Storage, name: str) -> Array:
        held = kept.get(id(storage))
        if held is None or name not in held:
            held = kept[id(storage)] = {
                n: array for n, array in storage.read().items() if n in waiting[id(storage)]
            }
        found = held.pop(name)
        if not held:
            del kept[id(storage)]
        return found

    def read(name: str) -> Array:
        holders = sources[name]
        if not holders[0].chain.partial:
            return values(holders[0], name)
        return joined(name, [(values(storage, name), storage.chain.covered()[name]) for storage in holders])

    return read


def in_order(storages: Iterable[Storage]) -> Iterator[str]:
    """Every parameter once, storage by storage: loading in this order keeps the least waiting on the host."""
    seen: set[str] = set()
    for storage in storages:
        for name in storage.names:
            if name not in seen:
                seen.add(name)
                yield name
