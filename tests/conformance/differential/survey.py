"""Where the two differ, for a developer's eyes: ``python -m tests.conformance.differential.survey [COUNT [OP ...]]``.

Prints every difference of COUNT samples an op that the table of divergences does not name, with what each side says.
"""

from __future__ import annotations

import sys
import time

from tests.conformance.differential.answers import is_refusal
from tests.conformance.differential.compared import differences
from tests.conformance.differential.real import Real
from tests.conformance.differential.sampling import sampled
from tests.conformance.differential.spaces.table import SPACES


def main() -> None:
    """Sample, ask, compare, print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    real = Real()
    total = refusals = 0
    for op in sys.argv[2:] or SPACES:
        started = time.monotonic()
        calls = sampled(op, count)
        answers = [answer for answer, _ in real.ask(calls)]
        told, meant = differences(calls, answers)
        refused = sum(map(is_refusal, answers))
        total, refusals = total + len(calls), refusals + refused
        print(*told, sep="\n", end="\n" * bool(told))
        print(
            f"{op}: {len(calls)} calls, {refused} refused, {len(told)} differ, {len(meant)} on purpose; "
            f"{time.monotonic() - started:.1f} s",
            flush=True,
        )
    real.close()
    print(f"in all: {total} calls, {refusals / max(total, 1):.0%} refused by ttnn")


if __name__ == "__main__":
    main()
