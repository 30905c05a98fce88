"""The command line, called in this process."""

from __future__ import annotations

from ttmlc.cli.main import app
from typer.testing import CliRunner


def ttmlc(*args: object) -> tuple[int, str, str]:
    """The exit code of ``ttmlc`` with these arguments, and what it wrote to stdout and to stderr."""
    result = CliRunner().invoke(app, [*map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr
