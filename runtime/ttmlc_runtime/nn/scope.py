"""Where a block's parameters are made: a path in the checkpoint, and the registry of the model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from ttmlc_runtime import autograd
from ttmlc_runtime import emulator as types
from ttmlc_runtime.errors import AutogradError, WeightsError
from ttmlc_runtime.nn.kernels import Kernels
from ttmlc_runtime.weights.chain import Chain, Leaf
from ttmlc_runtime.weights.parameter import Initialiser, Parameter
from ttmlc_runtime.weights.storage import Storage, readers


@dataclass
class Registry:
    """What all blocks of a model share: its parameters and storages in order of making, its mode, its randomness."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    storages: list[Storage] = field(default_factory=list)
    training: bool = False
    seed: int = 0
    """Of the run: with ``step`` and a block's path, all that dropout depends on."""
    step: int = 0
    """How many calls of the model were recorded."""
    tied: dict[str, str] = field(default_factory=dict)
    """Names under which files may hold a parameter a second time, and the parameter's own."""
    _made: dict[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)
    _once: bool = False

    def next_step(self) -> int:
        """Count a recorded call; its number, from 0."""
        with self._lock:
            self.step += 1
            return self.step - 1

    def add(self, parameter: Parameter, made: str) -> None:
        """Take a new parameter; ``made`` says who makes it.

        Raises:
            WeightsError: a name of it belongs to another one already; both makers are named.
        """
        for name in (parameter.name, *parameter.also):
            if name in self._made:
                raise WeightsError(
                    f"two parameters would be read from {name!r}: {self._made[name]}, and {made}; "
                    "share one parameter where one is meant"
                )
        for name in (parameter.name, *parameter.also):
            self._made[name] = made
        self.parameters[parameter.name] = parameter

    def check_training(self) -> None:
        """Refuse to train storages of which a step would change too much or too little.

        Raises:
            AutogradError: of the parameters in one storage some are frozen and some are not, or a trained parameter is
                on the device in two forms that a step would change each by itself.
        """
        for storage in self.storages:
            if storage.frozen and storage.trainable:
                free = next(name for name in storage.names if name not in storage.frozen)
                raise AutogradError(
                    f"{free} takes gradients and {min(storage.frozen)} does not, but they are one storage on the "
                    f"device ({storage.name}): give all of {', '.join(storage.names)} the same requires_grad"
                )
        self._once = self._once or self._check_once()

    def _check_once(self) -> bool:
        for name, holders in readers(self.storages).items():
            trained = dict.fromkeys(storage.primary for storage in holders if storage.trainable)
            chains = [storage.chain for storage in trained]
            if len(chains) == 1 and sum(p.name == name for p in chains[0].parameters()) == 1:
                continue
            held = np.zeros(self.parameters[name].shape, np.int32)
            for chain in chains:
                held += chain.adjoint(np.ones(chain.shape, np.int32))[name]
            if held.max(initial=0) > 1:
                raise AutogradError(
                    f"{name} is on the device more than once ({', '.join(map(str, chains))}), and a step would change "
                    "each by itself: freeze it with requires_grad = False"
                )
        return True


class Holder:
    """The storages of one layer by role: ``holder.weight`` is the live tensor, ``holder["weight"]`` is recorded.

    Of a role that the config leaves out, such as a bias, the tensor is None, which is what ttnn takes for none.
    """

    def __init__(self, storages: dict[str, Storage], absent: Collection[str] = ()) -> None:
        self.storages = storages
        self.absent = frozenset(absent)

    def __getattr__(self, name: str) -> types.Tensor:
        storages = self.__dict__.get("storages", {})
        if name in self.__dict__.get("absent", ()):
            return None  # type: ignore[return-value]  # optional where it is read, and else a tensor to whoever reads
        if name not in storages:
            raise AttributeError(f"no storage is called {name!r} here: {', '.join(storages)}")
        tensor: types.Tensor = storages[name].tensor
        return tensor

    def __getitem__(self, role: str) -> autograd.Leaf:
        """A storage as an argument of a block or a Function, whose gradient is accumulated."""
        return autograd.Leaf(self.storages[role])

    @property
    def trainable(self) -> bool:
        """Whether any of its storages takes gradients; where none does, computing them can be left out."""
        return any(storage.primary.trainable for storage in self.storages.values())

    def accumulate(self, **gradients: types.Tensor | None) -> None:
        """Add gradients by role, in any shape of as many elements; None, and those of frozen storages, are skipped.

        Raises:
            AutogradError: a gradient does not have as many elements as its storage.
        """
        for role, gradient in gradients.items():
            if gradient is not None:
                self.storages[role].accumulate(gradient)

    def __repr__(self) -> str:
        inside = [
            f"{role}={storage.chain}: {list(storage.chain.shape)}" for role, storage in self.storages.items()
        ]
        return f"Holder({', '.join(inside)})"


@dataclass(frozen=True)
class Scope:
    """A path in the checkpoint under which a block makes its parameters."""

    registry: Registry
    kernels: Kernels
    path: str = ""

    def __truediv__(self, below: str) -> Scope:
        return Scope(self.registry, self.kernels, self._full(below))

    def _full(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def parameter(
        self,
        name: str,
        shape: tuple[int, ...],
        init: Initialiser,
        *,
        also: tuple[str, ...] = (),
        zero_row: int | None = None,
    ) -> Chain:
        """A parameter at ``name`` below this path; ``also`` are other names that are read.

        Raises:
            WeightsError: there is one at this path already.
        """
        others = tuple(self._full(other) for other in also)
        parameter = Parameter(self._full(name), tuple(shape), init, others, zero_row)
        self.registry.add(parameter, f"{name!r} {list(shape)} made under {self.path or 'the model'!r}")
        return Leaf(parameter)

    def shared(self, name: str) -> Chain:
        """The parameter called ``name``, from the root, that another block has made: one parameter, held once more.

        Raises:
            WeightsError: no block has made it yet.
        """
        made = self.registry.parameters.get(name)
        if made is None:
            raise WeightsError(
                f"{name} is shared with {self.path or 'the model'!r}, and made by no block before it"
            )
        return Leaf(made)

    def tied(self, chain: Chain, name: str) -> Chain:
        """``chain``, whose one parameter files may hold a second time, at ``name`` below this path."""
        (parameter,) = chain.parameters()
        self.registry.tied[self._full(name)] = parameter.name
        return chain

    def store(
        self,
        *,
        layout: types.Layout | None = None,
        dtype: types.DataType | None = None,
        **chains: Chain | None,
    ) -> Holder:
        """Keep chains on the device, by role: in tiles of bfloat16 where nothing else is said. None is kept as None.

        A whole parameter that another block keeps in the same form already is that one's storage.
        """
        storages = {
            role: self._storage(chain, layout, dtype) for role, chain in chains.items() if chain is not None
        }
        return Holder(storages, chains.keys() - storages.keys())

    def _storage(self, chain: Chain, layout: types.Layout | None, dtype: types.DataType | None) -> Storage:
        for other in self.registry.storages if isinstance(chain, Leaf) else ():
            if (other.chain, other.layout, other.dtype) == (chain, layout, dtype):
                return other
        made = Storage(str(chain), chain, layout, dtype)
        self.registry.storages.append(made)
        return made
