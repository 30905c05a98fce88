"""Move a view behind the op that reads it, so that several views become one.

    %a = ttnn.reshape(%x)  [B, S, H] -> [B, 1, S, H]
    %b = ttnn.reshape(%y)                                      %t = ttnn.add(%x, %y)
    %s = ttnn.add(%a, %b)                               =>     %s = ttnn.reshape(%t)

For ops that work row by row: elementwise ones, and norms over the last dimension.
Declines when a view has another reader, or when the views differ.
"""

from __future__ import annotations

from typing import ClassVar

from ttmlc.ir.builder import Builder
from ttmlc.ir.module import Operation, Value
from ttmlc.passes.fusion.engine import Match, Scope

# Which operands are activations, by op: the others are weights.
ROWWISE = {
    "ttnn.add": (0, 1),
    "ttnn.subtract": (0, 1),
    "ttnn.multiply": (0, 1),
    "ttnn.layer_norm": (0, 3),
    "ttnn.rms_norm": (0, 2),
}


class SinkViews:
    """See the module."""

    name: ClassVar[str] = "sink-views"

    def pattern(self, root: Operation, scope: Scope) -> Match | None:
        if root.op not in ROWWISE:
            return None
        views = [scope.maker(value, "ttnn.reshape") for value in _activations(root)]
        if not views or any(view is None for view in views):
            return None
        return Match(root, tuple(view for view in views if view is not None))

    def check(self, match: Match, scope: Scope) -> str | None:
        shared = scope.shared(*match.parts)
        if shared is not None:
            return f"%{shared.name} has another reader"
        if len({(_source(view).type, view.result.type) for view in match.parts}) > 1:
            return "the views differ"
        return None

    def rewrite(self, match: Match, build: Builder) -> None:
        root, view = match.root, match.parts[0]
        sources = iter(_source(part) for part in match.parts)
        places = [place for place in ROWWISE[root.op] if place < len(root.operands) and root.operands[place]]
        operands = [next(sources) if place in places else value for place, value in enumerate(root.operands)]
        wanted = root.result.name
        # The view keeps the root's name, which later operations read; the inner value gets the next number.
        inner_name = build.names.fresh(f"{wanted}_2")
        build.names.release(inner_name)
        inner = build.add(root.op, operands, dict(root.attributes), name=inner_name, span=root.span)
        build.add("ttnn.reshape", (inner,), dict(view.attributes), name=wanted, span=root.span)


def _activations(root: Operation) -> list[Value]:
    found = (root.operands[place] for place in ROWWISE[root.op] if place < len(root.operands))
    return [value for value in found if value is not None]


def _source(view: Operation) -> Value:
    source = view.operands[0]
    assert source is not None
    return source
