"""Models: made, loaded, saved, told apart; with a small model written as the compiler would emit it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from ttmlc.ir.device import ROLES
from ttmlc.passes.lowering.storages import OWN
from ttmlc_runtime import generation, nn, ttnn
from ttmlc_runtime.errors import BackendError, ConfigError, WeightsError
from ttmlc_runtime.weights import concat, normal, ones, zeros
from ttmlc_runtime.weights.format import SafeFile


@dataclass(frozen=True, kw_only=True)
class TinyConfig(nn.Config):
    model_type: ClassVar[str] = "tiny"
    vocab: int = nn.size(11, "vocab_size")
    hidden: int = nn.size(32, "hidden_size")
    layers: int = nn.size(2, "num_layers")
    pad: int | None = nn.token(3, "pad_token_id", nullable=True)


@dataclass(frozen=True)
class TinyOutput(nn.Output):
    left: nn.Activation
    right: nn.Activation


class Tiny(nn.Model[TinyConfig]):
    Config = TinyConfig
    prefix = "tiny"
    stale = ("position_ids",)
    renames: ClassVar[dict[str, str]] = {"norm.gamma": "norm.weight"}

    def build(self, at: nn.Scope, c: TinyConfig) -> None:
        word = at.parameter("word.weight", (c.vocab, c.hidden), normal(0.02), zero_row=c.pad)
        self.word = at.store(weight=word, layout=ttnn.ROW_MAJOR_LAYOUT)
        self.pairs = [self.pair(at / f"layer.{i}", c) for i in range(c.layers)]
        self.norm = at.store(weight=at.parameter("norm.weight", (c.hidden,), ones))

    def pair(self, at: nn.Scope, c: TinyConfig) -> nn.Holder:
        square = (c.hidden, c.hidden)
        return at.store(
            weight=concat(
                at.parameter("left.weight", square, normal(0.02)).T,
                at.parameter("right.weight", square, normal(1)).T,
            ),
            bias=concat(
                at.parameter("left.bias", (c.hidden,), zeros), at.parameter("right.bias", (c.hidden,), zeros)
            ),
        )

    def __call__(self, input_ids: Any) -> TinyOutput:
        given = nn.Inputs(self.device, input_ids)
        ids = given.ids("input_ids", input_ids, below=self.config.vocab)
        x = ttnn.embedding(ids, self.word.weight, layout=ttnn.TILE_LAYOUT)
        y = ttnn.linear(x, self.pairs[0].weight, bias=self.pairs[0].bias, **self.kernels.matmul)
        shape = (*given.shape, 2 * self.config.hidden)
        return TinyOutput(
            left=nn.Activation(y, shape), right=nn.Activation(x, (*given.shape, self.config.hidden))
        )


class TinyHead(nn.Model[TinyConfig]):
    Config = TinyConfig
    prefix = ("tiny", "base")

    def build(self, at: nn.Scope, c: TinyConfig) -> None:
        self.word = at.store(weight=at.parameter("tiny.word.weight", (c.vocab, c.hidden), normal(0.02)))
        self.score = at.store(
            weight=at.parameter("score.weight", (2, c.hidden), normal(0.02), also=("classifier.weight",)).T
        )


NAMES = [
    "word.weight", "layer.0.left.weight", "layer.0.right.weight", "layer.0.left.bias", "layer.0.right.bias",
    "layer.1.left.weight", "layer.1.right.weight", "layer.1.left.bias", "layer.1.right.bias", "norm.weight",
]  # fmt: skip


def random_bits(seed: int = 0, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        name: generator.standard_normal(parameter.shape).astype(dtype)
        for name, parameter in Tiny().named_parameters()
    }


def folder_of(path: Path, arrays: dict[str, np.ndarray], **config: Any) -> Path:
    path.mkdir(exist_ok=True)
    save_file(arrays, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"model_type": "tiny", **config}))
    return path


@pytest.fixture(autouse=True)
def _loud() -> Iterator[None]:
    """A warning that a test does not expect fails it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


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


def test_loading_makes_no_random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, random_bits())
    monkeypatch.setattr(
        "ttmlc_runtime.weights.parameter.Parameter.initial",
        lambda *_: pytest.fail("a parameter was initialised"),
    )
    Tiny.from_pretrained(folder)


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


# Devices


