"""``ttmlc verify``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ttmlc.cli.shown import WRONG, told

Data = dict[str, Any]


def verify(
    module: Annotated[
        Path,
        typer.Argument(help="A generated module, such as out/NAME.py. It is imported.", show_default=False),
    ],
    model: Annotated[
        str, typer.Option("--model", help="Its class, where it has several.", show_default=False)
    ] = "",
    preset: Annotated[
        str, typer.Option("--preset", help="Sizes: a shipped preset or a YAML file.", show_default=False)
    ] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="Sizes: a Hugging Face config.json.", show_default=False)
    ] = None,
    board: Annotated[str, typer.Option("--board", help="n150, n300, t3000, p150 or p150x4.")] = "n150",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Rows.")] = 1,
    seq: Annotated[int, typer.Option("--seq", min=1, help="Tokens in each row.")] = 128,
    entry: Annotated[
        str, typer.Option("--entry", help="What to run: forward, train, generate, prefill or decode.")
    ] = "forward",
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="What train ends with: adamw, adam, sgd, lion or none.")
    ] = "adamw",
    mask: Annotated[
        bool, typer.Option("--mask/--no-mask", help="Whether an attention mask is given.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Run a module through the real ttnn on a board that is not there.

    ttnn checks every argument, chooses every program and allocates all memory as it would on the board; only the
    numbers are missing. Needs a Python 3.10 or 3.12 that has ttnn: this one, one in `.venv-ttnn`, or the one that
    `TTMLC_TTNN_PYTHON` names. `--entry train` is a training step: forward, backward, optimizer; `--entry prefill` the
    logits after prompts, `decode` those after one more token, `generate` both. Exit code 1 where ttnn refuses it.
    """
    from ttmlc_runtime.mockboard import BOARDS

    from ttmlc import api

    if preset and config is not None:
        raise typer.BadParameter("give --preset or --config, not both")
    if board not in BOARDS:
        raise typer.BadParameter(
            f"there is no board {board!r}; there are {', '.join(BOARDS)}", param_hint="--board"
        )
    with told():
        found = api.verify(
            module,
            preset=preset,
            config=config,
            model=model or None,
            board=board,
            batch=batch,
            seq=seq,
            entry=entry,
            optimizer=optimizer,
            mask=mask,
        )
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        _show(found)
    if not found["accepted"]:
        raise typer.Exit(WRONG)


def _show(found: Data) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    masked = "masked" if found["mask"] else "no mask"
    verdict = "[green]accepted[/green]" if found["accepted"] else "[bold red]refused[/bold red]"
    each = f", each of {found['chips']} chips" if found["chips"] > 1 else ""
    ends = f" with {found['optimizer']}" if found.get("optimizer", "none") != "none" else ""
    console.print(
        f"[bold]{found['model']}[/bold] {found['entry']}{ends}, batch {found['batch']} x {found['seq']}, {masked}, "
        f"on a mock {found['board']}{each}: {verdict} by ttnn {found['ttnn']}",
        soft_wrap=True,
    )
    if found["refused"]:
        for line in refusal(found):
            console.print(escape(line), soft_wrap=True)
    if "by_kind" in found:
        console.print()
        _programs(console, found)
        console.print()
        if found["matmuls"]:
            _matmuls(console, found)
            console.print()
        _compute(console, found)
        _memory(console, found)


def refusal(found: Data) -> list[str]:
    """What ttnn refused, in lines."""
    refused = found["refused"]
    lines = []
    if refused["lacking"] == "DRAM" and refused.get("need_bytes"):
        need, has = refused["need_bytes"], found["dram_bytes"]
        lines.append(f"needs {size(need)} of DRAM, {found['board']} has {size(has)}: {parts(found)}")
    elif refused["lacking"] == "L1" and "peak_l1_bytes" in found:
        need, has = found["peak_l1_bytes"], found["l1_bytes"]
        lines.append(
            f"needs {kib(need)} of L1 on a core, {found['board']} has {kib(has)} for tensors and buffers"
        )
    lines.append(f"ttnn says: {refused['said']}")
    if refused["line"]:
        lines.append(f"at line {refused['line']} of the module: {refused['source']}")
    if refused["spec"]:
        lines.append(f"which came of {refused['spec']}")
    return lines


