"""Storages: chains, and the live tensors that came of them, with their gradients."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime.backend import choose
from ttmlc_runtime.errors import AutogradError, WeightsError
from ttmlc_runtime.weights.chain import Chain, joined
from ttmlc_runtime.weights.gradients import Watcher, added, arrive
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


def to_device(
    values: Array, dtype: types.DataType, device: types.Device | None, layout: types.Layout | None = None
) -> types.Tensor:
    """An array of floats on the device, in tiles where nothing is said."""
    # ttnn reads arrays that lie in rows, and takes no float16; nor float64, but where the emulator computes in it.
    wide = values.dtype == np.float64 and getattr(device, "numerics", "") == "float64"
    kind = np.float64 if wide else np.float32
    return ttnn.Tensor(
        np.ascontiguousarray(values, kind), dtype, device, ttnn.TILE_LAYOUT if layout is None else layout
    )


@dataclass(eq=False)
class Storage:
    """What the device holds of some parameters: a chain, a label, a layout, and the tensor once it is filled.

    Its gradient lies beside it, in the same shape and always in tiles. Two storages of the very same parameter, one
    in rows and one in tiles, are one to training: gradients and steps go to the ``primary``, which refreshes the other.
    """

    name: str
    chain: Chain
    layout: types.Layout | None = None
    dtype: types.DataType | None = None
    version: int = field(default=0, repr=False)
    """Goes up whenever the values change."""
    frozen: set[str] = field(default_factory=set, repr=False)
    """The parameters of it that take no gradient; training needs all of them or none."""
    watchers: weakref.WeakSet[Watcher] = field(default_factory=weakref.WeakSet, repr=False)
    """Parameters with hooks, which see what arrives in one backward pass before it is added."""
    _tensor: types.Tensor | None = field(default=None, repr=False)
    _staged: dict[str, Array] = field(default_factory=dict, repr=False)
    _grad: types.Tensor | None = field(default=None, repr=False)
    _owned: bool = field(default=False, repr=False)
    _primary: Storage | None = field(default=None, repr=False)
    _forms: list[weakref.ref[Storage]] = field(default_factory=list, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that it holds, wholly or in part."""
        return tuple(dict.fromkeys(parameter.name for parameter in self.chain.parameters()))

    @property
    def grad(self) -> types.Tensor | None:
        """The sum of the gradients since it was None, of the storage's shape in tiles; float32 where one of them was.

        Where it is set, it is not written to: the next gradient makes a new sum.
        """
        return self._grad

    @grad.setter
    def grad(self, value: types.Tensor | None) -> None:
        self._grad, self._owned = value, False

    @property
    def trainable(self) -> bool:
        """Whether it takes gradients; setting it is for all its parameters."""
        return not self.frozen or not self.frozen.issuperset(self.names)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.frozen = set() if value else set(self.names)

    @property
    def primary(self) -> Storage:
        """The storage that has the gradient and takes the steps: itself, or the same parameter's in tiles."""
        return self if self._primary is None else self._primary

    def follow(self, primary: Storage) -> None:
        """Be another form of ``primary``, which holds the very same parameter in the same order."""
        self._primary = primary
        primary._forms.append(weakref.ref(self))  # the primary alone keeps no other form alive

    def accumulate(self, gradient: types.Tensor) -> None:
        """Add to ``grad``, or where a hook watches, to what the hook will see at the end of the pass.

        Args:
            gradient: as many elements as the storage, in any shape (a matmul's [1, 1, in, out], a sum's
                [1, 1, 1, out]), any float dtype. It is kept, so the giver writes to it no more, and gives it to no
                other storage.

        Raises:
            AutogradError: it has another number of elements.
        """
        if not self.primary.trainable:
            return
        if self.primary is not self:
            self.primary.accumulate(gradient)
            return
        shape = self.chain.shape
        if math.prod(gradient.shape) != math.prod(shape):
            raise AutogradError(
                f"the gradient of {self.name} is {list(gradient.shape)}, and its storage {list(shape)}"
            )
        if tuple(gradient.shape) != shape:
            gradient = ttnn.reshape(gradient, shape)
        if gradient.layout != ttnn.TILE_LAYOUT:
            gradient = ttnn.to_layout(gradient, ttnn.TILE_LAYOUT)
        if self.watchers:
            arrive(self, gradient)
        else:
            self.add(gradient)

    def add(self, gradient: types.Tensor) -> None:
        """Add to ``grad`` what is in its shape and layout already, past all hooks.

        The first gradient is kept as it came and may be in another's hands; only a sum made here is written to.
        """
        if self._grad is None:
            self.grad = gradient
        elif self._owned and self._grad.dtype in (ttnn.float32, gradient.dtype):
            ttnn.add(self._grad, gradient, output_tensor=self._grad)
        else:
            self._grad, self._owned = added(self._grad, gradient), True

    def write(self, tensor: types.Tensor) -> None:
        """Take other values, in place, so that whoever holds the tensor sees them; other forms are refreshed.

        Args:
            tensor: on the device, of the storage's shape, in tiles, any float dtype: it is cast.

        Raises:
            WeightsError: its shape is another, or the storage has no tensor yet.
        """
        if self.primary is not self:
            self.primary.write(tensor)
            return
        if tuple(tensor.shape) != self.chain.shape:
            raise WeightsError(
                f"{self.name} takes values of {list(self.chain.shape)}, not {list(tensor.shape)}"
            )
        for storage in (self, *(form for ref in self._forms if (form := ref()) is not None)):
            storage._put(tensor)

    def _put(self, tensor: types.Tensor) -> None:
        held, other = self.tensor, tensor.dtype != self.tensor.dtype
        if held.layout != tensor.layout:  # a copy casts in tiles alone
            if other:
                tensor = ttnn.typecast(tensor, held.dtype)
            tensor, other = ttnn.to_layout(tensor, held.layout), True
        # Of one dtype and layout it may be the very tensor, which was written in place. Only then addresses are asked
        # for: while ttnn but records what would be done, all of them are 0.
        if other or tensor.buffer_address() != held.buffer_address():
            ttnn.copy(tensor, held)
        self.version += 1

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
        self.version += 1

    def fill(self, parameters: Mapping[str, Array], device: types.Device) -> None:
        """Make the tensor from all parameters of the chain."""
        values = self.chain.forward(parameters)
        self._tensor = to_device(values, self.dtype or ttnn.bfloat16, device, self.layout)
        self.version += 1

    def host(self) -> Array:
        """The device's array: float32, or float64 on such a device."""
        return to_host(self.tensor)

    def read(self) -> dict[str, Array]:
        """The parameters, by name, as the device holds them; zeros where a window leaves elements out."""
        return {name: np.ascontiguousarray(array) for name, array in self.chain.inverse(self.host()).items()}


def pair(storages: Iterable[Storage]) -> None:
    """Join storages that hold one and the same parameter in the same order: in rows to look up, else in tiles.

    The first in tiles is the primary.
    """
    alone = [storage for storage in storages if len(storage.names) == 1 and not storage.chain.partial]
    tiles = [storage for storage in alone if storage.layout in (None, ttnn.TILE_LAYOUT)]
    for storage in alone:
        same = (first for first in tiles if first.names == storage.names and first.chain == storage.chain)
        first = next(same, storage)
        if first is not storage:
            storage.follow(first)


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
