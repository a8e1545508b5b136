"""A state dict as one rank has it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.utils import _pytree as pytree

from polyrank.errors import UnsupportedOpError
from polyrank.lockstep_world.one_rank import as_rank
from polyrank.numbers.rank_dependent_numbers import number_on_rank
from polyrank.tensor.local_tensor import LocalTensor
from polyrank.tensor.local_tensor_mode import LocalTensorMode
from polyrank.tensor.per_rank import PerRank, merged

StateDict = dict[str, Any]


def check_runs_all_ranks(mode: LocalTensorMode, group: Any, what: str) -> None:
    """Refuse a group that is not all ranks, since its checkpoint would be one of several."""
    if group is not None and group.size() != len(mode.ranks):
        raise UnsupportedOpError(
            f"torch.distributed.checkpoint can't {what} by groups of {group.size()} of the "
            f"{len(mode.ranks)} ranks in lockstep: leave process_group out"
        )


def local_of(tensor: torch.Tensor) -> torch.Tensor:
    """What ranks hold of a tensor."""
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor


def _with_local(tensor: torch.Tensor, local: torch.Tensor) -> torch.Tensor:
    if isinstance(tensor, DTensor):
        return DTensor(local, tensor._spec, requires_grad=False)  # type: ignore[no-untyped-call]
    return local


def on_rank(value: Any, rank: int) -> Any:
    """One leaf of a state dict as `rank` has it; tensors are read-only."""
    if isinstance(value, torch.Tensor):
        local = local_of(value)
        return _with_local(value, local.on_rank(rank)) if isinstance(local, LocalTensor) else value
    return value.on_rank(rank) if isinstance(value, PerRank) else number_on_rank(value, rank)


def reading_view(state_dict: StateDict, rank: int) -> StateDict:
    """The state dict of one rank, to be read."""
    view: StateDict = pytree.tree_map(lambda leaf: on_rank(leaf, rank), state_dict)
    return view


class WritingViews:
    """The state dicts of all ranks, to be written and then written back.

    Ranks in one cohort that hold the same piece of a tensor share the memory for it.
    """

    def __init__(self, state_dict: StateDict, ranks: list[int]) -> None:
        self._state_dict = state_dict
        self._memory: dict[tuple[Any, ...], torch.Tensor] = {}
        self._tensors = [
            leaf for leaf in pytree.tree_leaves(state_dict) if isinstance(leaf, torch.Tensor)
        ]
        self._held: dict[int, dict[int, torch.Tensor]] = {id(t): {} for t in self._tensors}
        self._cohort_of = {id(t): _cohort_of_ranks(local_of(t)) for t in self._tensors}
        self.of_rank = {
            rank: pytree.tree_map(lambda leaf, own=rank: self._writable(leaf, own), state_dict)
            for rank in ranks
        }

    def _writable(self, leaf: Any, rank: int) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return on_rank(leaf, rank)
        with as_rank(rank):
            key = (id(leaf), self._cohort_of[id(leaf)].get(rank), _piece(leaf))
            if key not in self._memory:
                self._memory[key] = local_of(on_rank(leaf, rank)).detach().clone()
            memory = self._held[id(leaf)][rank] = self._memory[key]
            return _with_local(leaf, memory)

    @torch.no_grad()
    def write_back(self) -> None:
        """Give the original state dict what its ranks' views hold now."""
        for tensor in self._tensors:
            local, held = local_of(tensor).detach(), self._held[id(tensor)]
            merged_tensor = LocalTensor(held)
            if isinstance(local, LocalTensor):
                local.copy_(merged_tensor)
            else:
                local.copy_(merged_tensor.reconcile())
        _write_back_objects(self._state_dict, self.of_rank)


def _cohort_of_ranks(local: torch.Tensor) -> dict[int, int]:
    if not isinstance(local, LocalTensor):
        return {}
    return {rank: i for i, cohort in enumerate(local.cohorts()) for rank in cohort.ranks}


def _piece(tensor: torch.Tensor) -> tuple[int, ...]:
    """Which piece of the whole this rank holds."""
    if not isinstance(tensor, DTensor):
        return ()
    coordinate = tensor.device_mesh.get_coordinate() or ()
    return tuple(
        position
        for position, placement in zip(coordinate, tensor.placements, strict=True)
        if not placement.is_replicate()
    )


def _write_back_objects(target: Any, views: Mapping[int, Any]) -> None:
    entries: Any = target.items() if isinstance(target, dict) else enumerate(target)
    for key, value in list(entries):
        of_rank = {rank: view[key] for rank, view in views.items()}
        if isinstance(value, dict | list | tuple):
            _write_back_objects(value, of_rank)
        elif not isinstance(value, torch.Tensor) and not isinstance(target, tuple):
            target[key] = _merged(of_rank)


def _merged(object_of_rank: Mapping[int, Any]) -> Any:
    first, *others = object_of_rank.values()
    if all(other is first for other in others):
        return first
    if len({pickle.dumps(value) for value in object_of_rank.values()}) == 1:
        return first
    return merged(object_of_rank)


def own_memory(resolve: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """A planner's `resolve_data`, whose tensors may be read by raw pointer."""

    def resolve_data(item: Any) -> Any:
        value = resolve(item)
        return value.detach().clone() if isinstance(value, torch.Tensor) else value

    return resolve_data
