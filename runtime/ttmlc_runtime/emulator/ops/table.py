"""The table of modelled ops. A differential test walks it: an op's name, its parameters, what each tensor may be.

    @op("softmax", input_tensor=Operand(NORM_DTYPES))
    def softmax(input_tensor: Tensor, dim: int = -1, *, ...) -> Tensor: ...

Before the function is called, its arguments are bound and their types checked against its annotations (TypeError, as
ttnn's bindings do), and its tensors against their operands (RuntimeError).
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from ttmlc_runtime.emulator import settings
from ttmlc_runtime.emulator.device import MeshDevice
from ttmlc_runtime.emulator.dtypes import DataType, Layout, MemoryConfig
from ttmlc_runtime.emulator.refusal import check, fatal, unmodelled
from ttmlc_runtime.emulator.tensor import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])

TYPES: dict[str, tuple[type, ...]] = {
    "None": (type(None),),
    "Tensor": (Tensor,),
    "bool": (bool,),
    "int": (numbers.Integral,),
    "float": (numbers.Real,),
    "str": (str,),
    "MeshDevice": (MeshDevice,),
    "DataType": (DataType,),
    "Layout": (Layout,),
    "MemoryConfig": (MemoryConfig,),
    "CoreGrid": (settings.CoreGrid,),
    "DeviceComputeKernelConfig": (settings.DeviceComputeKernelConfig,),
    "GeluVariant": (settings.GeluVariant,),
    "UnaryOpType": (settings.UnaryOpType,),
    "UnaryWithParam": (settings.UnaryWithParam,),
}
"""What an annotation admits. ``Sequence[...]`` admits lists and tuples; any other admits everything."""


@dataclass(frozen=True)
class Operand:
    """What a tensor argument may be; ttnn's refusals that depend on one tensor alone."""

    dtypes: frozenset[DataType] | None = None
    layout: Layout | None = None
    rank: int | None = None
    host: bool = False
    """Whether it may be on the host as well."""

    def admit(self, op: str, name: str, tensor: Tensor) -> None:
        """Refuse a tensor that is no such operand."""
        # Every tensor of every call comes through here: a message is put together only where it is needed.
        device = tensor.device()
        if device is None:
            if not self.host:
                raise fatal(
                    f"{op}: {name} is on the host: Device Operations expect device tensors as inputs",
                    "Move it: ttnn.to_device(tensor, device)",
                )
        elif not device.is_open:
            raise fatal(f"{op}: {name} is on a device that was closed")
        tensor.array  # noqa: B018  # refuses where the buffer is gone
        if self.layout is not None and tensor.layout is not self.layout:
            kind = "tilized" if self.layout is Layout.TILE else "in rows"
            hint = f"Convert it: ttnn.to_layout({name}, ttnn.{self.layout.name}_LAYOUT)"
            raise fatal(f"{op}: {name} must be {kind}", hint)
        if self.dtypes is not None and tensor.dtype not in self.dtypes:
            allowed = ", ".join(sorted(dtype.name for dtype in self.dtypes))
            message = f"{op}: unsupported data type of {name}: {tensor.dtype!r}"
            raise fatal(message, f"It may be {allowed}: see ttnn.typecast")
        if self.rank is not None and len(tensor.shape) != self.rank:
            found = list(tensor.shape)
            raise fatal(f"{op}: {name} must have {self.rank} dims, not {found}", "See ttnn.reshape")


