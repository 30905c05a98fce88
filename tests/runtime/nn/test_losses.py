"""The losses and their gradients beside torch.nn.functional, with every option and in every shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.autograd import Variable
from ttmlc_runtime.errors import InputError

TILES = ttnn.TILE_LAYOUT
CLOSE = {"float64": 1e-10, "float32": 1e-5}
"""Relative to the largest element: the project's bars."""
Array = np.ndarray[Any, Any]


def host(tensor: Any) -> Array:
    return ttnn.to_dtype(tensor.cpu(), ttnn.float32).to_numpy()


class Recorded:
    """Logits on the tape, which keep their gradient."""

    def __init__(self, values: Array, dtype: str, label: Any = ttnn.bfloat16, shape: Any = None) -> None:
        device = nn.open_device(dtype)
        values = np.asarray(values, np.float64 if dtype == "float64" else np.float32)
        if shape is None:  # [B, 1, S, V], or [B, 1, 1, V]
            shape = (
                (values.shape[0], 1, *values.shape[1:])
                if values.ndim == 3
                else (len(values), 1, 1, values.shape[1])
            )
        tensor = ttnn.Tensor(np.ascontiguousarray(values.reshape(shape)), label, device, TILES)
        # Whatever a board has there, it has no part in the loss, and none in what is made of the gradient.
        ttnn.fill_implicit_tile_padding(tensor, float("inf"))
        self.held = host(tensor).reshape(values.shape)
        self.variable = Variable.begin(tensor)
        self.activation = nn.Activation(self.variable, values.shape)
        self.gradient: Any = None
        self.variable.register_hook(self._keep)

    def _keep(self, gradient: Any) -> None:
        self.gradient = gradient

    def grad(self) -> Array:
        assert self.gradient.padding == 0.0 or not any(size % 32 for size in self.gradient.shape[-2:])
        return host(self.gradient).reshape(self.held.shape)


def same(found: Array, wanted: Any, close: float, least: float = 0.0) -> None:
    wanted = wanted.detach().numpy()
    assert found.shape == wanted.shape
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    away, size = (np.nan_to_num(np.abs(array)).max(initial=0) for array in (found - wanted, wanted))
    assert away <= close * max(size, least)


def compare(
    ours: Callable[[nn.Activation], nn.Activation],
    theirs: Callable[[torch.Tensor], torch.Tensor],
    values: Array,
    dtype: str,
    *,
    scale: float = 1.0,
    close: float | None = None,
    label: Any = ttnn.bfloat16,
) -> Recorded:
    """Loss and gradient; one of "none" is weighed with numbers of every sign."""
    x = Recorded(values, dtype, label)
    loss = ours(x.activation)
    z = torch.tensor(x.held, dtype=torch.float64, requires_grad=True)
    wanted = theirs(z)
    close = CLOSE[dtype] if close is None else close
    assert loss.tensor.dtype == ttnn.float32
    same(loss.numpy().astype(np.float64), wanted, min(close, 1e-5), least=1e-3)
    if loss.shape:
        weights = np.random.default_rng(1).standard_normal(loss.shape)
        loss.backward(
            ttnn.Tensor(weights.reshape(loss.tensor.shape), ttnn.float32, loss.tensor.device(), TILES)
        )
        wanted.backward(torch.tensor(weights))
    else:
        (loss * scale).backward()
        (wanted * scale).backward()
    assert x.gradient.dtype == label
    same(x.grad().astype(np.float64), z.grad, close, least=1e-12)
    return x


