"""DeviceMeshes of each rank are unlike those of others that share what one process remembers.

PyTorch keeps what it has worked out for a mesh (how DTensor moves data, which shards an operator
gives) in caches of the process, by mesh. What is right for one rank of a mesh is wrong for another,
so a mesh that a rank made or loaded must equal its own meshes alone. PyTorch has a field for that,
which takes part in a mesh's equality and hash.

Ranks that are threads share the caches; forked ranks have what their launcher, or worlds that ran in
it before, put into them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from torch.distributed.device_mesh import DeviceMesh

from polyrank.rank_threads.rank_globals import rank_globals

__all__ = ["be_unlike_earlier_meshes", "wrap_mesh_init"]


class _Identity(int):
    """The rank's identity. In a mesh that another rank unpickles it becomes that rank's."""

    def __reduce__(self) -> tuple[Callable[[], _Identity | None], tuple[()]]:
        return _identity_here, ()


_identity_of_process: _Identity | None = None  # of a forked rank


def _identity_here() -> _Identity | None:
    own = rank_globals()
    return _identity_of_process if own is None else _Identity(own.identity)


def be_unlike_earlier_meshes() -> None:
    """From now on this process, a forked rank, makes meshes that equal none of before the fork."""
    global _identity_of_process  # noqa: PLW0603 - a process is one rank
    _identity_of_process = _Identity(os.getpid())
    mesh: Any = DeviceMesh
    mesh.__init__ = wrap_mesh_init(mesh.__init__)


def wrap_mesh_init(original: Callable[..., None]) -> Callable[..., None]:
    """`DeviceMesh.__init__`, which makes each mesh, those of dimensions too."""

    @functools.wraps(original)
    def init(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        if (identity := _identity_here()) is not None:
            self._thread_id = identity

    return init
