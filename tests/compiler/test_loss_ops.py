"""Losses, choices and parameters that a flag shares, as IR: text both ways, the verifier, values against PyTorch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from ttmlc.ir import scalar
from ttmlc.ir.absence import needs
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.module import Form, Operation, rewrite
from ttmlc.ir.op import TABLE, Unfit
from ttmlc.ir.ops.structure import map_paths, path_of, paths
from ttmlc.ir.parse import parse_module
from ttmlc.ir.scalar import Asked, Field, Scalar
from ttmlc.ir.text import print_module
from ttmlc.ir.types import BATCH
from ttmlc.ir.verify import VerificationError, verify

from tests.compiler.test_ir import scalars

TEXT = """module small tensor from "small.spec"
doc ""
passes []
config Small for "small"
  field vocab: size = 7
  field hidden: size = 4
  field classes: size = 3
  field tie: bool = true
end
axis B: batch = @B
axis S: tokens = @S
axis vocab: features = vocab
axis hidden: features = hidden
axis classes: features = classes

block Score(%x: float[B, S, hidden], %word: float[vocab, hidden])
  %weight = param(%word) {at = "decoder.weight", init = !zeros(), when = tie} : float[vocab, hidden]
  %bias = param() {at = !select(tie, "bias", "decoder.bias"), init = !zeros()} : float[vocab]
  %y = linear(%x, %weight, %bias) : float[B, S, vocab]
  return y = %y
end

model Words(%ids: int[B, S], %labels?: int[B, S])
  %word = param() {at = "word", init = !zeros()} : float[vocab, hidden]
  %h = embedding(%ids, %word) : float[B, S, hidden]
  %y = call(%h, %word) {at = "head", block = "Score"} : float[B, S, vocab]
  %loss = cross_entropy(%y, %labels) {over = "vocab"} : float[]
  return loss = %loss, logits = %y
end

model Classes(%ids: int[B, S], %labels?: int[B] | float[B] | float[B, classes])
  %word = param() {at = "word", init = !zeros()} : float[classes, hidden]
  %table = param() {at = "table", init = !zeros()} : float[vocab, hidden]
  %h = embedding(%ids, %table) : float[B, S, hidden]
  %f = first(%h) {over = "S"} : float[B, hidden]
  %y = linear(%f, %word) : float[B, classes]
  %a = mean_squared_error(%y, %labels) : float[]
  %b = cross_entropy(%y, %labels) {over = "classes"} : float[]
  %c = binary_cross_entropy(%y, %labels) : float[]
  %loss = choose(%a, %b, %c) {conditions = [classes == 1, is_int(%labels)]} : float[]
  return loss = %loss, logits = %y
