"""The functions of the language: how each checks its arguments, makes its parameters and adds its op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ttmlc.elaborate.arguments import axis as _axis
from ttmlc.elaborate.arguments import dim, number, tensor
from ttmlc.elaborate.binding import Bound, Signature
from ttmlc.elaborate.integers import INTEGERS
from ttmlc.elaborate.names import value_name
from ttmlc.elaborate.problems import MISFIT, NOT_YET, problem
from ttmlc.elaborate.values import Init, Meaning, Number, Paths, Tensor, Text, Words, describe
from ttmlc.ir.module import Attribute, Form
from ttmlc.ir.ops.rms_norm import ROUNDS
from ttmlc.ir.scalar import Const, Scalar, product
from ttmlc.ir.types import Axis, Dim, DType, TensorType
from ttmlc.language import tree

if TYPE_CHECKING:
    from ttmlc.elaborate.expressions import Expressions

Build = Callable[["Expressions", Bound], Meaning]


def path(elaborator: Expressions, bound: Bound) -> str:
    """The ``at`` argument."""
    meaning = elaborator.argument(bound, "at")
    if not isinstance(meaning, Text):
        raise problem(
            MISFIT, "'at' must be a checkpoint path in quotes", bound.span("at"), f"is {describe(meaning)}"
        )
    return elaborator.path_of(meaning)


def init(elaborator: Expressions, bound: Bound, otherwise: Init | None = None) -> Form:
    """The ``init`` argument as a form."""
    meaning = elaborator.argument(bound, "init") if "init" in bound.given else otherwise
    if not isinstance(meaning, Init):
        hint = "Say init=normal(std), init=zeros or init=ones, here or in 'defaults'."
        label = describe(meaning) if meaning is not None else "has none"
        raise problem(MISFIT, "a parameter needs an initialisation", bound.span("init"), label, hint=hint)
    return Form(meaning.name, meaning.args)


def _linear(elaborator: Expressions, bound: Bound) -> Meaning:
    if "each" in bound.given:
        raise problem(NOT_YET, "linear with 'each' is not compiled yet", bound.span("each"))
    x, out, at = tensor(elaborator, bound, "x"), dim(elaborator, bound, "out"), path(elaborator, bound)
    if not isinstance(x.value.type, TensorType) or not x.value.type.dims:
        raise problem(MISFIT, "'x' has no dimension to contract", x.span)
    taken = x.value.type.dims[-1]
    turned = _stored(elaborator, bound)
    dims = (taken, out) if turned else (out, taken)
    weight = _weight(elaborator, bound, f"{at}.weight", TensorType(DType.FLOAT, dims))
    bias = _bias(elaborator, bound, at, out)
    attributes: dict[str, Attribute] = {"stored_in_out": Const(True)} if turned else {}
    return elaborator.apply(
        "linear", [x, weight, bias], attributes, bound.call, name=bound.wanted or value_name(at)
    )


def _weight(elaborator: Expressions, bound: Bound, at: str, type_: TensorType) -> Tensor:
    """A parameter of its own, or the one that is given, or that one where a condition holds: ``word if tie``."""
    node, when = bound.given.get("weight"), None
    if isinstance(node, tree.Choice) and node.no is None:
        when, node = elaborator.condition(node.condition), node.yes
    shared: Tensor | None = None
    if node is not None and when != Const(False):
        meaning = elaborator.expression(node)
        if not isinstance(meaning, Tensor) or meaning.value.type != type_:
            label = f"is {describe(meaning)}"
            raise problem(MISFIT, f"'weight' must be {type_}", bound.span("weight"), label)
        shared = Tensor(meaning.value, bound.span("weight"))
        if when is None or when == Const(True):
            return shared
    return elaborator.parameter(
        at, type_, init(elaborator, bound), bound.span("at"), shared=shared, when=when if shared else None
    )


def _stored(elaborator: Expressions, bound: Bound) -> bool:
    if "stored" not in bound.given:
        return False
    meaning = elaborator.argument(bound, "stored")
    if not isinstance(meaning, Words) or sorted(meaning.words) != ["in", "out"]:
        raise problem(
            MISFIT, "'stored' is [out, in] or [in, out]", bound.span("stored"), f"is {describe(meaning)}"
        )
    return meaning.words == ("in", "out")


def _bias(elaborator: Expressions, bound: Bound, at: str, out: Dim) -> Tensor | None:
    name: Attribute = f"{at}.bias"
    only: Scalar | None = None
    if "bias" in bound.given:
        meaning = elaborator.argument(bound, "bias")
        if isinstance(meaning, (Text, Paths)):
            name = elaborator.paths_of(meaning)
        elif not isinstance(meaning, Number) or meaning.kind != "bool":
            label = f"is {describe(meaning)}"
            raise problem(MISFIT, "'bias' is true, false or a path", bound.span("bias"), label)
        elif meaning.scalar == Const(False):
            return None
        elif meaning.scalar != Const(True):
            only = meaning.scalar
    vector = TensorType(DType.FLOAT, (out,))
    return elaborator.parameter(name, vector, Form("zeros"), bound.span("at"), only=only)


def _embedding(elaborator: Expressions, bound: Bound) -> Meaning:
    ids = tensor(elaborator, bound, "ids")
    rows, features = dim(elaborator, bound, "rows"), dim(elaborator, bound, "features")
    at = path(elaborator, bound)
    made = TensorType(DType.FLOAT, (rows, features))
    table = elaborator.parameter(
        f"{at}.weight", made, init(elaborator, bound), bound.span("at"), zero_row=_pad(elaborator, bound)
    )
    return elaborator.apply("embedding", [ids, table], {}, bound.call, name=bound.wanted or value_name(at))


def _pad(elaborator: Expressions, bound: Bound) -> Scalar | None:
    return number(elaborator, bound, "pad", ("int", "none")) if "pad" in bound.given else None


def _layer_norm(elaborator: Expressions, bound: Bound) -> Meaning:
    x, at = tensor(elaborator, bound, "x"), path(elaborator, bound)
    eps = number(elaborator, bound, "eps", least=0)
    if not isinstance(x.value.type, TensorType) or not x.value.type.dims:
        raise problem(MISFIT, "'x' has no dimension to normalise", x.span)
    vector = TensorType(DType.FLOAT, x.value.type.dims[-1:])
    weight = elaborator.parameter(f"{at}.weight", vector, Form("ones"), bound.span("at"))
    bias = elaborator.parameter(f"{at}.bias", vector, Form("zeros"), bound.span("at"))
    return elaborator.apply(
        "layer_norm", [x, weight, bias], {"eps": eps}, bound.call, name=bound.wanted or "norm"
    )


def _rms_norm(elaborator: Expressions, bound: Bound) -> Meaning:
    x, at = tensor(elaborator, bound, "x"), path(elaborator, bound)
    attributes: dict[str, Attribute] = {"eps": number(elaborator, bound, "eps", least=0)}
    if "round" in bound.given:
        node = bound.given["round"]
        if not isinstance(node, tree.Reference) or node.name.text not in ROUNDS:
            raise problem(MISFIT, f"'round' is {' or '.join(ROUNDS)}", bound.span("round"))
        attributes["round"] = node.name.text
    if not isinstance(x.value.type, TensorType) or not x.value.type.dims:
        raise problem(MISFIT, "'x' has no dimension to normalise", x.span)
    vector = TensorType(DType.FLOAT, x.value.type.dims[-1:])
    weight = elaborator.parameter(f"{at}.weight", vector, Form("ones"), bound.span("at"))
    return elaborator.apply("rms_norm", [x, weight], attributes, bound.call, name=bound.wanted or "norm")


def _attention(elaborator: Expressions, bound: Bound) -> Meaning:
    operands: list[Tensor | None] = [tensor(elaborator, bound, name) for name in "qkv"]
    operands.append(tensor(elaborator, bound, "mask") if "mask" in bound.given else None)
    attributes: dict[str, Attribute] = {}
    if "causal" in bound.given:
        attributes["causal"] = number(elaborator, bound, "causal", ("bool",))
    if "scale" in bound.given:
        attributes["scale"] = number(elaborator, bound, "scale")
    if "dropout" in bound.given:
        attributes["dropout"] = number(elaborator, bound, "dropout")
    if "window" in bound.given:
        attributes["window"] = number(elaborator, bound, "window", ("int", "none"), least=1)
    group = _group(elaborator, operands)
    if group is not None:
        attributes["group"] = group
    for name in ("bias", "softcap"):
        if name in bound.given:
            raise problem(NOT_YET, f"attention with {name!r} is not compiled yet", bound.span(name))
    return elaborator.apply("attention", operands, attributes, bound.call, name=bound.wanted or "attention")


def _group(elaborator: Expressions, operands: Sequence[Tensor | None]) -> Scalar | None:
    """How many heads of q share one of k, where the config says that they are a product that k's begins."""
    types = [one.value.type for one in operands[:2] if one is not None]
    heads, shared = [t.dims[1] if isinstance(t, TensorType) and len(t.dims) == 4 else None for t in types]
    if not isinstance(heads, Axis) or not isinstance(shared, Axis) or heads == shared:
        return None
    first, *rest = elaborator.scope.factors.get(heads.name, ("",))
    if first != shared.name:
        return None
    return product(tuple(elaborator.scope.numbers[name].scalar for name in rest))


