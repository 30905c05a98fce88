"""Device operations as Python calls, read off their declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ttmlc.emit.python import (
    ARGUMENT,
    Arg,
    Call,
    Choice,
    Code,
    Raw,
    expression,
    flat,
    identifier,
    literal,
    string,
    tuple_of,
)
from ttmlc.ir import scalar
from ttmlc.ir.device import DeviceOp, shape_of
from ttmlc.ir.module import Attribute, Form, Operation, Value
from ttmlc.ir.op import TABLE
from ttmlc.ir.scalar import Apply, Const, Field, Scalar
from ttmlc.ir.types import DeviceType, MaskType, RotaryType, Type
from ttmlc.passes.lowering.storages import OWN

OWNER = "c"


def call(operation: Operation, names: Mapping[str, Code]) -> Call:
    """The Python call of a device operation; ``names`` holds the code of each value it reads."""
    special = SPECIAL.get(operation.op)
    if special is not None:
        return special(operation, names)
    declaration = TABLE[operation.op]
    assert isinstance(declaration, DeviceOp)
    args: list[Arg] = []
    operands = dict(zip(declaration.operand_names(), operation.operands, strict=False))
    ordered = [*declaration.operand_names()]
    ordered.sort(
        key=lambda name: list(declaration.written).index(name) if name in declaration.written else -1
    )
    for name in ordered:
        value = operands.get(name)
        if value is not None:
            args += _operand(value, declaration.written.get(name, ""), names)
    for name in declaration.attributes:
        given = operation.get(name)
        if given is not None and name not in SILENT.get(operation.op, ()):
            args.append(Arg(Raw(_attribute(operation.op, name, given)), declaration.written.get(name, "")))
    args += [Arg(Raw(code), keyword) for keyword, code in declaration.always]
    if declaration.role:
        args.append(Arg(Raw(f"kernels.{declaration.role}"), "**"))
    return Call(declaration.callee, tuple(args))


# Attributes that type an op and are not passed to the call.
SILENT: dict[str, tuple[str, ...]] = {
    "ttnn.create_qkv_heads": ("head_dim",),
    "nn.split_heads": ("head_dim",),
    "nn.join_heads": ("width",),
}


def _concat(operation: Operation, names: Mapping[str, Code]) -> Call:
    parts = ", ".join(flat(names[value.name]) for value in operation.operands if value is not None)
    return Call("ttnn.concat", (Arg(Raw(f"[{parts}]")), Arg(Raw("-2"), "dim")))


def _masked(operation: Operation, names: Mapping[str, Code]) -> Call:
    """``nn.masked_scores(scores, scale, mask)``."""
    scores, *mask = operation.operands
    assert scores is not None
    args = [Arg(names[scores.name]), Arg(Raw(expression(operation.scalar("scale"), OWNER)))]
    causal = operation.get("causal")
    if mask and mask[0] is not None:
        group = operation.get("group")
        form = "scores" if group is None else f"scores_of({expression(operation.scalar('group'), OWNER)})"
        hidden: Code = Raw(f"{flat(names[mask[0].name])}.{form}")
    elif causal is not None:
        flag = [Arg(Raw(expression(operation.scalar("causal"), OWNER)))] if causal != Const(True) else []
        if operation.get("window") not in (None, Const(None)):
            flag.append(Arg(Raw(expression(operation.scalar("window"), OWNER, ARGUMENT)), "window"))
        hidden = Call("nn.causal_mask", (Arg(names[scores.name]), *flag))
    else:
        hidden = Raw("None")
    return Call("nn.masked_scores", (*args, Arg(hidden)))


def _layer_norm(operation: Operation, names: Mapping[str, Code]) -> Call:
    """``nn.layer_norm(x, weight, bias, c.eps, **kernels.norm)``."""
    x, weight, *bias = operation.operands
    assert x is not None and weight is not None
    shift = names[bias[0].name] if bias and bias[0] is not None else Raw("None")
    epsilon = Raw(expression(operation.scalar("epsilon"), OWNER))
    args = [Arg(code) for code in (names[x.name], names[weight.name], shift, epsilon)]
    return Call("nn.layer_norm", (*args, Arg(Raw("kernels.norm"), "**")))


def _seen(operation: Operation, names: Mapping[str, Code]) -> Call:
    """``mask.seen(k, v)``."""
    *heads, mask = (names[value.name] for value in operation.operands if value is not None)
    return Call(f"{flat(mask)}.seen", tuple(map(Arg, heads)))


def _dropout(operation: Operation, names: Mapping[str, Code]) -> Call:
    """``nn.dropout(x, c.p, seed, 1, scale=0.5)``: the seed is the method's own."""
    (x,) = operation.operands
    assert x is not None
    p, site = (expression(operation.scalar(name), OWNER) for name in ("p", "site"))
    args = [Arg(names[x.name]), Arg(Raw(p)), Arg(Raw("seed")), Arg(Raw(site))]
    if operation.get("scale") is not None:
        args.append(Arg(Raw(expression(operation.scalar("scale"), OWNER)), "scale"))
    return Call("nn.dropout", tuple(args))


