"""Runs of 50 steps beside Transformers and torch's AdamW; freezing, tying, modes, and going on from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn
from ttmlc_runtime.autograd import tape
from ttmlc_runtime.optim import SGD, AdamW, clip_grad_norm
from ttmlc_runtime.train import load_training_state, save_training_state
from ttmlc_runtime.weights.storage import to_host

from generated import bert
from tests.runtime.nn.pairs import (
    HEADS,
    Arrays,
    Head,
    batch,
    ours,
    run_ours,
    run_theirs,
    tensors,
    theirs,
    torch,
    transformers,
)

STEPS = 50
TOKENS = 19
LR = 1e-3


@dataclass(frozen=True)
class Plan:
    """How a run is stepped."""

    micro: int = 1
    clip: float = 0.0
    groups: bool = False
    tokens: int = TOKENS
    lr: float = LR


def batches(head: Head, plan: Plan) -> Iterator[Arrays]:
    """Four batches, over and over: what is learnt is seen in the loss."""
    every = [batch(head, plan.tokens, rows=4, seed=seed) for seed in range(4)]
    for step in range(STEPS * plan.micro):
        yield every[step % 4]


def undecayed(names: Any) -> set[str]:
    """The parameters that Hugging Face's trainer keeps from decaying: biases, and those of norms."""
    return {name for name in names if name.endswith("bias") or "LayerNorm" in name}


def grouped(named: dict[str, Any]) -> list[dict[str, Any]]:
    kept = undecayed(named)
    return [
        {"params": [p for name, p in named.items() if name not in kept], "weight_decay": 0.1},
        {"params": [p for name, p in named.items() if name in kept], "weight_decay": 0.0},
    ]


def losses(
    call: Callable[[Arrays], Any], parameters: Any, optimizer: Any, clip: Any, head: Head, plan: Plan
) -> list[float]:
    """The loop, which is the same one for both: the mean loss of each step."""
    found, sums = [], 0.0
    for turn, inputs in enumerate(batches(head, plan), 1):
        loss = call(inputs).loss
        (loss / plan.micro).backward()
        sums += float(loss.detach() if hasattr(loss, "detach") else loss) / plan.micro
        if turn % plan.micro:
            continue
        if plan.clip:
            clip(parameters, plan.clip)
        optimizer.step()
        optimizer.zero_grad()
        found.append(sums)
        sums = 0.0
    return found


def both(name: str, plan: Plan, dtype: str) -> tuple[list[float], list[float]]:
    head = HEADS[name]
    kind = getattr(torch, dtype)
    reference = theirs(head, std=0.1).to(torch.float32).to(kind).train()
    model = ours(reference, dtype).train()
    named, own = dict(reference.named_parameters()), dict(model.named_parameters())
    if plan.groups:
        there = torch.optim.AdamW(grouped(named), lr=plan.lr)
        here = AdamW(grouped(own), lr=plan.lr)
    else:
        there = torch.optim.AdamW(grouped(named), lr=plan.lr)
        here = AdamW(own.values(), lr=plan.lr, weight_decay=0.1)  # of itself it leaves out the same ones
    wanted = losses(
        lambda inputs: reference(**tensors(inputs, kind)),
        list(named.values()),
        there,
        torch.nn.utils.clip_grad_norm_,
        head,
        plan,
    )
    found = losses(lambda inputs: model(**inputs), list(own.values()), here, clip_grad_norm, head, plan)
    return found, wanted


BAR = 5e-3
"""That was set for float32: 0.5 % of the loss at each step."""
CLOSE = {"float32": 1e-4, "float64": 1e-10}
"""Of the first loss. Both round differently, and the difference grows: Adam divides by the roots of squares, so that
gradients of rounding size move parameters as far as others do. It grows to 3e-5 and 3e-13 in these runs."""
PLANS = [
    ("one class", Plan()),
    ("masked words, tied", Plan(clip=1.0, groups=True)),
    ("masked words, tied", Plan(micro=4)),
    ("one class", Plan(micro=4, clip=0.5, groups=True)),
    ("several classes", Plan(tokens=33)),
    ("masked words, untied", Plan(tokens=33)),
    ("a class for each word", Plan(tokens=40)),
    ("pretraining", Plan(micro=2, clip=1.0)),
]
SHARP = [("a regression", Plan(clip=0.1, lr=3e-4)), ("several regressions", Plan())]
"""Runs whose losses come near 0 and go up again, where torch's own float32 leaves its float64 by percents."""


def fifty_steps(name: str, plan: Plan, dtype: str) -> None:
    found, wanted = both(name, plan, dtype)
    assert len(found) == STEPS
    assert wanted[-1] < 0.9 * wanted[0], "the reference learnt nothing"
    for step, (have, want) in enumerate(zip(found, wanted, strict=True)):
        assert abs(have - want) < min(BAR * want, CLOSE[dtype] * wanted[0]), step


