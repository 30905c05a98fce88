"""Measure the project against Transformers, in one run on the same cores; results to JSON and a table.

    forward   BERT-base, batch 8 x 128, float32, two threads: the generated module on the emulator against
              Transformers, turn by turn (A B C A B C ...), after the outputs were found to agree
    compile   wall time of `ttmlc compile`, Python's start included, beside `python -c pass`
    import    wall time of importing the generated module in a new process

Never a pass or a fail on time; it ends with an error only when outputs differ. Run it by `make bench` on a
machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
SIDES = ("ours", "transformers-eager", "transformers-sdpa")
BATCH, TOKENS, THREADS = 8, 128, 2
# Of the range of the reference's values: two correct float32 programs differ by rounding, about 1e-6 of it
# after twelve layers; a wrong mask or norm is a hundred times over this.
AGREEMENT = 1e-4


def clean_environment() -> dict[str, str]:
    """The environment of every timed process: two threads, and numpy's BLAS left to choose its own kernels."""
    unset = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {
        **kept,
        **dict.fromkeys(threads, str(THREADS)),
        "TTMLC_BACKEND": "emulator",
        "HF_HUB_OFFLINE": "1",
    }


def pin() -> list[int]:
    """Keep this process, and so all that it starts, on two cores; which ones (empty where it cannot be set)."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))[:THREADS]
    os.sched_setaffinity(0, cores)
    return cores


def machine(cores: list[int]) -> dict[str, object]:
    """What the figures were taken on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores_used": cores,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: version(name) for name in ("numpy", "numba", "torch", "transformers", "ttmlc")},
    }


