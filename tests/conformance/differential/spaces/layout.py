"""Arguments of ops that move elements: shapes, parts, creation, transfer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.conformance.differential.calls import Board, Call, Slice
from tests.conformance.differential.spaces.source import (
    DTYPES,
    FLOATS,
    LAYOUTS,
    SIZES,
    Keywords,
    Same,
    Source,
    Space,
    Tensor,
    View,
    call,
    named,
    placed,
)


def anything(s: Source, low: int = 0, high: int = 4) -> Tensor:
    """A tensor of any dtype and layout."""
    return s.tensor(s.shape(low, high), s.dtype())


def reshaped(s: Source, shape: tuple[int, ...]) -> list[int]:
    """Another shape of as many elements: dims merged, split, and ones put in."""
    new = list(shape)
    for _ in range(s.pick((1, 2, 3))):
        kind = s.pick(("merge", "one", "split", "drop"))
        at = s.integer(0, len(new) - 1) if new else 0
        if kind == "merge" and len(new) > 1:
            at = min(at, len(new) - 2)
            new[at : at + 2] = [new[at] * new[at + 1]]
        elif kind == "one":
            new.insert(at, 1)
        elif kind == "split" and new:
            part = s.pick([n for n in (2, 32, 3, 8) if new[at] % n == 0] or [1])
            new[at : at + 1] = [part, new[at] // part] if s.chance(50) else [new[at] // part, part]
        elif 1 in new:
            new.remove(1)
    if new and s.chance(25):
        new[s.integer(0, len(new) - 1)] = -1
    if new and s.chance(8):
        new[s.integer(0, len(new) - 1)] += 1
    return new


def reshape(name: str) -> Space:
    """Reshape or view."""

    def space(s: Source) -> Call:
        x = anything(s)
        keywords = s.memory({}, 10) if name == "reshape" else {}
        if name == "reshape" and s.chance(10):
            keywords["pad_value"] = s.pick((0.0, 1))
        return call(name, x, reshaped(s, x.shape), **keywords)

    return space


def unsqueeze(s: Source) -> Call:
    """A dim that may be put there or not."""
    x = anything(s)
    rank = len(x.shape)
    return call("unsqueeze", x, s.integer(-rank - 1, rank) if s.chance(65) else s.integer(-8, 8))


def squeeze(s: Source) -> Call:
    """One dim, several or all."""
    x = anything(s)
    x = replace(x, shape=tuple(1 if s.chance(40) else size for size in x.shape))
    rank = len(x.shape)
    if s.chance(15):
        return call("squeeze", x)
    one = s.dim(rank) if s.chance(70) else s.integer(-6, 6)
    return call("squeeze", x, one if s.chance(60) else [one, s.integer(-rank - 1, rank)][: s.pick((1, 2))])


def unsqueeze_to_4d(s: Source) -> Call:
    """Up to five dims, of which ttnn takes four."""
    return call("unsqueeze_to_4D", anything(s, 0, 6 if s.chance(40) else 4))


def permute(s: Source) -> Call:
    """An order of dims."""
    x = anything(s, 0, 5)
    rank = len(x.shape)
    order = list(range(rank))
    for at in range(rank):  # drawn so that it shrinks to the identity
        to = s.integer(0, rank - 1 - at) + at
        order[at], order[to] = order[to], order[at]
    order = [place - rank if s.chance(15) else place for place in order]
    if order and s.chance(12):
        order[0] = s.integer(-5, 5)
    keywords = s.memory({}, 15)
    if s.chance(10):
        keywords["pad_value"] = s.pick((0.0, 1.0, 2))
    return call("permute", x, order, **keywords)


def transpose(s: Source) -> Call:
    """Two dims."""
    x = anything(s, 0, 5)
    rank = len(x.shape)
    dims = [s.dim(rank) if s.chance(88) else s.integer(-7, 7) for _ in range(2)]
    return call("transpose", x, *dims, **s.memory({}, 15))


def repeat(s: Source) -> Call:
    """As many counts as dims, or more, or less."""
    x = anything(s)
    rank = len(x.shape)
    count = rank if s.chance(80) else s.integer(0, 5)
    return call(
        "repeat",
        x,
        [s.pick((1, 2, 3)) if s.chance(95) else s.pick((0, -1)) for _ in range(count)],
        **s.memory({}, 15),
    )


def repeat_interleave(s: Source) -> Call:
    """Along one dim."""
    x = anything(s)
    dim = s.dim(len(x.shape)) if s.chance(85) else s.integer(-6, 6)
    return call(
        "repeat_interleave",
        x,
        s.pick((2, 1, 3)) if s.chance(93) else s.pick((0, -1)),
        dim,
        **s.memory({}, 15),
    )


def expand(s: Source) -> Call:
    """Ones to other sizes, and new dims in front."""
    x = anything(s)
    x = replace(x, shape=tuple(1 if s.chance(45) else size for size in x.shape))
    new = [s.pick((2, 3, 32, 1)) if size == 1 and s.chance(70) else size for size in x.shape]
    new = [-1 if s.chance(20) else size for size in new]
    if s.chance(25):
        new.insert(0, s.pick((2, 1, -1)))
    if new and s.chance(15):
        new[s.integer(0, len(new) - 1)] = s.pick((5, 40))
    return call("expand", x, new, **s.memory({}, 15))


def slices(s: Source) -> Call:
    """Starts, ends, and steps or none."""
    x = anything(s)
    starts, ends, steps = [], [], []
    for size in x.shape:
        start = s.integer(0, size - 1) if s.chance(40) else 0
        end = s.integer(start + 1, size) if s.chance(40) else size
        step = s.pick((2, 3)) if s.chance(12) else 1
        starts.append(start - size if s.chance(8) else start)
        ends.append(end - size if s.chance(8) and end < size else end + 1 if s.chance(4) else end)
        steps.append(step)
    keywords = s.memory({}, 15)
    if s.chance(8):
        shape = [
            -(-max(0, end - start) // step) for start, end, step in zip(starts, ends, steps, strict=True)
        ]
        keywords["output_tensor"] = s.tensor([max(1, size) for size in shape], x.dtype, x.layout)
    if s.chance(6):
        keywords["pad_value"] = s.pick((0.0, 1.0))
    if any(step != 1 for step in steps) or s.chance(15):
        return call("slice", x, starts, ends, steps, **keywords)
    return call("slice", x, starts, ends, **keywords)


def getitem(s: Source) -> Call:
    """Integers, slices, an ellipsis."""
    x = anything(s, 1)
    x = replace(x, host=s.chance(10))

    def entry(size: int) -> Any:
        if s.chance(30):
            return s.integer(-size, size - 1) if s.chance(85) else s.integer(-size - 2, size + 2)
        start = s.integer(0, size - 1) if s.chance(40) else None
        stop = s.integer(-2, size + 1) if s.chance(30) else None
        return Slice(start, stop, s.pick((2, 3)) if s.chance(10) else None)

    count = s.integer(1, len(x.shape)) if s.chance(85) else len(x.shape) + 1
    return call("getitem", x, *(entry((*x.shape, 1)[at]) for at in range(count)))


def concat(s: Source) -> Call:
    """Up to three tensors."""
    x = anything(s)
    rank = len(x.shape)
    dim = s.dim(rank) if s.chance(85) else s.integer(-6, 6)
    tensors: list[Any] = [x]
    for _ in range(s.pick((1, 2, 0))):
        shape = list(x.shape)
        if rank and -rank <= dim < rank and s.chance(40):
            shape[dim] = s.pick(SIZES)
        if not s.chance(88):
            shape = list(s.shape())
        layout = x.layout if s.chance(85) else None
        tensors.append(
            Same(0) if s.chance(10) else s.tensor(shape, x.dtype if s.chance(85) else s.dtype(), layout)
        )
    keywords = s.memory({}, 15)
    if s.chance(6):
        shape = [size * len(tensors) if at == dim % max(rank, 1) else size for at, size in enumerate(x.shape)]
        keywords["output_tensor"] = s.tensor(shape, x.dtype, x.layout)
    return (
        call("concat", tensors, dim, **keywords)
        if s.chance(80)
        else call("concat", tensors, dim=dim, **keywords)
    )


def split(s: Source) -> Call:
    """By a size or by sizes."""
    x = anything(s)
    rank = len(x.shape)
    dim = s.dim(rank) if s.chance(88) else s.integer(-6, 6)
    size: Any = s.pick((32, 1, 2, 33, 64))
    if s.chance(40) and rank and -rank <= dim < rank:
        whole = x.shape[dim]
        first = s.integer(0, whole)
        size = [first, whole - first] if s.chance(85) else [first, whole]
    if rank and -rank <= dim < rank and isinstance(size, int):
        size = max(size, x.shape[dim] // 8)  # not too many pieces
    return call("split", x, size, dim, **s.memory({}, 15))


def chunk(s: Source) -> Call:
    """By a count."""
    x = anything(s)
    dim = s.dim(len(x.shape)) if s.chance(80) else s.integer(-6, 6)
    return call("chunk", x, s.pick((2, 3, 1, 4)) if s.chance(85) else s.pick((0, -1, 9)), dim)


def pad(s: Source) -> Call:
    """Amounts for the last dims, in front and behind."""
    x = s.tensor(s.shape(), s.dtype(), s.layout(50))
    count = s.integer(0, len(x.shape)) if s.chance(88) else len(x.shape) + 1
    front = x.layout == "ROW_MAJOR" or s.chance(20)
    amounts = [
        (s.pick((1, 8, 32)) if front and s.chance(25) else 0, s.pick((1, 8, 24, 32)) if s.chance(50) else 0)
        for _ in range(count)
    ]
    if amounts and s.chance(5):
        amounts[-1] = (0, -1)
    return call("pad", x, amounts, s.pick((0.0, 1.0, 2)), **s.memory({}, 15))


def fill_padding(s: Source) -> Call:
    """A value for the padding of tiles."""
    x = s.tensor(s.shape(), s.dtype(), s.layout(20))
    return call("fill_implicit_tile_padding", x, s.pick((0.0, 1.0, -1e9, 3)), **s.memory({}, 15))


def described(s: Source) -> list[Any]:
    """dtype, layout, device, memory by position, as far as they go."""
    dtype = s.pick(DTYPES) if s.chance(50) else s.float_dtype()
    layout = "TILE" if dtype.endswith("_b") and s.chance(80) else s.pick(LAYOUTS)
    values = [named(dtype), placed(layout), Board(), s.memory({}, 100)["memory_config"]]
    return values[: s.integer(0, 4)]


def asked(s: Source, device: int = 80) -> Keywords:
    """The same by name, some of them."""
    values = dict(
        zip(("dtype", "layout", "device", "memory_config"), [*described(s), *[None] * 4], strict=False)
    )
    chosen = {name: value for name, value in values.items() if value is not None and s.chance(70)}
    if s.chance(device):
        chosen["device"] = Board()
    return chosen


def sizes(s: Source) -> Any:
    """A shape, which may be none."""
    return s.shape() if s.chance(92) else s.pick(((2, -1), (2.5, 3), 7, ("a",), (0, 32)))


def creation(name: str, value: bool = False) -> Space:
    """Tensors out of a shape, and a value perhaps."""

    def space(s: Source) -> Call:
        args = [sizes(s), *([s.pick((0, 1.5, 3, -1, 0.1))] if value else [])]
        if s.chance(35):
            return call(name, *args, *described(s))
        return call(name, *args, **asked(s))

    return space


def creation_like(name: str, value: bool = False) -> Space:
    """Tensors like another one."""

    def space(s: Source) -> Call:
        x = replace(anything(s), host=s.chance(15))
        args = [x, *([s.pick((0, 1.5, 3, -1, 0.1))] if value else [])]
        if s.chance(35):
            return call(name, *args, *described(s))
        return call(name, *args, **asked(s, 20))

    return space


def arange(s: Source) -> Call:
    """Bounds of all signs, steps either way."""
    bounds = [s.integer(-10, 70) for _ in range(s.pick((2, 1, 3)))]
    if len(bounds) == 3:
        bounds[2] = s.pick((1, 2, -1, 5, -3)) if s.chance(95) else 0
    if s.chance(5):
        bounds[0] = s.pick((0.5, 2.0))
    return call("arange", *bounds, **asked(s))


def to_device(s: Source) -> Call:
    """From the host, or from the device again."""
    x = replace(anything(s), host=s.chance(75))
    keywords = s.memory({}, 40)
    return (
        call("to_device", x, Board(), *keywords.values())
        if s.chance(40)
        else call("to_device", x, Board(), **keywords)
    )


def from_device(s: Source) -> Call:
    """From the device, or from the host again."""
    x = replace(anything(s), host=s.chance(15))
    return call("from_device", x, *([s.pick((True, False))] if s.chance(30) else []))


def to_dtype(s: Source) -> Call:
    """On the host, where ttnn wants it."""
    x = replace(anything(s), host=s.chance(88))
    return call("to_dtype", x, named(s.pick(DTYPES)))


def typecast(s: Source) -> Call:
    """To one dtype, or from one to another."""
    x = anything(s)
    to = s.pick(DTYPES)
    keywords = s.memory({}, 15)
    if s.chance(10):
        keywords["output_tensor"] = s.tensor(x.shape, to if s.chance(80) else s.pick(FLOATS), x.layout)
    if s.chance(20):
        return call("typecast", x, named(x.dtype if s.chance(80) else s.pick(DTYPES)), named(to), **keywords)
    return call("typecast", x, named(to), **keywords)


def to_layout(s: Source) -> Call:
    """Both ways, with a dtype perhaps."""
    x = replace(s.tensor(s.shape(), s.dtype(), s.layout(50)), host=s.chance(20))
    args = [placed(s.pick(LAYOUTS))]
    keywords = s.memory({}, 15)
    if s.chance(40):
        return call("to_layout", x, *args, named(s.pick(DTYPES)), **keywords)
    return call("to_layout", x, *args, **keywords)


def to_memory_config(s: Source) -> Call:
    """DRAM or L1."""
    x = anything(s)
    args = [s.memory({}, 100)["memory_config"]]
    if s.chance(15):
        args.append(named(s.pick(DTYPES)))
    return call("to_memory_config", x, *args, **s.output({}, x.shape, x, percent=10))


def clone(s: Source) -> Call:
    """A copy, cast perhaps."""
    x = anything(s)
    keywords = s.memory({}, 20)
    if s.chance(50):
        keywords["dtype"] = named(s.pick(DTYPES))
    return call("clone", x, **keywords)


def copy(s: Source) -> Call:
    """Into another tensor, or itself."""
    x = anything(s)
    if s.chance(10):
        return call("copy", x, Same(0) if s.chance(50) else View(0, (1, *x.shape)))
    shape = x.shape if s.chance(80) else s.shape()
    return call(
        "copy", x, s.tensor(shape, x.dtype if s.chance(60) else s.dtype(), x.layout if s.chance(85) else None)
    )


def copy_host_to_device(s: Source) -> Call:
    """Into a tensor of the same shape, dtype and layout, mostly."""
    x = replace(anything(s), host=s.chance(90))
    shape = x.shape if s.chance(80) else s.shape()
    to = s.tensor(shape, x.dtype if s.chance(80) else s.dtype(), x.layout if s.chance(80) else None)
    return call("copy_host_to_device_tensor", x, to)
