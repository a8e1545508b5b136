"""The random states of a mode's ranks, by rank."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

import torch

from polyrank import _C
from polyrank.tensor.local_tensor import LocalTensor

# A rank's state: the CPU's, and one for each accelerator by index.
RankState = tuple[torch.Tensor, dict[int, torch.Tensor]]


def _devices() -> list[torch.device]:
    if not torch.accelerator.is_available():
        return []
    kind = torch.accelerator.current_accelerator()
    index = torch.accelerator.current_device_index()
    return [] if kind is None else [torch.device(kind.type, index)]


class RankStates(MutableMapping[int, RankState]):
    """The ranks' random states, live: what is written here is what the rank draws from next.

    Source: `torch.distributed._local_tensor.LocalTensorMode._per_rank_rng_states`.
    """

    def __init__(self, state: _C.LockstepMode) -> None:
        self._state = state

    def _of_device(self, device: torch.device, rank: int) -> torch.Tensor:
        states: LocalTensor = self._state.get_rng_state(device)  # type: ignore[assignment]
        return states.on_rank(rank).clone()

    def _set_on_device(self, device: torch.device, rank: int, value: torch.Tensor) -> None:
        states: LocalTensor = self._state.get_rng_state(device)  # type: ignore[assignment]
        by_rank = {other: states.on_rank(other) for other in self}
        # Ranks given one tensor object are one cohort.
        by_cohort = {r: c.tensor for c in states.cohorts() for r in c.ranks}
        self._state.set_rng_state(
            device, LocalTensor({**by_rank, **by_cohort, rank: value.to("cpu")})
        )

    def __getitem__(self, rank: int) -> RankState:
        if rank not in self._state.ranks:
            raise KeyError(rank)
        cpu = self._of_device(torch.device("cpu"), rank)
        return cpu, {device.index: self._of_device(device, rank) for device in _devices()}

    def __setitem__(self, rank: int, value: RankState) -> None:
        if rank not in self._state.ranks:
            raise KeyError(rank)
        cpu, of_devices = value
        self._set_on_device(torch.device("cpu"), rank, cpu)
        for device in _devices():
            if device.index in of_devices:
                self._set_on_device(device, rank, of_devices[device.index])

    def __delitem__(self, rank: int) -> None:
        raise KeyError(f"rank {rank} always has a random state")

    def __iter__(self) -> Iterator[int]:
        return iter(self._state.ranks)

    def __len__(self) -> int:
        return len(self._state.ranks)
