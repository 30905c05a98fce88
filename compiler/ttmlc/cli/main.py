"""The commands, put together; each lives in a file of its own.

Exit codes: 0 all is well; 1 a spec, preset or config is wrong; 2 the command line is; 3 a file cannot be read or
written; 4 the real ttnn cannot be had.
"""

from __future__ import annotations

import sys

import typer

from ttmlc.cli.check import check
from ttmlc.cli.compile import compile_
from ttmlc.cli.expand import expand
from ttmlc.cli.fmt import fmt
from ttmlc.cli.generate import generate
from ttmlc.cli.inspect import inspect
from ttmlc.cli.list import list_
from ttmlc.cli.verify import verify

app = typer.Typer(
    name="ttmlc",
    help="Compile transformer specs to readable Python that calls ttnn.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 all is well, 1 a spec or preset is wrong, 2 the command line is, "
    "3 a file cannot be read or written, 4 the real ttnn cannot be had.",
)
app.command("compile")(compile_)
app.command("check")(check)
app.command("expand")(expand)
app.command("fmt")(fmt)
app.command("list")(list_)
app.command("verify")(verify)
app.command("generate")(generate)
app.command("inspect")(inspect)


def version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        from importlib.metadata import version as of

        typer.echo(f"ttmlc {of('ttmlc')}")
        raise typer.Exit


@app.callback()
def options(
    version_: bool = typer.Option(
        False, "--version", callback=version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Compile transformer specs to readable Python that calls ttnn."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has enough
        sys.exit(0)


if __name__ == "__main__":
    main()
