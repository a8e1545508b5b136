"""`init_process_group("polyrank")` in a program that polyrank does not run.

PyTorch 2.14 and later look up a backend that they do not know in the entry points of installed packages, and come here. A
backend is a transport between processes that are there; ranks of polyrank are made before a program runs, or by a block
around it, and the group's call can't make them: it is in the midst of one rank's program by then. So it says what to do.
"""

from __future__ import annotations

from typing import NoReturn

from polyrank.errors import UsageError

__all__ = ["refuse"]


def refuse() -> NoReturn:
    """Say how a program gets ranks; in a world of polyrank's any backend's name is taken, this one too."""
    raise UsageError(
        "polyrank is no backend that joins processes: start the program with `polyrank run --ranks N script.py`, "
        "or put what ranks do into `with polyrank.lockstep(world_size=N):` or polyrank.run_ranks(function, N); "
        "init_process_group may name any backend there"
    )
