"""A call as data: what op, with which arguments. The same data is made into a call of the emulator and of ttnn.

``str(call)`` is one readable line; ``to_data`` and ``from_data`` are its form in JSON. Standard library only: it is
imported in the Python that has ttnn, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tensor:
    """A tensor of zeros, made before the call."""

    shape: tuple[int, ...]
    dtype: str = "bfloat16"
    layout: str = "TILE"
    memory: str = "DRAM"
    host: bool = False
    freed: bool = False
    """Deallocated before the call. Some of ttnn's ops end the process then."""

    def __str__(self) -> str:
        where = " host" if self.host else "" if self.memory == "DRAM" else f" {self.memory}"
        return (
            f"Tensor{list(self.shape)} {self.dtype} {self.layout}{where}{' deallocated' * self.freed}".strip()
        )


@dataclass(frozen=True)
class Same:
    """The very tensor that is number ``of`` among the call's."""

    of: int

    def __str__(self) -> str:
        return f"#{self.of}"


@dataclass(frozen=True)
class View:
    """Tensor number ``of`` in another shape of the same storage."""

    of: int
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"#{self.of}.reshape({list(self.shape)})"


@dataclass(frozen=True)
class Name:
    """An attribute of the module, as ``bfloat16`` or ``UnaryOpType.RELU``."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class Made:
    """What calling an attribute of the module returns, as a UnaryWithParam."""

    path: str
    args: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.path}({_listed(self.args, self.keywords)})"


@dataclass(frozen=True)
class Slice:
    """A slice of an index."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def __str__(self) -> str:
        return ":".join("" if bound is None else str(bound) for bound in (self.start, self.stop, self.step))


@dataclass(frozen=True)
class Board:
    """The device."""

    def __str__(self) -> str:
        return "device"


@dataclass(frozen=True)
class Config:
    """A compute kernel configuration, from ``init_device_compute_kernel_config(device.arch(), ...)``."""

    keywords: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"config({_listed((), self.keywords)})"


TENSORS = (Tensor, Same, View)
RECORDS = {kind.__name__: kind for kind in (Tensor, Same, View, Name, Made, Slice, Board, Config)}


@dataclass(frozen=True)
class Call:
    """``ttnn.op(*args, **keywords)``; "getitem" indexes its first argument by the others."""

    op: str
    args: tuple[Any, ...] = ()
    keywords: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"ttnn.{self.op}({_listed(self.args, self.keywords)})"

    def tensors(self) -> Iterator[Tensor | Same | View]:
        """The call's tensors in the order in which they are numbered."""
        for value in (*self.args, *(value for _, value in self.keywords)):
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, TENSORS):
                    yield one


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return repr(value) if value is None or isinstance(value, (str, bool, int, float)) else str(value)


def _listed(args: tuple[Any, ...], keywords: tuple[tuple[str, Any], ...]) -> str:
    return ", ".join([*map(_shown, args), *(f"{name}={_shown(value)}" for name, value in keywords)])


def to_data(value: Any) -> Any:
    """What JSON holds: a record as ``{"Tensor": [fields]}``, without the last fields that are as by default."""
    if isinstance(value, Call):
        return [value.op, to_data(value.args), {name: to_data(one) for name, one in value.keywords}]
    if isinstance(value, tuple):
        return [to_data(one) for one in value]
    if type(value).__name__ in RECORDS:
        fields = type(value).__dataclass_fields__
        found = [getattr(value, name) for name in fields]
        defaults = [field.default for field in fields.values()]
        while found and found[-1] == defaults[len(found) - 1]:
            found.pop()
        return {type(value).__name__: [to_data(one) for one in found]}
    return value


def from_data(data: Any) -> Any:
    """What ``to_data`` was given, but for a call: see ``call_from``."""
    if isinstance(data, list):
        return tuple(from_data(one) for one in data)
    if isinstance(data, dict):
        ((name, fields),) = data.items()
        return RECORDS[name](*(from_data(one) for one in fields))
    return data


def call_from(data: Any) -> Call:
    """The call that ``to_data`` was given."""
    op, args, keywords = data
    return Call(op, from_data(args), tuple((name, from_data(value)) for name, value in keywords.items()))
