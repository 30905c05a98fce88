"""The one way a pass says that a spec, though right, cannot be compiled."""

from __future__ import annotations

from ttmlc.source import Diagnostic, DiagnosticError, SourceFile, Span, declare

NO_DEVICE_FORM = declare("E0401", "this is understood, but has no form on the device yet")


def cannot(span: Span | None, message: str, hint: str = "") -> DiagnosticError:
    """An error that points at the part of the spec that has no form on the device."""
    where = span if span is not None else SourceFile("IR text", "").end()
    return DiagnosticError([Diagnostic(NO_DEVICE_FORM, message, where, hint=hint)])
