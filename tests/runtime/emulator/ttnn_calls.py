"""Calls for the emulator and the real ttnn alike, a good part of which ttnn refuses.

Each is a function of a ``Bench``: a module, a device, and tensors of zeros. What comes back is described by shape,
padded shape, dtype and layout, or by the kind of exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Call = Callable[["Bench"], Any]
FLOATS = ("bfloat16", "float32", "bfloat8_b", "bfloat4_b")
DTYPES = (*FLOATS, "int32", "uint32")
FULL = (2, 3, 40, 96)


class Bench:
    """One side of the comparison."""

    def __init__(self, ttnn: Any, device: Any) -> None:
        self.t, self.device = ttnn, device
        self.x, self.rows, self.w = self.make(FULL), self.make(FULL, layout="ROW_MAJOR"), self.make((96, 64))
        self.bias, self.scale = self.make((64,)), self.make((96,))
        self.q, self.k = self.make((2, 4, 64, 32)), self.make((2, 2, 64, 32))
        self.ids, self.table = (
            self.make((2, 40), "uint32", "ROW_MAJOR"),
            self.make((50, 96), layout="ROW_MAJOR"),
        )
        self.attend = ttnn.transformer.scaled_dot_product_attention

    def make(
        self, shape: tuple[int, ...], dtype: str = "bfloat16", layout: str = "TILE", host: bool = False
    ) -> Any:
        """Zeros."""
        kind = np.int32 if "int" in dtype else np.float32
        device = None if host else self.device
        return self.t.Tensor(
            np.zeros(shape, kind), getattr(self.t, dtype), device, getattr(self.t, f"{layout}_LAYOUT")
        )


def described(value: Any) -> Any:
    """What of a result both sides must agree on."""
    if isinstance(value, (list, tuple)):
        return [described(one) for one in value]
    if not hasattr(value, "padded_shape"):
        return value
    dtype, layout = (str(what).rpartition(".")[2] for what in (value.dtype, value.layout))
    return [list(value.shape), list(value.padded_shape), dtype, layout]


def answered(call: Call, bench: Bench) -> Any:
    """The description of what a call returns, or the kind of what it raises."""
    try:
        return described(call(bench))
    except Exception as error:  # every kind is an answer
        return type(error).__name__


def calls() -> Iterator[tuple[str, str, Call]]:
    """(op, what is special about this call, the call)."""
    yield from _matmul()
    yield from _norms()
    yield from _attention()
    yield from _embedding()
    yield from _elementwise()
    yield from _shapes()
    yield from _parts()
    yield from _reductions()
    yield from _creation()
    yield from _transfer()


def _matmul() -> Iterator[tuple[str, str, Call]]:
    for dtype in DTYPES:
        yield "linear", f"{dtype} input", lambda b, d=dtype: b.t.linear(b.make(FULL, d), b.w, bias=b.bias)
        yield (
            "linear",
            f"{dtype} weight",
            lambda b, d=dtype: b.t.linear(b.x, b.make((96, 64), d), bias=b.bias),
        )
        if dtype not in ("int32", "uint32"):
            yield "linear", f"to {dtype}", lambda b, d=dtype: b.t.linear(b.x, b.w, dtype=getattr(b.t, d))
    for shape in ((64,), (1, 64), (1, 1, 1, 64), (40, 64), (2, 3, 40, 64), (63,), (65,), (2, 3, 1, 64), (1,)):
        yield "linear", f"bias {shape}", lambda b, s=shape: b.t.linear(b.x, b.w, bias=b.make(s))
    strings = (
        "relu gelu gelu_tanh silu tanh sigmoid exp square sqrt rsqrt log abs softplus relu6 mish recip hardsigmoid cos "
        "sin gelu_approx sigmoid_approx neg bogus leaky_relu hardswish erf reciprocal identity elu GELU log_sigmoid"
    )
    for name in (*strings.split(), ""):
        yield (
            "linear",
            f"activation {name!r}",
            lambda b, n=name: b.t.linear(b.x, b.w, bias=b.bias, activation=n),
        )
    yield "linear", "activation type", lambda b: b.t.linear(b.x, b.w, activation=b.t.UnaryOpType.RELU)
    yield "linear", "bias by position", lambda b: b.t.linear(b.x, b.w, b.bias)
    yield "linear", "input in rows", lambda b: b.t.linear(b.rows, b.w)
    yield "linear", "weight in rows", lambda b: b.t.linear(b.x, b.make((96, 64), layout="ROW_MAJOR"))
    yield "linear", "weight on the host", lambda b: b.t.linear(b.x, b.make((96, 64), host=True))
    yield "linear", "core grid", lambda b: b.t.linear(b.x, b.w, core_grid=b.t.CoreGrid(x=8, y=8))
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
        ((96,), (96, 64)), ((96,), (96,)), ((40, 96), (96,)), ((), (96, 64)), ((96,), (2, 96, 64)), (FULL, (95, 64)),
        (FULL, (1, 1, 96, 64)), (FULL, (1, 96, 64)), (FULL, (2, 3, 96, 64)), (FULL, (1, 3, 96, 64)),
        (FULL, (2, 1, 96, 64)), (FULL, (3, 96, 64)), (FULL, (2, 6, 96, 64)), ((1, 1, 40, 96), (2, 3, 96, 64)),
        ((1, 3, 40, 96), (2, 3, 96, 64)), ((40, 96), (2, 3, 96, 64)), ((1, 40, 96), (3, 96, 64)),
        ((1, 2, 3, 40, 96), (96, 64)), ((1, 2, 3, 40, 96), (1, 2, 3, 96, 64)), ((0, 96), (96, 64)),
    )  # fmt: skip
    for left, right in shapes:
        yield "matmul", f"{left} by {right}", lambda b, s=left, r=right: b.t.matmul(b.make(s), b.make(r))
    yield "matmul", "with a bias", lambda b: b.t.matmul(b.x, b.w, bias=b.bias)
    yield "matmul", "transposes", lambda b: b.t.matmul(b.w, b.x, transpose_a=True, transpose_b=True)
    yield "matmul", "first", lambda b: b.t.matmul(b.make((96, 40)), b.w, transpose_a=True)
    yield "matmul", "a number", lambda b: b.t.matmul(b.x, 3.0)
    yield "matmul", "no config", lambda b: b.t.matmul(b.x, b.w, compute_kernel_config="x")
    for shape in ((2, 3, 40, 64), (2, 3, 40, 96)):
        yield (
            "matmul",
            f"into {shape}",
            lambda b, s=shape: b.t.matmul(b.x, b.w, optional_output_tensor=b.make(s)),
        )


def _norms() -> Iterator[tuple[str, str, Call]]:
    weights: tuple[tuple[tuple[int, ...], str], ...] = (
        ((96,), "TILE"), ((1, 96), "TILE"), ((1, 1, 1, 96), "TILE"), ((95,), "TILE"), ((97,), "TILE"),
        ((2, 96), "TILE"), ((96,), "ROW_MAJOR"), ((3, 32), "ROW_MAJOR"), ((1, 96), "ROW_MAJOR"),
        ((1, 1, 3, 32), "ROW_MAJOR"),
    )  # fmt: skip
    for op in ("layer_norm", "rms_norm"):

        def norm(b: Bench, *args: Any, name: str = op, **keywords: Any) -> Any:
            return getattr(b.t, name)(*args, **keywords)

        for dtype in DTYPES:
            yield op, f"{dtype} input", lambda b, d=dtype, n=norm: n(b, b.make(FULL, d))
            yield op, f"{dtype} weight", lambda b, d=dtype, n=norm: n(b, b.x, weight=b.make((96,), d))
        for shape, layout in weights:
            yield (
                op,
                f"weight {shape} {layout}",
                lambda b, s=shape, at=layout, n=norm: n(b, b.x, weight=b.make(s, layout=at)),
            )
        for shape in (FULL, (1, 1, 40, 96), (6, 40, 96), (2, 3, 41, 96)):
            yield (
                op,
                f"residual {shape}",
                lambda b, s=shape, n=norm: n(b, b.x, residual_input_tensor=b.make(s)),
            )
        yield op, "residual in rows", lambda b, n=norm: n(b, b.x, residual_input_tensor=b.rows)
        yield op, "in rows", lambda b, n=norm: n(b, b.rows, weight=b.scale)
        yield op, "epsilon by position", lambda b, n=norm: n(b, b.x, 1e-5)
        yield op, "no dims", lambda b, n=norm: n(b, b.make(()))
        yield (
            op,
            "layouts",
            lambda b, n=norm: n(b, b.x, weight=b.make((3, 32), layout="ROW_MAJOR"), bias=b.scale),
        )
    for dtype in DTYPES:
        yield "softmax", dtype, lambda b, d=dtype: b.t.softmax(b.make(FULL, d))
    for dim in (-5, -4, 0, 1, 2, 3, 4):
        yield "softmax", f"over {dim}", lambda b, d=dim: b.t.softmax(b.x, d)
    yield "softmax", "in rows", lambda b: b.t.softmax(b.rows)


def _attention() -> Iterator[tuple[str, str, Call]]:
    op = "transformer.scaled_dot_product_attention"
    for dtype in DTYPES:
        yield op, f"{dtype} q", lambda b, d=dtype: b.attend(b.make((2, 4, 64, 32), d), b.k, b.k)
        yield op, f"{dtype} k", lambda b, d=dtype: b.attend(b.q, b.make((2, 2, 64, 32), d), b.k)
    keys = ((2, 4, 70, 32), (2, 3, 64, 32), (1, 4, 64, 32), (2, 4, 64, 64), (4, 64, 32), (2, 1, 64, 32))
    for shape in keys:
        for causal in (False, True):
            yield (
                op,
                f"keys {shape} {causal}",
                lambda b, s=shape, c=causal: b.attend(b.q, b.make(s), b.make(s), is_causal=c),
            )
    masks = ((2, 4, 64, 64), (1, 1, 64, 64), (2, 1, 64, 64), (1, 4, 64, 64), (2, 1, 1, 64), (3, 1, 64, 64),
        (2, 2, 64, 64), (2, 64, 64), (64, 64), (2, 1, 64, 96))  # fmt: skip
    for shape in masks:
        yield (
            op,
            f"mask {shape}",
            lambda b, s=shape: b.attend(b.q, b.k, b.k, attn_mask=b.make(s), is_causal=False),
        )
    for dtype in DTYPES:
        yield (
            op,
            f"{dtype} mask",
            lambda b, d=dtype: b.attend(b.q, b.k, b.k, attn_mask=b.make((1, 1, 64, 64), d), is_causal=False),
        )
    yield op, "mask and causal", lambda b: b.attend(b.q, b.k, b.k, attn_mask=b.make((1, 1, 64, 64)))
    yield (
        op,
        "mask with padding",
        lambda b: b.attend(*[b.make((2, 4, 40, 32))] * 3, attn_mask=b.make((1, 1, 40, 40)), is_causal=False),
    )
    yield op, "heads of 40", lambda b: b.attend(*[b.make((2, 4, 64, 40))] * 3)
    yield op, "in rows", lambda b: b.attend(b.make((2, 4, 64, 32), layout="ROW_MAJOR"), b.k, b.k)
    yield op, "concatenated", lambda b: b.attend(b.q, b.k, b.k, output_concat_heads=True)
    yield op, "ragged", lambda b: b.attend(*[b.make((2, 4, 7, 32))] * 3, is_causal=False, scale=0.3)
    op = "experimental.nlp_create_qkv_heads"
    for dtype in DTYPES:
        yield (
            op,
            dtype,
            lambda b, d=dtype: b.t.experimental.nlp_create_qkv_heads(b.make((2, 1, 40, 384), d), num_heads=2),
        )
        yield (
            "experimental.nlp_concat_heads",
            dtype,
            lambda b, d=dtype: b.t.experimental.nlp_concat_heads(b.make((2, 4, 40, 64), d)),
        )
        yield (
            "transformer.concatenate_heads",
            dtype,
            lambda b, d=dtype: b.t.transformer.concatenate_heads(b.make((2, 4, 40, 64), d)),
        )
    inputs = (((2, 1, 40, 384), 4, 1), ((2, 1, 40, 384), 6, 0), ((2, 40, 384), 2, None), ((2, 2, 40, 384), 2, None),
        ((2, 1, 40, 416), 2, None), ((2, 1, 40, 240), 2, None), ((2, 1, 40, 480), 2, None))  # fmt: skip
    for shape, heads, shared in inputs:

        def split(b: Bench, s: Any = shape, h: int = heads, kv: Any = shared) -> Any:
            create = b.t.experimental.nlp_create_qkv_heads
            return create(b.make(s), num_heads=h, num_kv_heads=kv, transpose_k_heads=False)

        yield op, f"{shape} {heads} {shared}", split
    op = "transformer.split_query_key_value_and_split_heads"
    for shape in ((2, 40, 384), (2, 1, 40, 384), (2, 40, 240), (2, 40, 416)):
        yield (
            op,
            f"{shape}",
            lambda b, s=shape: b.t.transformer.split_query_key_value_and_split_heads(b.make(s), num_heads=2),
        )
    for shape in ((2, 4, 40, 80), (4, 40, 64)):
        yield (
            "experimental.nlp_concat_heads",
            f"{shape}",
            lambda b, s=shape: b.t.experimental.nlp_concat_heads(b.make(s)),
        )
        yield (
            "transformer.concatenate_heads",
            f"{shape}",
            lambda b, s=shape: b.t.transformer.concatenate_heads(b.make(s)),
        )


def _embedding() -> Iterator[tuple[str, str, Call]]:
    for dtype in ("bfloat16", "float32", "int32", "uint32"):
        yield (
            "embedding",
            f"{dtype} ids",
            lambda b, d=dtype: b.t.embedding(b.make((2, 40), d, "ROW_MAJOR"), b.table),
        )
        yield (
            "embedding",
            f"{dtype} table",
            lambda b, d=dtype: b.t.embedding(b.ids, b.make((50, 96), d, "ROW_MAJOR")),
        )
    for shape in ((40,), (1, 40), (2, 1), (2, 1, 40), (2, 3, 40), (1, 1, 1, 40), ()):
        for layout in ("TILE", "ROW_MAJOR"):
            yield (
                "embedding",
                f"ids {shape} {layout}",
                lambda b, s=shape, at=layout: b.t.embedding(
                    b.make(s, "uint32", "ROW_MAJOR"), b.table, layout=getattr(b.t, f"{at}_LAYOUT")
                ),
            )
    for shape in ((1, 1, 50, 96), (1, 2, 50, 96), (1, 50, 96), (50, 70)):
        yield (
            "embedding",
            f"table {shape}",
            lambda b, s=shape: b.t.embedding(b.ids, b.make(s, layout="ROW_MAJOR")),
        )
    yield "embedding", "table in tiles", lambda b: b.t.embedding(b.ids, b.make((50, 96)))
    yield "embedding", "ids in tiles", lambda b: b.t.embedding(b.make((2, 40), "uint32"), b.table)
    yield "embedding", "to float32", lambda b: b.t.embedding(b.ids, b.table, dtype=b.t.float32)


def _elementwise() -> Iterator[tuple[str, str, Call]]:
    unary = (
        "abs acos asin atan ceil cos cosh eqz erf erfc exp exp2 expm1 floor frac gelu gez gtz hardsigmoid hardswish "
        "identity isfinite isinf isnan lez log log10 log1p log2 log_sigmoid logical_not ltz mish neg nez reciprocal "
        "relu relu6 rsqrt selu sigmoid sign silu sin sinh softplus softsign sqrt square swish tan tanh tanhshrink trunc"
    )
    for name in unary.split():
        for dtype in ("bfloat16", "bfloat8_b", "int32", "uint32"):
            yield name, dtype, lambda b, n=name, d=dtype: getattr(b.t, n)(b.make(FULL, d))
        yield name, "in rows", lambda b, n=name: getattr(b.t, n)(b.rows)
        yield name, "an unknown keyword", lambda b, n=name: getattr(b.t, n)(b.x, bogus=1)
        yield name, "a number", lambda b, n=name: getattr(b.t, n)(1.0)
    yield (
        "gelu",
        "two ways",
        lambda b: b.t.gelu(b.x, fast_and_approximate_mode=True, variant=b.t.GeluVariant.Tanh),
    )
    yield "gelu", "tanh", lambda b: b.t.gelu(b.x, variant=b.t.GeluVariant.Tanh)
    yield "relu", "output of another shape", lambda b: b.t.relu(b.x, output_tensor=b.make((2, 3, 40, 64)))
    yield "relu", "output in rows", lambda b: b.t.relu(b.x, output_tensor=b.rows)
    yield "relu", "output in float32", lambda b: b.t.relu(b.x, output_tensor=b.make(FULL, "float32"))
    yield "leaky_relu", "slope", lambda b: b.t.leaky_relu(b.x, 0.1)
    yield "leaky_relu", "none", lambda b: b.t.leaky_relu(b.x)
    yield "unary_chain", "one", lambda b: b.t.unary_chain(b.x, [b.t.UnaryWithParam(b.t.UnaryOpType.RELU)])
    yield "clamp", "both", lambda b: b.t.clamp(b.x, 0.0, 1.0)
    yield "clamp", "one", lambda b: b.t.clamp(b.x, min=0.0)
    binary = (
        "add subtract multiply divide sub mul div rsub maximum minimum squared_difference eq ne lt le gt ge "
        "logical_and logical_or logical_xor"
    )
    for name in binary.split():
        for dtype in ("float32", "int32", "bfloat8_b"):
            yield (
                name,
                f"bfloat16 and {dtype}",
                lambda b, n=name, d=dtype: getattr(b.t, n)(b.x, b.make(FULL, d)),
            )
            yield (
                name,
                f"two {dtype}",
                lambda b, n=name, d=dtype: getattr(b.t, n)(b.make(FULL, d), b.make(FULL, d)),
            )
        for shape in ((96,), (2, 3, 40, 1), (2, 3, 40, 95), (2, 3, 20, 96)):
            yield name, f"{shape}", lambda b, n=name, s=shape: getattr(b.t, n)(b.x, b.make(s))
        yield name, "a number", lambda b, n=name: getattr(b.t, n)(b.x, 1.5)
        yield name, "rows", lambda b, n=name: getattr(b.t, n)(b.rows, b.rows)
    for name in ("add_", "subtract_", "multiply_"):
        yield name, "same", lambda b, n=name: getattr(b.t, n)(b.make(FULL), b.x)
        yield name, "larger", lambda b, n=name: getattr(b.t, n)(b.make((1, 1, 1, 96)), b.x)
    yield "pow", "square", lambda b: b.t.pow(b.x, 2)
    yield "pow", "tensors", lambda b: b.t.pow(b.x, b.x)
    yield "add", "a string activation", lambda b: b.t.add(b.x, b.x, activations=["relu"])
    yield (
        "add",
        "activations",
        lambda b: b.t.add(b.x, 1.0, input_tensor_a_activations=(b.t.UnaryOpType.SILU,)),
    )
    yield "add", "int32 and a fraction", lambda b: b.t.add(b.make(FULL, "int32"), 2.5)
    yield "add", "int32 and uint32", lambda b: b.t.add(b.make(FULL, "int32"), b.make(FULL, "uint32"))
    yield "add", "tiles and rows", lambda b: b.t.add(b.x, b.rows)
    yield "add", "to float32", lambda b: b.t.add(b.x, b.x, dtype=b.t.float32)
    yield (
        "add",
        "dtypes",
        lambda b: b.t.add(b.x, b.x, dtype=b.t.bfloat16, output_tensor=b.make(FULL, "float32")),
    )
    yield "add", "on the host", lambda b: b.t.add(b.x, b.make(FULL, host=True))
    for p, a, c in (("bfloat16", "bfloat16", "bfloat16"), ("bfloat16", "float32", "float32"),
        ("float32", "bfloat16", "bfloat16"), ("int32", "float32", "float32"), ("uint32", "bfloat16", "bfloat16"),
        ("bfloat16", "bfloat16", "float32"), ("int32", "int32", "int32")):  # fmt: skip
        yield (
            "where",
            f"{p} {a} {c}",
            lambda b, p=p, a=a, c=c: b.t.where(b.make(FULL, p), b.make(FULL, a), b.make(FULL, c)),
        )
    yield "where", "numbers", lambda b: b.t.where(b.x, 1.0, 0.0)
    yield "where", "counts and numbers", lambda b: b.t.where(b.make(FULL, "uint32"), 1.0, 0.0)
    yield "where", "float32 and a number", lambda b: b.t.where(b.x, b.make(FULL, "float32"), 0.0)
    yield "where", "shapes", lambda b: b.t.where(b.x, b.x, b.make((2, 3, 40, 95)))
    yield "where", "rows", lambda b: b.t.where(b.rows, b.rows, b.rows)
    yield "mac", "a number", lambda b: b.t.mac(b.x, 0.125, b.x)


def _shapes() -> Iterator[tuple[str, str, Call]]:
    for layout in ("TILE", "ROW_MAJOR"):
        for shape in (
            (6, 40, 96),
            (240, 96),
            (2, 3, 20, 192),
            (-1, 96),
            (2, -1, -1),
            (5, 5),
            (2, 3, 40, 12, 8),
        ):

            def reshaped(b: Bench, s: Any = shape, at: str = layout) -> Any:
                x = b.make(FULL, layout=at)
                y = b.t.reshape(x, s)
                return y, bool(y.buffer_address() == x.buffer_address())

            yield "reshape", f"{shape} {layout}", reshaped
    for shape in ((6, 64, 96), (384, 96), (2, 3, 32, 192), (2, 6, 32, 96)):
        yield "view", f"{shape}", lambda b, s=shape: b.t.view(b.make((2, 3, 64, 96)), s)
    for dims in ((0, 2, 1, 3), (0, 1, 3, 2), (0, 1, 2, -1), (3, 0, 1, 2), (0, 1, 2), (0, 1, 2, 2)):
        yield "permute", f"{dims}", lambda b, d=dims: b.t.permute(b.x, d)
    for one, two in ((-1, -2), (1, 2), (0, 2), (1, 1), (1, 6)):
        yield "transpose", f"{one} {two}", lambda b, d=(one, two): b.t.transpose(b.x, *d)
    for dim in (0, -1, 2, 7):
        yield "unsqueeze", f"{dim}", lambda b, d=dim: b.t.unsqueeze(b.x, d)
    for dim in (0, 1, -1, [0, 1], None):
        yield (
            "squeeze",
            f"{dim}",
            lambda b, d=dim: b.t.squeeze(b.make((1, 1, 40, 96)), *(() if d is None else (d,))),
        )
    yield "unsqueeze_to_4D", "two", lambda b: b.t.unsqueeze_to_4D(b.w)
    yield "repeat", "heads", lambda b: b.t.repeat(b.x, (1, 2, 1, 1))
    yield "repeat_interleave", "heads", lambda b: b.t.repeat_interleave(b.x, 2, 1)
    for shape in ((4, 2, 3, 40, 96), (2, 3, 40, 96), (2, -1, -1, -1), (4, 3, 40, 96)):
        yield "expand", f"{shape}", lambda b, s=shape: b.t.expand(b.make((1, 3, 40, 96)), s)


def _parts() -> Iterator[tuple[str, str, Call]]:
    ends = (
        (2, 3, 1, 96),
        (2, 3, 40, 96),
        (2, 0, 40, 96),
        (2, -1, 40, 96),
        (2, 3, 40),
        (2, 3, 41, 96),
        (2, 3, 65, 96),
    )
    for end in ends:
        yield "slice", f"to {end}", lambda b, e=end: b.t.slice(b.x, (0, 0, 0, 0), e)
    yield "slice", "backwards", lambda b: b.t.slice(b.x, (0, 2, 0, 0), (2, 1, 40, 96))
    yield "slice", "steps", lambda b: b.t.slice(b.x, [0, 0, 3, 0], [2, 3, 40, 96], [1, 1, 2, 1])
    for name, key in {
        "row": 0, "last": (slice(None), -1), "cls": (slice(None), slice(None), slice(0, 1)), "ellipsis": (..., 0),
        "beyond": 5, "too many": (0, 0, 0, 0, 0), "step": (slice(None), slice(None, None, 2)), "none": None,
    }.items():  # fmt: skip
        yield "slice", f"index {name}", lambda b, k=key: b.x[k]
    for dim in (0, -1, 2, 4):
        yield "concat", f"over {dim}", lambda b, d=dim: b.t.concat([b.x, b.x], d)
    for shape in ((2, 3, 41, 96), (3, 40, 96)):
        yield "concat", f"with {shape}", lambda b, s=shape: b.t.concat([b.x, b.make(s)], 1)
    yield "concat", "dtypes", lambda b: b.t.concat([b.x, b.make(FULL, "float32")], 1)
    yield "concat", "layouts", lambda b: b.t.concat([b.x, b.rows], 1)
    yield "concat", "nothing", lambda b: b.t.concat([], 1)
    for size in (32, [1, 95], [1, 1]):
        yield "split", f"{size}", lambda b, s=size: b.t.split(b.x, s, 3)
    for count in (2, 3):
        yield "chunk", f"{count}", lambda b, c=count: b.t.chunk(b.x, c, 3)
    for amounts in (
        [(0, 24), (0, 0)],
        [(0, 8)],
        [(32, 0), (0, 0)],
        [(0, -4), (0, 0)],
        [(0, 0)] * 5,
        [(0, 0)] * 4,
    ):
        for layout in ("TILE", "ROW_MAJOR"):
            yield (
                "pad",
                f"{amounts} {layout}",
                lambda b, a=amounts, at=layout: b.t.pad(b.make(FULL, layout=at), a, 0.0),
            )
    yield "pad", "no value", lambda b: b.t.pad(b.x, [(0, 24), (0, 0)])
    yield "fill_implicit_tile_padding", "tiles", lambda b: b.t.fill_implicit_tile_padding(b.x, 1.0)
    yield "fill_implicit_tile_padding", "rows", lambda b: b.t.fill_implicit_tile_padding(b.rows, 1.0)


def _reductions() -> Iterator[tuple[str, str, Call]]:
    for name in ("sum", "mean", "max", "min", "var"):
        for dim in (None, -1, 2, 1, 0, [1, 2], 4):
            for keep in (False, True):
                yield name, f"{dim} {keep}", lambda b, n=name, d=dim, k=keep: getattr(b.t, n)(b.x, d, k)
            yield name, f"{dim} rows", lambda b, n=name, d=dim: getattr(b.t, n)(b.rows, d)
        for dtype in DTYPES:
            yield name, dtype, lambda b, n=name, d=dtype: getattr(b.t, n)(b.make(FULL, d), -1)
    for dim in (None, -1, 1, 4):
        for layout in ("TILE", "ROW_MAJOR"):
            yield (
                "argmax",
                f"{dim} {layout}",
                lambda b, d=dim, at=layout: b.t.argmax(b.make(FULL, layout=at), d),
            )
    for dtype in DTYPES:
        yield "argmax", dtype, lambda b, d=dtype: b.t.argmax(b.make(FULL, d), -1, True)


def _creation() -> Iterator[tuple[str, str, Call]]:
    for name in ("zeros", "ones", "empty"):
        yield name, "rows", lambda b, n=name: getattr(b.t, n)((2, 40), device=b.device)
        yield (
            name,
            "tiles",
            lambda b, n=name: getattr(b.t, n)([2, 40], b.t.float32, b.t.TILE_LAYOUT, b.device),
        )
        yield name, "host", lambda b, n=name: getattr(b.t, n)((2, 40))
        yield (
            name,
            "blocks",
            lambda b, n=name: getattr(b.t, n)((2, 40), b.t.bfloat8_b, b.t.TILE_LAYOUT, b.device),
        )
    yield "full", "counts", lambda b: b.t.full((2, 40), 3, dtype=b.t.uint32, device=b.device)
    for name in ("zeros_like", "ones_like"):
        yield name, "rows", lambda b, n=name: getattr(b.t, n)(b.rows)
        yield name, "float32", lambda b, n=name: getattr(b.t, n)(b.x, dtype=b.t.float32)
    yield "full_like", "integers", lambda b: b.t.full_like(b.x, 2, dtype=b.t.int32)
    for bounds in ((10,), (0, 10), (0, 10, 2), (10, 0, -1), (0, 10, -1), (0.0, 1.0, 0.1)):
        yield "arange", f"{bounds}", lambda b, s=bounds: b.t.arange(*s, device=b.device)


def _transfer() -> Iterator[tuple[str, str, Call]]:
    for dtype in DTYPES:
        for layout in ("TILE", "ROW_MAJOR"):
            yield (
                "typecast",
                f"{dtype} {layout}",
                lambda b, d=dtype, at=layout: b.t.typecast(b.make(FULL, layout=at), getattr(b.t, d)),
            )
            yield (
                "to_layout",
                f"{dtype} {layout}",
                lambda b, d=dtype, at=layout: b.t.to_layout(b.make(FULL, d), getattr(b.t, f"{at}_LAYOUT")),
            )
        yield (
            "to_layout",
            f"rows to {dtype}",
            lambda b, d=dtype: b.t.to_layout(b.rows, b.t.TILE_LAYOUT, getattr(b.t, d)),
        )
        yield (
            "to_layout",
            f"tiles to rows and {dtype}",
            lambda b, d=dtype: b.t.to_layout(b.x, b.t.ROW_MAJOR_LAYOUT, getattr(b.t, d)),
        )
        yield "to_dtype", dtype, lambda b, d=dtype: b.t.to_dtype(b.make(FULL, host=True), getattr(b.t, d))
        yield (
            "to_dtype",
            f"rows {dtype}",
            lambda b, d=dtype: b.t.to_dtype(b.make((3, 5), "float32", "ROW_MAJOR", True), getattr(b.t, d)),
        )
    yield "to_dtype", "on the device", lambda b: b.t.to_dtype(b.x, b.t.float32)
    yield (
        "to_device",
        "again",
        lambda b: b.t.to_device(b.make(FULL, host=True), b.device, b.t.L1_MEMORY_CONFIG),
    )
    yield "from_device", "back", lambda b: b.t.from_device(b.x)
    yield "to_memory_config", "L1", lambda b: b.t.to_memory_config(b.x, b.t.L1_MEMORY_CONFIG)
    yield "clone", "float32", lambda b: b.t.clone(b.x, dtype=b.t.float32)
    yield "clone", "rows to float32", lambda b: b.t.clone(b.rows, dtype=b.t.float32)
    yield "copy", "same", lambda b: b.t.copy(b.x, b.make(FULL))
    yield "copy", "shapes", lambda b: b.t.copy(b.x, b.make((2, 3, 40, 95)))
    for shape in (FULL, (2, 3, 40, 95)):
        yield (
            "copy_host_to_device_tensor",
            f"{shape}",
            lambda b, s=shape: b.t.copy_host_to_device_tensor(b.make(s, host=True), b.make(FULL)),
        )
    for source in ("float16", "float64", "int64", "int16", "bool", "uint16"):
        for dtype in ("bfloat16", "float32", "int32"):
            yield (
                "to_device",
                f"{source} array as {dtype}",
                lambda b, s=source, d=dtype: b.t.Tensor(
                    np.zeros((3, 5), s), getattr(b.t, d), b.device, b.t.ROW_MAJOR_LAYOUT
                ),
            )
