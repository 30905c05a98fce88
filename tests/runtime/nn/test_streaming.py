"""Weights stream between files and the device: what loading and saving do not make, and do not keep on the host."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from ttmlc_runtime import nn
from ttmlc_runtime.errors import WeightsError
from ttmlc_runtime.weights import concat, normal
from ttmlc_runtime.weights.format import SafeFile

from tests.runtime.nn.tiny import Tiny, TinyConfig, folder_of, random_values

pytestmark = pytest.mark.filterwarnings("error")


class Traced:
    """What Python's memory holds at the end of a ``with``, and at its peak, in bytes."""

    size = peak = 0

    def __enter__(self) -> Traced:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.size, self.peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()


def test_loading_makes_no_random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, random_values())
    monkeypatch.setattr(
        "ttmlc_runtime.weights.parameter.Parameter.initial",
        lambda *_: pytest.fail("a parameter was initialised"),
    )
    Tiny.from_pretrained(folder)


def test_loading_keeps_little_on_the_host(tmp_path: Path) -> None:
    """Tensors stream: beside the model itself there is no second copy of it."""
    config = TinyConfig(hidden=256, layers=16, vocab=32)
    Tiny(config, dtype="float32").save_pretrained(tmp_path)
    tensor = 4 * 256 * 256
    with Traced() as traced:
        model = Tiny.from_pretrained(tmp_path, dtype="float32")
    assert model.num_parameters() * 4 > 32 * tensor
    # A storage fuses two tensors: the two, their concatenation, and the copy the device makes of it.
    assert traced.peak - traced.size < 5 * tensor


def test_saving_keeps_little_on_the_host(tmp_path: Path) -> None:
    model = Tiny(TinyConfig(hidden=256, layers=16, vocab=32), dtype="float32")
    tensor = 4 * 256 * 256
    with Traced() as traced:
        model.save_pretrained(tmp_path)
    # A storage of two tensors, its copies on the way to the host, and the two parameters.
    assert traced.peak < 9 * tensor


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
    with Traced() as traced:
        state = model.save_pretrained(tmp_path)
    assert state == ["model.safetensors", "config.json"]
    # One storage of two tensors on its way to the host; sixteen kept ones would be seen.
    assert traced.peak < 9 * tensor
    found = load_file(tmp_path / "model.safetensors")
    assert all((found[name] == array).all() for name, array in model.state_dict().items())


def test_reading_that_fails_midway_leaves_nothing_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, random_values())
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
