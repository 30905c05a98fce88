"""Making a call on a module that is, or stands in for, ttnn; and describing what comes back.

An answer is one line. A refusal is the kind of exception, "TypeError". A result is described as

    [2, 40] in [64, 64] bfloat16 TILE DRAM

by logical shape, padded shape, dtype, layout and place, and after that by the storage it shares: "is #0" with the
call's first tensor, "is r0" with its first result. Where freeing the first result does not free it alone, or freeing
the first tensor does not free it and what shares its storage alone, the answer ends with what is freed.

What is freed is measured: on ttnn by the memory that is allocated, because a tensor whose storage went with an alias
of it may still say that it is there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.conformance.differential import calls as c

CRASH = "the process ends"


def is_refusal(answer: str) -> bool:
    """Whether an answer is the kind of an exception, or the end of the process."""
    return answer == CRASH or bool(re.fullmatch(r"(cannot be made: )?\w*(Error|Exception)", answer))


class Side:
    """A module and a device of it."""

    def __init__(self, ttnn: Any, device: Any, allocated: Callable[[], int] | None = None) -> None:
        self.ttnn, self.device = ttnn, device
        self.allocated = allocated
        """How many bytes are; None where a tensor's own word on it is true."""

    def answer(self, call: c.Call) -> tuple[str, str]:
        """The answer, and the first line of what a refusal says."""
        tensors: list[Any] = []
        try:
            function = (
                functools.reduce(getattr, call.op.split("."), self.ttnn) if call.op != "getitem" else _item
            )
            args = [self.made(value, tensors) for value in call.args]
            keywords = {name: self.made(value, tensors) for name, value in call.keywords}
        except Exception as error:
            return f"cannot be made: {type(error).__name__}", str(error)
        for tensor, record in zip(tensors, call.tensors(), strict=True):
            if isinstance(record, c.Tensor) and record.freed:
                self.ttnn.deallocate(tensor)
        try:
            value = function(*args, **keywords)
        except Exception as error:  # every kind is an answer
            return type(error).__name__, str(error)
        return self.described(value, tensors), ""

    def made(self, value: Any, tensors: list[Any]) -> Any:
        """An argument; the tensors of a call are numbered as they are made."""
        if isinstance(value, tuple):
            return [self.made(one, tensors) for one in value]
        if isinstance(value, c.Name):
            return functools.reduce(getattr, value.path.split("."), self.ttnn)
        if isinstance(value, c.Made):
            kind = functools.reduce(getattr, value.path.split("."), self.ttnn)
            args = [self.made(one, tensors) for one in value.args]
            return kind(*args, **{name: self.made(one, tensors) for name, one in value.keywords})
        if isinstance(value, c.Board):
            return self.device
        if isinstance(value, c.Slice):
            return slice(value.start, value.stop, value.step)
        if isinstance(value, c.Config):
            keywords = {name: self.made(one, tensors) for name, one in value.keywords}
            return self.ttnn.init_device_compute_kernel_config(self.device.arch(), **keywords)
        if not isinstance(value, c.TENSORS):
            return value
        if isinstance(value, c.Tensor):
            tensors.append(self.tensor(value))
        elif isinstance(value, c.Same):
            tensors.append(tensors[value.of])
        else:
            tensors.append(self.ttnn.reshape(tensors[value.of], list(value.shape)))
        return tensors[-1]

    def tensor(self, record: c.Tensor) -> Any:
        """Zeros."""
        array = np.zeros(record.shape, np.int32 if "int" in record.dtype else np.float32)
        memory = getattr(self.ttnn, f"{record.memory}_MEMORY_CONFIG")
        layout, dtype = getattr(self.ttnn, f"{record.layout}_LAYOUT"), getattr(self.ttnn, record.dtype)
        return self.ttnn.Tensor(array, dtype, None if record.host else self.device, layout, memory)

    def described(self, value: Any, operands: list[Any]) -> str:
        """The answer of a call that was taken."""
        several = isinstance(value, (list, tuple))
        results = [one for one in (value if several else (value,)) if hasattr(one, "padded_shape")]
        named: list[tuple[str, Any]] = [(f"#{number}", tensor) for number, tensor in enumerate(operands)]
        lines: list[str] = []
        for one in value if several else (value,):
            if not hasattr(one, "padded_shape"):
                lines.append(repr(one))
                continue
            base = next((name for name, other in named if _share(one, other)), None)
            lines.append(_one(one) + (f" is {base}" if base else ""))
            named.append((f"r{len(named) - len(operands)}", one))
        text = f"({'; '.join(lines)})" if several else lines[0]
        for name, tensor in (*named[len(operands) :][:1], *named[:1]):
            text += self.freed(name, tensor, named)
        del results
        return text

    def freed(self, name: str, tensor: Any, named: list[tuple[str, Any]]) -> str:
        """What freeing a tensor frees, where that is not it and all that share its storage."""
        if _place(tensor) == "host" or not tensor.is_allocated() or 0 in tuple(tensor.shape):
            return ""  # what has no elements takes no memory that could be seen to be freed
        alive = [(other, one) for other, one in named if _place(one) != "host" and one.is_allocated()]
        sharing = [other for other, one in alive if _share(tensor, one)]
        before = self.allocated() if self.allocated else 0
        self.ttnn.deallocate(tensor)
        if self.allocated:
            gone = sharing if self.allocated() < before else []
        else:
            gone = [other for other, one in alive if not one.is_allocated()]
        if gone == sharing:
            return ""
        return f"; freeing {name} frees {', '.join(gone) or 'nothing'}"


def _item(tensor: Any, *key: Any) -> Any:
    return tensor[tuple(key) if len(key) != 1 else key[0]]


def _last(value: Any) -> str:
    return str(value).rpartition(".")[2]


def _place(tensor: Any) -> str:
    if _last(tensor.storage_type()) == "HOST":
        return "host"
    memory = tensor.memory_config()
    spread = _last(memory.memory_layout).rpartition(":")[2]
    kind = _last(memory.buffer_type).rpartition(":")[2]
    return kind if spread == "INTERLEAVED" else f"{kind} {spread}"


def _one(tensor: Any) -> str:
    dtype, layout = _last(tensor.dtype).lower(), _last(tensor.layout)
    return f"{list(tensor.shape)} in {list(tensor.padded_shape)} {dtype} {layout} {_place(tensor)}"


def _share(one: Any, other: Any) -> bool:
    """Whether two tensors that are there share storage; of the host's, ttnn does not tell."""
    if one is other:
        return True
    if 0 in (*one.shape, *other.shape):
        return False  # there is nothing to share
    if "host" in (_place(one), _place(other)) or not (one.is_allocated() and other.is_allocated()):
        return False
    return _place(one) == _place(other) and bool(one.buffer_address() == other.buffer_address())
