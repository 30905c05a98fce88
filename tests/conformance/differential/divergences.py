"""Where the emulator answers otherwise than ttnn, on purpose; and what counts as the same.

Both refuse: the same, though the kinds of the exceptions may differ, as long as the emulator's is one that ttnn raises.
Everything else that differs has to be named here, with the reason, and a test asks that each entry is of use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conformance.differential.answers import is_refusal

OURS = ("TypeError", "RuntimeError", "IndexError", "ValueError")
"""What ttnn refuses with; its indexing in Python raises the last two."""
NARROW = r"u?int(8|16)"
DIMLESS = r"Tensor\[\]"


@dataclass(frozen=True)
class Divergence:
    """Calls that are answered otherwise: by pattern, with the words of the emulator's refusal where it refuses."""

    call: str
    reason: str
    says: str | None = ""
    """A pattern in the emulator's refusal; None where it takes the call, and ttnn refuses or answers otherwise."""

    def covers(self, call: str, answer: str, found: str, says: str) -> bool:
        """Whether this entry is about such a difference."""
        if not re.search(self.call, call):
            return False
        if self.says is None:
            return not is_refusal(found)
        return (
            found.removeprefix("cannot be made: ") in OURS
            and not is_refusal(answer)
            and re.search(self.says, says) is not None
        )


STRICTER = (
    Divergence("", "what the emulator does not model it says so, rather than guess", "is not modelled by"),
    Divergence(
        DIMLESS,
        "a tensor without dims: ttnn answers many calls on it before it looks at their other arguments",
    ),
    Divergence(
        NARROW,
        "integers of 8 and 16 bits are indices here; ttnn lets kernels for floats and others read their bits",
        "unsupported data type",
    ),
    Divergence(
        r"\.(leaky_relu|unary_chain|clamp|mac|where|lerp|addcmul|addcdiv|var|layer_norm|rms_norm)\(.*int32",
        "what a kernel for floats makes of integers was never seen",
        "unsupported data type|do not go together",
    ),
    Divergence(
        r"\.(mul|multiply|multiply_|div|divide|maximum|minimum)\(",
        "an integer and a real number: what a board makes of the two formats was never seen",
        "do not go together|unsupported data type",
    ),
    Divergence(r"\b(True|False)\b", "a bool is no number and no choice here", "cannot be bool"),
    Divergence(
        r"\.(maximum|minimum)\(",
        "ttnn cuts a fraction off where integers are compared with it",
        "does not fit",
    ),
    Divergence("", "an integer is no choice here", r"'(dtype|layout)' cannot be int|UnaryWithParam, not \d"),
    Divergence(
        r"\.(repeat_interleave|concat|chunk)\(",
        "where there is nothing to do ttnn does not look at the dim",
        "out of range|out of bounds|Invalid dimension",
    ),
    Divergence(
        r"\.(moreh_\w+|embedding_bw)\(",
        "ttnn compares few shapes, and not what is to be written into: it reads and writes tiles beside them",
        "must have the shape|does not match|must have the gradient's dtype|must be one row"
        "|unsupported data type of (output|input_grad)|(output|output_tensor|input_grad_tensor) must be tilized",
    ),
    Divergence(
        r"\.moreh_adamw?\(",
        "ttnn divides by 1 - beta ** step, whatever it is",
        "step counts from 1|must be less than 1",
    ),
    Divergence(
        r"\.(where|mac|lerp|addcmul|addcdiv)\(",
        "in some broadcasts ttnn makes tiles of rows",
        "must be tilized",
    ),
    Divergence(r"_norm\(", "ttnn reads a row of 32 for a narrower tensor", "Gamma's last padded dim"),
    Divergence(r"_norm\(", "ttnn reads the first row of a weight alone", "must be one row"),
    Divergence(
        r"nlp_create_qkv_heads|split_query", "ttnn cuts heads that do not fill tiles elsewhere", "heads of"
    ),
    Divergence(
        r"rotary_embedding_hf",
        "ttnn turns the halves of the padded head",
        "midpoint must align|as wide as the input",
    ),
    Divergence(r"rotary_embedding_hf", "ttnn reads the bits of integers as numbers", "unsupported data type"),
    Divergence(
        r"update_cache",
        "ttnn looks at padded shapes alone, and at no token: it reads and writes what fills tiles, and beside them",
        "of a cache of|must be <= input tensor height|must equal cache tensor width|must have 4 dims",
    ),
    Divergence(r"nlp_concat_heads", "ttnn reads the first four of five dims", "must have 4 dims"),
    Divergence(r"embedding", "ttnn looks up the first batch alone", "of them only"),
    Divergence(r"embedding", "ttnn takes a vector for a table of one feature", "must be .rows, features."),
    Divergence(r"permute", "ttnn repeats a dim that is named twice", "is no order of"),
    Divergence(
        r"\.(slice|getitem)\(", "ttnn reads the padding of tiles", "must be less than or equal to the shape"
    ),
    Divergence(r"gather", "ttnn reads the padding of tiles", "must be less than or equal to the shape"),
    Divergence(r"repeat|expand", "what has no elements is refused where it is made", "must be positive"),
    Divergence(r"attention", "keys that do not exist would be seen", "padding"),
    Divergence(
        r"\bhost\b.*", "ttnn gives back what is on the host where there is nothing to do", "is on the host"
    ),
)
LAXER = (
    Divergence(
        r"ttnn\.pad\(.*TILE",
        "padding that stays inside the last tile is written in place by ttnn, and made anew here: an emulated "
        "storage holds what is inside the shape alone",
        None,
    ),
    Divergence(
        r"\.(matmul|linear)\(.*transpose_a=True", "ttnn trips over a vector beside a transposed batch", None
    ),
    Divergence(
        r"\.transpose\(Tensor\S* ?.*bfloat[48]_b",
        "of a dim with itself ttnn copies block formats, mostly",
        None,
    ),
    Divergence(
        r"\.transpose\(.*memory_config", "ttnn has no overload with pad_value by position beside it", None
    ),
    Divergence(r"\.typecast\(.*None", "None stands for what is left out", None),
)
DIVERGENCES = STRICTER + LAXER


def same(answer: str, found: str) -> bool:
    """Whether two answers agree."""
    if is_refusal(answer):
        return found.removeprefix("cannot be made: ") in OURS or found == answer
    return answer == found


def explained(call: str, answer: str, found: str, says: str) -> Divergence | None:
    """The entry that names a difference; None where there is none."""
    return next((entry for entry in DIVERGENCES if entry.covers(call, answer, found, says)), None)
