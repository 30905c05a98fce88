"""Let the attention join its heads itself.

    %a = ttnn.sdpa(%q, %k, %v, %m)           [B, heads, S, head_dim]
    %y = ttnn.concat_heads(%a)         =>    %y = ttnn.sdpa(%q, %k, %v, %m) {concat_heads = true}

Declines when %a has another reader.
"""

from __future__ import annotations

from typing import ClassVar

from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Operation
from ttmlc.ir.scalar import Const
from ttmlc.passes.fusion.engine import Match, Scope


class FuseHeads:
    """See the module."""

    name: ClassVar[str] = "fuse-heads"

    def pattern(self, root: Operation, scope: Scope) -> Match | None:
        if root.op != "ttnn.concat_heads":
            return None
        attention = scope.maker(root.operands[0], "ttnn.sdpa")
        return None if attention is None else Match(root, (attention,))

    def check(self, match: Match, scope: Scope) -> str | None:
        shared = scope.shared(*match.parts)
        return None if shared is None else f"%{shared.name} has another reader"

    def rewrite(self, match: Match, build: Builder) -> None:
        attention = match.parts[0]
        attributes = {**dict(attention.attributes), "concat_heads": Const(True)}
        build.add(
            attention.op, attention.operands, attributes, name=match.root.result.name, span=attention.span
        )
