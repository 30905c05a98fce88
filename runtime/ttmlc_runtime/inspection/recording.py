"""What one side of a comparison did: its parts in order, what they were given and gave, and the calls in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Kind = Literal["blocks", "modules"]


@dataclass(frozen=True)
class Key:
    """A call of a part: the part's path and class, and which of its calls it is."""

    name: str
    kind: str
    turn: int = 0

    def __str__(self) -> str:
        again = f", call {self.turn + 1}" if self.turn else ""
        return f"{self.name} ({self.kind}{again})" if self.name else f"{self.kind}{again}"


@dataclass(frozen=True, eq=False)
class Part:
    """A call of a block or a module: which parameters it has, the first activation it took, and what it gave.

    ``takes`` is None where it took no activation. Arrays that are one value are one object.
    """

    key: Key
    parameters: frozenset[str]
    takes: Array | None
    gives: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """A call of an op in a block: its name and line, the parameters that it read, what it gave.

    ``fused`` says that it computes more than its name: an activation with it. ``takes`` are the activations among its
    arguments that were seen before, by position, and ``order`` says when it was; a file does not keep these.
    """

    key: Key
    index: int
    name: str
    line: int
    reads: tuple[str, ...]
    fused: bool
    gives: tuple[Array, ...]
    takes: tuple[Array, ...] = ()
    order: int = 0


@dataclass(eq=False)
class Recording:
    """A run of a model.

    Attributes:
        kind: "blocks" of an emitted model, whose steps are there, or "modules" of another library's.
        model: the class.
        config: as config.json has it.
        dtype: what it computed in.
        given: what the model was called with.
        parts: in the order in which they ended.
        steps: in order.
        outputs: by name.
        aliases: other names of parameters, and the one that ``parts`` say.
    """

    kind: Kind
    model: str
    config: Mapping[str, Any]
    dtype: str
    given: Mapping[str, Array]
    parts: list[Part] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, Array] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


def fitted(array: Array, shape: tuple[int, ...]) -> Array | None:
    """``array`` in ``shape``, where it can be: dims of one come and go, and rows that are all the same may be one."""
    if array.size == int(np.prod(shape)):
        plain = [size for size in array.shape if size != 1], [size for size in shape if size != 1]
        outer = _merged(plain[0], plain[1]) or _merged(plain[1], plain[0])
        return array.reshape(shape) if outer else None
    if array.ndim and array.shape[0] == 1 and len(shape) and shape[0] > 1:
        rest = fitted(array[0], shape[1:])
        return None if rest is None else np.broadcast_to(rest, shape)
    return None


def _merged(few: list[int], many: list[int]) -> bool:
    """Whether ``few`` dims are ``many`` with neighbours put together."""
    at = 0
    for size in few:
        product = 1
        while product < size and at < len(many):
            product *= many[at]
            at += 1
        if product != size:
            return False
    return at == len(many)
