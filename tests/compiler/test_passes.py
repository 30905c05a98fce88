"""Passes, in IR text: what they do, and why they decline."""

from __future__ import annotations

from pathlib import Path

import pytest
from ttmlc.ir.module import Level, Module
from ttmlc.ir.parse import parse_module
from ttmlc.ir.scalar import Const
from ttmlc.ir.text import print_module
from ttmlc.passes.base import Declined
from ttmlc.passes.fusion.activation import FuseActivation
from ttmlc.passes.fusion.engine import Fuse, Rule
from ttmlc.passes.fusion.heads import FuseHeads
from ttmlc.passes.fusion.residual import FuseResidual
from ttmlc.passes.fusion.views import SinkViews
from ttmlc.passes.lower import Lower
from ttmlc.passes.pipeline import pipeline, run
from ttmlc.passes.prune import Prune
from ttmlc.passes.specialise import Specialise
from ttmlc.source import DiagnosticError

TINY = (Path(__file__).parent / "tiny.ir").read_text()
HEAD = """module t ttnn from "t.spec"
doc "T."
passes []
config T for "t"
  field act: activation = 'gelu'
end

"""
X = "bfloat16[@B, 1, @S, 96] tile"
HEADS = "bfloat16[@B, 3, @S, 32] tile"


def block(body: str, inputs: str = f"%x: {X}", returns: str = "y = %y") -> Module:
    return parse_module(HEAD + f"block A({inputs})\n{body}\n  return {returns}\nend\n")


def apply(rule: Rule, module: Module) -> tuple[list[str], tuple[Declined, ...]]:
    outcome = Fuse(rule).run(module)
    lines = [line.strip() for line in print_module(outcome.module).splitlines() if line.startswith("  %")]
    return [line for line in lines if " = storage" not in line], outcome.declined


def storage(name: str, *shape: int) -> str:
    sizes = ", ".join(map(str, shape))
    return (
        f'  %{name} = storage() {{chain = !parameter(["{name}"], [{sizes}], !zeros()), holder = "{name}", '
        f'shape = [{sizes}], slot = "weight"}} : bfloat16[{sizes}] tile\n'
    )


WEIGHT = storage("w", 96, 96)
LINEAR = f"{WEIGHT}  %l = ttnn.linear(%x, %w) : {X}\n"


def test_an_activation_moves_into_its_linear() -> None:
    lines, declined = apply(FuseActivation(), block(LINEAR + f"  %y = nn.activate(%l) {{kind = act}} : {X}"))
    assert lines == [f"%y = ttnn.linear(%x, %w) {{activation = act}} : {X}"]
    assert declined == ()


def test_an_activation_stays_where_the_linear_has_another_reader() -> None:
    body = LINEAR + f"  %u = nn.activate(%l) {{kind = act}} : {X}\n  %y = ttnn.add(%l, %u) : {X}"
    lines, (declined,) = apply(FuseActivation(), block(body))
    assert len(lines) == 3
    assert declined.reason == "%l has another reader"


def test_a_second_activation_stays() -> None:
    body = (
        LINEAR.replace("(%x, %w)", "(%x, %w) {activation = 'tanh'}")
        + f"  %y = nn.activate(%l) {{kind = act}} : {X}"
    )
    _, (declined,) = apply(FuseActivation(), block(body))
    assert declined.reason == "%l has an activation already"


NORM = f"{storage('g', 96)}  %y = ttnn.layer_norm(%s, %g) {{epsilon = 1e-12}} : {X}"


def test_a_residual_moves_into_its_norm() -> None:
    lines, declined = apply(FuseResidual(), block(f"{LINEAR}  %s = ttnn.add(%x, %l) : {X}\n{NORM}"))
    assert lines[-1] == f"%y = ttnn.layer_norm(%l, %g, none, %x) {{epsilon = 1e-12}} : {X}"
    assert declined == ()


def test_a_residual_stays_where_the_sum_is_read_again() -> None:
    body = f"{LINEAR}  %s = ttnn.add(%x, %l) : {X}\n{NORM}"
    _, (declined,) = apply(FuseResidual(), block(body, returns="y = %y, s = %s"))
    assert declined.reason == "%s has another reader"


def test_a_residual_stays_where_it_broadcasts() -> None:
    row = "bfloat16[1, 1, 1, 96] tile"
    body = f"{LINEAR}  %s = ttnn.add(%l, %r) : {X}\n{NORM}"
    _, (declined,) = apply(FuseResidual(), block(body, inputs=f"%x: {X}, %r: {row}"))
    assert declined.reason == "%l and %r differ in shape"


