"""LocalTensorMode as programs written for PyTorch's simulator expect it."""

from __future__ import annotations

from typing import Any

from torch.distributed.device_mesh import DeviceMesh

from polyrank.local_tensor_mode import LocalTensorMode as PolyrankMode
from polyrank.rank_dependent import rank_dependent_functions


class LocalTensorMode(PolyrankMode):  # type: ignore[no-untyped-call]
    """polyrank's mode, in which `torch.distributed.get_rank()` stays this process's rank.

    Source: `torch.distributed._local_tensor.LocalTensorMode`, which leaves it alone.
    """

    def __init__(self, ranks: int | frozenset[int]) -> None:
        super().__init__(ranks, rank_dependent_get_rank=False)
        self._taken_from_mesh: dict[str, Any] = {}

    def _unpatch_device_mesh(self) -> None:
        """Let DeviceMesh answer for this process alone until `_patch_device_mesh()`."""
        for name, original in rank_dependent_functions.replaced_in(DeviceMesh).items():
            self._taken_from_mesh[name] = vars(DeviceMesh)[name]
            setattr(DeviceMesh, name, original)

    def _patch_device_mesh(self) -> None:
        """Undo `_unpatch_device_mesh()`."""
        while self._taken_from_mesh:
            setattr(DeviceMesh, *self._taken_from_mesh.popitem())
