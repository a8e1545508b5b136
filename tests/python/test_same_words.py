"""A mistake has one error, with one class and one text, in whatever world the program runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import AllToAllOptions, ReduceScatterOptions

SIZE = 4
Told = tuple[type[Exception], str]


def told(run: Callable[[], object]) -> Told:
    """Class and text of what it raises, without what depends on the run."""
    try:
        run()
    except polyrank.RanksFailedError as failed:
        error = failed.exceptions[0]
    except polyrank.Error as raised:
        error = raised
    else:
        raise AssertionError("nothing was raised")
    # Of ranks that make the same mistake any may be the first.
    text = re.sub(r"(\(ranks 0-3\), rank) \d", r"\1 N", str(error))
    return type(error), re.sub(r"  /[^\n]*test_same_words\.py:\d+", "", text)


def in_lockstep(mistake: Callable[[], object]) -> Told:
    with polyrank.lockstep(SIZE):
        return told(mistake)


def in_threads(mistake: Callable[[], object]) -> Told:
    return told(lambda: polyrank.run_ranks(mistake, SIZE))


def in_processes(mistake: Callable[[], object]) -> Told:
    return told(lambda: polyrank.run_ranks(mistake, SIZE, world="processes"))


def in_fake(mistake: Callable[[], object]) -> Told:
    with polyrank.fake_world(SIZE, rank=0):
        return told(mistake)


def ones(*sizes: int) -> torch.Tensor:
    return torch.ones(sizes)


def with_gaps() -> torch.Tensor:
    return torch.ones(4, 8)[:, ::2]


def uneven_reduce_scatter() -> None:
    dist.group.WORLD._reduce_scatter_base(ones(2), ones(7), ReduceScatterOptions())


def pieces_of_another_length() -> None:
    dist.group.WORLD.alltoall_base(ones(8), ones(8), [2] * 4, [4, 4], AllToAllOptions())


# A mistake of each rank's own, and what its error says.
MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "root": (lambda: dist.broadcast(ones(2), group_src=9), "no group rank 9; valid: 0..3"),
    "negative root": (lambda: dist.reduce(ones(2), group_dst=-2), "valid: 0..3"),
    "gathered list": (
        lambda: dist.all_gather([ones(2)] * 3, ones(2)),
        "a list of 3 output tensors",
    ),
    "scattered list": (lambda: dist.reduce_scatter(ones(2), [ones(2)] * 5), "a list of 5 input"),
    "exchanged lists": (lambda: dist.all_to_all([ones(2)] * 4, [ones(2)] * 3), "a list of 3 input"),
    "own place": (
        lambda: dist.all_gather([ones(3), ones(2), ones(2), ones(2)], ones(2)),
        "they must have as many elements",
    ),
    "output too small": (
        lambda: dist.all_gather_into_tensor(ones(7), ones(2)),
        "the output must have 4 times as many elements",
    ),
    "input not divisible": (uneven_reduce_scatter, "the input must have 4 times as many elements"),
    "another dtype": (
        lambda: dist.all_gather_into_tensor(ones(8).double(), ones(2)),
        "must have one dtype",
    ),
    "rest": (lambda: dist.all_to_all_single(ones(6), ones(6)), "leaves a rest"),
    "negative split": (
        lambda: dist.all_to_all_single(ones(8), ones(8), [2] * 4, [9, -1, 0, 0]),
        "none can be negative",
    ),
    "sum of splits": (
        lambda: dist.all_to_all_single(ones(8), ones(8), [2] * 4, [2, 2, 2, 1]),
        "4 pieces of together 7 rows",
    ),
    "number of splits": (pieces_of_another_length, "2 pieces"),
    "gaps": (lambda: dist.all_reduce(with_gaps()), r"not contiguous: gloo .*`.contiguous\(\)`"),
    "gaps of what is broadcast": (lambda: dist.broadcast(with_gaps(), 0), "not contiguous"),
    "another order of dimensions": (
        lambda: dist.all_to_all_single(ones(8, 4).t(), ones(4, 8)),
        "not contiguous",
    ),
    "dtype of no backend": (lambda: dist.all_reduce(ones(2).short()), "neither gloo nor NCCL"),
    "bits of floats": (lambda: dist.all_reduce(ones(2), op=dist.ReduceOp.BAND), "bits of integers"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_one_text_in_all_worlds(name: str) -> None:
    mistake, says = MISTAKES[name]
    errors = [world(mistake) for world in (in_lockstep, in_threads, in_processes, in_fake)]
    assert re.search(says, errors[0][1]), errors[0]
    assert len(set(errors)) == 1, errors


def by_rank(make: Callable[[int], torch.Tensor]) -> Any:
    """What each rank makes: its own tensor, or in lockstep all of them."""
    rank: Any = dist.get_rank()
    return make(rank) if type(rank) is int else polyrank.rank_map(make)


# What ranks that do not fit together launch.
MISMATCHES: dict[str, tuple[Callable[[], object], str]] = {
    "shapes": (
        lambda: dist.all_reduce(by_rank(lambda rank: ones(5 if rank == 2 else 4))),
        r"rank 2: all_reduce\(sum\) float32\[5\]",
    ),
    "shapes of one size": (
        lambda: dist.broadcast(by_rank(lambda rank: ones(2, 2) if rank else ones(4, 1)), 0),
        r"rank 0: broadcast\(root 0\) float32\[4, 1\]",
    ),
    "order in memory": (
        lambda: dist.all_reduce(by_rank(lambda rank: ones(2, 4).t() if rank > 1 else ones(4, 2))),
        r"ranks 2-3: all_reduce\(sum\) float32\[4, 2\] strides=\[1, 4\]",
    ),
    "gathered shapes": (
        lambda: dist.all_gather_into_tensor(
            by_rank(lambda rank: ones(8 if rank else 4)), by_rank(lambda rank: ones(1 + (rank > 0)))
        ),
        r"rank 0: all_gather float32\[1\]",
    ),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_ranks_that_do_not_match_are_told_alike(name: str) -> None:
    mistake, says = MISMATCHES[name]
    errors = [world(mistake) for world in (in_lockstep, in_threads, in_processes)]
    assert re.search(says, errors[0][1]), errors[0]
    assert errors[0][0] is polyrank.CollectiveMismatchError
    assert len(set(errors)) == 1, errors


def test_what_differs_between_ranks_is_checked_on_each() -> None:
    def mistake() -> None:
        mine = by_rank(lambda rank: ones(2))
        whole = by_rank(lambda rank: ones(8 if rank != 2 else 9))
        dist.all_gather_into_tensor(whole, mine)

    for world in (in_lockstep, in_threads, in_processes):
        assert "(ranks 0-3), rank N: all_gather" in world(mistake)[1]


def test_lists_may_hold_tensors_with_gaps() -> None:
    """They go through a buffer, which is contiguous."""

    def program() -> None:
        outputs = [torch.zeros(4, 8)[:, ::2] for _ in range(SIZE)]
        dist.all_gather(outputs, with_gaps())
        assert all((t == 1).all().item() for t in outputs)

    with polyrank.lockstep(SIZE):
        program()
    polyrank.run_ranks(program, SIZE)
    polyrank.run_ranks(program, SIZE, world="processes")
