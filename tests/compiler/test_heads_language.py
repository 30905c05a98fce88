"""Labels made of labels, tensors taken apart, heads over an axis, multiples of losses: on small heads, as emitted."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ttmlc.api import compile_text, elaborate_file
from ttmlc.source import DiagnosticError, SourceFile

from tests.compiler.test_head_language import run, small
from tests.modules import load

torch: Any = pytest.importorskip("torch", reason="gradients are compared with torch's")

SPEC = """config Small for "small":
    vocab: size = 19 from vocab_size
    hidden: size = 32 from hidden_size
    p: rate = 0.0 from p
    scale: float = 0.25 from scale

axis part: a | b | c

defaults:
    linear, embedding, param: init=normal(0.5)

fn pair(x: [B, S, hidden]):
    return left=x * 2, right=x * 5

model SmallModel(ids: int[B, S]):
    param word: [vocab, hidden] at "word.weight"
    h = tanh(word[ids])
    return h=h, pooled=tanh(linear(first(h, S), hidden, at="pool"))
"""


def compiled(head: str, folder: Path, name: str) -> ModuleType:
    text = f'{SPEC}\n{head}\n\noffers SmallModel at "small":\n    Score\n'
    found = compile_text(SourceFile("small.spec", text), folder / "small.spec")
    return load(found.text, folder / f"{name}.py")


def weights(model: Any) -> dict[str, Any]:
    return {
        name: torch.tensor(parameter.numpy(), dtype=torch.float64, requires_grad=True)
        for name, parameter in model.named_parameters()
    }


def same_gradients(model: Any, loss: Any, theirs: Any, by_name: dict[str, Any]) -> None:
    """float64 on both sides: what is left is the order of sums."""
    assert float(loss) == pytest.approx(theirs.item(), rel=1e-9)
    loss.backward()
    theirs.backward()
    for name, parameter in model.named_parameters():
        wanted = by_name[name].grad
        assert wanted is not None, name
        assert np.abs(parameter.grad.numpy() - wanted.numpy()).max() < 1e-9, name


IDS = np.array([[1, 2, 3], [4, 5, 6]])


def test_three_parts_and_a_result_that_nothing_reads(tmp_path: Path) -> None:
    head = """head Score(base, labels?: int[B]):
    one, two, three = linear(base.h, part, at="out") as [part, B, S]
    return loss=cross_entropy(two, labels, over=S) * scale, one=one, three=three"""
    made = compiled(head, tmp_path, "parts")
    model = made.SmallForScore(made.SmallConfig(), dtype="float64")
    model.train()
    found = model(IDS, labels=[0, 2])
    w = weights(model)
    h = torch.tanh(w["small.word.weight"][torch.from_numpy(IDS)])
    logits = h @ w["out.weight"].T + w["out.bias"]
    assert np.abs(found.one.numpy() - logits[..., 0].detach().numpy()).max() < 1e-12
    assert np.abs(found.three.numpy() - logits[..., 2].detach().numpy()).max() < 1e-12
    loss = torch.nn.functional.cross_entropy(logits[..., 1], torch.tensor([0, 2])) * 0.25
    same_gradients(model, found.loss, loss, w)


def test_several_results_are_taken_apart_in_order() -> None:
    head = """head Score(base):
    x, y = pair(base.h)
    return x=x, y=y - x"""
    function = """fn pair(x: [B, S, hidden]):
    return first=x * 2, second=x * 5

"""
    found = run(small(head, before=function), ids=IDS)
    assert np.abs(found["y"] * 2 - found["x"] * 3).max() < 1e-12


def test_several_results_of_a_block_too() -> None:
    text = """block Two(x: [B, S, hidden]):
    return first=linear(x, hidden, at="a"), second=linear(x, hidden, at="b")

model SmallModel(ids: int[B, S]):
    param word: [vocab, hidden] at "word.weight"
    x, y = Two(word[ids], at="two")
    return x=y, y=x
