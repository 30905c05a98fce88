"""Storages: chains, and the live tensors that came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights.chain import Array, Chain


@dataclass(eq=False)
class Storage:
    """What the device holds of some parameters: a chain, a label, a layout, and the tensor once it is filled."""

    name: str
    chain: Chain
    layout: types.Layout | None = None
    dtype: types.DataType | None = None
    _tensor: types.Tensor | None = field(default=None, repr=False)
    pending: set[str] = field(default_factory=set, repr=False)
    staged: dict[str, Array] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.pending = {parameter.name for parameter in self.chain.parameters()}

    @property
    def tensor(self) -> types.Tensor:
        """The live tensor.

        Raises:
            WeightsError: no values have been loaded into it.
        """
        if self._tensor is None:
            raise WeightsError(
                f"{self.name} has no values yet: {', '.join(sorted(self.pending)) or 'load a checkpoint'}"
            )
        return self._tensor

    @property
    def filled(self) -> bool:
        """Whether it has a tensor."""
        return self._tensor is not None

    def offer(self, name: str, array: Array, device: types.Device) -> None:
        """Take one parameter; when the last one of the chain is here, the tensor is made and the arrays let go."""
        self.staged[name] = array
        self.pending.discard(name)
        if not self.pending:
            self.fill(self.staged, device)
            self.staged = {}
            self.pending = {parameter.name for parameter in self.chain.parameters()}

    def fill(self, parameters: Mapping[str, Array], device: types.Device) -> None:
        """Make the tensor from all parameters of the chain."""
        values = self.chain.forward(parameters)
        layout = self.layout if self.layout is not None else ttnn.TILE_LAYOUT
        self._tensor = ttnn.Tensor(np.ascontiguousarray(values), self.dtype or ttnn.bfloat16, device, layout)

    def read(self) -> dict[str, Array]:
        """The parameters, by name, as the device holds them: float32, or float64 on such a device."""
        host = ttnn.to_dtype(self.tensor.cpu(), ttnn.float32).to_numpy()
        return {name: np.ascontiguousarray(array) for name, array in self.chain.inverse(host).items()}