def logits(shape: tuple[int, ...], classes: int, scale: float = 3.0, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((*shape, classes)) * scale


def some_labels(shape: tuple[int, ...], classes: int, ignored: int = -100, part: float = 0.3) -> Array:
    chance = np.random.default_rng(2)
    labels = chance.integers(0, classes, shape)
    labels[chance.random(shape) < part] = ignored
    labels.reshape(-1)[0] = classes - 1
    return labels


OPTIONS: dict[str, Callable[[int], dict[str, Any]]] = {
    "plain": lambda v: {},
    "smoothed": lambda v: {"label_smoothing": 0.1},
    "smoothed wholly": lambda v: {"label_smoothing": 1.0},
    "weighed": lambda v: {"weight": np.linspace(0, 2, v) + 0.01},
    "one class of no weight": lambda v: {"weight": np.arange(v) % 2 + (v == 1)},
    "weighed and smoothed": lambda v: {"weight": np.arange(v) % 3 + (v == 1), "label_smoothing": 0.2},
}


def in_torch(z: torch.Tensor, labels: Array, **options: Any) -> torch.Tensor:
    if "weight" in options:
        options["weight"] = torch.tensor(options["weight"], dtype=torch.float64)
    loss = F.cross_entropy(z.reshape(-1, z.shape[-1]), torch.tensor(labels.reshape(-1)), **options)
    return loss.reshape(labels.shape) if options.get("reduction") == "none" else loss


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(("shape", "classes"), [((2, 31), 99), ((3, 32), 64), ((5,), 7), ((1,), 2)])
@pytest.mark.parametrize("dtype", CLOSE)
def test_cross_entropy_is_pytorchs(
    dtype: str, shape: tuple[int, ...], classes: int, options: str, reduction: str
) -> None:
    labels, chosen = some_labels(shape, classes), {**OPTIONS[options](classes), "reduction": reduction}
    compare(
        lambda x: nn.cross_entropy(x, labels, **chosen),
        lambda z: in_torch(z, labels, **chosen),
        logits(shape, classes),
        dtype,
    )


def test_one_class_costs_nothing() -> None:
    x = Recorded(np.array([[3.0], [-2.0]]), "float64")
    loss = nn.cross_entropy(x.activation, [0, 0])
    loss.backward()
    assert float(loss) == 0
    assert np.abs(x.grad()).max() <= 1e-16, "exp(log(1/2)) - 1/2 is a rounding away from 0"


@pytest.mark.parametrize("scale", [1 / 3, 4.0, -0.7, 0.0])
def test_a_weighed_loss_weighs_its_gradient(scale: float) -> None:
    labels = some_labels((2, 31), 99)
    compare(
        lambda x: nn.cross_entropy(x, labels),
        lambda z: in_torch(z, labels),
        logits((2, 31), 99),
        "float64",
        scale=scale,
    )


@pytest.mark.parametrize(("vocab", "rows"), [(30522, 96), (50257, 64), (128256, 32)])
def test_at_the_size_of_a_vocabulary(vocab: int, rows: int) -> None:
    labels = some_labels((1, rows), vocab)
    values = logits((1, rows), vocab, scale=4.0)
    x = compare(lambda x: nn.cross_entropy(x, labels), lambda z: in_torch(z, labels), values, "float32")
    sums = np.abs(x.grad().astype(np.float64).sum(-1))
    # Probabilities of a row add up to 1 within float32's rounding of its largest and of its level, near 20.
    assert sums.max() * rows <= 4e-6
    # The same in PyTorch's float32, which adds up as many exponentials, is no nearer to float64 but by chance.
    errors = []
    exact, single = (
        torch.tensor(x.held, dtype=kind, requires_grad=True) for kind in (torch.float64, torch.float32)
    )
    for z in (exact, single):
        in_torch(z, labels).backward()
    for gradient in (x.grad(), single.grad.numpy()):
        errors.append(np.abs(gradient - exact.grad.numpy()).max())
    assert errors[0] <= 3 * errors[1] + 1e-9


@pytest.mark.parametrize("classes", [99, 128])
def test_on_the_device_the_gradient_is_rounded_once(classes: int) -> None:
    labels = some_labels((2, 31), classes)
    values = logits((2, 31), classes)
    x = Recorded(values, "bfloat16")
    nn.cross_entropy(x.activation, labels, label_smoothing=0.1).backward()
    z = torch.tensor(x.held, dtype=torch.float64, requires_grad=True)
    in_torch(z, labels, label_smoothing=0.1).backward()
    wanted = z.grad.numpy()
    assert x.gradient.dtype == ttnn.bfloat16
    # Half of the last of bfloat16's 8 bits of each element, and float32's rounding where a probability meets its label.
    assert (np.abs(x.grad() - wanted) <= np.abs(wanted) * 2**-8 + 1e-6 * np.abs(wanted).max()).all()


@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits_do_not_overflow(size: float, smoothing: float) -> None:
    values = np.array([[size, 0.0, -size], [-size, -size, -size], [size, size, 1.0], [0.0, 1.0, 2.0]])
    labels = np.array([0, 1, 1, 2])
    x = Recorded(values, "float32")
    loss = nn.cross_entropy(x.activation, labels, label_smoothing=smoothing, reduction="none")
    z = torch.tensor(x.held, dtype=torch.float32, requires_grad=True)
    wanted = in_torch(z, labels, label_smoothing=smoothing, reduction="none")
    assert np.isfinite(loss.numpy()).all()
    same(loss.numpy(), wanted, 1e-6)
    loss.backward(ttnn.ones([4, 1, 1, 1], ttnn.float32, TILES, x.variable.tensor.device()))
    wanted.sum().backward()
    # The level of a row, its largest and a logarithm, is rounded as a number of that size is: at 1e4 to 1e-3.
    assert np.abs(x.grad()[[0, 3]] - z.grad.numpy()[[0, 3]]).max() <= 1e-6
    assert np.isfinite(x.grad()).all()


def test_probabilities_that_vanish_and_classes_that_are_shut_out() -> None:
    values = np.array([[0.0, -200.0, -1e5], [2.0, -np.inf, 1.0]])
    compare(lambda x: nn.cross_entropy(x, [2, 0]), lambda z: in_torch(z, np.array([2, 0])), values, "float32")


def test_a_mean_over_nothing_is_nan_and_moves_nothing() -> None:
    labels = np.full((2, 31), -100)
    for options in ({}, {"label_smoothing": 0.1}, {"weight": np.ones(99)}):
        x = compare(
            lambda x, o=options: nn.cross_entropy(x, labels, **o),
            lambda z, o=options: in_torch(z, labels, **o),
            logits((2, 31), 99),
            "float64",
        )
        assert not x.grad().any()


def test_a_few_labels_among_many_rows_and_an_index_of_ones_own() -> None:
    labels = np.full((2, 64), 5)
    labels[1, 7], labels[0, 63] = 3, 98
    for ignored in (5, -1):
        given = np.where(labels == 5, ignored, labels)
        compare(
            lambda x, g=given, i=ignored: nn.cross_entropy(x, g, ignore_index=i),
            lambda z, g=given, i=ignored: in_torch(z, g, ignore_index=i),
            logits((2, 64), 99),
            "float64",
        )


def test_float32_logits_keep_their_dtype() -> None:
    labels = some_labels((2, 32), 64)
    compare(
        lambda x: nn.cross_entropy(x, labels),
        lambda z: in_torch(z, labels),
        logits((2, 32), 64),
        "float32",
        label=ttnn.float32,
    )


def test_a_gradient_goes_through_matrices_whatever_lay_in_the_padding() -> None:
    """The logits' padding is infinite here: where it reached the gradient, the product would be refused."""
    x = Recorded(logits((2, 31), 99), "bfloat16")
    nn.cross_entropy(x.activation, some_labels((2, 31), 99)).backward()
    for side in ({"transpose_a": True}, {"transpose_b": True}):
        ttnn.matmul(x.gradient, x.gradient, **side, **nn.Kernels.of(nn.Policy(), x.gradient.device()).matmul)


@pytest.mark.parametrize(
    "make", [list, lambda a: a.astype(np.uint8), lambda a: torch.tensor(a), lambda a: a[:, None]]
)
def test_labels_of_any_kind(make: Callable[[Any], Any]) -> None:
    labels = np.array([1, 6, 0])
    x = Recorded(logits((3,), 7), "float64")
    assert float(nn.cross_entropy(x.activation, make(labels))) == float(
        nn.cross_entropy(x.activation, labels)
    )


def test_without_a_tape_there_is_a_loss_and_no_gradient() -> None:
    x = Recorded(logits((3,), 7), "float64")
    plain = nn.Activation(x.variable.tensor, (3, 7))
    loss = nn.cross_entropy(plain, [1, 2, 3])
    assert loss.shape == () and not loss.requires_grad
    assert float(loss) == float(nn.cross_entropy(x.activation, [1, 2, 3]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1, 2],), r"labels is \[2\] and must be \[3\]"),
        (([[1, 2, 3]],), r"labels is \[1, 3\] and must be \[3\]"),
        (([1, 7, -5],), r"labels\[1\] is 7 and must be in \[0, 7\), or -100 to be left out"),
        (([1, -1, 9],), r"labels\[1\] is -1 and"),
        (([1.0, 2.0, 3.0],), "must be integers, not float64: convert them"),
        (([True, False, True],), "must be integers, not bool"),
        ((["a", "b", "c"],), "must be numbers, not <U1"),
        (([[1], [2, 3]],), "is no array of one shape"),
        ((np.array([1, 2, 1 << 63], np.uint64),), r"labels\[2\] is 9223372036854775807"),
        (([1, 2, 3], {"reduction": "max"}), "reduction is 'max' and must be one of mean, sum, none"),
        (([1, 2, 3], {"label_smoothing": 1.5}), r"label_smoothing is 1.5 and must be in \[0, 1\]"),
        (([1, 2, 3], {"label_smoothing": float("nan")}), "label_smoothing is nan"),
        (([1, 2, 3], {"weight": [1.0, 2.0]}), r"weight is \[2\] and must fit \[7\]"),
        (
            ([1, 2, 3], {"weight": [1, 1, -2, 1, 1, 1, 1]}),
            r"weight\[2\] is -2.0 and must be a number, 0 or more",
        ),
    ],
)
def test_what_cannot_be_a_label_or_an_option_is_refused_by_name_and_place(arguments: Any, words: str) -> None:
    x = Recorded(logits((3,), 7), "float32")
    labels, options = arguments[0], (arguments[1] if len(arguments) > 1 else {})
    with pytest.raises(InputError, match=words):
        nn.cross_entropy(x.activation, labels, **options)