"""
    found = elaborate_file(SourceFile("small.spec", SPEC.partition("fn pair")[0] + text), Path("small.spec"))
    (call,) = [operation for operation in found.function("SmallModel").operations if operation.op == "call"]
    assert [value for _, value in found.function("SmallModel").outputs] == list(reversed(call.results))


def test_losses_are_added_subtracted_and_multiplied(tmp_path: Path) -> None:
    head = """head Score(base, labels?: int[B], others?: int[B, S]):
    logits = linear(base.h, vocab, at="out")
    most = cross_entropy(logits, clamp(next(others, S, fill=-7), -7, 3), over=vocab, ignore=-7)
    least = cross_entropy(linear(base.pooled, part, at="last"), labels, over=part)
    return loss=(most * 3 - least) / 4, most=most"""
    made = compiled(head, tmp_path, "sums")
    model = made.SmallForScore(made.SmallConfig(), dtype="float64")
    model.train()
    others = np.array([[9, 1, 2], [3, 18, 0]])
    found = model(IDS, labels=[0, 2], others=others)
    w = weights(model)
    h = torch.tanh(w["small.word.weight"][torch.from_numpy(IDS)])
    pooled = torch.tanh(h[:, 0] @ w["small.pool.weight"].T + w["small.pool.bias"])
    logits = h @ w["out.weight"].T + w["out.bias"]
    targets = torch.tensor([[1, 2, -7], [3, 0, -7]])
    most = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-7)
    last = pooled @ w["last.weight"].T + w["last.bias"]
    least = torch.nn.functional.cross_entropy(last, torch.tensor([0, 2]))
    assert float(found.most) == pytest.approx(most.item(), rel=1e-9)
    same_gradients(model, found.loss, (most * 3 - least) / 4, w)
    assert model(IDS, others=others).loss is None
    assert model(IDS, labels=[0, 2]).most is None


@pytest.mark.parametrize("tokens", [1, 3, 33])
def test_a_head_over_an_axis_reads_all_that_the_base_gives(tokens: int, tmp_path: Path) -> None:
    """A family without a pooler takes the first token of [B, choices, S, hidden]; a fn sees the same B."""
    head = """fn loss_of(logits: [B, options], labels: int[B]):
    return cross_entropy(logits, labels, over=options)

