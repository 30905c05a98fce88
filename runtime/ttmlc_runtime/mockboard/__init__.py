"""The real ttnn without a board: mock boards, ttnn's own record of what it did, generated modules verified."""

from ttmlc_runtime.mockboard.boards import BOARDS, Board
from ttmlc_runtime.mockboard.capture import Capture, Operand, Program, Transfer, banks_of, capture
from ttmlc_runtime.mockboard.child import run
from ttmlc_runtime.mockboard.environment import python_with_ttnn
from ttmlc_runtime.mockboard.kit import close_board, open_board, prepare
from ttmlc_runtime.mockboard.verify import verify

__all__ = [
    "BOARDS", "Board", "Capture", "Operand", "Program", "Transfer", "banks_of", "capture", "close_board", "open_board",
    "prepare", "python_with_ttnn", "run", "verify",
]  # fmt: skip
