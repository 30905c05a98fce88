"""``ttmlc list``."""

from __future__ import annotations

import typer

from ttmlc.cli.shown import told


def list_() -> None:
    """List the specs that ship: models, the heads they offer, and presets with their sizes."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ttmlc.api import expand_file, sizes_of
    from ttmlc.language import tree
    from ttmlc.specs import models, presets

    console = Console(highlight=False)
    for path in models():
        with told():
            file = expand_file(path)
            module, sizes = sizes_of(path, presets(path.stem))
            offers = [offer for item in file.items if isinstance(item, tree.Offers) for offer in item.offers]
            console.print(f"[bold]{path.stem}[/bold]  {escape(module.doc)}")
            console.print(f"  models  {', '.join(function.name for function in module.models)}")
            if offers:
                console.print(f"  heads   {', '.join(offer.head.text for offer in offers)}", soft_wrap=True)
            table = Table(box=None, pad_edge=False, padding=(0, 2))
            for name in ("preset", "layers", "device calls", "parameters"):
                table.add_column(name, justify="left" if name == "preset" else "right")
            for preset, size in sizes.items():
                table.add_row(preset.stem, str(size.layers or ""), str(size.calls), f"{size.parameters:,}")
            console.print(table)
    if not models():
        typer.echo("no specs are installed", err=True)
