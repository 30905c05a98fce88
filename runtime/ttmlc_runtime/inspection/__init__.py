"""Looking into a model: its blocks and calls beside those of a reference."""

from ttmlc_runtime.inspection.blocks import Trace, record
from ttmlc_runtime.inspection.compare import compare
from ttmlc_runtime.inspection.matching import Matching, match
from ttmlc_runtime.inspection.measure import TOLERANCES, Measure, measure
from ttmlc_runtime.inspection.recording import Key, Part, Recording, Step
from ttmlc_runtime.inspection.rows import MODES, BlockRow, Report, StepRow

__all__ = [
    "MODES", "TOLERANCES", "BlockRow", "Key", "Matching", "Measure", "Part", "Recording", "Report", "Step", "StepRow",
    "Trace", "compare", "match", "measure", "record",
]  # fmt: skip
