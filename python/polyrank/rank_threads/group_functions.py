"""Functions of torch.distributed that ask for a backend by name, where ranks are threads."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from torch.distributed import distributed_c10d

from polyrank.any_world.group_functions import split_by_lists
from polyrank.rank_threads.rank_globals import rank_globals

__all__ = ["wrap_monitored_barrier", "wrap_split_group"]


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
        if timeout is None:
            timeout = distributed_c10d.default_pg_timeout  # stands for none
        elif not isinstance(timeout, timedelta):
            timeout = timedelta(seconds=timeout)
        group = distributed_c10d._get_default_group() if group is None else group
        group.monitored_barrier(timeout, wait_all_ranks)

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
