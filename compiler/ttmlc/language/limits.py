"""What is refused before it is read: text that is no spec at all, and text made to be slow.

The limits are far above what a spec needs (a shipped one has about 6 kB, 1 500 words, at most 180 characters a line and
a nesting of five) and low enough that whatever they let through is parsed, or refused, in about a second.
"""

from __future__ import annotations

import re
from pathlib import Path

from ttmlc.language.codes import NOT_TEXT, UNREADABLE
from ttmlc.source import Diagnostic, DiagnosticError, SourceFile, Span

MAX_BYTES = 256 * 1024
MAX_FILE_WORDS = 20_000
"""Words and signs in a file: what reading it costs."""
MAX_LINE = 1000
MAX_WORDS = 400
"""Words in one statement."""
MAX_NESTING = 64
"""Brackets inside brackets."""
MAX_DEPTH = 100
"""Levels of the syntax tree: brackets, operators in a row, blocks. What comes after the parser may recurse."""
MAX_BLOCKS = 16
"""Blocks inside blocks."""
MAX_NAME = 64
MAX_ERRORS = 20
"""Diagnostics of one run."""
MAX_RETRIED = 20_000
"""Words that are parsed again in search of further errors."""

# Control characters; marks that reorder or hide text; line ends that only some programs take for such.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
BOM = b"\xef\xbb\xbf"


def load(path: Path) -> SourceFile:
    """Read a spec's text.

    Raises:
        DiagnosticError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        if not path.is_file():
            raise OSError(None, "there is no such file" if not path.exists() else "it is no file")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be opened"
        where = SourceFile(path.name, "").end()
        message = f"cannot read {path}: {reason[:1].lower()}{reason[1:]}"
        raise DiagnosticError([Diagnostic(UNREADABLE, message, where)]) from None
    return decode(path.name, data)


def decode(name: str, data: bytes) -> SourceFile:
    """The bytes of a spec as text, with Unix line ends.

    Raises:
        DiagnosticError: they are too many, or not UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise DiagnosticError([too_large(SourceFile(name, ""))])
    data = data.removeprefix(BOM).replace(b"\r\n", b"\n")
    try:
        return SourceFile(name, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        file = SourceFile(name, data.decode("utf-8", "replace"))
        start = len(data[: error.start].decode("utf-8"))
        label = f"byte 0x{data[error.start]:02x}"
        hint = "Save the file as UTF-8."
        where = Span(file, start, start + 1)
        raise DiagnosticError([Diagnostic(NOT_TEXT, "this is not UTF-8", where, label, hint=hint)]) from None


def too_large(file: SourceFile) -> Diagnostic:
    """The file has too many characters."""
    message = f"the file is larger than {MAX_BYTES // 1024} KiB"
    return Diagnostic(
        NOT_TEXT, message, Span(file, 0, 0), hint="Split the spec, and join its parts with 'use'."
    )


def unseen(file: SourceFile) -> list[Diagnostic]:
    """A diagnostic for the first few characters that a reader would not see."""
    found = []
    text = file.text.replace("\r\n", "\n ") if "\r" in file.text else file.text
    for match in UNSEEN.finditer(text):
        span = Span(file, match.start(), match.end())
        message = f"the character U+{ord(match.group()):04X} cannot be seen and stands in the text"
        found.append(Diagnostic(NOT_TEXT, message, span, hint="Remove it."))
        if len(found) == 3:
            break
    return found
