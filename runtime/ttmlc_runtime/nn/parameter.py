"""Parameters as users hold them: live values and gradients, in the checkpoint's names and layouts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime import weights
from ttmlc_runtime.errors import AutogradError
from ttmlc_runtime.weights.chain import Chain
from ttmlc_runtime.weights.gradients import Arrived, Removable, Watcher
from ttmlc_runtime.weights.parameter import Array
from ttmlc_runtime.weights.storage import Storage, reader, to_device, to_host

ArrayHook = Callable[[Array], Any]


@dataclass(frozen=True, eq=False)
class Gradient:
    """A parameter's gradient as it lies on the device: in one storage, or a part in each of several."""

    name: str
    shape: tuple[int, ...]
    parts: tuple[tuple[Chain, types.Tensor], ...]

    def numpy(self) -> Array:
        """The gradient in the checkpoint's layout: float32, or float64 on a float64 device."""
        parts = (chain.adjoint(to_host(tensor))[self.name] for chain, tensor in self.parts)
        return np.ascontiguousarray(functools.reduce(np.add, parts))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        values = self.numpy()
        return values if dtype is None else values.astype(dtype)

    def __repr__(self) -> str:
        return f"Gradient({self.name}, shape={list(self.shape)})"


class Parameter(Watcher):
    """A parameter of a model: its name in the checkpoint, and what the device holds of it."""

    def __init__(self, declared: weights.Parameter, storages: Sequence[Storage]) -> None:
        self.name = declared.name
        self.shape = declared.shape
        self.storages = tuple(storages)
        """All that hold it, wholly or in part; to gradients and steps only the primary of each counts."""
        self._hooks: dict[int, ArrayHook] = {}

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    def numpy(self) -> Array:
        """The values in the checkpoint's layout: float32, or float64 on a float64 device.

        Raises:
            WeightsError: the device holds no values yet.
        """
        return reader(self.storages)(self.name)

    @property
    def _primaries(self) -> list[Storage]:
        return list(dict.fromkeys(storage.primary for storage in self.storages))

    @property
    def grad(self) -> Gradient | None:
        """What backward has accumulated; None where nothing has come since the last ``zero_grad``."""
        parts = tuple((s.chain, s.grad) for s in self._primaries if s.grad is not None)
        return Gradient(self.name, self.shape, parts) if parts else None

    @property
    def requires_grad(self) -> bool:
        """Whether backward accumulates a gradient. Parameters in one storage (a fused q, k and v) must agree."""
        return any(self.name not in storage.frozen for storage in self.storages)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        for storage in self.storages:
            (storage.frozen.discard if value else storage.frozen.add)(self.name)

    def register_hook(self, hook: ArrayHook) -> Removable:
        """Call ``hook`` with this parameter's gradient in each backward, before it is added to ``grad``.

        It is the whole gradient of that pass, an array in the checkpoint's layout that cannot be written to; an array
        that the hook returns takes its place. It costs a way to the host and, where something is returned, back.
        """
        for storage in self._primaries:
            storage.watchers.add(self)
        return Removable(self._hooks, hook)

    def watch(self, arrived: Arrived) -> None:
        """Show the hooks what arrived of this parameter, and put what they return in its place.

        Raises:
            AutogradError: a hook returned another shape.
        """
        parts = [storage for storage in self._primaries if storage in arrived]
        if not (parts and self._hooks):
            return
        before = Gradient(self.name, self.shape, tuple((s.chain, arrived[s]) for s in parts)).numpy()
        after = before
        for hook in [*self._hooks.values()]:
            after.flags.writeable = False
            other = hook(after)
            if other is not None:
                after = np.array(other, before.dtype)
                if after.shape != self.shape:
                    raise AutogradError(
                        f"a hook on {self.name} returned {list(after.shape)}, and the parameter is {list(self.shape)}"
                    )
        if after is not before:
            self._replace(arrived, parts, after)

    def _replace(self, arrived: Arrived, parts: Sequence[Storage], gradient: Array) -> None:
        """Put ``gradient`` where this parameter's was, each element in the first part that has it."""
        left = np.ones(self.shape, bool)
        for storage in parts:
            chain, old = storage.chain, arrived[storage]
            others = {p.name: np.zeros(p.shape, gradient.dtype) for p in chain.parameters()}
            own = chain.forward({**others, self.name: np.ones(self.shape, gradient.dtype)})
            mine = own != chain.forward(others)  # neither padding nor another parameter
            new = chain.forward({**others, self.name: np.where(left, gradient, 0)})
            arrived[storage] = to_device(
                np.where(mine, new, to_host(old)), old.dtype, storage.tensor.device()
            )
            left &= ~chain.covered()[self.name]

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", requires_grad=False"
        return f"Parameter({self.name}, shape={list(self.shape)}{frozen})"
