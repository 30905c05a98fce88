"""Tiny blocks in IR text, one for each form of each op that has a gradient, and their gradients by differences."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ttmlc.ir import scalar
from ttmlc.ir.evaluate import evaluate, gradients
from ttmlc.ir.module import Function, Module
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.ir.types import DType, TensorType
from ttmlc.ir.verify import verify
from ttmlc.passes.autodiff import Autodiff

HEAD = """module g tensor from "g.spec"
doc "G."
passes []
config G for "g"
  field act: activation = 'gelu'
  field eps: float = 1e-05
  field pad: token? = 1
  field turned: bool = false
  field causal: bool = true
  field p: float = 0.1
  field reach: size? = 2
end
axis B: batch = @B
axis S: tokens = @S
axis S': tokens = @S
axis hidden: features = 4
axis inner: features = 3
axis heads: features = 2
axis kv: features = 1
axis width: features = 2
axis vocab: features = 5
axis half: features = 1

"""
SIZES = {"B": 2, "S": 3}
STEP = 2e-4
# Four points: off by STEP^4 / 30 of the fifth derivative, 5e-17 of it, and by the rounding of losses over STEP. A loss
# is a sum of up to 150 numbers of size 1, each off by a few roundings of 1e-16: 1e-14 / 2e-4. The fifth derivatives of
# a few attentions one behind the other reach 1e8.
CLOSE = 1e-8


@dataclass(frozen=True)
class Case:
    """A block: its inputs and body, what it returns, and the fields of the config that are not the defaults."""

    body: str
    inputs: str = "%x: float[B, S, hidden]"
    returns: str = "y = %y"
    fields: dict[str, Any] = field(default_factory=dict)
    without: dict[str, int] = field(default_factory=dict)
    """Rows of parameters that get no gradient, by name."""
    constant: tuple[str, ...] = ()
    """Inputs that get no gradient."""

    @property
    def module(self) -> Module:
        lines = "".join(f"  {line.strip()}\n" for line in self.body.strip().split("\n"))
        return parse_module(f"{HEAD}block A({self.inputs})\n{lines}  return {self.returns}\nend\n")


def param(name: str, type_: str, rest: str = "") -> str:
    """A line that makes a parameter of its own name."""
    return f'%{name} = param() {{at = "{name}", init = !ones(){rest}}} : {type_}\n'


def differentiated(module: Module) -> Module:
    """What the pass makes of ``module``: it keeps every promise of the IR, and its text parses back to it."""
    made = Autodiff().run(module).module
    verify(module)
    verify(made)
    assert parse_module(print_module(made)) == made
    return made


def shape(module: Module, type_: TensorType, config: dict[str, Any]) -> list[int]:
    fields = module.config.values(config)
    return [int(scalar.evaluate(dim.size, fields, SIZES)) for dim in type_.dims]  # type: ignore[arg-type]  # sizes


def drawn(
    module: Module, function: Function, config: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values for the inputs and parameters of ``function`` and of what it calls; the first row of a mask is whole."""
    rng = np.random.default_rng(zlib.crc32(print_module(module).encode()))
    inputs: dict[str, Any] = {}
    for given in function.inputs:
        type_ = given.value.type
        assert isinstance(type_, TensorType)
        sizes = shape(module, type_, config)
        if type_.dtype is DType.INT:
            inputs[given.value.name] = rng.integers(0, 5, sizes)
        elif type_.dtype is DType.BOOL:
            inputs[given.value.name] = np.arange(sizes[-1]) < np.array([sizes[-1], 2])[:, None]
        else:
            inputs[given.value.name] = rng.normal(size=sizes)
    parameters: dict[str, Any] = {}

    def find(at: str, found: Function) -> None:
        for operation in found.walk():
            path = ".".join(word for word in (at, str(operation.get("at") or "")) if word)
            if operation.op == "param" and isinstance(operation.result.type, TensorType):
                parameters.setdefault(path, rng.normal(size=shape(module, operation.result.type, config)))
            elif operation.op == "call":
                find(path, module.function(operation.text("block")))

    find("", function)
    return inputs, parameters


@dataclass(frozen=True)
class Compared:
    """Gradients, derived and by differences, by the names of inputs and parameters."""

    derived: dict[str, Any]
    differences: dict[str, Any]


