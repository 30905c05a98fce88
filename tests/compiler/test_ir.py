"""The IR: text both ways, the verifier's promises, a whole table of ops, and the reference against PyTorch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ttmlc.api import compile_spec
from ttmlc.ir import scalar
from ttmlc.ir.builder import Builder, Names
from ttmlc.ir.device import DeviceOp
from ttmlc.ir.evaluate import evaluate
from ttmlc.ir.module import Kind, Module, Operation, Value
from ttmlc.ir.op import TABLE, OpDef, Refusal, TensorOp
from ttmlc.ir.ops.loss import LOSSES
from ttmlc.ir.ops.structure import Structure
from ttmlc.ir.parse import parse_module
from ttmlc.ir.reader import IRSyntaxError
from ttmlc.ir.scalar import Apply, Asked, Const, Dynamic, Field, Index, Scalar
from ttmlc.ir.text import print_module
from ttmlc.ir.types import BATCH, TOKENS, Axis, DType, Role, TensorType
from ttmlc.ir.verify import VerificationError, verify
from ttmlc.passes.lowering.rules import NOT_YET, RULES
from ttmlc.passes.pipeline import pipeline

ROOT = Path(__file__).resolve().parents[2]
BERT = ROOT / "specs/models/bert.spec"
TINY = (Path(__file__).parent / "tiny.ir").read_text()
HIDDEN = Axis("hidden", Const(96), Role.FEATURES)


# Text


@pytest.fixture(scope="module", params=["", "bert-tiny"], ids=["generic", "specialised"])
def stages(request: pytest.FixtureRequest) -> dict[str, Module]:
    return {stage.name: stage.module for stage in compile_spec(BERT, preset=request.param).stages}


@pytest.mark.parametrize("name", ["elaborate", *(step.name for step in pipeline())])
def test_what_is_printed_parses_back_at_every_stage(stages: dict[str, Module], name: str) -> None:
    assert parse_module(print_module(stages[name])) == stages[name]


def scalars() -> st.SearchStrategy[Scalar]:
    leaves: st.SearchStrategy[Scalar] = st.one_of(
        st.integers(0, 99).map(Const),
        st.sampled_from([0.5, 1e-12, 2.0]).map(Const),
        st.sampled_from([True, False, None, "gelu"]).map(Const),
        st.sampled_from(["hidden", "heads"]).map(Field),
        st.just(Dynamic("S")),
        st.just(Index("i")),
        st.sampled_from(scalar.QUESTIONS).map(lambda question: Asked("x", question)),
    )
    names = sorted(scalar.OPERATORS)

    def grow(inner: st.SearchStrategy[Scalar]) -> st.SearchStrategy[Scalar]:
        return st.sampled_from(names).flatmap(
            lambda op: st.tuples(*[inner] * scalar.OPERATORS[op].arity).map(lambda args: Apply(op, args))
        )

    return st.recursive(leaves, grow, max_leaves=10)


@given(scalars())
@settings(max_examples=400, deadline=None)
def test_any_scalar_parses_back(value: Scalar) -> None:
    module = parse_module(TINY)
    function = module.function("TinyModel")
    changed = dataclasses.replace(
        function,
        operations=tuple(
            dataclasses.replace(op, attributes=(*op.attributes[:1], ("count", value), *op.attributes[2:]))
            if op.op == "repeat"
            else op
            for op in function.operations
        ),
    )
    module = module.map_functions(lambda f: changed if f.name == "TinyModel" else f)
    assert parse_module(print_module(module)) == module


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("module tiny tensor", "module tiny tensor tensor", "expected 'from'"),
        ("linear(%x, %qw, %qb)", "linear(%x, %qz, %qb)", "a value made before %qz"),
        ("float[B, S, hidden]", "float[B, S, hiden]", "no axis 'hiden'"),
        ("end\n", "", "expected"),
        ("doc", "$", "stray character"),
    ],
)
def test_malformed_text_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    with pytest.raises(IRSyntaxError, match=r"line \d+") as caught:
        parse_module(TINY.replace(old, new))
    assert message in str(caught.value)


# The verifier


def broken(old: str, new: str) -> str:
    assert old in TINY
    with pytest.raises(VerificationError) as caught:
        verify(parse_module(TINY.replace(old, new)))
    return str(caught.value)


def test_a_value_is_made_once() -> None:
    assert "%d is made twice" in broken(
        "%s = add(%x, %d) : float[B, S, hidden]",
        "%d = add(%x, %d) : float[B, S, hidden]\n  %s = add(%x, %d) : float[B, S, hidden]",
    )


def test_an_op_is_declared() -> None:
    assert "no such op" in broken("%d = dropout(%dense)", "%d = dropuot(%dense)")


def test_an_attribute_is_declared() -> None:
    assert "no attribute 'q'" in broken("{p = 0.1}", "{p = 0.1, q = 1}")


def test_a_required_attribute_is_there() -> None:
    assert "'eps' is missing" in broken(" {eps = eps}", "")


def test_a_result_has_the_type_that_is_inferred() -> None:
    assert "makes" in broken(
        "%dense = linear(%a, %ow) : float[B, S, hidden]", "%dense = linear(%a, %ow) : float[B, S]"
    )


def test_a_call_fits_its_block() -> None:
    assert "no block 'Atention'" in broken('block = "Attention"', 'block = "Atention"')


# The table


def declared() -> list[OpDef]:
    return list(TABLE.ops.values())


def test_every_op_has_prose() -> None:
    assert [op.name for op in declared() if not (type(op).__doc__ or "").strip()] == []


def defines(op: OpDef, method: str, base: type) -> bool:
    return getattr(type(op), method) is not getattr(base, method)


def test_every_tensor_op_says_how_it_treats_axes_and_what_it_costs() -> None:
    ops = [op for op in declared() if isinstance(op, TensorOp)]
    assert len(ops) > 20
    for op in ops:
        assert defines(op, "axes", TensorOp), op.name
        assert defines(op, "cost", TensorOp), op.name
        # where operands do not decide the result's type, whoever builds it states it, and the op checks that
        assert defines(op, "infer", OpDef) or defines(op, "check_types", TensorOp), op.name
        if not isinstance(op, Structure):  # calls and repeats are the evaluator's own
            assert defines(op, "expand" if op.composite else "reference", TensorOp), op.name


def test_every_tensor_op_is_lowered_or_only_comes_of_expansions() -> None:
    ops = {op.name for op in declared() if isinstance(op, TensorOp)}
    assert ops == set(RULES) | NOT_YET
    assert not set(RULES) & NOT_YET


def test_every_device_op_says_what_python_calls() -> None:
    ops = [op for op in declared() if isinstance(op, DeviceOp)]
    # What the constructor makes, what a holder's `accumulate` takes several of at once, a statement, a choice.
    others = {"storage", "parameter", "accumulate", "input.default", "mask.picked"}
    assert {op.name for op in ops if not op.callee} == others


def test_axis_rules_say_what_mixes_tokens() -> None:
    module = compile_spec(BERT).stages[0].module
    mixing = set()
    base, *_ = module.models  # of a head the labels may be shifted, which concerns no decoding
    for function in (base, *(one for one in module.functions if one.kind is Kind.BLOCK)):
        for operation in function.walk():
            if operation.op in ("param", "call", "repeat", *LOSSES):
                continue
            rules = TABLE.tensor(operation.op).axes(operation)
            if rules.get(TOKENS) is not None and rules[TOKENS].value in ("mixes", "reduces"):
                mixing.add(operation.op)
    # What decides whether decoding can be derived: only attention mixes, only `first` reduces.
    assert mixing == {"attention", "first"}


def test_costs_are_scalars_of_the_config() -> None:
    module = compile_spec(BERT).stages[0].module
    linear = next(op for op in module.function("FeedForward").walk() if op.op == "linear")
    flops = TABLE.tensor("linear").cost(linear).flops
    known = module.config.values({})
    assert scalar.evaluate(flops, known, {"B": 8, "S": 128}) == 2 * 8 * 128 * 768 * 3072


# Building


def value(*dims: Axis, dtype: DType = DType.FLOAT) -> Value:
    return Value("x", TensorType(dtype, dims))


def test_an_op_refuses_with_the_operand_at_fault() -> None:
    with pytest.raises(Refusal) as caught:
        Builder().add("linear", (value(BATCH, HIDDEN), Value("w", TensorType(DType.FLOAT, (HIDDEN, BATCH)))))
    assert caught.value.at == "x"
    assert "cannot contract" in caught.value.message


def test_names_are_the_wished_ones_with_numbers_for_ties() -> None:
    names = Names(["h"])
    assert [names.fresh("h"), names.fresh("q"), names.fresh("h")] == ["h_2", "q", "h_3"]


def test_equality_is_structural() -> None:
    a, b = (Operation("first", (value(BATCH, HIDDEN),), (("over", "S"),), ()) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)


# The reference


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (2, 7), (3, 33)])
@pytest.mark.parametrize("act", ["gelu", "gelu_new", "relu", "silu"])
def test_the_reference_is_what_transformers_computes(batch: int, tokens: int, act: str) -> None:
    torch = pytest.importorskip("torch", reason="parity is measured where torch is")
    from transformers import BertConfig, BertModel

    sizes = {"vocab": 99, "hidden": 96, "layers": 2, "heads": 3, "inner": 130, "positions": 40, "act": act}
    torch.manual_seed(0)
    theirs = BertModel(
        BertConfig(
            vocab_size=99,
            hidden_size=96,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=130,
            max_position_embeddings=40,
            hidden_act=act,
            attn_implementation="eager",
        )
    )
    theirs = theirs.double().eval()
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 99, (batch, tokens))
    mask = np.arange(tokens)[None] < rng.integers(1, tokens + 1, (batch, 1))
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask.astype(np.int64)))
    module = compile_spec(BERT).stages[0].module
    weights = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
    found = evaluate(module, "BertModel", sizes, weights, {"input_ids": ids, "attention_mask": mask})
    # Both compute in float64; what is left is the order of sums.
    assert np.abs(found["last_hidden_state"] - wanted.last_hidden_state.numpy())[mask].max() < 1e-12
    assert np.abs(found["pooler_output"] - wanted.pooler_output.numpy()).max() < 1e-12