def _dropout(elaborator: Expressions, bound: Bound) -> Meaning:
    elaborator.wanted = bound.wanted  # dropout does not rename what it drops from
    x, p = tensor(elaborator, bound, "x"), number(elaborator, bound, "p")
    if p in (Const(0), Const(0.0)):
        return x
    return elaborator.apply("dropout", [x], {"p": p}, bound.call, name=x.value.name)


def _rotary(elaborator: Expressions, bound: Bound) -> Meaning:
    operands: list[Tensor | None] = [tensor(elaborator, bound, name) for name in ("x", "angles")]
    x = operands[0]
    assert x is not None
    return elaborator.apply("rotary", operands, {}, bound.call, name=bound.wanted or x.value.name)


def _first(elaborator: Expressions, bound: Bound) -> Meaning:
    x, over = tensor(elaborator, bound, "x"), _axis(elaborator, bound, "over")
    return elaborator.apply("first", [x], {"over": over.name}, bound.call, name=bound.wanted or "first")


def _labels(elaborator: Expressions, bound: Bound) -> Tensor:
    """Labels, of which a loss will read what is made of them: whole numbers of one type."""
    x = tensor(elaborator, bound, "x")
    if x.alternatives:
        label = f"is {' | '.join(map(str, x.alternatives))}"
        raise problem(MISFIT, "'x' must be of one type", x.span, label)
    return x