def compare(
    case: Case, block: str = "A", module: Module | None = None, along: np.random.Generator | None = None
) -> Compared:
    """Both gradients of a loss that weighs each output's elements at random; ``along`` one random direction each."""
    module = case.module if module is None else module
    made = differentiated(module)
    function = module.function(block)
    inputs, parameters = drawn(module, function, case.fields)
    rng = np.random.default_rng(7)
    weights = [
        rng.normal(size=shape(module, value.type, case.fields))
        for _, value in function.outputs
        if isinstance(value.type, TensorType)
    ]

    def loss() -> float:
        found = evaluate(module, block, case.fields, parameters, inputs)
        return sum(
            float((found[name] * w).sum()) for (name, _), w in zip(function.outputs, weights, strict=True)
        )

    result = gradients(made, block, case.fields, parameters, inputs, weights)
    outputs = evaluate(module, block, case.fields, parameters, inputs)
    for (name, _), value in zip(function.outputs, result.outputs, strict=True):
        assert np.abs(outputs[name] - value).max() < 1e-12, (
            "the forward is not the block"
        )  # a few float64 roundings
    derived = {**result.inputs, **result.parameters}
    assert len(derived) == len(result.inputs) + len(result.parameters), "names of inputs and parameters clash"
    differences = {}
    for name, array in {**inputs, **parameters}.items():
        if array.dtype.kind == "f" and name not in case.constant:
            differences[name] = (
                _difference(array, loss) if along is None else _slope(array, loss, along, derived, name)
            )
            if name in case.without:
                differences[name][case.without[name]] = 0
    return Compared(derived, differences)


def _slope(array: Any, loss: Any, along: np.random.Generator, derived: dict[str, Any], name: str) -> Any:
    """The difference along one direction of length 1, for which the derived gradient's part is put in its place."""
    way = along.normal(size=array.shape)
    way /= np.linalg.norm(way)
    derived[name] = np.asarray((derived.get(name, np.zeros_like(array)) * way).sum())
    return np.asarray(_along(array, loss, way))


def _difference(array: Any, loss: Any) -> Any:
    slope = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        way = np.zeros_like(array)
        way[place] = 1
        slope[place] = _along(array, loss, way)
    return slope


def _along(array: Any, loss: Any, way: Any) -> float:
    """The slope of the loss where ``array`` moves along ``way``, by five-point central differences."""
    kept, found = array.copy(), []
    for steps in (2, 1, -1, -2):
        array[...] = kept + steps * STEP * way
        found.append(loss())
    array[...] = kept
    far, near, back, farther = found
    return (8 * (near - back) - (far - farther)) / (12 * STEP)


def assert_close(found: Compared) -> None:
    """Every gradient is there where a difference is not zero, and is that difference."""
    for name, slope in found.differences.items():
        derived = found.derived.get(name, np.zeros_like(slope))
        scale = max(1.0, np.abs(slope).max())
        assert derived.shape == slope.shape, name
        assert np.abs(derived - slope).max() < CLOSE * scale, name
    assert set(found.derived) <= set(found.differences)


X = "float[B, S, hidden]"
HEADS = "float[B, heads, S, width]"
W = param("w", "float[inner, hidden]")
WT = param("w", "float[hidden, inner]")
BIAS = param("b", "float[inner]")
MADE = "float[B, S, inner]"
KINDS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh", "sigmoid", "linear")
SEEN = f"%x: {HEADS}, %k: {HEADS}, %v: {HEADS}, %mask: bool[B, S]"
NORM = param("w", "float[hidden]") + param("b", "float[hidden]")
IDS = "%ids: int[B, S]"
TABLE = "float[vocab, hidden]"


def _binary() -> dict[str, Case]:
    cases = {}
    seconds = (
        "B, S, hidden",
        "hidden",
        "S",
        "B",
        "S, hidden",
        "B, S",
        "B, hidden",
        "hidden, S, B",
        "hidden, B",
    )
    for op in ("add", "subtract", "multiply", "divide"):
        for second in seconds:
            # A divisor away from 0: the square of a number, and one.
            sure = f"%q = multiply(%z, %z) : float[{second}]\n%r = add(%q) {{scalar = 1}} : float[{second}]\n"
            for first, order in (("", "%x, %r"), (" behind", "%r, %x")):
                if op == "divide" and first:
                    body = f"%xx = multiply(%x, %x) : {X}\n%s = add(%xx) {{scalar = 1}} : {X}\n{sure}"
                    order = "%r, %s"
                else:
                    body = sure
                made = f"float[{second}]" if first and second == "hidden, S, B" else X
                body += f"%y = {op}({order}) : {made}"
                cases[f"{op} with [{second}]{first}"] = Case(body, f"%x: {X}, %z: float[{second}]")
        cases[f"{op} with a number"] = Case(f"%y = {op}(%x) {{scalar = 3}} : {X}")
        cases[f"{op} with a field"] = Case(f"%y = {op}(%x) {{scalar = p}} : {X}")
        # And x once more: the difference of a value and itself has no slope.
        twice = f"%e = exp(%x) : {X}\n%t = {op}(%e, %e) : {X}\n%y = add(%t, %x) : {X}"
        cases[f"{op} of one value twice"] = Case(twice)
    outer = "%y = multiply(%x, %z) : float[B, hidden]"
    cases["multiply of two that share nothing"] = Case(outer, "%x: float[B], %z: float[hidden]")
    return cases


