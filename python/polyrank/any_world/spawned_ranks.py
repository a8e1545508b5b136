"""Processes that a program starts as its ranks, where one process runs them all, or one of them alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from polyrank.errors import UsageError
from polyrank.numbers.rank_dependent_numbers import rank_dependent_int
from polyrank.replacing.row import Make, Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["ROWS", "EndedProcesses", "Place", "makes_ranks_processes", "start_rows"]


class EndedProcesses:
    """What `spawn(join=False)` returns: what it started is over."""

    processes: tuple[Any, ...] = ()

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Whether all have ended."""
        return True

    def pids(self) -> list[int]:
        """The processes' ids: there is none."""
        return []


# Which process of its node the calling rank is, and how many ranks the node has; None: the program may
# start processes, which are no ranks.
Place = tuple[Any, int] | None


def _start_on_ranks(
    place_here: Callable[[], Place],
    original: Callable[..., Any],
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    *more: Any,
    **options: Any,
) -> Any:
    """`torch.multiprocessing.spawn` or `start_processes`, where the ranks are there already.

    All ranks run the program up to there; then each runs the function as the process that it is. With it end
    the groups that it made and the streams of random numbers, as with a process: the next spawn starts as this one.

    Raises:
        UsageError: the program spawns another number of processes than there are ranks on a node.
    """
    place = place_here()
    if place is None:
        return original(fn, args, nprocs, join, *more, **options)
    own, ranks_a_node = place
    if nprocs != ranks_a_node:
        raise UsageError(
            f"the program spawns {nprocs} processes, and each rank is to be one of them, but "
            f"{ranks_a_node} ranks run on a node: run it on as many"
        )
    given = dist.group.WORLD if dist.is_initialized() else None
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        fn(own, *args)
    if dist.is_initialized() and dist.group.WORLD is not given:
        dist.destroy_process_group()
    return None if join else EndedProcesses()


def makes_ranks_processes(place_here: Callable[[], Place]) -> Make:
    """Makes of a function that starts processes one by which the ranks of a world take their place."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def start(*args: Any, **options: Any) -> Any:
            return _start_on_ranks(place_here, original, *args, **options)

        return start

    return make


def _place_in_lockstep() -> Place:
    mode = enabled_local_tensor_mode()
    if mode is None or not mode.has_rank_dependent_get_rank:
        return None
    ranks_a_node = int(os.environ.get("LOCAL_WORLD_SIZE", len(mode.ranks)))
    return rank_dependent_int({rank: rank % ranks_a_node for rank in mode.ranks}), ranks_a_node


def start_rows(make: Make) -> tuple[Row, ...]:
    """The rows of a world whose ranks `make` lets take their place."""
    return tuple(
        Row("torch.multiprocessing.spawn", name, make, "starts processes, and the ranks are there")
        for name in ("spawn", "start_processes")
    )


ROWS = start_rows(makes_ranks_processes(_place_in_lockstep))
