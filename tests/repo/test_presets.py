"""The presets are valid, fit their spec, and hold the published sizes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ttmlc.api import expanded

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
}
NAMED_OTHERWISE = {"nano-gpt": "gpt2"}
"""Presets that are not called after their spec."""


def read(path: Path) -> dict[str, Any]:
    preset = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(preset, dict)
    return preset


def test_each_published_size_has_a_preset() -> None:
    assert set(PUBLISHED) <= {path.stem for path in PRESETS}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_names_its_model_and_fields_of_its_config(path: Path) -> None:
    preset = read(path)
    assert set(preset) == {"model", "config"}
    assert path.stem.startswith(preset["model"] + "-") or NAMED_OTHERWISE.get(path.stem) == preset["model"]
    spec = expanded(ROOT / "specs/models" / f"{preset['model']}.spec")
    fields = set(re.findall(r"^    (\w+): .* from ", spec, re.MULTILINE))
    assert set(preset["config"]) <= fields


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_says_where_its_sizes_are_from(path: Path) -> None:
    assert re.match(r"#.*\b(19|20)\d\d\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name: str) -> None:
    config = read(ROOT / "specs/presets" / f"{name}.yaml")["config"]
    assert tuple(config.get(key) for key in ("layers", "hidden", "heads", "inner")) == PUBLISHED[name]
