"""Arguments of matrix products, norms, attention, heads, embeddings and reductions."""

from __future__ import annotations

from typing import Any

from tests.conformance.differential.calls import Call, Config, Made, Name
from tests.conformance.differential.spaces.eltwise import function
from tests.conformance.differential.spaces.source import (
    COUNTED,
    DTYPES,
    FEW,
    FLOATS,
    SIZES,
    Keywords,
    Source,
    Space,
    call,
    named,
    placed,
)

STRINGS = (
    "relu gelu gelu_tanh silu tanh sigmoid exp square sqrt rsqrt log abs softplus relu6 mish recip hardsigmoid cos sin "
    "gelu_approx sigmoid_approx neg bogus leaky_relu hardswish erf reciprocal identity elu GELU log_sigmoid"
).split()
FIDELITIES = tuple(f"MathFidelity.{name}" for name in ("HiFi4", "HiFi2", "LoFi"))


def config(s: Source, keywords: Keywords, percent: int = 15) -> Keywords:
    """With a kernel configuration so often."""
    if s.chance(percent):
        accurate = s.pick((True, False))
        keywords["compute_kernel_config"] = Config(
            (("math_fidelity", Name(s.pick(FIDELITIES))), ("fp32_dest_acc_en", accurate))
        )
    return keywords


def product(name: str) -> Space:
    """A matrix product."""

    def space(s: Source) -> Call:
        m, k, n = (s.pick(SIZES) for _ in range(3))
        batch = [s.pick(FEW) for _ in range(s.pick((1, 0, 2, 3)))]
        left, right = [*batch, m, k], [k, n]
        if s.chance(40):
            right = [*(size if s.chance(75) else 1 for size in batch), k, n]
        if s.chance(10):
            left = [*([1] * len(batch)), m, k]
        if s.chance(10):
            right = [*[s.pick(FEW) for _ in range(s.pick((1, 2, 3)))], k, n]
        if s.chance(8):
            left = [k]
        if s.chance(8):
            right = [k]
        keywords: Keywords = {}
        for key, shape in (("transpose_a", left), ("transpose_b", right)):
            if s.chance(20):
                keywords[key] = True
                if s.chance(90) and len(shape) > 1:
                    shape[-2:] = shape[:-3:-1]
        a, b = s.tensor(left, s.float_dtype(), s.layout(4)), s.tensor(right, s.float_dtype(), s.layout(4))
        if name == "linear" and s.chance(50):
            shapes = ([n], [1, n], [1, 1, 1, n], [m, n], [*batch, m, n], [*batch, 1, n], [1], [n + 1])
            keywords["bias"] = s.tensor(s.pick(shapes), s.float_dtype(), s.layout(10))
        if s.chance(25):
            keywords["activation"] = s.pick(STRINGS) if s.chance(60) else function(s)
        if s.chance(15):
            keywords["dtype"] = named(s.pick(FLOATS) if s.chance(80) else s.pick(DTYPES))
        if s.chance(8):
            keywords["core_grid"] = Made("CoreGrid", (), (("x", 8), ("y", 8)))
        s.output(config(s, s.memory(keywords)), [*batch, m, n], a, "optional_output_tensor", 8)
        return call(name, a, b, **keywords)

    return space


