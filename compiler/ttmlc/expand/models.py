"""A model that extends another: its statements in the places of those that they replace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ttmlc.expand.codes import AMBIGUOUS, NO_CALL, NO_SUPER, NOTHING_TO_REPLACE, Told
from ttmlc.expand.rewriting import exchanged, mapped, statements
from ttmlc.language import tree
from ttmlc.source import DiagnosticError, Span, nearest, problem


@dataclass
class Part:
    """A model or a block on its way: what may be replaced in it."""

    name: str
    params: tuple[tree.Param, ...]
    body: tuple[tree.Statement, ...]

    def put(self, old: tree.Node, new: tree.Node) -> None:
        """``new`` in the place of a statement or an input."""
        self.params = exchanged(self.params, old, new)
        self.body = exchanged(self.body, old, new)

    def found(self, name: tree.Name, of: Callable[[tree.Statement], bool]) -> tree.Statement | tree.Param:
        """What is called ``name``: by its label, or else as a statement ``of`` that sort, or else as an input.

        Raises:
            DiagnosticError: there is nothing, or there are several.
        """
        every = list(statements(self.body))
        sites: Sequence[tree.Statement | tree.Param] = [
            node
            for node in every
            if isinstance(node, tree.Assign) and node.label is not None and node.label.text == name.text
        ]
        sites = sites or [node for node in every if of(node)]
        sites = sites or [param for param in self.params if param.name.text == name.text]
        if not sites:
            message = f"{self.name!r} has nothing called {name.text!r} to replace"
            raise problem(NOTHING_TO_REPLACE, message, name.span, hint=nearest(name.text, self.known()))
        if len(sites) > 1:
            related = tuple((node.span, "here") for node in sites)
            message = f"{self.name!r} has {name.text!r} several times"
            hint = "Give the one that is meant a label of its own, and write that."
            raise problem(AMBIGUOUS, message, name.span, related=related, hint=hint)
        return sites[0]

    def known(self) -> list[str]:
        """What could be replaced."""
        found = [param.name.text for param in self.params]
        for node in statements(self.body):
            if isinstance(node, tree.Assign):
                found += [word.text for word in [node.label, *(t.path[-1] for t in node.targets)] if word]
            elif isinstance(node, tree.ParamStatement):
                found.append(node.name.text)
        return found


def merged_model(
    child: tree.Model, base: tree.Model, functions: dict[str, tree.Function], told: Told
) -> tree.Model:
    """``child`` with what it takes over: no ``extends`` is left.

    Args:
        child: a model that extends ``base``.
        base: a model that extends nothing.
        functions: the blocks and fns of both; those with statements that ``child`` replaces are exchanged in it.
        told: what is wrong goes here.
    """
    params = child.params if child.params is not None else base.params or ()
    model = Part(base.name.text, params, base.body)
    parts: dict[str, Part] = {}
    docs = [node for node in child.body if isinstance(node, tree.Doc)]

    def part(path: tuple[tree.Name, ...]) -> Part:
        if len(path) == 1:
            return model
        name = path[0].text
        blocks = [word for word, node in functions.items() if node.kind == "block"]
        if len(path) > 2 or name not in blocks:
            message = f"there is no block {name!r}" if len(path) == 2 else "this names nothing"
            raise problem(NOTHING_TO_REPLACE, message, path[0].span, hint=nearest(name, blocks))
        return parts.setdefault(name, Part(name, functions[name].params, functions[name].body))

    for node in child.body:
        with told.kept():
            if isinstance(node, tree.Assign):
                _assign(part(node.targets[0].path), node)
            elif isinstance(node, tree.Amend):
                _amend(part(node.target.path), node)
            elif isinstance(node, tree.ParamStatement):
                old = model.found(node.name, lambda here, name=node.name: _is_param(here, name))  # type: ignore[misc]  # mypy reads no default of a lambda
                model.put(old, node)
            elif isinstance(node, tree.Return):
                model.body = _return(model, node)
            elif isinstance(node, tree.Require):
                model.body = (*model.body[:-1], node, *model.body[-1:])
            elif not isinstance(node, (tree.Doc, tree.Rename)):
                message = f"{tree.describe(node)} replaces nothing: it has no name"
                hint = "Write the model without 'extends', or a block of it anew."
                raise problem(NOTHING_TO_REPLACE, message, node.span, hint=hint)
    for name, made in parts.items():
        functions[name] = replace(functions[name], params=made.params, body=made.body)
    body = [node for node in model.body if not (docs and isinstance(node, tree.Doc))]
    return replace(child, extends=None, params=model.params, body=(*docs, *body))


def _is_param(node: tree.Statement, name: tree.Name) -> bool:
    return isinstance(node, tree.ParamStatement) and node.name.text == name.text


def _assigns(node: tree.Statement, name: tree.Name) -> bool:
    """Whether ``node`` gives ``name``, alone or with others."""
    return isinstance(node, tree.Assign) and any(t.path[-1].text == name.text for t in node.targets)


def _assign(part: Part, node: tree.Assign) -> None:
    """Replace what a statement assigns, or the default of an input."""
    words = [target.path[-1] for target in node.targets]
    name = node.label or words[0]
    old = part.found(name, lambda here: _assigns(here, words[0]))
    if isinstance(old, tree.Param):
        part.put(old, replace(old, default=_with_super(node.value, old.default, old.span)))
        return
    assert isinstance(old, tree.Assign)
    labelled = old.label is not None and old.label.text == name.text
    theirs = [target.path[-1].text for target in old.targets]
    if len(words) != len(theirs) or (not labelled and [word.text for word in words] != theirs):
        message = f"{part.name!r} assigns {name.text!r} together with others"
        hint = f"Write {', '.join(theirs)} = ..."
        raise problem(NOTHING_TO_REPLACE, message, name.span, related=((old.span, "here"),), hint=hint)
    value = _with_super(node.value, old.value, old.span)
    part.put(old, replace(old, span=node.span, value=value))


def _amend(part: Part, node: tree.Amend) -> None:
    """Change the options of a call, or of a parameter."""
    name = node.target.path[-1]
    old = part.found(name, lambda here: _assigns(here, name) or _is_param(here, name))
    if isinstance(old, tree.ParamStatement):
        part.put(old, replace(old, options=_options(old.options, node.options, old.span)))
        return
    call: object = old.value if isinstance(old, tree.Assign) else None
    while isinstance(call, tree.As):
        call = call.value
    if not isinstance(call, tree.Call):
        message = f"{name.text!r} is no call: it has no options"
        raise problem(NO_CALL, message, node.span, related=((old.span, "here"),), hint="Replace it with '='.")
    part.put(call, replace(call, options=_options(call.options, node.options, old.span)))


def _options(
    old: tuple[tree.Option, ...], new: tuple[tree.Option, ...], span: Span
) -> tuple[tree.Option, ...]:
    """``old`` with the ``new`` ones in their places, or behind them; ``super`` is what an option was."""
    made = {option.name.text: option for option in old}
    for option in new:
        before = made.get(option.name.text)
        value = _with_super(option.value, None if before is None else before.value, span)
        made[option.name.text] = replace(option, value=value)
    return tuple(made.values())


def _return(part: Part, node: tree.Return) -> tuple[tree.Statement, ...]:
    """The body with ``node`` for the base's ``return``."""
    old = [here for here in part.body if isinstance(here, tree.Return)]
    if not old:
        raise problem(NOTHING_TO_REPLACE, f"{part.name!r} has no 'return' to replace", node.span)
    before = {option.name.text: option.value for option in old[-1].values}
    values = tuple(
        replace(option, value=_with_super(option.value, before.get(option.name.text), old[-1].span))
        for option in node.values
    )
    value = None if node.value is None else _with_super(node.value, old[-1].value, old[-1].span)
    return exchanged(part.body, old[-1], replace(node, values=values, value=value))


def _with_super(value: tree.Expr, old: tree.Expr | None, where: Span) -> tree.Expr:
    """``value`` with what it replaces for ``super``."""

    def change(node: tree.Node) -> object:
        if isinstance(node, tree.Reference) and node.name.text == "super":
            if old is None:
                raise no_super(node, where)
            return old
        return node

    return mapped(value, change)


def no_super(node: tree.Reference, where: Span | None = None) -> DiagnosticError:
    """What is said of a ``super`` that stands for nothing; ``where`` is what has nothing there."""
    related = () if where is None else ((where, "says nothing here"),)
    return problem(NO_SUPER, "there is no 'super' here: nothing is replaced", node.span, related=related)