def _spread(operation: Operation, names: Mapping[str, Code]) -> Call:
    """``nn.spread(x, S)``."""
    (x,) = operation.operands
    assert x is not None
    tokens = shape_of(operation.get("shape") or ())[-2]
    return Call("nn.spread", (Arg(names[x.name]), Arg(Raw(expression(tokens, OWNER)))))


def _operand(value: Value, keyword: str, names: Mapping[str, Code]) -> list[Arg]:
    code = names[value.name]
    if isinstance(value.type, MaskType):
        assert isinstance(code, Raw)
        return [Arg(Raw(f"{code.code}.additive"), keyword), Arg(Raw(f"{code.code}.causal"), "is_causal")]
    return [Arg(code, keyword)]


def _attribute(op: str, name: str, value: Attribute) -> str:
    if op == "ttnn.linear" and name == "activation":
        return _activation(value)
    if isinstance(value, tuple):
        return tuple_of(expression(size, OWNER) for size in shape_of(value))
    if name == "dtype":
        return f"ttnn.{value}"
    assert not isinstance(value, (str, Form))
    return expression(value, OWNER, ARGUMENT if name in ("kind", "window") else 0)


def _activation(value: Attribute) -> str:
    if isinstance(value, Const):
        return f"nn.fused({literal(value.value)})"
    assert isinstance(value, (Field, Apply))
    return f"nn.fused({expression(value, OWNER, ARGUMENT)})"


def _ids(operation: Operation, names: Mapping[str, Code]) -> Call:
    """``given.ids("token_type_ids", token_type_ids, below=c.types, default=0)``."""
    below = Arg(Raw(expression(operation.scalar("below"), OWNER)), "below")
    return Call("given.ids", (*_input(operation, names), below, *default_of(operation)))


def default_of(operation: Operation) -> list[Arg]:
    """The default of an input as an argument, where it has one."""
    default = operation.get("default")
    if not isinstance(default, Form):
        return []
    (filled,) = default.args or (None,)
    return [Arg(Raw(literal(filled.value) if isinstance(filled, Const) else "given.positions"), "default")]


def table_attribute(name: str) -> str:
    """The attribute of a model that holds the table called ``name``."""
    return f"{name}_table" if name in OWN else identifier(name)


def _rotary(operation: Operation, names: Mapping[str, Code]) -> Call:
    """``given.rotary("position_ids", position_ids, self.inv_freq, default=given.positions)``."""
    table = Arg(Raw(f"self.{table_attribute(operation.text('table'))}"))
    return Call("given.rotary", (*_input(operation, names), table, *default_of(operation)))


def _mask(operation: Operation, names: Mapping[str, Code]) -> Call:
    args = _input(operation, names)
    if operation.get("causal") is not None:
        args.append(Arg(Raw(expression(operation.scalar("causal"), OWNER)), "causal"))
    if operation.get("window") is not None:
        args.append(Arg(Raw(expression(operation.scalar("window"), OWNER, ARGUMENT)), "window"))
    return Call("given.mask", tuple(args))


def _places(operation: Operation, names: Mapping[str, Code]) -> Call:
    """``given.places("index", index, (B, 1, 1, S))``."""
    shape = tuple_of(expression(size, OWNER) for size in shape_of(operation.get("shape") or ()))
    return Call("given.places", (*_input(operation, names), Arg(Raw(shape))))


def _input(operation: Operation, names: Mapping[str, Code]) -> list[Arg]:
    """What messages call an input, and it itself, or what the host made."""
    name = operation.text("input")
    made = operation.operands[0] if operation.operands else None
    return [Arg(Raw(string(name))), Arg(names[name if made is None else made.name])]


