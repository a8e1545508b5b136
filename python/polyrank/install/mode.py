"""LocalTensorMode as programs written for PyTorch's simulator expect it."""

from __future__ import annotations

from polyrank.replacing.layers import LOCKSTEP_MESHES, LOCKSTEP_SEEDS
from polyrank.replacing.replacements import Replacements
from polyrank.tensor.local_tensor_mode import LocalTensorMode as PolyrankMode
from polyrank.torch_features import simulator_patches_get_rank


class LocalTensorMode(PolyrankMode):  # type: ignore[no-untyped-call]
    """polyrank's mode, in which `torch.distributed.get_rank()` is what the simulator of this torch gives.

    Source: `torch.distributed._local_tensor.LocalTensorMode`, which leaves it alone where it has no
    `_patch_dist`: then it stays this process's rank.
    """

    def __init__(self, ranks: int | frozenset[int]) -> None:
        super().__init__(ranks, rank_dependent_get_rank=simulator_patches_get_rank())
        self._suspended: set[Replacements] = set()

    def _unpatch_device_mesh(self) -> None:
        """Let DeviceMesh answer for this process alone until `_patch_device_mesh()`."""
        self._suspend(LOCKSTEP_MESHES)

    def _patch_device_mesh(self) -> None:
        """Undo `_unpatch_device_mesh()`."""
        self._resume(LOCKSTEP_MESHES)

    def _unpatch_random_functions(self) -> None:
        """Let seeds be this process's alone until `_patch_random_functions()`."""
        self._suspend(LOCKSTEP_SEEDS)

    def _patch_random_functions(self) -> None:
        """Undo `_unpatch_random_functions()`."""
        self._resume(LOCKSTEP_SEEDS)

    def _unpatch_dist(self) -> None:
        """Let `get_rank()` be this process's alone until `_patch_dist()`."""
        self.has_rank_dependent_get_rank = False

    def _patch_dist(self) -> None:
        """Undo `_unpatch_dist()`."""
        self.has_rank_dependent_get_rank = True

    def _suspend(self, replacements: Replacements) -> None:
        if replacements not in self._suspended:
            self._suspended.add(replacements)
            replacements.suspend()

    def _resume(self, replacements: Replacements) -> None:
        if replacements in self._suspended:
            self._suspended.remove(replacements)
            replacements.resume()
