"""The emulator beside the real ttnn: calls sampled from a space for each op, and those that our modules make."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn
from ttmlc_runtime.emulator.ops.table import OPS
from ttmlc_runtime.errors import InputError
from ttmlc_runtime.mockboard import steps

from tests.conformance.boards import DERIVED
from tests.conformance.differential.answers import is_refusal
from tests.conformance.differential.calls import Call, call_from
from tests.conformance.differential.compared import differences
from tests.conformance.differential.divergences import DIVERGENCES
from tests.conformance.differential.real import Real
from tests.conformance.differential.sampling import sampled
from tests.conformance.differential.sites import calls_of
from tests.conformance.differential.spaces.table import SPACES
from tests.modules import imported

ROOT = Path(__file__).resolve().parents[2]
RECORD = json.loads((Path(__file__).parent / "differential/record.json").read_text(encoding="utf-8"))
FEW, MANY = 40, 220
"""Samples of each op in a fast and in a deep run."""
REFUSED = 0.3
"""The share of an op's samples that ttnn has to refuse, so that refusals are compared too; of all it is a half."""
SELDOM = {
    "full_like": 0.1,
    "ones_like": 0.2,
    "zeros_like": 0.2,
    "from_device": 0.2,
    "to_device": 0.2,
    "to_layout": 0.2,
    "clone": 0.25,
}
"""Ops that take nearly everything, and the share of theirs."""


@pytest.fixture(scope="module")
def real(real_ttnn: Path) -> Iterator[Real]:
    started = Real()
    yield started
    started.close()


def agreed(calls: list[Call], answers: list[str]) -> None:
    """The emulator answers so, but where it is meant not to."""
    told, _ = differences(calls, answers)
    assert not told, "\n".join(["", *told[:5], f"{len(told)} of {len(calls)} calls differ"])


def compared(real: Real, op: str, count: int) -> float:
    """``count`` samples of an op on both; the share that ttnn refuses."""
    calls = sampled(op, count)
    assert len(calls) == count
    answers = [answer for answer, _ in real.ask(calls)]
    agreed(calls, answers)
    return sum(map(is_refusal, answers)) / count


def test_every_op_has_a_space() -> None:
    assert set(SPACES) - {"getitem"} == set(OPS), "a slice by indexing is an op of its own here"


@pytest.mark.parametrize("op", SPACES)
def test_sampled_calls_are_answered_as_ttnn_answers_them(op: str, real: Real) -> None:
    compared(real, op, FEW)


@pytest.mark.deep
@pytest.mark.parametrize("op", SPACES)
def test_many_sampled_calls_are_answered_as_ttnn_answers_them(op: str, real: Real) -> None:
    refused = compared(real, op, MANY)
    assert refused >= SELDOM.get(op, REFUSED), f"ttnn refuses {refused:.0%} of the samples of {op}"


@pytest.mark.parametrize("op", sorted({call[0] for call, _ in RECORD}))
def test_recorded_calls_are_answered_as_ttnn_answered_them(op: str) -> None:
    """The same where there is no ttnn, and calls that somebody thought of."""
    chosen = [(call_from(call), answer) for call, answer in RECORD if call[0] == op]
    agreed([call for call, _ in chosen], [answer for _, answer in chosen])


def test_the_record_holds_refusals_enough() -> None:
    assert {call[0] for call, _ in RECORD} == set(SPACES)
    refused = sum(is_refusal(answer) for _, answer in RECORD)
    assert REFUSED * len(RECORD) <= refused <= 0.7 * len(RECORD)


@pytest.mark.deep
def test_the_record_is_what_ttnn_answers_today(real: Real) -> None:
    answers = [answer for answer, _ in real.ask([call_from(call) for call, _ in RECORD])]
    changed = [(call, old, new) for (call, old), new in zip(RECORD, answers, strict=True) if old != new]
    assert changed == []


def test_every_divergence_is_of_use() -> None:
    """Each entry of the table explains a recorded call, so that none outlives its reason."""
    calls, answers = [call_from(call) for call, _ in RECORD], [answer for _, answer in RECORD]
    _, meant = differences(calls, answers)
    unused = set(DIVERGENCES) - {entry for _, entry in meant}
    assert {entry.reason for entry in unused} == set()


def modules() -> Iterator[Any]:
    """Each generated module."""
    for path in sorted((ROOT / "generated").glob("*.py")):
        yield imported(path, f"replayed_{path.stem}")


SMALL = {"hidden": 64, "heads": 2, "inner": 128}
BASE = {"hidden": 768, "heads": 12, "inner": 3072}


