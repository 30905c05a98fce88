"""Python's operators on tensors: each is an op of ttnn's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ttmlc_runtime.emulator.tensor import Tensor


class Operators:
    """What a tensor inherits; the ops are imported when one is first used, because they are built on tensors."""

    def __add__(self, other: Operators | float) -> Tensor:
        return _binary("add", self, other)

    def __radd__(self, other: float) -> Tensor:
        return _binary("add", self, other)

    def __sub__(self, other: Operators | float) -> Tensor:
        return _binary("subtract", self, other)

    def __rsub__(self, other: float) -> Tensor:
        return _binary("rsub", self, other)

    def __mul__(self, other: Operators | float) -> Tensor:
        return _binary("multiply", self, other)

    def __rmul__(self, other: float) -> Tensor:
        return _binary("multiply", self, other)

    def __truediv__(self, other: Operators | float) -> Tensor:
        return _binary("divide", self, other)

    def __rtruediv__(self, other: float) -> Tensor:
        return _binary("divide", other, self)

    # Comparisons are elementwise, as ttnn's; a tensor is still hashed by identity.
    def __eq__(self, other: object) -> Any:
        return _binary("eq", self, other) if _comparable(other) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return _binary("ne", self, other) if _comparable(other) else NotImplemented

    def __lt__(self, other: Operators | float) -> Tensor:
        return _binary("lt", self, other)

    def __le__(self, other: Operators | float) -> Tensor:
        return _binary("le", self, other)

    def __gt__(self, other: Operators | float) -> Tensor:
        return _binary("gt", self, other)

    def __ge__(self, other: Operators | float) -> Tensor:
        return _binary("ge", self, other)

    __hash__ = object.__hash__

    def __matmul__(self, other: Tensor) -> Tensor:
        from ttmlc_runtime.emulator.ops.matmul import matmul

        return matmul(cast("Tensor", self), other)


def _comparable(other: object) -> bool:
    return isinstance(other, (Operators, int, float)) and not isinstance(other, bool)


def _binary(name: str, a: object, b: object) -> Tensor:
    from ttmlc_runtime.emulator.ops import binary

    computed: Tensor = getattr(binary, name)(a, b)
    return computed
