"""Functions of PyTorch whose answers differ between ranks, while a mode is active.

`torch.distributed.get_rank`, DeviceMesh coordinates, the functions of `torch.random`, and those that
take apart numbers which differ (`torch.tensor`, indexing) are replaced when the first mode is
entered and put back when the last one is left. The replacements ask for the enabled mode at each
call, so that a disabled mode, and a thread in none, get PyTorch's own answers.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh
from torch.utils._pytree import tree_leaves

from polyrank import _C
from polyrank.errors import UsageError
from polyrank.lockstep_stores import STORE_FUNCTIONS
from polyrank.process_groups import group_rank_of_ranks
from polyrank.python_random import RANDOM_FUNCTIONS as PYTHON_RANDOM_FUNCTIONS
from polyrank.python_random import RankGenerator
from polyrank.rank_dependent_index import get_item, set_item
from polyrank.rank_dependent_numbers import is_rank_dependent_number, rank_dependent_int
from polyrank.rank_dependent_pieces import chunk, unbind
from polyrank.rank_dependent_text import NAMING_FUNCTIONS, NUMBER_METHODS, watch_names
from polyrank.scripted_functions import SCRIPT_FUNCTIONS
from polyrank.spawned_ranks import START_FUNCTIONS


def _enabled_mode() -> Any:
    from polyrank.local_tensor_mode import enabled_local_tensor_mode

    return enabled_local_tensor_mode()


# --- DeviceMesh -------------------------------------------------------------------------------

# By the mesh's identity: a mesh's own equality compares contents, and it is asked for its
# coordinate for each placement of each DTensor.
_coordinates: dict[int, tuple[weakref.ref[DeviceMesh], dict[frozenset[int], list[Any]]]] = {}


def _mesh_coordinate(mode: Any, mesh: DeviceMesh) -> list[int | torch.SymInt]:
    """Each rank's coordinate in the mesh like `mesh` that it belongs to, one int per mesh dim."""
    key = id(mesh)
    entry = _coordinates.get(key)
    if entry is None:
        entry = (weakref.ref(mesh, lambda _: _coordinates.pop(key, None)), {})
        _coordinates[key] = entry
    of_ranks = entry[1]
    if mode.ranks not in of_ranks:
        with mode.disable():
            of_ranks[mode.ranks] = _make_mesh_coordinate(mesh, mode.ranks)
    return of_ranks[mode.ranks]


def _make_mesh_coordinate(mesh: DeviceMesh, ranks: frozenset[int]) -> list[int | torch.SymInt]:
    # All meshes of the family, stacked: a sub-mesh object is one rank's slice of its root.
    with unset_fake_temporarily():
        stacked = mesh._layout.remap_to_tensor(mesh._rank_map.clone())
        members = stacked.flatten().tolist()
    indices = itertools.product(*map(range, stacked.shape))
    of_rank = {rank: index[1:] for rank, index in zip(members, indices, strict=True)}
    missing = sorted(ranks - set(of_rank))
    if missing:
        raise UsageError(
            f"ranks {_C.RankSet(missing)} are not part of {mesh}; "
            "a coordinate can only be asked for where all ranks of the mode have one"
        )
    return [
        rank_dependent_int({rank: of_rank[rank][dim] for rank in ranks})
        for dim in range(stacked.ndim - 1)
    ]


def _in_mode(original: Callable[..., Any], own: Callable[..., Any]) -> Callable[..., Any]:
    """A function that answers `own(mode, …)` in an enabled mode and as `original` outside."""

    def answer(*args: Any, **kwargs: Any) -> Any:
        mode = _enabled_mode()
        return original(*args, **kwargs) if mode is None else own(mode, *args, **kwargs)

    answer.__doc__ = original.__doc__
    answer.__name__ = getattr(original, "__name__", "answer")
    return answer


def _get_mesh_rank(mode: Any, mesh: DeviceMesh) -> int | torch.SymInt:
    return rank_dependent_int({rank: rank for rank in mode.ranks})


