"""``ttmlc list``."""

from __future__ import annotations

import typer

from ttmlc.cli.shown import told


def list_() -> None:
    """List the specs that ship: models, the heads they offer, and presets with their sizes."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ttmlc.api import compile_spec, expand_file
    from ttmlc.language import tree
    from ttmlc.specs import models, presets

    console = Console(highlight=False)
    for path in models():
        with told():
            file = expand_file(path)
            generic = compile_spec(path)
            offers = [offer for item in file.items if isinstance(item, tree.Offers) for offer in item.offers]
            console.print(f"[bold]{path.stem}[/bold]  {escape(generic.stages[-1].module.doc)}")
            console.print(
                f"  models  {', '.join(function.name for function in generic.stages[-1].module.models)}"
            )
            if offers:
                console.print(f"  heads   {', '.join(offer.head.text for offer in offers)}", soft_wrap=True)
            table = Table(box=None, pad_edge=False, padding=(0, 2))
            for name in ("preset", "layers", "device calls", "parameters"):
                table.add_column(name, justify="left" if name == "preset" else "right")
            for preset in presets(path.stem):
                compiled = compile_spec(path, preset=preset.stem)
                sizes = dict(compiled.stages[-1].module.build.fields)
                summary = compiled.summary
                table.add_row(
                    preset.stem, str(sizes.get("layers", "")), str(summary.calls), f"{summary.parameters:,}"
                )
            console.print(table)
    if not models():
        typer.echo("no specs are installed", err=True)
