"""Tables of a spec as functions of the emitted module: numpy in float32, in the spec's own order of operations."""

from __future__ import annotations

from collections.abc import Mapping

from ttmlc.emit.calls import OWNER
from ttmlc.emit.python import expression, identifier
from ttmlc.emit.views import TableView
from ttmlc.ir import scalar
from ttmlc.ir.module import Form, Module, Operation
from ttmlc.ir.ops.rotary import table_parts
from ttmlc.ir.scalar import Apply, Const, Index, Scalar

LOGIC = {"and": "&", "or": "|", "not": "~"}
"""What joins conditions that differ from place to place."""


def tables_of(module: Module) -> dict[str, Operation]:
    """What reads each table of the module, by the table's name."""
    found = (o for function in module.functions for o in function.walk() if o.op == "input.rotary")
    return {operation.text("table"): operation for operation in reversed(list(found))}


def table_views(module: Module) -> tuple[TableView, ...]:
    """A function for each table that a model reads."""
    config = f"{module.config.name}Config"
    return tuple(_view(name, operation, config) for name, operation in tables_of(module).items())


def _view(name: str, operation: Operation, config: str) -> TableView:
    form, axis = operation.get("numbers"), operation.text("axis")
    assert isinstance(form, Form)
    values, cases = table_parts(form)
    scalars = [value for _, value in values] + [value for _, value in cases]
    names = {let: identifier(let) for let, _ in values}
    names[axis] = next(k for k in ("k", "place", "k_along") if k not in names.values())
    size = expression(operation.scalar("half"), OWNER)
    lines = []
    if any(leaf == Index(axis) for value in scalars for leaf in scalar.leaves(value)):
        lines.append(f"{names[axis]} = np.arange({size}, dtype=np.float32)")
    varies = {axis}
    for let, value in values:
        lines.append(f"{names[let]} = {_written(value, names, varies)}")
        varies |= {let} if _varies(value, varies) else set()
    for condition, value in cases:
        result = _written(value, names, varies)
        if not _varies(value, varies):
            result = f"np.full({size}, {result}, dtype=np.float32)"
        if condition == Const(True):
            lines.append(f"return {result}")
        else:
            lines += [f"if {expression(condition, OWNER)}:", f"    return {result}"]
    *before, last = lines
    if before and before[-1].startswith(f"{last.removeprefix('return ')} = "):
        # A name for what is only returned.
        lines = [*before[:-1], f"return {before[-1].partition(' = ')[2]}"]
    signature = f"def {identifier(name)}({OWNER if _reads(lines) else '_'}: {config}) -> nn.Array:"
    doc = f"Table {name}: float32 [{axis}], made once from the config and never saved."
    return TableView(signature, doc, tuple(f"    {line}" for line in lines))


def _reads(lines: list[str]) -> bool:
    return any(f"{OWNER}." in line for line in lines)


def _varies(value: Scalar, varies: set[str]) -> bool:
    """Whether ``value`` differs from place to place."""
    return any(isinstance(leaf, Index) and leaf.name in varies for leaf in scalar.leaves(value))


def _written(value: Scalar, names: Mapping[str, str], varies: set[str], around: int = 0) -> str:
    """``value`` in numpy; what is one number for all places stays Python, which float32 takes as it is."""
    if isinstance(value, Index):
        return names[value.name]
    if not isinstance(value, Apply) or not _reads_values(value):
        return expression(value, OWNER, around)
    operator, args = scalar.OPERATORS[value.op], value.args
    if value.op == "select" and _varies(args[0], varies):
        return f"np.where({', '.join(_written(arg, names, varies) for arg in args)})"
    if value.op == "select":
        condition, yes, no = (_written(arg, names, varies, 1) for arg in args)
        return f"({yes} if {condition} else {no})"
    if value.op in LOGIC and _varies(value, varies):
        parts = [f"({_written(arg, names, varies)})" for arg in args]
        joined = f" {LOGIC[value.op]} ".join(parts) if len(parts) > 1 else f"{LOGIC[value.op]}{parts[0]}"
        return f"({joined})" if around else joined
    if operator.binds == 0:
        inner = ", ".join(_written(arg, names, varies) for arg in args)
        if value.op == "int":
            return f"np.trunc({inner})"
        return f"np.{value.op}({inner})"
    if operator.arity == 1:
        written = ("-" if value.op == "neg" else "not ") + _written(args[0], names, varies, operator.binds)
    else:
        binds = operator.binds
        left = _written(args[0], names, varies, binds + (value.op == "**" or binds == 4))
        right = _written(args[1], names, varies, binds + (value.op != "**"))
        simple = value.op == "**" and all(not isinstance(arg, Apply) for arg in args)
        written = f"{left}**{right}" if simple else f"{left} {operator.symbol} {right}"
    return f"({written})" if operator.binds < around else written


def _reads_values(value: Scalar) -> bool:
    return any(isinstance(leaf, Index) for leaf in scalar.leaves(value))
