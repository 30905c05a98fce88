"""Write what ttnn answers to a part of the samples and to corner cases.

``python -m tests.conformance.differential.record``, from the root of the project.

The record lets the emulator be held to ttnn where there is none. Corner cases are the calls of the record that no
sample makes: what somebody thought of once stays.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.conformance.differential.calls import call_from, to_data
from tests.conformance.differential.real import Real
from tests.conformance.differential.sampling import sampled
from tests.conformance.differential.spaces.table import SPACES

FILE = Path(__file__).parent / "record.json"
EACH = 12


def main() -> None:
    """Ask, and write one line for each call."""
    old = (
        [call_from(call) for call, _ in json.loads(FILE.read_text(encoding="utf-8"))] if FILE.exists() else []
    )
    calls = {str(call): call for call in (*old, *(call for op in SPACES for call in sampled(op, EACH)))}
    real = Real()
    answers = real.ask(list(calls.values()))
    real.close()
    lines = [
        json.dumps([to_data(call), answer]) for call, (answer, _) in zip(calls.values(), answers, strict=True)
    ]
    new = FILE.with_suffix(".new")
    new.write_text("[\n" + ",\n".join(sorted(lines)) + "\n]\n", encoding="utf-8")
    os.replace(new, FILE)


if __name__ == "__main__":
    main()
