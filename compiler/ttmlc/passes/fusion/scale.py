"""Scale where elements are dropped, which scales anyway, and not behind the softmax's gradient.

    %d = nn.dropout(%dy) {p, site}
    %g = nn.softmax_backward(%d, %y)
    %s = ttnn.multiply(%g) {scalar = k}   =>   %d = nn.dropout(%dy) {p, site, scale = k}
                                               %s = nn.softmax_backward(%d, %y)

A softmax's gradient is linear in what comes in. Declines when %d or %g has another reader.
"""

from __future__ import annotations

from typing import ClassVar

from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Operation
from ttmlc.passes.fusion.engine import Match, Scope


class FuseScale:
    """See the module."""

    name: ClassVar[str] = "fuse-scale"

    def pattern(self, root: Operation, scope: Scope) -> Match | None:
        if root.op != "ttnn.multiply" or root.get("scalar") is None:
            return None
        gradient = scope.maker(root.operands[0], "nn.softmax_backward")
        dropped = None if gradient is None else scope.maker(gradient.operands[0], "nn.dropout")
        return None if gradient is None or dropped is None else Match(root, (dropped, gradient))

    def check(self, match: Match, scope: Scope) -> str | None:
        shared = scope.shared(*match.parts)
        return None if shared is None else f"%{shared.name} has another reader"

    def rewrite(self, match: Match, build: Builder) -> None:
        dropped, gradient = match.parts
        root, y = match.root, gradient.operands[1]
        attributes = {**dict(dropped.attributes), "scale": root.scalar("scalar")}
        scaled = build.add(
            dropped.op, dropped.operands, attributes, name=dropped.result.name, span=dropped.span
        )
        build.add(gradient.op, (scaled, y), name=root.result.name, span=root.span)
