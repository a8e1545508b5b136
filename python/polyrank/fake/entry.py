"""Into the fake world and out again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Literal

import torch.distributed as dist
from torch.distributed import distributed_c10d

from polyrank._C import FakeProcessGroup, FakeStore
from polyrank.errors import UsageError
from polyrank.fake.world import (
    FakeWorld,
    fake_process_groups_of_dist2,
    required_fake_world,
)
from polyrank.replacing.layers import FAKE
from polyrank.world_size import check_world_size

__all__ = ["fake_world"]


@contextlib.contextmanager
def fake_world(
    world_size: int,
    rank: int = 0,
    *,
    values: Literal["mirror", "pytorch", "refuse"] = "mirror",
    checks: bool = True,
) -> Iterator[FakeWorld]:
    """Run the block as one rank of `world_size`, with nobody to talk to.

    Sets up torch.distributed's default process group, and takes it down afterwards. Meshes and
    groups cost the same at any world size. `values`: what the tensors hold that other ranks would
    have sent; `checks`: whether what a real group would refuse is an error. docs/worlds.md tells.

    Raises:
        UsageError: a default process group exists, or the world has no such rank.

    Example:
        with polyrank.fake_world(world_size=1_048_576, rank=17):
            mesh = init_device_mesh("cpu", (131_072, 8), mesh_dim_names=("dp", "tp"))
    """
    check_world_size(world_size)
    if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < world_size:
        raise UsageError(
            f"rank={rank!r}; it must be one of the {world_size:,} ranks, 0 to {world_size - 1:,}"
        )
    if dist.is_initialized():
        raise UsageError(
            "torch.distributed is initialized already; call destroy_process_group() before "
            "polyrank.fake_world()"
        )
    excepthook = sys.excepthook
    with FAKE.on():
        distributed_c10d.init_process_group(
            "fake",
            rank=rank,
            world_size=world_size,
            store=FakeStore(),
            pg_options=FakeProcessGroup.Options(values=values, checks=checks),
        )
        world = required_fake_world()
        try:
            with fake_process_groups_of_dist2(world.whole().member):
                yield world
        finally:
            sys.excepthook = excepthook  # init_process_group() puts one above it each time
            if dist.is_initialized():
                dist.destroy_process_group()