def norm(name: str) -> Space:
    """layer_norm, rms_norm."""

    def space(s: Source) -> Call:
        x = s.tensor(s.shape(1), s.float_dtype() if s.chance(90) else s.pick(DTYPES), s.layout(10))
        width = x.shape[-1]
        keywords: Keywords = {}

        def vector() -> Any:
            rows = s.chance(30)
            shapes: list[Any] = [[width], [1, width], [1, 1, 1, width], [width + 1], [2, width]]
            if rows:
                shapes = [[max(1, width // 32), 32], [width], [1, 1, max(1, width // 32), 32]]
            dtype = s.float_dtype() if s.chance(90) else s.pick(DTYPES)
            return s.tensor(
                s.pick(shapes[:3]) if s.chance(85) else s.pick(shapes), dtype, "ROW_MAJOR" if rows else "TILE"
            )

        for key, percent in (("weight", 50), ("bias", 40)):
            if s.chance(percent):
                keywords[key] = vector()
        if s.chance(25):
            shape = x.shape if s.chance(80) else s.shape()
            keywords["residual_input_tensor"] = s.tensor(shape, s.float_dtype(), s.layout(10))
        if s.chance(30):
            keywords["epsilon"] = s.pick((1e-5, 1, 1e-12))
        return call(name, x, **config(s, s.memory(keywords)))

    return space


def softmax(s: Source) -> Call:
    """Over any dim."""
    x = s.tensor(s.shape(), s.dtype() if s.chance(50) else s.float_dtype())
    keywords = config(s, s.memory({}))
    if s.chance(15):
        keywords["numeric_stable"] = s.pick((True, False))
    if s.chance(20):
        return call("softmax", x, **keywords)
    dim = s.dim(len(x.shape)) if s.chance(85) else s.integer(-6, 6)
    return call("softmax", x, dim, **keywords) if s.chance(60) else call("softmax", x, dim=dim, **keywords)


def attention(s: Source) -> Call:
    """Heads shared or not, with a mask or causal or neither."""
    batch, heads = s.pick(FEW), s.pick((2, 1, 4))
    shared = s.pick([count for count in (heads, 1, 2) if heads % count == 0])
    queries, width = s.pick(SIZES[:-1]), s.pick((32, 64)) if s.chance(90) else s.pick((40, 96, 33))
    causal = s.chance(40)
    keys = queries if causal and s.chance(90) else s.pick(SIZES[:-1])
    dtype = s.pick(("bfloat16", "bfloat8_b", "bfloat4_b"))
    q = s.tensor((batch, heads, queries, width), dtype, s.layout(3))
    k = s.tensor((batch, shared, keys, width), dtype if s.chance(90) else s.pick(FLOATS), "TILE")
    v = s.tensor((batch, shared, keys, width if s.chance(95) else 32), k.dtype, "TILE")
    keywords: Keywords = {} if causal and s.chance(50) else {"is_causal": causal}
    if s.chance(35 if not causal else 5):
        shapes = [(1, 1, queries, keys), (batch, heads, queries, keys), (batch, 1, queries, keys)]
        if s.chance(15):
            shapes = [
                (1, 1, 1, keys),
                (queries, keys),
                (batch + 1, 1, queries, keys),
                (1, 1, queries, keys + 1),
            ]
        keywords["attn_mask"] = s.tensor(s.pick(shapes), s.pick(FLOATS), "TILE")
    if s.chance(20):
        keywords["scale"] = s.pick((0.125, 1))
    if s.chance(20):
        keywords["output_concat_heads"] = s.pick((True, False))
    name = "transformer.scaled_dot_product_attention"
    return call(name, q, k, v, **config(s, s.memory(keywords)))


def heads_split(name: str, joint: bool, transpose: str) -> Space:
    """q, k and v out of one projection, or out of two."""

    def space(s: Source) -> Call:
        batch, tokens = s.pick(FEW), s.pick(SIZES)
        heads, width = s.pick((2, 1, 4)), s.pick((32, 64)) if s.chance(85) else s.pick((40, 33, 16))
        shared = s.pick([count for count in (heads, 1, 2) if heads % count == 0])
        shared = 0 if s.chance(10) else shared  # queries alone
        between = [1] if joint else []
        dtype = s.float_dtype(90) if s.chance(90) else s.pick(DTYPES)
        keywords: Keywords = {"num_heads": heads}
        if shared != heads or s.chance(30):
            keywords["num_kv_heads"] = shared
        if s.chance(50):
            keywords[transpose] = s.pick((False, True))
        args = [s.tensor((batch, *between, tokens, (heads + 2 * shared) * width), dtype, s.layout(4))]
        if s.chance(25):
            args = [
                s.tensor((batch, *between, tokens, heads * width), dtype, "TILE"),
                s.tensor(
                    (batch, *between, tokens, 2 * shared * width), dtype if s.chance(90) else None, "TILE"
                ),
            ]
        return call(name, *args, **s.memory(keywords))

    return space


def heads_joined(name: str) -> Space:
    """Heads side by side."""

    def space(s: Source) -> Call:
        shape = (
            s.pick(FEW),
            s.pick((2, 1, 4)),
            s.pick(SIZES),
            s.pick((32, 64)) if s.chance(70) else s.pick(SIZES),
        )
        shape = shape if s.chance(93) else s.shape()
        x = s.tensor(shape, s.float_dtype(85) if s.chance(85) else s.pick(DTYPES), s.layout(8))
        return call(name, x, **s.memory({}))

    return space


def rotary(s: Source) -> Call:
    """Heads turned by cosines and sines of as many tokens, or of more."""
    width = s.pick((32, 64, 128, 192)) if s.chance(80) else s.pick((96, 80, 33, 16))
    tokens = s.integer(1, 130) if s.chance(70) else s.pick(SIZES)
    dtype = s.pick(("bfloat16", "float32")) if s.chance(90) else s.pick(DTYPES)
    x = s.tensor((s.pick(FEW), s.pick((2, 1, 4, 3)), tokens, width), dtype, s.layout(4))
    longer = s.integer(0, 70) if s.chance(70) else s.pick((0, 0, -1))
    shape = [1, 1, max(tokens + longer, 1), width]
    if s.chance(12):
        shape[s.pick((0, 1, 3))] = s.pick((2, 32, 64))
    kind = dtype if s.chance(85) else s.pick(FLOATS)
    cos = s.tensor(tuple(shape), kind, s.layout(3))
    same = (tuple(shape), kind) if s.chance(92) else ((1, 1, tokens + 32, width), s.pick(FLOATS))
    sin = s.tensor(*same, s.layout(3))
    name = "experimental.rotary_embedding_hf"
    return call(name, x, cos, sin, **config(s, s.memory({}), 30))


def update_cache(s: Source) -> Call:
    """A row a batch into a cache, mostly of a dtype that it takes and where there is room."""
    batch, heads = s.pick((1, 2, 3, 31, 33)), s.pick((1, 2, 3))
    tokens, width = s.pick((64, 40, 33, 1)), s.pick((32, 64, 40))
    kept = s.tensor(
        (batch, heads, tokens, width), s.float_dtype() if s.chance(92) else s.pick(DTYPES), "TILE"
    )
    rows = batch if s.chance(80) else s.pick((1, 32, 33, 64))
    shape = [1, heads, rows, width]
    if s.chance(20):
        shape[s.pick((0, 1, 3))] = s.pick((1, 2, 32))
    new = s.tensor(tuple(shape), s.float_dtype() if s.chance(92) else s.pick(DTYPES), s.layout(8))
    place = s.integer(0, tokens - 1) if s.chance(85) else s.pick((tokens, 64, -1, 1.5))
    keywords: Keywords = {}
    if s.chance(20):
        keywords["batch_offset"] = s.pick((0, 1, 31, -1))
    return call("update_cache", kept, new, place, **config(s, keywords, 30))


def embedding(s: Source) -> Call:
    """Ids in rows or tiles, a table in either."""
    shapes = [(2, 32), (2, 40), (7,), (1, 33), (2, 1), (1, 1, 40), (2, 1, 40)]
    ids = s.pick(shapes) if s.chance(92) else s.pick([(), (2, 3, 40), (1, 1, 1, 40), (2, 2, 2, 2)])
    rows, width = s.pick((50, 32, 64, 7)), s.pick(SIZES)
    table = (
        (rows, width)
        if s.chance(85)
        else s.pick([(1, rows, width), (1, 1, rows, width), (2, rows, width), (width,)])
    )
    x = s.tensor(ids, "uint32" if s.chance(80) else s.pick(DTYPES), s.layout(75))
    weight = s.tensor(table, "bfloat16" if s.chance(80) else s.pick(DTYPES), s.layout(60))
    keywords: Keywords = {}
    if s.chance(40):
        keywords["layout"] = placed(s.pick(("TILE", "ROW_MAJOR")))
    if s.chance(20):
        keywords["dtype"] = named(s.pick(FLOATS) if s.chance(80) else s.pick(DTYPES))
    if s.chance(10):
        keywords["padding_idx"] = s.pick((0, 3))
    s.output(s.memory(keywords), (*ids, width), weight, percent=8)
    return call("embedding", x, weight, **keywords)


def reduction(name: str) -> Space:
    """Over some dims, one, or all."""

    def space(s: Source) -> Call:
        x = s.tensor(s.shape(), s.float_dtype() if s.chance(70) else s.pick(DTYPES))
        rank = len(x.shape)
        keywords = config(s, s.memory({}))
        if s.chance(15):
            keywords["scalar"] = s.pick((2.0, 0.5, 1))
        if s.chance(10):
            keywords["correction"] = s.pick((True, False))
        dim: Any = None
        if s.chance(80):
            dim = s.dim(rank) if s.chance(80) else s.integer(-6, 6)
            if s.chance(30):
                dim = [s.dim(rank) for _ in range(s.pick((1, 2, 3)))]
        keep = s.pick((False, True))
        if s.chance(30):
            return call(name, x, dim=dim, keepdim=keep, **keywords)
        return call(name, x, dim, keep, **keywords) if s.chance(70) else call(name, x, dim, **keywords)

    return space


def argmax(s: Source) -> Call:
    """Along one dim, or over everything."""
    x = s.tensor(s.shape(), s.float_dtype() if s.chance(70) else s.pick(COUNTED), s.layout(50))
    keywords = s.memory({})
    if s.chance(10):
        keywords["output_tensor"] = s.tensor(x.shape[:-1], "uint32", "ROW_MAJOR")
    dim = None if s.chance(20) else s.dim(len(x.shape)) if s.chance(85) else s.integer(-6, 6)
    if dim is None and s.chance(50):
        return call("argmax", x, **keywords)
    return call("argmax", x, dim, s.pick((False, True)), **keywords)


def gather(s: Source) -> Call:
    """An index that is as large as the input, narrower, or longer along the dim; its zeros are always there."""
    shape = s.shape(2) if s.chance(93) else s.shape()
    rank = len(shape)
    dim = s.dim(rank) if s.chance(90) else s.integer(-6, 6)
    places = list(shape)
    if rank and -rank <= dim < rank:
        places[dim] = s.pick((1, 3, 32, 40))
    if rank and s.chance(15):
        places[s.integer(0, rank - 1)] += s.pick((-1, 1, 32))
    if s.chance(8):
        places = list(s.shape())
    layout = "TILE" if s.chance(90) else "ROW_MAJOR"
    x = s.tensor(shape, s.float_dtype(85) if s.chance(80) else s.pick(DTYPES), layout)
    kind = s.pick(("uint32", "uint16")) if s.chance(80) else s.pick(DTYPES)
    index = s.tensor([max(size, 1) for size in places], kind, layout if s.chance(90) else s.layout(50))
    keywords = s.output(s.memory({}), index.shape, x, "out", percent=12)
    return call("gather", x, dim, index, **keywords)
