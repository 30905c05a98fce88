"""Our own runs beside one another: what is recorded, what is far apart, files, errors that are planted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ttmlc.inspecting import as_json
from ttmlc_runtime import nn
from ttmlc_runtime.errors import InputError, WeightsError
from ttmlc_runtime.inspection import (
    MODES,
    TOLERANCES,
    Key,
    Recording,
    Report,
    compare,
    measure,
    record,
    saved,
)
from ttmlc_runtime.inspection.recording import fitted

from generated.llama import LlamaConfig, LlamaForCausalLM, LlamaModel

SIZES: dict[str, int] = {
    "vocab": 61, "hidden": 64, "layers": 3, "heads": 2, "kv": 1, "head_dim": 32, "inner": 70, "positions": 40,
}  # fmt: skip
GIVEN = {"input_ids": np.random.default_rng(0).integers(0, 61, (2, 9))}
FEED = Key("model.layers.1.mlp", "FeedForward")
LAYER = Key("model.layers.1", "Layer")
ATTENTION = Key("model.layers.1.self_attn", "Attention")


def line_of(words: str) -> str:
    """Where the one line of the spec with these words is."""
    text = Path(__file__).parents[3] / "specs" / "models" / "llama.spec"
    (found,) = (at for at, line in enumerate(text.read_text("utf-8").splitlines(), 1) if words in line)
    return f"llama.spec:{found}"


def made(dtype: str = "float32", **config: Any) -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, "std": 0.2, **config}), seed=3, dtype=dtype)


def changed(name: str, dtype: str = "float32") -> LlamaForCausalLM:
    """The same model, one of its parameters a little different."""
    model = made(dtype)
    values = model.state_dict()
    values[name] = values[name] + 0.1 * np.random.default_rng(1).standard_normal(values[name].shape)
    model.load_state_dict(values)
    return model


def beside(model: Any, reference: Recording, tolerance: float | None = None, **options: Any) -> Report:
    bars = TOLERANCES[model.dtype] if tolerance is None else (tolerance, tolerance)
    return compare(
        model,
        GIVEN,
        reference,
        against="a file",
        modes=MODES,
        tolerances=dict(zip(MODES, bars, strict=True)),
        **options,
    )


@pytest.fixture(scope="module")
def reference() -> Recording:
    return record(made(), GIVEN).recording


# How far apart


@pytest.mark.parametrize(
    ("ours", "theirs", "pcc", "parts"),
    [
        ([1, 2, 3, 5], [1, 2, 3, 5], 1.0, False),
        ([2, 4, 6, 10], [1, 2, 3, 5], 1.0, True),  # a wrong size, which the PCC does not see
        ([11, 12, 13, 15], [1, 2, 3, 5], 1.0, True),  # a shift
        ([5, 3, 2, 1], [1, 2, 3, 5], None, True),
        ([1, math.nan, 3, 5], [1, 2, 3, 5], math.nan, True),
        ([7, 7, 7], [7, 7, 7], None, False),  # no PCC of values that are all the same
        ([7, 8, 7], [7, 7, 7], None, True),
        ([0, 0], [0, 0], None, False),
        ([0, 1e-9], [0, 0], None, True),
        ([1.0, 1.00001], [1.00001, 1.0], None, False),  # two points always lie on a line
    ],
)
def test_what_is_apart(ours: list[float], theirs: list[float], pcc: float | None, parts: bool) -> None:
    found = measure(np.array(ours), np.array(theirs))
    assert found.parts(0.99999) is parts
    if pcc is not None:
        assert found.pcc == pytest.approx(pcc, nan_ok=True)
    json.dumps(found.json(), allow_nan=False)


def test_the_numbers_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 500))
    found = measure(a, b)
    assert found.pcc == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert found.max_abs == np.abs(a - b).max()
    assert found.max_rel == pytest.approx(found.max_abs / np.abs(b).max())
    assert found.off == pytest.approx(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


def test_values_are_brought_into_another_shape_where_that_means_the_same() -> None:
    values = np.arange(12.0).reshape(2, 6)
    for array, wanted in (
        (values, values.reshape(2, 1, 6)),
        (values.reshape(2, 2, 3), values.reshape(4, 3)),  # rows of choices
        (values[:1], np.stack([values[:1], values[:1]])),  # positions, which are the same for each row
    ):
        found = fitted(array, wanted.shape)
        assert found is not None
        np.testing.assert_array_equal(found, wanted, strict=True)
    assert fitted(values, (6, 2)) is None
    assert fitted(values, (3, 4)) is None


# What is recorded


def test_each_block_is_seen_with_those_in_it_and_nothing_is_changed(reference: Recording) -> None:
    model = made()
    kept: list[str] = []

    def observer(block: nn.Block, arguments: tuple[Any, ...]) -> Any:
        kept.append(block.path)
        return block.run(*arguments)

    with nn.observed(observer):
        seen = model(**GIVEN).logits.numpy()
    assert kept[:4] == ["model", "model.layers.0", "model.layers.0.self_attn", "model.layers.0.mlp"]
    assert len(kept) == 1 + 3 * 3 + 2
    count = len(kept)
    assert np.array_equal(model(**GIVEN).logits.numpy(), seen)
    assert len(kept) == count
    assert np.array_equal(reference.outputs["logits"], seen)


def test_calls_have_the_lines_of_the_module_and_of_the_spec() -> None:
    trace = record(made(), GIVEN)
    steps = [step for step in trace.recording.steps if step.key == FEED]
    assert [step.name for step in steps] == ["ttnn.linear", "ttnn.linear", "ttnn.multiply", "ttnn.linear"]
    text = trace.texts[steps[-1].line]
    assert text.startswith("return ttnn.linear(ttnn.multiply(act, up_proj), self.down_proj.weight, bias=")
    assert trace.specs[steps[-1].line] == line_of('at="down_proj"')
    assert steps[-1].reads == ("model.layers.1.mlp.down_proj.weight",)
    joined = next(step for step in trace.recording.steps if step.key == ATTENTION)
    first, last = line_of('at="q_proj"'), line_of('at="v_proj"').partition(":")[2]
    assert trace.specs[joined.line] == f"{first}-{last}"


def test_the_module_is_as_it_was_afterwards() -> None:
    from generated import llama

    before = llama.ttnn, llama.nn
    with pytest.raises(InputError):
        record(made(), {"input_ids": np.array([[99]])})
    assert (llama.ttnn, llama.nn) == before


def test_an_inner_block_that_is_fed_changes_nothing_outside_of_it(reference: Recording) -> None:
    wrong = {(FEED, 0): np.ones((2, 1, 9, 64), np.float32)}
    fed = record(made(), GIVEN, wrong).recording
    parts, before = ({part.key: part for part in one.parts} for one in (fed, reference))
    assert not np.array_equal(parts[FEED].gives[0], before[FEED].gives[0])
    assert np.array_equal(parts[LAYER].gives[0], before[LAYER].gives[0])
    assert len(fed.parts) == len(reference.parts)
    assert len(fed.steps) == len(reference.steps)


# Errors that are planted


def test_equal_models_part_nowhere(reference: Recording) -> None:
    report = beside(made(), reference)
    assert report.agrees
    assert [report.parting(mode) for mode in MODES] == [None, None]
    assert all(row.measures[mode].max_abs == 0 for row in report.blocks for mode in MODES)


@pytest.mark.parametrize("mode", MODES)
def test_a_changed_weight_is_found_in_its_block_and_call(reference: Recording, mode: str) -> None:
    report = beside(changed("model.layers.1.mlp.down_proj.weight"), reference)
    found = report.parting(mode)
    assert found is not None
    block, step = found
    assert (block.key, block.spec) == (FEED, line_of("block FeedForward"))
    assert step is not None
    assert (step.name, step.spec, "down_proj" in step.text) == (
        "ttnn.linear",
        line_of('at="down_proj"'),
        True,
    )
    apart = [row.key for row in report.apart(mode)]
    if mode == "isolated":
        assert apart == [LAYER, FEED]
    else:
        behind = {str(key) for key in apart} - {str(LAYER), str(FEED)}
        assert all("layers.2" in key or "norm" in key or "LmHead" in key for key in behind)
        assert len(behind) == 5


def test_what_an_outer_block_does_wrong_before_an_inner_one_is_its_own(reference: Recording) -> None:
    report = beside(changed("model.layers.1.input_layernorm.weight"), reference)
    for mode in MODES:
        found = report.parting(mode)
        assert found is not None
        assert found[0].key == LAYER
        assert found[1] is not None
        assert found[1].name == "ttnn.multiply"
    assert [row.key for row in report.apart("isolated")] == [LAYER]


def test_bfloat16_is_within_its_tolerances_and_not_within_those_of_float32(reference: Recording) -> None:
    model = made("bfloat16")
    assert beside(model, reference).agrees
    report = beside(model, reference, TOLERANCES["float32"][0])
    found = report.parting("accumulated")
    assert found is not None
    assert found[0].key.name.startswith("model.layers.0")


def test_a_block_that_the_reference_has_not_is_shown_without_one(reference: Recording) -> None:
    other = Recording("blocks", "LlamaForCausalLM", {}, "float32", GIVEN)
    other.parts = [part for part in reference.parts if part.key != FEED]
    report = beside(made(), other)
    (row,) = [row for row in report.blocks if row.against is None]
    assert (row.key, row.measures, row.why) == (FEED, {}, "the reference has no such block")
    assert report.agrees


# Files


def test_a_recording_comes_back_from_its_file(reference: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    saved.save(path, reference)
    back = saved.read(path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert (back.kind, back.model, back.dtype) == ("blocks", "LlamaForCausalLM", "float32")
    for one, other in zip(back.parts, reference.parts, strict=True):
        assert (one.key, one.parameters) == (other.key, other.parameters)
        assert all(np.array_equal(a, b) for a, b in zip(one.gives, other.gives, strict=True))
        assert one.takes is None if other.takes is None else np.array_equal(one.takes, other.takes)
    assert back.outputs.keys() == reference.outputs.keys()
    assert all(np.array_equal(back.outputs[name], array) for name, array in reference.outputs.items())
    # What a layer takes is what the one before it gives: one value, one object.
    for recording in (back, reference):
        parts = {part.key: part for part in recording.parts}
        assert parts[LAYER].takes is parts[Key("model.layers.0", "Layer")].gives[0]
    report = beside(made(), back)
    assert report.agrees
    assert all(row.same for row in report.steps)
    saved.check(back, "it", made(), GIVEN)


def test_a_file_of_something_else_is_refused(reference: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    saved.save(path, reference)
    back = saved.read(path)
    with pytest.raises(InputError, match=r"activations of LlamaForCausalLM, and this is LlamaModel"):
        saved.check(back, "it", LlamaModel(LlamaConfig(**SIZES)), None)
    with pytest.raises(InputError, match=r"intermediate_size 70 there and 71 here"):
        saved.check(back, "it", made(inner=71), None)
    with pytest.raises(InputError, match=r"other input_ids"):
        saved.check(back, "it", made(), {"input_ids": GIVEN["input_ids"][:1]})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"cannot be read as activations"):
        saved.read(path)
    made().save_pretrained(tmp_path / "model")
    with pytest.raises(WeightsError, match=r"holds no activations"):
        saved.read(tmp_path / "model" / "model.safetensors")
    with pytest.raises(WeightsError, match=r"there is no file"):
        saved.read(tmp_path / "b.safetensors")


# What is told


def test_json_says_all_of_it(reference: Recording) -> None:
    report = beside(changed("model.layers.1.mlp.down_proj.weight"), reference)
    found = json.loads(as_json(report))
    assert (found["model"], found["agrees"], found["tolerances"]) == (
        "LlamaForCausalLM", False, {"accumulated": 0.99999, "isolated": 0.99999},
    )  # fmt: skip
    first = found["parts"]["isolated"]
    assert (first["block"], first["class"]) == ("model.layers.1.mlp", "FeedForward")
    assert (first["call"]["op"], first["call"]["spec"]) == ("ttnn.linear", line_of('at="down_proj"'))
    assert found["first_call"]["isolated"] == first["call"]
    assert [block["name"] for block in found["blocks"][:2]] == ["model.embed_tokens", "model.layers.0"]
    assert set(found["blocks"][0]["isolated"]) == {"pcc", "max_abs", "max_rel", "off", "apart"}
    assert {call["line"] for call in found["calls"]} == {row.line for row in report.steps}
    assert found["outputs"]["logits"]["apart"] is True


@pytest.mark.deep
def test_a_picture_is_drawn(reference: Recording, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="it draws")
    from ttmlc_runtime.inspection.picture import draw

    draw(tmp_path / "a.png", beside(changed("model.layers.1.mlp.down_proj.weight"), reference))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    header = (tmp_path / "a.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(header[16:20], "big") > 1000
