"""Jobs for heads on a board that is not there: inference and training of each, with the programs that they run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.conformance.training_jobs import measured

Data = dict[str, Any]
BATCH, CHOICES = 2, 3
FIELDS = {"vocab": 99, "hidden": 96, "layers": 1, "heads": 3, "inner": 70, "positions": 64}


def heads(request: Data) -> Data:
    """Each head of ``request`` at each number of tokens: a step of inference, one of training; each again."""
    from ttmlc_runtime import nn

    device = nn.open_device()
    module = importlib.import_module(request["module"])
    found: Data = {}
    for name in request["names"]:
        for tokens in request["tokens"]:
            model = getattr(module, name)(module.BertConfig(**FIELDS), device=device)
            found[f"{name} {tokens}"] = {
                "inference": measured(device, _steps(model, name, tokens, train=False)),
                "training": measured(device, _steps(model, name, tokens, train=True)),
            }
    return found


def _steps(model: Any, name: str, tokens: int, *, train: bool) -> Iterator[Callable[[], Any]]:
    """Two steps with other inputs and labels."""
    model.train(train)
    for seed in range(2):
        given = _given(name, tokens, np.random.default_rng(seed))

        def step(given: Data = given) -> None:
            model.zero_grad()
            loss = model(**given).loss
            if train:
                loss.backward()

        yield step


def _given(name: str, tokens: int, chance: np.random.Generator) -> Data:
    shape = (BATCH, CHOICES, tokens) if name == "BertForMultipleChoice" else (BATCH, tokens)
    given: Data = {
        "input_ids": chance.integers(0, 99, shape),
        "attention_mask": np.arange(tokens) < chance.integers(1, tokens + 1, (*shape[:-1], 1)),
    }
    if name == "BertForQuestionAnswering":
        return {
            **given,
            "start_positions": chance.integers(0, tokens, BATCH),
            "end_positions": chance.integers(0, tokens, BATCH),
        }
    if name == "BertLMHeadModel":
        return {**given, "labels": given["input_ids"]}
    return {**given, "labels": chance.integers(0, CHOICES, BATCH)}