def _attention() -> dict[str, Case]:
    cases = {}
    for mask in ("", ", %mask"):
        for name, given in {
            "": "",
            " causal": "causal = true",
            " causal by the config": "causal = causal",
            " scaled": "scale = 0.3",
            " scaled and causal, with dropout": "causal = true, dropout = p, scale = 2",
        }.items():
            attributes = f" {{{given}}}" if given else ""
            body = f"%y = attention(%x, %k, %v{mask}){attributes} : {HEADS}"
            cases[f"attention{name}{' and a mask' if mask else ''}"] = Case(body, SEEN)
    body = f"%y = attention(%x, %x, %x) : {HEADS}"
    cases["attention of one value"] = Case(body, f"%x: {HEADS}")
    shared = "float[B, kv, S, width]"
    for mask in ("", ", %mask"):
        for name, given in {
            "in groups": "group = 2",
            "in groups, causal": "causal = true, group = 2, dropout = p",
            "in groups, through a window": "causal = true, group = 2, window = 2",
        }.items():
            body = f"%y = attention(%x, %k, %v{mask}) {{{given}}} : {HEADS}"
            inputs = f"%x: {HEADS}, %k: {shared}, %v: {shared}, %mask: bool[B, S]"
            cases[f"attention {name}{' and a mask' if mask else ''}"] = Case(body, inputs)
        # A query that sees nothing has no slope: where keys are hidden, a window of one would be such.
        for window in ("2", "7", "reach", "none") if mask else ("1", "2", "7", "reach", "none"):
            body = f"%y = attention(%x, %k, %v{mask}) {{causal = true, window = {window}}} : {HEADS}"
            cases[f"attention through a window of {window}{' and a mask' if mask else ''}"] = Case(body, SEEN)
    cases["attention of groups of one"] = Case(f"%y = attention(%x, %k, %v) {{group = 1}} : {HEADS}", SEEN)
    grouped = "float[B, kv, (heads S), width]"
    cases["group_queries"] = Case(f"%y = group_queries(%x) : {grouped}", f"%x: {HEADS}")
    body = f"%g = group_queries(%x) : {grouped}\n%e = exp(%g) : {grouped}\n%y = ungroup_queries(%e) : {HEADS}"
    cases["ungroup_queries"] = Case(body, f"%x: {HEADS}")
    scores = "float[B, heads, S, S']"
    for mask in ("", ", %m"):
        body = (
            '%m = relabel(%mask) {source = "S", to = "S\'"} : bool[B, S\']\n'
            f"%s = masked_scores(%x{mask}) {{scale = 0.3, causal = true}} : {scores}\n%y = softmax(%s) : {scores}"
        )
        cases[f"masked_scores{mask}"] = Case(body, f"%x: {scores}, %mask: bool[B, S]")
    return cases


