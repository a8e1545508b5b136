"""Ranks within process groups, which differ between ranks for user code.

Code inside torch that gets at the other ranks by other means gets rank 0's answer, and looks up what
rank 0's process would. What of torch.distributed is not known to do so (optimizers that part their
state, the older FSDP, sharded tensors, hooks) acts by its own rank, as a program does, and gets a number
that differs: it works, or says that ranks take different ways.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from polyrank import _C
from polyrank.errors import DivergenceError
from polyrank.lockstep_world.groups.process_groups import own_group_ranks
from polyrank.lockstep_world.one_rank import OneRank
from polyrank.replacing.code_of import calling_file
from polyrank.replacing.layers import INSTALL
from polyrank.replacing.row import Row
from polyrank.tensor.active_modes import enabled_local_tensor_mode
from polyrank.tensor.local_tensor_mode import LocalTensorMode

__all__ = ["ROWS", "asks_for_the_program"]

_TORCH = Path(torch.__file__).parent


def _folders(*names: str) -> tuple[str, ...]:
    return tuple(str(_TORCH / name) + ("" if name.endswith(".py") else os.sep) for name in names)


_TORCH_FOLDER = str(_TORCH) + os.sep
_OWN_FOLDER = str(Path(__file__).parent) + os.sep
# What acts by its own rank for the program: rank 0's answer would make all ranks do as rank 0 does.
_ACTING_FOR_THE_PROGRAM = _folders("distributed", "utils/data")
# What of it is told of the other ranks, by our replacements or by names of DTensor's simulator.
_TOLD_OF_ALL_RANKS = _folders(
    "distributed/__init__.py",
    "distributed/_composable",
    "distributed/_functional_collectives.py",
    "distributed/_local_tensor",
    "distributed/_state_dict_utils.py",
    "distributed/_symmetric_memory",
    "distributed/_tools",
    "distributed/algorithms/join.py",
    "distributed/c10d_logger.py",
    "distributed/checkpoint",
    "distributed/debug",
    "distributed/device_mesh.py",
    "distributed/distributed_c10d.py",
    "distributed/fsdp/_fully_shard",
    "distributed/logging_handlers.py",
    "distributed/nn/functional.py",
    "distributed/tensor",
    "distributed/utils.py",
)
# What of that acts by its own rank all the same.
_ACTING_AMONG_THEM = _folders(
    "distributed/checkpoint/_consolidate_hf_safetensors.py",  # each rank writes some of the files
    "distributed/checkpoint/_pg_transport.py",
    "distributed/checkpoint/staging.py",  # pairs of ranks keep replicas
    "distributed/tensor/_tp_conv.py",
    "distributed/tensor/experimental",  # context parallelism takes chunks by its rank
    "distributed/tensor/parallel/fsdp.py",
)


# Python code of torch that compares numbers which differ is a program: it branches, and may raise an error that
# is not each rank's (`backward()` of what is a scalar on one rank, `load_state_dict`). Except where it is known to
# choose a way that does for all.
_CHOOSING_FOR_ALL = (*_TOLD_OF_ALL_RANKS, *_folders("_utils.py"))
_C.set_acting_files((_TORCH_FOLDER,), _CHOOSING_FOR_ALL, _ACTING_AMONG_THEM)


# What install() tells of them: without it they act by rank 0's answer for all, silently.
_TOLD_BY_INSTALL = _folders("distributed/checkpoint", "distributed/fsdp/_fully_shard")


@functools.cache
def asks_for_the_program(file: str, *, is_installed: bool) -> bool:
    """Whether code of that file acts by the rank that it asks for, as a program does."""
    if not file.startswith(_TORCH_FOLDER) or file.startswith(_ACTING_AMONG_THEM):
        return True
    if file.startswith(_TOLD_BY_INSTALL):
        return not is_installed
    return file.startswith(_ACTING_FOR_THE_PROGRAM) and not file.startswith(_TOLD_OF_ALL_RANKS)


def _mode_for_caller(*ranks: object) -> LocalTensorMode | None:
    """The mode whose ranks the caller's caller asks about; None: it is to get PyTorch's answer."""
    mode = enabled_local_tensor_mode()
    if mode is None or not mode.has_rank_dependent_get_rank or not dist.is_initialized():
        return None
    caller = calling_file(3)
    asks_about_all = any(isinstance(rank, torch.SymInt) for rank in ranks)
    has_one_answer = isinstance(mode, OneRank)
    if asks_about_all or has_one_answer or asks_for_the_program(caller, is_installed=INSTALL.is_on):
        return mode
    return None


def _own_group_rank(mode: LocalTensorMode, group: dist.ProcessGroup | None) -> int | torch.SymInt:
    if group is None or group is dist.group.WORLD:
        return _C.own_ranks(mode.rank_set)
    return own_group_ranks(group, mode.rank_set)


def _make_get_rank(original: Callable[..., int]) -> Callable[..., int | torch.SymInt]:
    def get_rank(group: dist.ProcessGroup | None = None) -> int | torch.SymInt:
        """The rank within `group`, rank-dependent in a LocalTensorMode."""
        mode = _mode_for_caller()
        return original(group) if mode is None else _own_group_rank(mode, group)

    return get_rank


def _make_rank(original: Callable[[Any], int]) -> Callable[[Any], int | torch.SymInt]:
    """`ProcessGroup.rank`, rank-dependent in a LocalTensorMode."""

    def rank(self: dist.ProcessGroup) -> int | torch.SymInt:
        mode = _mode_for_caller()
        return original(self) if mode is None else _own_group_rank(mode, self)

    return rank


def _make_get_world_size(original: Callable[..., int]) -> Callable[..., int | torch.SymInt]:
    def get_world_size(group: dist.ProcessGroup | None = None) -> int | torch.SymInt:
        """The size of `group`; -1 on ranks that are not in it."""
        mode = _mode_for_caller()
        is_world = group is None or group is dist.group.WORLD
        if mode is None or is_world or not isinstance(group, dist.ProcessGroup):
            return original(group)
        return _C.own_group_sizes(group.group_name, mode.rank_set)

    return get_world_size


def _make_get_group_rank(original: Callable[..., int]) -> Callable[..., int | torch.SymInt]:
    def get_group_rank(
        group: dist.ProcessGroup, global_rank: int | torch.SymInt
    ) -> int | torch.SymInt:
        """The group rank of `global_rank` in each rank's group."""
        mode = _mode_for_caller(global_rank)
        if mode is None:
            return original(group, global_rank)
        return _C.group_ranks_of(group.group_name, mode.rank_set, global_rank)

    return get_group_rank


