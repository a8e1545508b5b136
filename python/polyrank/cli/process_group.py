"""init_process_group as a script in the lockstep world sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d

from polyrank.errors import UsageError
from polyrank.lockstep import init_lockstep_group


@contextlib.contextmanager
def lockstep_process_group(world_size: int) -> Iterator[None]:
    """Let `init_process_group`, with whatever arguments, make the lockstep world's group.

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

    number_of_ranks = world_size
    owners = (dist, distributed_c10d, device_mesh)
    originals = [(owner, owner.init_process_group) for owner in owners]
    for owner in owners:
        setattr(owner, "init_process_group", init_process_group)  # noqa: B010
    try:
        yield
    finally:
        for owner, original in originals:
            setattr(owner, "init_process_group", original)  # noqa: B010
        if dist.is_initialized():
            dist.destroy_process_group()
