"""The passes of the tensor level that make blocks and join projections, in IR text."""

from __future__ import annotations

from pathlib import Path

import pytest
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.module import Function, Kind, Module
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.ir.verify import verify
from ttmlc.passes.join_projections import JoinProjections
from ttmlc.passes.outline import Outline
from ttmlc.passes.pipeline import pipeline, run

TINY = (Path(__file__).parent / "tiny.ir").read_text()


def tiny(*changes: tuple[str, str]) -> Module:
    text = TINY
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    module = parse_module(text)
    verify(module)
    return module


def lines(module: Module, name: str, *ops: str) -> list[str]:
    """The operations called ``ops`` of a function, as text."""
    alone = Module(**{**_fields(module), "functions": (module.function(name),)})
    shown = [line.strip() for line in print_module(alone).splitlines()]
    return [line for line in shown if any(f"= {op}(" in line for op in ops)]


def _fields(module: Module) -> dict[str, object]:
    return {name: getattr(module, name) for name in module.__slots__}


# Projections


def test_three_projections_become_one() -> None:
    outcome = JoinProjections().run(tiny())
    assert outcome.declined == ()
    verify(outcome.module)
    joined, *_ = lines(outcome.module, "Attention", "linear")
    assert joined.startswith("%q_k_v = linear(%x, %q_k_v_weight, %q_k_v_bias)")
    assert lines(outcome.module, "Attention", "join") == [
        "%q_k_v_weight = join(%qw, %kw, %vw) : float[{(heads head_dim) + (heads head_dim) + (heads head_dim)}, hidden]",
        "%q_k_v_bias = join(%qb, %kb, %vb) : float[{(heads head_dim) + (heads head_dim) + (heads head_dim)}]",
    ]
    assert lines(outcome.module, "Attention", "split_heads") == [
        "%q, %k, %v = split_heads(%q_k_v) : " + ", ".join(["float[B, heads, S, head_dim]"] * 3)
    ]


def test_their_storage_says_where_each_of_them_lies() -> None:
    text = print_module(run(tiny(), pipeline())[-1].module)
    assert text.count('holder = "query_key_value"') == 6  # weight and bias, in three programs
    chain = text.split("chain = !concat(")[1].split("holder")[0]
    assert (
        chain.index("self.query.weight") < chain.index("self.key.weight") < chain.index("self.value.weight")
    )


SECOND = ("%x: float[B, S, hidden], %mask", "%x: float[B, S, hidden], %z: float[B, S, hidden], %mask")
CALLED = ("call(%h_3, %mask)", "call(%h_3, %h_3, %mask)")
TURNED = [
    (f"self.{name}.weight\", init = !normal(std)}} : float[(heads head_dim), hidden]",
     f"self.{name}.weight\", init = !normal(std)}} : float[hidden, (heads head_dim)]")
    for name in ("query", "key", "value")
]  # fmt: skip
STORED = [(f"linear(%x, %{n}w, %{n}b)", f"linear(%x, %{n}w, %{n}b) {{stored_in_out = true}}") for n in "qkv"]
CALL = '%h_4 = call(%h_3, %mask) {at = "attention", block = "Attention"} : float[B, S, hidden]'
RETURNED = [
    ("  return y = %y\n", "  return y = %y, k = %k\n"),
    (CALL, CALL.replace("%h_4 =", "%h_4, %k =") + ", float[B, heads, S, head_dim]"),
]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([SECOND, CALLED, ("linear(%x, %kw", "linear(%z, %kw")], "the projections read different values"),
        ([("linear(%x, %kw, %kb)", "linear(%x, %kw)")], "only some of the projections have a bias"),
        ([TURNED[1], STORED[1]], "the projections are stored in different orders"),
        ([*TURNED, *STORED], "projections that are stored [in, out] are not joined"),
        ([("attention(%q, %k, %v, ", "attention(%q, %q, %q, ")], "queries, keys and values are one projection"),
        (RETURNED, "%k has another reader"),
        ([("linear(%x, %kw, %kb)", "linear(%x, %qw, %kb)")], "%qw has another reader"),
    ],
)  # fmt: skip
def test_projections_stay_apart(changes: list[tuple[str, str]], reason: str) -> None:
    module = tiny(*changes)
    outcome = JoinProjections().run(module)
    assert [declined.reason for declined in outcome.declined] == [reason]
    assert outcome.module == module


