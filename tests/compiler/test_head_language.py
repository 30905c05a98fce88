"""The language of heads, each part on a small head: holes, conditions, functions, questions, what is declined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc.api import elaborate_file
from ttmlc.elaborate import elaborate_heads
from ttmlc.ir import scalar
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.module import Function, Module, Operation
from ttmlc.ir.ops.structure import paths
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.ir.types import TensorType
from ttmlc.ir.verify import verify
from ttmlc.language import parse
from ttmlc.source import DiagnosticError, SourceFile


def made(function: Function, op: str) -> list[Operation]:
    return [operation for operation in function.walk() if operation.op == op]


SMALL = """config Small for "small":
    vocab: size = 19 from vocab_size
    hidden: size = 8 from hidden_size
    classes: size = 3 from classes
    tie: bool = true from tie
    deep: bool = false from deep
    style: plain | scaled | shifted = plain from style

defaults:
    linear, embedding, param: init=normal(0.5)

model SmallModel(ids: int[B, S]):
    param word: [vocab, hidden] at "word.weight"
    return h=word[ids]

"""
OFFER = '\noffers SmallModel at "small":\n    Score'


def small(head_text: str, offer: str = "", before: str = "") -> Module:
    text = f"{SMALL}{before}{head_text}\n{OFFER}{offer}\n"
    found = elaborate_file(SourceFile("small.spec", text), Path("small.spec"), heads=True)
    verify(found)
    assert parse_module(print_module(found)) == found
    return found


def run(found: Module, name: str = "SmallForScore", fields: Any = None, **given: Any) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    function = found.function(name)
    known = found.config.values(fields or {})
    weights = {}
    for operation in made(function, "param"):
        type_ = operation.result.type
        assert isinstance(type_, TensorType)
        shape = [scalar.evaluate(dim.size, known) for dim in type_.dims]
        weights.update({path: rng.normal(size=shape) for path in paths(operation.get("at") or "")})
    ids = np.arange(6).reshape(2, 3)
    return evaluate(found, name, fields or {}, weights, {"ids": ids, **given})


def test_a_hole_takes_its_default_what_the_family_says_or_a_change_of_the_default() -> None:
    text = "head Score(base; x: [B, S, hidden] = base.h, factor=2):\n    return y=x * factor\n"
    plain = run(small(text))["y"]
    assert np.allclose(run(small(text, "(factor=3)"))["y"], plain * 1.5)
    assert np.allclose(run(small(text, "(x=super + base.h)"))["y"], plain * 2)
    assert np.allclose(run(small(text, "(x=base.h * 0.5)"))["y"], plain / 2)


def test_a_flag_chooses_among_values() -> None:
    text = "head Score(base):\n    y = base.h * 2 if deep else base.h * 3 if tie else base.h\n    return y=y, h=base.h"
    found = small(text)
    for deep, tie, factor in ((True, True, 2), (True, False, 2), (False, True, 3), (False, False, 1)):
        outputs = run(found, fields={"deep": deep, "tie": tie})
        assert np.allclose(outputs["y"], outputs["h"] * factor)
    (choice,) = made(found.function("SmallForScore"), "choose")
    assert len(choice.operands) == 3


def test_a_literal_chooses_while_elaborating() -> None:
    text = (
        "head Score(base; double=true):\n    y = base.h * 2 if double else base.h\n    return y=y, h=base.h\n"
    )
    for offer, factor in (("", 2), ("(double=false)", 1)):
        found = small(text, offer)
        outputs = run(found)
        assert np.allclose(outputs["y"], outputs["h"] * factor)
        assert not made(found.function("SmallForScore"), "choose")


def test_statements_under_conditions() -> None:
    text = (
        "head Score(base):\n    y = base.h\n    if deep:\n        y = y * 2\n    else:\n        y = y * 3\n"
        "    match style:\n        plain: y = y * 5\n        scaled: y = y * 7\n        shifted: y = y + 1\n"
        "    return y=y, h=base.h\n"
    )
    found = small(text)
    for deep, factor in ((True, 2), (False, 3)):
        for style, after in (
            ("plain", lambda y: y * 5),
            ("scaled", lambda y: y * 7),
            ("shifted", lambda y: y + 1),
        ):
            outputs = run(found, fields={"deep": deep, "style": style})
            assert np.allclose(outputs["y"], after(outputs["h"] * factor))


def test_functions_return_from_cases_and_call_each_other() -> None:
    before = (
        "fn twice(x: [B, S, hidden]):\n    return x + x\n\n"
        "fn pick_one(x: [B, S, hidden], by=4):\n    if deep:\n        return twice(twice(x))\n"
        "    z = x * by\n    match style:\n        plain: return z\n        scaled: return twice(z)\n"
        "        shifted:\n            w = z + 1\n            return w\n\n"
    )
    found = small("head Score(base):\n    return y=pick_one(base.h, by=3), h=base.h\n", before=before)
    for fields, wanted in (
        ({"deep": True}, lambda h: 4 * h),
        ({}, lambda h: 3 * h),
        ({"style": "scaled"}, lambda h: 6 * h),
        ({"style": "shifted"}, lambda h: 3 * h + 1),
    ):
        outputs = run(found, fields=fields)
        assert np.allclose(outputs["y"], wanted(outputs["h"]))


def test_what_is_given_and_of_which_type_decides() -> None:
    text = (
        "head Score(base, more?: float[B, S, hidden], labels?: int[B, S] | float[B, S]):\n    y = base.h\n"
        "    if given(more):\n        y = y + more\n"
        "    kind = 2 if labels is int else 3\n    if given(labels):\n        y = y * kind\n    return y=y, h=base.h\n"
    )
    found = small(text)
    h = run(found)["h"]
    assert np.allclose(run(found)["y"], h)
    assert np.allclose(run(found, more=np.ones((2, 3, 8)))["y"], h + 1)
    assert np.allclose(run(found, labels=np.ones((2, 3), int))["y"], h * 2)
    assert np.allclose(run(found, labels=np.ones((2, 3)), more=np.ones((2, 3, 8)))["y"], (h + 1) * 3)


def test_a_head_has_fields_of_its_own() -> None:
    text = (
        "head Score(base):\n    config:\n        size: size = 3 from size\n        unread: int = 3 from unread\n"
        '        fixed kind = "plain"\n        harmless more_*\n        stale "*.old"\n'
        '        require size < 5, "too large"\n'
        '    return y=linear(base.h, size, at="score", init=zeros, bias=false)\n'
    )
    found = small(text)
    assert run(found, fields={"size": 4})["y"].shape == (2, 3, 4)
    config = found.config
    assert [entry.keys for entry in config.fields if entry.name == "size"] == [("size",)]
    assert "unread" not in config.names()
    assert config.fixed[-1:] == (("kind", "plain"),)
    assert (config.harmless[-1], config.stale[-1]) == ("more_*", "*.old")
    assert [entry.message for entry in config.requirements][-1] == "too large"


def test_the_fields_of_a_head_that_is_not_offered_are_none_of_the_modules() -> None:
    fields = "        width: size = 3 from width\n        fixed kind = 1\n"
    other = f"head Other(base):\n    config:\n{fields}    return y=base.h\n\n"
    found = small("head Score(base):\n    return y=base.h\n", before=other)
    assert "width" not in found.config.names()
    assert not found.config.fixed


def test_a_field_of_a_head_may_not_be_called_as_one_of_the_model() -> None:
    text = "head Score(base):\n    config:\n        hidden: size = 3 from size\n    return y=base.h\n"
    with pytest.raises(DiagnosticError, match="'hidden' is declared twice"):
        small(text)


def test_a_head_may_return_two_losses_each_with_its_labels() -> None:
    text = (
        "head Score(base, labels?: int[B, S], types?: int[B, S]):\n"
        '    a = linear(base.h, vocab, at="a", init=zeros)\n    b = linear(base.h, vocab, at="b", init=zeros)\n'
        "    return loss=cross_entropy(a, labels, over=vocab), other=cross_entropy(b, types, over=vocab), a=a\n"
    )
    found = small(text)
    ids = np.ones((2, 3), int)
    assert set(run(found)) == {"a"}
    assert set(run(found, labels=ids)) == {"a", "loss"}
    assert set(run(found, types=ids)) == {"a", "other"}
    assert set(run(found, labels=ids, types=ids)) == {"a", "loss", "other"}


def test_what_only_a_declined_head_calls_is_no_error() -> None:
    before = (
        "block Later(x: [B, S, hidden]):\n    return softmax(x)\n\n"
        'block Also(x: [B, S, hidden]):\n    return Later(x, at="later")\n\n'
    )
    text = "head Score(base; x: [B, S, hidden]):\n    return y=x\n"
    spec = parse(SourceFile("small.spec", f'{SMALL}{before}{text}{OFFER}(x=Also(base.h, at="also"))\n'))
    found, declined = elaborate_heads(spec, "small", lambda name: pytest.fail("not used"))
    assert [function.name for function in found.functions] == ["SmallModel"]
    assert [(entry.reason, entry.at.text) for entry in declined] == [
        ("'softmax' is not compiled yet", "softmax")
    ]
    calls = 'block Fine(x: [B, S, hidden]):\n    return linear(x, hidden, at="a")\n\n'
    spec = parse(SourceFile("small.spec", f'{SMALL}{calls}{text}{OFFER}(x=Fine(base.h, at="f"))\n'))
    found, declined = elaborate_heads(spec, "small", lambda name: pytest.fail("not used"))
    assert [function.name for function in found.functions] == ["Fine", "SmallModel", "SmallForScore"]
    assert not declined


def test_names_of_the_base_make_room_for_those_of_the_head() -> None:
    model = SMALL.replace("    return h=word[ids]", "    labels = word[ids]\n    return h=labels")
    spec = f"{model}head Score(base, labels?: int[B, S]):\n    return y=base.h\n{OFFER}\n"
    found = elaborate_file(SourceFile("small.spec", spec), Path("small.spec"), heads=True)
    verify(found)
    given = found.function("SmallForScore").inputs[-1]
    assert given.value.name == "labels"
    assert [value.name for _, value in found.function("SmallForScore").outputs] == ["labels_2"]


def test_a_head_reads_outputs_parameters_and_inputs_of_its_base() -> None:
    text = "head Score(base):\n    return h=base.h, again=base.word[base.ids], word=base.word\n"
    outputs = run(small(text))
    assert np.array_equal(outputs["h"], outputs["again"])
    assert outputs["word"].shape == (19, 8)


def test_a_weight_may_be_a_parameter_of_the_base() -> None:
    text = (
        "head Score(base):\n    return h=base.h, word=base.word, "
        'always=linear(base.h, vocab, weight=base.word, bias=false, at="a"), '
        'maybe=linear(base.h, vocab, weight=base.word if tie, bias=false, at="b")\n'
    )
    found = small(text)
    assert [o.get("at") for o in made(found.function("SmallForScore"), "param")] == [
        "small.word.weight",
        "b.weight",
    ]
    for tie in (True, False):
        outputs = run(found, fields={"tie": tie})
        wanted = outputs["h"] @ outputs["word"].T
        assert np.allclose(outputs["always"], wanted)
        assert np.allclose(outputs["maybe"], wanted) is tie
