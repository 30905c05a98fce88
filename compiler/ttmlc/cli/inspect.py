"""``ttmlc inspect``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttmlc.cli.shown import WRONG, told
from ttmlc.cli.tokens import tokenizer

if TYPE_CHECKING:
    from rich.text import Text
    from ttmlc_runtime.inspection import BlockRow, Measure, Report, StepRow

MODES = {"accumulated": ("accumulated",), "isolated": ("isolated",), "both": ("accumulated", "isolated")}
WORDS = {"accumulated": "errors accumulate", "isolated": "fed the reference's input"}
DTYPES = ("bfloat16", "float32", "float64")
COLUMNS = (12, 9, 9)
"""How wide the three numbers of a mode are."""


def inspect(
    folder: Annotated[
        Path,
        typer.Argument(help="A Hugging Face folder: config.json and weights.", show_default=False),
    ],
    against: Annotated[
        str,
        typer.Option("--against", help="`transformers`, or a file that --save wrote.", show_default=False),
    ] = "",
    head: Annotated[
        str, typer.Option("--head", help="Its head, if not what config.json says.", show_default=False)
    ] = "",
    spec: Annotated[
        Path | None, typer.Option("--spec", help="The model's spec, if none that ships.", show_default=False)
    ] = None,
    text: Annotated[str, typer.Option("--text", help="What the model reads.", show_default=False)] = "",
    input_ids: Annotated[
        str,
        typer.Option(
            "--input-ids", help="The same as ids: `5,7,9`; rows are parted by `;`.", show_default=False
        ),
    ] = "",
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Rows of random ids: 1.", show_default=False)
    ] = None,
    seq: Annotated[
        int | None, typer.Option("--seq", min=1, help="Ids in each row: 32.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Decides the random ids.", show_default=False)
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="bfloat16, or on the emulator float32 or float64.")
    ] = "bfloat16",
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            help="accumulated: each block has its own model's input; isolated: the reference's; both.",
        ),
    ] = "both",
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            help="The PCC below which two are apart. Left out: 0.99 and, isolated, 0.999 in bfloat16; else 0.99999.",
            show_default=False,
        ),
    ] = None,
    ops: Annotated[bool, typer.Option("--ops/--no-ops", help="Whether calls of ops are shown, too.")] = True,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Write our activations to this safetensors file.", show_default=False),
    ] = None,
    save_reference: Annotated[
        Path | None,
        typer.Option("--save-reference", help="Write the reference's activations.", show_default=False),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--source", help="Write the module, whose lines are shown.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it to this PNG.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run a model beside Transformers, or beside saved activations, and say where the two part.

    Each block, and each call of an op in it, is held against what the reference has for it: PCC, largest difference,
    and that as a part of the largest value. Once with each block fed by the one before it, so that errors accumulate,
    and once with each fed the reference's input. Exit code 1 where something is apart.
    """
    from ttmlc.inspecting import Wanted
    from ttmlc.inspecting import as_json as said
    from ttmlc.inspecting import inspect as run

    _check(against, dtype, mode, tolerance, save, save_reference, plot)
    if text and input_ids:
        raise typer.BadParameter("give --text or --input-ids, not both")
    if (text or input_ids) and any(value is not None for value in (batch, seq, seed)):
        raise typer.BadParameter(
            "--batch, --seq and --seed are for random ids: leave out --text and --input-ids"
        )
    with told():
        ids = _ids(folder, text, input_ids)
        report = run(
            folder,
            against=against,
            head=head or None,
            spec=spec,
            dtype=dtype,
            wanted=Wanted(ids, batch, seq, seed),
            modes=MODES[mode],
            tolerance=tolerance,
            calls=ops,
            save=save,
            save_reference=save_reference,
            source=source,
        )
        if report is not None and plot is not None:
            from ttmlc_runtime.inspection.picture import draw

            draw(plot, report)
    for path in (save, save_reference, source, plot):
        if path is not None:
            typer.echo(f"wrote {path}", err=True)
    if report is None:
        return
    if as_json:
        sys.stdout.write(said(report) + "\n")
    else:
        _show(report)
    if not report.agrees:
        raise typer.Exit(WRONG)


