"""A spec, with the specs it uses, becomes a tensor-level module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ttmlc.elaborate.configs import ConfigBuilder
from ttmlc.elaborate.functions import Elaborator
from ttmlc.elaborate.heads import check_heads
from ttmlc.elaborate.names import class_name
from ttmlc.elaborate.problems import DECLARED_TWICE, NOT_YET, WRONG_SHAPE, Problems, problem
from ttmlc.elaborate.scope import Scope
from ttmlc.ir.config import Config, Requirement
from ttmlc.ir.module import Function, Level, Module
from ttmlc.ir.scalar import Apply, Const, Field, apply
from ttmlc.ir.types import Axis, Role
from ttmlc.language import tree
from ttmlc.source import Span

Import = Callable[[tree.Name], tree.File]


def elaborate(file: tree.File, name: str, find: Import) -> Module:
    """The module that ``file`` declares.

    Args:
        file: a syntax tree.
        name: the module's name, that of its file without an ending.
        find: gives the tree of a spec that ``use`` names.

    Raises:
        DiagnosticError: with everything that is wrong, at most twenty at a time.
    """
    problems = Problems()
    used = _used(file, find, problems)
    config, scope = _config(file, problems)
    _declare(scope, file, problems)
    for other in used:
        _axes(scope, other)
    models = [item for item in file.items if isinstance(item, tree.Model)]
    if not models:
        with problems.kept():
            raise problem(
                WRONG_SHAPE,
                "this spec has no model",
                Span(file.span.file, 0, 0),
                hint="Add a 'model' section.",
            )
    done: dict[str, Function] = {}
    functions = _functions(models, scope, problems, done)
    check_heads(file, used, scope, models, problems)
    problems.raise_any(Span(file.span.file, 0, 0))
    docs = [item.text for item in file.items if isinstance(item, tree.Doc)]
    prefix = next(
        (str(i.at.value) for i in file.items if isinstance(i, tree.Offers) and i.at is not None), ""
    )
    return Module(
        name=name,
        level=Level.TENSOR,
        source=file.span.file.name,
        doc=docs[0] if docs else f"{models[0].name.text}.",
        config=_exact(config),
        functions=functions,
        prefix=prefix,
    )


def _used(file: tree.File, find: Import, problems: Problems) -> list[tree.File]:
    found = []
    for item in file.items:
        if isinstance(item, tree.Use):
            for name in item.names:
                with problems.kept():
                    found.append(find(name))
    return found


def _config(file: tree.File, problems: Problems) -> tuple[Config, Scope]:
    sections = [item for item in file.items if isinstance(item, tree.Config)]
    builder = ConfigBuilder(problems)
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
        config = builder.build(sections[0])
    words = tuple(choice for entry in config.fields for choice in entry.choices)
    return config, Scope(numbers=builder.numbers, words=words, poisoned=frozenset(builder.poisoned))


def _axes(scope: Scope, file: tree.File) -> None:
    for item in file.items:
        if isinstance(item, tree.AxisLabels):
            scope.axes[item.name.text] = Axis(item.name.text, Const(len(item.labels)), Role.LABELS)


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
        elif isinstance(item, tree.Defaults):
            for rule in item.rules:
                for op in rule.ops:
                    options = {option.name.text: option.value for option in rule.options}
                    scope.defaults.setdefault(op.text, {}).update(options)
        elif isinstance(item, (tree.Table, tree.Rename)):
            with problems.kept():
                raise problem(NOT_YET, "this section is not compiled yet", item.span)
    _axes(scope, file)


def _functions(
    models: list[tree.Model], scope: Scope, problems: Problems, done: dict[str, Function]
) -> tuple[Function, ...]:
    """The models and the blocks they reach, callees before callers, in the order of the spec."""
    open_: list[str] = []

    def visit(name: str, span: Span) -> None:
        if name in done or name not in scope.blocks:
            return
        if name in open_:
            raise problem(WRONG_SHAPE, f"{name!r} would contain itself", span)
        open_.append(name)
        block = scope.blocks[name]
        _each_call(block.body, visit)
        with problems.kept():
            done[name] = Elaborator(scope, problems, done).block(block)
        open_.pop()

    made: list[Function] = []
    for model in models:
        with problems.kept():
            if model.extends is not None or model.params is None:
                raise problem(NOT_YET, "'extends' is not compiled yet", model.name.span)
            _each_call(model.body, visit)
            made.append(Elaborator(scope, problems, done).model(model))
    return (*(done[name] for name in scope.blocks if name in done), *made)


def _each_call(body: tuple[tree.Statement, ...], visit: Callable[[str, Span], None]) -> None:
    for node in tree.walk(body):
        if isinstance(node, tree.Call) and isinstance(node.function, tree.Reference):
            visit(node.function.name.text, node.function.span)


def _exact(config: Config) -> Config:
    """Every exact division of the derived values as a requirement, where the spec does not state it."""
    stated = [entry.condition for entry in config.requirements]
    added = []
    for derived in config.derived:
        value = derived.value
        if isinstance(value, Apply) and value.op == "//":
            condition = apply("==", apply("%", *value.args), Const(0))
            if condition not in stated:
                names = [arg.name if isinstance(arg, Field) else "a value" for arg in value.args]
                added.append(Requirement(condition, f"{names[1]} must divide {names[0]}", derived.span))
    return replace(config, requirements=(*config.requirements, *added))
