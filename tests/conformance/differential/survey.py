"""Where the two differ, for a developer's eyes: ``python -m tests.conformance.differential.survey [COUNT [OP ...]]``.

Prints every difference of COUNT samples an op that the table of divergences does not name, with what each side says.
"""

from __future__ import annotations

import sys
import time
import warnings

import ttmlc_runtime.emulator as ttnn

from tests.conformance.differential.answers import Side, is_refusal
from tests.conformance.differential.divergences import explained, same
from tests.conformance.differential.real import Real
from tests.conformance.differential.sampling import sampled
from tests.conformance.differential.spaces.table import SPACES


def main() -> None:
    """Sample, ask, compare, print."""
    warnings.simplefilter("ignore")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    real, emulator = Real(), Side(ttnn, ttnn.open_device())
    for op in sys.argv[2:] or SPACES:
        started = time.monotonic()
        calls = sampled(op, count)
        drawn = time.monotonic() - started
        wanted = real.ask(calls)
        asked = time.monotonic() - started - drawn
        refused = sum(is_refusal(answer) for answer, _ in wanted)
        differ = 0
        for call, (answer, says) in zip(calls, wanted, strict=True):
            found, why = emulator.answer(call)
            if not same(answer, found) and not explained(str(call), answer, found, why):
                differ += 1
                said = " ".join(says.split())[-160:]
                print(
                    f"DIFF {call}\n    ttnn {answer} {said}\n    here {found} {why.splitlines()[0][:160] if why else ''}"
                )
        print(
            f"{op}: {len(calls)} calls, {refused} refused, {differ} differ; {drawn:.1f} s drawn, {asked:.1f} s asked, "
            f"{time.monotonic() - started - drawn - asked:.1f} s here, {real.deaths} deaths",
            flush=True,
        )


if __name__ == "__main__":
    main()
