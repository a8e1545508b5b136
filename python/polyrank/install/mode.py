"""LocalTensorMode as programs written for PyTorch's simulator expect it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh

from polyrank.local_tensor_mode import LocalTensorMode as PolyrankMode
from polyrank.rank_dependent import rank_dependent_functions

_RANDOM_FUNCTIONS = ("manual_seed", "initial_seed")


class LocalTensorMode(PolyrankMode):  # type: ignore[no-untyped-call]
    """polyrank's mode, in which `torch.distributed.get_rank()` stays this process's rank.

    Source: `torch.distributed._local_tensor.LocalTensorMode`, which leaves it alone.
    """

    def __init__(self, ranks: int | frozenset[int]) -> None:
        super().__init__(ranks, rank_dependent_get_rank=False)
        self._taken_away: dict[tuple[object, str], Any] = {}

    def _unpatch_device_mesh(self) -> None:
        """Let DeviceMesh answer for this process alone until `_patch_device_mesh()`."""
        self._take_away(DeviceMesh, rank_dependent_functions.replaced_in(DeviceMesh))

    def _patch_device_mesh(self) -> None:
        """Undo `_unpatch_device_mesh()`."""
        self._put_back(DeviceMesh)

    def _unpatch_random_functions(self) -> None:
        """Let seeds be this process's alone until `_patch_random_functions()`."""
        for owner in (torch, torch.random):
            self._take_away(owner, _RANDOM_FUNCTIONS)

    def _patch_random_functions(self) -> None:
        """Undo `_unpatch_random_functions()`."""
        for owner in (torch, torch.random):
            self._put_back(owner)

    def _take_away(self, owner: object, names: Collection[str]) -> None:
        originals = rank_dependent_functions.replaced_in(owner)
        for name in names:
            if name in originals and (owner, name) not in self._taken_away:
                self._taken_away[owner, name] = vars(owner)[name]
                setattr(owner, name, originals[name])

    def _put_back(self, owner: object) -> None:
        for key in [key for key in self._taken_away if key[0] is owner]:
            setattr(*key, self._taken_away.pop(key))
