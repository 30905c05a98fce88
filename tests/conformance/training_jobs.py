"""Jobs for training on a board that is not there: losses, optimizers, clipping, with the programs that they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ttmlc_runtime.mockboard import banks_of, capture

Data = dict[str, Any]


def measured(device: Any, steps: Iterator[Callable[[], Any]]) -> Data:
    """What the first step runs, and what later ones, which may vary all that a run varies, build anew."""
    import ttnn

    banks = banks_of(ttnn, device)
    kinds: list[str] = []
    new: list[int] = []
    moved: list[int] = []
    for step in steps:
        _, ran = capture(ttnn, step, banks=banks)
        kinds = kinds or [program.kind for program in ran.programs]
        new.append(ran.new_programs)
        moved.append(ran.dram_bytes_moved)
    return {"programs": kinds, "new": new, "moved": moved[0]}


def losses(request: Data) -> Data:
    """Each loss, forward and backward, twice with other labels and another gradient."""
    import ttnn
    from ttmlc_runtime import nn
    from ttmlc_runtime.autograd import Variable

    device = nn.open_device()
    chance = np.random.default_rng(0)
    found: Data = {}

    def logits(*shape: int, columns: bool = False) -> tuple[Any, nn.Activation]:
        batch, tokens, classes = shape if len(shape) == 3 else (shape[0], 1, shape[1])
        sizes = [batch, 1, classes, tokens] if columns else [batch, 1, tokens, classes]
        tensor = ttnn.zeros(sizes, ttnn.bfloat16, ttnn.TILE_LAYOUT, device)
        variable = Variable.begin(tensor)
        variable.register_hook(lambda gradient: gradients.append(gradient))
        return tensor, nn.Activation(variable, shape)

    gradients: list[Any] = []

    def both(
        name: str, shapes: list[tuple[int, ...]], call: Callable[..., Any], *, columns: bool = False
    ) -> None:
        made = [logits(*shape, columns=columns) for shape in shapes]
        losses: list[Any] = []

        def forward() -> None:
            losses.append(call(*(one for _, one in made)))

        def backward() -> None:
            loss = losses.pop()
            gradients.clear()
            if loss.shape:
                ones = ttnn.ones(list(loss.tensor.shape), ttnn.float32, ttnn.TILE_LAYOUT, device)
                loss.backward(ones)
            else:
                (loss / float(chance.uniform(1, 9))).backward()

        there, back = [], []
        for _ in range(3):
            there.append(measured(device, iter([forward])))
            back.append(measured(device, iter([backward])))
        found[name] = {
            "forward": there[0]["programs"],
            "backward": back[0]["programs"],
            "moved": [there[0]["moved"], back[0]["moved"]],
            "new": [sum(one["new"]) for one in (*there[1:], *back[1:])],
            "gradients": [[list(one.shape), str(one.dtype)] for one in gradients],
        }

    def labels(*shape: int, below: int) -> Any:
        drawn = chance.integers(0, below, shape)
        drawn[chance.random(shape) < 0.5] = -100
        return drawn

    def classes(name: str, shape: tuple[int, ...], **options: Any) -> None:
        below = shape[-1]
        both(name, [shape], lambda z: nn.cross_entropy(z, labels(*shape[:-1], below=below), **options))

    classes("vocabulary", (2, 512, 30522))
    classes("large vocabulary", (1, 256, 128256))
    classes("smoothed", (2, 64, 30522), label_smoothing=0.1)
    classes("weighed", (2, 31, 99), weight=np.linspace(0, 1, 99))
    classes("weighed and smoothed", (2, 31, 99), weight=np.linspace(0, 1, 99), label_smoothing=0.1)
    classes("each", (2, 31, 99), reduction="none")
    classes("sequences", (8, 7))
    both(
        "span",
        [(4, 384), (4, 384)],
        lambda a, b: nn.span_loss(a, b, chance.integers(0, 400, 4), [1, 2, 3, 4]),
    )
    both("squares", [(8, 1)], lambda z: nn.mse_loss(z, chance.random(8)))
    both("each square", [(8, 3)], lambda z: nn.mse_loss(z, chance.random((8, 3)), reduction="none"))
    both(
        "yes or no",
        [(8, 5)],
        lambda z: nn.binary_cross_entropy_with_logits(z, chance.integers(0, 2, (8, 5)), pos_weight=[2.0] * 5),
    )
    both(
        "each yes or no",
        [(8, 5)],
        lambda z: nn.binary_cross_entropy_with_logits(z, chance.integers(0, 2, (8, 5)), reduction="none"),
    )
    return found


def optimizers(request: Data) -> Data:
    """Steps of each optimizer on a storage in tiles, one in rows, a vector and a tied matrix."""
    import ttnn
    from ttmlc_runtime import nn, optim

    from tests.runtime.optim.bag import Bag, BagConfig, give, some

    device = nn.open_device()
    found: Data = {}

    def steps(name: str, make: Callable[[Any], Any], label: Any, norm: float | None = None) -> None:
        model = Bag(BagConfig(hidden=64), device=device)
        optimizer = make(model.parameters())
        chance = np.random.default_rng(1)

        def prepared(step: int) -> Callable[[], None]:
            optimizer.zero_grad()
            give(model, some(model, step), label)
            for group in optimizer.param_groups:
                group["lr"] *= float(chance.uniform(0.5, 1))
            if norm is None:
                return optimizer.step
            # A board that computes nothing finds a length of 0, which only 0 is not longer than.
            return lambda: optim.clip_grad_norm(model.parameters(), 0.0, norm)

        # The first makes masters and moments, the second finds them.
        found[name] = measured(device, (prepared(step) for step in range(4)))
        found[name]["state"] = sorted(
            {str(t.dtype) for s in optimizer.state.values() for t in s.tensors.values()}
        )

    for label in (ttnn.float32, ttnn.bfloat16):
        kind = str(label).rpartition(".")[2].lower()
        steps(f"adamw {kind}", lambda p: optim.AdamW(p, lr=1e-3), label)
        steps(f"adamw amsgrad {kind}", lambda p: optim.AdamW(p, lr=1e-3, amsgrad=True), label)
        steps(f"adam {kind}", lambda p: optim.Adam(p, lr=1e-3, weight_decay=0.1), label)
        steps(f"sgd {kind}", lambda p: optim.SGD(p, lr=1e-3), label)
        steps(
            f"sgd nesterov {kind}",
            lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, weight_decay=0.1, nesterov=True),
            label,
        )
        steps(f"lion {kind}", lambda p: optim.Lion(p, lr=1e-3, weight_decay=0.1), label)
        for norm in (2.0, 1.0, float("inf")):
            steps(f"clip {norm:g} {kind}", lambda p: optim.SGD(p, lr=1e-3), label, norm)
    found["alone"] = _alone(device)
    return found


def _alone(device: Any) -> Data:
    """Programs of the second step of one matrix [768, 3072], with gradients in float32."""
    import ttnn
    from ttmlc_runtime import optim
    from ttmlc_runtime.weights import normal
    from ttmlc_runtime.weights.chain import Leaf
    from ttmlc_runtime.weights.parameter import Parameter
    from ttmlc_runtime.weights.storage import Storage

    class One:
        def __init__(self) -> None:
            declared = Parameter("one", (768, 3072), normal(0.1), (), None)
            self.name, self.shape = declared.name, declared.shape
            self.storages = [Storage("one", Leaf(declared))]
            self.storages[0].fill({"one": np.zeros(self.shape, np.float32)}, device)

    counts: Data = {}
    for name, make in {
        "adamw": lambda p: optim.AdamW(p, lr=1e-3),
        "adamw without decay": lambda p: optim.AdamW(p, lr=1e-3, weight_decay=0.0),
        "adam": lambda p: optim.Adam(p, lr=1e-3),
        "sgd": lambda p: optim.SGD(p, lr=1e-3),
        "sgd momentum": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9),
        "lion": lambda p: optim.Lion(p, lr=1e-3, weight_decay=0.1),
    }.items():
        one = One()
        optimizer = make([one])
        for _ in range(2):
            one.storages[0].grad = ttnn.zeros([768, 3072], ttnn.float32, ttnn.TILE_LAYOUT, device)
            _, ran = capture(ttnn, optimizer.step)
        counts[name] = ran.by_kind
    return counts