def _check(
    against: str,
    dtype: str,
    mode: str,
    tolerance: float | None,
    save: Path | None,
    save_reference: Path | None,
    plot: Path | None,
) -> None:
    if not against and save is None:
        raise typer.BadParameter("say what to compare with: --against transformers, or --against FILE")
    if not against and (save_reference is not None or plot is not None):
        raise typer.BadParameter("--save-reference and --plot are for a comparison: give --against, too")
    if mode not in MODES:
        raise typer.BadParameter(
            f"there is no mode {mode!r}; there are {', '.join(MODES)}", param_hint="--mode"
        )
    if dtype not in DTYPES:
        raise typer.BadParameter(
            f"there is no dtype {dtype!r}; there are {', '.join(DTYPES)}", param_hint="--dtype"
        )
    if tolerance is not None and not 0 < tolerance < 1:
        raise typer.BadParameter("it is a PCC between 0 and 1, such as 0.999", param_hint="--tolerance")


def _ids(folder: Path, text: str, said: str) -> Any:
    """What the model reads, [rows, tokens]; None where nothing is said."""
    import numpy as np

    from ttmlc.presets import PresetError

    if text:
        spelling = tokenizer(folder, "--text")
        spelling.no_padding()  # there is no mask to hide it
        rows = [spelling.encode(text).ids]
    elif said:
        try:
            rows = [
                [int(one) for one in row.replace(",", " ").split()] for row in said.split(";") if row.strip()
            ]
        except ValueError as error:
            raise PresetError(f"--input-ids are integers, as in 5,7,9 or 5,7;1,2: {error}") from None
    else:
        return None
    lengths = {len(row) for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise PresetError(
            "there are no tokens to read"
            if lengths <= {0}
            else f"rows have {sorted(lengths)} ids: give each as many"
        )
    return np.array(rows, np.int64)


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in report.given.items())
    console.print(
        f"[bold]{report.model}[/bold] in {report.dtype} against {escape(report.against)}; {escape(shapes)}",
        soft_wrap=True,
    )
    if report.same is not None:
        console.print(
            escape(
                f"ops: = a module's output, ~ {report.same}; ^ not fed: it has no input of the reference's"
            ),
            style="dim",
            soft_wrap=True,
        )
    for note in report.notes:
        console.print(escape(note), style="yellow", soft_wrap=True)
    console.print()
    for line in _lines(report):
        console.print(line, soft_wrap=True)
    console.print()
    for name, one in report.outputs.items():
        mark = "[red]apart[/red]" if name in report.outputs_apart else "agrees"
        console.print(f"output {escape(name)}: {', '.join(_words(one))}, {mark}")
    for mode in report.modes:
        console.print(_verdict(report, mode), soft_wrap=True)


