"""The calls that a program makes on the emulator, as data, to be made again on both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from ttmlc_runtime import emulator
from ttmlc_runtime.emulator.ops.table import Op

from tests.conformance.differential import calls as c


def calls_of(program: Callable[[], Any]) -> list[c.Call]:
    """Every different call of an op that ``program`` makes, in order."""
    found: dict[str, c.Call] = {}
    depth = 0
    call = Op.call

    def spy(op: Op, args: Sequence[object], keywords: dict[str, object]) -> Any:
        nonlocal depth
        if depth == 0:  # not what one op calls of another
            seen: list[emulator.Tensor] = []
            made = c.Call(
                op.name,
                tuple(_data(value, seen) for value in args),
                tuple((name, _data(value, seen)) for name, value in keywords.items()),
            )
            found.setdefault(str(made), made)
        depth += 1
        try:
            return call(op, args, keywords)
        finally:
            depth -= 1

    with mock.patch.object(Op, "call", spy):
        program()
    return list(found.values())


def _data(value: Any, seen: list[emulator.Tensor]) -> Any:
    """An argument as data; ``seen`` are the call's tensors so far, in the order in which they are numbered."""
    if isinstance(value, emulator.Tensor):
        same = [place for place, one in enumerate(seen) if one is value]
        seen.append(value)
        if same:
            return c.Same(same[0])
        memory = value.memory_config().buffer_type.name
        return c.Tensor(
            tuple(value.shape), value.dtype.value, value.layout.name, memory, value.device() is None
        )
    if isinstance(value, (list, tuple)):
        return tuple(_data(one, seen) for one in value)
    if isinstance(value, emulator.DeviceComputeKernelConfig):
        names = ("math_approx_mode", "fp32_dest_acc_en", "packer_l1_acc")
        fidelity = c.Name(f"MathFidelity.{value.math_fidelity.name}")
        return c.Config((("math_fidelity", fidelity), *((name, getattr(value, name)) for name in names)))
    if isinstance(value, emulator.CoreGrid):
        return c.Made("CoreGrid", (), (("x", value.x), ("y", value.y)))
    if isinstance(value, emulator.MemoryConfig):
        return c.Name(f"{value.buffer_type.name}_MEMORY_CONFIG")
    if isinstance(value, emulator.Layout):
        return c.Name(f"{value.name}_LAYOUT")
    if isinstance(value, emulator.DataType):
        return c.Name(value.value)
    if isinstance(value, (emulator.UnaryOpType, emulator.GeluVariant)):
        return c.Name(f"{type(value).__name__}.{value.name}")
    if isinstance(value, emulator.UnaryWithParam):
        return c.Made("UnaryWithParam", (_data(value.op_type, seen), *value.params))
    if isinstance(value, emulator.Device):
        return c.Board()
    assert value is None or isinstance(value, (bool, int, float, str)), f"{value!r} cannot be written down"
    return value
