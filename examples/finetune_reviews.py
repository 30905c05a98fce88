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
import shutil
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from finetuning.data import Reviews, batches, load, tokens_of
from finetuning.sides import WEIGHTS, accuracy, ours, theirs
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer
from training.archives import NoDataError
from training.chart import SMOOTHED, draw
from training.run import Plan, Run, natural, options, positive
from training.sides import Ours, Theirs, Timed, linear

TRIED = [
    "A warm, funny film that I would gladly see again.",
    "Two hours of my life that I will never get back.",
    "The plot is thin, but the performances are a delight.",
    "It wants to be clever and is merely loud.",
]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options(parser, batch=32, lr=5e-5, name="reviews")
    parser.add_argument(
        "--seed", type=natural, default=0, help="of the head, the order of batches, and dropout"
    )
    parser.add_argument(
        "--seeds", type=positive, help="that many runs, of seeds 0, 1, ...; mean and each at the end"
    )
    parser.add_argument(
        "--limit", type=positive, help="train on so many reviews, and hold out as many at most"
    )
    parser.add_argument("--epochs", type=positive, default=1)
    given = parser.parse_args(words)
    if given.resume and (given.against or given.seeds):
        parser.error("--resume goes on with one run of ours: leave --against and --seeds out")
    return given


class Reviewing(Run):
    """A run of one seed, on one side or two."""

    def __init__(self, given: argparse.Namespace, seed: int, out: Path) -> None:
        self.seed = seed
        self.tokenizer = Tokenizer.from_file(str(WEIGHTS / "tokenizer.json"))
        self.train, self.held_out = load(self.tokenizer, given.limit)
        epochs = range(given.epochs)
        order = [places for epoch in epochs for places in batches(self.train, given.batch, [seed, epoch])]
        plan = Plan(
            steps=len(order),
            batch=lambda step: self.train.batch(order[step]),
            rate=partial(linear, given.lr, steps=len(order)),
            measured=partial(accuracy, reviews=self.held_out),
            told="accuracy on held-out reviews {:.1%}".format,
            settings={
                "dtype": given.dtype, "seed": seed, "limit": given.limit, "epochs": given.epochs,
                "batch": given.batch, "lr": given.lr,
            },
        )  # fmt: skip
        one = ours(given.dtype, seed)
        others = [theirs(one.model.state_dict(), given.dtype, seed)] if given.against else []
        super().__init__(plan, given, out, one, *others)

    def finish(self, console: Console) -> None:
        """Write the model, the curves and their picture; classify what nobody rated."""
        model = self.out / "model"
        self.ours.model.save_pretrained(model)
        shutil.copy(WEIGHTS / "tokenizer.json", model / "tokenizer.json")
        self.write_curves()
        title = f"film reviews, {self.given.dtype}, seed {self.seed}"
        draw(self.out / "curves.png", title, self.sides, "accuracy on held-out reviews")
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
            name, share = timed.side.name, timed.measures[-1][1]
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
            run = Reviewing(given, seed, out)
        except NoDataError as error:
            sys.exit(str(error))
        console.rule(
            f"{len(run.train)} reviews, {run.plan.steps} steps of {given.batch}, {given.dtype}, seed {seed}"
        )
        if not run.go():
            return
        run.finish(console)
        runs.append((seed, run.sides))
    compared(console, runs)


if __name__ == "__main__":
    main()
