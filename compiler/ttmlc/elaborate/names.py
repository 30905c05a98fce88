"""Which names a spec may give: checked once, so that everything emitted is a plain name."""

from __future__ import annotations

import keyword
import re

from ttmlc.elaborate.problems import BAD_PATH, RESERVED_NAME, problem
from ttmlc.language import tree

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
CLASS = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
PATH = re.compile(r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*")
HOLE = re.compile(r"\{([A-Za-z][A-Za-z0-9_]*)\}")

# What the emitted module has of its own, and what its base classes do.
CLASSES = frozenset({"Chain", "ClassVar", "Integers", "POLICY", "TILE", "None", "True", "False"})
CONFIG_MEMBERS = frozenset(
    {
        "model_type",
        "fixed",
        "harmless",
        "built_for",
        "fingerprint",
        "check",
        "from_hugging_face",
        "to_hugging_face",
    }
    | {"from_preset", "replace", "extra", "field", "dataclass"}
)
OUTPUT_MEMBERS = frozenset({"keys", "values", "items", "to_tuple"})
INPUTS = frozenset({"c", "given", "kernels", "nn", "ttnn", "math", "self"})


def plain(name: tree.Name, taken: frozenset[str] = frozenset()) -> str:
    """A name for a value or field.

    Raises:
        DiagnosticError: Python or the emitted module has it, or it is no plain name.
    """
    text = name.text
    if not NAME.fullmatch(text):
        hint = "Names begin with a letter and have at most 64 letters, digits and '_'."
        raise problem(RESERVED_NAME, "this is no plain name", name.span, hint=hint)
    if keyword.iskeyword(text) or text in taken:
        raise problem(
            RESERVED_NAME,
            f"{text!r} has a meaning of its own in the emitted module",
            name.span,
            hint="Choose another.",
        )
    return text


def class_name(name: tree.Name) -> str:
    """A name for a block, model or config.

    Raises:
        DiagnosticError: it is not written like a class, or is taken.
    """
    if not CLASS.fullmatch(name.text):
        raise problem(RESERVED_NAME, "blocks, models and configs are named LikeThis", name.span)
    if name.text in CLASSES:
        raise problem(
            RESERVED_NAME, f"{name.text!r} has a meaning of its own in the emitted module", name.span
        )
    return name.text


def path(node: tree.Literal, indices: tuple[str, ...] = ()) -> str:
    """A checkpoint path, in which ``{i}`` stands for the index of an enclosing repeat.

    Raises:
        DiagnosticError: it is malformed, or names an index that there is not.
    """
    text = str(node.value)
    for hole in HOLE.findall(text):
        if hole not in indices:
            hint = f"Indices here: {', '.join(indices)}." if indices else "Only a 'repeat' has an index."
            raise problem(BAD_PATH, f"no repeat around this has the index {hole!r}", node.span, hint=hint)
    if not PATH.fullmatch(HOLE.sub("0", text)) or len(text) > 200:
        raise problem(
            BAD_PATH,
            "this is no checkpoint path",
            node.span,
            hint="Words of letters, digits and '_', joined by '.'.",
        )
    return text


def value_name(at: str, words: int = 1) -> str:
    """A plain name for a value that comes of the parameter at a checkpoint path: its last ``words``."""
    clean = re.sub(r"\W+", "_", "_".join(at.split(".")[-words:])).strip("_")
    return clean if clean[:1].isalpha() else f"p_{clean}"