def test_a_dtype_and_a_device_must_agree() -> None:
    exact = nn.open_device("float64")
    assert Tiny(device=exact).dtype == "float64"
    with pytest.raises(
        BackendError, match="dtype='bfloat16' was asked for on a device that computes in float64"
    ):
        Tiny(device=exact, dtype="bfloat16")
    with nn.device(exact):
        assert Tiny().device is exact
        assert Tiny().dtype == "float64"
    assert Tiny().dtype == "bfloat16"
    with pytest.raises(BackendError, match="'float16' is not one of bfloat16, float32, float64"):
        Tiny(dtype="float16")


def test_models_without_a_device_share_one_for_each_dtype() -> None:
    assert Tiny(dtype="float32").device is Tiny(dtype="float32").device
    assert Tiny(dtype="float32").device is not Tiny().device
    before = Tiny().device
    nn.close_devices()
    after = Tiny().device
    assert after is not before
    ttnn.close_device(after)  # by a user, behind our back
    assert Tiny()([[1]]).right.shape == (1, 1, 32)


def test_every_role_computes_precisely() -> None:
    """ttnn's own defaults differ from op to op and fall to LoFi, so each role's call is told."""
    kernels = Tiny().kernels
    for role, keywords in vars(kernels).items():
        config = keywords["compute_kernel_config"]
        assert config.math_fidelity is ttnn.MathFidelity.HiFi4
        assert (config.math_approx_mode, config.fp32_dest_acc_en) == (False, True)
        assert set(keywords) - {"compute_kernel_config"} == ({"core_grid"} if role == "matmul" else set())
    assert kernels.matmul["core_grid"] is not None  # without one no activation is fused


def test_the_policy_of_a_model_may_be_another() -> None:
    quick = nn.Policy(matmul=nn.HIFI2, norm=nn.Compute("LoFi", float32_sums=False, approximate=True))
    kernels = Tiny(policy=quick).kernels
    assert kernels.matmul["compute_kernel_config"].math_fidelity is ttnn.MathFidelity.HiFi2
    norm = kernels.norm["compute_kernel_config"]
    assert (norm.math_approx_mode, norm.fp32_dest_acc_en) == (True, False)
    assert kernels.attention == Tiny().kernels.attention
    with pytest.raises(BackendError, match="'HiFi5' is not one of LoFi, HiFi2, HiFi3, HiFi4"):
        nn.Compute("HiFi5")


def test_roles_are_the_compilers() -> None:
    assert tuple(field.name for field in dataclasses.fields(nn.Policy)) == ROLES
    assert tuple(field.name for field in dataclasses.fields(nn.Kernels)) == ROLES


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_arithmetic_is_refused_on_a_board(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    class Board:
        """A ttnn that is not the emulator."""

    monkeypatch.setattr("ttmlc_runtime.nn.devices.ttnn", Board)
    with pytest.raises(BackendError, match="exact arithmetic, which a board does not have"):
        nn.open_device(dtype)


# Loaded and saved


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shard_size", [1 << 30, 5000])
def test_float_models_round_trip_bit_for_bit(tmp_path: Path, dtype: str, shard_size: int) -> None:
    arrays = random_bits(dtype=dtype)
    model = Tiny.from_pretrained(folder_of(tmp_path, arrays), dtype=dtype)
    names = model.save_pretrained(tmp_path / "again", max_shard_size=shard_size)
    assert (len(names) > 2) == (shard_size == 5000)
    again = Tiny.from_pretrained(tmp_path / "again", dtype=dtype)
    for name, wanted in arrays.items():
        assert again.state_dict()[name].dtype == dtype
        assert again.state_dict()[name].tobytes() == wanted.tobytes(), name


def test_bfloat16_models_write_bfloat16_and_round_trip(tmp_path: Path) -> None:
    model = Tiny.from_pretrained(folder_of(tmp_path, random_bits()))
    model.save_pretrained(tmp_path / "once")
    Tiny.from_pretrained(tmp_path / "once").save_pretrained(tmp_path / "twice")
    once, twice = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("once", "twice"))
    assert once == twice
    assert once.count(b'"dtype":"BF16"') == len(NAMES)
    # Eight bits of fraction: rounding moves a value by at most 2 ** -9 of itself, and half of that is missed here.
    for name, wanted in random_bits().items():
        found = model.state_dict()[name]
        assert (np.abs(found - wanted) <= np.abs(wanted) * 2**-8).all()


