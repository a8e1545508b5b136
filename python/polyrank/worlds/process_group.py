"""init_process_group as a script that polyrank runs sees it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d

from polyrank._C import FakeMember, FakeRank, FakeStore
from polyrank.errors import UsageError
from polyrank.fake.world import fake_process_groups_of_dist2, required_fake_world
from polyrank.lockstep import init_lockstep_group
from polyrank.spawned_ranks import STARTS, Place, makes_ranks_processes


@contextlib.contextmanager
def lockstep_process_group(world_size: int, local_world_size: int) -> Iterator[None]:
    """Let `init_process_group`, with whatever arguments, make the lockstep world's group.

    `get_node_local_rank` differs between ranks, in the place of the LOCAL_RANK that it would read.

    Raises (from the script's call):
        UsageError: the script asks for another world size than there are ranks.
    """

    def get_node_local_rank(fallback_rank: int | None = None) -> int | torch.SymInt:
        return dist.get_rank() % local_world_size

    with _placed(
        (_init_for(world_size, lambda: init_lockstep_group(world_size)), dist, distributed_c10d),
        (get_node_local_rank, dist, distributed_c10d),
    ):
        yield


@contextlib.contextmanager
def fake_process_group(world_size: int, rank: int) -> Iterator[None]:
    """Let `init_process_group`, with whatever arguments, make the group of a fake world.

    Requires: `polyrank.install()` was called.

    Raises (from the script's call):
        UsageError: the script asks for another world size than there are ranks.
    """
    init_fake_group = dist.init_process_group

    def make_group() -> None:
        init_fake_group("fake", rank=rank, world_size=world_size, store=FakeStore())
        required_fake_world().takes_any_backend = True

    everyone = FakeMember.fibers([(world_size, 1)], world_size, FakeRank(rank))
    with (
        fake_process_groups_of_dist2(everyone),
        _placed(
            (_init_for(world_size, make_group), dist, distributed_c10d),
            *((_start_alone(getattr(owner, name)), owner) for owner, name in STARTS),
        ),
    ):
        yield


def _place_alone() -> Place:
    """The one rank of a fake world."""
    rank, ranks_a_node = os.environ.get("LOCAL_RANK"), os.environ.get("LOCAL_WORLD_SIZE")
    return None if rank is None or ranks_a_node is None else (int(rank), int(ranks_a_node))


_start_alone = makes_ranks_processes(_place_alone)


def _init_for(number_of_ranks: int, make_group: Callable[[], None]) -> Callable[..., None]:
    own_process = os.getpid()

    def init_process_group(
        backend: str | None = None,
        init_method: str | None = None,
        timeout: Any = None,
        world_size: int = -1,
        rank: int = -1,
        store: Any = None,
        group_name: str = "",
        pg_options: Any = None,
        device_id: Any = None,
        **options: Any,
    ) -> None:
        if os.getpid() != own_process:
            raise UsageError(
                "a process that the script forked makes the default group, but one process is all "
                "ranks here (in the fake world the one that runs). torch.multiprocessing.spawn makes the "
                "ranks that are there its processes; or run the script as such, without polyrank"
            )
        if isinstance(world_size, int) and world_size not in (-1, number_of_ranks):
            raise UsageError(
                f"the script asks for a world of {world_size} ranks, but the run has "
                f"{number_of_ranks}: start it with --ranks {world_size}"
            )
        if isinstance(rank, int) and not -1 <= rank < number_of_ranks:
            raise UsageError(
                f"the script says that it is rank {rank}, but the run has ranks "
                f"0..{number_of_ranks - 1}"
            )
        make_group()

    return init_process_group


@contextlib.contextmanager
def _placed(*replacements: tuple[Any, ...]) -> Iterator[None]:
    """Functions, each followed by the modules that it is placed in, until the run is over."""
    with contextlib.ExitStack() as stack:
        for function, *owners in replacements:
            name = function.__name__
            for owner in (*owners, device_mesh):
                if hasattr(owner, name):
                    stack.callback(setattr, owner, name, getattr(owner, name))
                    setattr(owner, name, function)
        try:
            yield
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
