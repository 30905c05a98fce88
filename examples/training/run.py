"""A run: sides that take the same steps in turns, a bar that says how far they are, and a checkpoint of ours."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .chart import SMOOTHED
from .sides import Batch, Ours, Side, Timed

ROOT = Path(__file__).resolve().parents[2]


def options(parser: argparse.ArgumentParser, *, batch: int, lr: float, name: str) -> None:
    """What every run may be told: its defaults, and the folder under ``out/`` that it writes."""
    parser.add_argument("--dtype", choices=("float32", "float64", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=positive, default=batch)
    parser.add_argument("--lr", type=float, default=lr, help="the learning rate at its highest")
    parser.add_argument("--evaluations", type=positive, default=4, help="how often in the run")
    parser.add_argument("--save-every", type=positive, default=60, metavar="STEPS")
    parser.add_argument("--stop-after", type=positive, metavar="STEPS", help="stop early, to be resumed")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / name, help="folder of all that is written")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--against", choices=("transformers",), help="train it in PyTorch as well, in turns")


def natural(word: str) -> int:
    """A whole number, of the command line."""
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number")
    return int(word)


def positive(word: str) -> int:
    """A whole number above 0, of the command line."""
    number = natural(word)
    if not number:
        raise argparse.ArgumentTypeError("0 is too few")
    return number


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        steps: how many there are.
        batch: of a step, which counts from 0.
        rate: the learning rate of a step.
        measured: what is measured of a side now and then.
        told: that number in a reader's words.
        settings: what a resumed run must agree in.
    """

    steps: int
    batch: Callable[[int], Batch]
    rate: Callable[[int], float]
    measured: Callable[[Side], float]
    told: Callable[[float], str]
    settings: Mapping[str, Any]


class Run:
    """A run of one side or two; the first is ours."""

    def __init__(self, plan: Plan, given: argparse.Namespace, out: Path, ours: Ours, *others: Side) -> None:
        self.plan, self.given, self.out, self.ours = plan, given, out, ours
        self.sides = [Timed(side) for side in (ours, *others)]
        self.tokens = 0
        """That this process has seen, of which the speed is shown."""
        self.before = 0.0
        """Seconds of training that a resumed run has behind it."""

    def resume(self) -> int:
        """Go on from the checkpoint; how many steps it has taken."""
        from ttmlc_runtime.train import load_training_state

        extra = load_training_state(self.out / "checkpoint", self.ours.model, self.ours.optimizer)
        if extra["settings"] != self.plan.settings:
            sys.exit(
                f"the checkpoint is of a run with {extra['settings']}, and this is one with {self.plan.settings}"
            )
        self.sides[0].take(extra["curve"])
        self.before = self.sides[0].seconds
        return len(self.sides[0].losses)

    def save(self) -> None:
        """Write the checkpoint."""
        from ttmlc_runtime.train import save_training_state

        extra = {"settings": self.plan.settings, "curve": self.sides[0].as_json()}
        save_training_state(self.out / "checkpoint", self.ours.model, self.ours.optimizer, extra=extra)

    def go(self) -> bool:
        """Train; whether it came to the end."""
        given, plan, steps = self.given, self.plan, self.plan.steps
        done = self.resume() if given.resume else 0
        turns = range(1, given.evaluations + 1)
        evaluated = {round(steps * turn / given.evaluations) for turn in turns}
        with tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True) as bar:
            for step in range(done, steps):
                batch = plan.batch(step)
                # Who goes first changes, so that neither always finds the caches as the other left them.
                for timed in self.sides if step % 2 else self.sides[::-1]:
                    timed.step(batch, plan.rate(step))
                self._show(bar, tokens(batch))
                last = step + 1
                if last in evaluated:
                    values = [(timed.side.name, timed.measure(plan.measured)) for timed in self.sides]
                    bar.write(
                        f"step {last:4d}: "
                        + ", ".join(f"{name} {plan.told(value)}" for name, value in values)
                    )
                stopped = given.stop_after == last and last < steps
                if stopped or last == steps or last % given.save_every == 0:
                    self.save()
                if stopped:
                    bar.write(f"stopped after step {last}; go on with --resume")
                    return False
        return True

    def _show(self, bar: Any, seen: int) -> None:
        self.tokens += seen
        speed = self.tokens / (self.sides[0].seconds - self.before)
        mean = statistics.fmean(self.sides[0].losses[-SMOOTHED:])
        bar.set_postfix_str(f"loss {mean:.3f}, {speed:,.0f} tokens/s", refresh=False)
        bar.update()

    def write_curves(self) -> None:
        """Write what every side's steps were, as JSON."""
        curves = {timed.side.name: timed.as_json() for timed in self.sides}
        write(self.out / "curves.json", json.dumps({"settings": self.plan.settings, **curves}) + "\n")


def tokens(batch: Batch) -> int:
    """How many tokens a batch has, without padding."""
    counted = batch.get("attention_mask")
    return int(batch["input_ids"].size if counted is None else counted.sum())


def write(path: Path, text: str) -> None:
    """Write a file, which is the old one until it is whole."""
    staging = path.with_name(f".{path.name}")
    staging.write_text(text, encoding="utf-8")
    staging.replace(path)
