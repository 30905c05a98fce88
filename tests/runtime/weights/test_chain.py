"""Chains are invertible bit for bit, whatever steps they are made of."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ttmlc_runtime.errors import ConfigError, WeightsError
from ttmlc_runtime.weights import Chain, Leaf, Parameter, concat, gather, normal, zeros
from ttmlc_runtime.weights.steps import Step, bfloat16_bits, from_bfloat16_bits, to_bfloat16


def leaf(name: str, *shape: int) -> Leaf:
    return Leaf(Parameter(name, shape, zeros))


def any_bits(chain: Chain, seed: int) -> dict[str, np.ndarray]:
    """A float32 array of random bits for each parameter: NaNs, infinities, -0.0 and denormals among them."""
    generator = np.random.default_rng(seed)
    return {
        p.name: generator.integers(0, 1 << 32, p.shape, np.uint32).view(np.float32)
        for p in chain.parameters()
    }


def assert_same_bits(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert np.ascontiguousarray(found[name]).tobytes() == np.ascontiguousarray(array).tobytes(), name


def product(data: st.DataObject, whole: int) -> tuple[int, int, int]:
    """``whole`` written as a product of three."""
    outer = data.draw(st.sampled_from([n for n in range(1, whole + 1) if whole % n == 0]))
    rest = whole // outer
    axis = data.draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
    return outer, axis, rest // axis


def grown(data: st.DataObject, chain: Chain, names: list[str]) -> Chain:
    """``chain`` with one more step, drawn from all kinds."""
    rank = len(chain.shape)
    dim = data.draw(st.integers(0, rank - 1))
    kind = data.draw(st.sampled_from(["permute", "reshape", "interleave", "pad", "concat"]))
    if kind == "permute":
        return chain.permuted(*data.draw(st.permutations(range(rank))))
    if kind == "reshape":
        if rank > 1 and data.draw(st.booleans()):
            merged = chain.shape[0] * chain.shape[1]
            return chain.reshaped(merged, *chain.shape[2:])
        return chain.reshaped(*chain.shape[:dim], *product(data, chain.shape[dim]), *chain.shape[dim + 1 :])
    if kind == "interleave":
        return chain.interleaved(dim, product(data, chain.shape[dim]))
    if kind == "pad":
        sizes = product(data, chain.shape[dim])
        to = sizes[1] + data.draw(st.integers(0, 3))
        return chain.padded(dim, sizes, to=to, value=data.draw(st.sampled_from([0.0, -1e9])))
    shape = list(chain.shape)
    shape[dim] = data.draw(st.integers(1, 4))
    names.append(f"p{len(names)}")
    return concat(*data.draw(st.permutations([chain, leaf(names[-1], *shape)])), axis=dim)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    data = draw(st.data())
    chain: Chain = leaf("p0", *draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    names = ["p0"]
    for _ in range(draw(st.integers(0, 6))):
        if math.prod(chain.shape) > 20_000 or len(chain.shape) > 6:
            break
        chain = grown(data, chain, names)
    return chain


@settings(max_examples=300, deadline=None)
@given(chain=chains(), seed=st.integers(0, 1 << 16))
def test_what_was_loaded_is_saved_bit_for_bit(chain: Chain, seed: int) -> None:
    parameters = any_bits(chain, seed)
    device = chain.forward(parameters)
    assert device.shape == chain.shape
    assert not chain.partial
    assert_same_bits(chain.inverse(device), parameters)


@settings(max_examples=150, deadline=None)
@given(chain=chains(), data=st.data(), seed=st.integers(0, 1 << 16))
def test_windows_that_cover_a_chain_give_its_parameters_back(
    chain: Chain, data: st.DataObject, seed: int
) -> None:
    dim = data.draw(st.integers(0, len(chain.shape) - 1))
    width = chain.shape[dim]
    cuts = sorted(data.draw(st.sets(st.integers(0, width), max_size=4)) | {0, width})
    windows = [chain.window(dim, a, b) for a, b in itertools.pairwise(cuts)]
    parameters = any_bits(chain, seed)
    arrays = [window.forward(parameters) for window in windows]
    assert [array.shape for array in arrays] == [window.shape for window in windows]
    assert_same_bits(gather(windows, arrays), parameters)


def test_every_kind_of_step_is_drawn_by_the_property() -> None:
    """A new step must join ``grown``, be a window, or be a cast, which has tests of its own."""
    assert {kind.__name__ for kind in Step.__subclasses__()} == {
        "Cast", "Interleave", "Pad", "Permute", "Reshape", "Window",
    }  # fmt: skip


def test_a_missing_shard_is_noticed() -> None:
    left, _ = leaf("w", 4, 6).shards(1, 2)
    array = left.forward({"w": np.ones((4, 6), np.float32)})
    with pytest.raises(WeightsError, match="w: 12 of its 24 elements are in none of the parts"):
        gather([left], [array])


def test_where_windows_overlap_the_first_counts() -> None:
    chain = leaf("w", 4)
    parts = [np.float32([1, 2, 3]), np.float32([7, 8, 9])]
    assert gather([chain.window(0, 0, 3), chain.window(0, 1, 4)], parts)["w"].tolist() == [1, 2, 3, 9]


def test_windows_of_one_parameter_may_lie_in_one_storage() -> None:
    whole = leaf("qkv", 6, 4)
    swapped = concat(whole.window(0, 4, 6), whole.window(0, 0, 4), axis=0)
    values = any_bits(swapped, 3)
    values["qkv"][1, :2] = values["qkv"][5, 2:] = -0.0
    array = swapped.forward(values)
    assert array[:2].tobytes() == values["qkv"][4:].tobytes()
    assert_same_bits(gather([swapped], [array]), values)


def test_interleaving_takes_rotary_halves_in_turns() -> None:
    heads, half = 2, 3
    rows = np.arange(heads * 2 * half, dtype=np.float32)
    chain = leaf("q", rows.size).interleaved(0, (heads, 2, half))
    assert chain.forward({"q": rows}).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    back = chain.interleaved(0, (heads, half, 2))
    assert back.forward({"q": rows}).tolist() == rows.tolist()


def test_padding_widens_each_head_alone() -> None:
    chain = leaf("q", 2, 1).padded(0, (2, 1, 1), to=3, value=-7.0)
    array = chain.forward({"q": np.float32([[1], [2]])})
    assert array[:, 0].tolist() == [1, -7, -7, 2, -7, -7]


def test_concat_takes_parts_of_different_widths() -> None:
    chain = concat(leaf("q", 6, 4).T, leaf("k", 2, 4).T, leaf("v", 2, 4).T)
    assert chain.shape == (4, 10)
    assert str(chain) == "concat(q.T, k.T, v.T)"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: leaf("w", 2, 3).permuted(0, 0), "no order of the 2 dimensions"),
        (lambda: leaf("w", 2, 3, 4).T, "only a matrix"),
        (lambda: leaf("w", 2, 3).reshaped(4), "does not have the elements"),
        (lambda: leaf("w", 2, 3).reshaped(-2, -3), "does not have the elements"),
        (lambda: leaf("w", 6).padded(0, (2, 2, 1), to=4), "cannot be padded as"),
        (lambda: leaf("w", 6).padded(0, (2, 3, 1), to=2), "cannot be padded to 2"),
        (lambda: leaf("w", 6).interleaved(1, (1, 2, 3)), "cannot be interleaved"),
        (lambda: leaf("w", 6).window(0, 2, 7), "no window of dimension 0"),
        (lambda: leaf("w", 6).shards(0, 4), "does not divide among 4 devices"),
        (lambda: leaf("w", 6).cast("int8"), "cannot be cast to 'int8'"),
        (lambda: concat(leaf("a", 2, 3), leaf("b", 3, 3)), "do not fit side by side"),
        (lambda: concat(leaf("a", 2, 3), leaf("b", 2)), "do not fit side by side"),
        (lambda: concat(), "concat needs"),
        (lambda: Parameter("w", (-1, 3), zeros), "cannot have the shape"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(make: object, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        make()  # type: ignore[operator]  # a lambda from the table


@pytest.mark.parametrize("row", [-1, 2])
def test_a_padding_token_without_a_row_is_the_configs_fault(row: int) -> None:
    with pytest.raises(
        ConfigError, match=f"w has the shape .* the padding token is {row}: there is no such row"
    ):
        Parameter("w", (2, 3), zeros, zero_row=row)


@given(bits=st.lists(st.integers(0, (1 << 16) - 1), min_size=1, max_size=50))
def test_every_bfloat16_comes_through_a_cast_unchanged(bits: list[int]) -> None:
    values = from_bfloat16_bits(np.array(bits, np.uint16))
    chain = leaf("w", len(bits)).cast("bfloat16")
    assert_same_bits(chain.inverse(chain.forward({"w": values})), {"w": values})
    assert bfloat16_bits(values).tolist() == bits


def test_all_65536_bfloat16_come_through_bit_for_bit() -> None:
    """NaNs with their payloads too: what a file held is what is written."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    assert (bfloat16_bits(from_bfloat16_bits(bits)) == bits).all()


