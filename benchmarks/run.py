"""Ratios against peers, measured in one run: ``make bench``.

Inference: BERT-base, batch 8 x 128, float32, against Transformers in eager mode, two threads each, taking turns in
one process after both were seen to agree; the machine's noise hits both alike. Beside it: the wall time of a
compile, of importing a generated module, and the peak memory of each side in a process of its own.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
BATCH, TOKENS, ROUNDS, THREADS = 8, 128, 9, 2


def inputs() -> tuple[Any, Any]:
    """Token ids and a mask of ones, [8, 128]."""
    import numpy as np

    ids = np.random.default_rng(0).integers(0, 30522, (BATCH, TOKENS))
    return ids, np.ones_like(ids)


def theirs() -> Any:
    """Transformers' BERT-base in eval mode, and a function that runs it."""
    import torch
    from transformers import BertConfig, BertModel

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = BertModel(BertConfig(), add_pooling_layer=True).eval()
    ids, mask = (torch.from_numpy(array) for array in inputs())

    def run() -> Any:
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()

    return model, run


def ours(weights: dict[str, Any] | None) -> Any:
    """The generated module's BERT-base with the same weights, and a function that runs it."""
    sys.path.insert(0, str(ROOT))
    from generated.bert import BertModel

    model = BertModel(dtype="float32")
    if weights is not None:
        model.load_state_dict(weights)
    ids, mask = inputs()

    def run() -> Any:
        return model(ids, attention_mask=mask).last_hidden_state.numpy()

    return model, run


def inference() -> dict[str, Any]:
    """Both sides in turns; seconds and their ratio."""
    import numpy as np

    model, run_theirs = theirs()
    _, run_ours = ours({name: tensor.numpy() for name, tensor in model.state_dict().items()})
    a, b = run_theirs(), run_ours()
    difference = float(np.abs(a - b).max() / (a.max() - a.min()))
    if difference > 1e-4:
        sys.exit(f"the two sides disagree by {difference:.1e} of the range: nothing is timed")
    times: dict[str, list[float]] = {"transformers": [], "ttmlc": []}
    for _ in range(ROUNDS):
        for name, run in (("transformers", run_theirs), ("ttmlc", run_ours)):
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "workload": f"BERT-base, batch {BATCH} x {TOKENS}, float32, {THREADS} threads",
        "difference_of_range": difference,
        "seconds_median": median,
        "seconds_min": {name: min(values) for name, values in times.items()},
        "ratio": median["transformers"] / median["ttmlc"],
    }


def wall(*command: str, rounds: int = 5) -> float:
    """The median wall time of a command, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak(side: str) -> float:
    """The peak resident memory of one side in a process of its own, in MiB."""
    # The high-water mark of the process itself: what getrusage says may be its parent's, from before exec.
    code = (
        "import runpy, re; m = runpy.run_path('benchmarks/run.py');"
        f"_, run = m['theirs']() if {side!r} == 'theirs' else m['ours'](None); run(); run();"
        "print(int(re.search(r'VmHWM:[^0-9]*([0-9]+)', open('/proc/self/status').read()).group(1)) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure, print a table, write JSON."""
    if "OPENBLAS_CORETYPE" in os.environ or "OPENBLAS_L2_SIZE" in os.environ:
        print("note: OPENBLAS_* is set and slows numpy; run this by `make bench`", file=sys.stderr)
    ttmlc = str(Path(sys.executable).with_name("ttmlc"))
    spec = "specs/models/bert.spec"
    bare = wall(sys.executable, "-c", "pass")
    result = {
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "inference": inference(),
        "compile": {
            "seconds": wall(ttmlc, "compile", spec, "-o", "out/bench", "-q"),
            "of_that_python_start": bare,
        },
        "import_generated_seconds": wall(sys.executable, "-c", "import generated.bert") - bare,
        "peak_mib": {"transformers": peak("theirs"), "ttmlc": peak("ours")},
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    print(
        f"\ninference: {result['inference']['ratio']:.2f} times as fast as Transformers eager",
        file=sys.stderr,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
