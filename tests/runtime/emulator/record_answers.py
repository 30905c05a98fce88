"""Write what the real ttnn answers to every call, on a board that is not there: ``FILE FOLDER``.

Run it as ``python -m tests.runtime.emulator.record_answers`` from the root, in the environment that has ttnn.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Ask, and write one line for each call."""
    sys.path.insert(0, str(Path(__file__).parent))
    from ttnn_calls import Bench, answered, calls

    from tests.adr import mock_board

    mock_board.prepare("n150", Path(sys.argv[2]))
    os.environ["TT_LOGGER_LEVEL"] = "off"  # each refusal is logged as critical
    import ttnn

    device = ttnn.open_device(device_id=0)
    bench = Bench(ttnn, device)
    answers = {f"{op}: {what}": answered(call, bench) for op, what, call in calls()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(answer)}" for name, answer in answers.items())
    Path(sys.argv[1]).write_text("{\n" + lines + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
