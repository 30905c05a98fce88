"""Arguments of the ops that training needs: gradients, dropout, steps of optimizers."""

from __future__ import annotations

from typing import Any

from tests.conformance.differential.calls import Call, Name
from tests.conformance.differential.spaces.eltwise import joint, other
from tests.conformance.differential.spaces.rows import config
from tests.conformance.differential.spaces.source import (
    COUNTED,
    DTYPES,
    FLOATS,
    SIZES,
    Keywords,
    Same,
    Source,
    Space,
    Tensor,
    call,
    named,
)


def narrow(s: Source, percent: int = 88) -> str:
    """bfloat16, which is all that most of these take."""
    return "bfloat16" if s.chance(percent) else s.pick(DTYPES)


def dropout(s: Source) -> Call:
    """By position or by name; the probability may be anything."""
    x = s.tensor(s.shape(), narrow(s, 80), s.layout(10))
    keywords = s.output(s.memory({}), x.shape, x)
    if s.chance(10):
        keywords["use_per_device_seed"] = s.pick((True, False))
    probability, scale = s.pick((0.1, 0.5, 0, 1, 1.5, -0.5)), s.pick((1.25, 2, 1.0))
    seed = s.pick((7, 0, 2**32 - 1)) if s.chance(85) else s.pick((-1, 2**32, 1.5))
    if s.chance(50):
        return call("experimental.dropout", x, probability, scale, seed, **keywords)
    return call("experimental.dropout", x, probability=probability, scale=scale, seed=seed, **keywords)


def slope(name: str) -> Space:
    """gelu_bw and its kin: a gradient and what went in."""

    def space(s: Source) -> Call:
        dtype = s.pick(FLOATS) if s.chance(88) else s.pick(DTYPES)
        x = s.tensor(s.shape(), dtype)
        grad: Any = s.tensor(
            x.shape if s.chance(88) else other(s, x), dtype if s.chance(60) else s.pick(FLOATS),
            x.layout if s.chance(90) else None,
        )  # fmt: skip
        keywords = s.memory({})
        if name != "sigmoid_bw" or s.chance(5):
            s.output(keywords, x.shape, x, "input_grad", 25)
            if s.chance(8):
                keywords["input_grad"] = Same(s.pick((0, 1)))
        if name == "gelu_bw" and s.chance(50):
            keywords["variant"] = Name(f"GeluVariant.{s.pick(('Accurate', 'Tanh', 'Tanh', 'FastLut'))}")
        return call(name, grad, x, **keywords)

    return space


def softmax_backward(s: Source) -> Call:
    """Of any dim, counted from the front."""
    shape = s.shape()
    y = s.tensor(shape, narrow(s), s.layout(6))
    dtype = y.dtype if s.chance(85) else s.pick(("bfloat16", "bfloat8_b", *DTYPES))
    dy = s.tensor(shape if s.chance(95) else s.shape(), dtype, s.layout(6))
    rank = len(shape)
    dim = s.integer(0, max(0, rank - 1)) if s.chance(80) else s.integer(-2, 5)
    keywords = config(s, s.memory({}))
    if s.chance(25):
        keywords["input_grad_tensor"] = (
            Same(s.pick((0, 1))) if s.chance(50) else written(s, shape, dtype=y.dtype)
        )
    return call("moreh_softmax_backward", y, dy, dim, **keywords)


def written(s: Source, shape: Any, fits: int = 92, dtype: str = "bfloat16") -> Tensor:
    """A tensor to write into, mostly right."""
    return s.tensor(
        shape if s.chance(fits) else s.shape(), dtype if s.chance(fits) else s.pick(DTYPES), s.layout(4)
    )


def layer_norm(s: Source) -> Call:
    """moreh_layer_norm, with and without what it may write."""
    x = s.tensor(s.shape(1), narrow(s, 85), s.layout(6))
    width, outer = x.shape[-1], x.shape[:-1]
    vectors = [
        s.tensor(
            s.pick(((width,), (1, width), (1, 1, width)))
            if s.chance(95)
            else s.pick(((width + 1,), (2, width))),
            narrow(s, 92),
            s.layout(6),
        )
        if s.chance(60)
        else None
        for _ in range(2)
    ]
    keywords = config(s, s.memory({}))
    for name in ("mean", "rstd"):
        if s.chance(70):
            keywords[name] = written(s, outer, 88)
    if s.chance(10):
        keywords["output"] = written(s, x.shape, 85)
    dims = 1 if s.chance(90) else s.pick((0, 2, 3, 5, -1))
    if s.chance(50):
        return call("moreh_layer_norm", x, dims, s.pick((1e-5, 1)), *vectors, **keywords)
    for name, vector in zip(("gamma", "beta"), vectors, strict=True):
        if vector is not None:
            keywords[name] = vector
    return call("moreh_layer_norm", x, normalized_dims=dims, **keywords)


