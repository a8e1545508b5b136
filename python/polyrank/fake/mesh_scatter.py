"""What DTensor scatters in a fake world.

Each rank cuts the whole tensor and DTensor hands the list to the source alone, so that the others get
what they can't know. But this rank's list is what the source's is, if every rank did what this one did.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from polyrank.fake.world import backend_of, current_fake_world

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

__all__ = ["MODULE", "adapted"]

MODULE = "torch.distributed.tensor._collective_utils"


def adapted(module: ModuleType) -> list[tuple[Any, str, Callable[..., Any]]]:
    """Owner, name, and what makes ours of the original, once the module has been imported."""
    return [(module, "mesh_scatter", _make_mesh_scatter)]


def _make_mesh_scatter(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def mesh_scatter(
        output: torch.Tensor,
        scatter_list: list[torch.Tensor],
        mesh: DeviceMesh,
        mesh_dim: int = 0,
        async_op: bool = False,
        *,
        group_src: int = 0,
    ) -> Any:
        work = original(output, scatter_list, mesh, mesh_dim, async_op, group_src=group_src)
        if current_fake_world() is None or output.is_meta:
            return work
        if backend_of(mesh.get_group(mesh_dim)).options.values == "mirror":
            output.copy_(scatter_list[mesh.get_local_rank(mesh_dim)])
        return work

    return mesh_scatter
