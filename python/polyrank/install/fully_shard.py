"""What `fully_shard` needs so that each rank gets its own shard.

FSDP2 asks the process group itself for its rank, which a mode can't answer, and picks the shard
from a list by that number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, SupportsIndex

import torch
from torch.distributed.fsdp._fully_shard import _fsdp_common

from polyrank.local_tensor_mode import LocalTensorMode, enabled_local_tensor_mode
from polyrank.process_groups import group_rank_of_ranks
from polyrank.rank_dependent_numbers import rank_dependent_int
from polyrank.rank_functions import maybe_run_for_local_tensor

# Attribute with a group rank -> attribute with its group.
_RANKS_OF_MESH = {
    "shard_mesh_rank": "shard_process_group",
    "replicate_mesh_rank": "replicate_process_group",
}


def _ranks_of(mode: LocalTensorMode, group: Any) -> int | torch.SymInt:
    return rank_dependent_int(group_rank_of_ranks(group, sorted(mode.ranks)))


def _wrap_post_init(original: Callable[..., None]) -> Callable[..., None]:
    """`FSDPMeshInfo.__post_init__`, which keeps the ranks in the groups of the mesh."""

    @functools.wraps(original)
    def post_init(self: Any) -> None:
        original(self)
        mode = enabled_local_tensor_mode()
        if mode is not None:
            for rank_name, group_name in _RANKS_OF_MESH.items():
                if hasattr(self, rank_name):
                    setattr(self, rank_name, _ranks_of(mode, getattr(self, group_name)))

    return post_init


class Chunks(list[torch.Tensor]):
    """The chunks of a tensor; a rank-dependent index gives each rank its own."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, torch.SymInt) and enabled_local_tensor_mode() is not None:
            return _pick(index, *self)
        return super().__getitem__(index)


@maybe_run_for_local_tensor
def _pick(index: SupportsIndex, *chunks: torch.Tensor) -> torch.Tensor:
    return chunks[index]


def _wrap_chunks(original: Callable[..., list[torch.Tensor]]) -> Callable[..., Any]:
    """`_chunk_with_empty`, whose result FSDP2 indexes by the rank."""

    @functools.wraps(original)
    def chunk_with_empty(*args: Any, **kwargs: Any) -> list[torch.Tensor]:
        return Chunks(original(*args, **kwargs))

    return chunk_with_empty


# Owner, name, and what makes the replacement from the original.
ADAPTED: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    (_fsdp_common.FSDPMeshInfo, "__post_init__", _wrap_post_init),
    (_fsdp_common.DDPMeshInfo, "__post_init__", _wrap_post_init),
    (_fsdp_common, "_chunk_with_empty", _wrap_chunks),
)
