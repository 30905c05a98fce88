"""Gradients of every parameter, logits and losses against Transformers: every head, odd sizes, ragged masks."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn

from tests.runtime.nn.pairs import (
    HEADS,
    Arrays,
    Ran,
    Weighed,
    apart,
    batch,
    on_device,
    ours,
    range_apart,
    run_ours,
    run_theirs,
    theirs,
    torch,
    weighings,
)

ACTS = ("gelu", "gelu_new", "relu", "silu", "tanh")
LENGTHS = (1, 7, 31, 33, 130)
"""One token, less than a tile, one less, one more, and several tiles."""
AXES: dict[str, tuple[Any, ...]] = {
    "head": tuple(HEADS),
    "act": ACTS,
    "tokens": LENGTHS,
    "ragged": (True, False),
    "rows": (3, 1),
    "mode": ("train", "enable_grad"),
    "dtype": ("float32", "float64"),
}
Case = tuple[Any, ...]


def pairwise() -> list[Case]:
    """Cases of which some has any two values of any two axes; always the same ones."""
    names = list(AXES)
    missing = {
        (a, x, b, y) for a, b in itertools.combinations(range(len(names)), 2)
        for x in AXES[names[a]] for y in AXES[names[b]]
    }  # fmt: skip
    every, cases = list(itertools.product(*AXES.values())), []

    def pairs(case: Case) -> set[Any]:
        return {(a, case[a], b, case[b]) for a, b in itertools.combinations(range(len(names)), 2)}

    while missing:
        best = max(every, key=lambda case: len(pairs(case) & missing))
        cases.append(best)
        missing -= pairs(best)
    return cases


def compared(case: Case) -> None:
    """Run both on the same weights and inputs, and hold the bars."""
    name, act, tokens, ragged, rows, mode, dtype = case
    head = HEADS[name]
    reference = theirs(head, hidden_act=act)
    inputs = batch(head, tokens, rows=rows, ragged=ragged)
    model = ours(reference, dtype)
    wanted = run_theirs(reference, inputs)
    if mode == "train":
        found = run_ours(model.train(), inputs)
    else:
        with nn.enable_grad():
            found = run_ours(model, inputs)
    close(found, wanted, inputs, dtype, squared="regression" in name, upcast=name == "next words")


def close(
    found: Ran, wanted: Ran, inputs: Arrays, dtype: str, *, squared: bool = False, upcast: bool = False
) -> None:
    """The reference computes in float64, so that all that is measured is ours.

    In float32 the bars that were set are 1e-4 of the range for logits, 1e-5 for losses, cosines of 0.99999 and norms
    within 0.1 %. What is left are a few hundred roundings of 6e-8, through two layers and back: 1e-11 of a cosine and
    1e-6 of a norm as a rule, and more where a gradient is what is left of larger ones that cancel.
    """
    logits, loss, cosine, norm, zero = (
        (2e-5, 1e-5, 1e-7, 2e-4, 1e-6) if dtype == "float32" else (1e-12, 1e-12, 1e-13, 1e-11, 1e-14)
    )
    assert range_apart(found, wanted, inputs["attention_mask"]) < logits
    if upcast:  # Transformers computes this loss in float32, whatever the logits are
        loss, norm = max(loss, 1e-6), max(norm, 1e-6)
    # A squared difference doubles the relative error of what it is of.
    assert abs(found.loss - wanted.loss) < (2 * loss if squared else loss) * max(1.0, wanted.size)
    each, rest = apart(found.gradients, wanted.gradients)
    assert len(each) > 10
    assert rest < zero
    for one in each:
        assert 1 - one.cosine < cosine, one
        # A gradient of a few numbers may be what is left of larger ones: there the bar stays as it was set.
        assert one.norm < (norm if wanted.gradients[one.name].size > 32 else max(norm, 1e-3)), one


@pytest.mark.parametrize("case", pairwise(), ids=str)
def test_gradients_are_transformers(case: Case) -> None:
    compared(case)


def whole() -> list[Case]:
    """Every head with every activation, length and dtype; what is left takes turns."""
    turns = itertools.cycle(itertools.product(*(AXES[name] for name in ("ragged", "rows", "mode"))))
    main = itertools.product(*(AXES[name] for name in ("head", "act", "tokens", "dtype")))
    return [(head, act, tokens, *next(turns), dtype) for head, act, tokens, dtype in main]


@pytest.mark.deep
@pytest.mark.parametrize("case", whole(), ids=str)
def test_gradients_are_transformers_everywhere(case: Case) -> None:
    compared(case)


@pytest.mark.parametrize("name", HEADS)
def test_what_gets_a_gradient(name: str) -> None:
    """Every parameter that Transformers trains, under its name and in its layout; none is zero by mistake."""
    head = HEADS[name]
    reference, inputs = theirs(head), batch(head, 9)
    wanted = run_theirs(reference, inputs).gradients
    model = ours(reference, "float64").train()
    found = run_ours(model, inputs).gradients
    # A base of Transformers' heads may have parameters that no output reads; ours has none of those.
    assert set(found) == {key for key, value in wanted.items() if value is not None}
    assert {key for key, value in found.items() if value is None} == set()
    zero, there = (
        {key for key, value in gradients.items() if value is not None and np.abs(value).max() < 1e-12}
        for gradients in (found, wanted)
    )
    assert zero == there
    keys = {key for key in found if key.endswith("attention.self.key.bias")}
    # What is added to all tokens or choices alike moves all of their logits alike.
    alike = {"qa_outputs.bias", "classifier.bias", "bert.encoder.layer.1.output.LayerNorm.bias"}
    assert zero - keys <= (alike if name in ("a span", "one of several") else set())
    assert keys <= zero


# Rows of tables


def test_the_padding_row_learns_as_in_torch() -> None:
    """From lookups never, although padding tokens are in the batch; from a tied decoder always."""
    name = "bert.embeddings.word_embeddings.weight"
    for key, learns in (("one class", False), ("masked words, untied", False), ("masked words, tied", True)):
        head = HEADS[key]
        reference, inputs = theirs(head), batch(head, 31)
        assert (inputs["input_ids"] == 0).any()
        wanted = run_theirs(reference, inputs).gradients[name]
        found = run_ours(ours(reference, "float64").train(), inputs).gradients[name]
        assert np.abs(found[0] - wanted[0]).max() < 1e-12
        assert bool(np.abs(found[0]).max() > 1e-6) is learns


def test_rows_that_nobody_looked_up_have_no_gradient() -> None:
    head = HEADS["one class"]
    reference, inputs = theirs(head), batch(head, 7)
    found = run_ours(ours(reference).train(), inputs).gradients
    words = found["bert.embeddings.word_embeddings.weight"]
    used = np.unique(inputs["input_ids"])
    assert not np.delete(words, used, axis=0).any()
    assert np.abs(words[used[used != 0]]).max(-1).min() > 0
    positions = found["bert.embeddings.position_embeddings.weight"]
    assert not positions[7:].any()
    assert np.abs(positions[:7]).max(-1).min() > 0


def test_positions_and_types_may_be_given() -> None:
    head = HEADS["one class"]
    reference, inputs = theirs(head), batch(head, 7)
    inputs["position_ids"] = np.random.default_rng(1).integers(0, 140, (3, 7))
    inputs["token_type_ids"][:] = 1
    close(run_ours(ours(reference).train(), inputs), run_theirs(reference, inputs), inputs, "float32")


def test_labels_that_do_not_count_do_not() -> None:
    head = HEADS["masked words, tied"]
    reference, inputs = theirs(head), batch(head, 9)
    model = ours(reference, "float64").train()
    before = run_ours(model, inputs)
    hidden = inputs["labels"] == -100
    assert hidden.any()
    assert not hidden.all()
    more = np.where(hidden, 3, inputs["labels"])
    assert run_ours(model, {**inputs, "labels": more}).loss != before.loss
    assert run_ours(model, inputs).loss == before.loss


# The encoder, through functions of the user's own


@pytest.mark.parametrize("which", ["pooler_output", "last_hidden_state"])
def test_one_output_alone_trains_what_it_came_from(which: str) -> None:
    """A pooler whose output nobody reads has no gradient."""
    head = HEADS["the encoder"]
    reference, inputs = theirs(head), batch(head, 9)
    model = ours(reference, "float64").train()
    output = model(**inputs)
    by = weighings({name: output[name].shape for name in output}, inputs["attention_mask"])
    Weighed.apply(output[which], on_device(output[which], by[which])).backward()
    wanted = reference(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    (wanted[which] * torch.from_numpy(by[which])).sum().backward()
    gradients = {name: p.grad and p.grad.numpy() for name, p in model.named_parameters()}
    each, rest = apart(
        gradients, {n: p.grad if p.grad is None else p.grad.numpy() for n, p in reference.named_parameters()}
    )
    assert (gradients["pooler.dense.weight"] is None) is (which == "last_hidden_state")
    assert rest < 1e-14
    assert max(1 - one.cosine for one in each) < 1e-13
    assert max(one.norm for one in each) < 1e-11


def test_a_gradient_may_be_given_instead_of_a_loss() -> None:
    head = HEADS["the encoder"]
    reference, inputs = theirs(head), batch(head, 9)
    model = ours(reference, "float64").train()
    wanted = run_ours(model, inputs).gradients
    model.zero_grad()
    output = model(**inputs)
    by = weighings({name: output[name].shape for name in output}, inputs["attention_mask"])
    output.pooler_output.backward(on_device(output.pooler_output, by["pooler_output"]), retain_graph=True)
    hidden = output.last_hidden_state
    hidden.backward(on_device(hidden, by["last_hidden_state"]))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        # Two passes add up in another order than one: a few float64 roundings.
        assert np.abs(parameter.grad.numpy() - wanted[name]).max() <= 1e-12 * max(
            1, np.abs(wanted[name]).max()
        )


@pytest.mark.parametrize("tokens", [7, 33])
def test_a_causal_encoder_has_its_gradients(tokens: int) -> None:
    head = HEADS["the encoder"]
    reference, inputs = theirs(head, is_decoder=True, use_cache=False), batch(head, tokens)
    close(run_ours(ours(reference).train(), inputs), run_theirs(reference, inputs), inputs, "float32")


def test_a_call_without_a_mask_has_its_gradients() -> None:
    head = HEADS["the encoder"]
    reference, inputs = theirs(head), batch(head, 33, ragged=False)
    wanted = run_theirs(reference, inputs)

    class Unmasked:
        """Leaves the mask out, and reads all tokens."""

        def __init__(self, model: Any) -> None:
            self.model = model

        def __call__(self, **given: Any) -> Any:
            del given["attention_mask"]
            return self.model(**given)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.model, name)

    close(run_ours(Unmasked(ours(reference).train()), inputs), wanted, inputs, "float32")


@pytest.mark.deep
@pytest.mark.parametrize(
    ("layers", "hidden", "heads", "inner"), [(1, 32, 1, 7), (5, 128, 2, 512), (3, 192, 6, 100)]
)
def test_other_sizes_have_their_gradients(layers: int, hidden: int, heads: int, inner: int) -> None:
    sizes = {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": inner,
    }
    for head in (HEADS["pretraining"], HEADS["several classes"]):
        reference, inputs = theirs(head, **sizes), batch(head, 40)
        wanted = run_theirs(reference, inputs)
        for dtype in ("float32", "float64"):
            close(run_ours(ours(reference, dtype).train(), inputs), wanted, inputs, dtype)
