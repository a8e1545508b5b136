"""DeviceMeshes of one rank of one world, which equal no others in the process.

PyTorch keeps what it has worked out for a mesh (how DTensor moves data, which shards an operator
gives) in caches of the process, by mesh. What is right for one rank of a mesh is wrong for another.
Ranks that are threads share the caches, forked ranks have what their launcher put into them, and a
fake world becomes one rank after the other. So a mesh gets the identity of its rank there; PyTorch has a
field for that, which takes part in a mesh's equality and hash.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from torch.distributed.device_mesh import DeviceMesh

__all__ = [
    "be_unlike_earlier_meshes",
    "give_identity",
    "new_identity",
    "tell_identity",
    "wrap_mesh_init",
    "wrap_mesh_load",
    "wrap_mesh_save",
]

# One that no rank has had, of any world.
new_identity = itertools.count(1).__next__
_tellers: list[Callable[[], int | None]] = []
_identity_of_process: int | None = None  # of a forked rank


def tell_identity(teller: Callable[[], int | None]) -> None:
    """Ask this from now on for the identity of the calling thread's rank; None: it has no say."""
    _tellers.append(teller)


def _identity_here() -> int | None:
    told = (teller() for teller in _tellers)
    return next((one for one in told if one is not None), _identity_of_process)


def give_identity(mesh: DeviceMesh) -> None:
    """Make the mesh one of the rank that runs here; it has been another's, or no rank's."""
    if (identity := _identity_here()) is not None:
        mesh._thread_id = identity
        mesh._hash = None


def wrap_mesh_init(original: Callable[..., None]) -> Callable[..., None]:
    """`DeviceMesh.__init__`, which makes each mesh, those of dimensions too."""

    @functools.wraps(original)
    def init(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        give_identity(self)

    return init


def wrap_mesh_save(original: Callable[..., Any]) -> Callable[..., Any]:
    """`DeviceMesh.__getstate__`: what is pickled is nobody's, and is read by any PyTorch."""

    @functools.wraps(original)
    def state_of(self: Any) -> Any:
        return {**original(self), "_thread_id": None, "_hash": None}

    return state_of


def wrap_mesh_load(original: Callable[..., None]) -> Callable[..., None]:
    """`DeviceMesh.__setstate__`: a mesh is the rank's that unpickles it."""

    @functools.wraps(original)
    def set_state(self: Any, state: Any) -> None:
        original(self, state)
        give_identity(self)

    return set_state


def be_unlike_earlier_meshes() -> None:
    """From now on this process, a forked rank, makes meshes that equal none of before the fork."""
    global _identity_of_process  # noqa: PLW0603 - a process is one rank
    _identity_of_process = new_identity()
    mesh: Any = DeviceMesh
    mesh.__init__ = wrap_mesh_init(mesh.__init__)
