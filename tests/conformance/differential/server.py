"""The real ttnn on a mock board, answering calls: lists of calls in as lines of JSON, lists of answers out.

Started by ``real.py`` as ``python -m tests.conformance.differential.server`` in the Python that has ttnn.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Serve until there is no more input."""
    from ttmlc_runtime.mockboard.kit import open_board, prepare

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever ttnn prints is not an answer
    prepare("n150")
    import ttnn

    from tests.conformance.differential.answers import Side
    from tests.conformance.differential.calls import call_from

    device = open_board(ttnn, "n150")
    kinds = (ttnn.BufferType.DRAM, ttnn.BufferType.L1)

    def allocated() -> int:
        views: list[Any] = [ttnn.get_memory_view(device, kind) for kind in kinds]
        return sum(view.total_bytes_allocated_per_bank for view in views)

    side = Side(ttnn, device, allocated)
    for line in sys.stdin:
        for data in json.loads(line):
            # one line for each call, so that an answer is not lost when a later call ends the process
            answers.write(json.dumps(side.answer(call_from(data))) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
