"""``ttmlc check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttmlc.cli.shown import WRONG, is_unreadable, show, told


def check(
    specs: Annotated[list[Path], typer.Argument(help="The specs to check.", show_default=False)],
) -> None:
    """Say everything that is wrong with specs, and write nothing."""
    from ttmlc.api import DiagnosticError, declined_heads
    from ttmlc.api import check as check_spec

    failed = False
    for path in specs:
        with told():
            try:
                check_spec(path)
                typer.echo(f"{path}: all is well", err=True)
                for head in declined_heads(path):
                    typer.echo(f"{path}: {head.name} is checked by name only: {head.reason}", err=True)
            except DiagnosticError as error:
                if is_unreadable(error):
                    raise
                show(error)
                failed = True
    if failed:
        raise typer.Exit(WRONG)
