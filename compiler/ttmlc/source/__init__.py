"""Spec text, where things stand in it, and what is wrong with it."""

from ttmlc.source.catalogue import CATALOGUE, declare
from ttmlc.source.diagnostic import Diagnostic
from ttmlc.source.drawing import render, visible
from ttmlc.source.error import DiagnosticError
from ttmlc.source.file import SourceFile, Span
from ttmlc.source.problems import nearest, problem

__all__ = [
    "CATALOGUE",
    "Diagnostic",
    "DiagnosticError",
    "SourceFile",
    "Span",
    "declare",
    "nearest",
    "problem",
    "render",
    "visible",
]