head Score(base over options, labels?: int[B]; pooled: [B, options, hidden] = first(base.h, S)):
    logits = linear(dropout(pooled, p), 1, at="out") as [B, options]
    return loss=loss_of(logits, labels), logits=logits, h=base.h"""
    made = compiled(head, tmp_path, f"over_{tokens}")
    model = made.SmallForScore(made.SmallConfig(), dtype="float64")
    model.train()
    ids = np.random.default_rng(0).integers(0, 19, (2, 4, tokens))
    found = model(ids, labels=[3, 1])
    w = weights(model)
    h = torch.tanh(w["small.word.weight"][torch.from_numpy(ids)])
    logits = (h[:, :, 0] @ w["out.weight"].T + w["out.bias"])[..., 0]
    assert found.h.shape == (2, 4, tokens, 32)
    assert np.abs(found.h.numpy() - h.detach().numpy()).max() < 1e-12
    assert found.logits.shape == (2, 4)
    same_gradients(model, found.loss, torch.nn.functional.cross_entropy(logits, torch.tensor([3, 1])), w)


# What is wrong

WRONG = {
    "more names than labels": (
        "x, y = linear(base.h, part, at='out') as [part, B, S]",
        "E0212",
        "2 names for 3 labels of 'part'",
    ),
    "no axis of labels": ("x, y = linear(base.h, part, at='out')", "E0202", "the first axis has no labels"),
    "no tensor": ("x, y = scale", "E0202", "only a tensor or a block's results are taken apart"),
    "more names than results": ("x, y, z = pair(base.h)", "E0212", "3 names for 2 results"),
    "a name twice": ("x, x = pair(base.h)", "E0205", "a name is given twice here"),
    "floats moved": ("x = next(base.h, S)", "E0202", "only whole numbers are taken"),
    "moved along nothing": ("x = next(labels, S)", "E0202", "'x' has no dimension 'S'"),
    "moved along a product": ("x = next(labels, (vocab hidden))", "E0202", "'over' must be one axis"),
    "clamped by a rate": ("x = clamp(labels, 0, scale)", "E0202", "'high' must be int"),
    "labels of two types": ("x = clamp(mixed, 0, 1)", "E0202", "'x' must be of one type"),
    "a number's size": ("x = clamp(labels, 0, size(scale))", "E0202", "'over' must be a dimension"),
    "more than a column": ("x = linear(base.h, 2, at='out')", "E0202", "'out' must be a dimension"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_where_it_is(name: str, tmp_path: Path) -> None:
    line, code, message = WRONG[name]
    line = line.replace("'", '"')
    head = f"head Score(base, labels?: int[B], mixed?: int[B] | float[B]):\n    {line}\n    return x=base.h"
    text = f'{SPEC}\n{head}\n\noffers SmallModel at "small":\n    Score\n'
    with pytest.raises(DiagnosticError) as caught:
        elaborate_file(SourceFile("small.spec", text), tmp_path / "small.spec")
    (found,) = caught.value.diagnostics
    assert (found.code, message in found.message) == (code, True), found.message
    assert found.span.line == text[: text.index(line)].count("\n") + 1


OVER = {
    "a field of the config": ("vocab", "", "E0205", "'vocab' is declared already"),
    "an axis": ("part", "", "E0205", "'part' is declared already"),
    "an input": ("ids", "", "E0205", "'ids' is declared already"),
    "a label": ("labels", "", "E0205", "'labels' is declared already"),
    "a word of the module": ("given", "", "E0206", "'given' has a meaning of its own"),
    "the batch": ("B", "", "E0206", "'B' has a meaning of its own"),
    "an input called as the batch": (
        "options",
        ", batch?: int[B]",
        "E0206",
        "an input cannot be called 'batch'",
    ),
}


@pytest.mark.parametrize("name", OVER)
def test_an_axis_that_a_head_cannot_be_over(name: str, tmp_path: Path) -> None:
    axis, more, code, message = OVER[name]
    head = f"head Score(base over {axis}, labels?: int[B]{more}):\n    return x=base.h"
    text = f'{SPEC}\n{head}\n\noffers SmallModel at "small":\n    Score\n'
    with pytest.raises(DiagnosticError) as caught:
        elaborate_file(SourceFile("small.spec", text), tmp_path / "small.spec")
    assert (caught.value.diagnostics[0].code, message in caught.value.diagnostics[0].message) == (code, True)


NO_FORM = {
    "a product of losses": ("loss=a * a", "losses are added, and multiplied by numbers"),
    "a loss and a number": ("loss=a + 1", "losses are added, and multiplied by numbers"),
    "a choice among sums": ("loss=a + a if scale > 1 else a", "a choice among sums of losses"),
    "labels given back": ("loss=a, x=clamp(labels, 0, 1)", "cannot be read as an activation"),
    "labels looked up": ("x=base.word[clamp(labels, 0, 1)]", "'labels' may be absent"),
    "a part in front": ("x=one, loss=a", "is not taken apart on the device yet"),
}


@pytest.mark.parametrize("name", NO_FORM)
def test_what_has_no_form_on_the_device_is_said_where_it_is(name: str, tmp_path: Path) -> None:
    returned, message = NO_FORM[name]
    head = f"""head Score(base, labels?: int[B]):
    one, two, three = linear(base.pooled, part, at="parts") as [part, B]
    a = cross_entropy(linear(base.pooled, vocab, at="out"), labels, over=vocab)
    return {returned}"""
    text = f'{SPEC}\n{head}\n\noffers SmallModel at "small":\n    Score\n'
    if "one" not in returned:
        text = "\n".join(line for line in text.splitlines() if "one, two" not in line) + "\n"
    with pytest.raises(DiagnosticError) as caught:
        compile_text(SourceFile("small.spec", text), tmp_path / "small.spec")
    (found,) = caught.value.diagnostics
    assert (found.code, message in found.message) == ("E0401", True), found.message