def test_the_last_dim_has_to_be_the_classes() -> None:
    x = Recorded(logits((2, 32), 64), "float32")
    turned = ttnn.reshape(x.variable.tensor, (2, 64, 1, 32))
    with pytest.raises(InputError, match=r"logits is \[64, 64\], on the device \[2, 64, 1, 32\]"):
        nn.cross_entropy(nn.Activation(turned, (64, 64)), [0] * 64)


# Spans


@pytest.mark.parametrize(
    ("starts", "ends"),
    [
        ([3, 0], [5, 36]),
        ([-4, 99], [2, 37]),  # below 0 is token 0; S and beyond do not count
        ([[3], [0]], [[5], [36]]),
    ],
)
@pytest.mark.parametrize("shape", [(2, 1, 1, 37), (2, 1, 37, 1)], ids=["rows", "columns"])
def test_a_span_loss_is_transformers(shape: Any, starts: Any, ends: Any) -> None:
    tokens = 37
    first, last = (Recorded(logits((2,), tokens, seed=seed), "float64", shape=shape) for seed in (0, 5))
    loss = nn.span_loss(first.activation, last.activation, starts, ends)
    total: Any = 0.0
    z = []
    for x, positions in ((first, starts), (last, ends)):
        z.append(torch.tensor(x.held, requires_grad=True))
        held = torch.tensor(positions).reshape(-1).clamp(0, tokens)
        total = total + torch.nn.CrossEntropyLoss(ignore_index=tokens)(z[-1], held) / 2
    assert loss.shape == ()
    assert float(loss) == pytest.approx(total.item(), rel=1e-12)
    loss.backward()
    total.backward()
    for x, wanted in zip((first, last), z, strict=True):
        same(x.grad(), wanted.grad, 1e-10)


