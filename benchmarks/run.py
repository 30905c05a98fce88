"""Ratios against peers, measured in one run: ``make bench``.

Inference: BERT-base, batch 8 x 128, float32, against Transformers in eager mode, two threads each, taking turns in
one process after both were seen to agree; the machine's noise hits both alike. Training: the same model with a head,
a step of which is forward, backward and AdamW, with the config's own dropout and with none. Beside it: the wall time of
a compile, of importing a generated module, and the peak memory of each side in a process of its own.

    python benchmarks/run.py              everything
    python benchmarks/run.py training     one section of three; the JSON keeps the others
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
STEPS = int(os.environ.get("TTMLC_BENCH_STEPS", "5"))
"""Timed steps of training on each side, after one that is not."""
LEARNING_RATE, DECAY, LAYERS = 5e-5, 0.01, 12


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


def labels() -> Any:
    """A class for each row, [8]."""
    import numpy as np

    return np.random.default_rng(1).integers(0, 2, BATCH)


def their_step(dropout: float) -> Any:
    """Transformers' BERT-base with a head in train mode, and a function that takes a step and gives the loss."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    config = BertConfig(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    model = BertForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    ids, mask, targets = (torch.from_numpy(array) for array in (*inputs(), labels()))

    def step() -> float:
        loss = model(input_ids=ids, attention_mask=mask, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return model, step


def our_step(dropout: float, weights: dict[str, Any] | None = None) -> Any:
    """The same of the generated module."""
    sys.path.insert(0, str(ROOT))
    from ttmlc_runtime.optim import AdamW

    from generated.bert import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(p=dropout, p_attn=dropout), dtype="float32").train()
    if weights is not None:
        model.load_state_dict(weights)
    optimizer = AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=DECAY, decay_all=True)
    (ids, mask), targets = inputs(), labels()

    def step() -> float:
        loss = model(ids, attention_mask=mask, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return model, step


def training(dropout: float) -> dict[str, Any]:
    """Steps of both sides in turns; seconds and their ratio."""
    model, run_theirs = their_step(dropout)
    _, run_ours = our_step(dropout, {name: tensor.numpy() for name, tensor in model.state_dict().items()})
    a, b = run_theirs(), run_ours()
    # Dropout draws other numbers on each side; without it the loss is a mean of eight, of float32 logits.
    if not dropout and abs(a - b) > 1e-5 * abs(a):
        sys.exit(f"the two sides' losses are {a} and {b}: nothing is timed")
    times: dict[str, list[float]] = {"transformers": [], "ttmlc": []}
    processor: dict[str, list[float]] = {"transformers": [], "ttmlc": []}
    losses: dict[str, list[float]] = {"transformers": [a], "ttmlc": [b]}
    for _ in range(STEPS):
        for name, run in (("transformers", run_theirs), ("ttmlc", run_ours)):
            start, used = time.perf_counter(), time.process_time()
            losses[name].append(run())
            times[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "workload": (
            f"BERT-base with a classification head, a step of batch {BATCH} x {TOKENS}, float32, dropout {dropout}, "
            f"AdamW, {THREADS} threads"
        ),
        "losses": losses,
        "seconds_median": median,
        "seconds_min": {name: min(values) for name, values in times.items()},
        "processor_seconds_median": {name: statistics.median(values) for name, values in processor.items()},
        "ratio": median["transformers"] / median["ttmlc"],
    }


def products() -> dict[str, float]:
    """Seconds of the linear maps of a step alone, forward and backward, in each library.

    A program that makes these products, as both sides do, takes at least as long.
    """
    import numpy as np
    import torch

    torch.set_num_threads(THREADS)
    sizes = [(768, 3 * 768), (768, 768), (768, 3072), (3072, 768)]
    rng = np.random.default_rng(0)
    maps = [
        [
            rng.standard_normal(shape, np.float32)
            for shape in ((BATCH * TOKENS, k), (k, n), (BATCH * TOKENS, n))
        ]
        for k, n in sizes
    ]
    tensors = [[torch.from_numpy(array) for array in arrays] for arrays in maps]
    found: dict[str, list[float]] = {"torch": [], "numpy": []}
    for _ in range(STEPS):
        for name, operands in (("torch", tensors), ("numpy", maps)):
            start = time.perf_counter()
            for _ in range(LAYERS):
                for x, w, dy in operands:
                    x @ w, dy @ w.T, x.T @ dy
            found[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in found.items()}


def wall(*command: str, rounds: int = 5) -> float:
    """The median wall time of a command, in seconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak(call: str) -> float:
    """The peak resident memory of a process that makes a model by ``call`` and runs it twice, in MiB."""
    # The high-water mark of the process itself: what getrusage says may be its parent's, from before exec.
    code = (
        "import runpy, re; m = runpy.run_path('benchmarks/run.py');"
        f"_, run = eval({call!r}, m); run(); run();"
        "print(int(re.search(r'VmHWM:[^0-9]*([0-9]+)', open('/proc/self/status').read()).group(1)) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def compiling() -> dict[str, Any]:
    """The wall time of a compile, and of starting Python."""
    ttmlc, spec = str(Path(sys.executable).with_name("ttmlc")), "specs/models/bert.spec"
    return {
        "seconds": wall(ttmlc, "compile", spec, "-o", "out/bench", "-q"),
        "of_that_python_start": wall(sys.executable, "-c", "pass"),
    }


def measured(section: str) -> dict[str, Any]:
    """What a section adds to the results."""
    if section == "inference":
        return {
            "inference": inference(),
            "peak_mib": {"transformers": peak("theirs()"), "ttmlc": peak("ours(None)")},
        }
    if section == "training":
        return {
            "training": {
                "dropout_0.1": training(0.1),
                "dropout_0": training(0.0),
                "seconds_of_products": products(),
                "peak_mib": {"transformers": peak("their_step(0.1)"), "ttmlc": peak("our_step(0.1)")},
            }
        }
    found = compiling()
    imported = wall(sys.executable, "-c", "import generated.bert") - found["of_that_python_start"]
    return {"compile": found, "import_generated_seconds": imported}


SECTIONS = ("inference", "compile", "training")


def main() -> None:
    """Measure, print a table, write JSON."""
    wanted = sys.argv[1:] or list(SECTIONS)
    if not set(wanted) <= set(SECTIONS):
        sys.exit(f"the sections are {', '.join(SECTIONS)}")
    if "OPENBLAS_CORETYPE" in os.environ or "OPENBLAS_L2_SIZE" in os.environ:
        print("note: OPENBLAS_* is set and slows numpy; run this by `make bench`", file=sys.stderr)
    result = json.loads(RESULTS.read_text()) if len(wanted) < len(SECTIONS) and RESULTS.is_file() else {}
    result["machine"] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    for section in wanted:
        result.update(measured(section))
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    lines = {"inference": result["inference"]} if "inference" in wanted else {}
    if "training" in wanted:
        lines |= {f"training, {name}": result["training"][name] for name in ("dropout_0.1", "dropout_0")}
    for name, found in lines.items():
        print(f"{name}: {found['ratio']:.2f} times as fast as Transformers eager", file=sys.stderr)
    if "training" in wanted:
        memory, floor = result["training"]["peak_mib"], result["training"]["seconds_of_products"]
        told = ", ".join(f"{seconds:.2f} s in {name}" for name, seconds in floor.items())
        print(f"training: the products of its linear maps alone take {told}", file=sys.stderr)
        print(
            f"training: {memory['ttmlc']:.0f} MiB at the peak, Transformers {memory['transformers']:.0f}",
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