def test_float16_files_are_read_exactly(tmp_path: Path) -> None:
    arrays = random_bits(dtype=np.float16)
    model = Tiny.from_pretrained(folder_of(tmp_path, arrays), dtype="float32")
    assert all((model.state_dict()[name] == arrays[name].astype(np.float32)).all() for name in NAMES)


def test_what_config_json_held_is_written_back(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path, random_bits(), architectures=["Old"], torch_dtype="float16", task_specific_params={"a": 1}
    )
    Tiny.from_pretrained(folder).save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == {
        "model_type": "tiny", "architectures": ["Tiny"], "torch_dtype": "bfloat16", "task_specific_params": {"a": 1},
        "vocab_size": 11, "hidden_size": 32, "num_layers": 2, "pad_token_id": 3,
    }  # fmt: skip


def test_saving_over_the_folder_it_came_from(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, random_bits())
    model = Tiny.from_pretrained(folder, dtype="float32")
    model.save_pretrained(folder)
    found = load_file(folder / "model.safetensors")
    assert all((found[name] == array).all() for name, array in random_bits().items())


def test_loading_keeps_little_on_the_host(tmp_path: Path) -> None:
    """Tensors stream: beside the model itself there is no second copy of it."""
    config = TinyConfig(hidden=256, layers=16, vocab=32)
    Tiny(config, dtype="float32").save_pretrained(tmp_path)
    tensor = 4 * 256 * 256
    tracemalloc.start()
    try:
        model = Tiny.from_pretrained(tmp_path, dtype="float32")
        size, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert model.num_parameters() * 4 > 32 * tensor
    # A storage fuses two tensors: the two, their concatenation, and the copy the device makes of it.
    assert peak - size < 5 * tensor


def test_saving_keeps_little_on_the_host(tmp_path: Path) -> None:
    model = Tiny(TinyConfig(hidden=256, layers=16, vocab=32), dtype="float32")
    tensor = 4 * 256 * 256
    tracemalloc.start()
    try:
        model.save_pretrained(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A storage of two tensors, its copies on the way to the host, and the two parameters.
    assert peak < 9 * tensor


def test_forms_that_saving_does_not_read_are_not_kept_on_the_host(tmp_path: Path) -> None:
    class Shared(nn.Model[TinyConfig]):
        """Each shared matrix is held alone, and once more beside another: the second form is not what is saved."""

        Config = TinyConfig

        def build(self, at: nn.Scope, c: TinyConfig) -> None:
            square = (c.hidden, c.hidden)
            self.held = []
            for i in range(c.layers):
                shared = at.parameter(f"{i}.shared", square, normal(1))
                own = at.parameter(f"{i}.own", square, normal(1))
                self.held.append(at.store(alone=shared, both=concat(own, shared.T)))

    model = Shared(TinyConfig(hidden=256, layers=16), dtype="float32")
    tensor = 4 * 256 * 256
    tracemalloc.start()
    try:
        state = model.save_pretrained(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert state == ["model.safetensors", "config.json"]
    # One storage of two tensors on its way to the host; sixteen kept ones would be seen.
    assert peak < 9 * tensor
    found = load_file(tmp_path / "model.safetensors")
    assert all((found[name] == array).all() for name, array in model.state_dict().items())


def test_reading_that_fails_midway_leaves_nothing_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, random_bits())
    model = Tiny(dtype="float32")
    read = SafeFile.read

    def breaks(self: SafeFile, name: str) -> np.ndarray:
        if name == "layer.0.right.weight":
            raise WeightsError("the disk is gone")
        return read(self, name)

    monkeypatch.setattr(SafeFile, "read", breaks)
    with pytest.raises(WeightsError, match="the disk is gone"):
        model.load_checkpoint(folder)
    assert not any(storage._staged for storage in model._registry.storages)


def test_a_state_dict_loads_into_another_model() -> None:
    source, target = Tiny(seed=1, dtype="float32"), Tiny(seed=2, dtype="float32")
    report = target.load_state_dict({f"tiny.{name}": array for name, array in source.state_dict().items()})
    assert sorted(report.loaded) == sorted(NAMES)
    assert report.prefix == "tiny"
    assert target.report is report
    assert all((target.state_dict()[name] == source.state_dict()[name]).all() for name in NAMES)


def test_a_state_dict_is_copied() -> None:
    arrays = random_bits()
    model = Tiny(dtype="float32")
    model.load_state_dict(arrays)
    arrays["word.weight"][:] = 7
    assert not (model.state_dict()["word.weight"] == 7).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm.weight": np.ones(32, np.int64)}, r"1 of a wrong dtype:\n  norm\.weight: I64"),
        ({"norm.weight": np.ones(32, bool)}, r"1 of a wrong dtype:\n  norm\.weight: BOOL"),
        ({"norm.weight": np.ones(31)}, r"norm\.weight: \[31\] instead of \[32\]"),
        ({"extra": np.ones(3)}, r"1 not expected:\n  extra"),
        ({"norm.gamma": np.zeros(32, np.float32)}, "norm.weight is there as .*, with different values"),
    ],
)
def test_a_state_dict_that_does_not_fit_is_refused_and_changes_nothing(change: Any, words: str) -> None:
    model = Tiny(dtype="float32")
    before = model.state_dict()
    with pytest.raises(WeightsError, match=words):
        model.load_state_dict({**random_bits(), **change})
    assert all((model.state_dict()[name] == before[name]).all() for name in NAMES)


