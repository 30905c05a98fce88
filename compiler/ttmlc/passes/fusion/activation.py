"""Apply an activation inside the linear that feeds it.

    %y = ttnn.linear(%x, %w, %b)
    %u = nn.activate(%y) {kind = act}     =>     %u = ttnn.linear(%x, %w, %b) {activation = act}

Declines when %y has another reader, or has an activation already.
"""

from __future__ import annotations

from typing import ClassVar

from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Operation
from ttmlc.passes.fusion.engine import Match, Scope


class FuseActivation:
    """See the module."""

    name: ClassVar[str] = "fuse-activation"

    def pattern(self, root: Operation, scope: Scope) -> Match | None:
        if root.op != "nn.activate":
            return None
        linear = scope.maker(root.operands[0], "ttnn.linear")
        return None if linear is None else Match(root, (linear,))

    def check(self, match: Match, scope: Scope) -> str | None:
        (linear,) = match.parts
        if scope.shared(linear) is not None:
            return f"%{linear.result.name} has another reader"
        if linear.get("activation") is not None:
            return f"%{linear.result.name} has an activation already"
        return None

    def rewrite(self, match: Match, build: Builder) -> None:
        (linear,) = match.parts
        attributes = {"activation": match.root.scalar("kind")}
        build.add(linear.op, linear.operands, attributes, name=match.root.result.name, span=match.root.span)
