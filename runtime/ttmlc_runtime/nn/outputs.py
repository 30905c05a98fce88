"""What a model returns: device tensors that know the shape their reader wants."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime.weights.storage import to_host


@dataclass(frozen=True)
class Activation:
    """A device tensor and its logical shape."""

    tensor: types.Tensor
    shape: tuple[int, ...]

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values on the host: float32, or float64 on a float64 device."""
        return to_host(self.tensor).reshape(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        values = self.numpy()
        return values if dtype is None else values.astype(dtype)

    def __repr__(self) -> str:
        return f"Activation(shape={list(self.shape)}, dtype={self.tensor.dtype!r})"


class Output:
    """The base of outputs: fields by name, by key or by position, as Hugging Face's."""

    def keys(self) -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]  # subclasses are dataclasses

    def to_tuple(self) -> tuple[Activation, ...]:
        """The fields in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: int | str) -> Activation:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            value: Activation = getattr(self, key)
            return value
        return self.to_tuple()[key]

    def __iter__(self) -> Any:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())
