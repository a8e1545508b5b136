"""PyTorch's own simulator, the installed torch.distributed._local_tensor, as a world to run in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from polyrank.lockstep_world.lockstep import init_lockstep_group
from torch import Tensor
from torch.distributed._local_tensor import LocalIntNode, LocalTensor, LocalTensorMode
from torch.utils import _pytree as pytree


@contextlib.contextmanager
def simulator(world_size: int) -> Iterator[torch.SymInt | int]:
    """Run the block on `world_size` ranks of LocalTensorMode; gives the rank that differs by rank.

    (`torch.distributed.get_rank()` is 0 there.) The caller's random state is put back.
    """
    with torch.random.fork_rng(devices=()):
        init_lockstep_group(world_size)
        try:
            with LocalTensorMode(world_size):
                yield rank_dependent(list(range(world_size)))
        finally:
            dist.destroy_process_group()


def rank_dependent(values: list[int]) -> torch.SymInt | int:
    """The simulator's int that is `values[rank]` on each rank."""
    same = len(set(values)) == 1
    return values[0] if same else torch.SymInt(LocalIntNode(dict(enumerate(values))))


def in_simulator_on_rank(tree: Any, rank: int) -> Any:
    """What `tree`, a result of the simulator, is on one rank."""

    def leaf_on_rank(leaf: Any) -> Any:
        if isinstance(leaf, LocalTensor):
            return leaf._local_tensors[rank]
        if isinstance(leaf, torch.SymInt):
            ints = getattr(leaf.node, "_local_ints", None)
            return int(leaf) if ints is None else ints[rank]
        return bool(leaf) if isinstance(leaf, torch.SymBool) else leaf

    return pytree.tree_map(leaf_on_rank, tree)


def alone_in_simulator(leaf: Any) -> Any:
    """A tensor as the simulator's LocalTensor of one rank; other values as they are."""
    if not isinstance(leaf, Tensor):
        return leaf
    return LocalTensor({0: leaf.detach()}, requires_grad=leaf.requires_grad)


def alone_out_of_simulator(leaf: Any) -> Any:
    """What a result of `alone_in_simulator` is for its one rank, a leaf of autograd."""
    if not isinstance(leaf, LocalTensor):
        return leaf
    return leaf._local_tensors[0].detach().requires_grad_(leaf.requires_grad)
