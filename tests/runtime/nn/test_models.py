"""Models: made, called, told apart."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ttmlc.passes.lowering.storages import OWN
from ttmlc_runtime import generation, nn
from ttmlc_runtime.errors import ConfigError, WeightsError
from ttmlc_runtime.weights import zeros

from tests.runtime.nn.tiny import NAMES, Tiny, TinyConfig

pytestmark = pytest.mark.filterwarnings("error")


# Made


def test_parameters_are_listed_in_the_order_of_the_spec() -> None:
    model = Tiny()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert model.num_parameters() == 11 * 32 + 2 * (2 * 32 * 32 + 2 * 32) + 32
    assert repr(model).startswith("Tiny(4,608 parameters, dtype='bfloat16', TinyConfig(vocab=11, hidden=32,")


def test_random_weights_are_those_of_the_seed() -> None:
    one, same, other = (Tiny(seed=seed, dtype="float32").state_dict() for seed in (1, 1, 2))
    assert all((one[name] == same[name]).all() for name in NAMES)
    assert not (one["word.weight"] == other["word.weight"]).all()
    assert not one["word.weight"][3].any()
    assert one["word.weight"][2].all()
    assert (one["norm.weight"] == 1).all()
    assert not one["layer.0.left.bias"].any()


def test_a_config_of_another_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="Tiny takes a TinyConfig, not Config"):
        Tiny(nn.Config())


def test_two_parameters_at_one_path_are_refused_with_both_makers() -> None:
    class Twice(nn.Model[TinyConfig]):
        Config = TinyConfig

        def build(self, at: nn.Scope, c: TinyConfig) -> None:
            at.parameter("a.b.weight", (2,), zeros)
            (at / "a.b").parameter("weight", (3,), zeros)

    with pytest.raises(
        WeightsError,
        match=r"'a\.b\.weight' \[2\] made under 'the model', and 'weight' \[3\] made under 'a\.b'",
    ):
        Twice()


def test_another_name_may_not_be_a_parameters_own() -> None:
    class Clash(nn.Model[TinyConfig]):
        Config = TinyConfig

        def build(self, at: nn.Scope, c: TinyConfig) -> None:
            at.parameter("a", (2,), zeros)
            at.parameter("b", (2,), zeros, also=("a",))

    with pytest.raises(WeightsError, match="two parameters would be read from 'a'"):
        Clash()


def test_a_parameter_that_no_storage_holds_is_refused() -> None:
    class Loose(nn.Model[TinyConfig]):
        Config = TinyConfig

        def build(self, at: nn.Scope, c: TinyConfig) -> None:
            at.parameter("a", (2,), zeros)

    with pytest.raises(WeightsError, match="makes parameters that no storage holds: a"):
        Loose()


def test_a_tensor_before_its_values_is_refused() -> None:
    model = Tiny.__new__(Tiny)
    model._prepare(None, None, None, None)
    with pytest.raises(
        WeightsError, match=r"left\.weight\.T, .*right\.weight\.T\) has no values yet: it waits for"
    ):
        model.pairs[0].weight  # noqa: B018  # the refusal is what is looked at
    with pytest.raises(AttributeError, match="no storage is called 'wieght' here: weight, bias"):
        model.pairs[0].wieght  # noqa: B018  # the attribute is what is tested
    assert "layer.0.left.weight.T" in repr(model.pairs[0])


# Called


def test_outputs_are_read_by_name_key_and_place() -> None:
    output = Tiny(dtype="float32")([[1, 2, 3]])
    assert output.keys() == ("left", "right")
    assert output[0] is output.left is output["left"]
    assert output[1] is output.right
    assert output.to_tuple() == (output.left, output.right)
    assert len(output) == 2
    assert list(output) == ["left", "right"]
    with pytest.raises(KeyError, match="middle"):
        output["middle"]
    assert output.left.shape == (1, 3, 64)
    assert np.asarray(output.left).dtype == np.float32
    assert np.asarray(output.right, np.float64).dtype == np.float64
    assert "shape=[1, 3, 64]" in repr(output.left)


def test_a_fused_storage_computes_both_parts() -> None:
    model = Tiny(seed=3, dtype="float64")
    ids, state = [[1, 2], [4, 10]], model.state_dict()
    x = state["word.weight"][np.array(ids)]
    wanted = np.concatenate([x @ state[f"layer.0.{side}.weight"].T for side in ("left", "right")], -1)
    # Sums of 32 products in float64; 1e-12 is some thousand roundings of them.
    assert np.abs(model(ids).left.numpy() - wanted).max() < 1e-12


# Names


def test_the_compiler_knows_the_names_that_blocks_and_models_have_of_their_own() -> None:
    """A storage that a checkpoint's path would name like one of them gets another name."""
    kinds = (nn.Model, nn.Block, generation.Model)
    public = {name for kind in kinds for name in dir(kind) if not name.startswith("_")}
    assert public - {"Config"} <= OWN


# Cost


def test_importing_needs_only_numpy() -> None:
    slow = "{'torch', 'safetensors', 'tqdm', 'numba', 'ttmlc'}"
    code = f"import sys, ttmlc_runtime.nn; print(sorted({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
