"""A DeviceMesh's answers in a mode, as functions."""
# ruff: noqa: PLW0211 (callers may give PyTorch's `self` by name)

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh

from polyrank.errors import UsageError
from polyrank.tensor.active_modes import enabled_local_tensor_mode


def _require_mode(what: str) -> None:
    if enabled_local_tensor_mode() is None:
        raise UsageError(f"{what} of all ranks can only be asked for in an enabled LocalTensorMode")


class LocalDeviceMesh:
    """What an enabled mode answers for a DeviceMesh, which PyTorch's parameters call `self`.

    Source: `torch.distributed._local_tensor._LocalDeviceMesh`.
    """

    @staticmethod
    def get_coordinate(self: DeviceMesh) -> list[int | torch.SymInt] | None:
        """Each rank's coordinate in its mesh."""
        _require_mode("the mesh coordinate")
        return self.get_coordinate()  # type: ignore[return-value]

    @staticmethod
    def _is_current_rank_part_of_mesh(self: DeviceMesh) -> bool:
        _require_mode("membership in the mesh")
        return self._is_current_rank_part_of_mesh()

    @staticmethod
    def _sym_get_coordinate(self: DeviceMesh, index: int) -> int | torch.SymInt:
        _require_mode("the mesh coordinate")
        return self._sym_get_coordinate(index)

    @staticmethod
    def get_rank(self: Any) -> int | torch.SymInt:
        """Each rank's global rank."""
        _require_mode("the rank")
        rank: int | torch.SymInt = self.get_rank()
        return rank

    @staticmethod
    def get_local_rank(self: Any, mesh_dim: int | str | None = None) -> int | torch.SymInt:
        """Each rank's coordinate on one dimension of the mesh."""
        _require_mode("the mesh coordinate")
        rank: int | torch.SymInt = self.get_local_rank(mesh_dim)
        return rank
