"""Models beside Transformers': every block has its counterpart, equal ones agree, and what is wrong is found."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from ttmlc_runtime.errors import BackendError, InputError
from ttmlc_runtime.inspection import MODES, TOLERANCES, Recording, Report, compare, modules, saved

from tests.runtime.nn import families
from tests.runtime.nn.families import CELLS, FAMILIES

torch: Any = pytest.importorskip("torch", reason="the reference computes with it")
transformers: Any = pytest.importorskip("transformers", reason="the reference")

FAST = [
    ("bert", "masked words"),
    ("gpt2", "next words, tied"),
    ("llama", "next words, tied"),
    ("distilbert", "a class"),
]
DEEP = [cell for cell in CELLS if cell not in FAST]
FEEDS = {
    "bert": ("bert.encoder.layer.1.output.dense", "bert.encoder.layer.1"),
    "gpt2": ("transformer.h.1.mlp.c_proj", "transformer.h.1.mlp"),
    "llama": ("model.layers.1.mlp.down_proj", "model.layers.1.mlp"),
    "distilbert": ("distilbert.transformer.layer.1.ffn.lin2", "distilbert.transformer.layer.1"),
}
"""The last linear map of the second layer, and our block that has it."""


@cache
def pair(name: str, head: str) -> tuple[Any, Any]:
    family = FAMILIES[name]
    model = families.theirs(family, family.heads[head])
    with TemporaryDirectory() as folder:
        made = families.ours(family, model, Path(folder))
    return model, made


def given(made: Any) -> dict[str, np.ndarray[Any, Any]]:
    shape = (2, 2, 7) if made.over else (2, 9)
    return {"input_ids": np.random.default_rng(0).integers(4, 99, shape)}


def beside(made: Any, reference: Recording) -> Report:
    bars = dict(zip(MODES, TOLERANCES[made.dtype], strict=True))
    return compare(made, given(made), reference, against="Transformers", modes=MODES, tolerances=bars)


@pytest.mark.parametrize(
    ("name", "head"), [*FAST, *(pytest.param(*cell, marks=pytest.mark.deep) for cell in DEEP)]
)
def test_equal_models_agree_block_by_block(name: str, head: str) -> None:
    model, made = pair(name, head)
    report = beside(made, modules.record(model, given(made)))
    assert report.agrees
    assert [(str(row.key), row.why) for row in report.blocks if row.against is None] == []
    assert [str(row.key) for row in report.blocks if not row.fed] == []
    assert all(set(row.measures) == set(MODES) for row in report.blocks)
    linear = [row for row in report.steps if row.name in ("ttnn.linear", "ttnn.embedding") and not row.beside]
    assert len(linear) <= 2  # what picks tokens before it maps them, or pads its map
    assert report.outputs


@pytest.mark.parametrize(
    ("name", "head"),
    [pytest.param(*cell, marks=pytest.mark.deep if cell[0] in ("bert", "gpt2") else ()) for cell in FAST],
)
def test_a_weight_that_differs_is_found_where_it_is(name: str, head: str) -> None:
    model, made = pair(name, head)
    linear, ours = FEEDS[name]
    weight = model.get_submodule(linear).weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    try:
        report = beside(made, modules.record(model, given(made)))
    finally:
        weight.data = before
    for mode in MODES:
        found = report.parting(mode)
        assert found is not None
        block, step = found
        assert (block.key.name, block.key.kind) == (ours, "FeedForward")
        assert step is not None
        assert step.module == linear
    alone = [row.key.name for row in report.apart("isolated")]
    # Besides the block itself it is the layer that it stands in, where there is one.
    assert [name for name in alone if name != ours] == [
        row.key.name for row in report.blocks if row.key.kind == "Layer"
    ][1:2]
    assert len(report.apart("accumulated")) > len(alone)


@pytest.mark.parametrize("mode", MODES)
def test_another_activation_is_found_at_the_call_that_has_it(mode: str) -> None:
    model, made = pair("llama", "next words, tied")
    mlp = model.model.layers[0].mlp
    before, mlp.act_fn = mlp.act_fn, torch.nn.GELU()
    try:
        report = beside(made, modules.record(model, given(made)))
    finally:
        mlp.act_fn = before
    found = report.parting(mode)
    assert found is not None
    assert found[0].key.name == "model.layers.0.mlp"
    apart = {row.key.name for row in report.apart("isolated")}
    assert apart == {"model.layers.0", "model.layers.0.mlp"}


def test_their_activations_are_saved_and_need_no_library_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, made = pair("bert", "masked words")
    path = tmp_path / "theirs.safetensors"
    recorded = modules.record(model, given(made))
    direct = beside(made, recorded)
    saved.save(path, recorded)
    other = pair("bert", "a class")[1]
    for library in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, library, None)
    back = saved.read(path)
    saved.check(back, "it", made, given(made))
    report = beside(made, back)
    rows = zip(report.steps, direct.steps, strict=True)
    assert all(one.module == other.module and one.beside == other.beside for one, other in rows)
    with pytest.raises(InputError, match=r"say --head"):
        saved.check(back, "it", other, None)


def test_a_head_that_begins_at_random_is_given_to_both(tmp_path: Path) -> None:
    base = families.theirs(FAMILIES["llama"], FAMILIES["llama"].heads["the decoder"])
    base.save_pretrained(tmp_path)
    from generated.llama import LlamaForTokenClassification

    with pytest.warns(UserWarning, match="score"):
        made = LlamaForTokenClassification.from_pretrained(tmp_path, dtype="float32", seed=5)
    report = beside(made, modules.record(modules.load(tmp_path, made), given(made)))
    assert report.agrees, "the head is part of it"


def test_missing_libraries_are_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError, match=r"torch cannot be imported: pip install torch .*--against FILE"):
        modules.libraries()


def test_a_class_that_transformers_lacks_is_said(tmp_path: Path) -> None:
    class NobodysModel:
        report = None

    with pytest.raises(InputError, match=r"has no class NobodysModel"):
        modules.load(tmp_path, NobodysModel())
