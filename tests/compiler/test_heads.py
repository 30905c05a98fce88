"""Offered heads as models: what they compute against Transformers, what they are called, and what is declined."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc.api import check, compile_spec, declined_heads, elaborate_file
from ttmlc.emit.config import config_view
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.module import Form, Function, Kind, Module, Operation
from ttmlc.ir.parse import parse_module
from ttmlc.ir.scalar import Asked, Const
from ttmlc.ir.text import print_module
from ttmlc.ir.verify import verify
from ttmlc.language import load
from ttmlc.passes.prune import Prune
from ttmlc.passes.specialise import Specialise
from ttmlc.source import SourceFile

ROOT = Path(__file__).resolve().parents[2]
BERT = ROOT / "specs/models/bert.spec"
TEXT = BERT.read_text()
# Both sides compute in float64; what is left is the order of sums.
CLOSE = 1e-9


@cache
def module() -> Module:
    return elaborate_file(load(BERT), BERT, heads=True)


@cache
def pruned() -> Module:
    """Without what no output reads: a pooler that a head does not use is in no checkpoint."""
    return Prune().run(module()).module


def head(name: str) -> Function:
    return module().function(name)


def made(function: Function, op: str) -> list[Operation]:
    return [operation for operation in function.walk() if operation.op == op]


# Against Transformers

torch: Any = pytest.importorskip("torch", reason="parity is measured where torch and transformers are")
transformers: Any = pytest.importorskip("transformers", reason="parity is measured where they are")

BATCH, TOKENS = 3, 11
SIZES = {
    "vocab_size": 99,
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 70,
    "max_position_embeddings": 40,
}
FIELDS = {"vocab": 99, "hidden": 96, "layers": 2, "heads": 3, "inner": 70, "positions": 40}


def inputs() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    lengths = np.array([[TOKENS], [7], [2]])
    return {
        "input_ids": rng.integers(0, 99, (BATCH, TOKENS)),
        "attention_mask": (np.arange(TOKENS)[None] < lengths).astype(np.int64),
        "token_type_ids": rng.integers(0, 2, (BATCH, TOKENS)),
    }


def theirs(name: str, **options: Any) -> Any:
    """Transformers' model with random weights, biases and norms too, which it would begin with zeros and ones."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, attn_implementation="eager", **options)
    model = getattr(transformers, name)(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def compare(name: str, fields: dict[str, Any], labels: dict[str, Any], model: Any, loss: bool = True) -> None:
    """Every output of ``model`` and of the head of that name, and that labels only add the loss."""
    given = inputs()
    tensors = {key: torch.from_numpy(value) for key, value in {**given, **labels}.items()}
    with torch.no_grad():
        wanted = {key: value.numpy() for key, value in model(**tensors).items()}
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    found = evaluate(pruned(), name, FIELDS | fields, weights, {**given, **labels})
    assert set(found) == set(wanted)
    assert ("loss" in found) is loss
    for key, value in wanted.items():
        assert found[key].shape == value.shape
        assert np.abs(found[key] - value).max() < CLOSE, key
    without = evaluate(pruned(), name, FIELDS | fields, weights, given)
    assert set(without) == set(wanted) - {"loss"}


def classifier(count: int, labels: Any, problem: str | None = None) -> None:
    model = theirs("BertForSequenceClassification", num_labels=count, problem_type=problem)
    compare(
        "BertForSequenceClassification", {"num_labels": count, "problem": problem}, {"labels": labels}, model
    )


def test_whole_labels_are_classes() -> None:
    classifier(5, np.array([4, 0, 2]))
    classifier(2, np.array([1, -100, 0]))


def test_float_labels_are_several_classes_at_once() -> None:
    classifier(5, np.random.default_rng(1).integers(0, 2, (BATCH, 5)).astype(np.float64))


def test_one_label_is_a_regression() -> None:
    classifier(1, np.random.default_rng(1).normal(size=BATCH))
    classifier(1, np.random.default_rng(1).normal(size=(BATCH, 1)))


def test_the_configs_kind_of_problem_wins() -> None:
    classifier(5, np.random.default_rng(1).normal(size=(BATCH, 5)), "regression")
    classifier(1, np.array([[0.0], [1.0], [1.0]]), "multi_label_classification")
    classifier(3, np.array([2, 0, 1]), "single_label_classification")


@pytest.mark.parametrize("tie", [True, False])
def test_masked_words(tie: bool) -> None:
    labels = np.where(np.random.default_rng(1).random((BATCH, TOKENS)) < 0.6, -100, inputs()["input_ids"])
    model = theirs("BertForMaskedLM", tie_word_embeddings=tie)
    compare("BertForMaskedLM", {"tie": tie}, {"labels": labels}, model)


@pytest.mark.parametrize("tie", [True, False])
def test_what_a_checkpoint_of_masked_words_needs(tie: bool, tmp_path: Path) -> None:
    """The parameters that are read are those that Transformers saves, but for a bias that it never reads."""
    from safetensors import safe_open

    theirs("BertForMaskedLM", tie_word_embeddings=tie).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    read: set[str] = set()

    class Noted(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            read.add(name)
            return super().__getitem__(name)

    evaluate(pruned(), "BertForMaskedLM", FIELDS | {"tie": tie}, Noted(saved), inputs())
    assert set(saved) - read == (set() if tie else {"cls.predictions.bias"})


def test_words_and_sentences() -> None:
    labels = {"labels": inputs()["input_ids"], "next_sentence_label": np.array([0, 1, 1])}
    compare("BertForPreTraining", {}, labels, theirs("BertForPreTraining"))
    # Transformers asks for both labels; with one there is no loss.
    one = {"labels": labels["labels"]}
    compare("BertForPreTraining", {}, one, theirs("BertForPreTraining"), loss=False)


def test_sentences() -> None:
    model = theirs("BertForNextSentencePrediction")
    compare("BertForNextSentencePrediction", {}, {"labels": np.array([0, 1, 1])}, model)


def test_a_class_for_each_word() -> None:
    labels = np.random.default_rng(1).integers(0, 7, (BATCH, TOKENS))
    labels[inputs()["attention_mask"] == 0] = -100
    model = theirs("BertForTokenClassification", num_labels=7)
    compare("BertForTokenClassification", {"num_labels": 7}, {"labels": labels}, model)


# What they are


def test_the_text_parses_back() -> None:
    verify(module())
    assert parse_module(print_module(module())) == module()


def test_a_head_is_called_after_its_base_unless_the_offer_says_otherwise() -> None:
    assert [function.name for function in module().functions if function.kind is Kind.MODEL] == [
        "BertModel",
        "BertForMaskedLM",
        "BertLMHeadModel",
        "BertForPreTraining",
        "BertForNextSentencePrediction",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertForQuestionAnswering",
        "BertForMultipleChoice",
    ]


def test_no_head_of_bert_is_declined() -> None:
    assert declined_heads(BERT) == ()


def test_inputs_are_the_bases_and_then_the_heads() -> None:
    given = head("BertForSequenceClassification").inputs
    assert given[:-1] == module().function("BertModel").inputs
    assert (given[-1].value.name, given[-1].optional) == ("labels", True)
    assert [str(type_) for type_ in given[-1].alternatives] == ["int[B]", "float[B]", "float[B, num_labels]"]


def test_the_base_stands_under_its_prefix() -> None:
    plain, headed = (made(f, "param") for f in (head("BertModel"), head("BertForMaskedLM")))
    assert [f"bert.{operation.text('at')}" for operation in plain] == [o.text("at") for o in headed]
    repeats = [made(f, "repeat")[0].text("at") for f in (head("BertModel"), head("BertForMaskedLM"))]
    assert repeats == ["encoder.layer.{i}", "bert.encoder.layer.{i}"]
    # What a repeat does stands under its path already.
    inner = made(head("BertForMaskedLM"), "repeat")[0].body
    assert inner is not None
    assert [operation.get("at") for operation in inner.operations] == ["attention", None]


def test_every_operation_says_which_file_it_came_from() -> None:
    function = head("BertForSequenceClassification")
    files = {operation.span.file.name for operation in function.walk() if operation.span is not None}
    assert files == {"bert.spec", "heads.spec"}
    (loss,) = made(function, "cross_entropy")
    assert loss.span is not None
    assert loss.span.text == "cross_entropy(logits, labels, over=num_labels)"


def test_the_loss_is_chosen_by_what_a_reader_would_ask() -> None:
    (choice,) = made(head("BertForSequenceClassification"), "choose")
    assert "conditions = [is_none(problem) and num_labels == 1 or problem == 'regression', " in print_module(
        module()
    )
    assert [value.name for value in choice.operands if value is not None] == [
        "squared_error",
        "cross_entropy",
        "cross_entropy_2",
    ]
    assert choice.result.name == "loss"


def test_a_decoder_may_be_the_embedding() -> None:
    block = module().function("Predictions")
    (shared,) = [operation for operation in made(block, "param") if operation.operands]
    assert shared.operands == (block.inputs[1].value,)
    assert (
        '%decoder_weight = param(%word) {at = "decoder.weight", init = !normal(std), when = tie}'
        in print_module(module())
    )
    assert '%bias = param() {at = !select(tie, "bias", "decoder.bias"), init = !zeros()}' in print_module(
        module()
    )


def test_the_config_has_the_fields_that_heads_read_and_no_others() -> None:
    plain = elaborate_file(load(BERT), BERT, heads=False).config
    added = [entry for entry in module().config.fields if entry not in plain.fields]
    assert [(entry.name, entry.keys) for entry in added] == [
        ("num_labels", ("num_labels", "len(id2label)")),
        ("problem", ("problem_type",)),
    ]
    words = TEXT.split("offers BertModel")[0] + 'offers BertModel at "bert":\n    NextSentencePrediction\n'
    assert elaborate_file(SourceFile("bert.spec", words), BERT, heads=True).config == plain


def test_one_label_is_no_choice_of_classes() -> None:
    """Transformers refuses such a config too."""
    config = module().config
    wrong = config.unmet(config.values({"num_labels": 1, "problem": "single_label_classification"}))
    assert [entry.message for entry in wrong] == ["one label leaves no class to choose: is it a regression?"]
    with pytest.raises(Exception, match="requires `num_labels > 1`"):
        transformers.BertConfig(num_labels=1, problem_type="single_label_classification")
    assert config.unmet(config.values({"num_labels": 1})) == []


def test_the_emitted_config_reads_the_number_of_classes() -> None:
    lines = [line.strip() for field in config_view(module()).fields for line in field.lines]
    assert 'num_labels: int = nn.size(2, "num_labels", "len(id2label)")' in lines
    assert any(line.startswith("problem: str | None = nn.choice(") for line in lines)


def specialised(**fields: Any) -> Module:
    found = Specialise(tuple(fields.items()), "test").run(module()).module
    verify(found)
    assert parse_module(print_module(found)) == found
    return Prune().run(found).module


def test_a_specialised_build_makes_the_choices() -> None:
    tied = specialised(tie=True, num_labels=1)
    weight, bias = made(tied.function("Predictions"), "param")[-2:]
    assert (weight.text("at"), weight.get("when"), len(weight.operands)) == ("decoder.weight", Const(True), 1)
    assert bias.get("at") == Form("select", (Const(True), "bias", "decoder.bias"))
    assert [o.op for o in tied.function("BertForSequenceClassification").operations][
        -1
    ] == "mean_squared_error"
    untied = specialised(tie=False, num_labels=5)
    paths = [o.text("at") for o in made(untied.function("Predictions"), "param")]
    assert paths[-2:] == ["decoder.weight", "decoder.bias"]
    assert all(
        not o.operands and o.get("when") is None for o in made(untied.function("Predictions"), "param")
    )
    (choice,) = made(untied.function("BertForSequenceClassification"), "choose")
    assert choice.get("conditions") == (Asked("labels", "is_int"),)
    assert not made(untied.function("BertForSequenceClassification"), "mean_squared_error")


@pytest.mark.parametrize("tie", [True, False])
def test_a_specialised_build_computes_the_same(tie: bool) -> None:
    model = theirs("BertForMaskedLM", tie_word_embeddings=tie)
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    given = {**inputs(), "labels": inputs()["input_ids"]}
    found = [
        evaluate(m, "BertForMaskedLM", FIELDS | {"tie": tie}, weights, given)
        for m in (pruned(), specialised(**FIELDS, tie=tie))
    ]
    for name in ("logits", "loss"):
        assert np.abs(found[0][name] - found[1][name]).max() < CLOSE


def test_heads_are_emitted_beside_their_base() -> None:
    assert [f.name for f in elaborate_file(load(BERT), BERT, heads=False).models] == ["BertModel"]
    wanted = [f.name for f in module().models]
    assert [f.name for f in check(BERT).models] == wanted
    text = compile_spec(BERT).text
    assert re.findall(r"^class (\w+)\((?:nn|generation)\.Model\[", text, re.MULTILINE) == wanted
