"""`init_process_group` as a program sees it whose ranks share one process: it gets the group that their world has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch.distributed as dist

from polyrank import _C
from polyrank.any_world.backend_names import ROWS as NAMES
from polyrank.any_world.backend_names import forget_names, name_default_backend
from polyrank.errors import DivergenceError, UsageError
from polyrank.replacing.row import Row

__all__ = ["ROWS", "run_of_program"]


@dataclass(frozen=True)
class _Run:
    """What the program's calls need to know of the world that it runs in."""

    world_size: int
    process_id: int
    make_group: Callable[[Callable[..., None]], None]  # told torch's init_process_group
    ask_for: str  # how a run of another world size is had, e.g. "start it with --ranks {}"


_runs: list[_Run] = []  # the last one is on


@contextlib.contextmanager
def run_of_program(
    world_size: int, make_group: Callable[[Callable[..., None]], None], ask_for: str
) -> Iterator[None]:
    """Let `init_process_group`, with whatever arguments, make this world's group, and take that down at the end.

    Raises (from the program's call):
        UsageError: the program asks for another world size than there are ranks, or to be another rank.
    """
    forget_names()
    _runs.append(_Run(world_size, os.getpid(), make_group, ask_for))
    try:
        yield
    finally:
        _runs.pop()
        if dist.is_initialized():
            dist.destroy_process_group()


def _wrap_init(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def init_process_group(*args: Any, **options: Any) -> None:
        run = _runs[-1]
        _check(run, *args, **options)
        run.make_group(original)
        name_default_backend(args[0] if args else options.get("backend"))

    return init_process_group


def _check(
    run: _Run,
    backend: str | None = None,
    init_method: str | None = None,
    timeout: Any = None,
    world_size: int = -1,
    rank: int = -1,
    *args: Any,
    **options: Any,
) -> None:
    if os.getpid() != run.process_id:
        raise UsageError(
            "a process that the script forked makes the default group, but one process is all ranks "
            "here (in the fake world the one that runs). torch.multiprocessing.spawn makes the ranks "
            "that are there its processes; or run the script as such, without polyrank"
        )
    number_of_ranks = run.world_size
    if isinstance(world_size, int) and world_size not in (-1, number_of_ranks):
        raise UsageError(
            f"the script asks for a world of {world_size} ranks, but the run has "
            f"{number_of_ranks}: {run.ask_for.format(world_size)}"
        )
    is_one = isinstance(rank, int)
    if (is_one and not -1 <= rank < number_of_ranks) or not (is_one or _is_own_rank(rank, run)):
        raise UsageError(
            f"the script says that it is rank {rank}, but the run has ranks 0..{number_of_ranks - 1}"
        )


def _is_own_rank(rank: Any, run: _Run) -> bool:
    """Whether a number that differs between ranks is each one's rank."""
    own = _C.own_ranks(_C.RankSet.first(run.world_size))
    try:
        return bool(rank == own)
    except DivergenceError:  # it is some ranks' only
        return False


ROWS = (
    Row(
        "torch.distributed.distributed_c10d",
        "init_process_group",
        _wrap_init,
        "reaches for the network",
    ),
    *NAMES,
)
