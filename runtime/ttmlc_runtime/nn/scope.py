"""Where a block's parameters are made: a path in the checkpoint, and the registry of the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttmlc_runtime import emulator as types
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.nn.kernels import Kernels
from ttmlc_runtime.weights.chain import Chain, Leaf
from ttmlc_runtime.weights.parameter import Initialiser, Parameter
from ttmlc_runtime.weights.storage import Storage


@dataclass
class Registry:
    """Every parameter and storage of a model, by checkpoint name and in order of making."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    storages: list[Storage] = field(default_factory=list)
    _made: dict[str, str] = field(default_factory=dict)

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


class Holder:
    """The storages of one layer by role: ``holder.weight`` is the live tensor."""

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages

    def __getattr__(self, name: str) -> types.Tensor:
        storages = self.__dict__.get("storages", {})
        if name not in storages:
            raise AttributeError(f"no storage is called {name!r} here: {', '.join(storages)}")
        tensor: types.Tensor = storages[name].tensor
        return tensor

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

    def store(
        self, *, layout: types.Layout | None = None, dtype: types.DataType | None = None, **chains: Chain
    ) -> Holder:
        """Keep chains on the device, by role: in tiles of bfloat16 where nothing else is said."""
        storages = {role: Storage(str(chain), chain, layout, dtype) for role, chain in chains.items()}
        self.registry.storages.extend(storages.values())
        return Holder(storages)
