"""Arguments of elementwise ops: of one tensor, of two that broadcast, of three."""

from __future__ import annotations

from typing import Any

from tests.conformance.differential.calls import Call, Made, Name
from tests.conformance.differential.spaces.source import (
    COUNTED,
    FLOATS,
    Keywords,
    Same,
    Source,
    Space,
    Tensor,
    View,
    call,
    named,
)

FUNCTIONS = ("RELU", "SILU", "GELU", "TANH", "SQRT", "NEG", "EXP", "SQUARE")
WITH_PARAMETER = ("MUL_UNARY_SFPU", "ADD_UNARY_SFPU", "LEAKY_RELU", "POWER", "RSUB")


def function(s: Source) -> Any:
    """A function that may be fused."""
    if s.chance(40):
        return Made("UnaryWithParam", (Name(f"UnaryOpType.{s.pick(WITH_PARAMETER)}"), s.pick((0.5, 2.0))))
    kind = Name(f"UnaryOpType.{s.pick(FUNCTIONS)}")
    return Made("UnaryWithParam", (kind,)) if s.chance(50) else kind


def unary(name: str) -> Space:
    """An op of one tensor."""

    def space(s: Source) -> Call:
        x = s.tensor(s.shape(), s.dtype())
        keywords = s.output(s.memory({}), x.shape, x)
        if s.chance(8):
            keywords["fast_and_approximate_mode"] = s.pick((False, True))
        return call(name, x, **keywords)

    return space


def gelu(s: Source) -> Call:
    """Two ways of saying which."""
    x = s.tensor(s.shape(), s.dtype())
    keywords = s.output(s.memory({}), x.shape, x)
    if s.chance(40):
        keywords["variant"] = Name(f"GeluVariant.{s.pick(('Accurate', 'Tanh', 'FastLut'))}")
    if s.chance(25):
        keywords["fast_and_approximate_mode"] = s.pick((False, True))
    return call("gelu", x, **keywords)


def leaky_relu(s: Source) -> Call:
    """With a slope, by position or by name."""
    x = s.tensor(s.shape(), s.dtype())
    keywords = s.output(s.memory({}), x.shape, x)
    slope = s.pick((0.1, 1, 0.0, -0.5))
    if s.chance(30):
        return call("leaky_relu", x, negative_slope=slope, **keywords)
    return call("leaky_relu", x, slope, **keywords) if s.chance(85) else call("leaky_relu", x, **keywords)


def clamp(s: Source) -> Call:
    """Numbers, and one of them or none."""
    x = s.tensor(s.shape(), s.dtype())
    keywords = s.output(s.memory({}), x.shape, x)
    bounds = s.pick((("min", "max"), ("min",), ("max",), ()))
    values = {name: s.pick((0.0, 1.0, -2, 3, 0.5)) for name in bounds}
    if len(values) == 2 and s.chance(50):
        return call("clamp", x, *values.values(), **keywords)
    return call("clamp", x, **values, **keywords)


def unary_chain(s: Source) -> Call:
    """Up to three functions."""
    x = s.tensor(s.shape(), s.dtype())
    chain = [function(s) for _ in range(s.pick((1, 2, 3, 0)))]
    return call("unary_chain", x, chain, **s.output(s.memory({}), x.shape, x))


def other(s: Source, x: Tensor, fits: int = 80) -> tuple[int, ...]:
    """A shape that broadcasts with ``x``'s, mostly."""
    if not s.chance(fits):
        return s.shape()
    shape = [1 if s.chance(25) else size for size in x.shape]
    return tuple(shape[s.integer(0, len(shape)) if s.chance(25) else 0 :])


def joint(one: tuple[int, ...], two: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that two broadcast to, if they do."""
    rank = max(len(one), len(two))
    ones = [(1,) * (rank - len(shape)) + shape for shape in (one, two)]
    return tuple(b if a == 1 else a for a, b in zip(*ones, strict=True))


def partner(s: Source, x: Tensor) -> Tensor:
    """The second of two tensors."""
    dtype = x.dtype if s.chance(60) else s.pick(COUNTED)
    return s.tensor(other(s, x), dtype, x.layout if s.chance(70) else None)


def fused(s: Source) -> Keywords:
    """Functions before and after."""
    names = ("activations", "input_tensor_a_activations", "input_tensor_b_activations")
    return {s.pick(names): [function(s) for _ in range(s.pick((1, 2)))]} if s.chance(15) else {}


def binary(name: str, scalars: tuple[Any, ...] = (2.0, 3, 0.5, -1)) -> Space:
    """An op of two tensors, or of one and a number."""

    def space(s: Source) -> Call:
        a = s.tensor(s.shape(), s.dtype())
        b: Any = partner(s, a)
        if s.chance(20):
            b = s.pick(scalars)
        elif s.chance(15):
            b = Same(0)
        elif s.chance(5):
            b = View(0, (1, *a.shape))
        shape = joint(a.shape, b.shape) if isinstance(b, Tensor) else a.shape
        keywords = s.output(s.memory(fused(s)), shape, a)
        if s.chance(15):
            keywords["dtype"] = named(s.pick(COUNTED))
        if isinstance(b, (int, float)) and s.chance(30):
            return call(name, b, a, **keywords)
        return call(name, a, b, **keywords)

    return space


def in_place(name: str) -> Space:
    """An op that writes into its first tensor."""

    def space(s: Source) -> Call:
        a = s.tensor(s.shape(), s.dtype())
        b: Any = s.pick((2.0, 3)) if s.chance(15) else Same(0) if s.chance(10) else partner(s, a)
        if s.chance(10) and isinstance(b, Tensor):
            return call(name, b, a, **fused(s))
        return call(name, a, b, **fused(s))

    return space


def where(s: Source) -> Call:
    """A predicate, and two tensors or numbers."""
    layout = s.layout(10)
    p = s.tensor(s.shape(), s.dtype(), layout)
    dtype = p.dtype if s.chance(60) else s.pick(COUNTED)

    def choice() -> Any:
        if s.chance(30):
            return s.pick((1.0, 0.0, 2))
        return s.tensor(other(s, p, 85), dtype if s.chance(85) else s.pick(COUNTED), layout)

    one, two = choice(), choice()
    shape = p.shape
    for value in (one, two):
        shape = joint(shape, value.shape) if isinstance(value, Tensor) else shape
    like = next((value for value in (one, two) if isinstance(value, Tensor)), p)
    return call("where", p, one, two, **s.output(s.memory({}), shape, like))


def mac(s: Source) -> Call:
    """Three tensors, or numbers in place of the second and third."""
    layout = s.layout(10)
    a = s.tensor(s.shape(), s.float_dtype() if s.chance(80) else s.pick(COUNTED), layout)

    def factor() -> Any:
        if s.chance(30):
            return s.pick((0.125, 2, -1.0))
        return s.tensor(other(s, a, 85), a.dtype if s.chance(80) else s.pick(FLOATS), layout)

    b, c = factor(), factor()
    shape = a.shape
    for value in (b, c):
        shape = joint(shape, value.shape) if isinstance(value, Tensor) else shape
    return call("mac", a, b, c, **s.output(s.memory({}), shape, a, percent=10))
