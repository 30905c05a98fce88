"""A spec, with the specs it uses, becomes a tensor-level module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ttmlc.elaborate.blocks import Blocks
from ttmlc.elaborate.builtins import BUILTINS, LATER
from ttmlc.elaborate.byname import check_heads
from ttmlc.elaborate.configs import ConfigBuilder
from ttmlc.elaborate.functions import PARAM
from ttmlc.elaborate.heads import Heads
from ttmlc.elaborate.names import class_name
from ttmlc.elaborate.offers import DeclinedHead, prefixes_of
from ttmlc.elaborate.problems import (
    DECLARED_TWICE,
    NOT_YET,
    RESERVED_NAME,
    UNKNOWN_NAME,
    UNKNOWN_OPTION,
    WRONG_SHAPE,
    Problems,
    nearest,
    problem,
)
from ttmlc.elaborate.scope import DYNAMIC, Scope, defaults_of
from ttmlc.elaborate.tables import elaborate_table
from ttmlc.ir.config import Config, Requirement
from ttmlc.ir.module import Function, Level, Module
from ttmlc.ir.scalar import Apply, Const, Field, apply, text
from ttmlc.ir.types import Axis, Role
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, Span

Import = Callable[[tree.Name], tree.File]


def elaborate(file: tree.File, name: str, find: Import, *, heads: bool = False) -> Module:
    """The module that ``file`` declares.

    Args:
        file: a syntax tree that extends nothing, as ``ttmlc.expand`` leaves it.
        name: the module's name, that of its file without an ending.
        find: gives the tree of a spec that ``use`` names.
        heads: whether the heads that the file offers become models too; else they are checked by name.

    Raises:
        DiagnosticError: with everything that is wrong, at most twenty at a time.
    """
    return _elaborate(file, name, find, heads)[0]


def elaborate_heads(file: tree.File, name: str, find: Import) -> tuple[Module, tuple[DeclinedHead, ...]]:
    """As :func:`elaborate` with heads, and the offered heads that are checked by name only, with the reasons."""
    return _elaborate(file, name, find, True)


def _elaborate(
    file: tree.File, name: str, find: Import, heads: bool
) -> tuple[Module, tuple[DeclinedHead, ...]]:
    problems = Problems()
    used = _used(file, find, problems)
    config, scope, builder = _config(file, used, problems)
    _declare(scope, file, problems)
    _axes(scope, (*used, file), problems)
    _tables(scope, (*used, file), problems)
    models = [item for item in file.items if isinstance(item, tree.Model)]
    if not models:
        with problems.kept():
            raise problem(
                WRONG_SHAPE,
                "this spec has no model",
                Span(file.span.file, 0, 0),
                hint="Add a 'model' section.",
            )
    for other in models[1:]:
        with problems.kept():
            related = ((models[0].name.span, "the first"),)
            raise problem(NOT_YET, "a second model is not compiled yet", other.name.span, related=related)
    blocks = Blocks(scope, problems)
    made = blocks.models(models)
    offered = Heads(file, used, blocks, problems, builder)
    if heads:
        config = offered.compile(config)
    check_heads(file, used, scope, models, problems, offered.compiled)
    _classes(file, config, (*made, *offered.functions), problems)
    problems.raise_any(Span(file.span.file, 0, 0))
    docs = [item.text for item in file.items if isinstance(item, tree.Doc)]
    functions = (*(replace(one, prefixes=prefixes_of(file, one.name)) for one in made), *offered.functions)
    module = Module(
        name=name,
        level=Level.TENSOR,
        source=file.span.file.name,
        doc=docs[0] if docs else f"{models[0].name.text}.",
        config=_exact(config),
        functions=(*blocks.called_by(functions), *functions),
    )
    return module, tuple(offered.declined)


def _used(file: tree.File, find: Import, problems: Problems) -> list[tree.File]:
    found: list[tree.File] = []
    named: dict[str, Span] = {}
    for item in file.items:
        if isinstance(item, tree.Use):
            for name in item.names:
                with problems.kept():
                    if name.text in named:
                        related = ((named[name.text], "first here"),)
                        raise problem(
                            DECLARED_TWICE, f"{name.text!r} is used twice", name.span, related=related
                        )
                    named[name.text] = name.span
                    found.append(find(name))
    return found


def _config(
    file: tree.File, used: Sequence[tree.File], problems: Problems
) -> tuple[Config, Scope, ConfigBuilder]:
    sections = [item for item in file.items if isinstance(item, tree.Config)]
    groups = _groups(file, used)
    sections = [section for section in sections if section not in groups.values()]
    builder = ConfigBuilder(problems, groups, used)
    config = Config("Model", "model")
    with problems.kept():
        if not sections:
            raise problem(
                WRONG_SHAPE,
                "this spec has no config",
                Span(file.span.file, 0, 0),
                hint="Add a 'config' section.",
            )
        if len(sections) > 1:
            related = ((sections[0].name.span, "the first"),)
            raise problem(
                NOT_YET, "a second config is not compiled yet", sections[1].name.span, related=related
            )
        builder.build(sections[0])
        for axis in [
            item for each in (*used, file) for item in each.items if isinstance(item, tree.AxisSize)
        ]:
            with problems.kept():
                builder.axis(axis)
        config = builder.made(sections[0])
    scope = Scope(
        numbers=builder.numbers,
        words=builder.words(),
        choices={entry.name: entry.choices for entry in config.fields if entry.choices},
        nullable=frozenset(entry.name for entry in config.fields if entry.nullable),
        poisoned=frozenset(builder.poisoned),
        factors=builder.factors,
        used=tuple(used),
    )
    return config, scope, builder


def _groups(file: tree.File, used: Sequence[tree.File]) -> dict[str, tree.Config]:
    """The configs that a field of another config is of."""
    configs = [item for each in (file, *used) for item in each.items if isinstance(item, tree.Config)]
    kinds = {
        kind.text
        for config in configs
        for entry in config.entries
        if isinstance(entry, tree.ConfigField) and len(entry.kinds) == 1
        for kind in entry.kinds
    }
    return {item.name.text: item for item in reversed(configs) if item.name.text in kinds}


def _tables(scope: Scope, files: Sequence[tree.File], problems: Problems) -> None:
    for item in [item for file in files for item in file.items if isinstance(item, tree.Table)]:
        with problems.kept():
            if item.name.text in scope.known():
                raise problem(DECLARED_TWICE, f"{item.name.text!r} is declared already", item.name.span)
            try:
                scope.tables[item.name.text] = elaborate_table(item, scope)
            except DiagnosticError:
                scope.poisoned |= {item.name.text}
                raise


def _axes(scope: Scope, files: Sequence[tree.File], problems: Problems) -> None:
    """The axes of labels; one of another file's would be of another size."""
    for item in [item for file in files for item in file.items if isinstance(item, tree.AxisLabels)]:
        with problems.kept():
            name, labels = item.name.text, [label.text for label in item.labels]
            if name in (*scope.numbers, *scope.axes, *DYNAMIC):
                raise problem(DECLARED_TWICE, f"{name!r} is declared already", item.name.span)
            for place, label in enumerate(item.labels):
                if label.text in labels[:place]:
                    message = f"{name!r} has the label {label.text!r} twice"
                    raise problem(DECLARED_TWICE, message, label.span)
            scope.axes[name] = Axis(name, Const(len(labels)), Role.LABELS)


