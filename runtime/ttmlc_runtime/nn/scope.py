"""Where a block's parameters are made: a path in the checkpoint, and the registry of the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttmlc_runtime import emulator as types
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.nn.kernels import Kernels
from ttmlc_runtime.weights.chain import Chain, Initialiser, Leaf, Parameter
from ttmlc_runtime.weights.storage import Storage


@dataclass
class Registry:
    """Every parameter and storage of a model, by checkpoint name and in order of making."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    storages: list[Storage] = field(default_factory=list)

    def readers(self) -> dict[str, list[Storage]]:
        """The storages that hold each parameter; the first is the one that saving reads."""
        found: dict[str, list[Storage]] = {name: [] for name in self.parameters}
        for storage in self.storages:
            for parameter in storage.chain.parameters():
                found[parameter.name].append(storage)
        return found


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
        inside = ", ".join(f"{name}: {list(storage.chain.shape)}" for name, storage in self.storages.items())
        return f"Holder({inside})"


@dataclass(frozen=True)
class Scope:
    """A path in the checkpoint under which a block makes its parameters."""

    registry: Registry
    kernels: Kernels
    path: str = ""

    def __truediv__(self, below: str) -> Scope:
        return Scope(self.registry, self.kernels, f"{self.path}.{below}" if self.path else below)

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
        full = (self / name).path
        if full in self.registry.parameters:
            raise WeightsError(f"two parameters are made at {full!r}")
        parameter = Parameter(
            full, tuple(shape), init, tuple((self / other).path for other in also), zero_row
        )
        self.registry.parameters[full] = parameter
        return Leaf(parameter)

    def store(self, *, layout: types.Layout | None = None, **chains: Chain) -> Holder:
        """Keep chains on the device, by role."""
        storages = {
            role: Storage(f"{self.path or 'model'}.{role}", chain, layout) for role, chain in chains.items()
        }
        self.registry.storages.extend(storages.values())
        return Holder(storages)
