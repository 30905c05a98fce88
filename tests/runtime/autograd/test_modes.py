"""What is recorded when: modes, threads, freezing, seeds, and blocks of one program."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from taped import (
    Gate,
    Small,
    agree,
    batch,
    gradients,
    host,
    in_torch,
    on_device,
    small,
)
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import AutogradError
from ttmlc_runtime.weights import concat, normal, zeros

# Modes


def programs(model: Small) -> list[str]:
    return [gate.programs.pop() for gate in model.gates]


def test_a_new_or_loaded_model_runs_its_inference_program(tmp_path: Any) -> None:
    model, (ids, target) = Small(dtype="float64"), batch(1)
    model.save_pretrained(tmp_path)
    loaded = Small.from_pretrained(tmp_path, dtype="float64")
    for each in (model, loaded):
        assert not each.training
        output = each(ids, target)
        assert programs(each) == ["infer", "infer"]
        assert not output.loss.requires_grad
        with pytest.raises(AutogradError, match=r"the model was in eval mode .* Call model\.train\(\)"):
            output.loss.backward()


def test_modes_nest_and_the_innermost_counts() -> None:
    model, (ids, target) = small(), batch(1)

    def ran() -> str:
        recorded = model(ids, target).loss.requires_grad
        assert (programs(model) == ["forward"] * 2) == recorded
        return "recorded" if recorded else "not"

    assert model.training and ran() == "recorded"
    with nn.no_grad():
        assert not nn.is_recording()
        assert ran() == "not"
        with nn.enable_grad():
            assert nn.is_recording()
            assert ran() == "recorded"
        assert ran() == "not"
    assert model.eval() is model and ran() == "not"
    with nn.enable_grad():
        assert ran() == "recorded"
        with nn.no_grad():
            assert ran() == "not"
    assert ran() == "not"


def test_an_error_in_a_block_of_no_grad_ends_it() -> None:
    with pytest.raises(ZeroDivisionError), nn.no_grad():
        _ = 1 / 0
    assert nn.is_recording()


def test_a_thread_has_a_mode_of_its_own() -> None:
    model, (ids, target) = small(), batch(1)
    entered, done, found = threading.Event(), threading.Event(), {}

    def silent() -> None:
        with nn.no_grad():
            entered.set()
            done.wait(10)
            found["silent"] = model(ids, target).loss.requires_grad

    other = threading.Thread(target=silent)
    other.start()
    entered.wait(10)
    output = model(ids, target)
    done.set()
    other.join()
    output.loss.backward()
    assert (output.loss.requires_grad, found["silent"]) == (True, False)


def test_models_are_trained_in_several_threads_at_once() -> None:
    models = [small(seed=seed) for seed in range(3)]
    work = [batch(1, seed) for seed in range(3)]

    def train(place: int) -> None:
        for _ in range(3):
            model, (ids, target) = models[place], work[place]
            model.zero_grad()
            model(ids, target).loss.backward()

    threads = [threading.Thread(target=train, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model, (ids, target) in zip(models, work, strict=True):
        agree(gradients(model), in_torch(model, ids, target)[1])
        assert model.rng_state == (0, 3)


def test_a_task_has_a_mode_of_its_own() -> None:
    async def silent() -> bool:
        with nn.no_grad():
            await asyncio.sleep(0)
            return nn.is_recording()

    async def loud() -> bool:
        await asyncio.sleep(0)
        return nn.is_recording()

    async def both() -> list[bool]:
        return await asyncio.gather(silent(), loud())

    assert asyncio.run(both()) == [False, True]


# Freezing


def test_frozen_blocks_below_everything_trained_run_their_forward_and_record_nothing() -> None:
    model, (ids, target) = small(), batch(1)
    _, wanted = in_torch(model, ids, target)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("layer.1")
    output = model(ids, target)
    assert programs(model) == ["forward"] * 2
    output.loss.backward()
    agree(gradients(model), {name: g for name, g in wanted.items() if name.startswith("layer.1")})


def test_what_a_frozen_block_saved_dies_at_once() -> None:
    model, (ids, target) = small(), batch(1)
    model.requires_grad_(False)
    saved: list[weakref.ref[Any]] = []
    forward = Gate.forward

    class Watched(Gate):
        def forward(self, x: Any, mask: Any = None) -> Any:
            y, kept = forward(self, x, mask)
            saved.append(weakref.ref(kept))
            return y, kept

    for gate in model.gates:
        gate.__class__ = Watched
    gc.disable()
    try:
        output = model(ids, target)
        assert [ref() for ref in saved] == [None, None]
    finally:
        gc.enable()
    with pytest.raises(AutogradError, match="or everything is frozen"):
        output.loss.backward()


def test_a_frozen_block_above_a_trained_one_hands_its_gradient_down() -> None:
    model, (ids, target) = small(), batch(1)
    _, wanted = in_torch(model, ids, target)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("layer.0")
    model(ids, target).loss.backward()
    agree(gradients(model), {name: g for name, g in wanted.items() if name.startswith("layer.0")})
    assert not model.gates[1].both.trainable and model.gates[0].both.trainable


def test_half_of_a_fused_storage_cannot_be_frozen() -> None:
    model, (ids, target) = small(), batch(1)
    half = dict(model.named_parameters())["layer.0.left.weight"]
    half.requires_grad = False
    assert not half.requires_grad and "requires_grad=False" in repr(half)
    model.eval()(ids, target)
    with pytest.raises(
        AutogradError, match=r"layer\.0\.right\.weight takes gradients and layer\.0\.left\.weight does not"
    ):
        model.train()(ids, target)
    half.requires_grad = True
    model(ids, target).loss.backward()


def test_a_parameter_in_two_forms_that_would_drift_apart_is_not_trained() -> None:
    class Twice(Small):
        def build(self, at: nn.Scope, c: Any) -> None:
            super().build(at, c)
            square = at.parameter("square", (32, 32), normal(1))
            self.one, self.other = at.store(weight=square), at.store(weight=square.T)
            self.double = at.store(weight=concat(twice := at.parameter("twice", (32,), zeros), twice))

    model, (ids, _) = Twice(dtype="float32").train(), batch(1)
    with pytest.raises(AutogradError, match=r"square is on the device more than once \(square, square\.T\)"):
        model(ids)
    parameters = dict(model.named_parameters())
    parameters["square"].requires_grad = False
    with pytest.raises(
        AutogradError, match=r"twice is on the device more than once \(concat\(twice, twice\)\)"
    ):
        model(ids)
    parameters["twice"].requires_grad = False
    model(ids)


# Seeds


def test_seeds_follow_run_call_block_and_turn() -> None:
    class Shared(Small):
        def __call__(self, x: Any) -> Any:
            return self.gates[1](self.gates[0](self.gates[0](x, None), None), None)

    model = Shared(dtype="float32").train()
    x = on_device(np.ones((1, 1, 32, 32), np.float32), model.device)

    def seeds() -> list[int]:
        model(x)
        found = model.gates[0].seeds + model.gates[1].seeds
        model.gates[0].seeds, model.gates[1].seeds = [], []
        return found

    assert model.rng_state == (0, 0)
    first, second = seeds(), seeds()
    assert len({*first, *second}) == 6, "every use of a block has a mask of its own"
    assert model.rng_state == (0, 2)
    model.rng_state = (0, 1)
    assert seeds() == second
    model.rng_state = (7, 0)
    assert not set(seeds()) & {*first, *second}


def test_without_dropout_there_is_no_seed_and_only_recorded_calls_count() -> None:
    model, (ids, target) = small().eval(), batch(1)
    with nn.enable_grad():
        model(ids, target)
    assert model.gates[0].seeds == [None]
    assert model.rng_state == (0, 1)
    model(ids, target)
    with nn.no_grad():
        model.train()(ids, target)
    assert model.rng_state == (0, 1)


def test_a_call_of_the_models_own_in_a_call_counts_once() -> None:
    class Nested(Small):
        def __call__(self, ids: Any, target: Any = None) -> Any:
            return super().__call__(ids, target)

    model = Nested(dtype="float32").train()
    model(*batch(1))
    assert model.rng_state == (0, 1)
    assert Nested.__call__.__name__ == "__call__"
    assert "logits" in (Small.__call__.__doc__ or "")


def test_a_block_called_by_itself_goes_by_its_models_mode() -> None:
    model = small()
    x = on_device(np.ones((1, 1, 32, 32)), model.device)
    assert isinstance(model.gates[0](x, None), nn.Variable)
    assert model.gates[0].seeds == [model.gates[0].seed()]
    model.eval()
    assert not isinstance(model.gates[0](x), nn.Variable)
    assert model.gates[0].name == "Gate at 'layer.0'"


def test_blocks_of_one_program_say_so() -> None:
    class Bare(nn.Block):
        pass

    class Only(nn.Block):
        def forward(self, x: Any) -> Any:
            return ttnn.multiply(x, 2.0), nn.Saved()

    model = small()
    at = nn.Scope(nn.Registry(), model.kernels, "some.path")
    x = on_device(np.ones((1, 1, 32, 32)), model.device)
    assert (host(Only(at, None)(x)) == 2).all()
    with pytest.raises(NotImplementedError, match=r"Bare at 'some\.path' has no training program"):
        Bare(at, None)(x)
    with pytest.raises(NotImplementedError, match="Only at .* has no backward"):
        Only(at, None).backward(nn.Saved())


def test_blocks_that_define_their_own_call_go_on_as_before() -> None:
    class Old(nn.Block):
        def __init__(self, at: nn.Scope, c: Any) -> None:
            self.config, self.kernels = c, at.kernels

        def __call__(self, x: Any) -> Any:
            return ttnn.multiply(x, 3.0)

    model = small()
    x = on_device(np.ones((1, 1, 32, 32)), model.device)
    assert (host(Old(nn.Scope(nn.Registry(), model.kernels), None)(x)) == 3).all()