def _lines(report: Report) -> list[Text]:
    """A line for each block and call, in the order in which they began."""
    from rich.text import Text
    from ttmlc_runtime.inspection import BlockRow

    depths = {row.key: row.depth for row in report.blocks}
    rows: list[BlockRow | StepRow] = [*report.blocks, *report.steps]
    rows.sort(key=lambda row: row.order)
    names = [
        f"{'  ' * depths[row.key]}{row.key}"
        if isinstance(row, BlockRow)
        else f"{'  ' * depths[row.key]}{row.line:>6} {row.name.removeprefix('ttnn.')}"
        for row in rows
    ]
    wide = max(map(len, names))
    spec = max(len(row.spec or "") for row in rows)
    head = "".join(f"{mode:<{sum(COLUMNS)}}" for mode in report.modes)
    each = "".join(
        f"{word:>{column}}" for word, column in zip(("PCC", "max abs", "max rel"), COLUMNS, strict=True)
    )
    lines = [
        Text(f"{'':{wide}}  {'':{spec}}{' ' * 4}{head}".rstrip(), "bold"),
        Text(f"{'block, line and op':{wide}}  {'spec':{spec}}{each * len(report.modes)}  against", "bold"),
    ]
    for row, name in zip(rows, names, strict=True):
        block = isinstance(row, BlockRow)
        measures = row.measures if isinstance(row, BlockRow) else row.beside or row.same
        line = Text("", "" if block else "dim")
        line.append(f"{name:{wide}}", "bold" if block else "")
        line.append(f"  {row.spec or '':{spec}}")
        for mode in report.modes:
            _append(line, measures.get(mode), report.tolerances[mode])
        line.append(f"  {_against(report, row)}")
        line.rstrip()
        lines.append(line)
    return lines


def _append(line: Text, one: Measure | None, tolerance: float) -> None:
    if one is None:
        line.append(" " * sum(COLUMNS))
        return
    apart = one.parts(tolerance)
    pcc, *others = _numbers(one)
    line.append(f"{'! ' * apart + pcc:>{COLUMNS[0]}}", "bold red" if apart else "")
    for number, column in zip(others, COLUMNS[1:], strict=True):
        line.append(f"{number:>{column}}", "red" if apart else "")


def _against(report: Report, row: BlockRow | StepRow) -> str:
    """What a row is held against; of a module within the block's own, what comes behind that."""
    from ttmlc_runtime.inspection import BlockRow

    if isinstance(row, BlockRow):
        if row.against is None:
            return f"nothing: {row.why}"
        same = f"{row.key.name} ("
        where = row.against[len(same) - 1 :] if row.against.startswith(same) else row.against
        return where + (" ^" if "isolated" in report.modes and not row.fed else "")
    if row.beside:
        modules = (row.module or "").split(", ")
        where = "= " + ", ".join(module.removeprefix(row.key.name) for module in modules)
        bars = report.tolerances
        hidden = any(mode in row.same and row.same[mode].parts(bars[mode]) for mode in report.modes)
        return where + (f" (apart from {report.same})" if hidden else "")
    return "~" if row.same else ""


def _numbers(one: Measure) -> tuple[str, str, str]:
    pcc = "-" if one.pcc is None else f"{one.pcc:.6f}"
    return pcc, f"{one.max_abs:.1e}", f"{one.max_rel:.1e}"


def _words(one: Measure) -> tuple[str, str, str]:
    pcc, absolute, relative = _numbers(one)
    return f"PCC {pcc}", f"max abs {absolute}", f"max rel {relative}"


def _verdict(report: Report, mode: str) -> str:
    from rich.markup import escape

    bar = f"PCC {report.tolerances[mode]:g}"
    found, first = report.parting(mode), report.first_call(mode)
    if found is None:
        line = f"{WORDS[mode]}: no block is apart ({bar})"
        return line if first is None else f"{line}\n  one call is: {_call(first, inside=True)}"
    block, step = found
    count = len(report.apart(mode))
    spec = f", {block.spec}" if block.spec else ""
    line = (
        f"{WORDS[mode]}: [bold red]part at {escape(str(block.key))}[/]{spec}: "
        f"{', '.join(_words(block.measures[mode]))} ({bar}); {count} block{'s are' if count > 1 else ' is'} apart"
    )
    if step is not None:
        line += f"\n  first call there: {_call(step)}"
    if first is not None and first.key != block.key:
        line += f"\n  first call of all: {_call(first, inside=True)}"
    return line


def _call(row: StepRow, *, inside: bool = False) -> str:
    from rich.markup import escape

    where = f" in {row.key}" if inside else ""
    at = f", {row.spec}" if row.spec else ""
    return escape(f"line {row.line}{where}{at}: {row.text}")
