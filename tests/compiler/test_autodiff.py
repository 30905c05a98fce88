"""The backward that is derived of a block, in IR text: what it saves, says again, costs, hands over and refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ttmlc.api import compile_spec
from ttmlc.ir.module import Function, Kind, Module, Operation
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.ir.types import SavedType
from ttmlc.ir.verify import VerificationError, verify
from ttmlc.passes.autodiff import Autodiff
from ttmlc.source import DiagnosticError

from tests.compiler.gradient_cases import (
    HEAD,
    HEADS,
    IDS,
    Case,
    X,
    assert_close,
    compare,
    differentiated,
    param,
)

SQUARE = param("w", "float[hidden, hidden]")
LINEAR = f"{SQUARE}%l = linear(%x, %w) : {X}\n"


RELABELLED = f"""%r = relabel(%x) {{source = "S", to = "S'"}} : float[B, S', hidden]
%c = contract(%x, %r) {{over = "hidden"}} : float[B, S, S']
%y = contract(%c, %r) {{over = "S'"}} : {X}"""
TABLE = f"{param('t', 'float[vocab, hidden]')}%e = embedding(%ids, %t) : {X}\n"


def derived(case: Case) -> tuple[Function, Function]:
    module = differentiated(case.module)
    return module.function("A.forward"), module.function("A.backward")


def names(function: Function) -> list[str]:
    return [value.name for value in function.saved]


def ops(function: Function) -> list[str]:
    return [operation.op for operation in function.operations]


def lines(function: Function, module: Module) -> list[str]:
    text = print_module(dataclasses.replace(module, functions=(function,)))
    return [line.strip() for line in text[text.index("\n\n") :].strip().splitlines()]


# What a whole pair is


def test_a_pair_reads_as_it_should() -> None:
    body = f"""{param("w", "float[hidden, hidden]")}{param("b", "float[hidden]")}
        %l = linear(%x, %w, %b) : {X}
        %u = activate(%l) {{kind = act}} : {X}
        %s = add(%x, %u) : {X}
        {param("g", "float[hidden]")}%y = layer_norm(%s, %g) {{eps = eps}} : {X}"""
    case = Case(body.replace("\n\n", "\n"))
    forward, backward = derived(case)
    assert lines(forward, case.module)[-3:] == [
        "saved %x, %l, %s, %mean, %rstd",
        "return y = %y",
        "end",
    ]
    rows, vector = "float[B, S]", "float[hidden]"
    assert lines(backward, case.module) == [
        f"backward A.backward(%x: {X}, %l: {X}, %s: {X}, %mean: {rows}, %rstd: {rows}, %dy: {X})",
        '%g = param() {at = "g", init = !ones()} : float[hidden]',
        '%w = param() {at = "w", init = !ones()} : float[hidden, hidden]',
        '%b = param() {at = "b", init = !ones()} : float[hidden]',
        f"%ds, %dweight = layer_norm_gradient(%dy, %s, %mean, %rstd, %g) : {X}, {vector}",
        "gradient(%g, %dweight)",
        f"%dl = activate_gradient(%ds, %l) {{kind = act}} : {X}",
        f"%dx = linear_input_gradient(%dl, %w) : {X}",
        "%dw = linear_weight_gradient(%dl, %x, %w) : float[hidden, hidden]",
        "gradient(%w, %dw)",
        f"%db = sum_to(%dl) : {vector}",
        "gradient(%b, %db)",
        f"%dx_2 = add(%ds, %dx) : {X}",
        "saved %x, %l, %s, %mean, %rstd",
        "return x = %dx_2",
        "end",
    ]
    assert_close(compare(case))


# What is saved


@pytest.mark.parametrize(
    ("body", "saved"),
    [
        (f"%y = add(%x, %x) : {X}", []),
        (f"%y = multiply(%x) {{scalar = 3}} : {X}", []),
        (f"%y = exp(%x) : {X}", ["y"]),
        (f"%y = activate(%x) {{kind = 'tanh'}} : {X}", ["x"]),
        (f"%y = softmax(%x) : {X}", ["y"]),
        (f"%y = dropout(%x) {{p = p}} : {X}", []),
        (f"{LINEAR}%y = add(%l, %l) : {X}", ["x"]),
        (f"{LINEAR}%y = multiply(%l, %x) : {X}", ["x", "l"]),
        (f"{param('g', 'float[hidden]')}%y = layer_norm(%x, %g) {{eps = eps}} : {X}", ["x", "mean", "rstd"]),
        (RELABELLED, ["x", "c"]),
    ],
)
def test_what_the_backward_reads_is_saved_and_nothing_else(body: str, saved: list[str]) -> None:
    case = Case(body)
    forward, backward = derived(case)
    assert names(forward) == names(backward) == saved
    read = {value.name for operation in backward.operations for value in operation.reads()}
    assert set(saved) <= read
    assert [given.value.name for given in backward.inputs][:-1] == saved
    assert_close(compare(case))


def test_every_block_of_bert_saves_what_it_reads_and_nothing_else() -> None:
    module = compile_spec(Path(__file__).parents[2] / "specs/models/bert.spec").stages
    derived_module = next(stage.module for stage in module if stage.name == "autodiff")
    backwards = [function for function in derived_module.functions if function.kind is Kind.BACKWARD]
    assert len(backwards) > 2
    for backward in backwards:
        read = {value for operation in backward.operations for value in operation.reads()}
        read |= {value for _, value in backward.outputs}
        assert set(backward.saved) <= read, backward.name
        assert backward.saved == derived_module.function(backward.name.replace("back", "for")).saved
        # A parameter is never saved: it is there.
        params = {o.result for o in backward.operations if o.op in ("param", "join")}
        assert params
        assert not params & set(backward.saved)


def test_a_parameter_is_said_again_and_not_saved() -> None:
    forward, backward = derived(Case(f"{LINEAR}%y = activate(%l) {{kind = act}} : {X}"))
    assert "w" not in names(forward)
    assert [o for o in backward.operations if o.op == "param"] == [
        o for o in forward.operations if o.op == "param"
    ]


def test_joined_parameters_are_said_again_and_get_one_gradient() -> None:
    parts = "".join(param(f"w{n}", "float[(heads width), hidden]") for n in "qkv")
    flat = "{(heads width) + (heads width) + (heads width)}"
    body = (
        f"{parts}%w = join(%wq, %wk, %wv) : float[{flat}, hidden]\n%j = linear(%x, %w) : float[B, S, {flat}]\n"
        f"%q, %k, %v = split_heads(%j) : {HEADS}, {HEADS}, {HEADS}\n%y = attention(%q, %k, %v) : {HEADS}"
    )
    case = Case(body)
    _, backward = derived(case)
    assert [op for op in ops(backward) if op in ("param", "join")] == ["param", "param", "param", "join"]
    assert ops(backward).count("gradient") == 1
    found = compare(case)
    assert set(found.derived) == {"x", "wq", "wk", "wv"}
    assert_close(found)


# What costs nothing


def test_integers_and_masks_cost_nothing() -> None:
    body = f"{TABLE}%y = where(%mask, %e) {{otherwise = 0}} : {X}"
    case = Case(body, f"{IDS}, %mask: bool[B, S]")
    forward, backward = derived(case)
    assert names(forward) == ["ids", "mask"]
    assert backward.outputs == ()
    assert ops(backward) == ["param", "where", "embedding_gradient", "gradient"]
    assert_close(compare(case))


def test_what_no_output_reads_costs_nothing() -> None:
    dead = param("u", "float[inner, hidden]")
    body = f"{LINEAR}{dead}%n = linear(%x, %u) : float[B, S, inner]\n%y = activate(%l) {{kind = act}} : {X}"
    _, backward = derived(Case(body))
    gradients = [o.operands[0].name for o in backward.operations if o.op == "gradient" and o.operands[0]]
    assert gradients == ["w"]
    assert "u" not in {value.name for o in backward.operations for value in o.results}


def test_an_input_that_only_an_integer_path_reads_gets_no_gradient() -> None:
    _, backward = derived(Case(f"%y = add(%x, %x) : {X}", f"%x: {X}, {IDS}"))
    assert [name for name, _ in backward.outputs] == ["x"]


def test_a_gradient_that_nobody_needs_is_not_computed() -> None:
    """Of a linear by a given weight, over ids that were looked up: no more than the two that lead somewhere."""
    body = f"{TABLE}%y = linear(%e, %w) : float[B, S, inner]"
    _, backward = derived(Case(body, f"{IDS}, %w: float[inner, hidden]"))
    assert sorted(ops(backward)) == [
        "embedding_gradient",
        "gradient",
        "linear_input_gradient",
        "linear_weight_gradient",
        "param",
    ]


# Several readers


def test_several_readers_add_up() -> None:
    body = f"{LINEAR}%a = activate(%l) {{kind = 'tanh'}} : {X}\n%b = multiply(%a, %l) : {X}\n%y = add(%b, %x) : {X}"
    case = Case(body, returns="y = %y, l = %l, again = %y")
    forward, _ = derived(case)
    assert len(forward.outputs) == 3
    assert_close(compare(case))


def test_a_parameter_that_is_read_twice_gets_one_sum() -> None:
    case = Case(f"{LINEAR}%m = linear(%l, %w) : {X}\n%y = activate(%m) {{kind = act}} : {X}")
    _, backward = derived(case)
    assert ops(backward).count("gradient") == 1
    assert ops(backward).count("add") == 1
    assert_close(compare(case))


TIED = """block Decoder(%x: float[B, S, hidden], param %word: float[vocab, hidden])
  %w = param(%word) {at = "decoder", init = !ones(), when = turned} : float[vocab, hidden]
  %y = linear(%x, %w) : float[B, S, vocab]
  return y = %y
end

"""


def tied() -> Module:
    body = (
        '  %word = param() {at = "word", init = !ones(), zero_row = 2} : float[vocab, hidden]\n'
        f"  %e = embedding(%ids, %word) : {X}\n"
        '  %y = call(%e, %word) {at = "head", block = "Decoder"} : float[B, S, vocab]\n'
    )
    return parse_module(f"{HEAD}{TIED}block A({IDS})\n{body}  return y = %y\nend\n")


@pytest.mark.parametrize("is_tied", [False, True])
def test_a_parameter_that_stands_for_another_adds_to_its_gradient(is_tied: bool) -> None:
    """The padding row learns from the decoder where that is the table, and from lookups never, as in torch."""
    case = Case("", fields={"turned": is_tied}, without={} if is_tied else {"word": 2})
    found = compare(case, module=tied())
    if not is_tied:
        assert set(found.derived) == {"word", "head.decoder"}
        assert_close(found)
        return
    assert set(found.derived) == {"word"}
    rest = [0, 1, 3, 4]
    slope = found.differences["word"]
    assert abs(found.derived["word"] - slope)[rest].max() < 1e-7 * max(1.0, abs(slope).max())
    assert abs(found.derived["word"][2]).max() > 1e-3  # from the decoder
    assert found.differences.pop("head.decoder").max() == 0


# Dropout


def test_a_site_is_one_number_in_forward_and_backward() -> None:
    body = f"%a = dropout(%x) {{p = p}} : {X}\n{LINEAR}%b = dropout(%l) {{p = 0.5}} : {X}\n%y = multiply(%a, %b) : {X}"
    forward, backward = derived(Case(body))
    sites = [dict(o.attributes) for o in forward.operations if o.op == "dropout"]
    assert [str(one["site"]) for one in sites] == ["Const(value=1)", "Const(value=2)"]
    back = [dict(o.attributes) for o in backward.operations if o.op == "dropout"]
    assert sorted(map(str, back)) == sorted(map(str, sites))


def test_every_dropout_of_a_block_has_its_own_site_also_those_of_expansions() -> None:
    body = f"%a = attention(%x, %x, %x) {{dropout = p}} : {HEADS}\n%y = dropout(%a) {{p = p}} : {HEADS}"
    forward, backward = derived(Case(body, f"%x: {HEADS}"))
    for function in (forward, backward):
        found = [str(o.get("site")) for o in function.operations if o.op == "dropout"]
        assert len(set(found)) == len(found) == 2


# Blocks in blocks

INNER = f"""block Inner(%x: {X}, %mask: bool[B, S])
  %w = param() {{at = "w", init = !ones()}} : float[hidden, hidden]
  %l = linear(%x, %w) : {X}
  %y = where(%mask, %l) {{otherwise = 0}} : {X}
  %t = activate(%l) {{kind = act}} : {X}
  return y = %y, t = %t
end

"""


def nested(returns: str, middle: str = "") -> Module:
    body = (
        f'  %a, %s = call(%x, %mask) {{at = "one", block = "Inner"}} : {X}, {X}\n'
        f'  %b, %t = call(%a, %mask) {{at = "two", block = "Inner"}} : {X}, {X}\n{middle}'
    )
    return parse_module(f"{HEAD}{INNER}block A(%x: {X}, %mask: bool[B, S])\n{body}  return {returns}\nend\n")


def test_a_call_in_a_block_is_a_call_back() -> None:
    module = nested("y = %y", f"  %y = multiply(%t, %x) : {X}\n")
    made = differentiated(module)
    forward, backward = made.function("A.forward"), made.function("A.backward")
    saves = [isinstance(o.results[-1].type, SavedType) for o in forward.operations if o.op == "call"]
    assert saves == [True, True]
    calls = [operation for operation in backward.operations if operation.op == "call_backward"]
    assert [call.get("at") for call in calls] == ["two", "one"]
    # Of two results one is read: the other's gradient is zeros, and of the mask there is none.
    assert ops(backward).count("zeros") == 2
    assert [len(call.results) for call in calls] == [1, 1]
    found = compare(Case(""), module=module)
    assert set(found.derived) == {"x", "one.w", "two.w"}
    assert_close(found)


def test_a_call_whose_results_nobody_reads_is_not_called_back() -> None:
    backward = differentiated(nested("a = %a")).function("A.backward")
    assert [o.get("at") for o in backward.operations if o.op == "call_backward"] == ["one"]


def test_one_block_under_one_path_twice_adds_up() -> None:
    module = parse_module(print_module(nested("y = %b, t = %t")).replace('at = "two"', 'at = "one"'))
    found = compare(Case(""), module=module)
    assert set(found.derived) == {"x", "one.w"}
    assert_close(found)


# Refusals

REPEAT = f"""%h = repeat(%x) {{at = "l.{{i}}", count = 2, index = "i"}} : {X}
do (%z: {X})
%k = exp(%z) : {X}
yield %k
%y = exp(%h) : {X}"""


def test_a_repeat_in_a_block_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(DiagnosticError, match="a repeat inside a block has no backward yet"):
        Autodiff().run(Case(REPEAT).module)
    from ttmlc.api import compile_text
    from ttmlc.source import SourceFile

    from tests.compiler.small_specs import HEAD as SMALL

    block = 'block Deep(x: [B, S, hidden]):\n    repeat i in layers at "l.{i}":\n        x = Inner(x)\n    return x\n'
    text = f'{SMALL}{block}\nmodel SmallModel(ids: int[B, S]):\n    param word: [vocab, hidden] at "word"\n'
    text += '    return h=Deep(word[ids], at="d")\n'
    with pytest.raises(DiagnosticError) as caught:
        compile_text(SourceFile("small.spec", text), tmp_path / "small.spec")
    message = str(caught.value)
    line = text[: text.index("repeat i in layers")].count("\n") + 1
    assert f"small.spec:{line}:5: error" in message
    assert "a repeat inside a block has no backward yet" in message


def test_a_maximum_is_refused() -> None:
    body = f'%m = reduce(%x) {{kind = "max", over = "S"}} : float[B, hidden]\n%y = subtract(%x, %m) : {X}'
    with pytest.raises(DiagnosticError, match="no gradient goes through a maximum"):
        Autodiff().run(Case(body).module)


# Types


def test_types_are_checked_again_after_the_pass() -> None:
    """A backward whose gradient has another type than what it is of does not pass the verifier."""
    made = differentiated(Case(f"{LINEAR}%y = exp(%l) : {X}").module)
    text = print_module(made)
    place = text.index("backward A.backward")
    line = "%dw = linear_weight_gradient(%dl, %x, %w) : float[hidden, hidden]"
    assert line in text[place:]
    wrong = text[:place] + text[place:].replace(line, "%dw = sum_to(%dl) : float[hidden]")
    with pytest.raises(VerificationError, match="does not fit"):
        verify(parse_module(wrong))
    assert _gradient_types(made) == [(X, X)]


def _gradient_types(module: Module) -> list[tuple[str, str]]:
    backward, block = module.function("A.backward"), module.function("A")
    types = {given.value.name: str(given.value.type) for given in block.inputs}
    return [(types[name], str(value.type)) for name, value in backward.outputs]


def test_gradients_of_inputs_have_the_types_of_inputs() -> None:
    """Also where an input was repeated along axes, or its axes come in another order."""
    inputs = f"%x: {X}, %z: float[hidden, S], %s: float[B]"
    body = f"%a = multiply(%x, %z) : {X}\n%y = add(%a, %s) : {X}"
    case = Case(body, inputs)
    made = differentiated(case.module)
    assert all(want == found for want, found in _gradient_types(made))
    assert len(_gradient_types(made)) == 3
    assert_close(compare(case))


def test_names_never_clash() -> None:
    """A spec may call its values what the pass would call gradients."""
    body = f"%dx = exp(%x) : {X}\n%dy = multiply(%dx, %x) : {X}\n%y = add(%dy, %dmean) : {X}"
    assert_close(compare(Case(body, f"%x: {X}, %dmean: {X}")))


def test_the_block_itself_stays_as_it_was() -> None:
    module = Case(f"%y = softmax(%x) : {X}").module
    made = Autodiff().run(module).module
    assert made.function("A") == module.function("A")
    assert [function.kind for function in made.functions] == [Kind.BLOCK, Kind.FORWARD, Kind.BACKWARD]


def test_operations_of_the_backward_point_at_lines_of_the_spec() -> None:
    stages = compile_spec(Path(__file__).parents[2] / "specs/models/bert.spec").stages
    module = next(stage.module for stage in stages if stage.name == "autodiff")
    backwards: list[Operation] = [
        operation
        for function in module.functions
        if function.kind is Kind.BACKWARD
        for operation in function.operations
    ]
    assert all(operation.span is not None for operation in backwards)
