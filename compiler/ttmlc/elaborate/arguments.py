"""What functions of the language take: tensors, dimensions, axes, numbers, each told where it stands if it is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ttmlc.elaborate.binding import Bound
from ttmlc.elaborate.problems import MISFIT, problem
from ttmlc.elaborate.scope import MAY_BE_NONE
from ttmlc.elaborate.values import Number, Tensor, Written, describe
from ttmlc.ir.scalar import Const, Scalar
from ttmlc.ir.types import ONE, Axis, Dim

if TYPE_CHECKING:
    from ttmlc.elaborate.expressions import Expressions


def tensor(elaborator: Expressions, bound: Bound, name: str) -> Tensor:
    """A tensor argument."""
    meaning = elaborator.argument(bound, name)
    if not isinstance(meaning, Tensor):
        raise problem(MISFIT, f"{name!r} must be a tensor", bound.span(name), f"is {describe(meaning)}")
    return replace(meaning, span=bound.span(name))


def dim(elaborator: Expressions, bound: Bound, name: str) -> Dim:
    """A dimension argument: a size that is an axis, a declared axis, a written product, or 1."""
    meaning = elaborator.argument(bound, name)
    if isinstance(meaning, Written):
        return meaning.dim
    if isinstance(meaning, Number) and meaning.dim is not None:
        return meaning.dim
    if isinstance(meaning, Number) and meaning.scalar == Const(1):
        return ONE
    hint = "Use a config field of kind 'size', or a product such as (heads head_dim)."
    if isinstance(meaning, Number) and elaborator.scope.may_be_none(meaning):
        hint = MAY_BE_NONE
    raise problem(
        MISFIT, f"{name!r} must be a dimension", bound.span(name), f"is {describe(meaning)}", hint=hint
    )


def number(
    elaborator: Expressions,
    bound: Bound,
    name: str,
    kinds: tuple[str, ...] = ("int", "float"),
    least: int | None = None,
) -> Scalar:
    """A scalar argument of one of ``kinds``; a literal is refused below ``least``."""
    meaning = elaborator.argument(bound, name)
    if not isinstance(meaning, Number) or meaning.kind not in kinds:
        raise problem(
            MISFIT, f"{name!r} must be {' or '.join(kinds)}", bound.span(name), f"is {describe(meaning)}"
        )
    value = meaning.scalar.value if isinstance(meaning.scalar, Const) else None
    if least is not None and isinstance(value, (int, float)) and value < least:
        raise problem(MISFIT, f"{name!r} must be at least {least}", bound.span(name), f"is {value}")
    return meaning.scalar


def axis(elaborator: Expressions, bound: Bound, name: str) -> Axis:
    """An argument that is one axis."""
    over = dim(elaborator, bound, name)
    if not isinstance(over, Axis):
        raise problem(MISFIT, f"{name!r} must be one axis", bound.span(name))
    return over
