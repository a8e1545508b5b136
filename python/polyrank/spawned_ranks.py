"""Processes that a program starts as its ranks, where one process runs them all, or one of them alone."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import torch.multiprocessing

from polyrank.errors import UsageError
from polyrank.rank_dependent_numbers import rank_dependent_int

__all__ = ["STARTS", "START_FUNCTIONS", "EndedProcesses", "make_start_alone", "run_as_process"]


class EndedProcesses:
    """What `spawn(join=False)` returns: what it started is over."""

    processes: tuple[Any, ...] = ()

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Whether all have ended."""
        return True

    def pids(self) -> list[int]:
        """The processes' ids: there is none."""
        return []


def run_as_process(
    own: Any, local_world_size: int, fn: Callable[..., Any], args: Any, nprocs: int, join: bool
) -> EndedProcesses | None:
    """What `spawn` does where the ranks are there: the function runs as process `own` of its node.

    Raises:
        UsageError: the program spawns another number of processes than there are ranks on a node.
    """
    if nprocs != local_world_size:
        raise UsageError(
            f"the program spawns {nprocs} processes, and each rank is to be one of them, but "
            f"{local_world_size} ranks run on a node: run it on as many"
        )
    fn(own, *args)
    return None if join else EndedProcesses()


def _start_in_lockstep(
    original: Callable[..., Any],
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    *more: Any,
    **options: Any,
) -> Any:
    """`torch.multiprocessing.spawn` or `start_processes`: the ranks are the processes."""
    from polyrank.local_tensor_mode import enabled_local_tensor_mode

    mode = enabled_local_tensor_mode()
    if mode is None or not mode.has_rank_dependent_get_rank:
        return original(fn, args, nprocs, join, *more, **options)
    ranks_a_node = int(os.environ.get("LOCAL_WORLD_SIZE", len(mode.ranks)))
    own = rank_dependent_int({rank: rank % ranks_a_node for rank in mode.ranks})
    return run_as_process(own, ranks_a_node, fn, args, nprocs, join)


def make_start_alone(original: Callable[..., Any]) -> Callable[..., Any]:
    """`spawn` or `start_processes` in a fake world: the one rank is its process."""

    @functools.wraps(original)
    def start(
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        nprocs: int = 1,
        join: bool = True,
        *more: Any,
        **options: Any,
    ) -> Any:
        rank = os.environ.get("LOCAL_RANK")
        if rank is None or "LOCAL_WORLD_SIZE" not in os.environ:
            return original(fn, args, nprocs, join, *more, **options)
        ranks_a_node = int(os.environ["LOCAL_WORLD_SIZE"])
        return run_as_process(int(rank), ranks_a_node, fn, args, nprocs, join)

    return start


# Owner and name of each; the module is hidden by the function of its name.
STARTS: tuple[tuple[Any, str], ...] = tuple(
    (owner, name)
    for owner in (torch.multiprocessing, sys.modules["torch.multiprocessing.spawn"])
    for name in ("spawn", "start_processes")
)
START_FUNCTIONS: tuple[tuple[Any, str, Callable[..., Any]], ...] = tuple(
    (owner, name, _start_in_lockstep) for owner, name in STARTS
)
