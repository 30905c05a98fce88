"""Blocks, models and parameters in training, against PyTorch in float64."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from taped import SIDES, Gate, Small, Squares, batch, gradients, host, in_torch, on_device, small
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import AutogradError
from ttmlc_runtime.weights import concat, normal, zeros
from ttmlc_runtime.weights.gradients import one_pass

CLOSE = 1e-10
"""Relative to a gradient's norm: the project's bar for gradients in float64; sums differ in their order alone."""


def agree(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].shape == value.shape
        assert np.linalg.norm(found[name] - value) <= CLOSE * np.linalg.norm(value), name


# Gradients


def test_every_gradient_is_pytorchs_under_its_name_and_in_its_layout() -> None:
    """Among them a tied matrix, which gets one from the lookup and one from the scores, and fused projections."""
    model, (ids, target) = small(), batch(2)
    loss, wanted = in_torch(model, ids, target)
    output = model(ids, target)
    assert float(output.loss) == pytest.approx(loss, rel=CLOSE)
    output.loss.backward()
    agree(gradients(model), wanted)


def test_gradients_of_micro_batches_add_to_those_of_the_batch() -> None:
    model, (ids, target) = small(), batch(4)
    _, wanted = in_torch(model, ids, target)
    for piece in range(4):
        model(ids[piece : piece + 1], target[piece : piece + 1]).loss.backward()
    agree(gradients(model), wanted)
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_scaled_loss_scales_every_gradient() -> None:
    model, (ids, target) = small(), batch(2)
    _, wanted = in_torch(model, ids, target)
    ((model(ids, target).loss * 3 + model(ids, target).loss) / 4).backward()
    agree(gradients(model), wanted)


def test_gradients_agree_with_finite_differences() -> None:
    """Independent of PyTorch, and of the layout: the model's own loss as its parameters are nudged."""
    model, (ids, target) = small(), batch(1)
    model(ids, target).loss.backward()
    state, step = model.state_dict(), 1e-5
    generator = np.random.default_rng(1)
    for name, gradient in gradients(model).items():
        way = generator.standard_normal(gradient.shape)
        losses = []
        for sign in (1, -1):
            model.load_state_dict({**state, name: state[name] + sign * step * way})
            losses.append(float(model(ids, target).loss))
        # Central differences err by the third derivative times step ** 2, and by rounding over the step.
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx((gradient * way).sum(), rel=1e-6), name


def test_a_users_function_stands_between_two_blocks() -> None:
    class Double(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, by: float) -> Any:
            ctx.by = by
            return ttnn.multiply(x, by)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            assert ctx.needs == (True, False)
            return ttnn.multiply(dy, ctx.by), None

    class Doubled(Small):
        def __call__(self, x: Any) -> Any:
            return nn.Activation(self.gates[1](Double.apply(self.gates[0](x, None), 2.0), None), (1, 32, 32))

    model = Doubled(device=nn.open_device("float64")).train()
    values = np.random.default_rng(0).standard_normal((1, 1, 32, 32))
    y = model(on_device(values, model.device))
    dy = np.random.default_rng(1).standard_normal((1, 1, 32, 32))
    y.backward(on_device(dy, model.device))

    import torch

    p = {name: torch.tensor(value, requires_grad=True) for name, value in model.state_dict().items()}
    x = torch.tensor(values)
    for i, scale in enumerate((2.0, 1.0)):
        left, right = (x @ p[f"layer.{i}.{side}.weight"].T + p[f"layer.{i}.{side}.bias"] for side in SIDES)
        x = (x + torch.tanh(left) * right) * scale
    x.backward(torch.tensor(dy))
    agree(gradients(model), {n: v.grad.numpy() for n, v in p.items() if v.grad is not None})


def test_a_storage_goes_to_a_function_by_its_role() -> None:
    class Scale(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, by: Any) -> Any:
            ctx.save(x, by)
            return ttnn.multiply(x, by)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            x, by = ctx.saved
            return ttnn.multiply(dy, by), ttnn.sum(ttnn.multiply(dy, x), dim=2, keepdim=True)

    model, x = small(), np.random.default_rng(0).standard_normal((1, 1, 32, 32))
    holder = nn.Scope(nn.Registry(), model.kernels).store(weight=model.gates[0].both.storages["bias"].chain)
    storage = holder.storages["weight"]
    storage.fill({f"layer.0.{side}.bias": np.arange(32.0) for side in SIDES}, model.device)
    wide = np.concatenate([x, x], -1)
    y = Scale.apply(on_device(wide, model.device), holder["weight"])
    y.backward(on_device(np.ones_like(wide), model.device))
    assert host(storage.grad).shape == (64,)
    np.testing.assert_allclose(host(storage.grad), wide.sum(2).reshape(-1), rtol=1e-12)
    storage.trainable = False
    assert not isinstance(Scale.apply(on_device(wide, model.device), holder["weight"]), nn.Variable)


