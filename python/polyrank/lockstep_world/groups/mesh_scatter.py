"""What DTensor scatters, where one process is not one rank of several.

Each rank cuts the whole tensor, and DTensor hands the list to the source alone. In lockstep that one is
among the ranks that run. In a fake world nobody sends, but this rank's list is what the source's is, if
every rank did what this one did.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from polyrank.fake.world import backend_of, current_fake_world
from polyrank.lockstep_world.in_lockstep import in_lockstep
from polyrank.replacing.row import Row

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

__all__ = ["FAKE", "LOCKSTEP"]


def _mesh_scatter(
    output: torch.Tensor,
    scatter_list: list[torch.Tensor],
    mesh: DeviceMesh,
    mesh_dim: int = 0,
    async_op: bool = False,
    *,
    group_src: int = 0,
) -> Any:
    group = mesh.get_group(mesh_dim)
    return dist.scatter(output, scatter_list, group=group, async_op=async_op, group_src=group_src)


def _wrap_mesh_scatter(original: Callable[..., Any]) -> Callable[..., Any]:
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


def _row(make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Row:
    module = "torch.distributed.tensor._collective_utils"
    return Row(module, "mesh_scatter", make, "hands the list to the source alone")


FAKE = (_row(_wrap_mesh_scatter),)
LOCKSTEP = (_row(in_lockstep(_mesh_scatter)),)
