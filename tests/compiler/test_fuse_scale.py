"""The scale of attention's scores, in its backward: where it goes, and where it stays."""

from __future__ import annotations

import pytest
import ttmlc.ir.device_training  # noqa: F401  # which declares the ops
from ttmlc.ir.parse import parse_module
from ttmlc.ir.text import print_module
from ttmlc.passes.fusion.engine import Fuse
from ttmlc.passes.fusion.scale import FuseScale

HEAD = """module t ttnn from "t.spec"
doc "T."
passes []
config T for "t"
end

"""
T = "bfloat16[@B, 3, @S, @S] tile"
DROPPED = f"""  %d = nn.dropout(%x) {{p = 0.5, site = 1}} : {T}
  %g = nn.softmax_backward(%d, %w) : {T}
  %y = ttnn.multiply(%g) {{scalar = 0.125}} : {T}"""


def fused(body: str, returns: str = "y = %y") -> tuple[list[str], list[str]]:
    module = parse_module(f"{HEAD}block A(%x: {T}, %w: {T})\n{body}\n  return {returns}\nend\n")
    outcome = Fuse(FuseScale()).run(module)
    lines = [line.strip() for line in print_module(outcome.module).splitlines() if line.startswith("  %")]
    return lines, [declined.reason for declined in outcome.declined]


def test_a_scale_moves_to_where_elements_are_dropped() -> None:
    lines, declined = fused(DROPPED)
    assert lines == [
        f"%d = nn.dropout(%x) {{p = 0.5, scale = 0.125, site = 1}} : {T}",
        f"%y = nn.softmax_backward(%d, %w) : {T}",
    ]
    assert declined == []


@pytest.mark.parametrize("read", ["d", "g"])
def test_a_scale_stays_where_what_it_does_not_scale_is_read_too(read: str) -> None:
    lines, declined = fused(DROPPED, returns=f"y = %y, {read} = %{read}")
    assert declined == [f"%{read} has another reader"]
    assert len(lines) == 3


def test_a_scale_stays_where_nothing_is_dropped() -> None:
    body = DROPPED.replace("nn.dropout(%x) {p = 0.5, site = 1}", "nn.activate(%x) {kind = 'tanh'}")
    lines, declined = fused(body)
    assert (len(lines), declined) == (3, [])
