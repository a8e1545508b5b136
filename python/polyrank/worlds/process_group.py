"""init_process_group as a script that polyrank runs sees it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

import torch
import torch.distributed as dist

from polyrank import _C
from polyrank._C import FakeMember, FakeRank, FakeStore
from polyrank.any_world.spawned_ranks import Place, makes_ranks_processes, start_rows
from polyrank.errors import DivergenceError, UsageError
from polyrank.fake.world import fake_process_groups_of_dist2, required_fake_world
from polyrank.lockstep_world.lockstep import init_lockstep_group
from polyrank.replacing.layers import FAKE_RUN, LOCKSTEP_RUN
from polyrank.replacing.row import Row
from polyrank.worlds.backend_names import ROWS as NAMES
from polyrank.worlds.backend_names import name_default_backend


@dataclass(frozen=True)
class _Run:
    """What the script's calls need to know of the run that is on."""

    world_size: int
    local_world_size: int
    process_id: int
    make_group: Callable[[Callable[..., None]], None]  # told torch's init_process_group


_runs: list[_Run] = []  # one at most: a process runs one script at a time


@contextlib.contextmanager
def _run(run: _Run) -> Iterator[None]:
    _runs.append(run)
    try:
        yield
    finally:
        _runs.pop()
        if dist.is_initialized():
            dist.destroy_process_group()


@contextlib.contextmanager
def lockstep_process_group(world_size: int, local_world_size: int) -> Iterator[None]:
    """Let `init_process_group`, with whatever arguments, make the lockstep world's group.

    `get_node_local_rank` differs between ranks, in the place of the LOCAL_RANK that it would read.

    Raises (from the script's call):
        UsageError: the script asks for another world size than there are ranks.
    """
    run = _Run(world_size, local_world_size, os.getpid(), partial(init_lockstep_group, world_size))
    with LOCKSTEP_RUN.on(), _run(run):
        yield


@contextlib.contextmanager
def fake_process_group(world_size: int, rank: int) -> Iterator[None]:
    """Let `init_process_group`, with whatever arguments, make the group of a fake world.

    Requires: `polyrank.install()` was called.

    Raises (from the script's call):
        UsageError: the script asks for another world size than there are ranks.
    """

    def make_group(init_process_group: Callable[..., None]) -> None:
        init_process_group("fake", rank=rank, world_size=world_size, store=FakeStore())
        required_fake_world().takes_any_backend = True

    everyone = FakeMember.fibers([(world_size, 1)], world_size, FakeRank(rank))
    run = _Run(world_size, 1, os.getpid(), make_group)
    with fake_process_groups_of_dist2(everyone), FAKE_RUN.on(), _run(run):
        yield


def _place_alone() -> Place:
    """The one rank of a fake world."""
    rank, ranks_a_node = os.environ.get("LOCAL_RANK"), os.environ.get("LOCAL_WORLD_SIZE")
    return None if rank is None or ranks_a_node is None else (int(rank), int(ranks_a_node))


def _wrap_init(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def init_process_group(*args: Any, **options: Any) -> None:
        (run,) = _runs
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
            f"{number_of_ranks}: start it with --ranks {world_size}"
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


def _get_node_local_rank(fallback_rank: int | None = None) -> int | torch.SymInt:
    return dist.get_rank() % _runs[-1].local_world_size


_C10D = "torch.distributed.distributed_c10d"
_INIT = Row(_C10D, "init_process_group", _wrap_init, "reaches for the network")

FAKE = (_INIT, *NAMES, *start_rows(makes_ranks_processes(_place_alone)))
LOCKSTEP = (
    _INIT,
    *NAMES,
    Row(
        _C10D,
        "get_node_local_rank",
        lambda _: _get_node_local_rank,
        "reads one LOCAL_RANK from the environment",
    ),
)
