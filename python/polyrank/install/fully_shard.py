"""What `fully_shard` needs so that each rank gets its own shard.

FSDP2 asks the process group itself for its rank, which a mode can't answer, and picks the shard
from a list by that number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor

from polyrank.fake.world import current_fake_world
from polyrank.install.chunks import Chunks
from polyrank.lockstep_world.groups.process_groups import own_group_ranks
from polyrank.numbers.rank_dependent_numbers import (
    is_rank_dependent_number,
    number_on_rank,
)
from polyrank.replacing.row import Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.local_tensor import LocalTensor
from polyrank.tensor.local_tensor_mode import LocalTensorMode

# Attribute with a group rank -> attribute with its group.
_RANKS_OF_MESH = {
    "shard_mesh_rank": "shard_process_group",
    "replicate_mesh_rank": "replicate_process_group",
}


def _ranks_of(mode: LocalTensorMode, group: Any) -> int | torch.SymInt:
    return own_group_ranks(group, mode.rank_set)


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


class RankDependentChunks(Chunks):
    """Chunks of which a rank-dependent index gives each rank its own.

    Past the end of the tensor they are [0, …] where FSDP2 has [0], since ranks differ in sizes but
    not in the number of dimensions.
    """

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, torch.SymInt):
            return _with_one_answer(self._pick(index))
        return super().__getitem__(index)

    def _is_past_the_end(self, length: Any) -> bool:
        return False

    def _pick(self, index: torch.SymInt) -> torch.Tensor:
        """Each rank's own chunk, in memory of its own."""
        # Chunks that hold no values differ by their shapes alone: ranks with one shape share one.
        has_values = _has_values(self._tensor)
        own: dict[tuple[int, int, int], torch.Tensor] = {}
        of_rank = {}
        cohort_of = _cohorts_by_rank(self._tensor)
        whole = self._tensor.size(self._dim)
        for rank, position in index.node._local_ints.items():
            start, length = self._piece(position, number_on_rank(whole, rank))
            key = (start if has_values else 0, length, cohort_of.get(rank, 0))
            if key not in own:
                alone = self._tensor
                if isinstance(alone, LocalTensor):
                    alone = alone.on_rank(rank)
                own[key] = alone.narrow(self._dim, start, length).clone()
            of_rank[rank] = own[key]
        return LocalTensor(of_rank)


def _has_values(tensor: torch.Tensor) -> bool:
    sample = tensor.cohorts()[0].tensor if isinstance(tensor, LocalTensor) else tensor
    return not (sample.is_meta or isinstance(sample, FakeTensor))


def _cohorts_by_rank(tensor: torch.Tensor) -> dict[int, int]:
    if not isinstance(tensor, LocalTensor) or len(tensor.cohorts()) == 1:
        return {}
    return {rank: i for i, cohort in enumerate(tensor.cohorts()) for rank in cohort.ranks}


def _with_one_answer(shard: torch.Tensor) -> torch.Tensor:
    """Let `shard.numel()` be the most that a rank holds.

    FSDP2 asks whether there is anything to copy. Where some ranks hold nothing, to copy nothing on
    those is right.
    """
    numel: Any = shard.numel()
    if is_rank_dependent_number(numel):
        most = max(numel.node._local_ints.values())
        shard.numel = lambda: most  # type: ignore[method-assign]
    return shard


def _wrap_chunks(original: Callable[..., list[torch.Tensor]]) -> Callable[..., Any]:
    """`_chunk_with_empty`, whose result FSDP2 indexes by the rank."""

    @functools.wraps(original)
    def chunk_with_empty(tensor: torch.Tensor, num_chunks: int, dim: int) -> Sequence[torch.Tensor]:
        if enabled_local_tensor_mode() is None:
            if current_fake_world() is not None:
                return Chunks(tensor, num_chunks, dim)
            return original(tensor, num_chunks, dim)
        return RankDependentChunks(tensor, num_chunks, dim)

    return chunk_with_empty


class _Size(tuple[Any, ...]):
    """A size whose entries differ between ranks, which torch.Size multiplies as Python ints."""

    __slots__ = ()

    def numel(self) -> Any:
        return math.prod(self)


def _wrap_padded_size(original: Callable[..., torch.Size]) -> Callable[..., Any]:
    """`_get_dim0_padded_size`, of a gradient whose size may differ between ranks."""

    @functools.wraps(original)
    def get_dim0_padded_size(tensor_size: torch.Size, dim0_factor: int) -> Any:
        size = original(tensor_size, dim0_factor)
        return _Size(size) if any(map(is_rank_dependent_number, size)) else size

    return get_dim0_padded_size


def _wrap_chunked_size(original: Callable[..., torch.Size]) -> Callable[..., torch.Size]:
    """`_get_dim_chunked_size`, to which some ranks' chunks may be empty."""

    @functools.wraps(original)
    def get_dim_chunked_size(
        chunk: torch.Tensor, unchunked_size: torch.Size, dim: int
    ) -> torch.Size:
        if chunk.dim() == len(unchunked_size):
            return chunk.size()
        return original(chunk, unchunked_size, dim)

    return get_dim_chunked_size


def _wrap_reset(original: Callable[..., None]) -> Callable[..., None]:
    """`FSDPParam.reset_sharded_param`, which asks whether the shard is empty."""

    @functools.wraps(original)
    def reset_sharded_param(self: Any) -> None:
        parameter = getattr(self._module_info.module, self._module_info.param_name)
        _with_one_answer(parameter._local_tensor)
        original(self)

    return reset_sharded_param


_FSDP = "torch.distributed.fsdp._fully_shard"
_ONE_RANK = "keeps the ranks that the group has for one process"

ROWS = (
    Row(f"{_FSDP}._fsdp_common:FSDPMeshInfo", "__post_init__", _wrap_post_init, _ONE_RANK),
    Row(f"{_FSDP}._fsdp_common:DDPMeshInfo", "__post_init__", _wrap_post_init, _ONE_RANK),
    Row(f"{_FSDP}._fsdp_common", "_chunk_with_empty", _wrap_chunks, "is indexed by the rank"),
    Row(
        f"{_FSDP}._fsdp_common",
        "_get_dim_chunked_size",
        _wrap_chunked_size,
        "asks whether a chunk is empty, which it may be on some ranks",
    ),
    Row(
        f"{_FSDP}._fsdp_common",
        "_get_dim0_padded_size",
        _wrap_padded_size,
        "multiplies a gradient's sizes, which may differ between ranks, as Python ints",
    ),
    Row(
        f"{_FSDP}._fsdp_param:FSDPParam",
        "reset_sharded_param",
        _wrap_reset,
        "asks whether a shard is empty, which it may be on some ranks",
    ),
)