end
"""


IDS = np.zeros((1, 2), int)


def test_the_text_parses_back() -> None:
    module = parse_module(TEXT)
    verify(module)
    assert parse_module(print_module(module)) == module
    labels = module.function("Classes").inputs[1]
    assert labels.optional
    assert [str(type_) for type_ in labels.alternatives] == ["int[B]", "float[B]", "float[B, classes]"]
    assert labels.alternatives[0] == labels.value.type
    assert module.function("Words").inputs[1].alternatives == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("is_int(%labels)]", "is_int(%label)]", "asks about %label, which is no input"),
        ("[classes == 1, is_int(%labels)]", "[classes == 1]", "one condition for each alternative but the last"),
        ("choose(%a, %b, %c)", "choose(%a, %y, %c)", "alternatives must be of one type"),
        ("int[B] | float[B] | float[B, classes]", "int[B] | float[B]", "needs labels of type float[B, classes]"),
        ("%labels?: int[B, S]", "%labels?: float[B, S]", "needs labels of type int[B, S]"),
        ('{over = "classes"}', '{over = "hidden"}', "'logits' has no dimension 'hidden'"),
        ("mean_squared_error(%y, %labels)", "mean_squared_error(%y, %ids)", "a dimension that 'logits' has not"),
        ('!select(tie, "bias", "decoder.bias")', '!select(tie, "bias")', "'at' is a path, or !select("),
        (", when = tie", "", "a shared parameter has one type, and a condition"),
        ('"decoder.weight", init = !zeros(), when = tie} : float[vocab, hidden]',
         '"decoder.weight", init = !zeros(), when = tie} : float[hidden, vocab]', "a shared parameter has one type"),
    ],
)  # fmt: skip
def test_the_verifier_refuses(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(VerificationError) as caught:
        verify(parse_module(TEXT.replace(old, new)))
    assert message in str(caught.value)


def words(tie: bool, **inputs: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    weights = {"word": rng.normal(size=(7, 4)), "head.bias": rng.normal(size=7)}
    if not tie:
        weights = {
            "word": weights["word"],
            "head.decoder.weight": weights["word"],
            "head.decoder.bias": weights["head.bias"],
        }
    ids = rng.integers(0, 7, (2, 5))
    return evaluate(parse_module(TEXT), "Words", {"tie": tie}, weights, {"ids": ids, **inputs})


def test_a_flag_decides_which_parameter_is_read_and_at_which_path() -> None:
    assert np.array_equal(words(True)["logits"], words(False)["logits"])


def test_what_needs_an_absent_input_is_absent() -> None:
    assert set(words(True)) == {"logits"}
    assert set(words(True, labels=np.zeros((2, 5), int))) == {"loss", "logits"}


def classes(count: int, **inputs: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    weights = {"word": rng.normal(size=(count, 4)) * 3, "table": rng.normal(size=(7, 4)) * 3}
    ids = rng.integers(0, 7, (5, 2))
    found = evaluate(parse_module(TEXT), "Classes", {"classes": count}, weights, {"ids": ids, **inputs})
    return found["logits"], found.get("loss")


def test_the_losses_are_torchs() -> None:
    torch = pytest.importorskip("torch", reason="the losses are torch's")
    functional, rng = torch.nn.functional, np.random.default_rng(2)
    labels: np.ndarray[Any, Any] = np.array([0, -100, 2, 1, -100])
    logits, loss = classes(3, labels=labels)
    wanted = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    assert loss == pytest.approx(float(wanted), rel=1e-12)  # float64 on both sides: the order of sums is left
    labels = rng.integers(0, 2, (5, 3)).astype(np.float64)
    logits, loss = classes(3, labels=labels)
    wanted = functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), torch.from_numpy(labels))
    assert loss == pytest.approx(float(wanted), rel=1e-12)
    for labels in (rng.normal(size=5), rng.normal(size=(5, 1)), np.arange(5)):
        logits, loss = classes(1, labels=labels)
        wanted = functional.mse_loss(torch.from_numpy(logits).squeeze(), torch.from_numpy(labels).squeeze())
        assert loss == pytest.approx(float(wanted), rel=1e-12)


def test_a_mean_of_no_labels_is_not_a_number() -> None:
    assert np.isnan(classes(3, labels=np.full(5, -100))[1])


def test_labels_that_the_chosen_loss_cannot_take_are_refused() -> None:
    with pytest.raises(Unfit, match=r"labels lie in \[0, 3\), and one is 0 or 3"):
        classes(3, labels=np.array([0, 1, 2, 3, 0]))
    with pytest.raises(Unfit, match=r"binary_cross_entropy takes float labels \[5, 3\], not float64 \[5\]"):
        classes(3, labels=np.zeros(5))
    with pytest.raises(ValueError, match=r"'labels' is \[5, 2\] and must be float\[B, classes\] with 3"):
        classes(3, labels=np.zeros((5, 2)))
    with pytest.raises(
        ValueError, match=r"'labels' is bool \[5\] and must be int\[B\] or float\[B\] or float"
    ):
        classes(3, labels=np.zeros(5, bool))


def test_losses_reduce_every_axis() -> None:
    (loss,) = (op for op in parse_module(TEXT).function("Words").walk() if op.op == "cross_entropy")
    rules = TABLE.tensor("cross_entropy").axes(loss)
    assert {axis.name: rule.value for axis, rule in rules.items()} == dict.fromkeys(
        ["B", "S", "vocab"], "reduces"
    )
    cost = TABLE.tensor("cross_entropy").cost(loss)
    assert scalar.evaluate(cost.flops, {"vocab": 7}, {"B": 2, "S": 5}) == 4 * 2 * 5 * 7
    assert BATCH in rules


def test_questions_are_answered_at_the_call_and_only_where_needed() -> None:
    asked = Asked("labels", "is_int")
    assert scalar.evaluate(asked, {}, answers={("labels", "is_int"): True}) is True
    assert scalar.evaluate(scalar.Apply("and", (scalar.Const(False), asked)), {}) is False
    assert scalar.fold(scalar.Apply("or", (Field("tie"), asked)), {"tie": False}) == asked
    assert scalar.fold(asked, {"labels": 3}) == asked
    assert not scalar.is_static(asked)
    with pytest.raises(KeyError):
        scalar.evaluate(asked, {})


def test_the_paths_of_a_parameter() -> None:
    operations = parse_module(TEXT).function("Score").operations
    at = operations[1].get("at")
    assert at is not None
    assert list(paths(at)) == ["bias", "decoder.bias"]
    assert path_of(at, lambda condition: condition != Field("tie")) == "decoder.bias"
    assert list(paths(map_paths(at, "x.".__add__))) == ["x.bias", "x.decoder.bias"]
    assert path_of("bias", lambda condition: False) == "bias"


# What outputs need


def test_a_loss_needs_its_labels_and_logits_need_nothing() -> None:
    module = parse_module(TEXT)
    assert needs(module.function("Words")) == {"loss": {"labels"}, "logits": set()}
    assert needs(module.function("Classes")) == {"loss": {"labels"}, "logits": set()}


@pytest.mark.parametrize(
    ("condition", "first", "second", "wanted"),
    [
        ("given(%x)", "%u", "%h", set()),
        ("given(%x)", "%v", "%h", {"y"}),
        ("given(%x) and given(%y)", "%w", "%h", set()),
        ("given(%x) or given(%y)", "%w", "%h", {"x", "y"}),
        ("not given(%x)", "%h", "%u", set()),
        ("not given(%x) or not given(%y)", "%h", "%w", set()),
        ("not given(%x) and not given(%y)", "%h", "%w", {"x", "y"}),
        ("tie", "%u", "%h", {"x"}),
        ("is_int(%x)", "%h", "%h", {"x"}),
        ("given(%x) and is_int(%x)", "%u", "%h", set()),
        ("is_int(%x) and given(%x)", "%u", "%h", {"x"}),
    ],
)
def test_a_question_guards_what_needs_an_input(
    condition: str, first: str, second: str, wanted: set[str]
) -> None:
    start = TEXT[: TEXT.index("block Score")]
    module = parse_module(
        start
        + f"""model Some(%ids: int[B, S], %x?: int[B, S] | float[B, S], %y?: int[B, S])
  %word = param() {{at = "word", init = !zeros()}} : float[vocab, hidden]
  %h = embedding(%ids, %word) : float[B, S, hidden]
  %u = embedding(%x, %word) : float[B, S, hidden]
  %v = embedding(%y, %word) : float[B, S, hidden]
  %w = add(%u, %v) : float[B, S, hidden]
  %z = choose({first}, {second}) {{conditions = [{condition}]}} : float[B, S, hidden]
  %r = repeat(%z) {{count = 2, index = "i"}} : float[B, S, hidden]
  do (%a: float[B, S, hidden])
    %b = add(%a, %h) : float[B, S, hidden]
  yield %b
  return z = %r, h = %h
