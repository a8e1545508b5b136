"""DeviceMeshes of ranks that are threads: each rank's are unlike the others'.

PyTorch keeps what it has worked out for a mesh (how DTensor moves data, which shards an operator
gives) in caches of the process, by mesh. What is right for one rank of a mesh is wrong for another,
so a mesh that a rank made or loaded must equal its own meshes alone. PyTorch has a field for that,
which takes part in a mesh's equality and hash.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from polyrank.rank_threads.rank_globals import rank_globals

__all__ = ["wrap_mesh_init"]


class _Identity(int):
    """The rank's identity. In a mesh that another rank unpickles it becomes that rank's."""

    def __reduce__(self) -> tuple[Callable[[], _Identity | None], tuple[()]]:
        return _identity_here, ()


def _identity_here() -> _Identity | None:
    own = rank_globals()
    return None if own is None else _Identity(own.identity)


def wrap_mesh_init(original: Callable[..., None]) -> Callable[..., None]:
    """`DeviceMesh.__init__`, which makes each mesh, those of dimensions too."""

    @functools.wraps(original)
    def init(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        if (identity := _identity_here()) is not None:
            self._thread_id = identity

    return init
