"""Add the residual inside the norm that reads it.

    %s = ttnn.add(%x, %y)
    %n = ttnn.layer_norm(%s, %w, %b)     =>     %n = ttnn.layer_norm(%y, %w, %b, %x)

The later of the two summands is the one that is normalised, the earlier the residual.
Declines when %s has another reader (the sum is not returned by the norm), or when a summand broadcasts.
"""

from __future__ import annotations

from typing import ClassVar

from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Operation
from ttmlc.passes.fusion.engine import Match, Scope

RESIDUAL = {"ttnn.layer_norm": 3, "ttnn.rms_norm": 2}
"""The norms, and where each takes a residual."""


class FuseResidual:
    """See the module."""

    name: ClassVar[str] = "fuse-residual"

    def pattern(self, root: Operation, scope: Scope) -> Match | None:
        place = RESIDUAL.get(root.op)
        if place is None or len(root.operands) > place:
            return None
        total = scope.maker(root.operands[0], "ttnn.add")
        # A number that is added is no residual: it is an attribute, and the only operand is the norm's input.
        return None if total is None or len(total.operands) < 2 else Match(root, (total,))

    def check(self, match: Match, scope: Scope) -> str | None:
        (total,) = match.parts
        left, right = total.operands
        assert left is not None and right is not None
        if scope.shared(total) is not None:
            return f"%{total.result.name} has another reader"
        if left.type != right.type:
            return f"%{left.name} and %{right.name} differ in shape"
        return None

    def rewrite(self, match: Match, build: Builder) -> None:
        (total,) = match.parts
        root = match.root
        residual, x = total.operands
        weights = root.operands[1:]
        gap = (None,) * (RESIDUAL[root.op] - 1 - len(weights))
        operands = (x, *weights, *gap, residual)
        build.add(root.op, operands, dict(root.attributes), name=root.result.name, span=root.span)