def _linear() -> dict[str, Case]:
    cases = {}
    for dims in ("hidden", "S, hidden", "B, S, hidden", "B, heads, S, hidden"):
        made = f"float[{dims.replace('hidden', 'inner')}]"
        for bias in ("", ", %b"):
            for stored, weight in (("", W), (" {stored_in_out = true}", WT), (" {stored_in_out = false}", W)):
                body = f"{weight}{BIAS if bias else ''}%y = linear(%x, %w{bias}){stored} : {made}"
                cases[f"linear of [{dims}]{bias}{stored}"] = Case(body, f"%x: float[{dims}]")
    biased = param("b", "float[inner]", ", only = causal")
    body = f"{W}{biased}%y = linear(%x, %w, %b) : {MADE}"
    cases["linear with a bias by the config"] = Case(body, f"%x: {X}")
    body = f"%y = linear(%x, %w, %b) : {MADE}"
    cases["linear by inputs"] = Case(body, f"%x: {X}, %w: float[inner, hidden], %b: float[inner]")
    joined = "float[{(heads width) + (kv width) + (kv width)}, hidden]"
    flat = "float[B, S, {(heads width) + (kv width) + (kv width)}]"
    parts = {"q": "heads", "k": "kv", "v": "kv"}
    body = "".join(param(f"w{n}", f"float[({heads} width), hidden]") for n, heads in parts.items())
    body += f"%w = join(%wq, %wk, %wv) : {joined}\n%j = linear(%x, %w) : {flat}\n"
    body += "%q, %k, %v = split_heads(%j) : " + ", ".join(f"float[B, {h}, S, width]" for h in parts.values())
    cases["linear by joined weights, and heads split"] = Case(body, returns="q = %q, k = %k, v = %v")
    body = f"%y = join_heads(%q, %k, %v) : {flat}"
    inputs = ", ".join(f"%{n}: float[B, {h}, S, width]" for n, h in parts.items())
    cases["join_heads"] = Case(body, inputs)
    return cases


def _embedding() -> dict[str, Case]:
    cases = {}
    for name, zero, fields, without in (
        ("", "", {}, {}),
        (" with a padding row", ", zero_row = 2", {}, {"t": 2}),
        (" with a padding row of the config", ", zero_row = pad", {}, {"t": 1}),
        (" with no padding row in the config", ", zero_row = pad", {"pad": None}, {}),
    ):
        body = f"{param('t', TABLE, zero)}%y = embedding(%ids, %t) : {X}"
        cases[f"embedding{name}"] = Case(body, IDS, fields=fields, without=without)
    cases["embedding by an input"] = Case(f"%y = embedding(%ids, %t) : {X}", f"{IDS}, %t: {TABLE}")
    cases["embedding of one number a row"] = Case(
        "%y = embedding(%ids, %t) : float[B, hidden]", f"%ids: int[B], %t: {TABLE}"
    )
    twice = f"{param('t', TABLE)}%a = embedding(%ids, %t) : {X}\n%b = embedding(%jds, %t) : {X}\n"
    twice += f"%y = multiply(%a, %b) : {X}"
    cases["embedding by one table twice"] = Case(twice, f"{IDS}, %jds: int[B, S]")
    return cases


