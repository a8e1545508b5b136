"""DataLoaders in lockstep: worker processes give each rank what they give a process."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

RANKS = 3


class Numbers(Dataset[Any]):
    """A number, a tensor of it, and a random number, of each place."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, place: int) -> Any:
        return place, torch.full((2,), float(place)), torch.rand(1)


def batches(num_workers: int) -> list[Any]:
    """All batches of a loader with this seed."""
    torch.manual_seed(3)
    return [*DataLoader(Numbers(), 2, shuffle=True, num_workers=num_workers)]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_worker_processes_give_each_rank_what_they_give_a_process(num_workers: int) -> None:
    with polyrank.lockstep(RANKS):
        together = batches(num_workers)
    alone = polyrank.run_ranks(batches, 1, num_workers, world="processes")[0]
    for own, expected in zip(together, alone, strict=True):
        for part, expected_part in zip(own, expected, strict=True):
            for rank in range(RANKS):
                assert torch.equal(part.on_rank(rank), expected_part)
