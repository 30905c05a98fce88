"""``ttmlc expand``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttmlc.cli.shown import told


def expand(
    spec: Annotated[Path, typer.Argument(help="The spec to write out.", show_default=False)],
) -> None:
    """Print a spec with all that it takes over from those it extends, as one spec that extends nothing.

    What is printed compiles to the same module. Comments are left out.
    """
    from ttmlc.api import expanded

    with told():
        typer.echo(expanded(spec), nl=False)
