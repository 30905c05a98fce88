"""A run that is saved, killed and resumed is the run that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saver import found
from toy import Toy, fresh, train
from ttmlc_runtime.errors import InputError, WeightsError
from ttmlc_runtime.optim import SGD, Adam, AdamW, Lion
from ttmlc_runtime.train import load_training_state, save_training_state

SAVER = Path(__file__).parent / "saver.py"


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (AdamW, {}),
        (AdamW, {"amsgrad": True}),
        (Adam, {"weight_decay": 0.1}),
        (SGD, {"momentum": 0.9}),
        (Lion, {}),
    ],
)
def test_the_losses_that_follow_are_the_same_bits(
    tmp_path: Path, make: Any, options: Any, dtype: str
) -> None:
    model, optimizer = fresh(dtype, make, **options)
    model.rng_state = (1234, 0)
    train(model, optimizer, range(3))
    optimizer.param_groups[0]["lr"] = 0.03
    save_training_state(tmp_path, model, optimizer, extra={"position": 3, "rate": 0.1, "names": ["a"]})
    wanted = train(model, optimizer, range(3, 7))
    assert len(set(wanted)) == 4

    other, again = fresh(dtype, make, seed=9, **options)
    extra = load_training_state(tmp_path, other, again)
    assert extra == {"position": 3, "rate": 0.1, "names": ["a"]}
    assert other.rng_state == (1234, 3)
    assert train(other, again, range(3, 7)) == wanted
    for name, value in model.state_dict().items():
        assert np.array_equal(other.state_dict()[name], value), name


def test_the_toy_learns_and_drops_out() -> None:
    """Without dropout the tests above would not see a lost seed, and without learning not a lost moment."""
    model, optimizer = fresh("float32")
    first = train(model, optimizer, range(1))
    assert np.mean(train(model, optimizer, range(1, 30))[-5:]) < first[0]
    x, labels = np.ones((64, 32)), np.zeros(64, int)
    assert float(model(x, labels)) != float(model(x, labels))


def test_a_state_before_the_first_step_is_a_state(tmp_path: Path) -> None:
    model, optimizer = fresh()
    save_training_state(tmp_path, model, optimizer)
    other, again = fresh(seed=9)
    assert load_training_state(tmp_path, other, again) == {}
    assert train(other, again, range(2)) == train(model, optimizer, range(2))


def test_only_the_last_state_stays(tmp_path: Path) -> None:
    model, optimizer = fresh()
    for number in range(3):
        save_training_state(tmp_path, model, optimizer, extra={"number": number})
    assert sorted(os.listdir(tmp_path)) == ["current.json", "state-00000003"]
    assert sorted(os.listdir(tmp_path / "state-00000003")) == [
        "model.safetensors", "optimizer.safetensors", "state.json",
    ]  # fmt: skip


def test_a_bfloat16_run_can_go_on_in_float32(tmp_path: Path) -> None:
    model, optimizer = fresh("bfloat16")
    train(model, optimizer, range(2))
    save_training_state(tmp_path, model, optimizer)
    other, again = fresh("float32", seed=9)
    load_training_state(tmp_path, other, again)
    for name, value in model.state_dict().items():
        assert np.array_equal(other.state_dict()[name], value), name
    assert np.isfinite(train(other, again, range(2))).all()


# Killed


def test_a_writer_killed_at_any_moment_leaves_a_whole_state(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    for attempt in range(4):
        writer = subprocess.Popen(
            [sys.executable, str(SAVER), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None and writer.stdout.readline() == "begun\n"
        time.sleep(float(chance.uniform(0, 0.2)))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        assert 1 <= found(str(tmp_path)) <= 128, attempt
    model, optimizer = fresh()
    save_training_state(tmp_path, model, optimizer)
    assert len(os.listdir(tmp_path)) == 2, "what the killed ones left is gone"


def test_a_writer_killed_at_each_of_its_calls_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(SAVER), str(tmp_path), "steps"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    numbers, leftovers, names = json.loads(ended.stdout)
    switch = numbers.index(2)
    assert numbers == [1] * switch + [2] * (len(numbers) - switch), (
        "old until one moment, and new from then on"
    )
    assert switch > 8 and len(numbers) > switch + 2, "it died before that moment and after it"
    assert leftovers > 2 and len(names) == 2, "what a killed one leaves the next one removes"


def test_a_full_disk_leaves_the_old_state_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, optimizer = fresh()
    save_training_state(tmp_path, model, optimizer, extra={"number": 1})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            WeightsError, match="No space left on device; the state that was there before is unchanged"
        ):
            save_training_state(tmp_path, model, optimizer, extra={"number": 2})
    assert sorted(os.listdir(tmp_path)) == ["current.json", "state-00000001"]
    assert load_training_state(tmp_path, model, optimizer) == {"number": 1}


# Refused


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    model, optimizer = fresh()
    with pytest.raises(InputError, match="extra must hold what JSON can"):
        save_training_state(tmp_path / "new", model, optimizer, extra={"array": np.zeros(3)})
    assert not (tmp_path / "new").exists()


def test_states_that_do_not_fit_are_refused_with_words(tmp_path: Path) -> None:
    model, optimizer = fresh()
    with pytest.raises(WeightsError, match="there is no training state in"):
        load_training_state(tmp_path, model, optimizer)
    train(model, optimizer, range(1))
    save_training_state(tmp_path, model, optimizer)
    with pytest.raises(WeightsError, match="is of AdamW, and the optimizer is SGD"):
        load_training_state(tmp_path, model, SGD(model.parameters()))
    wider = Toy(Toy.Config(hidden=64))
    with pytest.raises(WeightsError):
        load_training_state(tmp_path, wider, AdamW(wider.parameters()))
    state = tmp_path / "state-00000001"
    described = json.loads((state / "state.json").read_text())

    def told(**changes: Any) -> str:
        (state / "state.json").write_text(json.dumps({**described, **changes}))
        with pytest.raises(WeightsError) as error:
            load_training_state(tmp_path, model, optimizer)
        return str(error.value)

    assert "is of format 2" in told(format=2)
    assert "is damaged" in told(rng_state=None)
    assert "is damaged" in told(extra=3)
    assert "is damaged" in told(param_groups=[{}])
    assert "knows no" in told(steps={})
    (tmp_path / "current.json").write_text('{"state": "../elsewhere"}')
    with pytest.raises(WeightsError, match="names no state"):
        load_training_state(tmp_path, model, optimizer)
