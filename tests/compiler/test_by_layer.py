"""Fields by layer: read from a config.json, checked, folded in; a loop that picks one of the masks that are there."""

from __future__ import annotations

import importlib.util
import itertools
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ttmlc
from ttmlc.api import Compiled, PresetError, compile_text
from ttmlc.emit.body import code_of
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.presets import checked
from ttmlc.source import SourceFile
from ttmlc_runtime.errors import ConfigError

from tests.compiler.small_specs import spec
from tests.modules import load

BODY = 'repeat i in layers at "layer.{i}":\n    h = h + Sliding(h, mask, at="s")\nreturn h=h'
TEXT = spec(BODY)
FULL, SLIDING = "full_attention", "sliding_attention"
SIZES = {
    "vocab_size": 50, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 32, "max_position_embeddings": 64, "head_dim": 32,
}  # fmt: skip


def compiled(folder: Path, text: str = TEXT, **config: Any) -> Compiled:
    file = SourceFile("small.spec", text)
    return compile_text(file, folder / "small.spec", config=config or None)


def module_of(made: Compiled, folder: Path) -> Any:
    return load(made.text, folder / "by_layer.py")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The spec as it stands."""
    return compiled(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def generic(whole: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Its module."""
    return module_of(whole, tmp_path_factory.mktemp("generic"))


def test_a_loop_picks_one_of_two_masks(whole: Compiled) -> None:
    text = whole.text
    assert text.count("given.mask(") == 2
    assert 'windowed = given.mask("mask", mask, causal=True, window=c.reach)' in text
    assert "for i, layer in enumerate(self.layer):" in text
    assert 'h = layer(h, windowed if c.kind[i] == "sliding" else mask_on_device)' in text
    assert "c.share[self.turn_i]" in text, "a number is read where it is needed"


def test_three_windows_are_three_masks(tmp_path: Path) -> None:
    three = "2 if loud[i] else reach if kind[i] == sliding else none"
    text = compiled(tmp_path, TEXT.replace("reach if kind[i] == sliding else none", three)).text
    assert text.count("given.mask(") == 3
    picked = 'windowed if c.loud[i] else windowed_2 if c.kind[i] == "sliding" else mask_on_device'
    assert f"h = layer(h, {picked})" in text


@pytest.mark.parametrize("index", ["layer", "c", "windowed", "match", "range"])
def test_an_index_may_be_called_as_other_things_are(index: str, tmp_path: Path, generic: Any) -> None:
    made = compiled(tmp_path, re.sub(r"\bi\b", index, TEXT))
    ids = np.arange(38).reshape(2, 19) % 19
    found, wanted = (
        module.SmallModel(module.SmallConfig(), seed=3, dtype="float64")(ids).h.numpy()
        for module in (module_of(made, tmp_path), generic)
    )
    assert np.array_equal(found, wanted)


def test_what_reads_no_field_by_layer_is_no_loop_over_numbers(tmp_path: Path) -> None:
    text = compiled(tmp_path, TEXT.replace("reach if kind[i] == sliding else none", "reach")).text
    assert text.count("given.mask(") == 1
    assert "for layer in self.layer:" in text


def test_ir_text_is_read_back(tmp_path: Path) -> None:
    for config in ({}, {"kinds": ["full", "sliding"]}):
        text = TEXT.replace("    head_dim =", '    require loud[i] or i < layers, "loud"\n    head_dim =')
        for stage in compiled(tmp_path, text, **config).stages:
            assert parse_module(print_module(stage.module)) == stage.module


def test_layers_that_are_alike_are_folded_in(tmp_path: Path) -> None:
    full = compiled(tmp_path, kinds=["full", "full"]).text
    assert "window=" not in code_of(full)
    assert "enumerate" not in full.partition("def __call__")[2]
    assert '"kind": ("full",) * 2,' in full
    sliding = compiled(tmp_path, kinds=["sliding", "sliding"], reach=7).text
    assert "causal=True, window=7)" in sliding
    assert sliding.count("given.mask(") == 1


def test_layers_that_differ_stay_a_table_that_is_checked(tmp_path: Path, generic: Any) -> None:
    made = compiled(tmp_path, kinds=["full", "sliding"], reach=7)
    module = module_of(made, tmp_path)
    assert "windowed if c.kind[i] ==" in made.text
    config = module.SmallConfig()
    assert (config.kind, config.reach, config.loud) == (("full", "sliding"), 7, (False, True))
    with pytest.raises(
        ConfigError, match=r"compiled for kind \('full', 'sliding'\) \(not \('full', 'full'\)\)"
    ):
        module.SmallConfig(kind=["full", "full"])
    ids = np.arange(38).reshape(2, 19) % 19
    first, other = (
        each.SmallModel(each.SmallConfig(kind=["full", "sliding"], reach=7), seed=3, dtype="float64")(ids)
        for each in (module, generic)
    )
    assert np.array_equal(first.h.numpy(), other.h.numpy())


