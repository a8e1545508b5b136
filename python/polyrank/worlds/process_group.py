"""The default group of a script that `polyrank run` runs in one process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial

import torch

from polyrank import _C
from polyrank._C import FakeMember, FakeRank, FakeStore
from polyrank.any_world.default_group import ROWS as DEFAULT_GROUP
from polyrank.any_world.default_group import run_of_program
from polyrank.any_world.spawned_ranks import Place, makes_ranks_processes, start_rows
from polyrank.fake.world import fake_process_groups_of_dist2, required_fake_world
from polyrank.lockstep_world.lockstep import init_lockstep_group
from polyrank.replacing.layers import FAKE_RUN, LOCKSTEP_RUN
from polyrank.replacing.row import Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode

_ASK_FOR = "start it with --ranks {}"

_sizes: list[tuple[int, int]] = []  # of the run that is on: of its world, and of a node


@contextlib.contextmanager
def lockstep_process_group(world_size: int, local_world_size: int) -> Iterator[None]:
    """Let `init_process_group` make the lockstep world's group.

    `get_node_local_rank` differs between ranks, in the place of the LOCAL_RANK that it would read.
    """
    _sizes.append((world_size, local_world_size))
    make_group = partial(init_lockstep_group, world_size)
    try:
        with LOCKSTEP_RUN.on(), run_of_program(world_size, make_group, _ASK_FOR):
            yield
    finally:
        _sizes.pop()


@contextlib.contextmanager
def fake_process_group(world_size: int, rank: int) -> Iterator[None]:
    """Let `init_process_group` make the group of a fake world.

    Requires: `polyrank.install()` was called.
    """

    def make_group(init_process_group: Callable[..., None]) -> None:
        init_process_group("fake", rank=rank, world_size=world_size, store=FakeStore())
        required_fake_world().takes_any_backend = True

    everyone = FakeMember.fibers([(world_size, 1)], world_size, FakeRank(rank))
    run = run_of_program(world_size, make_group, _ASK_FOR)
    with fake_process_groups_of_dist2(everyone), FAKE_RUN.on(), run:
        yield


def _place_alone() -> Place:
    """The one rank of a fake world."""
    rank, ranks_a_node = os.environ.get("LOCAL_RANK"), os.environ.get("LOCAL_WORLD_SIZE")
    return None if rank is None or ranks_a_node is None else (int(rank), int(ranks_a_node))


def _get_node_local_rank(fallback_rank: int | None = None) -> int | torch.SymInt:
    """As torchrun's LOCAL_RANK, which is there before a group is."""
    world_size, local_world_size = _sizes[-1]
    mode = enabled_local_tensor_mode()
    ranks = _C.RankSet.first(world_size) if mode is None else mode.rank_set
    return _C.own_ranks(ranks) % local_world_size


FAKE = (*DEFAULT_GROUP, *start_rows(makes_ranks_processes(_place_alone)))
LOCKSTEP = (
    *DEFAULT_GROUP,
    Row(
        "torch.distributed.distributed_c10d",
        "get_node_local_rank",
        lambda _: _get_node_local_rank,
        "reads one LOCAL_RANK from the environment",
    ),
)
