"""What blocks call in training beside ttnn's own ops: a step of a forward or backward pass that takes a few calls.

Each says how many device programs it makes. ``kernels`` are keyword arguments that say how to compute, as in
``kernels.norm``; the moreh ops take a ``compute_kernel_config`` and no core grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ttmlc_runtime import emulator as types
from ttmlc_runtime import ttnn
from ttmlc_runtime.nn.inputs import Mask
from ttmlc_runtime.nn.outputs import Activation

TILE = types.TILE_SIZE
WORDS = 1 << 32
JOINED = 8192
"""Features of joined heads: nlp_concat_heads keeps two rows of tiles of them on a core, 1 MiB of some 1.3."""


def site_seed(seed: int, site: int) -> int:
    """A seed of ttnn's, 32 bits, for one of the places that drop out under the same seed.

    Every bit depends on all of both: it is the finaliser of splitmix64.
    """
    z = (seed * 0x9E3779B97F4A7C15 + (site + 1) * 0xD1B54A32D192ED03) % (1 << 64)
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % (1 << 64)
    return (z ^ (z >> 31)) % WORDS


def dropout(x: types.Tensor, p: float, seed: int | None, site: int, *, scale: float = 1.0) -> types.Tensor:
    """X * scale with elements dropped so often and the others scaled up; none are where ``p`` is 0 or ``seed`` is None.

    The same seed and site drop the same elements of a tensor of the same shape, so that the gradient of a dropout is
    the same dropout of the gradient. One program, and none where nothing is dropped or scaled: then it is x itself.
    x is bfloat16 in tiles.
    """
    if p == 0 or seed is None:
        return x if scale == 1.0 else ttnn.multiply(x, scale)
    kept = scale / (1 - p) if p < 1 else 0.0
    return ttnn.experimental.dropout(x, probability=p, scale=kept, seed=site_seed(seed, site))


def _room(shape: Sequence[int], like: types.Tensor) -> types.Tensor:
    """A tensor for a moreh op to write into: bfloat16 in tiles, which is all that those ops take."""
    return ttnn.empty(
        list(shape), dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=like.device(),
        memory_config=like.memory_config(),
    )  # fmt: skip


def layer_norm(
    x: types.Tensor,
    weight: types.Tensor | None,
    bias: types.Tensor | None,
    eps: float,
    **kernels: Any,
) -> tuple[types.Tensor, types.Tensor, types.Tensor]:
    """Layer norm over the last dim, and the statistics that its gradient takes: y, mean, rstd. One program.

    Args:
        x: bfloat16 [..., features] in tiles.
        weight: [features] or [1, features], or none.
        bias: likewise.
        eps: added to the variance.
        kernels: how to compute.

    Returns:
        y of x's shape; the mean of each row, and 1 / sqrt(variance + eps), of x's shape without the last dim.
    """
    outer = list(x.shape)[:-1]  # ttnn's shapes are not sliced
    mean, rstd = _room(outer, x), _room(outer, x)
    y = ttnn.moreh_layer_norm(x, 1, eps, weight, bias, mean=mean, rstd=rstd, **kernels)[0]
    assert y is not None  # mean and rstd alone may be None
    return y, mean, rstd


def layer_norm_backward(
    dy: types.Tensor,
    x: types.Tensor,
    mean: types.Tensor,
    rstd: types.Tensor,
    weight: types.Tensor | None,
    *,
    bias: bool = True,
    **kernels: Any,
) -> tuple[types.Tensor, types.Tensor | None, types.Tensor | None]:
    """The gradients of a layer norm: of x, of the weight (None without one), of the bias (None unless ``bias``).

    Two programs, or one where there is neither weight nor bias. dy and x are [..., features], two dims or more; the
    gradients of weight and bias are [features].
    """
    features = [x.shape[-1]]
    dx = _room(x.shape, x)
    dweight = None if weight is None else _room(features, x)
    dbias = _room(features, x) if bias else None
    ttnn.moreh_layer_norm_backward(
        dy, x, mean, rstd, 1, gamma=weight, input_grad=dx, gamma_grad=dweight, beta_grad=dbias, **kernels
    )
    return dx, dweight, dbias


def rms_norm_backward(
    dy: types.Tensor, x: types.Tensor, weight: types.Tensor, eps: float, **kernels: Any
) -> tuple[types.Tensor, types.Tensor]:
    """The gradients of x / sqrt(mean(x^2) + eps) * weight over the last dim: of x, and of the weight.

    ttnn has none. Twelve programs; up to three more where tiles are not filled, which move rows and fill padding, and
    one where ttnn sums many rows in two. Nothing is saved but x, which its maker mostly saves anyway. The gradient of
    the weight is summed in float32.

    Args:
        dy: bfloat16 [..., features] in tiles.
        x: what was normalised, of dy's shape.
        weight: [features].
        eps: added to the mean square.
        kernels: how to compute.
    """
    features = x.shape[-1]
    square = ttnn.mean(ttnn.multiply(x, x), dim=-1, keepdim=True, **kernels)
    rstd = ttnn.add(square, eps, activations=[ttnn.UnaryWithParam(ttnn.UnaryOpType.RSQRT)])
    rstd = ttnn.fill_implicit_tile_padding(
        rstd, 0
    )  # roots of what nothing is said of, which products would spread
    normal = ttnn.rms_norm(x, epsilon=eps, **kernels)
    along = ttnn.multiply(dy, normal)
    # Zeros around it stay zeros through any optimizer, and so around the weight, which is multiplied tile by tile.
    dweight = ttnn.fill_implicit_tile_padding(ttnn.sum(rows(along), dim=-2, keepdim=True, **kernels), 0)
    # The mean of dy * weight * normal: the product with the weight adds up at once.
    across = ttnn.matmul(along, ttnn.reshape(weight, (1, features)), transpose_b=True, **kernels)
    dx = ttnn.addcmul(ttnn.multiply(dy, weight), normal, across, value=-1 / features)
    return ttnn.multiply(dx, rstd), dweight


def softmax_backward(dy: types.Tensor, y: types.Tensor, **kernels: Any) -> types.Tensor:
    """The gradient of softmax over the last dim, from what it gave: y (dy - sum(y dy)). One program."""
    return ttnn.moreh_softmax_backward(y, dy, len(y.shape) - 1, **kernels)


def masked_scores(scores: types.Tensor, scale: float, additive: types.Tensor | None) -> types.Tensor:
    """Scores * scale + additive, which broadcasts; without ``additive`` scores * scale. One program."""
    if additive is None:
        return ttnn.multiply(scores, scale)
    scaled = ttnn.UnaryWithParam(ttnn.UnaryOpType.MUL_UNARY_SFPU, scale)
    return ttnn.add(scores, additive, input_tensor_a_activations=[scaled])


def causal_mask(
    scores: types.Tensor, causal: bool = True, *, window: int | None = None
) -> types.Tensor | None:
    """What hides the keys after each query's own place, to be added to scores; None if not causal.

    With a ``window`` those before it are hidden too. Scores are [B, heads, S, S], or [B, kv, group * S, S] where heads
    of queries stand one behind the other.
    """
    queries, keys = scores.shape[-2], scores.shape[-1]
    return Mask(None, causal, scores.device(), keys, window).scores_of(queries // keys)


def causal_window(x: types.Tensor, window: int | None) -> Mask:
    """The mask of queries x [B, heads, S, width] that each see the last ``window`` keys, itself included."""
    return Mask(None, True, x.device(), x.shape[-2], window)


def rows(x: types.Tensor) -> types.Tensor:
    """X [..., features] as [1, 1, N, features]: a row for each token.

    A view where tokens fill tiles, else one program.
    """
    shape = tuple(x.shape)
    return ttnn.reshape(x, (1, 1, prod(shape[:-1]), shape[-1]))


def spread(x: types.Tensor, tokens: int) -> types.Tensor:
    """X [B, 1, 1, features] as the first of [B, 1, tokens, features], with zeros behind: the gradient of taking it."""
    if tokens == 1:
        return x
    return ttnn.pad(x, [(0, 0), (0, 0), (0, tokens - 1), (0, 0)], 0.0)


def split_heads(x: types.Tensor, num_heads: int) -> types.Tensor:
    """X [B, 1, S, heads * width] as [B, heads, S, width], width filling tiles: nlp_concat_heads undone. One program."""
    heads, _, _ = ttnn.experimental.nlp_create_qkv_heads(
        x, num_heads=num_heads, num_kv_heads=0, transpose_k_heads=False
    )
    return heads


def join_heads(*parts: types.Tensor) -> types.Tensor:
    """Tensors [B, heads, S, width] as one [B, 1, S, features]: the heads of all of them side by side.

    Two programs: the heads behind one another, then joined at once. As a core holds whole rows of tiles then, wide ones
    are joined one by one and put together after that.
    """
    if sum(part.shape[1] * part.shape[3] for part in parts) > JOINED:
        return ttnn.concat([ttnn.experimental.nlp_concat_heads(part) for part in parts], dim=-1)
    return ttnn.experimental.nlp_concat_heads(ttnn.concat(list(parts), dim=1))


def embedding_backward(
    ids: types.Tensor,
    table: types.Tensor,
    dy: types.Tensor,
    *,
    skip_row: int | None = None,
    memory_config: types.MemoryConfig | None = None,
) -> types.Tensor:
    """The gradient of a table of embeddings [rows, features] in tiles: each row of dy, added where its id says.

    One program where the tokens fill tiles; three where they do not, because ttnn wants whole tiles of ids: the ids are
    padded with row 0, and the gradient (within its last tile, so that nothing moves) with zeros. Four more with
    ``skip_row``: they make a column of ones and zeros out of the ids, and multiply the gradient with it, which is less
    than going over the table once more.

    Args:
        ids: uint32 [batch, tokens] in rows.
        table: what was looked up in; it says how many rows there are, and nothing else.
        dy: bfloat16 [batch, 1, tokens, features] or [batch, tokens, features] in tiles.
        skip_row: a row that gets no gradient, such as that of the padding token.
        memory_config: of the result.
    """
    batch, tokens = ids.shape
    features, missing = dy.shape[-1], -tokens % TILE
    if missing:
        ids = ttnn.pad(ids, [(0, 0), (0, missing)], 0)
        dy = ttnn.pad(dy, [*[(0, 0)] * (len(dy.shape) - 2), (0, missing), (0, 0)], 0.0)
    count = batch * (tokens + missing)
    dy = ttnn.reshape(dy, (1, 1, count, features))
    if skip_row is not None:
        column = ttnn.to_layout(ttnn.reshape(ids, (1, 1, count, 1)), ttnn.TILE_LAYOUT)
        dy = ttnn.multiply(dy, ttnn.ne(column, skip_row, dtype=ttnn.bfloat16))
    made = ttnn.embedding_bw(ids, table, dy, memory_config=memory_config)
    return ttnn.reshape(made, (made.shape[-2], features))


def both(a: Activation | None, b: Activation | None) -> Activation | None:
    """The sum of two losses; None where one of them is missing."""
    return None if a is None or b is None else a + b