def _next(elaborator: Expressions, bound: Bound) -> Meaning:
    x, over = _labels(elaborator, bound), _axis(elaborator, bound, "over")
    attributes: dict[str, Attribute] = {"over": over.name}
    if "fill" in bound.given:
        attributes["fill"] = number(elaborator, bound, "fill", ("int",))
    return elaborator.apply("next", [x], attributes, bound.call, name=bound.wanted or "next")


def _clamp(elaborator: Expressions, bound: Bound) -> Meaning:
    x = _labels(elaborator, bound)
    attributes: dict[str, Attribute] = {
        name: number(elaborator, bound, name, ("int",)) for name in ("low", "high")
    }
    return elaborator.apply("clamp", [x], attributes, bound.call, name=bound.wanted or "clamp")


def _size(elaborator: Expressions, bound: Bound) -> Meaning:
    return Number(dim(elaborator, bound, "over").size, "int")


def _loss(op: str, name: str) -> Build:
    def build(elaborator: Expressions, bound: Bound) -> Meaning:
        logits, labels = tensor(elaborator, bound, "logits"), tensor(elaborator, bound, "labels")
        attributes: dict[str, Attribute] = {}
        if "over" in bound.given:
            attributes["over"] = _axis(elaborator, bound, "over").name
        if "ignore" in bound.given:
            attributes["ignore"] = number(elaborator, bound, "ignore", ("int",))
        return elaborator.loss(op, logits, labels, attributes, bound.call, bound.wanted or name)

    return build


def _activation(kind: str) -> Build:
    def build(elaborator: Expressions, bound: Bound) -> Meaning:
        return elaborator.apply(
            "activate",
            [tensor(elaborator, bound, "x")],
            {"kind": Const(kind)},
            bound.call,
            name=bound.wanted or kind,
        )

    return build


def _normal(elaborator: Expressions, bound: Bound) -> Meaning:
    return Init("normal", (number(elaborator, bound, "std", least=0),))


ACTIVATION = Signature(("x",), 1)
BUILTINS: dict[str, tuple[Signature, Build]] = {
    "linear": (Signature(("x", "out", "at", "bias", "weight", "init", "stored", "each"), 3), _linear),
    "embedding": (Signature(("ids", "rows", "features", "at", "init", "pad"), 4), _embedding),
    "layer_norm": (Signature(("x", "eps", "at"), 3), _layer_norm),
    "rms_norm": (Signature(("x", "eps", "at", "round"), 3), _rms_norm),
    "attention": (
        Signature(("q", "k", "v", "mask", "causal", "scale", "dropout", "window", "bias", "softcap"), 3),
        _attention,
    ),
    "rotary": (Signature(("x", "angles"), 2), _rotary),
    "dropout": (Signature(("x", "p"), 2), _dropout),
    "first": (Signature(("x", "over"), 2), _first),
    "next": (Signature(("x", "over", "fill"), 2), _next),
    "clamp": (Signature(("x", "low", "high"), 3), _clamp),
    "size": (Signature(("over",), 1), _size),
    "cross_entropy": (
        Signature(("logits", "labels", "over", "ignore"), 3),
        _loss("cross_entropy", "cross_entropy"),
    ),
    "binary_cross_entropy": (
        Signature(("logits", "labels"), 2),
        _loss("binary_cross_entropy", "cross_entropy"),
    ),
    "mean_squared_error": (Signature(("logits", "labels"), 2), _loss("mean_squared_error", "squared_error")),
    "normal": (Signature(("std",), 1), _normal),
    **INTEGERS,
    **{
        kind: (ACTIVATION, _activation(kind))
        for kind in ("gelu", "gelu_new", "relu", "silu", "tanh", "sigmoid")
    },
}

LATER = frozenset(
    {
        "softmax",
        "softcap",
        "mean",
        "sum",
    }
    | {
        "previous",
        "top",
        "min",
        "max",
        "abs",
        "constant",
    }
    | {"cos", "sin"}
)
"""Functions that the language has and that are not compiled yet."""
