"""What ``nn`` offers blocks in training, called on the real ttnn and a mock board; runs in the Python that has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ttmlc_runtime.mockboard import Capture, capture, open_board

Data = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]


def training_calls(request: Data) -> Data:
    """The programs of each call, by kind, and what it gives; and the same of one more call with other numbers."""
    import numpy as np
    import ttnn
    from ttmlc_runtime import nn

    device = open_board(ttnn, request["board"])
    kernels = nn.Kernels.of(nn.Policy(), device)

    def make(*shape: int, dtype: Any = ttnn.bfloat16, layout: Any = ttnn.TILE_LAYOUT) -> Any:
        return ttnn.zeros(list(shape), dtype, layout, device)

    def rows(*shape: int) -> Any:
        return make(*shape, dtype=ttnn.uint32, layout=ttnn.ROW_MAJOR_LAYOUT)

    found: Data = {}
    for batch, tokens, features in request["sizes"]:
        x, dy = make(batch, 1, tokens, features), make(batch, 1, tokens, features)
        mean, rstd = make(batch, 1, tokens), make(batch, 1, tokens)
        weight, bias = make(features), make(features)
        scores, over_keys = make(batch, 2, tokens, tokens), make(batch, 1, 1, tokens)
        causal = make(batch, 1, tokens, tokens)
        ids, table = rows(batch, tokens), make(99, features, layout=ttnn.ROW_MAJOR_LAYOUT)
        heads, part = make(batch, 2, tokens, features), nn.Table(np.ones(features // 2 - 1))
        places = np.arange(batch * tokens).reshape(batch, tokens)
        calls: dict[str, Callable[[int], Any]] = {
            "dropout": lambda n, x=x: nn.dropout(x, 0.1, n, n),
            "layer_norm": lambda _, x=x, w=weight, b=bias: nn.layer_norm(x, w, b, 1e-12, **kernels.norm),
            "layer_norm without bias": lambda _, x=x, w=weight: nn.layer_norm(
                x, w, None, 1e-12, **kernels.norm
            ),
            "layer_norm_backward": lambda _, a=(dy, x, mean, rstd, weight): nn.layer_norm_backward(
                *a, **kernels.norm
            ),
            "layer_norm_backward without bias": lambda _, a=(dy, x, mean, rstd, weight): (
                nn.layer_norm_backward(*a, bias=False, **kernels.norm)
            ),
            "rms_norm_backward": lambda _, a=(dy, x, weight): nn.rms_norm_backward(*a, 1e-6, **kernels.norm),
            "softmax_backward": lambda _, s=scores: nn.softmax_backward(s, s, **kernels.softmax),
            "masked_scores over keys": lambda _, s=scores, m=over_keys: nn.masked_scores(s, 0.125, m),
            "masked_scores causal": lambda _, s=scores, m=causal: nn.masked_scores(s, 0.125, m),
            "masked_scores without a mask": lambda _, s=scores: nn.masked_scores(s, 0.125, None),
            "embedding_backward": lambda _, a=(ids, table, dy): nn.embedding_backward(*a),
            "embedding_backward with a row that is skipped": lambda n, a=(ids, table, dy): (
                nn.embedding_backward(*a, skip_row=n)
            ),
            "embedding_backward of three dims": lambda _, i=ids, t=table, a=(batch, tokens, features): (
                nn.embedding_backward(i, t, make(*a))
            ),
            "rotary of a part, by row": lambda n, x=heads, t=part, p=places: nn.rotary(
                x, t.at(p + n, device), **kernels.attention
            ),
            "rotary_backward of a part, by row": lambda n, x=heads, t=part, p=places: nn.rotary_backward(
                x, t.at(p + n, device), **kernels.attention
            ),
            **{
                f"activate_backward of {name}": lambda _, n=name, a=(dy, x): nn.activate_backward(*a, n)
                for name in ("gelu", "gelu_new", "relu", "silu", "tanh", "sigmoid")
            },
        }
        for name, call in calls.items():
            made, first = _captured(ttnn, call, 1)
            _, second = _captured(ttnn, call, 2)
            found[f"{name} {batch} x {tokens} x {features}"] = {
                "kinds": [program.kind for program in first.programs],
                "shapes": [list(one.shape) for one in _several(made) if one is not None],
                "new": second.new_programs,
                "compute": [dict(program.compute) for program in first.programs if program.compute],
            }
    return found


def _captured(ttnn: Any, call: Callable[[int], Any], number: int) -> tuple[Any, Capture]:
    return capture(ttnn, lambda: call(number))


def _several(made: Any) -> list[Any]:
    return list(made) if isinstance(made, tuple) else [made]
