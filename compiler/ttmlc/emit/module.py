"""A ttnn-level module as Python text: views, one template, nothing executed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ttmlc.emit.blocks import block_view
from ttmlc.emit.config import config_view
from ttmlc.emit.models import model_view
from ttmlc.emit.python import WIDTH
from ttmlc.emit.views import ModuleView
from ttmlc.ir.device import ROLES, DeviceOp
from ttmlc.ir.module import Kind, Level, Module, Operation
from ttmlc.ir.op import TABLE

if TYPE_CHECKING:
    import jinja2

TEMPLATE = "module.py.j2"


class EmissionError(Exception):
    """A template failed: a defect of the compiler. The message names the template and the module."""


def emit(module: Module) -> str:
    """``module`` as the text of a Python file. Equal modules give equal bytes.

    Raises:
        EmissionError: the template and the view do not fit.
    """
    import jinja2

    view = module_view(module)
    try:
        return _environment().get_template(TEMPLATE).render(module=view)
    except jinja2.TemplateError as error:
        raise EmissionError(f"{TEMPLATE}, emitting {module.name}: {error}") from error


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("ttmlc.emit"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # Python, not HTML: a view holds checked names and escaped literals
    )


def module_view(module: Module) -> ModuleView:
    """The view of a whole module."""
    assert module.level is Level.DEVICE
    blocks = tuple(
        block_view(module, function) for function in module.functions if function.kind is Kind.BLOCK
    )
    models = tuple(model_view(module, function) for function in module.models)
    config = config_view(module)
    parts = [line for block in blocks for line in block.build]
    parts += [line for model in models for line in model.build]
    methods = [method for view in blocks for method in view.methods] + [view.call for view in models]
    parts += [line for method in methods for line in (*method.signature, *method.lines)]
    parts += [view.taken for view in blocks]
    text = "\n".join(
        [*parts, *(d.expression for d in config.derived), *(line for f in config.fields for line in f.lines)]
    )
    used = [
        name for name in ("Chain", "concat", "normal", "ones", "zeros") if re.search(rf"\b{name}\b", text)
    ]
    constants = [
        f"{name} = ttnn.{name}_LAYOUT" for name in ("TILE", "ROW_MAJOR") if re.search(rf"\b{name}\b", text)
    ]
    imports = ["from ttmlc_runtime import nn, ttnn", "from ttmlc_runtime.nn import Integers"]
    if used:
        imports.append(f"from ttmlc_runtime.weights import {', '.join(used)}")
    standard = ["import math"] if "math." in text else []
    standard += ["from dataclasses import dataclass", "from typing import ClassVar"]
    return ModuleView(
        doc=doc_text(module.doc),
        source=module.source,
        build=_build(module),
        passes=textwrap.fill(
            ", ".join(module.passes), WIDTH - 8, subsequent_indent=" " * 8, break_on_hyphens=False
        ),
        imports=(*standard, "", *imports),
        constants=tuple(constants),
        policy=_policy(module),
        config=config,
        blocks=blocks,
        models=models,
    )


def doc_text(text: str) -> str:
    """Spec prose that may stand in a docstring: printable ASCII, no quote or backslash that could end it."""
    clean = "".join(char if " " <= char <= "~" else "?" for char in text.replace("\n", " "))
    return clean.replace("\\", "/").replace('"', "'")[: WIDTH - 3]


def _build(module: Module) -> str:
    if module.build.is_generic:
        return "generic: every size comes from the config"
    return f"specialised for {doc_text(module.build.label)}: sizes are folded in and checked"


def _policy(module: Module) -> str:
    """How each role that occurs computes, as a call."""
    found = {role for function in module.functions for role in _roles(function.operations)}
    arguments = ", ".join(f"{role}=nn.HIFI4" for role in ROLES if role in found)
    return f"nn.Policy({arguments})"


def _roles(operations: Sequence[Operation]) -> Iterator[str]:
    for operation in operations:
        declaration = TABLE[operation.op]
        if isinstance(declaration, DeviceOp) and declaration.role:
            yield declaration.role
        if operation.body is not None:
            yield from _roles(operation.body.operations)