def _programs(console: Any, found: Data) -> None:
    from rich.table import Table

    phases = found["phases"] if len(found["phases"]) > 1 else {}
    table = Table(box=None, pad_edge=False)
    table.add_column("programs", overflow="fold")
    for name in (*phases, "in all" if phases else "", "DRAM moved", "L1 a core"):
        table.add_column(name, justify="right")
    for kind, count in found["by_kind"].items():
        counts = [str(phase["by_kind"].get(kind, "")) for phase in phases.values()]
        moved, l1 = size(found["moved_by_kind"][kind]), kib(found["l1_by_kind"][kind])
        table.add_row(kind, *counts, str(count), moved, l1)
    table.add_row(
        "in all",
        *(str(phase["programs"]) for phase in phases.values()),
        str(found["programs"]),
        size(found["dram_bytes_moved"]),
        kib(found["peak_l1_bytes"]),
        style="bold",
    )
    if phases:
        moved_by = [size(phase["dram_bytes_moved"]) for phase in phases.values()]
        table.add_row("DRAM moved", *moved_by, "", size(found["dram_bytes_moved"]), "")
    console.print(table)


def _matmuls(console: Any, found: Data) -> None:
    """Which program ttnn chose for each product."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("matmuls", "a", "b", ""):
        table.add_column(name, justify="left" if name else "right", no_wrap=True)
    for matmul in found["matmuls"]:
        a, b = shape(matmul["a"]), shape(matmul["b"])
        table.add_row(matmul["variant"].removeprefix("MatmulMultiCore"), a, b, str(matmul["programs"]))
    console.print(table)


def _compute(console: Any, found: Data) -> None:
    """How programs compute, those that compute alike in one line."""
    alike: dict[str, list[str]] = {}
    for kind, configs in found["compute_by_kind"].items():
        for config in configs:
            alike.setdefault(words(config), []).append(kind)
    for config, kinds in alike.items():
        console.print(f"{config}: {', '.join(kinds)}", soft_wrap=True)


def words(config: dict[str, str]) -> str:
    """A kernel configuration as a person reads it."""
    if not config:
        return "as ttnn chooses"
    sums = "float32" if config["fp32_dest_acc_en"] == "1" else "bfloat16"
    exact = "approximate functions" if config["math_approx_mode"] == "1" else "exact functions"
    return f"{config['math_fidelity']}, {sums} sums, {exact}"


def _memory(console: Any, found: Data) -> None:
    peak, has = found["peak_dram_bytes"], found["dram_bytes"]
    console.print(f"peak DRAM {size(peak)} of {size(has)}: {parts(found)}", soft_wrap=True)
    console.print(f"peak L1   {kib(found['peak_l1_bytes'])} of {kib(found['l1_bytes'])} on the fullest core")
    uploads = found["uploads"]
    console.print(f"uploads   {uploads['count']} a step, {size(uploads['bytes'])}")
    if "new_programs" in found:
        new = found["new_programs"]
        console.print(
            f"programs built: {new['first_step']} by the first step, {new['second_step']} by the second"
        )


def parts(found: Data) -> str:
    """What the peak of DRAM is made of."""
    weights, state = found["weights_bytes"], found.get("state_bytes", 0)
    rest = found["peak_dram_bytes"] - weights - state
    kept = f", {found['optimizer']} {size(state)}" if state else ""
    return f"weights {size(weights)}{kept}, what a step adds {size(rest)}"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    for unit, of in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= of:
            return f"{count / of:.2f} {unit}" if unit == "GiB" else f"{count / of:.1f} {unit}"
    return f"{count} B"


def kib(count: int) -> str:
    """Bytes of a core's memory, which is some 1,400 KiB."""
    return f"{count / 1024:,.0f} KiB"


def shape(sizes: list[int]) -> str:
    """A shape without its leading ones."""
    kept = list(sizes)
    while len(kept) > 2 and kept[0] == 1:
        kept.pop(0)
    return "[" + ", ".join(map(str, kept)) + "]"
