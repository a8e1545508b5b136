"""What DTensor is told of the generators of virtual GPUs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from polyrank import _C
from polyrank.replacing.when_imported import WhenImported

__all__ = ["tell_dtensor"]

_MODULES = ("torch.distributed.tensor._random", "torch.distributed.tensor._dispatch")


def _of_real_gpus(original: Callable[[Any], bool]) -> Callable[[Any], bool]:
    @functools.wraps(original)
    def is_rng_supported_mesh(device_mesh: Any) -> bool:
        # A GPU's state is a seed and an offset, which DTensor moves from shard to shard. A virtual
        # one's is a CPU generator's: shards draw as they do on the CPU.
        is_virtual = device_mesh.device_type == "cuda" and _C.virtual_gpus().count > 0
        return not is_virtual and original(device_mesh)

    return is_rng_supported_mesh


def _change(module: ModuleType) -> None:
    module.is_rng_supported_mesh = _of_real_gpus(  # type: ignore[attr-defined]
        module.is_rng_supported_mesh
    )


@functools.cache
def tell_dtensor() -> None:
    """Let DTensor draw on virtual GPUs as on the CPU, for good; it asks whether they are on."""
    for name in _MODULES:
        WhenImported(name, _change)
