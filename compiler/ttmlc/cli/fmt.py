"""``ttmlc fmt``."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from ttmlc.cli.shown import WRONG, told


def fmt(
    paths: Annotated[list[Path], typer.Argument(help="Specs, or folders of specs.", show_default=False)],
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail where something would change.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change, and change nothing.")] = False,
) -> None:
    """Bring specs into canonical form: spacing, indentation and blank lines; comments stay where they are."""
    from ttmlc.api import format_file, write_text

    changed = 0
    specs = [spec for path in paths for spec in (sorted(path.rglob("*.spec")) if path.is_dir() else [path])]
    for path in specs:
        with told():
            before, after = format_file(path)
            if before == after:
                continue
            changed += 1
            if diff:
                lines = difflib.unified_diff(
                    before.splitlines(True), after.splitlines(True), str(path), str(path)
                )
                typer.echo("".join(lines), nl=False)
            elif check:
                typer.echo(f"{path} would change", err=True)
            else:
                write_text(path, after)
                typer.echo(f"{path} changed", err=True)
    if changed and (check or diff):
        raise typer.Exit(WRONG)