def test_rounding_to_bfloat16_is_torchs() -> None:
    torch = pytest.importorskip("torch", reason="the reference for rounding")
    generator = np.random.default_rng(0)
    values = generator.integers(0, 1 << 32, 200_000, np.uint32).view(np.float32)
    values = np.concatenate(
        [values, np.float32([3.4e38, -3.4e38, 1.00390625, 1.01171875, np.inf, -0.0, 1e-45])]
    )
    wanted = torch.from_numpy(values).to(torch.bfloat16).to(torch.float32).numpy()
    found = to_bfloat16(values)
    real = ~np.isnan(values)  # the payload of a NaN is nobody's promise
    assert found[real].tobytes() == wanted[real].tobytes()
    assert np.isnan(found[~real]).all()


def test_a_cast_of_what_was_cast_changes_nothing() -> None:
    values = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    for to in ("bfloat16", "float16", "float32", "float64"):
        chain = leaf("w", 1000).cast(to)
        once = chain.forward({"w": values})
        assert chain.forward(chain.inverse(once)).tobytes() == once.tobytes()


def test_initial_values_depend_on_seed_and_name_alone() -> None:
    one = Parameter("a.weight", (5, 3), normal(0.02), zero_row=1)
    same = Parameter("a.weight", (5, 3), normal(0.02), zero_row=1)
    other = Parameter("b.weight", (5, 3), normal(0.02), zero_row=1)
    assert one.initial(7).tobytes() == same.initial(7).tobytes()
    assert one.initial(7).tobytes() != one.initial(8).tobytes()
    assert one.initial(7).tobytes() != other.initial(7).tobytes()
    assert not one.initial(7)[1].any()
    assert one.initial(7)[0].all()


def test_normal_has_the_deviation_it_was_given() -> None:
    values = Parameter("w", (500, 200), normal(0.02)).initial(0)
    # 100000 draws: the mean's own deviation is 6e-5, the deviation's 4.5e-5; five of each.
    assert abs(values.mean()) < 3.2e-4
    assert abs(values.std() - 0.02) < 2.3e-4