def layer_norm_backward(s: Source) -> Call:
    """What is to be written is given, or not."""
    shape = s.shape(1) if s.chance(10) else s.shape(2)
    outer, width = shape[:-1], shape[-1:]
    x = s.tensor(shape, narrow(s, 95), s.layout(3))
    grad = s.tensor(shape if s.chance(95) else s.shape(1), narrow(s, 95), s.layout(3))
    statistics = [written(s, outer, 95) for _ in range(2)]
    keywords = config(s, s.memory({}))
    row = width if s.chance(60) else (1, *width)
    if s.chance(60):
        keywords["gamma"] = written(s, row, 95)
    for name, wanted in (("input_grad", shape), ("gamma_grad", row), ("beta_grad", row)):
        if s.chance(70):
            keywords[name] = written(s, wanted, 95)
    if s.chance(8):
        keywords["input_grad"] = Same(s.pick((0, 1)))
    dims = 1 if s.chance(92) else s.pick((0, 2, 3, 5, -1))
    return call("moreh_layer_norm_backward", grad, x, *statistics, dims, **keywords)


def embedding_backward(s: Source) -> Call:
    """Ids that fill tiles, mostly, and as many rows."""
    ids = (
        s.pick(((2, 32), (1, 64), (3, 96))) if s.chance(80) else s.pick(((2, 40), (64,), (2, 1, 32), (4, 16)))
    )
    count = ids[0] * ids[-1]
    features = s.pick(SIZES)
    shape = (1, 1, count, features)
    if s.chance(12):
        shape = s.pick(((count, features), (1, 1, count + 1, features), (ids[0], 1, ids[-1], features)))
    rows = s.tensor(
        ids, "uint32" if s.chance(88) else s.pick(DTYPES), "ROW_MAJOR" if s.chance(92) else "TILE"
    )
    table = s.tensor((s.pick((50, 32, 7)), features), narrow(s, 60), s.layout(60))
    grad = s.tensor(shape, "bfloat16" if s.chance(80) else s.pick(FLOATS), s.layout(4))
    keywords = s.memory({})
    if s.chance(12):
        keywords["dtype"] = named(grad.dtype if s.chance(50) else s.pick(FLOATS))
    if s.chance(15):
        keywords["output_tensor"] = written(s, (1, 1, table.shape[0], features), 85, grad.dtype)
    return call("embedding_bw", rows, table, grad, **keywords)


def three(name: str) -> Space:
    """lerp, addcmul, addcdiv."""

    def space(s: Source) -> Call:
        layout = s.layout(8)
        a = s.tensor(s.shape(), s.float_dtype() if s.chance(88) else s.pick(COUNTED), layout)

        def factor() -> Tensor:
            same = s.chance(92 if name == "addcmul" else 75)
            return s.tensor(other(s, a, 90), a.dtype if same else s.pick(FLOATS), layout)

        b, c = factor(), factor()
        shape = joint(joint(a.shape, b.shape), c.shape)
        keywords: Keywords = {}
        if name != "lerp" and s.chance(40):
            keywords["value"] = s.pick((0.5, -1.0, 2))
        s.output(s.memory(keywords), shape, a, percent=25)
        if s.chance(8):
            keywords["output_tensor"] = Same(0)
        if name == "lerp" and s.chance(50):
            return call(name, a, b, s.pick((0.1, 1, -0.5)), **keywords)
        return call(name, a, b, c, **keywords)

    return space


def adam(name: str) -> Space:
    """moreh_adamw and moreh_adam: in place, into others, or into nothing that is there."""

    def space(s: Source) -> Call:
        shape = s.shape()
        dtype = "bfloat16" if s.chance(85) else s.pick(("bfloat8_b", *DTYPES))

        def tensor() -> Tensor:
            return s.tensor(shape, dtype if s.chance(95) else s.pick(FLOATS), s.layout(3))

        tensors = [tensor() for _ in range(4)]
        keywords = config(s, s.memory({}))
        for key, place in (("param_out", 0), ("exp_avg_out", 2), ("exp_avg_sq_out", 3)):
            if s.chance(55):
                keywords[key] = Same(place) if s.chance(70) else written(s, shape, 90, dtype)
        keywords["step"] = s.pick((1, 3)) if s.chance(93) else s.pick((0, -1, 1.5))
        numbers = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1}
        for key, value in numbers.items():
            if s.chance(25):
                keywords[key] = value if s.chance(85) else s.pick((None, 1, "1"))
        if s.chance(15):
            keywords["amsgrad"] = s.pick((False, False, None, 1, True))
        if name == "moreh_adamw" and "lr" not in keywords and s.chance(20):
            return call(name, *tensors, 1e-3, **keywords)
        return call(name, *tensors, **keywords)

    return space