def _make_get_global_rank(original: Callable[..., int]) -> Callable[..., int | torch.SymInt]:
    def get_global_rank(
        group: dist.ProcessGroup, group_rank: int | torch.SymInt
    ) -> int | torch.SymInt:
        """The global rank of `group_rank` in each rank's group."""
        mode = _mode_for_caller(group_rank)
        if mode is None:
            return original(group, group_rank)
        return _C.global_ranks_of(group.group_name, mode.rank_set, group_rank)

    return get_global_rank


def _is_in_a_group(group_rank: int | torch.SymInt) -> bool:
    """Whether all ranks are in one."""
    try:
        return bool(group_rank >= 0)
    except DivergenceError:
        return False


def _make_get_group_ranks(original: Callable[..., list[int]]) -> Callable[..., list[Any]]:
    def get_process_group_ranks(group: dist.ProcessGroup | None) -> list[Any]:
        """The global ranks of each rank's group."""
        mode = _mode_for_caller()
        if (
            mode is None
            or calling_file(2).startswith(_OWN_FOLDER)
            or group is None
            or group is dist.group.WORLD
        ):
            return original(group)
        if not _is_in_a_group(_own_group_rank(mode, group)):
            return original(group)  # one that was made alone: the others have no answer
        name, ranks = group.group_name, mode.rank_set
        return [_C.global_ranks_of(name, ranks, place) for place in range(group.size())]

    return get_process_group_ranks


_C10D = "torch.distributed.distributed_c10d"
_WHY = "gives one rank's answer for all"

ROWS = (
    Row("torch.distributed:ProcessGroup", "rank", _make_rank, _WHY),
    Row(_C10D, "get_rank", _make_get_rank, _WHY),
    Row(_C10D, "get_world_size", _make_get_world_size, _WHY),
    Row(_C10D, "get_group_rank", _make_get_group_rank, _WHY),
    Row(_C10D, "get_global_rank", _make_get_global_rank, _WHY),
    Row(_C10D, "get_process_group_ranks", _make_get_group_ranks, _WHY),
)
