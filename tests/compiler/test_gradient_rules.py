"""Gradient rules against central differences in float64: every op, every form, and blocks made of them at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ttmlc.ir.module import Operation
from ttmlc.ir.op import TABLE, TensorOp

from tests.compiler.gradient_cases import (
    CASES,
    HEADS,
    IDS,
    KINDS,
    Case,
    X,
    assert_close,
    compare,
    param,
)


def tensor_ops() -> list[TensorOp]:
    return [op for op in TABLE.ops.values() if isinstance(op, TensorOp)]


def used(case: Case) -> list[Operation]:
    return [operation for function in case.module.functions for operation in function.walk()]


def test_every_op_has_a_gradient_or_says_why_there_is_none() -> None:
    for op in tensor_ops():
        kinds = [op.has_gradient, bool(op.no_gradient), op.has_training_form, op.composite]
        assert any(kinds), f"{op.name} has no gradient and does not say why"
        assert not (op.has_gradient and op.no_gradient), op.name
        assert not op.no_gradient or len(op.no_gradient.split()) > 3, (
            f"{op.name}: {op.no_gradient!r} is no reason"
        )


def test_every_rule_and_every_expansion_is_measured_here() -> None:
    """And every operand that may be absent is there in one case and absent in another."""
    operations = [operation for case in CASES.values() for operation in used(case)]
    wanted = {op.name for op in tensor_ops() if not op.no_gradient}
    # A layer norm with its statistics is what training makes of a layer norm.
    assert {operation.op for operation in operations} >= wanted - {"layer_norm_statistics"}
    for op in tensor_ops():
        # How many parts are joined is the axis's matter.
        if op.name not in wanted - {"layer_norm_statistics", "join_heads", "put_together"}:
            continue
        for place, name in enumerate(op.operands):
            if name.endswith("?"):
                given = {
                    len(one.operands) > place and one.operands[place] is not None
                    for one in operations
                    if one.op == op.name
                }
                assert given == {True, False}, f"{op.name}: {name}"


@pytest.mark.parametrize("name", CASES)
def test_a_gradient_is_the_difference(name: str) -> None:
    found = compare(CASES[name])
    assert_close(found)
    # What reaches an output has a gradient: a rule that gives none would pass as zero.
    assert any(abs(slope).max() > 1e-3 for slope in found.differences.values())


# Blocks at random

FLAT = "float[B, S, (heads width)]"
SMOOTH = [kind for kind in KINDS if kind != "relu"]
"""A difference may step over the kink of a relu."""


class Growing:
    """A block that gets one line after the other; ``h0``, ``h1``, ... are its values [B, S, hidden]."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 2

    def name(self) -> str:
        self.count += 1
        return f"h{self.count - 1}"

    def put(self, op: str, operands: str, type_: str = X, attributes: str = "") -> str:
        """A line that makes a new value, which it names."""
        made = self.name()
        given = f" {{{attributes}}}" if attributes else ""
        self.lines.append(f"%{made} = {op}({operands}){given} : {type_}")
        return f"%{made}"

    def weight(self, type_: str) -> str:
        made = self.name()
        self.lines.append(param(made, type_).strip())
        return f"%{made}"

    def projected(self, x: str, biased: bool, dim: str = "(heads width)", of: str = "hidden") -> str:
        bias = f", {self.weight(f'float[{dim}]')}" if biased else ""
        made = f"float[B, S, {dim}]"
        return self.put("linear", f"{x}, {self.weight(f'float[{dim}, {of}]')}{bias}", made)


@st.composite
def blocks(draw: st.DrawFn) -> Case:
    """Eight ops at most, whose values stay of size 1, so that the third derivatives do."""
    growing = Growing()
    values = ["%h0", "%h1"]

    def some() -> str:
        return draw(st.sampled_from(values))

    for _ in range(draw(st.integers(1, 8))):
        x, flag = some(), draw(st.booleans())
        step = draw(
            st.sampled_from(["binary", "activate", "norm", "attention", "project", "row", "where", "look up"])
        )
        if step == "binary":
            op = draw(st.sampled_from(["add", "subtract", "multiply"]))
            row = growing.weight("float[hidden]") if flag else some()
            made = growing.put("activate", growing.put(op, f"{x}, {row}"), attributes="kind = 'tanh'")
        elif step == "activate":
            made = growing.put("activate", x, attributes=f"kind = '{draw(st.sampled_from(SMOOTH))}'")
        elif step == "norm" and flag:
            made = growing.put("softmax", x)
        elif step == "norm":
            operands = f"{x}, {growing.weight('float[hidden]')}, {growing.weight('float[hidden]')}"
            made = growing.put("layer_norm", operands, attributes="eps = 0.5")
        elif step == "attention":
            heads = [growing.put("rearrange", growing.projected(x, flag), HEADS) for _ in range(3)]
            seen = f"causal = {str(draw(st.booleans())).lower()}, dropout = p"
            mask = ", %mask" if draw(st.booleans()) else ""
            a = growing.put("attention", ", ".join(heads) + mask, HEADS, seen)
            back = growing.projected(growing.put("rearrange", a, FLAT), flag, "hidden", "(heads width)")
            made = growing.put("activate", back, attributes="kind = 'tanh'")
        elif step == "project":
            wide = growing.put(
                "activate", growing.projected(x, flag, "inner"), "float[B, S, inner]", "kind = act"
            )
            back = growing.projected(wide, not flag, "hidden", "inner")
            made = growing.put("activate", back, attributes="kind = 'tanh'")
        elif step == "row":
            over = draw(st.sampled_from(["B", "S"]))
            less = f"float[{'S' if over == 'B' else 'B'}, hidden]"
            taken = f'over = "{over}"' if flag else f'kind = "mean", over = "{over}"'
            made = growing.put("add", f"{x}, {growing.put('first' if flag else 'reduce', x, less, taken)}")
        elif step == "where":
            made = growing.put("dropout", growing.put("where", f"%mask, {x}", attributes="otherwise = 0.5"))
            growing.lines[-1] = growing.lines[-1].replace(" : ", " {p = 0.1} : ")
        else:
            made = growing.put("embedding", f"%ids, {growing.weight('float[vocab, hidden]')}")
        values.append(made)
    outputs = [values[-1], *draw(st.lists(st.sampled_from(values), max_size=2))]
    returns = ", ".join(f"y{place} = {value}" for place, value in enumerate(outputs))
    return Case("\n".join(growing.lines), f"%h0: {X}, %h1: {X}, %mask: bool[B, S], {IDS}", returns)


@given(blocks(), st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None)
def test_blocks_at_random_have_the_gradients_of_differences(case: Case, seed: int) -> None:
    """And what the pass makes verifies, and its text parses back: ``compare`` asks for both."""
    assert_close(compare(case, along=np.random.default_rng(seed)))


@pytest.mark.deep
@given(blocks(), st.integers(0, 1 << 30))
@settings(max_examples=1500, deadline=None)
def test_many_blocks_at_random_have_the_gradients_of_differences(case: Case, seed: int) -> None:
    assert_close(compare(case, along=np.random.default_rng(seed)))
