"""One side of the forward benchmark, in a process of its own; `run.py` tells it when to run.

    worker.py SIDE FOLDER INPUTS.npz OUTPUT.npy

It loads the model, runs once, writes that output for comparison, and says it is ready. Then each line on
standard input is one timed run, answered by its seconds, until the input ends; last comes the peak memory.
Every answer is one line of JSON, so that the sides can take turns on the same cores.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Inputs = Mapping[str, NDArray[np.int64]]
    Forward = Callable[[], NDArray[np.float32]]

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 2  # after the first run, which also compiles kernels and touches every weight


def ours(folder: Path, inputs: Inputs) -> Forward:
    """The generated module on the emulator, exact float32."""
    sys.path.insert(0, str(ROOT))
    from generated.bert import BertModel

    model = BertModel.from_pretrained(folder, dtype="float32")
    return lambda: np.asarray(model(**inputs).last_hidden_state.numpy(), np.float32)


def transformers(folder: Path, inputs: Inputs, attention: str) -> Forward:
    """Transformers on PyTorch, eager mode, with one of its attention implementations."""
    import torch
    from transformers import BertModel

    model = BertModel.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32).eval()
    tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}

    def forward() -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(model(**tensors).last_hidden_state.numpy(), np.float32)

    return forward


def blas() -> list[str]:
    """The BLAS and OpenMP libraries loaded here, with the kernel that each picked."""
    from threadpoolctl import threadpool_info

    return sorted(
        f"{lib['internal_api']} {lib['version']} {lib.get('architecture', '')} x{lib['num_threads']}"
        for lib in threadpool_info()
    )


def answer(**values: object) -> None:
    """One line to the conductor."""
    print(json.dumps(values), flush=True)


def main() -> None:
    """Load, say ready, run when told."""
    side, folder, inputs_file, output_file = sys.argv[1], *map(Path, sys.argv[2:5])
    with np.load(inputs_file) as arrays:
        inputs = dict(arrays)
    began = time.perf_counter()
    attention = side.partition("-")[2]
    forward = transformers(folder, inputs, attention) if attention else ours(folder, inputs)
    loaded = time.perf_counter()
    np.save(output_file, forward())
    first = time.perf_counter()
    for _ in range(WARM_UP):
        forward()
    answer(load=loaded - began, first=first - loaded, blas=blas())
    for _ in sys.stdin:
        began = time.perf_counter()
        forward()
        answer(seconds=time.perf_counter() - began)
    answer(peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
