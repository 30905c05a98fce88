"""The table of spaces: for each op of the emulator, where its arguments are drawn from."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.conformance.differential.calls import Call
from tests.conformance.differential.spaces import eltwise, layout, rows, training
from tests.conformance.differential.spaces.mutation import mutated
from tests.conformance.differential.spaces.source import Source, Space

UNARY = (
    "abs acos asin atan ceil cos cosh eqz erf erfc exp exp2 expm1 floor frac gez gtz hardsigmoid hardswish identity "
    "isfinite isinf isnan lez log log10 log1p log2 log_sigmoid logical_not ltz mish neg nez reciprocal relu relu6 "
    "rsqrt selu sigmoid sign silu sin sinh softplus softsign sqrt square swish tan tanh tanhshrink trunc"
).split()
BINARY = (
    "add subtract multiply divide sub mul div rsub maximum minimum squared_difference pow eq ne lt le gt ge "
    "logical_and logical_or logical_xor"
).split()

SPACES: dict[str, Space] = {
    **{name: eltwise.unary(name) for name in UNARY},
    "gelu": eltwise.gelu,
    "leaky_relu": eltwise.leaky_relu,
    "clamp": eltwise.clamp,
    "unary_chain": eltwise.unary_chain,
    **{name: eltwise.binary(name) for name in BINARY},
    **{name: eltwise.in_place(name) for name in ("add_", "subtract_", "multiply_")},
    "where": eltwise.where,
    "mac": eltwise.mac,
    **{name: rows.product(name) for name in ("matmul", "linear")},
    **{name: rows.norm(name) for name in ("layer_norm", "rms_norm")},
    "softmax": rows.softmax,
    "transformer.scaled_dot_product_attention": rows.attention,
    "experimental.nlp_create_qkv_heads": rows.heads_split(
        "experimental.nlp_create_qkv_heads", True, "transpose_k_heads"
    ),
    "transformer.split_query_key_value_and_split_heads": rows.heads_split(
        "transformer.split_query_key_value_and_split_heads", False, "transpose_key"
    ),
    "experimental.nlp_concat_heads": rows.heads_joined("experimental.nlp_concat_heads"),
    "experimental.rotary_embedding_hf": rows.rotary,
    "transformer.concatenate_heads": rows.heads_joined("transformer.concatenate_heads"),
    "update_cache": rows.update_cache,
    "embedding": rows.embedding,
    "embedding_bw": training.embedding_backward,
    "experimental.dropout": training.dropout,
    **{name: training.slope(name) for name in ("gelu_bw", "tanh_bw", "sigmoid_bw")},
    "moreh_softmax_backward": training.softmax_backward,
    "moreh_layer_norm": training.layer_norm,
    "moreh_layer_norm_backward": training.layer_norm_backward,
    **{name: training.three(name) for name in ("lerp", "addcmul", "addcdiv")},
    **{name: training.adam(name) for name in ("moreh_adamw", "moreh_adam")},
    **{name: rows.reduction(name) for name in ("sum", "mean", "max", "min", "var")},
    "argmax": rows.argmax,
    "gather": rows.gather,
    **{name: layout.reshape(name) for name in ("reshape", "view")},
    "unsqueeze": layout.unsqueeze,
    "squeeze": layout.squeeze,
    "unsqueeze_to_4D": layout.unsqueeze_to_4d,
    "permute": layout.permute,
    "transpose": layout.transpose,
    "repeat": layout.repeat,
    "repeat_interleave": layout.repeat_interleave,
    "expand": layout.expand,
    "slice": layout.slices,
    "getitem": layout.getitem,
    "concat": layout.concat,
    "split": layout.split,
    "chunk": layout.chunk,
    "pad": layout.pad,
    "fill_implicit_tile_padding": layout.fill_padding,
    **{name: layout.creation(name) for name in ("zeros", "ones", "empty")},
    "full": layout.creation("full", value=True),
    **{name: layout.creation_like(name) for name in ("zeros_like", "ones_like")},
    "full_like": layout.creation_like("full_like", value=True),
    "arange": layout.arange,
    "to_device": layout.to_device,
    "from_device": layout.from_device,
    "to_dtype": layout.to_dtype,
    "typecast": layout.typecast,
    "to_layout": layout.to_layout,
    "to_memory_config": layout.to_memory_config,
    "clone": layout.clone,
    "copy": layout.copy,
    "copy_host_to_device_tensor": layout.copy_host_to_device,
}

MUTATED = 60
"""Calls in a hundred with something wrong; about half of them ttnn takes all the same."""


def strategy(op: str) -> st.SearchStrategy[Call]:
    """Calls of ``op``, a good part of which ttnn refuses."""

    @st.composite
    def drawn(draw: st.DrawFn) -> Call:
        source = Source(draw)
        call = SPACES[op](source)
        return mutated(source, call) if source.chance(MUTATED) else call

    return drawn()
