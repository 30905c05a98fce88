"""What the ttnn calls of the sketches compute, in float64: a tensor over n chips is an array [n, ...].

Kernel configurations, dtypes and layouts are taken and mean nothing: this is arithmetic, on which a sketch is compared
with PyTorch. The calls that the sketches make are here and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Tensor(np.ndarray[Any, Any]):
    """An array [chips, ...]."""

    def __new__(cls, values: Any, dtype: Any = None, device: Any = None, layout: Any = None) -> Tensor:
        return on_chips(np.asarray(values), 1)

    def cpu(self) -> Tensor:
        return self

    def to_numpy(self) -> Array:
        first: Array = np.asarray(self)[0]
        return first


def on_chips(values: Any, count: int) -> Tensor:
    """The same values on each of ``count`` chips."""
    array = np.asarray(values)
    kind = np.float64 if array.dtype.kind == "f" else np.int64
    return np.repeat(array[None].astype(kind), count, axis=0).view(Tensor)


def sharded(values: Array, dim: int, count: int) -> Tensor:
    """Equal parts along ``dim``, one a chip."""
    return np.stack(np.split(values.astype(np.float64), count, axis=dim)).view(Tensor)


bfloat16 = float32 = uint32 = int32 = None
TILE_LAYOUT, ROW_MAJOR_LAYOUT = "tiles", "rows"
UnaryOpType = SimpleNamespace(SILU="silu", RSQRT="rsqrt", MUL_UNARY_SFPU="times")


class UnaryWithParam:
    """A unary op and its parameter."""

    def __init__(self, op: str, parameter: float) -> None:
        self.op, self.parameter = op, parameter


def _applied(x: Any, ops: Sequence[Any]) -> Any:
    for op in ops:
        if isinstance(op, UnaryWithParam):
            assert op.op == "times"
            x = x * op.parameter
        else:
            x = {"silu": silu, "rsqrt": rsqrt}[op](x)
    return x


def _binary(function: Any) -> Any:
    def call(
        a: Any,
        b: Any,
        *,
        input_tensor_a_activations: Sequence[Any] = (),
        input_tensor_b_activations: Sequence[Any] = (),
        activations: Sequence[Any] = (),
    ) -> Any:
        a, b = _applied(a, input_tensor_a_activations), _applied(b, input_tensor_b_activations)
        if np.ndim(b) and np.ndim(b) < np.ndim(a):  # behind the chips, shapes are aligned at their ends
            b = b.reshape(len(b), *(1,) * (a.ndim - b.ndim), *b.shape[1:])
        return _applied(function(a, b), activations)

    return call


add, multiply = _binary(np.add), _binary(lambda a, b: a * b)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def silu(x: Any) -> Any:
    return x * sigmoid(x)


def rsqrt(x: Any) -> Any:
    return 1 / np.sqrt(x)


def square(x: Any) -> Any:
    return x * x


def lerp(start: Any, end: Any, weight: Any) -> Any:
    return start + weight * (end - start)


def mac(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


def addcmul(a: Any, b: Any, c: Any, *, value: float) -> Any:
    return a + value * b * c


def mean(x: Any, dim: int, keepdim: bool, **_: Any) -> Any:
    return np.mean(x, axis=dim, keepdims=keepdim)


def sum(x: Any, dim: int, keepdim: bool, **_: Any) -> Any:  # noqa: A001  # ttnn's name
    return np.sum(x, axis=dim, keepdims=keepdim)


def rms_norm(x: Any, *, weight: Any, epsilon: float, **_: Any) -> Any:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight[:, None, None, None, :]


def matmul(a: Any, b: Any, *, transpose_a: bool = False, transpose_b: bool = False, **_: Any) -> Any:
    a = np.swapaxes(a, -1, -2) if transpose_a else a
    b = np.swapaxes(b, -1, -2) if transpose_b else b
    return a @ (b if b.ndim == a.ndim else b[:, None, None])


def linear(x: Any, weight: Any, *, activation: str | None = None, **_: Any) -> Any:
    made = matmul(x, weight)
    return made if activation is None else {"silu": silu}[activation](made)


def softmax(x: Any, dim: int, **_: Any) -> Any:
    shifted = np.exp(x - np.max(x, axis=dim, keepdims=True))
    return shifted / np.sum(shifted, axis=dim, keepdims=True)


def moreh_softmax_backward(y: Any, dy: Any, dim: int, **_: Any) -> Any:
    axis = dim + 1  # of the chip's tensor
    return y * (dy - np.sum(y * dy, axis=axis, keepdims=True))


def reshape(x: Any, shape: Sequence[int]) -> Any:
    return x.reshape(len(x), *shape)


def concat(parts: Sequence[Any], dim: int) -> Any:
    assert dim == -1
    return np.concatenate(list(parts), axis=-1)


def all_reduce(x: Any, *, cluster_axis: int) -> Any:
    return np.repeat(np.sum(x, axis=0, keepdims=True), len(x), axis=0)


class experimental:  # noqa: N801  # ttnn's name
    """ttnn.experimental."""

    @staticmethod
    def nlp_create_qkv_heads(
        x: Any, *, num_heads: int, num_kv_heads: int, transpose_k_heads: bool
    ) -> tuple[Any, Any, Any]:
        width = x.shape[-1] // (num_heads + 2 * num_kv_heads)
        heads = x.reshape(*x.shape[:2], x.shape[3], -1, width).swapaxes(2, 3)
        cut = num_heads + num_kv_heads
        return heads[:, :, :num_heads], heads[:, :, num_heads:cut], heads[:, :, cut:]

    @staticmethod
    def nlp_concat_heads(x: Any) -> Any:
        n, batch, _, tokens, _ = x.shape
        return x.swapaxes(2, 3).reshape(n, batch, 1, tokens, -1)

    @staticmethod
    def rotary_embedding_hf(x: Any, cos: Any, sin: Any, *, is_decode_mode: bool = False, **_: Any) -> Any:
        half = x.shape[-1] // 2
        turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
        if not is_decode_mode:
            cos, sin = cos[..., : x.shape[-2], :], sin[..., : x.shape[-2], :]
        return x * cos + turned * sin

    @staticmethod
    def minimal_matmul_split(x: Any, weight: Any, *, chunks: int, **_: Any) -> list[Any]:
        return np.split(matmul(x, weight), chunks, axis=-1)

    @staticmethod
    def nlp_create_qkv_heads_decode(x: Any, *, num_heads: int, num_kv_heads: int) -> tuple[Any, Any, Any]:
        n, _, _, rows, width = x.shape
        heads = x.reshape(n, 1, rows, -1, width // (num_heads + 2 * num_kv_heads))
        cut = num_heads + num_kv_heads
        return heads[..., :num_heads, :], heads[..., num_heads:cut, :], heads[..., cut:, :]

    @staticmethod
    def paged_update_cache(cache: Any, x: Any, *, update_idxs_tensor: Any) -> None:
        for row, place in enumerate(update_idxs_tensor[0]):
            cache[0, row, :, place] = x[0, 0, row]


class transformer:  # noqa: N801  # ttnn's name
    """ttnn.transformer."""

    @staticmethod
    def scaled_dot_product_attention(
        q: Any, k: Any, v: Any, *, is_causal: bool, output_concat_heads: bool, **_: Any
    ) -> Any:
        assert is_causal
        assert output_concat_heads
        tokens = q.shape[-2]
        hidden = np.triu(np.full((tokens, tokens), -np.inf), 1)
        return experimental.nlp_concat_heads(_attend(q, k, v, hidden))

    @staticmethod
    def scaled_dot_product_attention_decode(q: Any, k: Any, v: Any, *, cur_pos_tensor: Any, **_: Any) -> Any:
        made = np.empty_like(q)
        for row, place in enumerate(cur_pos_tensor[0]):
            seen = slice(0, int(place) + 1)
            one = q[:, :, row, :, None]  # [n, 1, heads, 1, head_dim]
            keys, values = k[:, row : row + 1, :, seen], v[:, row : row + 1, :, seen]
            made[:, :, row] = _attend(one, keys, values, np.zeros(()))[..., 0, :]
        return made


def _attend(q: Any, k: Any, v: Any, mask: Array) -> Any:
    group = q.shape[2] // k.shape[2]
    k, v = np.repeat(k, group, axis=2), np.repeat(v, group, axis=2)
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]) + mask
    return softmax(scores, -1) @ v


def zeros(shape: Sequence[int], **_: Any) -> Any:
    return on_chips(np.zeros(shape), 1)


def embedding(ids: Any, table: Any, **_: Any) -> Any:
    return table[0][ids[0]][None].view(Tensor)


def fill_cache(cache: Any, x: Any, row: int) -> None:
    cache[:, row, :, : x.shape[-2]] = x[:, 0]


def plus_one(x: Any) -> None:
    x += 1


def argmax(x: Any, dim: int, keepdim: bool) -> Any:
    return np.argmax(x, axis=dim, keepdims=keepdim).view(Tensor)


def to_memory_config(x: Any, _: Any) -> Any:
    return x


def to_layout(x: Any, _: Any) -> Any:
    return x