@pytest.mark.parametrize("sizes", [SMALL, pytest.param(BASE, marks=pytest.mark.deep)], ids=["small", "base"])
def test_every_call_that_our_modules_make_is_answered_as_ttnn_answers_it(
    sizes: dict[str, int], real: Real
) -> None:
    found: list[Call] = []
    for module in modules():
        kind = models_of(module)[0]
        for act, causal in (("gelu", False), ("relu", True), ("gelu_new", False)):
            given = {"layers": 1, "vocab": 99, "positions": 140, "kv": 1, "pad": 0}
            model = kind(config_of(module, **given, act=act, causal=causal, **sizes))
            for batch, tokens in ((1, 1), (3, 7), (2, 33), (2, 128)):
                ids, mask = np.ones((batch, tokens), int), np.tri(batch, tokens, dtype=int)
                found += calls_of(lambda: model(ids))  # noqa: B023  # called at once
                found += calls_of(lambda: model(ids, attention_mask=mask))  # noqa: B023  # likewise
    calls = list({str(call): call for call in found}.values())
    assert {"linear", "layer_norm", "embedding", "transformer.scaled_dot_product_attention"} <= {
        call.op for call in calls
    }
    assert len(calls) > 75
    answers = [answer for answer, _ in real.ask(calls)]
    assert not any(map(is_refusal, answers)), "our modules make no call that ttnn refuses"
    agreed(calls, answers)


TRAINED = (
    {"act": "gelu"},
    {"act": "relu", "causal": True, "num_labels": 1},
    {"act": "gelu_new", "p": 0.0, "p_attn": 0.0, "num_labels": 3, "problem": "multi_label_classification"},
    {"act": "silu", "tie": False, "num_labels": 3, "problem": "regression"},
    {"act": "tanh", "hidden": 768, "heads": 12, "inner": 3072},
)
"""Choices that change what is called in training."""


SHAPES = ((1, 1, True), (3, 7, False), (2, 33, True), (2, 128, False))
"""Batch and tokens, and whether there is a mask."""


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["some", "all"])
def test_every_call_that_our_modules_make_in_training_is_answered_as_ttnn_answers_it(
    whole: bool, real: Real
) -> None:
    """Of every model; in a fast run and of what changes another's spec with one choice and one shape each, in turn."""
    found: list[Call] = []
    for module in modules():
        every = whole and module.__name__.removeprefix("replayed_") not in DERIVED
        for number, kind in enumerate(models_of(module)):
            for choices in TRAINED if every else TRAINED[number % len(TRAINED) :][:1]:
                sizes = {"hidden": 64, "heads": 2, "inner": 96, "layers": 1, "vocab": 99, "positions": 140}
                sizes |= {"kv": 1, "pad": 0}
                config = config_of(module, **{**sizes, **choices})
                for batch, tokens, mask in SHAPES if every else SHAPES[number % len(SHAPES) :][:1]:
                    optimizer = ("adamw", "adam", "sgd", "lion")[(number + tokens) % 4]
                    asked = {"batch": batch, "seq": tokens, "mask": mask, "entry": "train"}
                    found += calls_of(lambda: trained(kind, config, {**asked, "optimizer": optimizer}))  # noqa: B023  # called at once
    calls = list({str(call): call for call in found}.values())
    assert {
        "experimental.dropout", "moreh_layer_norm", "moreh_layer_norm_backward", "moreh_softmax_backward", "softmax",
        "embedding_bw", "gelu_bw", "tanh_bw", "concat", "pad", "gather", "sum", "max", "lerp", "addcdiv", "copy",
    } <= {call.op for call in calls}  # fmt: skip
    assert len(calls) > (1000 if whole else 300)
    answers = [answer for answer, _ in real.ask(calls)]
    refused = [str(call) for call, answer in zip(calls, answers, strict=True) if is_refusal(answer)]
    assert not refused, "our modules make no call that ttnn refuses"
    agreed(calls, answers)


def config_of(module: Any, **choices: Any) -> Any:
    """The config of a generated module, with those of the ``choices`` that it has."""
    (kind,) = (
        held for held in vars(module).values() if inspect.isclass(held) and issubclass(held, nn.Config)
    )
    names = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in choices.items() if name in names})


def models_of(module: Any) -> list[Any]:
    """The models of a generated module."""
    kinds = (kind for kind in vars(module).values() if inspect.isclass(kind))
    return [kind for kind in kinds if issubclass(kind, nn.Model) and kind.__module__ == module.__name__]


def trained(kind: Any, config: Any, request: dict[str, Any]) -> None:
    """Two steps of a new model; the first labels that it takes."""
    model = kind(config)
    for given in steps.inputs(kind, config, request):
        try:
            model(**given)
        except InputError:
            continue
        step = steps.step(model, given, request)
        for phase in (*step.phases().values(), *step.phases().values()):
            phase()
        return
    raise AssertionError(f"{kind.__name__} takes no labels that were made for it")
