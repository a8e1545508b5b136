"""Functions of torch.distributed that ask for a backend by name, where ranks are threads."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d

from polyrank.rank_threads.rank_globals import rank_globals

__all__ = ["split_by_lists", "wrap_monitored_barrier", "wrap_split_group"]


def wrap_monitored_barrier(original: Callable[..., Any]) -> Callable[..., Any]:
    """`monitored_barrier`, which PyTorch has for gloo alone.

    Without a time-out of the caller's a rank that does not come is found at once.
    """

    @functools.wraps(original)
    def monitored_barrier(
        group: Any = None, timeout: timedelta | float | None = None, wait_all_ranks: bool = False
    ) -> None:
        if rank_globals() is None:
            original(group, timeout, wait_all_ranks)
            return
        if distributed_c10d._rank_not_in_group(group):
            warnings.warn("monitored_barrier on a group that this rank is not in", stacklevel=2)
            return
        limit = timedelta(0) if timeout is None else timeout  # 0: none
        if not isinstance(limit, timedelta):
            limit = timedelta(seconds=limit)
        group = distributed_c10d._get_default_group() if group is None else group
        group.monitored_barrier(limit, wait_all_ranks)

    return monitored_barrier


def wrap_split_group(original: Callable[..., Any]) -> Callable[..., Any]:
    """`split_group`, which PyTorch has for accelerators alone."""

    @functools.wraps(original)
    def split_group(
        parent_pg: Any = None,
        split_ranks: list[list[int]] | None = None,
        timeout: timedelta | None = None,
        pg_options: Any = None,
        group_desc: str | None = None,
        backend: Any = None,
    ) -> Any:
        if rank_globals() is None:
            return original(parent_pg, split_ranks, timeout, pg_options, group_desc, backend)
        return split_by_lists(parent_pg, split_ranks, group_desc)

    return split_group


def split_by_lists(
    parent_pg: Any, split_ranks: list[list[int]] | None, group_desc: str | None
) -> Any:
    """What `split_group` gives, made by `new_group`: the part that the rank is in, or None.

    Raises:
        ValueError: the lists are no split of the parent group.
    """
    parent = distributed_c10d._get_default_group() if parent_pg is None else parent_pg
    members = dist.get_process_group_ranks(parent)
    _check_split(split_ranks, len(members))
    place = dist.get_rank(parent)
    mine = next((sorted(split) for split in split_ranks or () if place in split), None)
    if mine is None:
        return None
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
