"""Inputs: what is accepted, what is refused with name and place, and the masks that come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ttmlc_runtime import nn, ttnn
from ttmlc_runtime.errors import InputError
from ttmlc_runtime.nn.inputs import FILLING, HIDDEN

IDS = [[5, 6, 7], [1, 2, 0]]


@pytest.fixture(scope="module")
def device() -> Any:
    return nn.open_device("float32")


def host(tensor: Any) -> np.ndarray:
    return ttnn.to_dtype(tensor.cpu(), ttnn.float32).to_numpy()


@pytest.mark.parametrize(
    "make", [list, np.array, lambda ids: np.array(ids, np.uint8), lambda ids: np.array(ids, np.int64)[:, ::1]]
)
def test_integers_of_any_kind_become_uint32_rows(device: Any, make: Any) -> None:
    given = nn.Inputs(device, make(IDS))
    assert given.shape == (2, 3)
    tensor = given.ids("input_ids", make(IDS), below=8)
    assert (tensor.dtype, tensor.layout) == (ttnn.uint32, ttnn.ROW_MAJOR_LAYOUT)
    assert tensor.cpu().to_numpy().tolist() == IDS


def test_torch_tensors_are_integers_too(device: Any) -> None:
    torch = pytest.importorskip("torch", reason="its tensors are what is tested")
    ids = torch.tensor(IDS)
    assert nn.Inputs(device, ids).ids("input_ids", ids, below=8).cpu().to_numpy().tolist() == IDS
    with pytest.raises(InputError, match="input_ids is no array"):
        nn.Inputs(device, IDS).ids("input_ids", ids.float().requires_grad_(), below=8)


def test_defaults_fill_the_shape(device: Any) -> None:
    given = nn.Inputs(device, IDS)
    assert given.ids("types", None, below=2, default=0).cpu().to_numpy().tolist() == [[0] * 3] * 2
    positions = given.ids("position_ids", None, below=3, default=given.positions)
    assert positions.cpu().to_numpy().tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[1, 2, 8], [0, 0, 9]], r"^input_ids\[0, 2\] is 8 and must be in \[0, 8\)$"),
        ([[1, 2, 3], [0, -1, 9]], r"^input_ids\[1, 1\] is -1 and must be in \[0, 8\)$"),
        ([[1, 2, 3], [0, 1 << 40, 9]], r"input_ids\[1, 1\] is 1099511627776"),
        (np.array([[1, 2, 3], [1, 2, 1 << 63]], np.uint64), r"input_ids\[1, 2\] is 9223372036854775808"),
        ([[1.0, 2.0, 3.0]] * 2, "must be integers, not float64: convert them"),
        ([[True, False, True]] * 2, "must be integers, not bool"),
        ([["a", "b", "c"]] * 2, "must be integers, not <U1"),
        ([[None, 1, 2]] * 2, "must be integers, not object"),
        ([1, 2, 3], r"must be \[batch, tokens\], not \[3\]: a single row is input\[None, :\]"),
        ([[[1, 2, 3]]], r"must be \[batch, tokens\], not \[1, 1, 3\]"),
        (7, r"must be \[batch, tokens\], not \[\]"),
        ([[], []], r"is empty: \[2, 0\]"),
        (np.zeros((0, 3), int), r"is empty: \[0, 3\]"),
        ([[1, 2], [3]], "is no array of one shape"),
        ([[1, 2, 3]], r"is \[1, 3\], and the first input \[2, 3\]"),
        (None, "input_ids is missing"),
    ],
)
def test_what_is_no_input_is_refused_with_its_name(device: Any, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        nn.Inputs(device, IDS).ids("input_ids", value, below=8)
    assert "input_ids" in str(caught.value)


def test_without_a_mask_nothing_is_added(device: Any) -> None:
    given = nn.Inputs(device, IDS)
    plain, causal = (given.mask("attention_mask", None, causal=flag) for flag in (False, True))
    assert (plain.additive, plain.causal, plain.scores) == (None, False, None)
    assert (causal.additive, causal.causal) == (None, True)


def test_without_a_mask_scores_are_hidden_by_causality_alone(device: Any) -> None:
    scores = nn.Inputs(device, IDS).mask("attention_mask", None, causal=True).scores
    assert scores is not None
    found = host(scores)
    assert found.shape == (1, 1, 3, 3)
    assert (found[0, 0] == 0).tolist() == np.tril(np.ones((3, 3), bool)).tolist()


@pytest.mark.parametrize("kind", [bool, np.int64, np.uint8, np.float32])
def test_a_mask_is_added_to_every_querys_scores(device: Any, kind: type) -> None:
    given = nn.Inputs(device, IDS)
    mask = given.mask("attention_mask", np.array([[1, 1, 0], [0, 1, 1]], kind))
    assert not mask.causal
    assert mask.additive is not None
    assert (mask.additive.dtype, mask.additive.layout) == (ttnn.bfloat16, ttnn.TILE_LAYOUT)
    found = host(mask.additive)
    assert found.shape == (2, 1, 3, 3)
    assert ((found == 0) | (found <= HIDDEN * 0.99)).all()  # -1e9 is no bfloat16; the nearest is 0.1 % off
    assert (found[:, 0] == 0).tolist() == [[[True, True, False]] * 3, [[False, True, True]] * 3]


def test_causality_is_folded_into_a_mask(device: Any) -> None:
    given = nn.Inputs(device, IDS)
    mask = given.mask("attention_mask", [[1, 1, 1], [0, 1, 1]], causal=True)
    assert not mask.causal
    assert mask.additive is not None
    seen = host(mask.additive)[:, 0] == 0
    assert seen[0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert seen[1].tolist() == [[False, False, False], [False, True, False], [False, True, True]]
    assert np.isfinite(host(mask.additive)).all()


@pytest.mark.parametrize("causal", [False, True])
def test_scores_are_given_the_same_hidden_keys_as_fused_attention(device: Any, causal: bool) -> None:
    tokens = np.array([[1, 1, 0], [0, 1, 1]])
    mask = nn.Inputs(device, IDS).mask("attention_mask", tokens, causal=causal)
    assert mask.scores is not None
    assert tuple(mask.scores.shape) == ((2, 1, 3, 3) if causal else (2, 1, 1, 3)), "a row serves every query"
    assert mask.scores.padding == FILLING
    assert np.array_equal(np.broadcast_to(host(mask.scores), (2, 1, 3, 3)), host(mask.additive))


def test_scores_without_a_mask_are_given_causality_alone(device: Any) -> None:
    given = nn.Inputs(device, IDS)
    assert given.mask("attention_mask", None).scores is None
    hidden = host(given.mask("attention_mask", None, causal=True).scores) < 0
    assert hidden[0, 0].tolist() == [[False, True, True], [False, False, True], [False] * 3]


@pytest.mark.parametrize(("tokens", "padded"), [(3, True), (31, True), (32, False), (33, True), (64, False)])
def test_keys_that_fill_up_tiles_are_hidden_below_everything(device: Any, tokens: int, padded: bool) -> None:
    given = nn.Inputs(device, np.ones((1, tokens), int))
    mask = given.mask("attention_mask", np.zeros((1, tokens), int), causal=True)
    assert mask.additive is not None
    assert 100 * host(mask.additive).min() > FILLING
    if padded:
        assert mask.additive.padding == FILLING
    else:
        assert mask.additive.padded_shape == mask.additive.shape


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[1, 1, 2], [0, 0, 0]], r"attention_mask\[0, 2\] is 2; a mask holds 1"),
        ([[1, 1, 0], [0, -1e9, 0]], r"attention_mask\[1, 1\] is -1000000000.0; a mask holds 1"),
        ([[1, 1, 0], [0, float("nan"), 0]], r"attention_mask\[1, 1\] is nan; a mask holds 1"),
        ([["1", "1", "0"]] * 2, "must hold 1 .seen. and 0 .hidden., not <U1"),
        ([[1, 1]] * 2, r"is \[2, 2\], and the first input \[2, 3\]"),
    ],
)
def test_what_is_no_mask_is_refused(device: Any, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        nn.Inputs(device, IDS).mask("attention_mask", value)


@pytest.mark.parametrize("keys", [None, [[1, 1, 1, 1, 0]], [[0, 1, 1, 1, 1]]])
@pytest.mark.parametrize("window", [1, 2, 4, 5, 9, None])
def test_a_window_shows_so_many_keys_itself_included(device: Any, window: int | None, keys: Any) -> None:
    mask = nn.Inputs(device, [[1, 2, 3, 4, 5]]).mask("attention_mask", keys, causal=True, window=window)
    query, key = np.indices((5, 5))
    shown = (key <= query) & (key > query - (window or 9)) & np.array(keys or [[1] * 5], bool)
    assert mask.scores is not None
    assert np.array_equal(host(mask.scores)[0, 0] == 0, shown)
    if keys is None and (window is None or window >= 5):
        assert mask.causal
        assert mask.additive is None, "nothing is added"
    else:
        assert not mask.causal
        assert mask.additive is not None
        assert mask.additive.padding == FILLING
        assert np.array_equal(host(mask.additive)[0, 0] == 0, shown)
    grouped = mask.scores_of(3)
    assert grouped is not None
    assert np.array_equal(host(grouped)[0, 0] == 0, np.tile(shown, (3, 1)))
    assert mask.scores_of(3) is grouped, "it is made once"


def test_masks_of_one_input_are_sent_to_the_device_once(device: Any) -> None:
    given = nn.Inputs(device, [[1, 2, 3, 4, 5]])
    full, windowed = (
        given.mask("mask", [[1, 1, 1, 1, 0]], causal=True, window=window) for window in (None, 2)
    )
    assert windowed.keys is full.keys
    assert given.mask("other", [[1, 1, 1, 1, 1]], causal=True).keys is not full.keys


def test_a_window_that_shows_nothing_or_looks_ahead_is_refused(device: Any) -> None:
    given = nn.Inputs(device, IDS)
    with pytest.raises(InputError, match="a window shows one key at least: the window is 0"):
        given.mask("attention_mask", None, causal=True, window=0)
    with pytest.raises(InputError, match="only a causal query has a window: the window is 2"):
        given.mask("attention_mask", None, window=2)
    over_keys = given.mask("attention_mask", [[1, 1, 1], [0, 1, 1]])
    assert over_keys.scores_of(4) is over_keys.scores, "a row serves every query"


# What the host computes with


@pytest.mark.parametrize("make", [list, np.array, lambda ids: np.array(ids, np.uint8)])
def test_integers_on_the_host_are_int64_arrays(device: Any, make: Any) -> None:
    found = nn.Inputs(device, IDS).integers("input_ids", make(IDS))
    assert found.dtype == np.int64 and found.tolist() == IDS
    assert nn.Inputs(device, IDS).integers("at", make([1, 2]), (2,)).tolist() == [1, 2]
    assert nn.Inputs(device, IDS).integers("at", None, (2,), default=4).tolist() == [4, 4]
    assert nn.Inputs(device, [IDS] * 4, over="choices").integers("ids", make([IDS] * 4)).shape == (4, 2, 3)


def test_integers_that_int64_cannot_hold_stay_large(device: Any) -> None:
    most = nn.Inputs(device, IDS).integers("ids", np.full((2, 3), 1 << 63, np.uint64))
    assert (most == np.iinfo(np.int64).max).all()


def test_flags_are_true_and_false(device: Any) -> None:
    given = nn.Inputs(device, IDS)
    for value in (
        [[1, 0, 1], [0, 0, 1]],
        [[True, False, True], [False, False, True]],
        [[1.0, 0, 1], [0, 0, 1]],
    ):
        assert given.flags("mask", value).tolist() == [[True, False, True], [False, False, True]]
    assert given.flags("mask", None, default=True).all()
    with pytest.raises(InputError, match=r"mask\[1, 2\] is 2"):
        given.flags("mask", [[1, 0, 1], [0, 0, 2]])


@pytest.mark.parametrize(
    ("value", "shape", "words"),
    [
        (None, None, "^ids is missing$"),
        ([[1, 2, 3]], None, r"^ids is \[1, 3\], and the first input \[2, 3\]$"),
        ([1, 2, 3], (2,), r"^ids is \[3\] and must be \[2\]$"),
        ([[1], [1, 2]], (2,), "^ids is no array of one shape"),
        ([0.5, 1.0], (2,), "^ids must be integers, not float64: convert them"),
        ([True, False], (2,), "^ids must be integers, not bool"),
    ],
)
def test_what_the_host_cannot_compute_with_is_refused(
    device: Any, value: Any, shape: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        nn.Inputs(device, IDS).integers("ids", value, shape)


def test_an_index_becomes_rows_with_a_one(device: Any) -> None:
    given = nn.Inputs(device, IDS)
    rows = given.places("at", [2, 0], (2, 1, 1, 3))
    assert (rows.dtype, rows.layout) == (ttnn.bfloat16, ttnn.TILE_LAYOUT)
    assert host(rows).reshape(2, 3).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert host(given.places("at", 1, (2, 1, 1, 3))).reshape(2, 3).tolist() == [[0, 1, 0]] * 2
    several = nn.Inputs(device, [IDS] * 2, over="choices").places("at", [[0, 1], [2, 0]], (2, 2, 1, 3))
    assert host(several).argmax(-1).reshape(2, 2).tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([0, 3], r"^at\[1\] is 3 and must be in \[0, 3\)$"),
        ([-1, 3], r"^at\[0\] is -1 and must be in \[0, 3\)$"),
        (3, r"^at is 3 and must be in \[0, 3\)$"),
        ([0], r"^at is \[1\] and must be \[2\]$"),
        ([0.0, 1.0], "^at must be integers"),
    ],
)
def test_an_index_that_is_no_place_is_refused(device: Any, value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        nn.Inputs(device, IDS).places("at", value, (2, 1, 1, 3))


def test_a_call_is_refused_in_the_words_of_its_spec(device: Any) -> None:
    nn.Inputs(device, IDS).require(True, "never")
    with pytest.raises(InputError, match="^one row at a time$"):
        nn.Inputs(device, IDS).require(False, "one row at a time")
