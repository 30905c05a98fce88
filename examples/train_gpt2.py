"""Train a small GPT-2 on prose from nothing, and read what it writes.

    make train                                                  some minutes on the emulator
    python examples/train_gpt2.py --against transformers        the same in PyTorch beside it, step by step
    python examples/train_gpt2.py --out DIR --resume            go on where a run was stopped

The text is the King James Version, 4.1 million characters, of which every tenth chapter is held out. Its tokens are a
byte-level BPE of 2048, made of the other chapters; the model is ``specs/models/gpt2.spec`` compiled for 4 layers of 128
features, 1.1 million parameters. See ``prose/sides.py`` for the recipe.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from functools import partial

import numpy as np
from prose.data import BIBLE, END, HELD_OUT, Prose, chapters, split, tokenizer_of
from prose.sides import bits, config_of, held_out_loss, ours, theirs
from rich.console import Console
from rich.table import Table
from training.archives import NoDataError
from training.chart import SMOOTHED, apart, draw
from training.run import Plan, Run, natural, options, positive, write
from training.sides import Timed, cosine

BYTES = 256
"""Tokens that byte-level BPE has before it learns any, beside the end token."""


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options(parser, batch=16, lr=3e-3, name="prose")
    parser.add_argument(
        "--seed", type=natural, default=0, help="of the weights, of the windows, and of the sample"
    )
    parser.add_argument("--limit", type=positive, metavar="CHAPTERS", help="so many of the book alone")
    parser.add_argument("--steps", type=positive, default=1000)
    parser.add_argument("--vocabulary", type=positive, default=2048, metavar="TOKENS")
    parser.add_argument("--context", type=positive, default=128, metavar="TOKENS")
    parser.add_argument("--layers", type=positive, default=4)
    parser.add_argument("--hidden", type=positive, default=128)
    parser.add_argument("--heads", type=positive, default=4)
    parser.add_argument("--prompt", default="And it came to pass", help="what the sample begins with")
    given = parser.parse_args(words)
    if given.resume and given.against:
        parser.error("--resume goes on with one run of ours: leave --against out")
    if given.hidden % given.heads:
        parser.error(f"--heads {given.heads} must divide --hidden {given.hidden}")
    if given.vocabulary <= BYTES:
        parser.error(f"--vocabulary {given.vocabulary} has no room for {BYTES} bytes and the end token")
    if given.context < 2:
        parser.error("--context 1 leaves nothing to predict")
    if given.limit and given.limit < HELD_OUT:
        parser.error(f"--limit {given.limit} holds nothing out: one chapter of {HELD_OUT} is")
    if not given.prompt:
        parser.error("--prompt is empty: a text begins with something")
    return given


class Writing(Run):
    """A run on prose, on one side or two."""

    def __init__(self, given: argparse.Namespace) -> None:
        train, held_out = split(chapters(BIBLE.fetch())[: given.limit])
        self.tokenizer = tokenizer_of(train, given.vocabulary)
        self.train, self.held_out = (Prose.of(texts, self.tokenizer) for texts in (train, held_out))
        self.prompt = self.tokenizer.encode(given.prompt).ids
        if len(self.prompt) > given.context:
            sys.exit(f"--prompt has {len(self.prompt)} tokens, and --context {given.context}")
        if len(self.train.tokens) < given.context:
            sys.exit(
                f"--context {given.context} is longer than the text, which has {len(self.train.tokens)} tokens"
            )
        sizes = ("vocabulary", "context", "layers", "hidden", "heads")
        config = config_of(**{name: getattr(given, name) for name in sizes})
        names = ("dtype", "seed", "limit", "steps", "batch", "lr", *sizes)
        plan = Plan(
            steps=given.steps,
            batch=lambda step: self.train.batch(given.batch, given.context, [given.seed, step]),
            rate=partial(cosine, given.lr, steps=given.steps),
            measured=partial(held_out_loss, prose=self.held_out, context=given.context),
            told=lambda loss: f"held-out perplexity {math.exp(loss):.1f}",
            settings={name: getattr(given, name) for name in names},
        )
        one = ours(config, given.dtype, given.seed)
        others = [theirs(config, one.model.state_dict(), given.dtype)] if given.against else []
        super().__init__(plan, given, given.out, one, *others)

    def sample(self) -> str:
        """What the model writes on from the prompt, as far as its context goes or to the end of a chapter."""
        tokens = self.ours.model.eval().generate(
            np.array([self.prompt]),
            max_new_tokens=self.given.context + 1 - len(self.prompt),
            do_sample=True,
            temperature=0.8,
            top_p=0.95,
            eos_token_id=self.tokenizer.token_to_id(END),
            seed=self.given.seed,
        )
        return self.tokenizer.decode(tokens[0].tolist())

    def finish(self, console: Console) -> None:
        """Write the model, a sample, the curves and their picture."""
        model = self.out / "model"
        model.mkdir(exist_ok=True)
        write(model / "tokenizer.json", self.tokenizer.to_str(pretty=True))
        kept = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END}
        write(model / "tokenizer_config.json", json.dumps(kept, indent=2) + "\n")
        self.ours.model.save_pretrained(model)
        self.write_curves()
        draw(
            self.out / "curves.png",
            f"{self.ours.model.num_parameters():,} parameters on prose, {self.given.dtype}, seed {self.given.seed}",
            self.sides,
            "loss of a held-out token",
            lines={"how often each token comes, and no more": self.train.entropy()},
            compared=True,
        )
        text = self.sample()
        write(self.out / "sample.txt", text + "\n")
        console.print(f"wrote model/, checkpoint/, sample.txt, curves.png and curves.json to {self.out}")
        console.rule("sample")
        console.print(text, markup=False)
        console.rule()


def compared(console: Console, run: Writing) -> None:
    """Tables of perplexity and seconds, and of how far the losses of two sides are apart."""
    table = Table(box=None, title="at the end", title_justify="left")
    titles = ("side", "perplexity", "bits a character", "last loss", "seconds of training", "tokens/s")
    for title in titles:
        table.add_column(title, justify="left" if title == "side" else "right")
    seen = run.given.steps * run.given.batch * run.given.context
    for timed in run.sides:
        loss = timed.measures[-1][1]
        table.add_row(
            timed.side.name, f"{math.exp(loss):.2f}", f"{bits(loss, run.held_out):.3f}",
            f"{statistics.fmean(timed.losses[-SMOOTHED:]):.3f}", f"{timed.seconds:.1f}", f"{seen / timed.seconds:,.0f}",
        )  # fmt: skip
    console.print(table)
    if len(run.sides) > 1:
        differences(console, run.sides)


def differences(console: Console, sides: Sequence[Timed]) -> None:
    """A table of some steps, of the largest difference and of the speeds; ``curves.json`` has every step."""
    first, second = sides
    shares = apart(sides)
    table = Table(box=None, title="losses, step by step", title_justify="left")
    for title in ("step", first.side.name, second.side.name, "difference"):
        table.add_column(title, justify="right")
    for place in sorted(
        {0, 9, *np.linspace(0, len(shares) - 1, 11).round().astype(int)} & {*range(len(shares))}
    ):
        pair = first.losses[place], second.losses[place]
        table.add_row(str(place + 1), *(f"{loss:.5f}" for loss in pair), f"{shares[place]:.1e}")
    console.print(table)
    console.print(f"largest: {shares.max():.1e}, at step {shares.argmax() + 1}")
    ratio = second.seconds / first.seconds
    console.print(
        f"{first.side.name} is {ratio:.2f} times as fast as {second.side.name}, step by step in turns"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Train, compare, write."""
    given, console = arguments(words), Console(highlight=False)
    try:
        with console.status("making tokens of the prose, and a module of the spec"):
            run = Writing(given)
    except NoDataError as error:
        sys.exit(str(error))
    given.out.mkdir(parents=True, exist_ok=True)
    console.rule(
        f"{run.ours.model.num_parameters():,} parameters, {len(run.train.tokens):,} tokens, {given.steps} steps of "
        f"{given.batch} x {given.context}, {given.dtype}, seed {given.seed}"
    )
    if run.go():
        run.finish(console)
        compared(console, run)


if __name__ == "__main__":
    main()
