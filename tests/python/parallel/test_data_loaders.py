"""DataLoaders in lockstep: worker processes give each rank what they give a process."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polyrank
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset, get_worker_info

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


class Draws(Dataset[Any]):
    """What the worker's stream of torch gives, and its seed."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> Any:
        return place, torch.rand(2), torch.tensor(get_worker_info().seed)


def batches_of_seeded_ranks() -> list[Any]:
    """All batches of loaders whose seed differs between ranks."""
    torch.manual_seed(42 + dist.get_rank())
    loaded: list[Any] = []
    for num_workers in (1, 2):
        loaded += DataLoader(Draws(), 2, shuffle=False, num_workers=num_workers)
    return [*loaded, torch.rand(2)]


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_workers_of_ranks_with_seeds_of_their_own_draw_as_in_processes(world: Any) -> None:
    with polyrank.lockstep(RANKS):
        together = batches_of_seeded_ranks()
    of_ranks = polyrank.run_ranks(batches_of_seeded_ranks, RANKS, world=world)
    assert not torch.equal(of_ranks[0][-1], of_ranks[1][-1])
    for rank, alone in enumerate(of_ranks):
        for own, expected in zip(together, alone, strict=True):
            pairs = zip(own, expected, strict=True) if isinstance(own, list) else [(own, expected)]
            for part, expected_part in pairs:
                assert torch.equal(part.on_rank(rank), expected_part)


class OtherDraws(Dataset[Any]):
    """What the worker's streams of Python and numpy give."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> Any:
        return place, random.random(), float(np.random.rand())  # noqa: NPY002 - torch seeds this one


def other_draws(first_seed: int, step: int) -> list[Any]:
    """All batches, by the streams of `random` and numpy."""
    torch.manual_seed(first_seed + step * dist.get_rank())
    return [*DataLoader(OtherDraws(), 2, num_workers=2)]


def test_pythons_and_numpys_streams_of_workers_are_those_of_processes() -> None:
    with polyrank.lockstep(RANKS):
        together = other_draws(7, 0)
    threads = polyrank.run_ranks(other_draws, RANKS, 7, 0, world="threads")
    for rank, alone in enumerate(polyrank.run_ranks(other_draws, RANKS, 7, 0, world="processes")):
        for one, two, expected in zip(together, threads[rank], alone, strict=True):
            for part, of_thread, of_process in zip(one, two, expected, strict=True):
                assert torch.equal(part.on_rank(rank), of_process)
                assert torch.equal(of_thread, of_process)
    of_threads = polyrank.run_ranks(other_draws, RANKS, 7, 1, world="threads")
    of_processes = polyrank.run_ranks(other_draws, RANKS, 7, 1, world="processes")
    for of_thread, of_process in zip(of_threads, of_processes, strict=True):
        for one, two in zip(of_thread, of_process, strict=True):
            assert all(map(torch.equal, one, two))


def test_pythons_stream_of_a_worker_is_refused_where_its_seed_differs(capfd: Any) -> None:
    with pytest.raises(RuntimeError, match="exited unexpectedly"), polyrank.lockstep(RANKS):
        other_draws(7, 1)
    assert "Python's random was seeded with a number that differs" in capfd.readouterr().err
