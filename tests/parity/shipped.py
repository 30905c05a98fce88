"""Trained weights that Python packages carry, as Hugging Face folders."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="the reference computes with it")


def shipped(package: str, path: str) -> Path:
    """A file or folder of an installed package; without it the test is skipped, and under CI=true it fails."""
    try:
        return Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        why = f"the package {package}, which carries the weights, is not installed: make env"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)


def as_safetensors(source: Path, target: Path) -> Path:
    """A folder whose weights are pytorch_model.bin, written anew; torch reads them as tensors and nothing else."""
    from safetensors.torch import save_file

    target.mkdir(parents=True)
    state = torch.load(source / "pytorch_model.bin", map_location="cpu", weights_only=True)
    tensors = {
        name: tensor.clone().contiguous() for name, tensor in state.items()
    }  # two may share their memory
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "vocab.txt"):
        shutil.copy(source / name, target / name)
    return target