def test_a_span_that_is_nowhere_is_nan() -> None:
    x, y = Recorded(logits((1,), 8), "float64"), Recorded(logits((1,), 8), "float64")
    loss = nn.span_loss(x.activation, y.activation, [8], [3])
    assert np.isnan(float(loss))
    loss.backward()
    assert not x.grad().any() and y.grad().any()
    with pytest.raises(InputError, match=r"end_positions is \[2\] and must be \[1\]"):
        nn.span_loss(x.activation, y.activation, [0], [1, 2])


# Single numbers


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("shape", "classes"), [((4,), 1), ((2, 31), 3), ((3,), 64)])
@pytest.mark.parametrize("dtype", CLOSE)
def test_squared_errors_are_pytorchs(dtype: str, shape: Any, classes: int, reduction: str) -> None:
    target = logits(shape, classes, seed=4)
    compare(
        lambda x: nn.mse_loss(x, target, reduction=reduction),
        lambda z: F.mse_loss(z, torch.tensor(target), reduction=reduction),
        logits(shape, classes),
        dtype,
        scale=0.3,
    )


def test_targets_of_one_number_need_no_last_dim() -> None:
    x = Recorded(logits((4,), 1), "float64")
    flat = nn.mse_loss(x.activation, [1, 2, 3, 4])
    assert float(flat) == float(nn.mse_loss(x.activation, [[1.0], [2.0], [3.0], [4.0]]))
    with pytest.raises(InputError, match=r"target\[1\] is inf|target\[1, 0\] is inf"):
        nn.mse_loss(x.activation, [1, np.inf, 3, 4])
    with pytest.raises(InputError, match=r"target is \[3\] and must be \[4, 1\]"):
        nn.mse_loss(x.activation, [1, 2, 3])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pos_weight": [3.0, 0.5, 1.0]},
        {"weight": [[1.0], [0.0], [2.0], [1.0]]},
        {"weight": 2.0, "pos_weight": 3.0},
    ],
)
@pytest.mark.parametrize("dtype", CLOSE)
def test_yes_or_no_is_pytorchs(dtype: str, options: dict[str, Any], reduction: str) -> None:
    labels = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0.3, 0.7, 1]])
    tensors = {name: torch.tensor(value, dtype=torch.float64) for name, value in options.items()}
    values = logits((4,), 3, scale=10.0)
    values[0] = 200.0, -200.0, -1e30
    compare(
        lambda x: nn.binary_cross_entropy_with_logits(x, labels, reduction=reduction, **options),
        lambda z: F.binary_cross_entropy_with_logits(z, torch.tensor(labels), reduction=reduction, **tensors),
        values,
        dtype,
        scale=-0.3,
    )


