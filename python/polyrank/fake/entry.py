"""Into the fake world and out again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Literal

import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh

from polyrank import mesh_scatter
from polyrank._C import FakeProcessGroup, FakeStore
from polyrank.errors import UsageError
from polyrank.fake.functions import FUNCTIONS, is_on
from polyrank.fake.mesh import METHODS
from polyrank.fake.objects import OBJECT_FUNCTIONS
from polyrank.fake.world import (
    FakeWorld,
    fake_process_groups_of_dist2,
    required_fake_world,
)
from polyrank.when_imported import WhenImported

__all__ = ["ADAPTED", "fake_world"]

# Owner, name, and what makes ours of the original: what a fake world replaces in torch.
ADAPTED: list[tuple[Any, str, Callable[..., Any]]] = [
    *((distributed_c10d, name, make) for name, make in FUNCTIONS.items()),
    *((distributed_c10d, name, make) for name, make in OBJECT_FUNCTIONS.items()),
    *((DeviceMesh, name, make) for name, make in METHODS.items()),
]


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
    for name, value in {"world_size": world_size, "rank": rank}.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise UsageError(f"{name} is an int, not {value!r}")
    if world_size < 1 or not 0 <= rank < world_size:
        raise UsageError(
            f"a fake world has 1 rank or more, and `rank` is one of them; got a world of "
            f"{world_size} ranks and rank {rank}"
        )
    if dist.is_initialized():
        raise UsageError(
            "torch.distributed is initialized already; call destroy_process_group() before "
            "polyrank.fake_world()"
        )
    excepthook = sys.excepthook
    with fake_functions():
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


@contextlib.contextmanager
def fake_functions() -> Iterator[None]:
    """Within this context, "fake" groups are ours, in whatever module holds torch's functions."""
    if is_on():
        yield
        return
    with contextlib.ExitStack() as stack:
        _adapt(ADAPTED, stack)
        later = WhenImported(
            mesh_scatter.MODULE, lambda module: _adapt(mesh_scatter.adapted(module), stack)
        )
        stack.callback(later.stop)
        yield


def _adapt(adapted: list[tuple[Any, str, Callable[..., Any]]], stack: contextlib.ExitStack) -> None:
    """Replace each name, and what modules hold under whatever name; `stack` puts all back."""
    ours: dict[int, tuple[Any, Any]] = {}  # by id of the original, which modules hold
    for owner, name, make in adapted:
        original = vars(owner)[name]
        if isinstance(owner, ModuleType):
            ours[id(original)] = original, make(original)
        else:
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, make(original))
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and not module.__name__.startswith("polyrank"):
            for name, value in list(vars(module).items()):
                if id(value) in ours and ours[id(value)][0] is value:
                    stack.callback(setattr, module, name, value)
                    setattr(module, name, ours[id(value)][1])
