"""Optimizers beside torch.optim, step by step, in every form of storage and every numerics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from bag import FILLED, Arrays, Bag, bag, give, rounded, some
from ttmlc_runtime import ttnn
from ttmlc_runtime.errors import ConfigError, WeightsError
from ttmlc_runtime.optim import SGD, Adam, AdamW, Lion, Optimizer
from ttmlc_runtime.weights import zeros
from ttmlc_runtime.weights.storage import to_host

CLOSE = {"float64": 1e-10, "float32": 1e-5}
"""Relative to the largest value: the project's bars; both compute the same formula in another order."""
STEPS = 4


class TorchLion(torch.optim.Optimizer):
    """From the paper's listing; PyTorch has none."""

    def __init__(
        self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure is asked for
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                b1, b2 = group["betas"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * torch.sign(b1 * m + (1 - b1) * p.grad))
                m.copy_(b2 * m + (1 - b2) * p.grad)


CASES: dict[str, tuple[type[Optimizer], type[torch.optim.Optimizer], dict[str, Any]]] = {
    "adamw": (AdamW, torch.optim.AdamW, {"lr": 1e-2}),
    "adamw betas": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.3}),
    "adamw without decay": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.0}),
    "adamw amsgrad": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "betas": (0.5, 0.5), "amsgrad": True}),
    "adam": (Adam, torch.optim.Adam, {"lr": 1e-2}),
    "adam decay": (Adam, torch.optim.Adam, {"lr": 1e-2, "weight_decay": 0.3, "betas": (0.8, 0.9), "eps": 1e-4}),
    "adam amsgrad": (Adam, torch.optim.Adam, {"lr": 1e-2, "weight_decay": 0.1, "betas": (0.5, 0.5), "amsgrad": True}),
    "sgd": (SGD, torch.optim.SGD, {"lr": 0.1}),
    "sgd decay": (SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.2}),
    "sgd momentum": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "sgd dampening": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "sgd nesterov": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    "lion": (Lion, TorchLion, {"lr": 1e-2, "weight_decay": 0.1}),
    "lion betas": (Lion, TorchLion, {"lr": 1e-2, "betas": (0.5, 0.7)}),
}  # fmt: skip


def ours(case: str, model: Bag, **more: Any) -> Optimizer:
    kind, _, options = CASES[case]
    every = {"decay_all": True} if kind in (AdamW, Lion) else {}
    return kind(model.parameters(), **options, **every, **more)


def theirs(case: str, values: Arrays, kind: torch.dtype) -> tuple[dict[str, torch.Tensor], Any]:
    tensors = {name: torch.tensor(value, dtype=kind).requires_grad_() for name, value in values.items()}
    _, optimizer, options = CASES[case]
    return tensors, optimizer(list(tensors.values()), **options)


def let(tensors: dict[str, torch.Tensor], gradients: Arrays) -> None:
    for name, tensor in tensors.items():
        tensor.grad = torch.tensor(gradients[name], dtype=tensor.dtype) if name in gradients else None


def agree(found: Arrays, wanted: dict[str, torch.Tensor], close: float) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        value = tensor.detach().numpy()
        assert np.abs(found[name] - value).max() <= close * np.abs(value).max(), name


@pytest.mark.parametrize("wide", [False, True], ids=["ttnn's own op", "composed"])
@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("case", CASES)
def test_every_step_is_pytorchs(case: str, dtype: str, wide: bool) -> None:
    model = bag(dtype, wide=wide)
    tensors, reference = theirs(case, model.state_dict(), getattr(torch, dtype))
    optimizer = ours(case, model)
    for step in range(STEPS):
        gradients = some(model, step)
        give(
            model,
            gradients,
            ttnn.float32 if step % 2 else ttnn.bfloat16 if dtype == "float32" else ttnn.float32,
        )
        let(tensors, gradients)
        for group in (*optimizer.param_groups, *reference.param_groups):
            group["lr"] *= 0.7  # between steps, as a schedule does
        optimizer.step()
        reference.step()
        optimizer.zero_grad()
        assert all(one.grad is None for one in model.parameters())
        agree(model.state_dict(), tensors, CLOSE[dtype])