@dataclass(frozen=True)
class Op:
    """A modelled op."""

    name: str
    function: Callable[..., Any]
    operands: dict[str, Operand]
    ignored: tuple[str, ...] = field(default=())
    """Keywords that ttnn takes and the emulator does not: only None, or what is their default, may be given."""

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """Its parameters, by ttnn's names."""
        return inspect.signature(self.function)

    @functools.cached_property
    def kinds(self) -> dict[str, tuple[type, ...]]:
        """What each parameter's annotation admits; those that admit everything are missing."""
        found: dict[str, tuple[type, ...]] = {}
        for name, parameter in self.signature.parameters.items():
            kinds: list[type] = []
            for part in str(parameter.annotation).split(" | "):
                admitted = (list, tuple) if part.startswith("Sequence[") else TYPES.get(part)
                if admitted is None:
                    break
                kinds.extend(admitted)
            else:
                found[name] = tuple(kinds)
        return found

    @functools.cached_property
    def fitting(self) -> dict[str, set[type]]:
        """For each parameter the types of values that were found to fit it: most calls look like an earlier one."""
        return {name: set() for name in self.signature.parameters}

    @functools.cached_property
    def positional(self) -> tuple[str, ...]:
        """The parameters that may be given by position."""
        return tuple(
            name
            for name, parameter in self.signature.parameters.items()
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        )

    @functools.cached_property
    def required(self) -> tuple[str, ...]:
        """The parameters without a default."""
        return tuple(
            name
            for name, parameter in self.signature.parameters.items()
            if parameter.default is inspect.Parameter.empty
        )

    def mismatch(self, args: Sequence[object], given: dict[str, object], why: str) -> TypeError:
        """The TypeError of ttnn's bindings."""
        shown = [type(arg).__name__ for arg in args]
        shown += [f"{name}={type(value).__name__}" for name, value in given.items()]
        short = self.name.rpartition(".")[2]
        return TypeError(
            f"ttnn.{self.name}(): incompatible function arguments: {why}.\n\n"
            f"Called with:\n  {short}({', '.join(shown)})\n\nAvailable signature:\n  {short}{self.signature}"
        )

    def bind(self, args: Sequence[object], keywords: dict[str, object]) -> dict[str, object]:
        """The arguments by name, without defaults.

        Raises:
            TypeError: too many, unknown, twice given, missing, or of the wrong type.
        """
        if len(args) > len(self.positional):
            raise self.mismatch(args, keywords, f"at most {len(self.positional)} by position")
        given: dict[str, object] = dict(zip(self.positional, args, strict=False))
        for name, value in keywords.items():
            if name in given or name not in self.fitting:
                why = f"{name!r} is given twice" if name in given else f"no parameter is called {name!r}"
                raise self.mismatch(args, keywords, why)
            given[name] = value
        for name in self.required:
            if name not in given:
                raise self.mismatch(args, keywords, f"{name!r} is missing")
        for name, value in given.items():
            if type(value) in self.fitting[name]:
                continue
            kinds = self.kinds.get(name)
            # A bool is an int to Python, and no tensor, number or flag to ttnn's bindings but a flag.
            wrong = kinds is not None and not isinstance(value, kinds)
            if wrong or (
                isinstance(value, bool)
                and kinds is not None
                and bool not in kinds
                and numbers.Real not in kinds
            ):
                raise self.mismatch(args, keywords, f"{name!r} cannot be {type(value).__name__}")
            self.fitting[name].add(type(value))
        return given

    def call(self, args: Sequence[object], keywords: dict[str, object]) -> Any:
        """Bind, check and compute; for each chip of a mesh where its parts differ."""
        tensors: list[Tensor] = []
        for value in (*args, *keywords.values()):
            if isinstance(value, Tensor):
                tensors.append(value)
            elif isinstance(value, (list, tuple)):
                tensors += [one for one in value if isinstance(one, Tensor)]
        cut = [tensor for tensor in tensors if tensor.parts]
        if not cut:
            result = self._on_chip(args, dict(keywords))
            if isinstance(result, Tensor) and result.device() is None:
                result.held_by = max((one.chips for one in tensors), default=1)
            return result
        counts = {len(tensor.parts) for tensor in cut}
        check(
            len(counts) == 1,
            f"ttnn.{self.name}: tensors of meshes of {sorted(counts)} chips do not go together",
        )
        results = [
            self._on_chip(
                [_part(value, chip) for value in args], {n: _part(v, chip) for n, v in keywords.items()}
            )
            for chip in range(counts.pop())
        ]
        whole = [tensor for tensor in tensors if not tensor.parts]
        check(
            not (
                isinstance(results[0], Tensor)
                and any(results[0].buffer_address() == tensor.buffer_address() for tensor in whole)
            ),
            f"ttnn.{self.name}: writing parts that differ into a tensor that is the same on every chip is not "
            "modelled by the emulator",
        )
        return _joined(results)

    def _on_chip(self, args: Sequence[object], keywords: dict[str, object]) -> Any:
        """Bind, check and compute on one chip."""
        for name in self.ignored if keywords else ():
            value = keywords.pop(name, None)
            if value is not None and value is not False:
                raise unmodelled(f"ttnn.{self.name}: {name}=")
        given, full = self.bind(args, keywords), f"ttnn.{self.name}"
        for name, operand in self.operands.items():
            value = given.get(name)
            if isinstance(value, Tensor):
                operand.admit(full, name, value)
            elif isinstance(value, (list, tuple)):
                for tensor in value:
                    if isinstance(tensor, Tensor):
                        operand.admit(full, name, tensor)
        return self.function(*args, **keywords)


def unsigned(op_name: str, name: str, value: int) -> None:
    """Refuse what is no uint32, as ttnn's bindings do.

    Raises:
        TypeError: it is none.
    """
    if not 0 <= value < 1 << 32:
        raise TypeError(f"{op_name}(): incompatible function arguments: {name!r} cannot be {value}")


def written_as(op_name: str, operand: Operand, shape: Sequence[int], **outputs: Tensor | None) -> None:
    """Refuse a tensor to write into that is no ``operand`` or of another shape: ttnn would write beside it."""
    for name, output in outputs.items():
        if output is None:
            continue
        operand.admit(op_name, name, output)
        check(
            output.shape == shape,
            f"{op_name}: {name} must have the shape of what is written into it: {output.shape} and {list(shape)}",
        )


def _part(value: object, chip: int) -> object:
    """What a chip is given of an argument."""
    if isinstance(value, Tensor):
        return value.part(chip)
    return [_part(one, chip) for one in value] if isinstance(value, (list, tuple)) else value


def _joined(results: list[Any]) -> Any:
    """The results of all chips as one."""
    first = results[0]
    if isinstance(first, (list, tuple)):
        return type(first)(_joined([result[at] for result in results]) for at in range(len(first)))
    return Tensor.of_parts(results) if isinstance(first, Tensor) else first


OPS: dict[str, Op] = {}


def op(name: str, *, ignored: tuple[str, ...] = (), **operands: Operand) -> Callable[[Function], Function]:
    """Declare a function as the op that ttnn calls ``name``."""

    def declare(function: Function) -> Function:
        declared = OPS[name] = Op(name, function, operands, (*ignored, "sub_core_grids", "sub_device_id"))

        @functools.wraps(function)
        def call(*args: object, **keywords: object) -> Any:
            return declared.call(args, keywords)

        return cast("Function", call)

    return declare