def _defaults(file: tree.File, problems: Problems) -> None:
    """Refuse an option of ``defaults`` that no call would ever read."""
    rules = [rule for item in file.items if isinstance(item, tree.Defaults) for rule in item.rules]
    signatures = {"param": PARAM, **{name: signature for name, (signature, _) in BUILTINS.items()}}
    known = sorted({*signatures, *LATER})
    for op, options in [(op, rule.options) for rule in rules for op in rule.ops]:
        with problems.kept():
            if op.text not in known:
                message = f"there is no function {op.text!r}"
                raise problem(UNKNOWN_NAME, message, op.span, hint=nearest(op.text, known))
        names = signatures[op.text].names if op.text in signatures else ()
        for option in options if names else ():
            with problems.kept():
                if option.name.text not in names:
                    message = f"{op.text!r} has no option {option.name.text!r}"
                    hint = nearest(option.name.text, names)
                    raise problem(UNKNOWN_OPTION, message, option.name.span, hint=hint)


def _declare(scope: Scope, file: tree.File, problems: Problems) -> None:
    seen: dict[str, Span] = {}
    for item in file.items:
        if isinstance(item, (tree.Function, tree.Model, tree.Config, tree.Head)):
            with problems.kept():
                name = (
                    class_name(item.name)
                    if not (isinstance(item, tree.Function) and item.kind == "fn")
                    else item.name.text
                )
                if name in seen:
                    related = ((seen[name], "first here"),)
                    raise problem(
                        DECLARED_TWICE, f"{name!r} is declared twice", item.name.span, related=related
                    )
                seen[name] = item.name.span
        if isinstance(item, tree.Function) and item.kind == "block":
            scope.blocks[item.name.text] = item
        elif isinstance(item, tree.Rename):
            with problems.kept():
                raise problem(NOT_YET, "this section is not compiled yet", item.span)
    written = (item for item in file.items if isinstance(item, tree.Model))
    repeats = (node for item in written for node in tree.walk(item) if isinstance(node, tree.Repeat))
    for node in repeats:
        counted = node.count.name.text if isinstance(node.count, tree.Reference) else ""
        size = scope.numbers.get(counted)
        over = size.dim.name if size is not None and isinstance(size.dim, Axis) else ""
        same = scope.indices.get(node.index.text, over) == over
        scope.indices[node.index.text] = over if same else ""
    _defaults(file, problems)
    scope.defaults.update(defaults_of(file))


def _classes(file: tree.File, config: Config, models: Sequence[Function], problems: Problems) -> None:
    """Refuse a block, a model or an input that is called like another class of the emitted module."""
    written = [item for item in file.items if isinstance(item, (tree.Function, tree.Model))]
    own = {item.name.text for item in written}
    outputs = {f"{model.name}Output": f"is what {model.name} returns" for model in models}
    taken = {f"{config.name}Config": "is the config", **outputs}
    taken |= {model.name: "is an offered head" for model in models if model.name not in own}
    for item in written:
        if item.name.text in taken:
            with problems.kept():
                message = f"{item.name.text!r} {taken[item.name.text]} in the emitted module"
                raise problem(RESERVED_NAME, message, item.name.span, hint="Choose another.")
        for param in (item.params or ()) if isinstance(item, tree.Model) else ():
            if param.name.text in outputs:
                with problems.kept():
                    message = f"{param.name.text!r} {outputs[param.name.text]} in the emitted module"
                    raise problem(RESERVED_NAME, message, param.name.span, hint="Choose another.")


def _exact(config: Config) -> Config:
    """Every exact division of the derived values as a requirement, where the spec does not state it."""
    stated = [entry.condition for entry in config.requirements]
    added = []
    for derived in config.derived:
        value = derived.value
        if isinstance(value, Apply) and value.op == "//":
            condition = apply("==", apply("%", *value.args), Const(0))
            if condition not in stated:
                names = [arg.name if isinstance(arg, Field) else text(arg) for arg in value.args]
                message = f"{names[1]} must divide {names[0]}"
                added.append(Requirement(condition, message, span=derived.span))
    return replace(config, requirements=(*config.requirements, *added))
