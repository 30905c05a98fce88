"""Jobs for what the host computes, on a board that is not there: a token picked for each row, to infer and to train."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.conformance.training_jobs import measured

Data = dict[str, Any]
CHOICES = {"TinyForSequenceClassification": (), "TinyForChoose": (2,)}


def picked(request: Data) -> Data:
    """Each head of the module at ``request["path"]``, at each number of tokens: two steps of both kinds."""
    from ttmlc_runtime import nn

    spec = importlib.util.spec_from_file_location("tiny", request["path"])
    assert spec is not None and spec.loader is not None
    module = sys.modules["tiny"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    device, found = nn.open_device(), {}
    for name, more in CHOICES.items():
        for tokens in request["tokens"]:
            model = getattr(module, name)(module.TinyConfig(), device=device)
            found[f"{name} {tokens}"] = {
                kind: measured(device, _steps(model, (3, *more, tokens), kind == "training"))
                for kind in ("inference", "training")
            }
    return found


def _steps(model: Any, shape: tuple[int, ...], train: bool) -> Iterator[Callable[[], Any]]:
    """Two steps with other ids, so that other tokens are picked."""
    model.train(train)
    for seed in range(2):
        ids = np.random.default_rng(seed).integers(0, 19, shape)

        def step(ids: Any = ids) -> None:
            model.zero_grad()
            loss = model(ids, labels=[0, 1, 0]).loss
            if train:
                loss.backward()

        yield step
