"""What the templates see: plain, typed, finished. A template loops and places; it decides nothing.

Every string here is Python source that was built from checked names and escaped literals.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field of the config class: ``name: annotation = maker``, broken over ``lines`` where it is long."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DerivedView:
    """A property of the config class."""

    name: str
    annotation: str
    expression: str


@dataclass(frozen=True, slots=True)
class ConfigView:
    """The config class."""

    name: str
    model_type: str
    fixed: tuple[str, ...]
    harmless: tuple[str, ...]
    built_for: tuple[str, ...]
    fingerprint: str
    fields: tuple[FieldView, ...]
    derived: tuple[DerivedView, ...]
    requirements: tuple[str, ...]
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableView:
    """A function that makes the numbers of a table."""

    signature: str
    doc: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MethodView:
    """A method: the lines of its ``def``, its docstring, and its body."""

    signature: tuple[str, ...]
    doc: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block's class. ``taken`` are the parameters of the constructor behind the scope and the config."""

    name: str
    doc: str
    taken: str
    build: tuple[str, ...]
    methods: tuple[MethodView, ...]


@dataclass(frozen=True, slots=True)
class OutputView:
    """The class of what a model returns."""

    name: str
    doc: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model's class and its output's. ``labels`` and ``predicts`` are written as they stand there."""

    name: str
    base: str
    doc: str
    prefix: str
    stale: tuple[str, ...]
    labels: tuple[str, ...]
    predicts: tuple[str, ...]
    output: OutputView
    build: tuple[str, ...]
    call: MethodView


@dataclass(frozen=True, slots=True)
class ModuleView:
    """A whole module."""

    doc: str
    header: tuple[str, ...]
    imports: tuple[str, ...]
    constants: tuple[str, ...]
    policy: str
    config: ConfigView
    tables: tuple[TableView, ...] = field(default=())
    blocks: tuple[BlockView, ...] = field(default=())
    models: tuple[ModelView, ...] = field(default=())
