"""`polyrank.reduction_order`: gloo's against its processes bit for bit, the others by their laws."""

from __future__ import annotations

from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
from collectives.comparison import differences, run_in_lockstep
from collectives.gloo_processes import run_all_ranks
from collectives.summation_programs import PROGRAMS, drawn, make_groups

ORDERS = ["rank", "tree", "gloo", "nccl_ring", "nccl_tree", "halving_doubling", "exact"]


def on_threads(world_size: int) -> list[dict[str, list[torch.Tensor]]]:
    """What each rank gets, by program."""

    def run() -> dict[str, list[torch.Tensor]]:
        dist.init_process_group("gloo")
        groups = make_groups()
        rank = dist.get_rank()
        return {name: program(lambda f: f(rank), groups) for name, program in PROGRAMS.items()}

    return polyrank.run_ranks(run, world_size)


@pytest.mark.parametrize("world_size", [2, 3, 4, 5, 6, 7, 8])
def test_gloo_adds_in_this_order(world_size: int, tmp_path: Path) -> None:
    known = run_all_ranks(tmp_path, "collectives.summation_programs", world_size)
    wrong = []
    with polyrank.reduction_order("gloo"):
        threads = on_threads(world_size)
        with polyrank.lockstep(world_size):
            groups = make_groups()
            for name, program in PROGRAMS.items():
                expected = [of_rank[name] for of_rank in known]
                if differences(run_in_lockstep(program, groups), expected):
                    wrong.append(f"lockstep: {name}")
                for own, theirs in zip(threads, expected, strict=True):
                    if not all(map(torch.equal, own[name], theirs)):
                        wrong.append(f"threads: {name}")
    assert not wrong


def summed(world_size: int, size: int = 4096) -> torch.Tensor:
    """The sum of every rank's draw, as lockstep and threads both give it."""

    def run() -> torch.Tensor:
        dist.init_process_group("gloo")
        t = drawn(dist.get_rank(), size, torch.float32)
        dist.all_reduce(t)
        return t

    on_threads = polyrank.run_ranks(run, world_size)[0]
    with polyrank.lockstep(world_size) as mode:
        t = polyrank.rank_map(lambda rank: drawn(rank, size, torch.float32))
        dist.all_reduce(t)
        with mode.disable():
            assert torch.equal(t.on_rank(0), on_threads)
    return on_threads


def test_every_order_is_another_up_to_rounding() -> None:
    sums = {}
    for order in ORDERS:
        with polyrank.reduction_order(order):
            sums[order] = summed(5)
    exact = sum(drawn(rank, 4096, torch.float32).double() for rank in range(5))
    assert torch.equal(sums["exact"], exact.float())
    size = sum(drawn(rank, 4096, torch.float32).double().abs() for rank in range(5))
    for order, own in sums.items():
        assert ((own - exact).abs() <= 5 * 2**-24 * size).all(), order
        same = [other for other in sums if torch.equal(own, sums[other])]
        assert same == [order]


def test_nodes_and_channels_of_nccl_change_the_sum() -> None:
    sums = []
    for channels, per_node in ((1, None), (1, 2), (2, 1), (1, 1)):
        with polyrank.reduction_order("nccl_tree", channels=channels, ranks_per_node=per_node):
            sums.append(summed(4))
    assert len({tuple(one.tolist()) for one in sums}) == 4
    # The first half of the channels adds along the first tree.
    assert torch.equal(sums[2][:2048], sums[3][:2048])


def test_two_ranks_have_one_order_only() -> None:
    known = summed(2)
    for order in ORDERS:
        with polyrank.reduction_order(order):
            assert torch.equal(summed(2), known), order


def test_what_a_group_does_not_fill_is_refused() -> None:
    with (
        polyrank.reduction_order("nccl_tree", ranks_per_node=4),
        pytest.raises(polyrank.UsageError, match="nodes of 4 ranks, which a group of 6"),
        polyrank.lockstep(6),
    ):
        dist.all_reduce(polyrank.rank_map(lambda rank: torch.ones(3) * rank))
