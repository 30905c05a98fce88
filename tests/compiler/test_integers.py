"""Whole numbers on the host: positions from ids, the last real token, defaults made of other inputs; as emitted."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ttmlc.api import compile_spec, compile_text, elaborate_file
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.ir.verify import verify
from ttmlc.source import DiagnosticError, SourceFile
from ttmlc_runtime.errors import InputError

from tests.compiler.integer_specs import CAUSAL, MADE
from tests.modules import load

torch: Any = pytest.importorskip("torch", reason="numbers and gradients are compared with torch's")

PAD = 3
LENGTHS = (1, 7, 31, 33, 130)
# float32 on both sides of sums of up to 130 numbers of size 1: some tens of roundings of 6e-8.
CLOSE = 1e-5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    folder = tmp_path_factory.mktemp("integers")
    return load(compile_text(SourceFile("tiny.spec", CAUSAL), folder / "tiny.spec").text, folder / "tiny.py")


def weights(model: Any) -> dict[str, Any]:
    return {
        name: torch.tensor(parameter.numpy(), dtype=torch.float64, requires_grad=True)
        for name, parameter in model.named_parameters()
    }


def encoded(w: dict[str, Any], ids: Any, prefix: str = "tiny.", positions: Any = None) -> Any:
    """What the encoder gives for ids [B, S], in torch."""
    ids = torch.as_tensor(ids)
    real = ids != PAD
    where = real.cumsum(-1) * real + PAD if positions is None else torch.as_tensor(positions)
    h = w[f"{prefix}word.weight"][ids] + torch.nn.functional.embedding(
        where, w[f"{prefix}places.weight"], padding_idx=PAD
    )

    def linear(x: Any, name: str) -> Any:
        return x @ w[f"{prefix}attend.{name}.weight"].T + w[f"{prefix}attend.{name}.bias"]

    scores = linear(h, "q") @ linear(h, "k").transpose(-1, -2) / 32**0.5
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    seen = torch.softmax(scores.masked_fill(later, -1e9), -1) @ linear(h, "v")
    norm = w[f"{prefix}attend.n.weight"], w[f"{prefix}attend.n.bias"]
    return torch.nn.functional.layer_norm(h + linear(seen, "o"), (32,), *norm, 1e-5)


def rows(tokens: int) -> Any:
    """A whole row, one of padding alone, one padded at its end, one in its middle, one at its beginning."""
    ids = np.random.default_rng(tokens).integers(4, 19, (5, tokens))
    ids[1] = PAD
    ids[2, tokens // 2 + 1 :] = PAD
    ids[3, tokens // 3 : tokens // 2] = PAD
    ids[4, : tokens // 2] = PAD
    return ids


def same_gradients(model: Any, w: dict[str, Any], close: float) -> None:
    for name, parameter in model.named_parameters():
        assert np.abs(parameter.grad.numpy() - w[name].grad.numpy()).max() < close, name


# The last real token


@pytest.mark.parametrize("tokens", LENGTHS)
def test_the_last_token_that_is_no_padding_is_classified(tiny: ModuleType, tokens: int) -> None:
    """The rightmost one by the ids, whatever the mask says; of a row of padding, the first."""
    model = tiny.TinyForSequenceClassification(tiny.TinyConfig(num_labels=3), dtype="float32")
    model.train()
    ids, labels = rows(tokens), [0, 1, 2, 0, 1]
    found = model(ids, labels=labels)
    w = weights(model)
    last = [max((at for at, token in enumerate(row) if token != PAD), default=0) for row in ids.tolist()]
    logits = encoded(w, ids)[torch.arange(5), last] @ w["score.weight"].T
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    assert np.abs(found.logits.numpy() - logits.detach().numpy()).max() < CLOSE
    assert float(found.loss) == pytest.approx(loss.item(), abs=CLOSE)
    found.loss.backward()
    loss.backward()
    same_gradients(model, w, CLOSE)
    assert any(one.grad is not None for one in w.values())


def test_without_a_padding_token_the_last_one_of_a_single_row_is_classified(tiny: ModuleType) -> None:
    model = tiny.TinyForSequenceClassification(tiny.TinyConfig(pad=None), dtype="float64")
    ids = rows(7)[2:3]  # it ends in what would be padding
    w = weights(model)
    wanted = (encoded(w, ids)[:, -1] @ w["score.weight"].T).detach().numpy()
    assert np.abs(model(ids).logits.numpy() - wanted).max() < 1e-12
    with pytest.raises(InputError, match="^a batch of several rows needs pad_token_id$"):
        model(rows(7))
    both = tiny.TinyForSequenceClassification(tiny.TinyConfig(), dtype="float64")
    assert both(rows(7)).logits.numpy().shape == (5, 2)


def test_a_mask_does_not_move_the_last_token(tiny: ModuleType) -> None:
    """Ids say which it is: with the last token hidden from all others it is still the one."""
    model = tiny.TinyForSequenceClassification(tiny.TinyConfig(), dtype="float64")
    ids = rows(7)[:1]
    hidden = np.ones((1, 7), int)
    hidden[0, 2] = 0  # a key before it: seen no more, so the numbers move, but not to another token's
    alone = model(ids[:, :]).logits.numpy()
    assert np.abs(model(ids, mask=hidden).logits.numpy() - alone).max() > 1e-6
    longer = np.concatenate([ids, np.full((1, 2), PAD)], 1)
    assert np.abs(model(longer, mask=np.ones((1, 9), int)).logits.numpy() - alone).max() < 1e-9


def test_a_specialised_build_asks_nothing(tiny: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tiny.spec").write_text(CAUSAL)
    for pad in (None, PAD):
        config = tmp_path / f"config_{pad}.json"
        config.write_text(json.dumps({"model_type": "tiny", "pad_token_id": pad}))
        text = compile_spec(tmp_path / "tiny.spec", config=config).text
        call = text[text.index("class TinyForSequenceClassification(") :]
        assert "if c.pad" not in call and ("given.require(B == 1" in call) is (pad is None)
        assert ("np.argmax" in call) is (pad is not None)
        built = load(text, tmp_path / f"built_{pad}.py")
        model = built.TinyForSequenceClassification(built.TinyConfig(pad=pad), dtype="float64")
        generic = tiny.TinyForSequenceClassification(tiny.TinyConfig(pad=pad), dtype="float64")
        ids = rows(7)[2:3]
        for (_, one), (_, other) in zip(model.named_parameters(), generic.named_parameters(), strict=True):
            assert (one.numpy() == other.numpy()).all()
        assert (model(ids).logits.numpy() == generic(ids).logits.numpy()).all()


# Positions


def test_positions_are_counted_from_the_ids(tiny: ModuleType) -> None:
    """The first is pad + 1, padding stands at pad, and the mask has nothing to do with it."""
    model = tiny.TinyModel(tiny.TinyConfig(), dtype="float64")
    ids = np.array([[5, 6, PAD, 7], [PAD, 8, 9, PAD]])
    written = [[4, 5, 3, 6], [3, 4, 5, 3]]
    found = model(ids).last_hidden_state.numpy()
    assert np.abs(found - encoded(weights(model), ids, "").detach().numpy()).max() < 1e-12
    assert (found == model(ids, position_ids=written).last_hidden_state.numpy()).all()
    assert (found == model(torch.from_numpy(ids)).last_hidden_state.numpy()).all()
    other = np.arange(4)[None] + np.zeros((2, 1), int)
    moved = model(ids, position_ids=other).last_hidden_state.numpy()
    assert np.abs(moved - encoded(weights(model), ids, "", other).detach().numpy()).max() < 1e-12


def test_a_text_that_needs_more_positions_than_there_are_is_refused(tiny: ModuleType) -> None:
    model = tiny.TinyModel(tiny.TinyConfig())
    model(np.full((1, 136), 5))  # positions 4 .. 139
    with pytest.raises(InputError, match=r"position_ids\[0, 136\] is 140 and must be in \[0, 140\)"):
        model(np.full((1, 137), 5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input_ids": [[1.5, 2.0]]}, "input_ids must be integers, not float64"),
        ({"input_ids": [[1, 2]], "position_ids": [[1, 2, 3]]}, r"position_ids is \[1, 3\]"),
        ({"input_ids": [[1, 2]], "position_ids": [[1, -2]]}, r"position_ids\[0, 1\] is -2"),
        ({"input_ids": [[1, 99]]}, r"input_ids\[0, 1\] is 99"),
    ],
)
def test_what_is_read_on_the_host_is_checked(tiny: ModuleType, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.TinyModel(tiny.TinyConfig())(**given)


# An index that the caller gives


def test_each_choice_has_a_token_of_its_own_and_else_its_last_one(tiny: ModuleType) -> None:
    model = tiny.TinyForChoose(tiny.TinyConfig(), dtype="float64")
    model.train()
    ids, chosen = rows(7)[:4].reshape(2, 2, 7), np.array([[0, 6], [3, 2]])
    plain, last = model(ids).logits.numpy(), model(ids, chosen=np.full((2, 2), 6)).logits.numpy()
    assert (plain == last).all()
    found = model(ids, chosen=chosen.tolist(), labels=[1, 0])
    w = weights(model)
    tokens = encoded(w, ids.reshape(4, 7))[torch.arange(4), chosen.reshape(-1)]
    logits = (tokens @ w["out.weight"].T + w["out.bias"]).reshape(2, 2)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 0]))
    assert np.abs(found.logits.numpy() - logits.detach().numpy()).max() < 1e-12
    found.loss.backward()
    loss.backward()
    same_gradients(model, w, 1e-9)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([[0, 1], [7, 9]], r"chosen\[1, 0\] is 7 and must be in \[0, 7\)"),
        ([[0, -1], [0, 0]], r"chosen\[0, 1\] is -1 and must be in \[0, 7\)"),
        ([0, 1], r"chosen is \[2\] and must be \[2, 2\]"),
        ([[0.0, 1.0], [0.0, 1.0]], "chosen must be integers, not float64: convert them"),
        ([[0, 1], [1]], "chosen is no array of one shape"),
        (7, r"chosen is 7 and must be in \[0, 7\)"),
    ],
)
def test_an_index_out_of_range_is_refused(tiny: ModuleType, chosen: Any, message: str) -> None:
    model = tiny.TinyForChoose(tiny.TinyConfig())
    with pytest.raises(InputError, match=message):
        model(rows(7)[:4].reshape(2, 2, 7), chosen=chosen)


# Expressions: what numpy says of the emitted line is what the reference says of the spec's

SMALL = """config Small for "small":
    vocab: size = 64 from vocab_size
    hidden: size = 32 from hidden_size
    fill: token = 3 from fill
    pad: token? = none from pad_token_id

