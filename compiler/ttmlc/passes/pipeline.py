"""The pipeline: a list, with the reason beside each order that matters, and a verifier between any two passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttmlc.ir import scalar
from ttmlc.ir.module import Module
from ttmlc.ir.verify import verify
from ttmlc.passes.autodiff import Autodiff
from ttmlc.passes.base import Declined, Pass
from ttmlc.passes.fusion.activation import FuseActivation
from ttmlc.passes.fusion.engine import Fuse
from ttmlc.passes.fusion.heads import FuseHeads
from ttmlc.passes.fusion.residual import FuseResidual
from ttmlc.passes.fusion.scale import FuseScale
from ttmlc.passes.fusion.views import SinkViews
from ttmlc.passes.inference_only import InferenceOnly
from ttmlc.passes.join_projections import JoinProjections
from ttmlc.passes.lower import Lower
from ttmlc.passes.narrow import Narrow
from ttmlc.passes.next_token import NextToken
from ttmlc.passes.outline import Outline
from ttmlc.passes.prune import Prune
from ttmlc.passes.specialise import Specialise


@dataclass(frozen=True, slots=True)
class Stage:
    """A module as a pass left it."""

    name: str
    module: Module
    declined: tuple[Declined, ...]


def pipeline(
    fields: Sequence[tuple[str, scalar.Value]] = (), label: str = "", *, train: bool = True
) -> tuple[Pass, ...]:
    """The passes from what the spec means to what a module calls.

    ``label`` asks for a specialised build; without ``train`` no backward is derived and losses are left out.
    """
    specialise = (Specialise(tuple(fields), label),) if label else ()
    return (
        *specialise,  # before everything else: what is known decides what may be lowered and fused
        NextToken(),  # before inference-only: a loss says which output is about the next token
        Outline(),  # before prune: that a head's model begins with its base's operations is how their blocks are shared
        *(() if train else (InferenceOnly(),)),  # before prune, which drops what was made for losses alone
        Prune(),  # before lowering, which would make storages for parameters that nothing reads
        Narrow(),  # behind outline and prune: it asks which blocks read a value, and nothing dead reads any
        JoinProjections(),  # before autodiff: the backward of one matmul is one matmul each way
        *((Autodiff(),) if train else ()),  # before lowering: gradients are typed by axes
        Lower(),
        Fuse(FuseHeads()),
        Fuse(FuseActivation()),
        Fuse(SinkViews()),  # before fuse-residual, whose two operands must have one shape
        Fuse(FuseResidual()),
        Fuse(FuseScale()),
    )


def run(module: Module, passes: Sequence[Pass]) -> list[Stage]:
    """Run ``passes``; the first stage is ``module`` as elaborated.

    Raises:
        VerificationError: a pass broke a promise of the IR.
    """
    verify(module)
    stages = [Stage("elaborate", module, ())]
    for step in passes:
        assert module.level is step.takes, f"{step.name} takes {step.takes.value}, not {module.level.value}"
        outcome = step.run(module)
        module = replace(outcome.module, passes=(*module.passes, step.name))
        assert module.level is step.gives, f"{step.name} gives {step.gives.value}"
        verify(module)
        stages.append(Stage(step.name, module, outcome.declined))
    return stages
