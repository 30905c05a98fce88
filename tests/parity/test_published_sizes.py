"""The generated module against Transformers at the published sizes, with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from generated.bert import BertConfig, BertModel

torch = pytest.importorskip("torch", reason="parity is measured where torch is")
transformers = pytest.importorskip("transformers", reason="parity is measured where transformers is")

SIZES = {
    "tiny": (2, 128, 2, 512),
    "small": (4, 512, 8, 2048),
    "base": (12, 768, 12, 3072),
    "large": (24, 1024, 16, 4096),
}


def both(size: str, dtype: str) -> tuple[Any, BertModel]:
    layers, hidden, heads, inner = SIZES[size]
    torch.manual_seed(0)
    theirs = transformers.BertModel(
        transformers.BertConfig(
            num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, intermediate_size=inner
        )
    ).eval()
    ours = BertModel(BertConfig(layers=layers, hidden=hidden, heads=heads, inner=inner), dtype=dtype)
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return theirs, ours


def inputs(batch: int, tokens: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(tokens)
    ids = rng.integers(0, 30522, (batch, tokens))
    return ids, (np.arange(tokens)[None] < rng.integers(1, tokens + 1, (batch, 1))).astype(np.int64)


def difference(theirs: Any, ours: BertModel, batch: int, tokens: int) -> tuple[float, float]:
    """The largest differences of both outputs, as parts of the range; of tokens that are there."""
    ids, mask = inputs(batch, tokens)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    found = ours(ids, attention_mask=mask)
    hidden, pooled = wanted.last_hidden_state.numpy(), wanted.pooler_output.numpy()
    seen = mask.astype(bool)
    return (
        float(np.abs(found.last_hidden_state.numpy() - hidden)[seen].max() / np.ptp(hidden[seen])),
        float(np.abs(found.pooler_output.numpy() - pooled).max() / np.ptp(pooled)),
    )


@pytest.mark.parametrize(
    "size",
    [
        "tiny",
        "small",
        pytest.param("base", marks=pytest.mark.deep),
        pytest.param("large", marks=pytest.mark.deep),
    ],
)
def test_float32_equals_transformers(size: str) -> None:
    theirs, ours = both(size, "float32")
    for batch, tokens in ((2, 33), (1, 7)):
        # The bar is 1e-4 of the range; what is measured is below 1e-5, the order of float32 sums.
        assert max(difference(theirs, ours, batch, tokens)) < 1e-5


def test_bfloat16_is_as_close_as_torchs_own() -> None:
    theirs, ours = both("small", "bfloat16")
    ids, mask = inputs(2, 64)
    with torch.no_grad():
        exact = theirs.double()(
            torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).last_hidden_state.numpy()
        rounded = theirs.bfloat16()(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    found, torchs = (
        ours(ids, attention_mask=mask).last_hidden_state.numpy(),
        rounded.last_hidden_state.float().numpy(),
    )
    seen = mask.astype(bool)

    def error(values: np.ndarray[Any, Any]) -> float:
        return float(np.linalg.norm((values - exact)[seen]) / np.linalg.norm(exact[seen]))

    assert error(found) < 2 * error(torchs)
    assert abs(np.linalg.norm(found[seen]) / np.linalg.norm(exact[seen]) - 1) < 0.01