# Outlining


def blocks(module: Module) -> list[str]:
    return [function.name for function in module.functions if function.kind is Kind.BLOCK]


def outlined(*changes: tuple[str, str]) -> Module:
    module = Outline().run(tiny(*changes)).module
    verify(module)
    return module


def test_a_model_becomes_a_sequence_of_blocks() -> None:
    module = outlined()
    assert sorted(blocks(module)) == ["Attention", "EmbeddingsWord", "PoolerDense"]
    (model,) = module.models
    assert [operation.op for operation in model.operations] == ["call", "repeat", "call"]
    assert lines(module, "TinyModel", "call") == [
        '%h = call(%ids) {at = "embeddings", block = "EmbeddingsWord"} : float[B, S, hidden]',
        '%h_4 = call(%h_3, %mask) {at = "attention", block = "Attention"} : float[B, S, hidden]',
        '%pooled = call(%h_2) {at = "pooler", block = "PoolerDense"} : float[B, hidden]',
    ]


def test_blocks_stand_in_the_order_in_which_the_model_runs_them() -> None:
    assert blocks(outlined()) == ["EmbeddingsWord", "Attention", "PoolerDense"]


def test_parameters_move_into_their_blocks_under_what_is_left_of_their_paths() -> None:
    module = outlined()
    assert [o.get("at") for o in module.function("EmbeddingsWord").walk() if o.op == "param"] == [
        "word.weight"
    ]
    assert [o.get("at") for o in module.function("PoolerDense").walk() if o.op == "param"] == ["dense.weight"]


def test_outlining_twice_changes_nothing() -> None:
    once = outlined()
    assert Outline().run(once).module == once


def test_a_name_that_the_spec_has_taken_is_left_to_it() -> None:
    module = outlined(
        ("block Attention(", "block PoolerDense("), ('block = "Attention"', 'block = "PoolerDense"')
    )
    assert len(set(blocks(module))) == 3
    own = module.function("PoolerDense")
    assert [given.value.name for given in own.inputs] == ["x", "mask"]  # the spec's own keeps its name
    assert {operation.op for operation in own.walk()} >= {"attention", "layer_norm"}


def test_a_repeat_of_more_than_calls_becomes_one_block_a_turn() -> None:
    module = outlined(
        ("    %h_4 = call(", '    %g = activate(%h_3) {kind = \'tanh\'} : float[B, S, hidden]\n    %h_4 = call('),
        ("call(%h_3, %mask)", "call(%g, %mask)"),
    )  # fmt: skip
    layer = module.function("Layer")
    assert [operation.op for operation in layer.operations] == ["activate", "call"]
    repeat = next(operation for operation in module.models[0].operations if operation.op == "repeat")
    assert repeat.body is not None
    assert [operation.get("block") for operation in repeat.body.operations] == ["Layer"]


def test_what_is_outlined_computes_the_same() -> None:
    import numpy as np

    module = tiny()
    sizes = {"heads": 3, "hidden": 96}
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 99, (2, 5))
    weights = {}
    known = module.config.values(sizes)
    for function, prefix in _places(module):
        for operation in function.walk():
            if operation.op == "param":
                shape = [_size(axis, known) for axis in operation.result.type.dims]  # type: ignore[union-attr]  # all are tensors
                weights[prefix + operation.text("at")] = rng.normal(size=shape) / 8
    given = {"ids": ids, "mask": np.array([[True] * 5, [True] * 3 + [False] * 2])}
    before, *stages = run(module, pipeline(train=False)[:3])
    wanted = evaluate(before.module, "TinyModel", sizes, weights, given)
    for stage in stages:
        found = evaluate(stage.module, "TinyModel", sizes, weights, given)
        # The same sums in float64; where three matmuls are one their order may be another.
        assert all(np.abs(found[name] - wanted[name]).max() < 1e-12 for name in wanted), stage.name


def _places(module: Module) -> list[tuple[Function, str]]:
    attention = module.function("Attention")
    layers = [(attention, f"encoder.layer.{i}.attention.") for i in range(2)]
    return [(module.models[0], ""), *layers]


def _size(dim: object, known: object) -> int:
    from math import prod

    from ttmlc.ir import scalar
    from ttmlc.ir.types import factors

    return prod(scalar.evaluate(axis.size, known) for axis in factors(dim))  # type: ignore[arg-type, misc]  # sizes are whole numbers
