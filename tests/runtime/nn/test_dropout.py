"""Dropout in whole models: forward and backward drop the same elements, at the right rate, others at each step."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.nn.functional import site_seed
from ttmlc_runtime.weights.storage import to_host

from tests.runtime.nn.pairs import HEADS, batch, loss_of, ours, run_ours, theirs

P, P_ATTENTION = 0.3, 0.2
DROPS = {"hidden_dropout_prob": P, "attention_probs_dropout_prob": P_ATTENTION}


def model_of(name: str, dtype: str = "float64", **options: Any) -> tuple[Any, dict[str, Any]]:
    head = HEADS[name]
    reference = theirs(head, **{**DROPS, **options})
    return ours(reference, dtype).train(), batch(head, 9)


@pytest.mark.parametrize("name", ["one class", "masked words, tied", "the encoder"])
def test_the_gradient_is_the_slope_with_the_same_seed(name: str) -> None:
    """Were another element dropped in the backward, no direction would have its slope."""
    model, inputs = model_of(name)
    state = model.rng_state
    ran = run_ours(model, inputs)
    weights = model.state_dict()
    rng = np.random.default_rng(3)

    def loss(step: float, way: dict[str, Any]) -> float:
        model.load_state_dict({key: value + step * way.get(key, 0) for key, value in weights.items()})
        model.rng_state = state
        return float(loss_of(model, inputs)[0])

    parts = [
        lambda n: True,
        lambda n: "embeddings" in n,
        lambda n: "layer.0.attention" in n,
        lambda n: "layer.1" in n,
    ]
    for part in parts:
        way = {key: rng.normal(size=value.shape) for key, value in weights.items() if part(key)}
        for key in way:
            if "word_embeddings" in key:
                way[key][0] = 0  # the padding row learns nothing from lookups, whatever its slope is
        length = np.sqrt(sum(float((value**2).sum()) for value in way.values()))
        way = {key: value / length for key, value in way.items()}
        slope = sum(float((ran.gradients[key] * value).sum()) for key, value in way.items())
        h = 1e-4
        far, near, back, farther = (loss(steps * h, way) for steps in (2, 1, -1, -2))
        found = (8 * (near - back) - (far - farther)) / (12 * h)
        # Five points are off by h^4 of a fifth derivative, and by roundings of a loss, 1e-13 at most, over h.
        assert abs(found - slope) < 1e-7 * max(1.0, abs(slope))
    model.load_state_dict(weights)
    # Without dropout they are others.
    with nn.enable_grad():
        plain = run_ours(model.eval(), inputs)
    assert max(np.abs(plain.gradients[key] - value).max() for key, value in ran.gradients.items()) > 1e-3


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, float, tuple[int, ...]]]:
    """The seed, site, rate and shape of every dropout from now on."""
    seen: list[Any] = []
    own = nn.dropout

    def noted(x: Any, p: float, seed: int | None, site: int, **others: Any) -> Any:
        seen.append((seed, site, p, tuple(x.shape)))
        return own(x, p, seed, site, **others)

    monkeypatch.setattr(nn, "dropout", noted)
    return seen


def test_the_backward_drops_where_the_forward_did_and_nowhere_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = model_of("one class", classifier_dropout=0.4)
    seen = watched(monkeypatch)
    loss = model(**inputs).loss
    forward = [*seen]
    seen.clear()
    loss.backward()
    assert Counter(seen) == Counter(forward)
    # Of the embeddings, the classifier, and of each layer the probabilities and two results.
    assert Counter(p for _, _, p, _ in forward) == {P: 1 + 2 * 2, P_ATTENTION: 2, 0.4: 1}
    places = {(seed, site) for seed, site, _, _ in forward}
    assert len(places) == len(forward) == 8
    assert len({site_seed(seed, site) for seed, site in places}) == 8
    seen.clear()
    model(**inputs)
    assert not places & {(seed, site) for seed, site, _, _ in seen}
    assert [one[1:] for one in seen] == [one[1:] for one in forward]


def mask(
    seed: int, site: int, p: float = P, shape: tuple[int, ...] = (2, 3, 64, 96), dtype: str = "float64"
) -> Any:
    ones = np.ones(shape, np.float64 if dtype == "float64" else np.float32)
    device = nn.open_device(dtype)
    try:
        tensor = ttnn.Tensor(ones, ttnn.bfloat16, device, ttnn.TILE_LAYOUT)
        return to_host(nn.dropout(tensor, p, seed, site)).astype(np.float64)
    finally:
        nn.close_device(device)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_so_many_are_dropped_and_the_others_are_scaled_up(p: float) -> None:
    found = mask(1, 1, p)
    kept = found[found != 0]
    assert np.abs(kept - 1 / (1 - p)).max() < 1e-6 / (1 - p)  # ttnn takes the scale as a float32
    # Five standard deviations of a binomial.
    assert abs((found == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / found.size)
    for axis in range(4):  # in every row and column of every tile, and not in blocks
        lines = (found == 0).mean(axis=axis)
        if found.shape[axis] > 8 and p == 0.5:
            assert 0.5 * p < lines.mean() < 1.5 * p
            # The rates of lines spread as independent draws do: within a fifth of their standard deviation.
            assert lines.std() == pytest.approx(np.sqrt(p * (1 - p) / found.shape[axis]), rel=0.2)


def test_masks_of_other_places_layers_and_steps_are_independent() -> None:
    """Two of them agree as often as two that know nothing of each other."""
    model, _ = model_of("one class")
    model.rng_state = (0, 1)
    first = [block.seed() for block in blocks_of(model)]
    model.rng_state = (0, 2)
    second = [block.seed() for block in blocks_of(model)]
    model.rng_state = (1, 1)
    other = [block.seed() for block in blocks_of(model)]
    seeds = [first[0], first[1], second[0], other[0]]
    assert len({*first, *second, *other}) == 3 * len(first)
    masks = {(seed, site): mask(seed, site) == 0 for seed in seeds for site in (1, 2)}
    agree = P * P + (1 - P) * (1 - P)
    for a, b in itertools.combinations(masks.values(), 2):
        assert abs((a == b).mean() - agree) < 5 * np.sqrt(agree * (1 - agree) / a.size)
    again = mask(seeds[0], 1) == 0
    assert np.array_equal(again, masks[seeds[0], 1])


def blocks_of(model: Any) -> list[Any]:
    found = [value for value in vars(model).values() if isinstance(value, nn.Block)]
    for value in vars(model).values():
        if isinstance(value, (list, tuple)):
            found += [one for part in value for one in (part if isinstance(part, (list, tuple)) else (part,))]
    return [one for one in found if isinstance(one, nn.Block)]


def test_in_bfloat16_the_same_elements_go() -> None:
    """A mask is of the seed and the place, not of the numbers' size."""
    assert np.array_equal(mask(5, 2) == 0, mask(5, 2, dtype="bfloat16") == 0)
