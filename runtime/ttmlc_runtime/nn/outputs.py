"""What a model returns: device tensors that know the shape their reader wants."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ttmlc_runtime import emulator as types
from ttmlc_runtime.autograd import Combination, Handle, Variable, backward, number
from ttmlc_runtime.autograd.scalars import Term
from ttmlc_runtime.autograd.tape import UNRECORDED, Hook, raw
from ttmlc_runtime.errors import AutogradError
from ttmlc_runtime.weights.gradients import Removable
from ttmlc_runtime.weights.storage import to_host


@dataclass(frozen=True, eq=False)
class Activation(Handle):
    """A value on the device and its logical shape. A loss has the shape () and counts as a number.

    ``loss / 4``, ``2 * loss`` and ``loss + other`` are activations again, weighed by the host.
    """

    value: Variable | types.Tensor
    """What the tape sees: a variable where it was recorded."""
    shape: tuple[int, ...]

    @property
    def tensor(self) -> types.Tensor:
        """The device tensor."""
        found: types.Tensor = raw(self.value)
        return found

    def around(self, value: Variable | types.Tensor, shape: tuple[int, ...]) -> Activation:
        """Another value and its logical shape."""
        return Activation(value, shape)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values on the host: float32, or float64 on a float64 device."""
        return to_host(self.tensor).reshape(self.shape)

    def item(self) -> float:
        """The value of a single number.

        Raises:
            TypeError: it is more than one.
        """
        if math.prod(self.shape) != 1:
            raise TypeError(f"only a single number is a float, not {list(self.shape)}: use .numpy()")
        return number(self.value)

    def __float__(self) -> float:
        return self.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        values = self.numpy()
        return values if dtype is None else values.astype(dtype)

    # Gradients

    @property
    def requires_grad(self) -> bool:
        """Whether it was recorded, so that a gradient comes back to it."""
        return isinstance(self.value, Variable) and self.value.requires_grad

    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Accumulate the gradients of all parameters that it came from.

        Args:
            gradient: its own: a device tensor in the shape of ``tensor``; 1 where it is a single number.
            retain_graph: whether backward may come here again, at the price of keeping all that was saved.

        Raises:
            AutogradError: nothing was recorded, parameters changed since, or the gradient is missing or does not fit.
        """
        backward(self, gradient, retain_graph)

    def register_hook(self, hook: Hook) -> Removable:
        """Call ``hook`` with this value's gradient in each backward; what it returns, if not None, takes its place.

        The gradient is a device tensor in the shape of ``tensor``, and of a loss a float.

        Raises:
            AutogradError: it was not recorded.
        """
        if not isinstance(self.value, Variable):
            raise AutogradError(f"no gradient comes here: {UNRECORDED}")
        return self.value.register_hook(hook)

    # Losses weighed and added

    def _weighed(self, weight: float, other: object = 0.0, factor: float = 1.0) -> Activation:
        """weight * self + factor * other."""
        terms: list[Term] = [(weight, self.value)]
        if isinstance(other, Activation):
            terms.append((factor, other.value))
        elif not isinstance(other, Real):
            return NotImplemented
        if self.shape or (isinstance(other, Activation) and other.shape):
            raise TypeError(
                "only losses (single numbers) are weighed and added by the host: write a Function that calls ttnn"
            )
        return Activation(Combination(terms, factor * float(other) if isinstance(other, Real) else 0.0), ())

    def __add__(self, other: object) -> Activation:
        return self._weighed(1.0, other)

    def __sub__(self, other: object) -> Activation:
        return self._weighed(1.0, other, -1.0)

    def __rsub__(self, other: object) -> Activation:
        return self._weighed(-1.0, other)

    def __neg__(self) -> Activation:
        return self._weighed(-1.0)

    def __mul__(self, other: object) -> Activation:
        return self._weighed(float(other)) if isinstance(other, Real) else NotImplemented

    def __truediv__(self, other: object) -> Activation:
        return self._weighed(1.0 / float(other)) if isinstance(other, Real) else NotImplemented

    __radd__, __rmul__ = __add__, __mul__

    def __repr__(self) -> str:
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Activation(shape={list(self.shape)}, dtype={self.tensor.dtype!r}{grad})"


class Output:
    """The base of outputs: fields by name, by key or by position, as Hugging Face's.

    A field that is None (the loss of a call without labels) is an attribute, but no key and at no position.
    """

    def keys(self) -> tuple[str, ...]:
        """The names of the fields that are not None."""
        names = (field.name for field in dataclasses.fields(self))  # type: ignore[arg-type]  # subclasses are dataclasses
        return tuple(name for name in names if getattr(self, name) is not None)

    def to_tuple(self) -> tuple[Activation, ...]:
        """The fields in order, without those that are None."""
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
