"""Fine-tune a real encoder on real film reviews, and see how good it gets.

    make finetune                                                    one epoch, some minutes on the emulator
    python examples/finetune_reviews.py --against transformers       the same in PyTorch beside it, step by step
    python examples/finetune_reviews.py --out DIR --resume           go on where a run was stopped

The encoder is all-MiniLM-L6-v2 (6 layers, 22.7 million parameters) with a head of two classes that begins at random.
The reviews are 9173 snippets that people rated good or bad; 1500 are held out. One epoch of batches of 32, AdamW at
5e-5 with linear warm-up and decay, the config's dropout. See ``finetuning/sides.py`` for the recipe.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from finetuning.chart import SMOOTHED, draw
from finetuning.data import NoDataError, Reviews, batches, load, tokens_of
from finetuning.sides import ROOT, WEIGHTS, Ours, Theirs, Timed, rate
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer
from tqdm import tqdm

TRIED = [
    "A warm, funny film that I would gladly see again.",
    "Two hours of my life that I will never get back.",
    "The plot is thin, but the performances are a delight.",
    "It wants to be clever and is merely loud.",
]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--seed", type=int, default=0, help="of the head, the order of batches, and dropout")
    parser.add_argument(
        "--seeds", type=int, help="that many runs, of seeds 0, 1, ...; mean and each at the end"
    )
    parser.add_argument("--limit", type=int, help="train on so many reviews, and hold out as many at most")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--evaluations", type=int, default=4, help="how often in the run")
    parser.add_argument("--save-every", type=int, default=60, metavar="STEPS")
    parser.add_argument("--stop-after", type=int, metavar="STEPS", help="stop early, to be resumed")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "out" / "reviews", help="folder of all that is written"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--against", choices=("transformers",), help="train it in PyTorch as well, in turns")
    given = parser.parse_args(words)
    if given.resume and (given.against or given.seeds):
        parser.error("--resume goes on with one run of ours: leave --against and --seeds out")
    return given


class Run:
    """A run of one seed, on one side or two."""

    def __init__(self, given: argparse.Namespace, seed: int, out: Path) -> None:
        self.given, self.seed, self.out = given, seed, out
        self.tokenizer = Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))
        self.train, self.held_out = load(self.tokenizer, given.limit)
        epochs = range(given.epochs)
        self.order = [
            places for epoch in epochs for places in batches(self.train, given.batch, [seed, epoch])
        ]
        self.ours = Ours(given.dtype, seed)
        self.sides = [Timed(self.ours)]
        self.tokens = 0
        """That this process has seen, of which the speed is shown."""
        self.before = 0.0
        """Seconds of training that a resumed run has behind it."""
        if given.against:
            self.sides.append(Timed(Theirs(self.ours.model.state_dict(), given.dtype, seed)))

    @property
    def settings(self) -> dict[str, Any]:
        """What a resumed run must agree in."""
        given = self.given
        return {
            "dtype": given.dtype, "seed": self.seed, "limit": given.limit, "epochs": given.epochs,
            "batch": given.batch, "lr": given.lr,
        }  # fmt: skip

    def resume(self) -> int:
        """Go on from the checkpoint; how many steps it has taken."""
        from ttmlc_runtime.train import load_training_state

        extra = load_training_state(self.out / "checkpoint", self.ours.model, self.ours.optimizer)
        if extra["settings"] != self.settings:
            sys.exit(
                f"the checkpoint is of a run with {extra['settings']}, and this is one with {self.settings}"
            )
        self.sides[0].take(extra["curve"])
        self.before = self.sides[0].seconds
        return len(self.sides[0].losses)

    def save(self) -> None:
        """Write the checkpoint."""
        from ttmlc_runtime.train import save_training_state

        extra = {"settings": self.settings, "curve": self.sides[0].as_json()}
        save_training_state(self.out / "checkpoint", self.ours.model, self.ours.optimizer, extra=extra)

    def go(self) -> bool:
        """Train; whether it came to the end."""
        given, steps = self.given, len(self.order)
        done = self.resume() if given.resume else 0
        evaluated = {round(steps * (turn + 1) / given.evaluations) for turn in range(given.evaluations)} | {
            steps
        }
        with tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True) as bar:
            for step in range(done, steps):
                batch = self.train.batch(self.order[step])
                # Who goes first changes, so that neither always finds the caches as the other left them.
                for timed in self.sides if step % 2 else self.sides[::-1]:
                    timed.step(batch, rate(given.lr, step, steps))
                self._show(bar, int(batch.mask.sum()))
                last = step + 1
                if last in evaluated:
                    shares = [timed.evaluate(self.held_out) for timed in self.sides]
                    told = ", ".join(
                        f"{t.side.name} {share:.1%}" for t, share in zip(self.sides, shares, strict=True)
                    )
                    bar.write(f"step {last:4d}: accuracy on {len(self.held_out)} held-out reviews: {told}")
                stopped = given.stop_after == last and last < steps
                if stopped or last == steps or last % given.save_every == 0:
                    self.save()
                if stopped:
                    bar.write(f"stopped after step {last}; go on with --resume")
                    return False
        return True

    def _show(self, bar: Any, tokens: int) -> None:
        self.tokens += tokens
        speed = self.tokens / (self.sides[0].seconds - self.before)
        mean = statistics.fmean(self.sides[0].losses[-SMOOTHED:])
        bar.set_postfix_str(f"loss {mean:.3f}, {speed:,.0f} tokens/s", refresh=False)
        bar.update()

    def finish(self, console: Console) -> None:
        """Write the model, the curves and their picture; classify what nobody rated."""
        model = self.out / "model"
        self.ours.model.save_pretrained(model)
        shutil.copy(WEIGHTS / "tokenizer.json", model / "tokenizer.json")
        curves = {timed.side.name: timed.as_json() for timed in self.sides}
        (self.out / "curves.json").write_text(json.dumps({"settings": self.settings, **curves}) + "\n")
        draw(self.out / "curves.png", f"film reviews, {self.given.dtype}, seed {self.seed}", self.sides)
        console.print(f"wrote model/, checkpoint/, curves.png and curves.json to {self.out}")
        tried = Reviews(tokens_of(self.tokenizer, TRIED), [0] * len(TRIED))
        table = Table(box=None, title="reviews that nobody rated", title_justify="left", show_header=False)
        scores = self.ours.scores(tried.batch(np.arange(len(TRIED)))).astype(np.float64)
        for text, (bad, good) in zip(TRIED, scores, strict=True):
            share = 1 / (1 + np.exp(bad - good))
            table.add_row(
                "[green]good[/green]" if share > 0.5 else "[red]bad[/red]", f"{share:.0%} good", text
            )
        console.print(table)


def compared(console: Console, runs: list[tuple[int, list[Timed]]]) -> None:
    """A table of accuracy and seconds, of each run and over all."""
    table = Table(box=None, title="at the end", title_justify="left")
    for column in ("side", "seed", "accuracy", "last loss", "seconds of training"):
        table.add_column(column, justify="left" if column == "side" else "right")
    spent: dict[str, list[float]] = {}
    right: dict[str, list[float]] = {}
    for seed, sides in runs:
        for timed in sides:
            name, share = timed.side.name, timed.accuracies[-1][1]
            spent.setdefault(name, []).append(timed.seconds)
            right.setdefault(name, []).append(share)
            loss = statistics.fmean(timed.losses[-SMOOTHED:])
            table.add_row(name, str(seed), f"{share:.1%}", f"{loss:.3f}", f"{timed.seconds:.1f}")
    if len(runs) > 1:
        for name, shares in right.items():
            table.add_row(
                name, "mean", f"{statistics.fmean(shares):.1%}", "", f"{statistics.fmean(spent[name]):.1f}"
            )
    console.print(table)
    if len(spent) > 1:
        ratio = sum(spent[Theirs.name]) / sum(spent[Ours.name])
        console.print(f"{Ours.name} is {ratio:.2f} times as fast as {Theirs.name}, step by step in turns")


def main(words: Sequence[str] | None = None) -> None:
    """Train, compare, write."""
    given, console = arguments(words), Console(highlight=False)
    runs: list[tuple[int, list[Timed]]] = []
    for seed in range(given.seeds) if given.seeds else [given.seed]:
        out = given.out / f"seed-{seed}" if given.seeds else given.out
        out.mkdir(parents=True, exist_ok=True)
        try:
            run = Run(given, seed, out)
        except NoDataError as error:
            sys.exit(str(error))
        console.rule(
            f"{len(run.train)} reviews, {len(run.order)} steps of {given.batch}, {given.dtype}, seed {seed}"
        )
        if not run.go():
            return
        run.finish(console)
        runs.append((seed, run.sides))
    compared(console, runs)


if __name__ == "__main__":
    main()
