"""What a model's class says of the output that is about the next token."""

from __future__ import annotations

from ttmlc.emit.calls import OWNER
from ttmlc.emit.construction import exploded
from ttmlc.emit.python import Arg, Call, Raw, expression, identifier, string
from ttmlc.ir.module import Form
from ttmlc.ir.scalar import Const


def next_token(form: Form) -> list[str]:
    """``next_token = generation.NextToken(...)``: names, and what is read from the config."""
    *names, vocab, longest, causal, cached = form.args
    args = [
        Arg(Raw(string(identifier(str(name)))), keyword)
        for keyword, name in zip(("logits", "ids", "mask", "positions"), names, strict=True)
        if name
    ]
    for keyword, value in (("vocab", vocab), ("longest", longest), ("causal", causal)):
        assert not isinstance(value, (str, Form, tuple))
        if value not in (Const(None), Const(True)):
            args.append(Arg(Raw(f"lambda {OWNER}: {expression(value, OWNER)}"), keyword))
    if cached == Const(True):
        args.append(Arg(Raw("True"), "cached"))
    return exploded("next_token = ", Call("generation.NextToken", tuple(args)), 4)