@pytest.mark.parametrize(("name", "plan", "dtype"), [(*PLANS[0], "float32"), (*PLANS[1], "float64")], ids=str)
def test_fifty_steps_are_transformers(name: str, plan: Plan, dtype: str) -> None:
    fifty_steps(name, plan, dtype)


@pytest.mark.deep
@pytest.mark.parametrize(("name", "plan"), PLANS, ids=str)
def test_fifty_steps_of_every_kind_are_transformers(name: str, plan: Plan) -> None:
    fifty_steps(name, plan, "float32")


@pytest.mark.deep
@pytest.mark.parametrize(("name", "plan"), PLANS + SHARP, ids=str)
def test_fifty_steps_in_float64_are_the_same_steps(name: str, plan: Plan) -> None:
    fifty_steps(name, plan, "float64")


def test_four_micro_batches_are_one_batch() -> None:
    """Of equal parts, the mean of the means is the mean: the gradients add up to those of the whole batch."""
    head = HEADS["one class"]
    reference = theirs(head)
    whole = batch(head, 9, rows=8)
    wanted = run_theirs(reference, whole).gradients
    model = ours(reference, "float64").train()
    for part in range(4):
        piece = {name: array[2 * part : 2 * part + 2] for name, array in whole.items()}
        (model(**piece).loss / 4).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        # The sums of float64 in another order.
        scale = max(1.0, np.abs(wanted[name]).max())
        assert np.abs(parameter.grad.numpy() - wanted[name]).max() < 1e-12 * scale, name


# Frozen parts


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes on the tape from now on, by the names of blocks and functions."""
    seen: list[str] = []
    kind = tape.Node

    def noted(function: Any, *arguments: Any) -> Any:
        seen.append(function.name.partition(" at ")[0])
        return kind(function, *arguments)

    monkeypatch.setattr(tape, "Node", noted)
    return seen


def test_of_a_frozen_encoder_nothing_is_kept_and_only_the_head_learns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = HEADS["one class"]
    reference, inputs = theirs(head), batch(head, 9)
    model = ours(reference).train()
    nodes = recorded(monkeypatch)
    model(**inputs)
    assert nodes[:3] == ["Embeddings", "Attention", "FeedForward"]
    # Two layers, one token of the second, embeddings, pooler, classifier, loss.
    assert len(nodes) == 2 * 2 + 5
    nodes.clear()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not name.startswith("bert.")
    for name, parameter in reference.named_parameters():
        parameter.requires_grad = not name.startswith("bert.")
    before = model.state_dict()
    found, wanted = run_ours(model, inputs), run_theirs(reference, inputs)
    assert nodes[0] == "Classifier"
    assert len(nodes) == 2
    assert {name for name, g in found.gradients.items() if g is not None} == {
        "classifier.weight",
        "classifier.bias",
    }
    for name in ("classifier.weight", "classifier.bias"):
        # In float32, of 3 x 96 products.
        assert np.abs(found.gradients[name] - wanted.gradients[name]).max() < 1e-5
    AdamW(model.parameters(), lr=0.1, weight_decay=0.1).step()
    after = model.state_dict()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_what_lies_below_the_lowest_that_learns_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what lies above it is, frozen or not: the gradient has to come through."""
    head = HEADS["one class"]
    reference, inputs = theirs(head), batch(head, 9)
    model = ours(reference, "float64").train()

    def learns(name: str) -> bool:
        return ".layer.0.output" in name or ".layer.0.intermediate" in name

    for one in (model, reference):
        for name, parameter in one.named_parameters():
            parameter.requires_grad = learns(name)
    nodes = recorded(monkeypatch)
    found, wanted = run_ours(model, inputs).gradients, run_theirs(reference, inputs).gradients
    assert nodes[:5] == ["FeedForward", "Attention", "_First", "FeedForward", "PoolerDense"]
    assert {name for name, g in found.items() if g is not None} == {n for n in found if learns(n)}
    for name in found:
        if learns(name):
            assert np.abs(found[name] - wanted[name]).max() < 1e-12 * max(1, np.abs(wanted[name]).max())


# Tied parameters


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_tied_embedding_stays_tied(dtype: str, tmp_path: Path) -> None:
    """The rows that are looked up are those that the decoder multiplies with, and the file has them once."""
    head = HEADS["masked words, tied"]
    reference, inputs = theirs(head), batch(head, 9)
    model = ours(reference, dtype).train()
    before = model.state_dict()["bert.embeddings.word_embeddings.weight"]
    optimizer = AdamW(model.parameters(), lr=1e-2)
    for _ in range(3):
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    (word,) = (p for n, p in model.named_parameters() if n == "bert.embeddings.word_embeddings.weight")
    rows, tiles = (to_host(storage.tensor).reshape(99, 96) for storage in word.storages)
    assert np.array_equal(rows, tiles)
    assert len({id(storage.primary) for storage in word.storages}) == 1
    assert np.abs(rows - before).max() > 1e-3
    model.save_pretrained(tmp_path)
    again = transformers.BertForMaskedLM.from_pretrained(tmp_path, attn_implementation="eager").eval().float()
    assert again.cls.predictions.decoder.weight is again.bert.embeddings.word_embeddings.weight
    loaded = bert.BertForMaskedLM.from_pretrained(tmp_path, dtype="float32")
    found, wanted = run_ours_logits(loaded, inputs), theirs_logits(again, inputs)
    seen = inputs["attention_mask"].astype(bool)
    # The bar of logits in float32 is 1e-4 of the range; a few hundred roundings are left.
    assert np.abs(found - wanted)[seen].max() < 1e-5 * np.ptp(wanted[seen])
    if dtype == "float32":  # what is in the file is exactly what was trained
        assert np.array_equal(run_ours_logits(model.eval(), inputs), found)


