"""Run by a test: saves states one after the other until it is killed, or is killed at every step of one save.

``saver.py FOLDER`` saves states numbered from 1, whose parameters are all of that number, and says when the first is
there. ``saver.py FOLDER steps`` saves one, then in a child a second, again and again: each child dies one call to the
system later. It prints the number that is found after each.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from toy import fresh
from ttmlc_runtime.train import load_training_state, save_training_state


def numbered(folder: str, model: Any, optimizer: Any, number: int) -> None:
    """Save a state in which everything is ``number``, which bfloat16 holds."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    model.load_state_dict({name: np.full(shape, number, np.float32) for name, shape in shapes.items()})
    moment = {name: np.full(shape, number, np.float32) for name, shape in shapes.items()}
    state = {name: {"step": number, "exp_avg": m, "exp_avg_sq": m, "master": m} for name, m in moment.items()}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    save_training_state(folder, model, optimizer, extra={"number": number})


def found(folder: str) -> int:
    """The number of the state there, all of it checked."""
    model, optimizer = fresh()
    number = int(load_training_state(folder, model, optimizer)["number"])
    assert all((value == number).all() for value in model.state_dict().values())
    for state in optimizer.state_dict()["state"].values():
        assert state["step"] == number
        assert all((state[key] == number).all() for key in ("exp_avg", "exp_avg_sq", "master"))
    return number


def dying(call: Any, left: list[int]) -> Any:
    """``call``, at which the process dies when nothing is left, without a word, as at a power cut."""

    def counted(*arguments: Any, **keywords: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **keywords)

    return counted


def at_every_step(folder: str) -> None:
    model, optimizer = fresh()
    numbered(folder, model, optimizer, 1)
    numbers, leftovers = [], 0
    for calls in range(200):
        child = os.fork()
        if child == 0:
            left = [calls]
            for module, names in (
                (os, ("rename", "replace", "fsync", "unlink", "rmdir")),
                (shutil, ("rmtree",)),
            ):
                for name in names:
                    setattr(module, name, dying(getattr(module, name), left))
            Path.open = dying(Path.open, left)  # type: ignore[method-assign]  # the writer dies in it
            numbered(folder, model, optimizer, 2)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        numbers.append(found(folder))
        if os.WIFEXITED(status):
            break
        leftovers = max(leftovers, len(os.listdir(folder)))
        numbered(folder, model, optimizer, 1)
    sys.stdout.write(json.dumps([numbers, leftovers, sorted(os.listdir(folder))]))


def main() -> None:
    if sys.argv[2:] == ["steps"]:
        at_every_step(sys.argv[1])
        return
    model, optimizer = fresh()
    for number in range(1, 129):
        numbered(sys.argv[1], model, optimizer, number)
        if number == 1:
            sys.stdout.write("begun\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