@pytest.mark.parametrize("loss", [nn.mse_loss, nn.binary_cross_entropy_with_logits])
def test_on_the_device_gradients_of_single_numbers_are_rounded_once(loss: Any) -> None:
    x = Recorded(logits((4,), 3), "bfloat16")
    loss(x.activation, np.ones((4, 3))).backward()
    theirs = getattr(F, loss.__name__)
    z = torch.tensor(x.held, dtype=torch.float64, requires_grad=True)
    theirs(z, torch.ones(4, 3, dtype=torch.float64)).backward()
    wanted = z.grad.numpy()
    # Half of the last of bfloat16's 8 bits; where 1 - sigmoid(x) vanishes, what float32 leaves of 1.
    assert (np.abs(x.grad() - wanted) <= np.abs(wanted) * 2**-8 + 2**-24).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight": [1.0, 2.0]}, r"weight is \[2\] and must fit \[4, 3\]"),
        ({"pos_weight": [1.0, -2.0, 1.0]}, r"pos_weight\[1\] is -2.0"),
        ({"reduction": "batchmean"}, "reduction is 'batchmean'"),
    ],
)
def test_options_of_yes_or_no_are_checked(options: dict[str, Any], words: str) -> None:
    x = Recorded(logits((4,), 3), "float32")
    with pytest.raises(InputError, match=words):
        nn.binary_cross_entropy_with_logits(x.activation, np.zeros((4, 3)), **options)
