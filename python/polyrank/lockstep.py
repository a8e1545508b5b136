"""The lockstep world: a default process group and a mode, set up and taken down together."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Literal

import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.distributed_c10d import init_process_group

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.local_tensor_mode import LocalTensorMode
from polyrank.process_groups import known_process_groups


@contextlib.contextmanager
def lockstep(world_size: int) -> Iterator[LocalTensorMode]:
    """Run the block on `world_size` ranks at once: the entry for tests and notebooks.

    Sets up torch.distributed's default process group and a LocalTensorMode over all ranks, and
    takes both down afterwards.

    Raises:
        UsageError: `world_size` is not a positive int, or a default process group exists.

    Example:
        with polyrank.lockstep(world_size=8):
            x = torch.ones(4) * dist.get_rank()
            dist.all_reduce(x)
    """
    if dist.is_initialized():
        raise UsageError(
            "torch.distributed is initialized already; call destroy_process_group() before "
            "polyrank.lockstep(), or use a polyrank.LocalTensorMode with the group that there is"
        )
    mode = LocalTensorMode(world_size)
    with known_process_groups():
        init_lockstep_group(world_size)
        try:
            with mode:
                yield mode
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()


@contextlib.contextmanager
def reduction_order(name: Literal["rank", "tree"]) -> Iterator[None]:
    """Within this context reductions fold in that order; for the whole process.

    "rank", the order of the group's members, is what holds outside. "tree" adds neighbours in
    pairs, then the neighbouring sums, until one is left. docs/collectives.md compares them.
    """
    before = _C.reduction_order()
    _C.set_reduction_order(name)
    try:
        yield
    finally:
        _C.set_reduction_order(before)


def init_lockstep_group(world_size: int, init: Callable[..., None] = init_process_group) -> None:
    """Make the default process group of a lockstep world, by torch's function.

    Groups need a backend to exist, though no collective reaches it: PyTorch's "fake" one, as rank
    0 of `world_size`.
    """
    importlib.import_module("torch.testing._internal.distributed.fake_pg")  # makes it known
    init("fake", rank=0, world_size=world_size, store=HashStore())
