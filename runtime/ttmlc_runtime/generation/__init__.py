"""What a model that predicts the next token adds to a prompt: sampling, batches of prompts, decoding."""

from ttmlc_runtime.generation.decoders import Decoder, Recomputing
from ttmlc_runtime.generation.model import Model, Streamer
from ttmlc_runtime.generation.prompt import Prompt, read_prompt
from ttmlc_runtime.generation.sampling import Chooser, Sampling, process
from ttmlc_runtime.generation.spec import NextToken

__all__ = [
    "Chooser", "Decoder", "Model", "NextToken", "Prompt", "Recomputing", "Sampling", "Streamer", "process",
    "read_prompt",
]  # fmt: skip