def shifted() -> tuple[Any, Any]:
    """A model with a Function on a storage of its own, and an input."""

    class Shift(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, by: Any) -> Any:
            return ttnn.add(x, by)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return dy, ttnn.sum(dy, dim=2, keepdim=True)

    class Shifted(Small):
        def build(self, at: nn.Scope, c: Any) -> None:
            super().build(at, c)
            self.shift = at.store(bias=at.parameter("shift.bias", (32,), zeros))

        def __call__(self, x: Any) -> Any:
            return nn.Activation(Shift.apply(x, self.shift["bias"]), (1, 32, 32))

    model = Shifted(device=nn.open_device("float64"))
    return model, on_device(np.ones((1, 1, 32, 32)), model.device)


def test_a_function_in_a_model_goes_by_its_mode() -> None:
    model, x = shifted()
    assert not model(x).requires_grad
    y = model.train()(x)
    y.backward(x)
    assert (dict(model.named_parameters())["shift.bias"].grad.numpy() == 32).all()


def test_a_storage_that_a_function_was_given_may_not_change_before_its_backward() -> None:
    model, x = shifted()
    y = model.train()(x)
    model.shift.storages["bias"].write(model.shift.bias)
    with pytest.raises(
        AutogradError, match=r"shift\.bias changed between the forward and the backward of Shift"
    ):
        y.backward(x)


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


# Parameters


def test_parameters_are_live_handles() -> None:
    model, (ids, target) = small(), batch(1)
    parameters = dict(model.named_parameters())
    assert list(parameters.values()) == list(model.parameters())
    half = parameters["layer.0.left.weight"]
    assert (half.name, half.shape, half.ndim, half.requires_grad) == (
        "layer.0.left.weight",
        (32, 32),
        2,
        True,
    )
    assert half.grad is None
    assert (half.numpy() == model.state_dict()["layer.0.left.weight"]).all()
    assert half.storages == (model.gates[0].both.storages["weight"],)
    model(ids, target).loss.backward()
    assert half.grad is not None
    assert half.grad.shape == half.grad.numpy().shape == (32, 32)
    assert np.asarray(half.grad, np.float32).dtype == np.float32
    assert repr(half) == "Parameter(layer.0.left.weight, shape=[32, 32])"
    assert "shape=[32, 32]" in repr(half.grad)


def test_a_hook_on_a_parameter_sees_the_whole_gradient_and_may_replace_it() -> None:
    model, (ids, target) = small(), batch(1)
    _, wanted = in_torch(model, ids, target)
    parameters = dict(model.named_parameters())
    seen: dict[str, list[np.ndarray]] = {name: [] for name in ("word.weight", "layer.0.right.bias")}
    handles = [parameters[name].register_hook(seen[name].append) for name in seen]
    doubled = parameters["layer.0.right.bias"].register_hook(lambda gradient: 2 * gradient)
    model(ids, target).loss.backward()
    for name, found in seen.items():
        assert len(found) == 1, "once a pass, also where the gradient comes from two blocks"
        agree({name: found[0]}, {name: wanted[name]})
    twice = {**wanted, "layer.0.right.bias": 2 * wanted["layer.0.right.bias"]}
    agree(gradients(model), twice)

    # A second pass: what the hook sees is the new gradient alone, and what it gives is added.
    model(ids, target).loss.backward()
    agree({"word.weight": seen["word.weight"][1]}, {"word.weight": wanted["word.weight"]})
    agree(gradients(model), {name: 2 * value for name, value in twice.items()})

    for handle in (*handles, doubled, doubled):
        handle.remove()
    model.zero_grad()
    model(ids, target).loss.backward()
    agree(gradients(model), wanted)
    assert len(seen["word.weight"]) == 2


def test_hooks_are_called_in_order_with_what_the_one_before_gave() -> None:
    model, (ids, target) = small(), batch(1)
    parameter = dict(model.named_parameters())["layer.1.left.weight"]
    parameter.register_hook(np.zeros_like)
    parameter.register_hook(lambda gradient: gradient + 1)
    model(ids, target).loss.backward()
    assert (parameter.grad.numpy() == 1).all()
    assert dict(model.named_parameters())["layer.1.right.weight"].grad.numpy().std() > 0.1


def test_a_hook_may_not_write_into_the_gradient_or_change_its_shape() -> None:
    model, (ids, target) = small(), batch(1)
    parameter = dict(model.named_parameters())["layer.1.left.weight"]

    def halve(gradient: np.ndarray) -> None:
        gradient *= 0.5

    handle = parameter.register_hook(halve)
    with pytest.raises(ValueError, match="read-only"):
        model(ids, target).loss.backward()
    handle.remove()
    parameter.register_hook(lambda gradient: gradient[:1])
    with pytest.raises(AutogradError, match=r"hook on layer\.1\.left\.weight returned \[1, 32\]"):
        model(ids, target).loss.backward()


