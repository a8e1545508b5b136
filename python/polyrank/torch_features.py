"""Where the torches that we support differ: what the installed one has, asked by feature.

Never by version, which says nothing of a build from source. Names that are replaced have `is_optional`
in their row instead, and operators are looked up in the dispatcher.
"""

from __future__ import annotations

import inspect
import typing

import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh

__all__ = ["MESH_ORDER", "OF_NO_PART", "is_of_program", "simulator_patches_get_rank"]


def _of_no_part() -> int | None:
    split = getattr(
        distributed_c10d, "split_group", None
    )  # what lacks it, is told when a world is entered
    given = () if split is None else typing.get_args(inspect.signature(split).return_annotation)
    return None if type(None) in given else dist.GroupMember.NON_GROUP_MEMBER


# What `split_group` gives a rank that is in no part: None, or what `new_group` gives.
OF_NO_PART = _of_no_part()


# What functions of DeviceMesh take besides, of a mesh whose groups have their ranks in ascending order.
MESH_ORDER: dict[str, bool] = (
    {"preserve_rank_order": False}
    if "preserve_rank_order" in inspect.signature(DeviceMesh.__init__).parameters
    else {}
)


def simulator_patches_get_rank() -> bool:
    """Whether `torch.distributed.get_rank()` differs between ranks in a mode of PyTorch's own simulator."""
    from torch.distributed import _local_tensor

    return hasattr(_local_tensor, "_LocalDist")


def is_of_program(backend: str) -> bool:
    """Whether the program registered this backend: newer torches register their own in its way, too."""
    plugin = dist.Backend._plugins.get(backend.upper())
    maker = getattr(plugin, "creator_fn", None)
    return plugin is not None and getattr(maker, "__module__", "") != distributed_c10d.__name__