def test_the_same_values_under_two_names_are_read_once() -> None:
    arrays = random_bits()
    report = Tiny(dtype="float32").load_state_dict({**arrays, "norm.gamma": arrays["norm.weight"]})
    assert report.loaded.count("norm.weight") == 1


def test_old_names_are_read_and_new_ones_written(tmp_path: Path) -> None:
    arrays = random_bits()
    arrays["norm.gamma"] = arrays.pop("norm.weight")
    model = Tiny.from_pretrained(folder_of(tmp_path, arrays), dtype="float32")
    model.save_pretrained(tmp_path / "again")
    assert (load_file(tmp_path / "again" / "model.safetensors")["norm.weight"] == arrays["norm.gamma"]).all()


def test_left_over_tensors_are_warned_about_once_and_refused_where_strict(tmp_path: Path) -> None:
    arrays = {**random_bits(), "cls.bias": np.ones(2, np.float32), "position_ids": np.arange(4)}
    folder = folder_of(tmp_path, arrays)
    with pytest.warns(UserWarning, match=r"1 tensors of .* are not used: cls\.bias") as caught:
        model = Tiny.from_pretrained(folder)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # the caller's line, not ours
    assert model.report is not None
    assert (model.report.unexpected, model.report.stale) == (["cls.bias"], ["position_ids"])
    with pytest.raises(WeightsError, match=r"strict was asked(.|\n)*cls\.bias"):
        Tiny.from_pretrained(folder, strict=True)


@pytest.mark.parametrize("prefix", ["", "tiny.", "base."])
def test_a_head_begins_at_random_over_a_base_checkpoint(tmp_path: Path, prefix: str) -> None:
    word = random_bits()["word.weight"]
    folder = folder_of(tmp_path, {f"{prefix}word.weight": word})
    with pytest.warns(UserWarning, match=r"1 parameters are not in .* and begin at random: score\.weight"):
        model = TinyHead.from_pretrained(folder, dtype="float32", seed=5)
    assert model.report is not None
    assert model.report.initialised == ["score.weight"]
    assert (model.state_dict()["tiny.word.weight"] == word).all()
    assert (
        model.state_dict()["score.weight"] == TinyHead(seed=5, dtype="float32").state_dict()["score.weight"]
    ).all()


def test_another_name_is_read_and_the_first_written(tmp_path: Path) -> None:
    score = np.random.default_rng(0).standard_normal((2, 32)).astype(np.float32)
    folder = folder_of(
        tmp_path, {"tiny.word.weight": random_bits()["word.weight"], "classifier.weight": score}
    )
    TinyHead.from_pretrained(folder, dtype="float32").save_pretrained(tmp_path / "again")
    assert (load_file(tmp_path / "again" / "model.safetensors")["score.weight"] == score).all()


def test_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match="only folders on this machine are read, so download the model first"
    ):
        Tiny.from_pretrained("someone/tiny-model")
    with pytest.raises(WeightsError, match=r"there is no config\.json in"):
        Tiny.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "other"}')
    with pytest.raises(ConfigError, match="of a 'other' model"):
        Tiny.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"has no model\.safetensors"):
        Tiny.from_pretrained(tmp_path)


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