defaults:
    linear, embedding, param: init=normal(0.5)

model SmallModel(ids: int[B, S], seen: bool[B, S] = 1, end: int[B] = 0, more: int[B, S] = {}):
    param word: [vocab, hidden] at "word.weight"
    return h=word[ids] + word[more]
"""
EXPRESSIONS = [
    *(f"where(ids {relation} fill, ids, 1)" for relation in ("==", "!=", "<", "<=", ">", ">=")),
    "running(seen, S) + 0 * ids",
    "where(index(S) < end, ids, fill)",
    "where(end > index(S), end, index(S)) + index(S) * end",
    "where(ids == 3, where(ids < end + 2, 1, 2), end * (ids == 1))",
    "(2 - (ids > 4)) * 3 - (1 - seen * 1)",
    "fill - (end - ids - 9)",
    "ids * 0 + argmax(ids, S)",
    "ids * 0 + argmax(where(ids != fill, index(S), 0), S) + argmax(ids > 2, S)",
    "ids * 0 + size(S) * 2 + size(hidden) / 32",
    "where(running(ids, S) * running(ids, S) + running(ids, S) * 3 < running(ids, S) * running(ids, S) * 2, 1, 2)",
    "ids if pad is none else ids * 0 + pad",
    "ids * 0 + (1 if pad is none else pad + 1)",
]


def small(expression: str) -> SourceFile:
    return SourceFile("small.spec", SMALL.replace("= {}", f"= {expression}"))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_means_on_the_host_what_it_means(expression: str, tmp_path: Path) -> None:
    found = elaborate_file(small(expression), tmp_path / "small.spec")
    verify(found)
    assert parse_module(print_module(found)) == found
    made = load(compile_text(small(expression), tmp_path / "small.spec").text, tmp_path / "small.py")
    assert max(map(len, (tmp_path / "small.py").read_text().splitlines())) <= 110
    for pad in (None, 5):
        model = made.SmallModel(made.SmallConfig(pad=pad), dtype="float64")
        given = {
            "ids": np.array([[3, 1, 4, 1], [5, 3, 3, 2]]),
            "seen": np.array([[1, 0, 1, 1], [0, 1, 1, 0]]),
            "end": np.array([2, 1]),
        }
        table = {"word.weight": model.state_dict()["word.weight"].astype(np.float64)}
        wanted = evaluate(found, "SmallModel", {"pad": pad}, table, given)["h"]
        assert np.abs(model(**given).h.numpy() - wanted).max() < 1e-12


def test_masks_labels_and_indexes_are_made_on_the_host(tmp_path: Path) -> None:
    source = SourceFile("made.spec", MADE)
    found = elaborate_file(source, tmp_path / "made.spec")
    made = load(compile_text(source, tmp_path / "made.spec").text, tmp_path / "made.py")
    ids = np.array([[1, 9, 4, 5, 12, 2], [7, 9, 6, 5, 3, 3]])
    for name, more in (("MadeModel", {}), ("MadeForNext", {}), ("MadeModel", {"best": np.array([0, 5])})):
        model = getattr(made, name)(made.MadeConfig(), dtype="float64")
        values = {key: value.astype(np.float64) for key, value in model.state_dict().items()}
        wanted = evaluate(found, name, {}, values, {"ids": ids, **more})
        given = model(ids, **more)
        for key, value in wanted.items():
            assert np.abs(getattr(given, key).numpy() - value).max() < 1e-12, key
    model = made.MadeForNext(made.MadeConfig(), dtype="float64")
    model.train()
    found = model(ids)
    assert found.loss is None
    found.own.backward()  # a loss of what the model is given, with nothing beside it
    assert all(parameter.grad is not None for _, parameter in model.named_parameters())


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("= {}", "= ids + pad", "E0213", "'pad' may be none here"),
        ("= {}", "= where(ids != pad, ids, 0)", "E0213", "'pad' may be none here"),
        ("= {}", "= ids * 0.5", "E0210", "whole numbers and others are not compiled together yet"),
        ("= {}", "= ids / 2", "E0210", "'/' of whole numbers is not compiled yet"),
        ("= {}", "= (ids == 1) * (ids == 2)", "E0202", "'*' joins two conditions"),
        ("= {}", "= end", "E0202", "this default has another type than its input"),
        ("= {}", "= ids == 1", "E0202", "this default has another type than its input"),
        ("= {}", "= more + 1", "E0201", "nothing is called 'more'"),
        ("= {}", "= where(ids, 1, 2)", "E0202", "'condition' must be bool"),
        ("= {}", "= where(ids == 1, 1, ids == 2)", "E0202", "alternatives must be of one type"),
        ("= {}", "= where(ids == none, 1, 2)", "E0202", "'==' compares whole numbers"),
        ("= {}", "= running(ids, hidden)", "E0202", "'x' has no dimension 'hidden'"),
        ("word[more]", "pick(word[more], S, ids)", "E0202", "'index' must be int[B]"),
        ("word[more]", "pick(word[more], vocab, end)", "E0202", "'x' has no dimension 'vocab'"),
        ("word[more]", "word[more]\n    require size(hidden) == 32, 5", "E0105", ""),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(old: str, new: str, code: str, message: str) -> None:
    text = SMALL.replace(old, new).replace("= {}", "= 0")
    with pytest.raises(DiagnosticError) as caught:
        elaborate_file(SourceFile("small.spec", text), Path("small.spec"))
    found = caught.value.diagnostics[0]
    assert found.code == code and message in found.message, found.message


def test_a_block_computes_no_whole_numbers_and_requires_nothing(tmp_path: Path) -> None:
    block = "block Inner(x: [B, S, hidden], places: int[B, S]):\n    {}\n\nmodel"
    call = ("word[more]", 'Inner(word[more], more, at="inner")')
    table = 'return x + embedding(places + 1, vocab, hidden, at="t", init=zeros)'
    for body, code in ((table, "E0401"), ('require size(B) == 1, "one"\n    return x', "E0210")):
        text = SMALL.replace("= {}", "= 0").replace("model", block.format(body), 1).replace(*call)
        with pytest.raises(DiagnosticError) as caught:
            compile_text(SourceFile("small.spec", text), tmp_path / "small.spec")
        assert caught.value.diagnostics[0].code == code
