"""Small specs that use one feature each: what the emitted module computes is what the IR's reference computes.

Nothing here is mapped by hand: the same spec gives the module that runs on the emulator in float64 and the
tensor-level graph that is evaluated in numpy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ttmlc.api import compile_text
from ttmlc.ir.evaluate import evaluate
from ttmlc.source import DiagnosticError, SourceFile

from tests.compiler.small_specs import BODIES, spec
from tests.modules import load


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_the_module_computes_what_the_reference_does(name: str, causal: bool, tmp_path: Path) -> None:
    compiled = compile_text(SourceFile("small.spec", spec(BODIES[name])), tmp_path / "small.spec")
    module = load(compiled.text, tmp_path / "small_module.py")
    model = module.SmallModel(module.SmallConfig(causal=causal), seed=1, dtype="float64")
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 19, (2, 33))
    mask = np.arange(33)[None] < np.array([[33], [20]])
    pruned = next(stage.module for stage in compiled.stages if stage.name == "prune")
    optional = {"more": rng.integers(0, 19, (2, 33))} if "more" in BODIES[name] else {}
    for given in ({}, optional) if optional else ({},):
        inputs = {"ids": ids, "mask": mask, **given}
        found = model(**inputs)
        wanted = evaluate(pruned, "SmallModel", {"causal": causal}, model.state_dict(), inputs)
        assert found.keys() == tuple(wanted)
        for output in wanted:
            values = found[output].numpy()
            assert values.shape == wanted[output].shape
            seen = mask if values.shape[:2] == mask.shape else np.ones(values.shape[:1], bool)
            # Both compute in float64; a row that sees nothing is only defined to be numbers.
            assert np.abs(values - wanted[output])[seen if values.ndim < 4 else slice(0, 1)].max() < 1e-11
            assert np.isfinite(values).all()
    assert "unused" not in compiled.text


def test_defaults_are_read_where_they_stand(tmp_path: Path) -> None:
    text = spec("h = h + std[types]\nreturn h=h").replace("init=normal(0.5)", "init=normal(std)")
    text = text.replace("    head_dim =", "    std: float = 0.5 from std\n    head_dim =")
    text = text.replace('"word.weight"\n', '"word.weight"\n    param std: [vocab, hidden] at "std.weight"\n')
    assert "normal(c.std)" in compile_text(SourceFile("small.spec", text), tmp_path / "small.spec").text


@pytest.mark.parametrize(
    "body",
    [
        "return h=word",
        "return h=ids",
        "return h=h + word",
        "return h=h, m=mask",
        "return h=h * 2 if causal else h * 3",
    ],
)
def test_what_has_no_form_on_the_device_is_refused_with_its_place(body: str, tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match=r"small\.spec:\d+:\d+: error\[E0\d+\]"):
        compile_text(SourceFile("small.spec", spec(body)), tmp_path / "small.spec")


def test_a_row_of_padding_is_not_lost_between_blocks(tmp_path: Path) -> None:
    text = spec("if given(more):\n    h = h + word[more]\nreturn h=h")
    compile_text(SourceFile("small.spec", text), tmp_path / "small.spec")
    padded = text.replace('at "word.weight"', 'at "word.weight", pad=0')
    with pytest.raises(DiagnosticError, match="a table with a row of padding is looked up in two blocks"):
        compile_text(SourceFile("small.spec", padded), tmp_path / "small.spec")
