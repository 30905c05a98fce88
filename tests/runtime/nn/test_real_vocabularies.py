"""The products over a whole vocabulary, whose gradients are known to lose digits: at the sizes that models have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn

from generated.bert import BertConfig, BertForMaskedLM

WATCHED = (
    "cls.predictions.bias",
    "cls.predictions.transform.dense.weight",
    "bert.embeddings.word_embeddings.weight",
    "bert.encoder.layer.0.attention.self.query.weight",
)
"""From the logits down: each is behind one more product than the last."""


def gradients(
    vocab: int, dtype: str, weights: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights, and the gradients of a masked LM of one small layer under a vocabulary."""
    config = BertConfig(vocab=vocab, hidden=64, heads=2, inner=64, layers=1, positions=64)
    model = BertForMaskedLM(config, dtype=dtype, seed=0)
    if weights is not None:
        model.load_state_dict(weights)  # float64 arrays into a bfloat16 model: rounded once
    choose = np.random.default_rng(0)
    ids, labels = choose.integers(0, vocab, (2, 2, 64))
    with nn.enable_grad():
        loss = model(ids, labels=labels).loss
    assert loss is not None
    loss.backward()
    found = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return model.state_dict(), found


@pytest.mark.parametrize("vocab", [30_522, 50_257, pytest.param(128_256, marks=pytest.mark.deep)])
def test_gradients_through_the_vocabulary_keep_their_direction_and_size(vocab: int) -> None:
    weights, exact = gradients(vocab, "float64", None)
    _, rounded = gradients(vocab, "bfloat16", weights)
    for name in WATCHED:
        a, b = exact[name].ravel().astype(np.float64), rounded[name].ravel().astype(np.float64)
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        # Values of 8 bits are off by 2^-9 at most, at random: 4e-6 of the squared length for each rounding that
        # lies between. Some 20 of them are less than 1e-4; sums that were kept in bfloat16 would show 1e-2.
        assert cosine > 0.9999, f"{name}: {cosine}"
        assert abs(np.linalg.norm(b) / np.linalg.norm(a) - 1) < 0.005, name