def _get_local_rank(
    mode: Any, mesh: DeviceMesh, mesh_dim: int | str | None = None
) -> int | torch.SymInt:
    """Each rank's group rank on a dimension, which is its coordinate unless the mesh's order of
    ranks is another than theirs: a mesh's groups are sorted.
    """
    if mesh_dim is None:
        if mesh.ndim > 1:
            raise RuntimeError(
                f"this DeviceMesh has {mesh.ndim} dimensions: say which with `mesh_dim`"
            )
        mesh_dim = 0
    if isinstance(mesh_dim, str):
        names = mesh.mesh_dim_names or ()
        if mesh_dim not in names:
            raise UsageError(f"this DeviceMesh has no dimension {mesh_dim!r}; it has {names}")
        mesh_dim = names.index(mesh_dim)
    return rank_dependent_int(group_rank_of_ranks(mesh.get_group(mesh_dim), sorted(mode.ranks)))


def _is_current_rank_part_of_mesh(mode: Any, mesh: DeviceMesh) -> bool:
    return _mesh_coordinate(mode, mesh) is not None


def _sym_get_coordinate(mode: Any, mesh: DeviceMesh, index: int) -> int | torch.SymInt:
    return _mesh_coordinate(mode, mesh)[index]


_MESH_METHODS: dict[str, Callable[..., Any]] = {
    "get_coordinate": _mesh_coordinate,
    "get_local_rank": _get_local_rank,
    "get_rank": _get_mesh_rank,
    "_is_current_rank_part_of_mesh": _is_current_rank_part_of_mesh,
    "_sym_get_coordinate": _sym_get_coordinate,
}

# --- Random streams ---------------------------------------------------------------------------


def _while_disabled(own: Callable[..., Any]) -> Callable[..., Any]:
    """`own(mode, …)` with the mode off: it acts on plain tensors."""

    def run(mode: Any, *args: Any) -> Any:
        with mode.disable():
            return own(mode, *args)

    return run


def _manual_seed(mode: Any, seed: int | torch.SymInt) -> torch.Generator:
    if isinstance(seed, torch.SymInt):
        mode._state.seed(seed)
        return torch.default_generator
    generator = torch.random._manual_seed_impl(seed)
    mode._state.restart_generators()
    return generator


def _initial_seed(mode: Any) -> int | torch.SymInt:
    seed: int | torch.SymInt = mode._state.initial_seed()
    return seed


def _get_rng_state(mode: Any) -> torch.Tensor:
    # As PyTorch's, the state is a plain value also inside vmap and grad, which would wrap it.
    with temporarily_clear_interpreter_stack():
        return mode._state.get_rng_state(torch.device("cpu"))  # type: ignore[no-any-return]


def _set_rng_state(mode: Any, new_state: torch.Tensor) -> None:
    with temporarily_clear_interpreter_stack():
        mode._state.set_rng_state(torch.device("cpu"), new_state)


_RANDOM_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "manual_seed": _manual_seed,
    "initial_seed": _initial_seed,
    "get_rng_state": _get_rng_state,
    "set_rng_state": _set_rng_state,
}


# --- Tensors and numbers that differ ----------------------------------------------------------


def _make_tensor(
    original: Callable[..., Any], *args: Any, requires_grad: bool = False, **kwargs: Any
) -> torch.Tensor:
    """As `torch.tensor`, which needs Python numbers: by cohort where the data differ by rank."""
    try:
        result = original(*args, **kwargs)
    except (RuntimeError, TypeError):  # a DivergenceError, or a SymBool that it does not know
        mode = _enabled_mode()
        if mode is None or not any(map(is_rank_dependent_number, tree_leaves(args))):
            raise
        from polyrank.rank_functions import run_by_cohort

        result = run_by_cohort(original, mode, args, kwargs)
    return result.requires_grad_() if requires_grad else result  # type: ignore[no-any-return]


# Owner, name, and what to call with PyTorch's own function and the arguments.
_TENSOR_FUNCTIONS: tuple[tuple[object, str, Callable[..., Any]], ...] = (
    (torch, "tensor", _make_tensor),
    (torch, "as_tensor", _make_tensor),
    (torch.Tensor, "new_tensor", _make_tensor),
    (torch.Tensor, "__getitem__", get_item),
    (torch.Tensor, "__setitem__", set_item),
    *(
        (owner, name, take_apart)
        for owner in (torch, torch.Tensor)
        for name, take_apart in (
            ("chunk", chunk),
            ("split", chunk),
            ("split_with_sizes", chunk),
            ("tensor_split", chunk),
            ("unbind", unbind),
        )
    ),
)


