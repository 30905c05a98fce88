"""What a file's names mean outside its functions: config fields, axes, blocks, defaults of ops."""

from __future__ import annotations

from dataclasses import dataclass, field

from ttmlc.elaborate.problems import MISFIT, NOT_YET, UNKNOWN_NAME, nearest, problem
from ttmlc.elaborate.values import Definition, Meaning, Number, Poison, Written
from ttmlc.ir.module import Form
from ttmlc.ir.scalar import Field
from ttmlc.ir.types import BATCH, ONE, TOKENS, Axis, Dim, DType, Product, TensorType
from ttmlc.language import tree
from ttmlc.source import DiagnosticError

DYNAMIC = {"B": BATCH, "S": TOKENS}
MAY_BE_NONE = "It may be none, and a dimension has a size: declare it without '?'."
DTYPES = {dtype.value: dtype for dtype in DType}


@dataclass(frozen=True)
class Callee:
    """A ``fn``, and the names of the spec that it stands in."""

    function: tree.Function
    scope: Scope


@dataclass(frozen=True)
class TableValue:
    """A table that functions may read: its name, its type, its numbers."""

    name: str
    type: TensorType
    numbers: Form


@dataclass
class Scope:
    """The names of one spec and what it uses."""

    numbers: dict[str, Number] = field(default_factory=dict)
    axes: dict[str, Axis] = field(default_factory=dict)
    blocks: dict[str, tree.Function] = field(default_factory=dict)
    functions: dict[str, Callee] = field(default_factory=dict)
    tables: dict[str, TableValue] = field(default_factory=dict)
    defaults: dict[str, dict[str, tree.Expr]] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    poisoned: frozenset[str] = frozenset()
    nullable: frozenset[str] = frozenset()
    """Fields of the config that may be none."""
    factors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of sizes that are products of others, what they are products of, outermost first."""
    indices: dict[str, str] = field(default_factory=dict)
    """Those of the repeats in models, which a block that stands in one may read, and the sizes that they count; an
    index of several things, or of what is no size, counts "".
    """
    used: tuple[tree.File, ...] = ()
    """The specs that this one uses."""

    def meaning(self, name: str) -> Meaning | None:
        """What ``name`` means, or None."""
        if name in self.poisoned or name.partition(".")[0] in self.poisoned:
            return Poison()
        if name in self.numbers:
            return self.numbers[name]
        if name in self.axes:
            return Written(self.axes[name])
        if name in DYNAMIC:
            return Written(DYNAMIC[name])
        if name in self.blocks:
            return Definition(self.blocks[name])
        return None

    def number(self, name: str) -> Number | None:
        """A config field or derived value."""
        return self.numbers.get(name)

    def may_be_none(self, number: Number) -> bool:
        """Whether ``number`` is a field of the config that may be none."""
        return isinstance(number.scalar, Field) and number.scalar.name in self.nullable

    def groups(self) -> frozenset[str]:
        """The groups of the config: what stands before the dot of ``rope.theta``."""
        return frozenset(name.partition(".")[0] for name in self.numbers if "." in name)

    def known(self) -> list[str]:
        """All names, for a hint."""
        return [*self.numbers, *self.axes, *DYNAMIC, *self.blocks, *self.functions, *self.tables]

    def axis(self, name: tree.Name) -> Axis:
        """The axis called ``name``.

        Raises:
            DiagnosticError: there is none.
        """
        meaning = self.meaning(name.text)
        if isinstance(meaning, Poison):
            raise DiagnosticError([])
        if isinstance(meaning, Written) and isinstance(meaning.dim, Axis):
            return meaning.dim
        if isinstance(meaning, Number) and isinstance(meaning.dim, Axis):
            return meaning.dim
        axes = [
            *(entry for entry, number in self.numbers.items() if number.dim is not None),
            *self.axes,
            *DYNAMIC,
        ]
        if meaning is not None:
            hint = "Dimensions are config fields of kind 'size', whole derived values, and B and S."
            if isinstance(meaning, Number) and self.may_be_none(meaning):
                hint = MAY_BE_NONE
            raise problem(MISFIT, f"{name.text!r} is no axis", name.span, hint=hint)
        raise problem(
            UNKNOWN_NAME, f"there is no axis {name.text!r}", name.span, hint=nearest(name.text, axes)
        )

    def dim(self, node: tree.DimExpr) -> Dim:
        """A written dimension.

        Raises:
            DiagnosticError: it names no axis.
        """
        if isinstance(node, tree.DimName):
            return self.axis(node.name)
        if isinstance(node, tree.ProductExpr):
            parts = [self.dim(factor) for factor in node.factors]
            names = [part.name for part in parts if isinstance(part, Axis)]
            if len(set(names)) < len(names):
                raise problem(MISFIT, "an axis occurs twice in this product", node.span)
            return Product(tuple(part for part in parts if isinstance(part, Axis)))
        if isinstance(node, tree.DimNumber) and node.value == 1:
            return ONE
        raise problem(NOT_YET, "this dimension is not compiled yet", node.span)


def defaults_of(file: tree.File) -> dict[str, dict[str, tree.Expr]]:
    """The options of ops that ``file`` gives where a call of it does not."""
    found: dict[str, dict[str, tree.Expr]] = {}
    for item in file.items:
        for rule in item.rules if isinstance(item, tree.Defaults) else ():
            for op in rule.ops:
                found.setdefault(op.text, {}).update(
                    {option.name.text: option.value for option in rule.options}
                )
    return found


def tensor_type(scope: Scope, node: tree.TensorExpr) -> TensorType:
    """A written tensor type.

    Raises:
        DiagnosticError: its dtype or a dimension is unknown, or an axis occurs twice.
    """
    dtype = DType.FLOAT
    if node.dtype is not None:
        if node.dtype.text not in DTYPES:
            hint = nearest(node.dtype.text, DTYPES)
            raise problem(UNKNOWN_NAME, f"{node.dtype.text!r} is no dtype", node.dtype.span, hint=hint)
        dtype = DTYPES[node.dtype.text]
    return TensorType(dtype, tuple(scope.dim(dim) for dim in node.dims))
