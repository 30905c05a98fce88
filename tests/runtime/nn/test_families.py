"""Each family with each of its heads against Transformers: outputs, losses and the gradient of every parameter."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn

from tests.runtime.nn import families
from tests.runtime.nn.families import CELLS, FAMILIES, LENGTHS, batch, seen
from tests.runtime.nn.pairs import Ran, apart, range_apart, run_ours, run_theirs, weighings

FAST = {
    ("distilbert", "masked words, tied", 33),
    ("distilbert", "a class", 7),
    ("gpt2", "next words, tied", 33),
    ("gpt2", "next words, untied", 7),
    ("gpt2", "a span", 7),
    ("gpt2", "a class", 7),
    ("llama", "next words, wide heads", 33),
    ("llama", "a class", 7),
    ("llama", "a span", 31),
    ("mistral", "next words, in a window", 33),
    ("qwen2", "next words", 7),
    ("qwen2", "next words, some in a window", 33),
    ("qwen3", "next words, biased", 33),
    ("gpt2", "next words, and one of several", 7),
    ("roberta", "masked words, tied", 33),
    ("roberta", "one of several", 7),
}
"""What a fast run tries; the whole table is deep."""


@cache
def pair(family: str, head: str) -> tuple[Any, Any]:
    """Transformers' model, in float64 where it can, and ours in float32, with the same weights."""
    found = FAMILIES[family]
    model = families.theirs(found, found.heads[head])
    with TemporaryDirectory() as folder:
        made = families.ours(found, model, Path(folder), strict=True)
    return (model.double() if found.heads[head].double else model), made


def cells() -> list[Any]:
    """The whole table, a cell a length; twice where there are types of tokens, with them and without."""
    return [
        pytest.param(*cell, tokens, types, marks=() if (*cell, tokens) in FAST else pytest.mark.deep)
        for cell in CELLS
        for tokens in LENGTHS
        for types in ((False, True) if FAMILIES[cell[0]].types else (False,))
    ]


def inputs_of(family: str, head: str, tokens: int, types: bool, mask: bool) -> dict[str, Any]:
    found = FAMILIES[family]
    return batch(found, found.heads[head], tokens, types=types, mask=mask)


def shown(inputs: dict[str, Any]) -> dict[str, Any]:
    """``inputs`` with a mask, which the helpers that weigh outputs read."""
    return {**inputs, "attention_mask": seen(inputs)}


@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
@pytest.mark.parametrize(("family", "head", "tokens", "types"), cells())
def test_outputs_and_losses_agree(family: str, head: str, tokens: int, types: bool, mask: bool) -> None:
    model, made = pair(family, head)
    inputs = inputs_of(family, head, tokens, types, mask)
    wanted = run_theirs(model, shown(inputs))
    output = made(**inputs)
    found = Ran(0.0, {name: output[name].numpy() for name in wanted.logits}, {})
    # A part of the range: the bar that was set. Float32 sums of up to 384 products leave a hundredth of it.
    assert range_apart(found, wanted, seen(inputs)) <= 1e-4
    for name, loss in wanted.losses.items():
        # Float32 logits of a size of 10 are exact to about 1e-6, and so is their loss.
        assert float(output[name]) == pytest.approx(loss, rel=1e-5), name
    assert bool(wanted.losses) == (FAMILIES[family].heads[head].labels != "outputs")


@pytest.mark.parametrize(("family", "head", "tokens", "types"), cells())
def test_gradients_agree(family: str, head: str, tokens: int, types: bool) -> None:
    model, made = pair(family, head)
    inputs = shown(inputs_of(family, head, tokens, types, True))
    wanted = run_theirs(model, inputs)
    with nn.enable_grad():
        found = run_ours(made, inputs)
    compared, rest = apart(found.gradients, wanted.gradients)
    worst = min(compared, key=lambda one: one.cosine)
    assert worst.cosine >= 0.99999, worst
    longest = max(compared, key=lambda one: one.norm)
    assert longest.norm <= 1e-3, longest
    # What is zero is what rounding to float32 leaves of gradients that cancel.
    assert rest <= 1e-5


def test_what_is_weighed_is_what_the_mask_shows() -> None:
    by = weighings({"last_hidden_state": (1, 2, 3)}, np.array([[1, 0]]))["last_hidden_state"]
    assert (by[0, 0] != 0).all()
    assert (by[0, 1] == 0).all()