def test_windows_of_a_parameter_join_to_its_gradient() -> None:
    class Halves(Small):
        def build(self, at: nn.Scope, c: Any) -> None:
            super().build(at, c)
            whole = at.parameter("whole", (40, 32), normal(1))
            parts = [whole.window(0, 0, 20), whole.window(0, 20, 40).padded(0, (1, 20, 1), 32, 7.0)]
            self.halves = [at.store(weight=part.T) for part in parts]

    model = Halves(device=nn.open_device("float64")).train()
    whole = dict(model.named_parameters())["whole"]
    assert (whole.numpy() == model.state_dict()["whole"]).all()
    values = np.arange(32 * 52.0).reshape(32, 52)
    model.halves[0].accumulate(weight=on_device(values[:, :20], model.device))
    assert (whole.grad.numpy()[20:] == 0).all()
    model.halves[1].accumulate(weight=on_device(values[:, 20:], model.device))
    assert (whole.grad.numpy() == values[:, :40].T).all(), "what is only padding counts for nothing"

    model.zero_grad()
    whole.register_hook(lambda gradient: gradient + 1)
    model.halves[1].accumulate(weight=on_device(values[:, 20:], model.device))
    held = host(model.halves[1].storages["weight"].grad)
    assert (held[:, :20] == values[:, 20:40] + 1).all()
    assert (held[:, 20:] == values[:, 40:]).all()


def test_a_replaced_gradient_is_not_counted_twice_where_windows_overlap() -> None:
    class Overlapping(Small):
        def build(self, at: nn.Scope, c: Any) -> None:
            super().build(at, c)
            whole = at.parameter("whole", (32, 48), normal(1))
            self.parts = at.store(a=whole.window(1, 0, 32), b=whole.window(1, 16, 48))

    model = Overlapping(device=nn.open_device("float64"))
    whole = dict(model.named_parameters())["whole"]
    whole.register_hook(lambda gradient: 2 * gradient)
    one = on_device(np.ones((32, 32)), model.device)
    with one_pass():
        model.parts.accumulate(a=one, b=one)
    # Each part is a gradient by itself, so that where both hold an element it has the sum of the two.
    wanted = np.full((32, 48), 2.0)
    wanted[:, 16:32] = 4
    assert (whole.grad.numpy() == wanted).all()


def test_an_output_without_a_loss_has_no_such_key() -> None:
    model, (ids, target) = small(), batch(1)
    without, full = model(ids), model(ids, target)
    assert without.loss is None
    assert without.keys() == ("logits",) == tuple(without)
    assert without[0] is without.logits is without["logits"]
    assert without.to_tuple() == (without.logits,)
    assert len(without) == 1
    with pytest.raises(KeyError, match="loss"):
        without["loss"]
    assert full.keys() == ("loss", "logits") and full[0] is full.loss


# Memory


def test_backward_lets_go_of_everything_without_the_collector() -> None:
    model, (ids, target) = small(), batch(1)
    alive: list[weakref.ref[Any]] = []

    class Watched(Gate):
        def forward(self, x: Any, mask: Any = None) -> Any:
            y, kept = Gate.forward(self, x, mask)
            alive.extend(weakref.ref(value) for value in (kept, kept.x, kept.t, y))
            return y, kept

    for gate in model.gates:
        gate.__class__ = Watched
    gc.collect()
    gc.disable()
    try:
        output = model(ids, target)
        kept = [ref() is not None for ref in alive]
        # What the second gate gives is saved by the block above it, and its input by itself.
        assert kept == [True] * 8
        output.loss.backward()
        assert [ref() for ref in alive] == [None] * 8, "though the output still holds the loss"
        del output
        output = model(ids, target)
        del output
        assert [ref() for ref in alive] == [None] * 16, "also without a backward"
    finally:
        gc.enable()


def test_values_that_nothing_saved_die_on_the_way_forward() -> None:
    class Pass(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return ttnn.multiply(x, 2.0)

        @staticmethod
        def backward(ctx: Any, dy: Any) -> Any:
            return ttnn.multiply(dy, 2.0)

    device = nn.open_device("float64")
    first = Pass.apply(nn.Variable.begin(on_device(np.ones((1, 1, 32, 32)), device)))
    ref = weakref.ref(first.tensor)
    second = Pass.apply(first)
    gc.disable()
    try:
        del first
        assert ref() is None
    finally:
        gc.enable()
    second.backward(on_device(np.ones((1, 1, 32, 32)), device))


def test_a_model_dies_without_the_collector() -> None:
    model = small()
    model(*batch(1)).loss.backward()
    ref = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert ref() is None
    finally:
        gc.enable()


def test_squares_is_the_loss_that_it_says() -> None:
    device = nn.open_device("float64")
    loss = Squares.apply(
        nn.Activation(on_device([[3.0, 1.0]], device), (2,)), on_device([[1.0, 1.0]], device)
    )
    assert (loss.shape, float(loss), loss.item()) == ((), 4.0, 4.0)