# What Python's ints can and PyTorch's SymInt can't.
_INT_METHODS: dict[str, Callable[..., Any]] = {
    "__divmod__": lambda self, other: (self // other, self % other),
    "__rdivmod__": lambda self, other: (other // self, other % self),
}


def _with_original(original: Callable[..., Any], own: Callable[..., Any]) -> Callable[..., Any]:
    """A function (of a module, or a method) that calls `own(original, …)`."""

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return own(original, *args, **kwargs)

    return replacement


_FUNCTIONS = (
    *_TENSOR_FUNCTIONS,
    *NUMBER_METHODS,
    *NAMING_FUNCTIONS,
    *PYTHON_RANDOM_FUNCTIONS,
    *SCRIPT_FUNCTIONS,
    *START_FUNCTIONS,
    *STORE_FUNCTIONS,
)

_INHERITED = object()  # stands for a name that the owner itself does not have


class RankDependentFunctions:
    """The replacements, which are in place while any thread is in a mode."""

    def __init__(self) -> None:
        self._replaced: list[tuple[object, str, Any]] = []
        self._num_modes = 0
        self._lock = threading.Lock()

    def install(self) -> None:
        """Put the rank-dependent functions in place, if this is the first mode."""
        watch_names()
        with self._lock:
            self._num_modes += 1
            if self._num_modes == 1:
                self._replace_functions()

    def uninstall(self) -> None:
        """Put back what was replaced, if this is the last mode."""
        with self._lock:
            self._num_modes -= 1
            while self._replaced and self._num_modes == 0:
                owner, name, original = self._replaced.pop()
                if original is _INHERITED:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)

    def replaced_in(self, owner: object) -> dict[str, Any]:
        """What stood under each name of `owner` that was replaced."""
        return {name: original for at, name, original in self._replaced if at is owner}

    def _replace_functions(self) -> None:
        # These modules need the mode, which needs this one.
        from polyrank.collective_functions import COLLECTIVE_FUNCTIONS, GROUP_METHODS
        from polyrank.collectives_inside_torch import COLLECTIVES_INSIDE_TORCH
        from polyrank.group_ranks import RANK_FUNCTIONS, rank_of_group
        from polyrank.object_collectives import OBJECT_COLLECTIVES

        for name, own in _MESH_METHODS.items():
            self._replace(DeviceMesh, name, _in_mode(getattr(DeviceMesh, name), own))
        for name, own in _RANDOM_FUNCTIONS.items():
            replacement = _in_mode(getattr(torch.random, name), _while_disabled(own))
            self._replace(torch.random, name, replacement)
            self._replace(torch, name, replacement)
        for owner, name, own in _FUNCTIONS:
            self._replace(owner, name, _with_original(getattr(owner, name), own))
        self._replace(torch, "Generator", RankGenerator)
        for name, method in _INT_METHODS.items():
            self._replace(torch.SymInt, name, method)
        self._replace_all({**COLLECTIVE_FUNCTIONS, **OBJECT_COLLECTIVES})
        for name, make in GROUP_METHODS.items():
            self._replace(dist.ProcessGroup, name, make(getattr(dist.ProcessGroup, name)))
        for owner, name, make in COLLECTIVES_INSIDE_TORCH:
            made = make(getattr(owner, name))
            self._replace(owner, name, staticmethod(made) if isinstance(owner, type) else made)
        self._replace(dist.ProcessGroup, "rank", rank_of_group(dist.ProcessGroup.rank))
        self._replace_all(RANK_FUNCTIONS)

    def _replace_all(self, makers: dict[str, Callable[..., Any]]) -> None:
        """Replace functions of torch.distributed by what `makers` make of them."""
        originals = {name: getattr(distributed_c10d, name) for name in makers}
        made = {name: make(originals[name]) for name, make in makers.items()}
        # Programs hold the functions under their names in modules of their own.
        for module in list(sys.modules.values()):
            held = getattr(module, "__dict__", {})
            for name, original in originals.items():
                if held.get(name) is original:
                    self._replace(module, name, made[name])

    def _replace(self, owner: object, name: str, replacement: Any) -> None:
        # As it stands there: a bound or unwrapped one would be no method when it is put back.
        self._replaced.append((owner, name, vars(owner).get(name, _INHERITED)))
        setattr(owner, name, replacement)


rank_dependent_functions = RankDependentFunctions()
