"""init_process_group as a script in the lockstep world sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d

from polyrank.errors import UsageError
from polyrank.lockstep import init_lockstep_group


@contextlib.contextmanager
def lockstep_process_group(world_size: int, local_world_size: int) -> Iterator[None]:
    """Let `init_process_group`, with whatever arguments, make the lockstep world's group.

    `get_node_local_rank` differs between ranks, in the place of the LOCAL_RANK that it would read.

    Raises (from the script's call):
        UsageError: the script asks for another world size than there are ranks.
    """

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
        init_lockstep_group(number_of_ranks)

    def get_node_local_rank(fallback_rank: int | None = None) -> int | torch.SymInt:
        return dist.get_rank() % local_world_size

    number_of_ranks = world_size
    replacements: list[tuple[Any, Any]] = [
        *((owner, init_process_group) for owner in (dist, distributed_c10d, device_mesh)),
        *((owner, get_node_local_rank) for owner in (dist, distributed_c10d)),
    ]
    with contextlib.ExitStack() as stack:
        for owner, function in replacements:
            name = function.__name__
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, function)
        try:
            yield
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
