"""Rows in parallel: a kernel that lets go of the interpreter lock is given a share of the rows on each core.

A pool of our own instead of numba's: it may be entered from several Python threads at once whatever threading layer
numba found, and sleeps between calls, so that it never competes with the threads of BLAS.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

WORTHWHILE = 1 << 15
"""Elements below which handing work to another thread costs more than it saves (some 30 microseconds)."""


@lru_cache(maxsize=1)
def _pool(process: int) -> tuple[ThreadPoolExecutor | None, int]:  # a fork needs threads of its own
    wanted = os.environ.get("TTMLC_THREADS", "") or os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = min(cores, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else cores
    return (ThreadPoolExecutor(count - 1, "ttmlc-rows") if count > 1 else None), count


def over_rows(kernel: Callable[[int, int], object], rows: int, elements: int) -> None:
    """Call ``kernel(first, last)`` so that together the calls cover ``rows`` rows of ``elements`` elements in all."""
    pool, count = _pool(os.getpid())
    if pool is None or elements < WORTHWHILE or rows < count:
        kernel(0, rows)
        return
    bounds = [rows * share // count for share in range(count + 1)]
    others = [pool.submit(kernel, bounds[share], bounds[share + 1]) for share in range(1, count)]
    kernel(bounds[0], bounds[1])  # the caller's own share
    for other in others:
        other.result()
