"""What says that a rank is in no group, which in lockstep a group is to some ranks alone."""

from __future__ import annotations

import sys

import torch.distributed as dist

from polyrank.errors import DivergenceError
from polyrank.lockstep_world.groups.process_groups import own_group_ranks
from polyrank.replacing.code_of import IN_POLYRANK, IN_TORCH
from polyrank.replacing.row import Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode

__all__ = ["ROWS"]

_RANK_0_ASKS = (IN_TORCH, IN_POLYRANK)


class _NonGroupMember(int):
    """`GroupMember.NON_GROUP_MEMBER`, which `new_group` gives ranks that are not in the group.

    One program runs for all ranks, to which `new_group` gives the group. Whether that is this value
    differs between ranks, unless all are in it.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dist.ProcessGroup):
            return int.__eq__(self, other)
        _check_that_all_are_members(other, sys._getframe(1).f_code.co_filename)
        return False

    def __ne__(self, other: object) -> bool:
        if not isinstance(other, dist.ProcessGroup):
            return int.__ne__(self, other)
        _check_that_all_are_members(other, sys._getframe(1).f_code.co_filename)
        return True

    def __hash__(self) -> int:
        return int.__hash__(self)


def _check_that_all_are_members(group: dist.ProcessGroup, asking_file: str) -> None:
    # Collectives of torch ask, too: a rank that is not in the group then takes no part in it.
    mode = None if asking_file.startswith(_RANK_0_ASKS) else enabled_local_tensor_mode()
    if mode is None:
        return
    group_ranks = own_group_ranks(group, mode.rank_set)
    if isinstance(group_ranks, int):
        return
    outside = [rank for rank, own in group_ranks.node._local_ints.items() if own < 0]
    if outside:
        raise DivergenceError(
            f"whether a rank is in the group of ranks {dist.get_process_group_ranks(group)} differs "
            f"between ranks: ranks {outside} are not. Launch its collectives without asking: ranks "
            "that are not in a group take no part. For each rank's own of several groups take the "
            "first result of dist.new_subgroups_by_enumeration(), or a DeviceMesh's get_group()."
        )


def _make(original: int) -> int:
    return _NonGroupMember(original)


ROWS = (
    Row(
        "torch.distributed.distributed_c10d:GroupMember",
        "NON_GROUP_MEMBER",
        _make,
        "differs between ranks",
        is_attribute=True,
    ),
)