@pytest.mark.parametrize("label", [ttnn.float32, ttnn.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_where_the_device_rounds_a_float32_master_follows_pytorch(case: str, label: Any) -> None:
    model = bag("bfloat16")
    tensors, reference = theirs(case, model.state_dict(), torch.float32)
    optimizer = ours(case, model)
    for step in range(STEPS):
        gradients = some(model, step)
        if label == ttnn.bfloat16:
            gradients = {name: rounded(value) for name, value in gradients.items()}
        give(model, gradients, label)
        let(tensors, gradients)
        optimizer.step()
        reference.step()
        optimizer.zero_grad()
    masters = {name: state["master"] for name, state in optimizer.state_dict()["state"].items()}
    agree(masters, tensors, 1e-5)
    for name, value in model.state_dict().items():
        assert np.array_equal(value, rounded(masters[name])), "the model holds the master, rounded"


def test_steps_smaller_than_bfloat16_can_show_add_up_in_the_master() -> None:
    model = bag("bfloat16")
    before = model.state_dict()["norm.weight"]
    optimizer = SGD(model.parameters(), lr=1e-4)
    for _ in range(200):
        give(model, {name: np.ones_like(value) for name, value in model.state_dict().items()})
        optimizer.step()
        optimizer.zero_grad()
    # 200 steps of 1e-4, each below half of what a bfloat16 near 0.5 can show, and that once at the end.
    assert np.abs(model.state_dict()["norm.weight"] - (before - 0.02)).max() < 2**-8 * 2


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_every_form_of_a_parameter_is_stepped_and_what_fills_up_stays(dtype: str) -> None:
    model = bag(dtype)
    optimizer = AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    for step in range(2):
        give(model, some(model, step))
        optimizer.step()
    rows, tiles = to_host(model.lookup.weight), to_host(model.scores.weight)
    assert np.array_equal(rows, tiles), "a tied matrix is one"
    assert (model.lookup.weight.layout, model.scores.weight.layout) == (
        ttnn.ROW_MAJOR_LAYOUT,
        ttnn.TILE_LAYOUT,
    )
    assert (to_host(model.last.weight)[5:] == FILLED).all()
    assert len(optimizer.state) == 6, "one state for the tied matrix, and for each fused pair"


def test_values_are_written_where_everybody_reads_them_and_their_version_goes_up() -> None:
    model = bag("float32")
    held, versions = model.pair.weight, [s.version for s in model.pair.storages.values()]
    give(model, some(model, 0))
    SGD(model.parameters(), lr=0.1).step()
    assert np.array_equal(to_host(held), to_host(model.pair.weight))
    assert [s.version for s in model.pair.storages.values()] == [version + 1 for version in versions]


# Groups


def test_vectors_do_not_decay_unless_they_are_told_to() -> None:
    def decayed(make: Callable[[Bag], Optimizer]) -> set[str]:
        model = bag("float64")
        before = model.state_dict()
        give(model, {name: np.zeros_like(value) for name, value in before.items()})
        make(model).step()
        return {name for name, value in model.state_dict().items() if not np.array_equal(value, before[name])}

    vectors = {"q.bias", "k.bias", "norm.weight"}
    every = set(bag("float64").state_dict())
    assert decayed(lambda m: AdamW(m.parameters(), weight_decay=0.1)) == every - vectors
    assert decayed(lambda m: AdamW(m.parameters(), weight_decay=0.1, decay_all=True)) == every
    assert decayed(lambda m: AdamW([{"params": m.parameters(), "weight_decay": 0.1}])) == every
    assert decayed(lambda m: Lion(m.parameters(), weight_decay=0.1)) == every - vectors
    assert decayed(lambda m: Adam(m.parameters(), weight_decay=0.1)) == every, "it is in the gradient there"


def test_groups_have_options_of_their_own() -> None:
    model = bag("float64")
    tensors = {name: torch.tensor(value).requires_grad_() for name, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    first = ["word.weight", "norm.weight"]
    rest = [name for name in parameters if name not in first]
    optimizer = AdamW(
        [{"params": [parameters[name] for name in first], "lr": 0.1, "weight_decay": 0.2}], lr=0.01
    )
    optimizer.add_param_group(
        {"params": [parameters[name] for name in rest], "weight_decay": 0.0, "eps": 1e-2}
    )
    reference = torch.optim.AdamW(
        [
            {"params": [tensors[name] for name in first], "lr": 0.1, "weight_decay": 0.2},
            {"params": [tensors[name] for name in rest], "weight_decay": 0.0, "eps": 1e-2},
        ],
        lr=0.01,
    )
    for step in range(STEPS):
        gradients = some(model, step)
        give(model, gradients)
        let(tensors, gradients)
        optimizer.param_groups[1]["lr"] = reference.param_groups[1]["lr"] = 0.01 * (step + 1)
        optimizer.step()
        reference.step()
        optimizer.zero_grad()
        agree(model.state_dict(), tensors, CLOSE["float64"])


def test_what_has_no_gradient_or_is_frozen_stays_and_counts_no_step() -> None:
    model = bag("float64")
    tensors, reference = theirs("adamw", model.state_dict(), torch.float64)
    optimizer = ours("adamw", model)
    for step, without in enumerate((["norm.weight"], ["word.weight"], [])):
        gradients = {name: value for name, value in some(model, step).items() if name not in without}
        give(model, gradients)
        let(tensors, gradients)
        optimizer.step()
        reference.step()
        optimizer.zero_grad()
    agree(model.state_dict(), tensors, CLOSE["float64"])
    steps = {name: state["step"] for name, state in optimizer.state_dict()["state"].items()}
    assert (steps["norm.weight"], steps["word.weight"], steps["q.bias"]) == (2, 2, 3)
    before = model.state_dict()
    give(model, some(model, 9))
    model.requires_grad_(False)
    optimizer.step()
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())


def test_parameters_of_one_storage_need_equal_options() -> None:
    model = bag("float64")
    p = dict(model.named_parameters())
    rest = [one for name, one in p.items() if name != "q.weight"]
    with pytest.raises(ConfigError, match=r"q.weight has lr=0.1 and k.weight 0.2, but they are one storage"):
        SGD([{"params": p["q.weight"], "lr": 0.1}, {"params": rest, "lr": 0.2}])
    optimizer = SGD([{"params": p["q.weight"]}, {"params": rest}], lr=0.1)
    give(model, some(model, 0))
    optimizer.step()
    optimizer.param_groups[0]["lr"] = 0.3
    before = model.state_dict()
    with pytest.raises(ConfigError, match=r"q.weight has lr=0.3 and k.weight 0.1"):
        optimizer.step()
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ConfigError, match=r"q.weight is one storage on the device with k.weight"):
        SGD([p["q.weight"]])
    with pytest.raises(ConfigError, match="norm.weight is there twice"):
        SGD([{"params": p["norm.weight"]}, {"params": p["norm.weight"]}])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: SGD(iter(())), "got no parameters"),
        (lambda p: SGD(p, lr=-1.0), "lr is -1.0 and must be a number at least 0"),
        (lambda p: SGD(p, lr=True), "lr is True"),
        (lambda p: SGD(p, lr=float("nan")), "lr is nan"),
        (lambda p: SGD(p, nesterov=True), "nesterov needs a momentum"),
        (lambda p: SGD(p, momentum=0.9, dampening=0.1, nesterov=True), "and no dampening"),
        (lambda p: AdamW(p, betas=(0.9, 1.0)), r"betas\[1\] is 1.0 and must be a number in \[0, 1\)"),
        (lambda p: AdamW(p, betas=(0.9,)), "must be two numbers"),
        (lambda p: Adam(p, eps="small"), "eps is 'small'"),
        (lambda p: Lion(p, weight_decay=-0.1), "weight_decay is -0.1"),
        (lambda p: SGD((one.name, one) for one in p), "SGD takes parameters as .* gives them, and no tuple"),
        (lambda p: SGD(one.numpy() for one in p), "and no ndarray"),
        (lambda p: SGD([{"lr": 1.0}]), "a group of parameters is a dict with 'params', and not {'lr': 1.0}"),
        (lambda p: SGD([{"params": []}, *p]), "a group of parameters is a dict with 'params'"),
        (lambda p: SGD([{"params": p, "beta": 1}]), "SGD has no option 'beta'; it has lr, momentum"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused_by_name(make: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(bag("float64").parameters())


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_an_option_that_became_impossible_is_refused_and_nothing_is_changed(value: float) -> None:
    model = bag("float64")
    optimizer = AdamW(model.parameters(), lr=0.1)
    give(model, some(model, 0))
    before = model.state_dict()
    optimizer.param_groups[-1]["lr"] = value
    with pytest.raises(ConfigError, match=f"lr is {value}"):
        optimizer.step()
    assert all(np.array_equal(now, before[name]) for name, now in model.state_dict().items())


# The state


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("case", ["adamw", "adamw amsgrad", "adam decay", "sgd nesterov", "lion"])
def test_a_state_goes_on_elsewhere_bit_by_bit(case: str, dtype: str) -> None:
    model = bag(dtype)
    optimizer = ours(case, model)
    for step in range(2):
        give(model, some(model, step))
        optimizer.step()
        optimizer.zero_grad()
    optimizer.param_groups[0]["lr"] = 0.02
    other = bag(dtype)
    other.load_state_dict(model.state_dict())
    again = ours(case, other)
    again.load_state_dict(optimizer.state_dict())
    for step in range(2, 4):
        for one, steps in ((model, optimizer), (other, again)):
            give(one, some(model, step))
            steps.step()
            steps.zero_grad()
    for name, value in model.state_dict().items():
        assert np.array_equal(other.state_dict()[name], value), name
    saved, loaded = optimizer.state_dict(), again.state_dict()
    assert saved["param_groups"] == loaded["param_groups"]
    for name, state in saved["state"].items():
        assert state.keys() == loaded["state"][name].keys()
        assert all(np.array_equal(state[key], loaded["state"][name][key]) for key in state), name


class Apart(Bag):
    """The same parameters, none of them fused, tied or filled up."""

    def build(self, at: Any, c: Any) -> None:
        for name, one in bag("float64").named_parameters():
            at.store(weight=at.parameter(name, one.shape, zeros))


def test_a_state_does_not_depend_on_how_the_device_holds_parameters() -> None:
    model = bag("float64")
    optimizer = AdamW(model.parameters(), lr=0.1)
    give(model, some(model, 0))
    optimizer.step()
    optimizer.zero_grad()
    other = Apart(model.config, dtype="float64")
    other.load_state_dict(model.state_dict())
    again = AdamW(other.parameters(), lr=0.5)
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["lr"] == 0.1
    for one, steps in ((model, optimizer), (other, again)):
        give(one, some(model, 1))
        steps.step()
    for name, value in model.state_dict().items():
        assert np.array_equal(other.state_dict()[name], value), name


def test_values_loaded_meanwhile_make_a_new_master() -> None:
    model = bag("bfloat16")
    optimizer = SGD(model.parameters(), lr=1.0)
    give(model, some(model, 0))
    optimizer.step()
    optimizer.zero_grad()
    zeros = {name: np.zeros_like(value) for name, value in model.state_dict().items()}
    model.load_state_dict(zeros)
    assert "master" not in optimizer.state_dict()["state"]["norm.weight"]
    give(model, {name: np.ones_like(value) for name, value in zeros.items()})
    optimizer.step()
    assert all((value == -1).all() for value in model.state_dict().values())


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing() -> None:
    model = bag("float64")
    optimizer = AdamW(model.parameters(), lr=0.1)
    give(model, some(model, 0))
    optimizer.step()
    saved = optimizer.state_dict()

    def told(change: Callable[[dict[str, Any]], Any]) -> str:
        state = {**saved, "state": {name: dict(one) for name, one in saved["state"].items()}}
        change(state)
        with pytest.raises(WeightsError) as error:
            optimizer.load_state_dict(state)
        now = optimizer.state_dict()["state"]
        assert all(
            np.array_equal(now[name]["exp_avg"], one["exp_avg"]) for name, one in saved["state"].items()
        )
        return str(error.value)

    assert "no exp_avg of q.weight" in told(lambda s: s["state"]["q.weight"].pop("exp_avg"))
    assert "took different steps" in told(lambda s: s["state"]["q.bias"].update(step=7))
    assert "is [3], and the parameter [40]" in told(
        lambda s: s["state"]["norm.weight"].update(exp_avg=np.zeros(3))
    )
    assert "does not know word.weight" in told(lambda s: s.update(param_groups=s["param_groups"][1:]))
    less = AdamW([one for one in model.parameters() if one.name != "lone.weight"], lr=0.1)
    with pytest.raises(WeightsError, match="has lone.weight, which was not given to this one"):
        less.load_state_dict(saved)
    other = SGD(model.parameters())
    with pytest.raises(WeightsError, match="the state is of another optimizer"):
        other.load_state_dict(saved)
