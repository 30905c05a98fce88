"""A ttnn-level module as Python text: views, one template, nothing executed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ttmlc.emit.blocks import block_view
from ttmlc.emit.body import code_of
from ttmlc.emit.config import config_view
from ttmlc.emit.models import model_view
from ttmlc.emit.python import WIDTH
from ttmlc.emit.tables import table_views
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
    config, tables = config_view(module), table_views(module)
    parts = [line for block in blocks for line in block.build]
    parts += [line for model in models for line in model.build]
    methods = [method for view in blocks for method in view.methods] + [view.call for view in models]
    parts += [line for method in methods for line in (*method.signature, *method.lines)]
    parts += [view.taken for view in blocks]
    parts += [line for table in tables for line in table.lines]
    text = "\n".join(
        [*parts, *(d.expression for d in config.derived), *(line for f in config.fields for line in f.lines)]
    )
    used = [
        name
        for name in ("Chain", "concat", "normal", "ones", "zeros")
        if re.search(rf"(?<![\w.]){name}\b", text)
    ]
    constants = [
        f"{name} = ttnn.{name}_LAYOUT" for name in ("TILE", "ROW_MAJOR") if re.search(rf"\b{name}\b", text)
    ]
    generates = any(function.predicts is not None for function in module.models)
    rooms = "generation, nn, ttnn" if generates else "nn, ttnn"
    imports = ["import numpy as np"] if tables or re.search(r"\bnp\.", code_of(text)) else []
    imports += [f"from ttmlc_runtime import {rooms}", "from ttmlc_runtime.nn import Integers"]
    if used:
        imports.append(f"from ttmlc_runtime.weights import {', '.join(used)}")
    standard = ["import math"] if "math." in text else []
    standard += ["from dataclasses import dataclass", "from typing import ClassVar"]
    return ModuleView(
        doc=doc_text(module.doc),
        header=tuple(header(module)),
        imports=(*standard, "", *imports),
        constants=tuple(constants),
        policy=_policy(module),
        config=config,
        tables=tables,
        blocks=blocks,
        models=models,
    )


def doc_text(text: str) -> str:
    """Spec prose that may stand in a docstring: printable ASCII, no quote or backslash that could end it.

    One line of it: what is longer ends in dots.
    """
    clean = "".join(char if " " <= char <= "~" else "?" for char in text.replace("\n", " "))
    return textwrap.shorten(clean.replace("\\", "/").replace('"', "'"), WIDTH - 3, placeholder=" ...")


READ = """\
A model calls its blocks, one after another. Each block has three programs: infer is what inference runs, with
everything fused; forward computes the same, drops out, and saves what backward reads; backward gives the gradients
of the block's inputs and hands those of its weights to their storages. Calls that are recorded for training run
forward, and loss.backward() runs the backwards in reverse."""
READ_INFERENCE = """\
A model calls its blocks, one after another. Each block has one program, infer: this module was compiled for inference
alone, and has neither backwards nor losses."""


def header(module: Module) -> Iterator[str]:
    """Where the module comes from, and how it is read."""
    trains = any(function.kind is Kind.BACKWARD for function in module.functions)
    yield f"Generated by ttmlc from {module.source}; change that file instead."
    yield f"build:  {_build(module)}"
    yield from textwrap.wrap(
        f"passes: {', '.join(module.passes)}", WIDTH, subsequent_indent=" " * 8, break_on_hyphens=False
    )
    yield ""
    yield from textwrap.wrap(" ".join((READ if trains else READ_INFERENCE).split()), WIDTH)


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