def run_ours_logits(model: Any, inputs: Arrays) -> Any:
    return model(**{name: array for name, array in inputs.items() if name != "labels"}).logits.numpy()


def theirs_logits(model: Any, inputs: Arrays) -> Any:
    with torch.no_grad():
        given = {name: array for name, array in tensors(inputs).items() if name != "labels"}
        return model(**given).logits.numpy()


# Modes

DROPS = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}


def dropping(dtype: str = "float32") -> tuple[Any, Arrays]:
    head = HEADS["one class"]
    return ours(theirs(head, **DROPS), dtype), batch(head, 9)


def test_train_drops_out_and_eval_does_not() -> None:
    model, inputs = dropping()
    plain = model(**inputs).logits.numpy()
    assert np.array_equal(plain, model(**inputs).logits.numpy())
    model.train()
    state = model.rng_state
    first, second = model(**inputs).logits.numpy(), model(**inputs).logits.numpy()
    assert not np.allclose(first, second)
    assert not np.allclose(first, plain)
    model.rng_state = state
    assert np.array_equal(model(**inputs).logits.numpy(), first)
    assert np.array_equal(model(**inputs).logits.numpy(), second)
    model.rng_state = (state[0] + 1, state[1])
    assert not np.allclose(model(**inputs).logits.numpy(), first)
    model.eval()
    assert np.array_equal(model(**inputs).logits.numpy(), plain)


def test_train_without_recording_drops_nothing() -> None:
    model, inputs = dropping()
    plain = model(**inputs).logits.numpy()
    model.train()
    with nn.no_grad():
        assert np.array_equal(model(**inputs).logits.numpy(), plain)


def test_eval_with_gradients_has_them_without_dropout() -> None:
    """As Transformers in eval mode, which drops nothing and has gradients."""
    head = HEADS["one class"]
    reference, inputs = theirs(head, **DROPS), batch(head, 9)
    model = ours(reference, "float64")
    with nn.enable_grad():
        found = run_ours(model, inputs)
    wanted = run_theirs(reference, inputs)
    assert abs(found.loss - wanted.loss) < 1e-12
    for name, gradient in found.gradients.items():
        want = wanted.gradients[name]
        assert np.abs(gradient - want).max() < 1e-12 * max(1, np.abs(want).max()), name


# Going on


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["one class", "masked words, tied"])
def test_a_run_goes_on_bit_for_bit_with_dropout(name: str, dtype: str, tmp_path: Path) -> None:
    head = HEADS[name]
    given = [batch(head, 9, seed=seed) for seed in range(8)]

    def step(model: Any, optimizer: Any, inputs: Arrays) -> float:
        loss = model(**inputs).loss
        loss.backward()
        clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    model = ours(theirs(head, **DROPS), dtype).train()
    optimizer = AdamW(model.parameters(), lr=1e-3)
    model.rng_state = (42, 0)
    for inputs in given[:4]:
        step(model, optimizer, inputs)
    save_training_state(tmp_path, model, optimizer, extra={"place": 4})
    wanted = [step(model, optimizer, inputs) for inputs in given[4:]]
    again = ours(theirs(head, seed=9, **DROPS), dtype).train()
    other = AdamW(again.parameters(), lr=7.0)
    assert load_training_state(tmp_path, again, other) == {"place": 4}
    found = [step(again, other, inputs) for inputs in given[4:]]
    assert found == wanted
    for key, value in model.state_dict().items():
        assert np.array_equal(again.state_dict()[key], value), key


def test_a_step_follows_the_gradient_with_plain_descent() -> None:
    """Of a small step the loss falls by the step times the gradient's square: gradients, layouts and writes agree."""
    head = HEADS["pretraining"]
    reference, inputs = theirs(head), batch(head, 9)
    model = ours(reference, "float64").train()
    ran = run_ours(model, inputs)
    length = sum(float((gradient**2).sum()) for gradient in ran.gradients.values())
    lr = 1e-7 / length
    SGD(model.parameters(), lr=lr).step()
    # The second order is lr / 2 times the curvature along the gradient: below a thousandth of the first here.
    assert run_ours(model, inputs).loss - ran.loss == pytest.approx(-lr * length, rel=1e-3)
