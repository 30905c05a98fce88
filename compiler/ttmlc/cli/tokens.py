"""What spells tokens, for the commands that take text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ttmlc.presets import PresetError


def tokenizer(folder: Path, wanted: str) -> Any:
    """The tokenizer of a folder, as the package ``tokenizers`` has it.

    Args:
        folder: holds tokenizer.json.
        wanted: what needs it, for messages.

    Raises:
        PresetError: the package or the file is missing, or the file is no tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise PresetError(f"{wanted} needs the package tokenizers: pip install 'ttmlc[generate]'") from None
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PresetError(f"there is no {path}: is it a Hugging Face folder with a tokenizer?")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing more particular
        raise PresetError(f"{path} is no tokenizer: {error}") from None
