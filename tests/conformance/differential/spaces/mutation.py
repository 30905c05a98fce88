"""One thing wrong with a call that may have been right: how a space reaches what ttnn refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.conformance.differential.calls import Board, Call, Name, Tensor
from tests.conformance.differential.spaces.source import DTYPES, SIZES, Source

Change = Callable[[Source, Any], Any]

KEYWORDS = ("bogus", "dtype", "output_tensor", "memory_config", "axis")
"""Which an op may have or not."""
ODD = (None, "text", 1.5, True, -7, (1, 2), Name("bfloat16"), Name("TILE_LAYOUT"))
"""Arguments of another type."""


def mutated(source: Source, call: Call) -> Call:
    """``call`` with one argument changed, or one more, or one less."""
    kind = source.pick(("tensor", "tensor", "tensor", "number", "number", "odd", "keyword", "less", "more"))
    if kind == "tensor":
        return _at_one(source, call, _is_tensor, _worse)
    if kind == "number":
        return _at_one(source, call, _is_number, _other_number)
    if kind == "odd":
        return _at_one(source, call, lambda value: not isinstance(value, Board), _odd)
    if kind == "keyword":
        name = source.pick(KEYWORDS)
        kept = tuple(pair for pair in call.keywords if pair[0] != name)
        return replace(
            call, keywords=(*kept, (name, source.pick((1, None, Name("float32"), Tensor((2, 40))))))
        )
    if kind == "less" and call.args:
        at = source.integer(0, len(call.args) - 1)
        if _keeps_numbering(call.args[at]):
            return replace(call, args=(*call.args[:at], *call.args[at + 1 :]))
    return replace(call, args=(*call.args, source.pick((1, Tensor((2, 40)), None, Name("float32")))))


def _keeps_numbering(value: Any) -> bool:
    """Whether an argument may go without a reference to another tensor pointing elsewhere."""
    return isinstance(value, Tensor) or not isinstance(value, tuple)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, tuple) and any(map(_is_tensor, value)))


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_is_number, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _at_one(source: Source, call: Call, wanted: Callable[[Any], bool], change: Change) -> Call:
    """``change`` at one argument that is ``wanted``."""
    places: list[int | str] = [at for at, value in enumerate(call.args) if wanted(value)]
    places += [name for name, value in call.keywords if wanted(value)]
    if not places:
        return replace(call, keywords=(*call.keywords, ("bogus", 1)))
    place = source.pick(places)
    if isinstance(place, int):
        new = _inside(source, call.args[place], wanted, change)
        return replace(call, args=(*call.args[:place], new, *call.args[place + 1 :]))
    changed = tuple(
        (name, _inside(source, value, wanted, change) if name == place else value)
        for name, value in call.keywords
    )
    return replace(call, keywords=changed)


def _inside(source: Source, value: Any, wanted: Callable[[Any], bool], change: Change) -> Any:
    """The same in a list."""
    if not isinstance(value, tuple) or change is _odd:
        return change(source, value)
    places = [at for at, one in enumerate(value) if wanted(one)]
    if not places:
        return value
    at = source.pick(places)
    return (*value[:at], _inside(source, value[at], wanted, change), *value[at + 1 :])


def _odd(source: Source, value: Any) -> Any:
    del value
    return source.pick(ODD)


def _other_number(source: Source, value: Any) -> Any:
    if isinstance(value, float):
        return source.pick((value + 0.5, -value, 3, "1"))
    return source.pick((value + 1, value - 1, value + 7, -value - 1, value - 9, 2.5))


def _worse(source: Source, tensor: Tensor) -> Tensor:
    """Another dtype, layout, place, size or rank."""
    kind = source.pick(("dtype", "layout", "host", "size", "rank", "dtype", "size"))
    if kind == "dtype":
        dtype = source.pick(DTYPES)
        return replace(tensor, dtype=dtype, layout="TILE" if dtype.endswith("_b") else tensor.layout)
    if kind == "layout":
        blocks = tensor.dtype.endswith("_b")
        return replace(tensor, layout="ROW_MAJOR" if tensor.layout == "TILE" and not blocks else "TILE")
    if kind == "host":
        return replace(tensor, host=not tensor.host)
    shape = list(tensor.shape)
    if kind == "size" and shape:
        at = source.integer(0, len(shape) - 1)
        shape[at] = source.pick((shape[at] + 1, max(1, shape[at] - 1), *SIZES[:4]))
    elif shape and source.chance(50):
        shape.pop(source.integer(0, len(shape) - 1))
    else:
        shape.insert(0, source.pick((1, 2)))
    return replace(tensor, shape=tuple(shape))
