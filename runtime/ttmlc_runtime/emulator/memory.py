"""Freed arrays stay with the process, to be the next ones.

glibc maps an array of more than 32 MiB (at first: of more than 128 KiB) afresh and gives it back when it is freed, and
trims its heap as soon as some of it is free, so that the system clears page after page for every result. Told to keep
them it is quicker: six elementwise ops in a row on [8, 1, 128, 3072] float32 took 24 ms and 3070 page faults, and take
11 ms and none (2 cores, glibc 2.36, best of 25), with the same peak of memory.

``TTMLC_MALLOC=default`` leaves the allocator as it is. It is left alone, too, where glibc's own variables say something
(``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``), and where there is no glibc.
"""

from __future__ import annotations

import ctypes
import os
import sys

SWITCH = "TTMLC_MALLOC"
OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
KEPT = 128 << 20
"""Bytes of the largest array that is kept: the table of embeddings of a base model is 94 MB in float32."""
FREE = 512 << 20
"""Bytes at the end of the heap that may lie free."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed() -> bool:
    """Tell the allocator, where that can be done and is wanted; whether it was."""
    if not sys.platform.startswith("linux") or os.environ.get(SWITCH) == "default":
        return False
    if any(name in os.environ for name in OWN):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # another C library has no such function, and other numbers
        tell = library.mallopt
    except (OSError, AttributeError):
        return False
    return bool(tell(_MMAP_THRESHOLD, KEPT)) and bool(tell(_TRIM_THRESHOLD, FREE))