def _others() -> dict[str, Case]:
    cases = {f"activate {kind}": Case(f"%y = activate(%x) {{kind = '{kind}'}} : {X}") for kind in KINDS}
    for kind in KINDS:
        cases[f"activate by the config as {kind}"] = Case(
            f"%y = activate(%x) {{kind = act}} : {X}", fields={"act": kind}
        )
    for back in ("", " {back = true}"):
        for width in ("width", "hidden"):  # turned whole, and its first two features
            heads = f"float[B, heads, S, {width}]"
            body = f"%y = rotary(%x, %angles){back} : {heads}"
            inputs = f"%x: {heads}, %angles: float[B, S, half]"
            cases[f"rotary of {width}{back}"] = Case(body, inputs, constant=("angles",))
    cases["exp"] = Case(f"%y = exp(%x) : {X}")
    cases["rsqrt"] = Case(f"%e = exp(%x) : {X}\n%y = rsqrt(%e) : {X}")
    cases["dropout"] = Case(f"%y = dropout(%x) {{p = p}} : {X}")
    for dims in ("B, S, hidden", "S, hidden", "hidden", "B"):
        made = X if dims.startswith("B, S") else f"float[B, S{', hidden' if 'hidden' in dims else ''}]"
        if dims == "S, hidden":
            made = "float[S, hidden, B]"
        if dims == "hidden":
            made = "float[hidden, B, S]"
        body = f"%y = where(%mask, %x) {{otherwise = -3}} : {made}"
        cases[f"where of [{dims}]"] = Case(body, f"%x: float[{dims}], %mask: bool[B, S]")
    for source, made in (
        (X, "float[hidden, B, S]"),
        (X, "float[B, (S hidden)]"),
        ("float[B, S, (heads width)]", HEADS),
        (HEADS, "float[B, S, (heads width)]"),
    ):
        cases[f"rearrange {source} as {made}"] = Case(f"%y = rearrange(%x) : {made}", f"%x: {source}")
    cases["relabel"] = Case('%y = relabel(%x) {source = "S", to = "S\'"} : float[B, S\', hidden]')
    cases["relabel, and back"] = Case(
        '%z = relabel(%x) {source = "S", to = "S\'"} : float[B, S\', hidden]\n'
        '%y = contract(%x, %z) {over = "hidden"} : float[B, S, S\']'
    )
    for before, behind in (("B", ", hidden"), ("B, S", ", hidden"), ("B, S", ""), ("S", ", hidden, inner")):
        cases[f"pick, an index of [{before}], of [{before}, vocab{behind}]"] = Case(
            f'%y = pick(%x, %i) {{over = "vocab"}} : float[{before}{behind}]',
            f"%x: float[{before}, vocab{behind}], %i: int[{before}]",
        )
    for over, made in (("S", "B, hidden"), ("B", "S, hidden"), ("hidden", "B, S")):
        cases[f"first over {over}"] = Case(f'%y = first(%x) {{over = "{over}"}} : float[{made}]')
        for kind in ("sum", "mean"):
            cases[f"reduce {kind} over {over}"] = Case(
                f'%y = reduce(%x) {{kind = "{kind}", over = "{over}"}} : float[{made}]'
            )
    for kind in ("sum", "mean"):
        body = f'%y = reduce(%x) {{kind = "{kind}", over = "(heads width)"}} : float[B, S]'
        cases[f"reduce {kind} over a product"] = Case(body, "%x: float[B, S, (heads width)]")
    for a, b, over, made in (
        ("B, heads, S, width", "B, heads, S', width", "width", "B, heads, S, S'"),
        ("B, heads, S, S'", "B, heads, S', width", "S'", "B, heads, S, width"),
        ("B, heads, S', S", "B, heads, S', width", "S'", "B, heads, S, width"),
        ("S, hidden", "hidden, inner", "hidden", "S, inner"),
        ("hidden, S", "hidden, inner", "hidden", "S, inner"),
        ("S, hidden", "inner, hidden", "hidden", "S, inner"),
    ):
        body = f'%y = contract(%x, %z) {{over = "{over}"}} : float[{made}]'
        cases[f"contract [{a}] [{b}]"] = Case(body, f"%x: float[{a}], %z: float[{b}]")
    cases["softmax"] = Case(f"%y = softmax(%x) : {X}")
    cases["softmax of a product"] = Case(
        "%y = softmax(%x) : float[B, (heads width)]", "%x: float[B, (heads width)]"
    )
    for bias in ("", ", %b"):
        for eps in ("1e-05", "eps", "0.5"):
            made = NORM if bias else param("w", "float[hidden]")
            body = f"{made}%y = layer_norm(%x, %w{bias}) {{eps = {eps}}} : {X}"
            cases[f"layer_norm{bias} eps {eps}"] = Case(body)
    for rounds in ("", ', round = "after_weight"'):
        for eps in ("1e-05", "eps", "0.5"):
            body = f"{param('w', 'float[hidden]')}%y = rms_norm(%x, %w) {{eps = {eps}{rounds}}} : {X}"
            cases[f"rms_norm eps {eps}{rounds}"] = Case(body)
    body = f"{param('w', 'float[width]')}%y = rms_norm(%x, %w) {{eps = eps}} : {HEADS}"
    cases["rms_norm of heads"] = Case(body, f"%x: {HEADS}")
    cases["layer_norm of one row"] = Case(
        f"{NORM}%y = layer_norm(%x, %w, %b) {{eps = eps}} : float[hidden]", "%x: float[hidden]"
    )
    return cases


def _apart() -> dict[str, Case]:
    """Along an axis in each place, all results read or only one, and one tensor put together of two."""
    cases = {}
    for dims, rest in (("heads, B, S", "B, S"), ("B, heads, S", "B, S"), ("B, S, heads", "B, S")):
        body = f'%a, %b = take_apart(%x) {{over = "heads"}} : float[{rest}], float[{rest}]\n'
        both = f"{body}%y = multiply(%a, %b) : float[{rest}]"
        cases[f"take_apart [{dims}]"] = Case(both, f"%x: float[{dims}]")
        cases[f"take_apart [{dims}], one read"] = Case(body, f"%x: float[{dims}]", "y = %b")
        put = f'%y = put_together(%a, %b) {{over = "heads"}} : float[{dims}]'
        cases[f"put_together [{dims}]"] = Case(put, f"%a: float[{rest}], %b: float[{rest}]")
    return cases


CASES = {**_apart(), **_binary(), **_attention(), **_linear(), **_embedding(), **_others()}
