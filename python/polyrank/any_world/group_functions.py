"""What groups of torch.distributed show of their backend, and how one is split, where backends are ours."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import ProcessGroup
from torch.distributed import distributed_c10d

from polyrank._C import RankSet
from polyrank.torch_features import OF_NO_PART

__all__ = ["GroupNames", "backend_config", "show_backend_as", "split_by_lists"]


class GroupNames:
    """What one rank calls its groups: as their other members do."""

    def __init__(self) -> None:
        self._num_of_members: dict[str, int] = {}  # groups that only members made, by members

    def name_of(self, name: str, members: list[int]) -> str:
        """The name of a group that PyTorch has given this name to.

        PyTorch numbers groups that all ranks make. It hashes the number of groups that the rank has
        into the names of those that only members make, which members may have made other numbers
        of: there it is the number of groups with these members.
        """
        if name.isdecimal():
            return name
        ranks = str(RankSet(members))
        number = self._num_of_members[ranks] = self._num_of_members.get(ranks, 0) + 1
        return f"ranks {ranks}" if number == 1 else f"ranks {ranks} ({number})"


def backend_config(named: Any) -> str:
    """What PyTorch makes of a name, "cpu:gloo,cuda:gloo" of "gloo"; or the name, if it knows none."""
    try:
        return str(distributed_c10d.BackendConfig(named))
    except ValueError:
        return str(named)


def show_backend_as(group: ProcessGroup, named: Any) -> None:
    """Let `get_backend`, C++ (DDP's log) and sequence numbers answer for the backend that was named.

    Args:
        group: One of ours, for all devices.
        named: A `Backend`, or what stands for several: "cpu:gloo,cuda:nccl".
    """
    world = distributed_c10d._world
    config = backend_config(named)
    _, store = world.pg_map[group]
    world.pg_map[group] = (named, store)
    world.pg_backend_config[group] = config
    # As _new_process_group_helper chooses the one of several.
    names = [part.rpartition(":")[2] for part in config.split(",")]
    name = dist.Backend.NCCL if dist.Backend.NCCL in names else names[0]
    kind = dist.Backend.backend_type_map.get(name, ProcessGroup.BackendType.CUSTOM)
    backend = group._get_backend(torch.device("cpu"))
    for part in config.split(","):
        if ":" in part:
            group._register_backend(torch.device(part.partition(":")[0]), kind, backend)
    group._register_backend(torch.device("cpu"), kind, backend)
    group._set_default_backend(kind)


def split_by_lists(
    parent_pg: Any, split_ranks: list[list[int]] | None, group_desc: str | None
) -> Any:
    """What `split_group` gives, made by `new_group`: the part that the rank is in, or OF_NO_PART.

    Raises:
        ValueError: the lists are no split of the parent group.
    """
    parent = distributed_c10d._get_default_group() if parent_pg is None else parent_pg
    members = dist.get_process_group_ranks(parent)
    _check_split(split_ranks, len(members))
    place = dist.get_rank(parent)
    mine = next((sorted(split) for split in split_ranks or () if place in split), None)
    if mine is None:
        return OF_NO_PART
    return dist.new_group(
        [members[member] for member in mine],
        use_local_synchronization=True,
        group_desc=group_desc,
    )


def _check_split(split_ranks: list[list[int]] | None, parent_size: int) -> None:
    if not split_ranks:
        raise ValueError("split_ranks cannot be None or empty")
    listed = [member for split in split_ranks for member in split]
    if not all(split_ranks) or not all(0 <= member < parent_size for member in listed):
        raise ValueError(
            f"split_ranks={split_ranks}: each part needs ranks of the parent group, which has "
            f"ranks 0..{parent_size - 1}"
        )
    if len(set(listed)) < len(listed):
        raise ValueError(f"split_ranks={split_ranks}: a rank can be in one part only")