end
"""
    )
    verify(module)
    assert needs(module.function("Some")) == {"z": wanted, "h": set()}
    # And so the evaluator has it: what is needed is enough, and without any of it the output may be left out.
    weights = {"word": np.ones((7, 4))}
    subsets: tuple[set[str], ...] = (set(), {"x"}, {"y"}, {"x", "y"})
    for chosen in subsets:
        given = dict.fromkeys({"ids", *chosen}, IDS)
        there = "z" in evaluate(module, "Some", {}, weights, given)
        assert there or not wanted <= chosen
    for name in wanted:
        others = [set(), {"x", "y"} - {name}]
        found = [evaluate(module, "Some", {}, weights, dict.fromkeys({"ids", *o}, IDS)) for o in others]
        assert any("z" not in outputs for outputs in found)


@given(scalars(), scalars())
@settings(max_examples=100, deadline=None)
def test_any_condition_parses_back(a: Scalar, b: Scalar) -> None:
    module = parse_module(TEXT)

    def changed(operation: Operation) -> Operation:
        attributes = dict(operation.attributes)
        if operation.op == "choose":
            attributes["conditions"] = (a, b)
        if operation.op == "param" and operation.operands:
            attributes["when"] = a
        if operation.op == "param" and "bias" in str(attributes["at"]):
            attributes["at"] = Form("select", (a, "bias", Form("select", (b, "x", "y"))))
        return replace(operation, attributes=tuple(sorted(attributes.items())))

    module = module.map_functions(lambda f: replace(f, operations=rewrite(f.operations, changed)))
    assert parse_module(print_module(module)) == module