def test_a_number_that_is_added_is_no_residual() -> None:
    body = f"{LINEAR}  %s = ttnn.add(%l) {{scalar = 9}} : {X}\n{NORM}"
    lines, declined = apply(FuseResidual(), block(body))
    assert lines[-1].startswith("%y = ttnn.layer_norm(%s, %g)")
    assert declined == ()


ATTENTION = f"  %a = ttnn.sdpa(%q, %q, %q) : {HEADS}\n"
JOIN = f"  %y = ttnn.concat_heads(%a) : {X}"


def test_attention_joins_its_heads() -> None:
    lines, _ = apply(FuseHeads(), block(ATTENTION + JOIN, inputs=f"%q: {HEADS}"))
    assert lines == [f"%y = ttnn.sdpa(%q, %q, %q) {{concat_heads = true}} : {X}"]


def test_heads_stay_apart_where_they_are_read() -> None:
    _, (declined,) = apply(
        FuseHeads(), block(ATTENTION + JOIN, inputs=f"%q: {HEADS}", returns="y = %y, a = %a")
    )
    assert declined.reason == "%a has another reader"


ROWS = "bfloat16[@B, @S, 96] tile"
VIEWS = "".join(f"  %{n}v = ttnn.reshape(%{n}) {{shape = [@B, 1, @S, 96]}} : {X}\n" for n in "pr")


def test_views_move_behind_what_reads_them() -> None:
    lines, _ = apply(
        SinkViews(), block(f"{VIEWS}  %y = ttnn.add(%pv, %rv) : {X}", inputs=f"%p: {ROWS}, %r: {ROWS}")
    )
    assert [line.split(" = ")[1].split("(")[0] for line in lines] == ["ttnn.add", "ttnn.reshape"]


def test_a_view_that_is_read_twice_stays() -> None:
    _, (declined,) = apply(
        SinkViews(),
        block(f"{VIEWS}  %y = ttnn.add(%pv, %rv) : {X}", f"%p: {ROWS}, %r: {ROWS}", "y = %y, p = %pv"),
    )
    assert declined.reason == "%pv has another reader"


# Passes of the tensor level


def test_prune_drops_what_nothing_reads() -> None:
    text = TINY.replace(", pooler_output = %pooled", "")
    pruned = print_module(Prune().run(parse_module(text)).module)
    assert "pooler.dense" not in pruned
    assert "self.query" in pruned


def test_prune_drops_blocks_that_nobody_calls() -> None:
    text = TINY.replace("last_hidden_state = %h_2, pooler_output = %pooled", "h = %h")
    assert [function.name for function in Prune().run(parse_module(text)).module.functions] == ["TinyModel"]


def test_specialise_folds_sizes_and_remembers_what_for() -> None:
    module = Specialise((("hidden", 64), ("heads", 2)), "small").run(parse_module(TINY)).module
    axes = {axis.name: axis.size for op in module.functions[0].walk() for axis in op.result.type.axes()}  # type: ignore[union-attr]  # all are tensors here
    assert axes["hidden"] == Const(64)
    assert axes["head_dim"] == Const(32)
    assert dict(module.build.fields)["hidden"] == 64


def test_lowering_writes_down_what_it_relies_on() -> None:
    module = run(parse_module(TINY), pipeline())[-1].module
    assert module.level is Level.DEVICE
    (fact,) = module.facts
    assert "head_dim {head_dim} is no multiple of 32" in fact.message


def test_a_specialised_build_pads_heads_in_the_storages() -> None:
    module = run(parse_module(TINY), pipeline([("hidden", 144)], "odd"))[-1].module
    text = print_module(module)
    assert module.facts == ()
    # 3 heads of 48 become 3 of 64: in the rows of q, k and v, and in the columns of the output projection.
    # The block, its forward and its backward read the same storages, each of them told once.
    assert text.count("!pad(") == 3 * 7
    assert "bfloat16[144, 576] tile" in text
    assert "scale = 0.14433756729740646" in text


def test_lowering_refuses_where_it_must() -> None:
    wrong = TINY.replace("%d = dropout(%dense) {p = 0.1}", "%d = exp(%dense)")
    with pytest.raises(DiagnosticError, match="'exp' has no form on the device yet"):
        Lower().run(parse_module(wrong))


def test_equal_modules_give_equal_bytes() -> None:
    first, second = (print_module(run(parse_module(TINY), pipeline())[-1].module) for _ in range(2))
    assert first == second
