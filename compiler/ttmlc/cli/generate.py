"""``ttmlc generate``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ttmlc.cli.shown import told
from ttmlc.cli.tokens import tokenizer
from ttmlc.presets import PresetError, read_object

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer gives for the first bytes of a character that later tokens complete."""


def generate(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A Hugging Face folder: config.json, weights, tokenizer.json.", show_default=False
        ),
    ],
    prompt: Annotated[str, typer.Argument(help="What the text begins with.", show_default=False)],
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", "-n", help="Tokens at most.")] = 50,
    sample: Annotated[
        bool, typer.Option("--sample/--greedy", help="Draw tokens, or take the likeliest.")
    ] = False,
    temperature: Annotated[float, typer.Option("--temperature", help="What logits are divided by.")] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", help="Draw among so many; 0 among all.")] = 0,
    top_p: Annotated[float, typer.Option("--top-p", help="Draw among what makes up this share.")] = 1.0,
    repetition_penalty: Annotated[
        float,
        typer.Option("--repetition-penalty", help="Above 1 it makes tokens that are there less likely."),
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Decides what is drawn.", show_default=False)
    ] = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", help="The model's spec, if none that ships.", show_default=False)
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="Its class, if not what config.json says.", show_default=False)
    ] = "",
    dtype: Annotated[str, typer.Option("--dtype", help="bfloat16, or float32 on the emulator.")] = "bfloat16",
) -> None:
    """Write on from a prompt, token by token.

    Compiles the model's spec for the folder's config, loads the weights, and prints the text as it comes. It ends with
    the folder's own end token, or after `--max-new-tokens`. Needs the package `tokenizers`.
    """
    from rich.console import Console

    from ttmlc import api

    if not sample and (temperature, top_k, top_p) != (1.0, 0, 1.0):
        raise typer.BadParameter(
            "--temperature, --top-k and --top-p say what is drawn among: give --sample, too"
        )
    console = Console(stderr=True, highlight=False)
    with told():
        spelling = tokenizer(folder, "generate")
        with console.status(f"loading {folder}"):
            loaded = api.load_pretrained(folder, spec=spec, model=model, dtype=dtype)
        ids = spelling.encode(prompt).ids
        if not ids:
            raise PresetError("the prompt has no tokens: begin it with a word")
        began = time.perf_counter()
        steps = loaded.stream(
            [ids],
            max_new_tokens=max_new_tokens,
            do_sample=sample,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            eos_token_id=_end(folder),
            seed=seed,
        )
        made = 0
        for text in _texts(spelling, ids, steps):
            sys.stdout.write(text)
            sys.stdout.flush()
            made += 1
        sys.stdout.write("\n")
    took = time.perf_counter() - began
    console.print(f"{made - 1} tokens, {(made - 1) / took:.1f} a second", style="dim")


def _texts(spelling: Any, ids: list[int], steps: Iterator[Any]) -> Iterator[str]:
    """The prompt as its tokens spell it, then what each token adds; nothing where it is part of a character."""
    tokens = list(ids)
    said = spelling.decode(tokens)
    yield said
    for (token,) in steps:
        tokens.append(int(token))
        whole = spelling.decode(tokens)
        # A tokenizer may still change the end of what it said: that is let stand.
        new = "" if whole.endswith(UNFINISHED) else whole[len(said) :]
        said += new
        yield new


def _end(folder: Path) -> Any:
    """The tokens that end a text, as the folder says."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        found = read_object(path).get("eos_token_id") if path.is_file() else None
        if found is not None:
            return found
    return None
