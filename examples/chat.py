"""Ask a small language model: compile its family's spec for its sizes, load real weights, print words as they come.

    make chat ASK='What is the capital of France?'

The model is SmolLM2-135M-Instruct (30 layers, 135 million parameters), of the LLaMA family. It knows little, and says
it fluently.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ttmlc
from chatting.smollm import NoModelError, folder
from jinja2.sandbox import ImmutableSandboxedEnvironment
from rich.console import Console
from tokenizers import Tokenizer

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer gives for the first bytes of a character that later tokens complete."""


def asked(path: Path, question: str) -> str:
    """The question as the model was trained to read it: by the template that its folder holds."""
    template = json.loads((path / "tokenizer_config.json").read_text("utf-8"))["chat_template"]
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
    return made.render(messages=[{"role": "user", "content": question}], add_generation_prompt=True)


def answer(model: Any, tokenizer: Tokenizer, prompt: str, **options: Any) -> Iterator[str]:
    """What each new token adds to the answer; the token that ends it adds nothing."""
    ids = tokenizer.encode(prompt).ids
    tokens: list[int] = []
    said = ""
    for (token,) in model.stream([ids], **options):
        tokens.append(int(token))
        whole = tokenizer.decode(tokens)
        if not whole.endswith(UNFINISHED):
            yield whole[len(said) :]
            said = whole


def main(arguments: list[str] | None = None) -> None:
    """Ask, and print the answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question")
    parser.add_argument("--tokens", type=int, default=60, help="how many come at most")
    parser.add_argument("--sample", action="store_true", help="draw words; without it the likeliest comes")
    parser.add_argument("--seed", type=int, default=0, help="decides what is drawn")
    parser.add_argument("--dtype", default="float32", help="or bfloat16, which rounds as a board does")
    given = parser.parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    start = time.perf_counter()
    try:
        with console.status("reading the model"):
            path = folder()
            model = ttmlc.load(path, dtype=given.dtype, train=False)
    except NoModelError as error:
        sys.exit(str(error))
    console.print(
        f"{model.num_parameters():,} parameters in {time.perf_counter() - start:.1f} s", style="dim"
    )
    drawn = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "seed": given.seed} if given.sample else {}
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    end = json.loads((path / "config.json").read_text("utf-8"))["eos_token_id"]
    start, made = time.perf_counter(), 0
    prompt = asked(path, given.question)
    for text in answer(model, tokenizer, prompt, max_new_tokens=given.tokens, eos_token_id=end, **drawn):
        print(text, end="", flush=True)
        made += 1
    print()
    took = time.perf_counter() - start
    console.print(f"{made} tokens, {made / took:.1f} a second on the emulator", style="dim")


if __name__ == "__main__":
    main()
