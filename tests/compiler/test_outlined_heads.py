"""What the passes of the tensor level make of a base with its heads: the same values, shared blocks, nothing dead."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc.api import elaborate_file
from ttmlc.ir.evaluate import evaluate, gradients
from ttmlc.ir.module import Kind, Module
from ttmlc.ir.parse import parse_module
from ttmlc.ir.verify import VerificationError, verify
from ttmlc.language import load
from ttmlc.passes.autodiff import Autodiff
from ttmlc.passes.join_projections import JoinProjections
from ttmlc.passes.outline import Outline
from ttmlc.passes.prune import Prune

from generated import bert

BERT = Path(__file__).resolve().parents[2] / "specs/models/bert.spec"
TINY = (Path(__file__).parent / "tiny.ir").read_text()
HEADS = (
    "BertModel",
    "BertForMaskedLM",
    "BertForPreTraining",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
)
FIELDS = {"vocab": 19, "hidden": 96, "layers": 2, "heads": 3, "inner": 10, "positions": 12, "num_labels": 4}
LABELS = {
    "BertForMaskedLM": {"labels": (2, 5)},
    "BertForPreTraining": {"labels": (2, 5), "next_sentence_label": (2,)},
    "BertForNextSentencePrediction": {"labels": (2,)},
    "BertForSequenceClassification": {"labels": (2,)},
    "BertForTokenClassification": {"labels": (2, 5)},
}


@cache
def stages() -> dict[str, Module]:
    made = {"elaborated": elaborate_file(load(BERT), BERT, heads=True)}
    for name, step in (("outlined", Outline()), ("pruned", Prune()), ("joined", JoinProjections())):
        outcome = step.run(list(made.values())[-1])
        verify(outcome.module)
        assert outcome.declined == ()
        made[name] = outcome.module
    return made


def weights(head: str, tie: bool) -> dict[str, Any]:
    model = getattr(bert, head)(bert.BertConfig(**FIELDS, tie=tie), dtype="float32")
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=array.shape) for name, array in model.state_dict().items()}


@pytest.mark.parametrize(("causal", "tie"), [(False, True), (True, False)])
@pytest.mark.parametrize("head", HEADS)
def test_no_pass_changes_what_is_computed(head: str, causal: bool, tie: bool) -> None:
    rng = np.random.default_rng(1)
    inputs = {
        "input_ids": rng.integers(0, 19, (2, 5)),
        "attention_mask": np.arange(5)[None] < np.array([[5], [3]]),
    }
    inputs |= {name: rng.integers(0, 2, shape) for name, shape in LABELS.get(head, {}).items()}
    fields = {**FIELDS, "causal": causal, "tie": tie}
    parameters = weights(head, tie)
    pooler = ("bert." if head != "BertModel" else "") + "pooler.dense"
    unread = {f"{pooler}.weight": np.zeros((96, 96)), f"{pooler}.bias": np.zeros(96)}
    first, *others = [
        evaluate(module, head, fields, {**unread, **parameters}, inputs) for module in stages().values()
    ]
    assert ("loss" in first) is (head != "BertModel")
    for found in others:
        assert found.keys() == first.keys()
        for name in first:
            # Float64 in the same order, but for the matmul that was three.
            assert np.abs(found[name] - first[name]).max() < 1e-12 * max(1, np.abs(first[name]).max()), name


def called(module: Module, model: str) -> list[str]:
    return [operation.text("block") for operation in module.function(model).walk() if operation.op == "call"]


def test_a_base_and_its_heads_share_their_blocks() -> None:
    module = stages()["joined"]
    names = [function.name for function in module.functions if function.kind is Kind.BLOCK]
    assert sorted(names) == sorted(
        ["Attention", "FeedForward", "Predictions", "Embeddings", "PoolerDense", "ClsSeqRelationship", "Classifier",
         "TokenClassificationClassifier"]
    )  # fmt: skip
    for head in HEADS:
        assert called(module, head)[:3] == ["Embeddings", "Attention", "FeedForward"]
    assert [head for head in HEADS if "PoolerDense" in called(module, head)] == [
        "BertModel", "BertForPreTraining", "BertForNextSentencePrediction", "BertForSequenceClassification",
    ]  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_every_operation_of_a_model_is_a_call_or_stays_there(head: str) -> None:
    stay = {
        "call",
        "repeat",
        "param",
        "choose",
        "cross_entropy",
        "binary_cross_entropy",
        "mean_squared_error",
        "add",
    }
    for operation in stages()["joined"].function(head).walk():
        assert operation.op in stay
        if operation.op == "add":  # of losses
            assert str(operation.result.type) == "float[]"


@pytest.mark.parametrize("head", HEADS)
def test_what_a_head_does_not_read_of_its_base_is_not_made(head: str) -> None:
    """A model holds the parameters that Transformers would save for it, and not those of a pooler that nobody reads."""
    transformers = pytest.importorskip("transformers", reason="the names are Transformers'")
    sizes = {"vocab_size": 19, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3,
             "intermediate_size": 10, "max_position_embeddings": 12}  # fmt: skip
    wanted = dict(getattr(transformers, head)(transformers.BertConfig(**sizes)).named_parameters())
    found = dict(getattr(bert, head)(bert.BertConfig(**FIELDS), dtype="float32").named_parameters())
    assert set(found) == set(wanted)
    assert any("pooler" in name for name in found) is (
        head not in ("BertForMaskedLM", "BertForTokenClassification")
    )


def test_joined_projections_have_the_gradients_of_three() -> None:
    module = parse_module(TINY)
    rng = np.random.default_rng(2)
    shapes = {"query": (96, 96), "key": (96, 96), "value": (96, 96)}
    parameters = {f"self.{name}.weight": rng.normal(size=shape) * 0.1 for name, shape in shapes.items()}
    parameters |= {f"self.{name}.bias": rng.normal(size=96) for name in shapes}
    parameters |= {"output.dense.weight": rng.normal(size=(96, 96)) * 0.1}
    parameters |= {f"output.LayerNorm.{name}": rng.normal(size=96) for name in ("weight", "bias")}
    inputs = {"x": rng.normal(size=(2, 5, 96)), "mask": np.arange(5)[None] < np.array([[5], [3]])}
    weight = rng.normal(size=(2, 5, 96))
    before, after = (
        gradients(Autodiff().run(one).module, "Attention", {}, parameters, inputs, [weight])
        for one in (module, JoinProjections().run(module).module)
    )
    assert set(before.parameters) == set(after.parameters) == set(parameters)
    for name, want in {**before.parameters, **before.inputs}.items():
        found = {**after.parameters, **after.inputs}[name]
        assert np.abs(found - want).max() < 1e-12 * max(1, np.abs(want).max()), name


def test_the_backward_of_joined_projections_is_one_matmul_each_way() -> None:
    backward = (
        Autodiff().run(JoinProjections().run(parse_module(TINY)).module).module.function("Attention.backward")
    )
    ops = [operation.op for operation in backward.operations]
    assert ops.count("linear_weight_gradient") == ops.count("linear_input_gradient") == 2  # and the output's
    assert ops.count("join_heads") == 1


def test_fewer_heads_of_keys_are_refused_and_not_computed_wrongly() -> None:
    text = TINY.replace("axis vocab", "axis kv: features = 1\naxis vocab")
    for name in "kv":
        text = text.replace(
            f"%{name} = rearrange(%{name}l) : float[B, heads, S",
            f"%{name} = rearrange(%{name}l) : float[B, kv, S",
        )
        text = text.replace(
            f"%{name}b) : float[B, S, (heads head_dim)]", f"%{name}b) : float[B, S, (kv head_dim)]"
        )
    for word in ("key", "value"):
        for part, rest in (("weight", ", hidden]"), ("bias", "]")):
            init = "!normal(std)" if part == "weight" else "!zeros()"
            text = text.replace(
                f'"self.{word}.{part}", init = {init}}} : float[(heads head_dim){rest}',
                f'"self.{word}.{part}", init = {init}}} : float[(kv head_dim){rest}',
            )
    with pytest.raises(VerificationError, match="'q' and 'k' differ in 'heads'"):
        verify(parse_module(text))
