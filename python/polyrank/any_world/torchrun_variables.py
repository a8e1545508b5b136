"""The variables of the environment that torchrun sets, which programs read in every world."""

from __future__ import annotations

import os
from typing import Any

__all__ = [
    "OMP_NUM_THREADS",
    "RANK_DEPENDENT",
    "numbers_of_rank",
    "variables_of_all_ranks",
    "variables_of_rank",
]

RANK_DEPENDENT = ("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK")
OMP_NUM_THREADS = "OMP_NUM_THREADS"


def numbers_of_rank(rank: Any, local_world_size: int) -> dict[str, Any]:
    """Those that each rank has its own value of, as numbers; the rank may be one that differs between ranks."""
    values = (rank, rank % local_world_size, rank // local_world_size, rank)
    return dict(zip(RANK_DEPENDENT, values, strict=True))


def variables_of_rank(rank: int, local_world_size: int) -> dict[str, str]:
    """The same as text."""
    return {name: str(value) for name, value in numbers_of_rank(rank, local_world_size).items()}


def variables_of_all_ranks(world_size: int, local_world_size: int, port: int) -> dict[str, str]:
    """Those that are the same on all ranks.

    There is no store of an agent: whoever makes one at MASTER_PORT finds the port free.
    """
    values = {
        "ROLE_NAME": "default",
        "WORLD_SIZE": world_size,
        "LOCAL_WORLD_SIZE": local_world_size,
        "GROUP_WORLD_SIZE": world_size // local_world_size,
        "ROLE_WORLD_SIZE": world_size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "polyrank",
        "TORCHELASTIC_RESTART_COUNT": 0,
        "TORCHELASTIC_MAX_RESTARTS": 0,
        "TORCHELASTIC_USE_AGENT_STORE": False,
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
        # Ranks side by side would take each other's cores, and a kernel that splits its work over another
        # number of threads adds up in another order.
        OMP_NUM_THREADS: os.environ.get(OMP_NUM_THREADS, "1"),
    }
    return {name: str(value) for name, value in values.items()}