def test_a_window_reaches_as_far_as_the_layer_says(generic: Any) -> None:
    """What a token says is read by later ones as far as the windows of the layers add up, and no further."""
    ids = np.arange(33)[None] % 19
    other = np.where(np.arange(33) == 0, 7, ids)
    far = {}
    for kinds in itertools.product(("full", "sliding"), repeat=2):
        model = generic.SmallModel(generic.SmallConfig(kind=kinds, reach=5), seed=3, dtype="float64")
        # Small weights, so that no key is seen too little to count.
        model.load_state_dict({name: 0.3 * value for name, value in model.state_dict().items()})
        changed = np.abs(model(ids).h.numpy() - model(other).h.numpy()).max(-1)[0] > 0
        far[kinds] = int(np.flatnonzero(changed)[-1])
    assert far == {
        ("full", "full"): 32, ("full", "sliding"): 32, ("sliding", "full"): 32, ("sliding", "sliding"): 8,
    }  # fmt: skip


def test_a_preset_gives_a_list() -> None:
    config = ttmlc.api.elaborate_file(SourceFile("small.spec", TEXT), Path("small.spec")).config
    assert checked({"kind": ["full", "sliding"], "share": [1, 0.5]}, config, "x")["share"] == (1.0, 0.5)
    for values, words in (
        ({"kind": ["full"]}, "x: kind has 1 values, and layers is 2"),
        ({"kind": "full"}, "x: kind has a value for each of layers, and 'full' is no list"),
        ({"kind": ["full", "fall"]}, "x: kind is a choice, and 'fall' is none"),
    ):
        with pytest.raises(PresetError, match=words):
            checked(values, config, "x")


# The families that have windows by layer


def config_class(family: str) -> Any:
    kind = {"qwen2": "Qwen2Config", "qwen3": "Qwen3Config"}[family]
    return getattr(importlib.import_module(f"generated.{family}"), kind)


def layered(choose: random.Random) -> dict[str, Any]:
    """Sizes with some of the keys that decide which layers slide."""
    options = {
        "use_sliding_window": (True, False),
        "sliding_window": (None, 1, 7, 4096),
        "max_window_layers": (-1, 0, 1, 2, 3, 28),
        "layer_types": (None, [FULL] * 3, [SLIDING, FULL, SLIDING]),
    }
    return {**SIZES, **{key: choose.choice(some) for key, some in options.items() if choose.random() < 0.7}}


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_configs_mean_what_they_mean_to_transformers(family: str) -> None:
    """And what Transformers takes and then fails of, layers that slide by no window, is refused."""
    transformers = pytest.importorskip("transformers", reason="the reference")
    theirs, ours, choose = (
        getattr(transformers, f"{family.capitalize()}Config"),
        config_class(family),
        random.Random(5),
    )
    refused = 0
    for _ in range(60):
        values = layered(choose)
        known = theirs(**values)
        assert known.layer_types is not None
        if SLIDING in known.layer_types and known.sliding_window is None:
            refused += 1
            with pytest.raises(
                ConfigError, match="sliding layers take use_sliding_window and a sliding_window"
            ):
                ours.from_hugging_face(values)
            continue
        for read in (ours.from_hugging_face(values), ours.from_hugging_face(known.to_dict())):
            assert list(read.kind) == known.layer_types
            assert read.reach == known.sliding_window
            back = theirs(**read.to_hugging_face())
            assert (back.layer_types, back.sliding_window) == (known.layer_types, known.sliding_window)
    assert 5 < refused < 30


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"layer_types": [FULL, SLIDING, FULL]}, "sliding layers take use_sliding_window"),
        (
            {"use_sliding_window": True, "sliding_window": None, "layer_types": [SLIDING] * 3},
            "sliding layers take use_sliding_window and a sliding_window",
        ),
        ({"layer_types": [FULL] * 2}, r"kind \(key 'layer_types'\) has 2 values and must have 3"),
        (
            {"layer_types": [FULL, "chunked_attention", FULL]},
            r"kind\[1\] \(key 'layer_types'\) is 'chunked_attention' and must be one of full_attention, sliding",
        ),
    ],
)
def test_configs_that_say_what_cannot_be_are_refused(values: dict[str, Any], words: str) -> None:
    for family in ("qwen2", "qwen3"):
        with pytest.raises(ConfigError, match=words):
            config_class(family).from_hugging_face({**SIZES, **values})
    with pytest.raises((ConfigError, PresetError), match=words):
        ttmlc.load("qwen2", **{"model_type": "qwen2", **SIZES, **values})
