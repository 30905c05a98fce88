"""Samples of a space, the same in every run: Hypothesis draws, and what it drew is kept."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance.differential.calls import Call
from tests.conformance.differential.spaces.table import strategy


def sampled(op: str, count: int) -> list[Call]:
    """``count`` different calls of ``op``, or as many as there are."""
    found: dict[str, Call] = {}

    @settings(
        max_examples=3 * count + 10,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy(op))
    def collect(call: Call) -> None:
        if len(found) == count:
            return  # Hypothesis repeats itself: so many more were asked for
        found.setdefault(str(call), call)

    collect()
    return list(found.values())[:count]
