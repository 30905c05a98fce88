"""Freed arrays are kept: what it is for, and how it is turned off."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
import ttmlc_runtime.emulator

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    x = np.ones((4, 1 << 20), np.float32)
    for _ in range(20):
        x = x * np.float32(2)

work()
before = faults()
work()
print(faults() - before)
"""
PAGES = 20 * 4 * (1 << 20) * 4 // (2 << 20)
"""Of everything that the second run makes, if each array is mapped afresh, and by huge pages of 2 MiB at that."""


def faults(**variables: str) -> int:
    """Page faults of a chain of operations in a process of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))
    }
    told = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stdout)


pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc to tell")


def test_arrays_are_used_again_without_page_faults() -> None:
    assert faults() < PAGES // 4


@pytest.mark.parametrize(
    "variable", [{"TTMLC_MALLOC": "default"}, {"MALLOC_TRIM_THRESHOLD_": "131072"}], ids=["ours", "glibc's"]
)
def test_the_allocator_is_left_alone_where_somebody_says_so(variable: dict[str, str]) -> None:
    assert faults(**variable) > PAGES // 2