SPECIAL = {
    "input.ids": _ids,
    "input.mask": _mask,
    "input.places": _places,
    "input.rotary": _rotary,
    "nn.dropout": _dropout,
    "nn.layer_norm": _layer_norm,
    "nn.masked_scores": _masked,
    "nn.seen": _seen,
    "nn.spread": _spread,
    "ttnn.concat_rows": _concat,
}


def chain(form: Attribute) -> Code:
    """A storage's chain: parameters under their checkpoint names, and what is done to them."""
    assert isinstance(form, Form)
    if form.name == "parameter":
        return _parameter(form)
    if form.name == "transpose":
        inner = chain(form.args[0])
        assert isinstance(inner, Call)
        return Call(inner.callee, inner.args, inner.suffix + ".T")
    if form.name == "pad":
        inner_form, dim, sizes, to = form.args
        inner = chain(inner_form)
        assert isinstance(inner, Call)
        sizes_code = tuple_of(expression(size, OWNER) for size in shape_of(sizes))
        assert not isinstance(dim, (str, Form, tuple)) and not isinstance(to, (str, Form, tuple))
        pad = f".padded({expression(dim, OWNER)}, {sizes_code}, to={expression(to, OWNER)})"
        return Call(inner.callee, inner.args, inner.suffix + pad)
    if form.name == "argument":
        given, *here = form.args
        code = Raw(identifier(str(given)))
        return Call("at.tied", (Arg(code), Arg(Raw(_path(here[0]))))) if here else code
    if form.name == "select":
        condition, yes, no = form.args
        assert not isinstance(condition, (str, Form, tuple))
        return Choice(expression(condition, OWNER), chain(yes), chain(no))
    if form.name == "none":
        return Raw("None")
    assert form.name == "concat", f"no chain is called {form.name!r}"
    return Call("concat", tuple(Arg(chain(part)) for part in form.args))


def presence(storage: Operation) -> Scalar | None:
    """The flag under which there is anything in a storage, where one decides that."""
    form = storage.get("chain")
    if isinstance(form, Form) and form.name == "select" and form.args[2] == Form("none"):
        condition = form.args[0]
        assert not isinstance(condition, (str, Form, tuple))
        return condition
    return None


def _parameter(form: Form) -> Call:
    names, shape, init, *zero = form.args
    assert isinstance(names, tuple) and isinstance(init, Form)
    args = [
        Arg(Raw(_path(names[0]))),
        Arg(Raw(tuple_of(expression(size, OWNER) for size in shape_of(shape)))),
    ]
    args.append(Arg(Raw(_init(init))))
    also = _also(names[1:])
    if also:
        args.append(Arg(Raw(also), "also"))
    if zero:
        row = zero[0]
        assert not isinstance(row, (str, Form, tuple))
        args.append(Arg(Raw(expression(row, OWNER)), "zero_row"))
    return Call("at.parameter", tuple(args))


def _also(names: Sequence[Attribute]) -> str:
    """The other names of a parameter; nothing where it has none."""
    if len(names) == 1 and isinstance(names[0], Form):
        condition, name, _ = names[0].args
        assert not isinstance(condition, (str, Form, tuple))
        one = tuple_of([string(str(name))])
        if isinstance(condition, Const):
            return one if condition.value else ""
        return f"{one} if {expression(condition, OWNER)} else ()"
    return tuple_of(map(_path, names)) if names else ""


def _path(name: Attribute) -> str:
    """A checkpoint path; of one that a flag of the config decides, the choice."""
    if not isinstance(name, Form):
        return string(str(name))
    condition, yes, no = name.args
    assert not isinstance(condition, (str, Form, tuple))
    if isinstance(condition, Const):
        return _path(yes if condition.value else no)
    return f"{_path(yes)} if {expression(condition, OWNER)} else {_path(no)}"


def _init(init: Form) -> str:
    if not init.args:
        return init.name
    return f"{init.name}({', '.join(expression(arg, OWNER) for arg in shape_of(init.args))})"


def shape_text(type_: Type) -> str:
    """A type as trailing comments and docstrings write it."""
    if isinstance(type_, DeviceType):
        return f"[{', '.join(size_text(size) for size in type_.shape)}]"
    if isinstance(type_, RotaryType):
        return f"[B, S, {size_text(type_.half)}]"
    return "bool[B, S]" if isinstance(type_, MaskType) else str(type_)


def size_text(size: Scalar) -> str:
    """A size as a reader says it: names, not attributes."""
    return scalar.text(size).replace("@", "")
