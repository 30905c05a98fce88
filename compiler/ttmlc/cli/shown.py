"""How errors reach a person: diagnostics drawn, everything else in a line; each with its exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from ttmlc_runtime.errors import BackendError, RuntimeFault

from ttmlc.api import DiagnosticError, PresetError
from ttmlc.language.codes import UNREADABLE as UNREADABLE_SPEC
from ttmlc.source import render

WRONG, UNREADABLE, NO_BACKEND = 1, 3, 4


@contextmanager
def told() -> Iterator[None]:
    """Turn what the compiler raises into words on stderr and an exit code."""
    try:
        yield
    except DiagnosticError as error:
        show(error)
        raise typer.Exit(UNREADABLE if is_unreadable(error) else WRONG) from None
    except (PresetError, RuntimeFault) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(NO_BACKEND if isinstance(error, BackendError) else WRONG) from None
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        typer.echo(
            f"error: cannot write{where}: {error.strerror or error}; nothing there was changed", err=True
        )
        raise typer.Exit(UNREADABLE) from None


def is_unreadable(error: DiagnosticError) -> bool:
    """Whether the spec is not wrong, but not to be had."""
    return all(diagnostic.code == UNREADABLE_SPEC for diagnostic in error.diagnostics)


def show(error: DiagnosticError) -> None:
    """Draw every diagnostic on stderr."""
    color = sys.stderr.isatty()
    for diagnostic in error.diagnostics:
        typer.echo(render(diagnostic, color), err=True)
    count = len(error.diagnostics)
    typer.echo(f"{count} error{'s' if count > 1 else ''}", err=True)
