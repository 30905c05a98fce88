"""The tutorial's pieces are a spec that agrees with Transformers, and its mistakes are told in the words it prints."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ttmlc
from ttmlc.api import PresetError, check, format_text
from ttmlc.source import DiagnosticError

from tests.golden import Golden

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
TEXT = PAGE.read_text(encoding="utf-8")
PIECES = re.findall(r"^```ttml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SPEC = "\n".join(PIECES)
MISTAKE = re.compile(r"^```diff\n(.*?)^```\n\n```\n(.*?)^```", re.MULTILINE | re.DOTALL)
MISTAKES = MISTAKE.findall(TEXT)
SIZES = {
    "vocab_size": 99, "hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 130,
    "max_position_embeddings": 140, "bos_token_id": None, "eos_token_id": None, "use_cache": False,
}  # fmt: skip


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """The tutorial's spec as a file."""
    path = tmp_path / "phi.spec"
    path.write_text(SPEC, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Transformers' model with random weights, biases and norms, and the folder that it was saved to."""
    torch = pytest.importorskip("torch", reason="the reference computes with it")
    transformers = pytest.importorskip("transformers", reason="the reference")
    torch.manual_seed(0)
    config = transformers.PhiConfig(**SIZES, initializer_range=0.2, attn_implementation="eager")
    model = transformers.PhiForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("phi")
    model.save_pretrained(folder)
    return model, folder


def told(spec: Path) -> str:
    """What is said of a spec that is wrong, or that does not read a config.json of this family."""
    folder = spec.parent / "folder"
    folder.mkdir(exist_ok=True)
    config = {"model_type": "phi", "architectures": ["PhiForCausalLM"], "qk_layernorm": False, **SIZES}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises((DiagnosticError, PresetError)) as caught:
        ttmlc.load(folder, spec=spec)
    return str(caught.value)


def changed(diff: str) -> str:
    """The spec with a piece of it exchanged, as a diff says."""
    old, new = (
        "".join(f"{line[1:]}\n" for line in diff.splitlines() if line.startswith(mark)) for mark in "-+"
    )
    assert SPEC.count(old) == 1
    return SPEC.replace(old, new)


def test_the_spec_is_of_the_length_that_it_says_and_in_canonical_form() -> None:
    (said,) = re.findall(r"it has (\d+) lines", TEXT)
    assert len(SPEC.splitlines()) == int(said)
    assert format_text(SPEC) == SPEC


def test_each_piece_can_be_checked_as_it_is_added(tmp_path: Path) -> None:
    """Before the model is there, nothing but that is wrong, as the page says."""
    path = tmp_path / "phi.spec"
    for count in range(1, len(PIECES) + 1):
        path.write_text("\n".join(PIECES[:count]), encoding="utf-8")
        if "\nmodel " in path.read_text(encoding="utf-8"):
            check(path)
            continue
        with pytest.raises(DiagnosticError) as caught:
            check(path)
        assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0212"]
        assert "this spec has no model" in TEXT


def test_the_spec_agrees_with_transformers(spec: Path, reference: tuple[Any, Path]) -> None:
    import torch

    model, folder = reference
    made = ttmlc.load(folder, spec=spec, dtype="float32", strict=True)
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(0, 99, (3, 33)), np.ones((3, 33), np.int64)
    mask[1, 20:] = 0
    with torch.no_grad():
        given = torch.from_numpy(ids)
        wanted = model(given, attention_mask=torch.from_numpy(mask), labels=given)
    output = made(ids, attention_mask=mask, labels=ids)
    logits, shown = wanted.logits.numpy(), mask.astype(bool)
    # Float32 on both sides, whose sums differ in their order: the page says a few millionths of the range.
    assert np.abs(output.logits.numpy() - logits)[shown].max() <= 3e-6 * np.ptp(logits)
    assert float(output.loss) == pytest.approx(float(wanted.loss), rel=1e-5)


def test_its_gradients_agree_with_transformers(spec: Path, reference: tuple[Any, Path]) -> None:
    from ttmlc_runtime import nn

    from tests.runtime.nn.pairs import apart, run_ours, run_theirs

    model, folder = reference
    made = ttmlc.load(folder, spec=spec, dtype="float32")
    ids = np.random.default_rng(2).integers(0, 99, (2, 33))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "labels": ids}
    with nn.enable_grad():
        found = run_ours(made, inputs).gradients
    compared, _ = apart(found, run_theirs(copy.deepcopy(model).double(), inputs).gradients)
    assert min(one.cosine for one in compared) >= 0.99999
    assert max(one.norm for one in compared) <= 1e-3


def test_it_writes_on_as_transformers_does(spec: Path, reference: tuple[Any, Path]) -> None:
    import torch

    model, folder = reference
    made = ttmlc.load(folder, spec=spec, dtype="float32", train=False)
    ids = np.random.default_rng(1).integers(0, 99, (2, 5))
    with torch.no_grad():
        wanted = model.generate(torch.from_numpy(ids), do_sample=False, max_new_tokens=8, pad_token_id=0)
    assert made.generate(ids, max_new_tokens=8).tolist() == wanted.tolist()


def test_there_are_three_mistakes_and_a_key_that_is_not_read() -> None:
    assert len(MISTAKES) == TEXT.count("```diff") == 4


def test_mistakes_are_told_in_the_words_that_the_page_prints(spec: Path, golden: Golden) -> None:
    def printed(match: re.Match[str]) -> str:
        spec.write_text(changed(match[1]), encoding="utf-8")
        return f"```diff\n{match[1]}```\n\n```\n{told(spec)}\n```"

    golden.check(MISTAKE.sub(printed, TEXT), PAGE)
