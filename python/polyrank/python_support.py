"""Which Pythons a world was tried with.

Lockstep and threads exchange what the interpreter itself has: code of functions, functions in C of the classes of text,
numbers and modules. What another minor version does past these would be a silently wrong value, so it is refused.
Processes, the fake world and real processes stand on none of that.
"""

from __future__ import annotations

import os
import sys

from polyrank.errors import UsageError

__all__ = ["VARIABLE", "require_tried_python"]

TRIED = ((3, 11), (3, 12))
# For whoever makes another one work.
VARIABLE = "POLYRANK_UNTRIED_PYTHON"


def require_tried_python(world: str) -> None:
    """Raise UsageError if this Python may give a wrong value in that world."""
    version = sys.version_info[:2]
    if version in TRIED or os.environ.get(VARIABLE) == "1":
        return
    tried = [".".join(map(str, one)) for one in TRIED]
    raise UsageError(
        f"{world} needs Python {' or '.join(tried)}, and this is {'.'.join(map(str, version))}, of which it does not know "
        f"all that goes past it: text that differs between ranks would be taken for one. Take Python {tried[-1]}, or the "
        "processes world (`--world processes`), which exchanges nothing of that"
    )
