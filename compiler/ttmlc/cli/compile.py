"""``ttmlc compile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ttmlc.cli.shown import told

if TYPE_CHECKING:
    from rich.table import Table

    from ttmlc.api import Compiled


def compile_(
    spec: Annotated[
        Path, typer.Argument(help="The spec to compile, such as specs/models/NAME.spec.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write to.")] = Path("out"),
    preset: Annotated[
        str,
        typer.Option(
            "--preset", help="Fold in a shipped preset (see `ttmlc list`) or a YAML file.", show_default=False
        ),
    ] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="Fold in a Hugging Face config.json.", show_default=False)
    ] = None,
    train: Annotated[
        bool,
        typer.Option(
            "--train/--no-train", help="Emit forwards, backwards and losses, or the inference program alone."
        ),
    ] = True,
    dump_after: Annotated[
        list[str] | None,
        typer.Option(
            "--dump-after", metavar="PASS", help="Also write the IR text after this pass; may be repeated."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing where all is well.")] = False,
) -> None:
    """Compile a spec to a Python module that calls ttnn.

    Without `--preset` or `--config` the module serves every size: its sizes come from the config that a model is made
    with. With one of them the sizes are folded in, and the module checks that it is used for those alone.

    With `--no-train` each block has its inference program alone, and a model with a head gives its logits: it takes no
    labels, computes no loss, and `train()` ends at the first call with an error that says so.
    """
    from ttmlc.api import compile_spec, write

    if preset and config is not None:
        raise typer.BadParameter("give --preset or --config, not both")
    with told():
        compiled = compile_spec(spec, preset=preset, config=config, train=train)
        files = write(compiled, output, dump_after or ())
    if not quiet:
        _summary(compiled, files)


def _summary(compiled: Compiled, files: list[Path]) -> None:
    from rich.console import Console

    summary = compiled.summary
    blocks = _table(
        f"{summary.name}, {summary.build} build", "block", "infer", "forward", "backward", "parameters"
    )
    for block in summary.blocks:
        counts = (_count(block.infer), _count(block.forward), _count(block.backward))
        blocks.add_row(block.name, *counts, f"{block.parameters:,}")
    models = _table(
        "device calls of a whole model, losses left out", "model", "inference", "training", "parameters"
    )
    for model in summary.models:
        models.add_row(model.name, _count(model.infer), _count(model.train), f"{model.parameters:,}")
    console = Console(stderr=True, highlight=False)
    console.print(blocks)
    console.print(models)
    if summary.build == "generic":
        console.print("counted with the defaults of the config", style="dim")
    for declined in compiled.declined:
        console.print(f"{declined.rule} declined at {declined.at}: {declined.reason}", style="yellow")
    for file in files:
        console.print(f"wrote {file} ({len(file.read_text('utf-8').splitlines())} lines)", soft_wrap=True)


def _table(title: str, first: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _count(calls: int) -> str:
    return str(calls) if calls else ""
