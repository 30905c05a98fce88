"""Which tensor feeds which parameter, and what the report says of the rest."""

from __future__ import annotations

import pytest
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights import Misshapen, Parameter, zeros
from ttmlc_runtime.weights.load import LoadReport, Rules, match, refuse

BASE = Rules(
    ("base",), stale=("embeddings.position_ids", "*.masked_bias"), renames={"Norm.gamma": "Norm.weight"}
)


def parameters(*names: str, also: dict[str, tuple[str, ...]] | None = None) -> dict[str, Parameter]:
    return {name: Parameter(name, (2,), zeros, (also or {}).get(name, ())) for name in names}


def tensors(
    *names: str, shape: tuple[int, ...] = (2,), dtype: str = "F32"
) -> dict[str, tuple[str, tuple[int, ...]]]:
    return dict.fromkeys(names, (dtype, shape))


@pytest.mark.parametrize("prefix", ["", "base."])
def test_a_base_reads_names_with_its_prefix_or_without(prefix: str) -> None:
    found = match(parameters("w", "x.b"), tensors(f"{prefix}w", f"{prefix}x.b", "cls.b"), BASE)
    assert found.sources == {"w": [f"{prefix}w"], "x.b": [f"{prefix}x.b"]}
    assert found.report.unexpected == ["cls.b"]
    assert found.report.prefix == prefix.rstrip(".")
    assert found.report.complete


def test_a_tensor_beside_the_prefixed_ones_is_not_the_bases() -> None:
    found = match(parameters("w", "x", "dense"), tensors("base.w", "base.x", "dense"), BASE)
    assert found.report.missing == ["dense"]
    assert found.report.unexpected == ["dense"]


@pytest.mark.parametrize("prefix", ["base.", "", "other."])
def test_a_head_finds_its_base_under_any_known_prefix(prefix: str) -> None:
    rules = Rules(("base", "other"))
    found = match(
        parameters("base.w", "base.x", "score"), tensors(f"{prefix}w", f"{prefix}x", "score"), rules
    )
    assert found.sources == {"base.w": [f"{prefix}w"], "base.x": [f"{prefix}x"], "score": ["score"]}
    assert not found.report.initialised


@pytest.mark.parametrize("prefix", ["base.", ""])
def test_a_head_that_is_not_there_is_initialised_but_a_base_is_missing(prefix: str) -> None:
    found = match(parameters("base.w", "base.x", "score"), tensors(f"{prefix}w"), BASE)
    assert found.report.initialised == ["score"]
    assert found.report.missing == ["base.x"]
    with pytest.raises(WeightsError, match=r"1 missing:\n  base\.x"):
        refuse(found.report, "the file", strict=False)


def test_a_missing_head_is_refused_where_strict() -> None:
    report = match(parameters("base.w", "score"), tensors("base.w"), BASE).report
    refuse(report, "the file", strict=False)
    with pytest.raises(WeightsError, match="begun at random:\n  score"):
        refuse(report, "the file", strict=True)


def test_left_over_tensors_are_refused_where_strict() -> None:
    report = match(parameters("w"), tensors("w", "extra"), BASE).report
    refuse(report, "the file", strict=False)
    with pytest.raises(WeightsError, match=r"strict was asked(.|\n)*1 not expected:\n  extra"):
        refuse(report, "the file", strict=True)


@pytest.mark.parametrize(
    "name", ["embeddings.position_ids", "base.embeddings.position_ids", "h.0.attn.masked_bias"]
)
def test_stale_tensors_are_skipped_in_silence_even_where_strict(name: str) -> None:
    for own in ("w", "base.w"):
        report = match(parameters(own), tensors("base.w", name), BASE).report
        assert report.stale == [name]
        assert not report.unexpected
        refuse(report, "the file", strict=True)


def test_old_names_are_read_only_where_the_class_says_so() -> None:
    names = tensors("layer.Norm.gamma", "layer.MyNorm.gamma")
    ours = parameters("layer.Norm.weight")
    assert match(ours, names, BASE).sources == {"layer.Norm.weight": ["layer.Norm.gamma"]}
    assert match(ours, names, BASE).report.unexpected == ["layer.MyNorm.gamma"]
    assert match(ours, names, Rules()).report.missing == ["layer.Norm.weight"]


def test_other_names_are_read_and_all_that_are_there_are_given() -> None:
    ours = parameters("bias", also={"bias": ("decoder.bias",)})
    assert match(ours, tensors("decoder.bias"), BASE).sources == {"bias": ["decoder.bias"]}
    assert match(ours, tensors("bias", "decoder.bias"), BASE).sources == {"bias": ["bias", "decoder.bias"]}


def test_a_name_that_two_parameters_would_read_is_refused() -> None:
    with pytest.raises(WeightsError, match="'c' would be read for a and for b"):
        match(parameters("a", "b", also={"a": ("c",), "b": ("c",)}), tensors("a", "b"), BASE)


def test_everything_wrong_is_told_at_once_with_near_names() -> None:
    ours = parameters(*(f"layer.{i}.dense.weight" for i in range(3)), "norm", "ids")
    there = {
        **tensors("layer.0.dense.wieght", "surplus"),
        **tensors("layer.1.dense.weight", shape=(3, 2)),
        **tensors("ids", dtype="I64"),
    }
    report = match(ours, there, BASE).report
    assert report.missing == ["layer.0.dense.weight", "layer.2.dense.weight", "norm"]
    assert report.mis_shaped == [Misshapen("layer.1.dense.weight", (2,), (3, 2))]
    assert report.wrong_dtype == [("ids", "I64")]
    with pytest.raises(WeightsError) as caught:
        refuse(report, "model/", strict=False)
    assert caught.value.report is report
    text = str(caught.value)
    for words in (
        "model/ does not fit the model",
        "layer.0.dense.weight   (there is layer.0.dense.wieght)",
        "layer.1.dense.weight: [3, 2] instead of [2]",
        "ids: I64",
        "surplus",
        "  norm\n",
    ):
        assert words in text


def test_a_report_shows_names_as_a_terminal_may_show_them() -> None:
    assert "\x1b" not in str(LoadReport(unexpected=["\x1b[31mred\u202e"]))
