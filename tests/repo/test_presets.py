"""The presets are valid, fit their spec, and hold the published sizes."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ttmlc.api import Sizes, compile_spec, elaborate_file, sizes_of
from ttmlc.language import load
from ttmlc.specs import presets

ROOT = Path(__file__).resolve().parents[2]
PRESETS = sorted((ROOT / "specs/presets").glob("*.yaml"))

# layers, hidden, heads, inner: Devlin et al. 2018, section 3 (base, large); Turc et al. 2019 (tiny, small),
# whose models have heads of 64 and an inner size of four times hidden; Radford et al. 2019, table 2, whose heads are of
# 64 too, and whose inner size is the spec's default, four times hidden
PUBLISHED = {
    "bert-tiny": (2, 128, 2, 512),
    "bert-small": (4, 512, 8, 2048),
    "bert-base": (12, 768, 12, 3072),
    "bert-large": (24, 1024, 16, 4096),
    "distilbert-base": (6, 768, 12, 3072),  # Sanh et al. 2019, section 3
    "roberta-base": (12, 768, 12, 3072),  # Liu et al. 2019, appendix, table 9
    "roberta-large": (24, 1024, 16, 4096),
    "gpt2-small": (12, 768, 12, None),
    "gpt2-medium": (24, 1024, 16, None),
    "gpt2-large": (36, 1280, 20, None),
    "gpt2-xl": (48, 1600, 25, None),
    "llama-7b": (32, 4096, 32, 11008),  # Touvron et al. 2023, table 2
    "llama3-8b": (32, 4096, 32, 14336),  # Llama Team 2024, table 3
    "llama3.2-1b": (16, 2048, 32, 8192),  # this and the next two: their folders' config.json
    "smollm2-135m": (30, 576, 9, 1536),
    "tinyllama": (22, 2048, 32, 5632),
    "nano-llama3": (6, 384, 6, 1024),  # tt-train's nanollama3.yaml; 8 / 3 of hidden
    "mistral-7b": (32, 4096, 32, 14336),  # Jiang et al. 2023, table 1
    "qwen2-0.5b": (24, 896, 14, 4864),  # Yang et al. 2024, table 1
    "qwen3-0.6b": (28, 1024, 16, 3072),  # Yang et al. 2025, table 1, and its folder
}
PARAMETERS = {
    # `params` of Keras Hub's presets, which are those of the checkpoints without a head (src/models/*/..._presets.py)
    "bert-tiny": 4_385_920,
    "bert-small": 28_763_648,
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
    "distilbert-base": 66_362_880,
    "gpt2-small": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    # the hub's count of each checkpoint's safetensors, without the head of those that are not tied
    "roberta-base": 124_645_632,
    "roberta-large": 355_359_744,
    "llama-7b": 6_738_415_616 - 32000 * 4096,  # Keras Hub's llama_7b_en as well
    "llama3-8b": 8_030_261_248 - 128256 * 4096,
    "llama3.2-1b": 1_235_814_400,
    "smollm2-135m": 134_515_008,
    "tinyllama": 1_100_048_384 - 32000 * 2048,
    "mistral-7b": 7_241_732_096 - 32000 * 4096,
    "qwen2-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
}
"""What the published checkpoints hold."""
UNPUBLISHED = {"nano-gpt", "nano-llama3"}
"""Sizes of training runs, of which no checkpoint is published."""
ROTARY = {
    "llama-7b": {},
    "tinyllama": {},
    "mistral-7b": {},
    "nano-llama3": {"rope_theta": 500000.0},
    "llama3-8b": {"rope_theta": 500000.0},
    "llama3.2-1b": {
        "rope_kind": "llama3",
        "rope_theta": 500000.0,
        "rope_factor": 32.0,
        "rope_low": 1.0,
        "rope_high": 4.0,
        "rope_trained": 8192,
    },
    "smollm2-135m": {"rope_theta": 100000.0},
    "qwen2-0.5b": {"rope_theta": 1000000.0},
    "qwen3-0.6b": {"rope_theta": 1000000.0},
}
"""What the presets of decoders say of rotary positions."""
NAMED_OTHERWISE = {
    "nano-gpt": "gpt2",
    **dict.fromkeys(("nano-llama3", "tinyllama", "smollm2-135m", "llama3-8b", "llama3.2-1b"), "llama"),
}
"""Presets that are not called after their spec."""


def read(path: Path) -> dict[str, Any]:
    preset = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(preset, dict)
    return preset


@cache
def fields(model: str) -> list[str]:
    """The fields of a spec's config that a preset may set."""
    spec = ROOT / "specs/models" / f"{model}.spec"
    return [entry.name for entry in elaborate_file(load(spec), spec).config.fields]


@cache
def sizes(model: str) -> dict[str, Sizes]:
    """How large each preset of a spec is."""
    found = sizes_of(ROOT / "specs/models" / f"{model}.spec", presets(model))[1]
    return {path.stem: size for path, size in found.items()}


def test_each_published_size_has_a_preset() -> None:
    assert set(PUBLISHED) <= {path.stem for path in PRESETS}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_names_its_model_and_fields_of_its_config(path: Path) -> None:
    preset = read(path)
    assert set(preset) == {"model", "config"}
    assert path.stem.startswith(preset["model"] + "-") or NAMED_OTHERWISE.get(path.stem) == preset["model"]
    assert set(preset["config"]) <= set(fields(preset["model"]))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_says_where_its_sizes_are_from(path: Path) -> None:
    assert re.match(r"#.*\b(19|20)\d\d\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name: str) -> None:
    config = read(ROOT / "specs/presets" / f"{name}.yaml")["config"]
    assert tuple(config.get(key) for key in ("layers", "hidden", "heads", "inner")) == PUBLISHED[name]


def test_every_preset_is_counted() -> None:
    assert {path.stem for path in PRESETS} == {*PARAMETERS, *UNPUBLISHED}


@pytest.mark.parametrize("name", PARAMETERS)
def test_they_hold_as_many_numbers_as_the_published_checkpoints(name: str) -> None:
    preset = read(ROOT / "specs/presets" / f"{name}.yaml")
    found = sizes(preset["model"])[name]
    assert found.parameters == PARAMETERS[name]
    assert found.layers == preset["config"]["layers"]


def test_rotary_positions_are_the_published_ones() -> None:
    found = {path.stem: read(path) for path in PRESETS}
    said = {
        name: {key: value for key, value in preset["config"].items() if key.startswith("rope_")}
        for name, preset in found.items()
        if "rope_theta" in fields(preset["model"])
    }
    assert said == ROTARY


def test_a_build_for_a_preset_is_as_large_as_is_listed() -> None:
    for name in ("llama3.2-1b", "gpt2-medium"):
        model = read(ROOT / "specs/presets" / f"{name}.yaml")["model"]
        summary = compile_spec(ROOT / "specs/models" / f"{model}.spec", preset=name, train=False).summary
        assert (summary.calls, summary.parameters) == (
            sizes(model)[name].calls,
            sizes(model)[name].parameters,
        )
