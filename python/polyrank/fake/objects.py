"""Collectives of Python objects in a fake world.

torch.distributed sends sizes, then bytes. On a rank that is not the source it makes buffers for
them that nothing fills here, so these functions do what the source does, on the same objects. What they
are given as `newer` (weights_only), not every torch that we support has.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from polyrank.errors import CollectiveError
from polyrank.fake.world import FakeWorld, backend_of, current_fake_world, pickled
from polyrank.replacing.row import Row

__all__ = ["ROWS"]


def _world_for(group: dist.ProcessGroup | None) -> FakeWorld | None:
    """The world whose assumption fills what the rank gets; None to leave it to PyTorch."""
    world = current_fake_world()
    if world is None or dist.get_rank(group) < 0 or backend_of(group).options.values == "pytorch":
        return None
    return world


def _refuse(group: dist.ProcessGroup | None, what: str) -> None:
    if backend_of(group).options.values == "refuse":
        raise CollectiveError(
            f"{what} can't be derived from what this rank does. Say what it is with "
            'FakeWorld.expect_objects(), or let Options.values be "mirror", which gives None'
        )


def _make_broadcast(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def broadcast_object_list(
        object_list: list[Any],
        src: int | None = None,
        group: dist.ProcessGroup | None = None,
        device: Any = None,
        group_src: int | None = None,
        **newer: Any,
    ) -> None:
        if _world_for(group) is not None and (src is None or group_src is None):
            src, group_src = None, dist.get_rank(group)
        original(object_list, src=src, group=group, device=device, group_src=group_src, **newer)

    return broadcast_object_list


def _make_scatter(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def scatter_object_list(
        scatter_object_output_list: list[Any],
        scatter_object_input_list: list[Any] | None = None,
        src: int | None = None,
        group: dist.ProcessGroup | None = None,
        group_src: int | None = None,
        **newer: Any,
    ) -> None:
        objects = scatter_object_input_list
        if _world_for(group) is not None and (src is None or group_src is None):
            root = group_src
            if root is None:
                root = dist.get_group_rank(group or c10d._get_default_group(), src or 0)
            own = dist.get_rank(group)
            if own != root and not objects:
                _refuse(group, f"what group rank {root} scatters")
                objects = [None] * dist.get_world_size(group)
            src, group_src = None, own
        original(
            scatter_object_output_list, objects, src=src, group=group, group_src=group_src, **newer
        )

    return scatter_object_list


def _make_send(original: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def send_object_list(object_list: list[Any], *args: Any, **kwargs: Any) -> None:
        original(object_list, *args, **kwargs)
        world = current_fake_world()
        if world is not None:
            given = signature.bind(object_list, *args, **kwargs).arguments
            newer = {name: given[name] for name in ("weights_only",) if name in given}
            world.objects_sent[len(object_list)] = pickled(object_list, **newer)

    return send_object_list


def _make_receive(original: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(original)
    def recv_object_list(
        object_list: list[Any],
        src: int | None = None,
        group: dist.ProcessGroup | None = None,
        device: Any = None,
        group_src: int | None = None,
        use_batch: bool = False,
        **newer: Any,
    ) -> int:
        world = _world_for(group)
        if world is not None and object_list:
            if len(object_list) not in world.objects_sent:
                _refuse(group, f"a message of {len(object_list)} objects")
            sizes, data = world.objects_sent.get(len(object_list)) or pickled(
                [None] * len(object_list), **newer
            )
            backend_of(group).expect_message(sizes, 0)
            backend_of(group).expect_message(data, 0)
        return original(object_list, src, group, device, group_src, use_batch, **newer)

    return recv_object_list


_WHY = "waits for what another rank sends"

ROWS = tuple(
    Row("torch.distributed.distributed_c10d", name, make, _WHY)
    for name, make in (
        ("broadcast_object_list", _make_broadcast),
        ("recv_object_list", _make_receive),
        ("scatter_object_list", _make_scatter),
        ("send_object_list", _make_send),
    )
)
