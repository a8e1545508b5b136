"""Of which of Python's classes a number is that differs between ranks, for the program.

On each rank it is an `int`, `float` or `bool`, and so it is to a program that asks (`isinstance`, `case int():`,
`number.__class__`). PyTorch tells it from plain numbers by the same question, and Python's library hands
plain ones to C code: these see a SymInt. `type(number)` is SymInt for all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch

from polyrank._C import LocalNode
from polyrank.numbers.wide_int_node import WideIntNode
from polyrank.replacing.code_of import is_of_library
from polyrank.replacing.row import Row

__all__ = ["ROWS"]


def _class_property(own: type, of_python: type) -> Callable[[Any], Any]:
    def class_of(self: Any) -> type:
        frame: FrameType | None = sys._getframe(1)
        if frame is not None and frame.f_code.co_filename == "<frozen abc>":  # of numbers.Integral
            frame = frame.f_back
        if frame is None or is_of_library(frame.f_code.co_filename):
            return own
        return of_python if isinstance(self.node, LocalNode | WideIntNode) else own

    return lambda _: property(class_of)


ROWS = tuple(
    Row(
        f"torch:{own.__name__}",
        "__class__",
        _class_property(own, of_python),
        "a program takes a rank for an int",
        is_added=True,
    )
    for own, of_python in (
        (torch.SymInt, int),
        (torch.SymFloat, float),
        (torch.SymBool, bool),
    )
)