class Side:
    """A worker process that holds one model."""

    def __init__(self, name: str, folder: Path, scratch: Path) -> None:
        self.name = name
        self.output = scratch / f"{name}.npy"
        worker = Path(__file__).with_name("worker.py")
        self.process = subprocess.Popen(
            [sys.executable, str(worker), name, str(folder), str(scratch / "inputs.npz"), str(self.output)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        self.ready = self._answer()

    def _answer(self) -> dict[str, Any]:
        if self.process.stdout is None:  # never: it was opened as a pipe
            raise RuntimeError(self.name)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(
                f"the side '{self.name}' ended with exit code {self.process.wait()}; its error stands above"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self) -> float:
        """One forward; its seconds."""
        if self.process.stdin is None:
            raise RuntimeError(self.name)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._answer()["seconds"])

    def finish(self) -> int:
        """End the process; its peak resident memory in bytes."""
        if self.process.stdin is None:
            raise RuntimeError(self.name)
        self.process.stdin.close()
        peak = int(self._answer()["peak_bytes"])
        self.process.wait()
        return peak


def prepare(scratch: Path) -> Path:
    """Random BERT-base weights as a Hugging Face folder, and a ragged batch beside it."""
    code = (
        "import sys, torch, transformers as t; torch.manual_seed(0); "
        "t.BertModel(t.BertConfig()).save_pretrained(sys.argv[1])"
    )
    folder = scratch / "bert-base"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=clean_environment())
    rng = np.random.default_rng(0)
    lengths = rng.integers(TOKENS // 2, TOKENS + 1, BATCH)
    lengths[0] = TOKENS
    np.savez(
        scratch / "inputs.npz",
        input_ids=rng.integers(1000, 30522, (BATCH, TOKENS)),
        attention_mask=(np.arange(TOKENS) < lengths[:, None]).astype(np.int64),
    )
    return folder


def disagreement(mine: Side, reference: Side, mask: np.ndarray[Any, Any]) -> float:
    """The largest difference on real tokens, as a fraction of the reference's range."""
    one, other = (np.load(side.output)[mask.astype(bool)] for side in (mine, reference))
    return float(np.abs(one - other).max() / (other.max() - other.min()))


def forward(rounds: int) -> dict[str, Any]:
    """Time the sides turn by turn."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = prepare(scratch)
        sides = [Side(name, folder, scratch) for name in SIDES]
        for side in sides:
            stack.callback(side.process.kill)
        with np.load(scratch / "inputs.npz") as inputs:
            mask = inputs["attention_mask"]
        differences = {side.name: disagreement(sides[0], side, mask) for side in sides[1:]}
        for name, difference in differences.items():
            if not difference <= AGREEMENT:
                sys.exit(f"outputs differ from {name}'s by {difference:.1e} of its range: nothing was timed")
        seconds: dict[str, list[float]] = {name: [] for name in SIDES}
        for _ in range(rounds):
            for side in sides:
                seconds[side.name].append(side.run())
        return {
            "workload": f"BERT-base, batch {BATCH} x {TOKENS} ragged, float32, {THREADS} threads",
            "rounds": rounds,
            "difference_of_range": differences,
            "sides": {
                side.name: {**summary(seconds[side.name]), **side.ready, "peak_bytes": side.finish()}
                for side in sides
            },
            "ratio_of_medians": {
                name: median(seconds["ours"]) / median(seconds[name]) for name in SIDES if name != "ours"
            },
        }


def summary(seconds: list[float]) -> dict[str, Any]:
    """The figures that are read, and all that they were made from."""
    return {"median": median(seconds), "min": min(seconds), "max": max(seconds), "all": seconds}


def commands(rounds: int) -> dict[str, Any]:
    """Wall times of whole processes, turn by turn: what a user waits for at a prompt."""
    with tempfile.TemporaryDirectory() as out:
        timed = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "ttmlc compile": [
                str(Path(sys.executable).with_name("ttmlc")), "compile", "specs/models/bert.spec", "-o", out,
            ],
            "import generated.bert": [sys.executable, "-c", "import generated.bert"],
        }  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in timed}
        for turn in range(rounds + 1):
            for name, command in timed.items():
                began = time.perf_counter()
                subprocess.run(
                    command, cwd=ROOT, check=True, env=clean_environment(), stdout=subprocess.DEVNULL
                )
                if turn:  # the first fills the file cache
                    seconds[name].append(time.perf_counter() - began)
    return {name: summary(values) for name, values in seconds.items()}


def show(console: Console, results: dict[str, Any]) -> None:
    """The results as a person reads them."""
    if "forward" in results:
        one = results["forward"]
        table = Table(title=f"Forward: {one['workload']}, {one['rounds']} rounds", title_justify="left")
        for column in (
            "side",
            "median s",
            "min s",
            "ours / it",
            "first s",
            "load s",
            "peak MB",
            "differs by",
        ):
            table.add_column(column, justify="left" if column == "side" else "right")
        for name, side in one["sides"].items():
            ratio, differs = one["ratio_of_medians"].get(name), one["difference_of_range"].get(name)
            table.add_row(
                name,
                *(f"{side[key]:.3f}" for key in ("median", "min")),
                f"{ratio:.2f}" if ratio else "",
                *(f"{side[key]:.2f}" for key in ("first", "load")),
                f"{side['peak_bytes'] / 1e6:.0f}",
                f"{differs:.1e}" if differs is not None else "",
            )
        console.print(table)
    if "commands" in results:
        table = Table(title="Whole processes, Python's start included", title_justify="left")
        for column in ("command", "median s", "min s"):
            table.add_column(column, justify="left" if column == "command" else "right")
        for name, times in results["commands"].items():
            table.add_row(name, f"{times['median']:.3f}", f"{times['min']:.3f}")
        console.print(table)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Measure the project against Transformers.")
    parser.add_argument("--rounds", type=int, default=15, help="timed runs of each side (default 15)")
    parser.add_argument("--only", choices=("forward", "commands"), help="one of the two parts")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "benchmarks" / "results.json", help="where results go"
    )
    asked = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(pin())}
    if asked.only != "forward":
        results["commands"] = commands(min(asked.rounds, 9))
    if asked.only != "commands":
        results["forward"] = forward(asked.rounds)
    results["machine"]["load_after"] = os.getloadavg()[0]
    console = Console()
    show(console, results)
    console.print(
        f"load of the machine before and after: {results['machine']['load_before']:.1f}, "
        f"{results['machine']['load_after']:.1f} (this run's own threads included)"
    )
    asked.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {asked.json}")


if __name__ == "__main__":
    main()
