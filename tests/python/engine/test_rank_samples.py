"""`DistributedSampler` in lockstep: each rank's samples, as a sampler of its process draws them."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, DistributedSampler, TensorDataset

WORLD_SIZE = 4
SIZE = 23  # not a multiple of the world size
OPTIONS: list[dict[str, Any]] = [
    {"shuffle": False},
    {"shuffle": True, "seed": 3},
    {"shuffle": True, "drop_last": True},
]


def alone(rank: int, options: dict[str, Any], epoch: int) -> list[int]:
    """The indices that one rank's process draws."""
    sampler: DistributedSampler[Any] = DistributedSampler(
        range(SIZE),  # type: ignore[arg-type]
        num_replicas=WORLD_SIZE,
        rank=rank,
        **options,
    )
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_rank_loads_the_samples_that_its_process_does(
    options: dict[str, Any], num_workers: int
) -> None:
    x = torch.randn(SIZE, 2)
    with polyrank.lockstep(WORLD_SIZE) as mode:
        data = TensorDataset(x, torch.arange(SIZE))
        sampler: DistributedSampler[Any] = DistributedSampler(data, **options)
        loader = DataLoader(data, batch_size=2, sampler=sampler, num_workers=num_workers)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            batches = list(loader)
            assert len(batches) == len(loader)
            rows = torch.cat([row for row, _ in batches])
            indices = torch.cat([index for _, index in batches])
            with mode.disable():
                for rank in range(WORLD_SIZE):
                    own = alone(rank, options, epoch)
                    assert indices.on_rank(rank).tolist() == own  # type: ignore[attr-defined]
                    assert torch.equal(rows.on_rank(rank), x[own])  # type: ignore[attr-defined]


class OfPython(Dataset[int]):
    """Samples in a list, which takes one index."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> int:
        return [2 * i for i in range(SIZE)][index]


def test_a_dataset_that_is_no_tensor_is_refused() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        loader = DataLoader(OfPython(), sampler=DistributedSampler(OfPython()))
        with pytest.raises(polyrank.DivergenceError, match="one int is needed for all ranks"):
            next(iter(loader))


def test_a_sampler_of_one_rank_is_as_ever() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        sampler: DistributedSampler[Any] = DistributedSampler(
            range(SIZE),  # type: ignore[arg-type]
            num_replicas=dist.get_world_size(),
            rank=1,
            shuffle=False,
        )
        assert list(sampler) == list(range(1, SIZE, WORLD_SIZE))


class Numbered(Dataset[Any]):
    """Samples with their numbers, and whether they are in the second half."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int, bool]:
        return torch.arange(SIZE)[i], i, i * 2 > SIZE


def test_batches_hold_the_samples_numbers() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        loader = DataLoader(Numbered(), 3, sampler=DistributedSampler(Numbered(), shuffle=False))  # type: ignore[arg-type]
        for values, numbers, late in loader:
            assert torch.equal(values, numbers)
            assert torch.equal(late, numbers * 2 > SIZE)
    for rank in range(WORLD_SIZE):
        assert numbers._local_tensors[rank].tolist() == alone(rank, {"shuffle": False}, 0)[-3:]
