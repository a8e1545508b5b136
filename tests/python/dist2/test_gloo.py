"""Each collective on real gloo processes, through dist2, beside the worlds of one process."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from collectives.comparison import same_bits
from dist2.processes import results_of, run_processes
from dist2.programs import run_all
from polyrank import dist2

TIMEOUT = timedelta(seconds=60)


def on_gloo() -> dict[str, list[torch.Tensor]]:
    """One rank's results."""
    group = dist2.new_group("gloo", TIMEOUT, "cpu")
    rank = group.rank()
    assert not dist.is_initialized()
    return run_all(group, lambda f: f(rank))


def differences(
    of_rank: dict[str, list[torch.Tensor]], expected: dict[str, list[torch.Tensor]]
) -> list[str]:
    assert of_rank.keys() == expected.keys()
    return [
        f"{name}, tensor {i}: {got} != {of_gloo}"
        for name in expected
        for i, (got, of_gloo) in enumerate(zip(of_rank[name], expected[name], strict=True))
        if not same_bits(got, of_gloo)
    ]


@pytest.mark.parametrize("world_size", [2, 4])
def test_lockstep_and_threads_give_the_bits_of_gloo(world_size: int, tmp_path: Path) -> None:
    ended = run_processes("dist2.test_gloo:on_gloo", world_size, tmp_path)
    assert [process.code for process in ended] == [0] * world_size, ended
    expected = results_of(tmp_path, world_size)

    with polyrank.lockstep(world_size):
        group = dist2.new_group("lockstep", TIMEOUT, "cpu")
        in_lockstep = run_all(group, polyrank.rank_map)

    def as_thread() -> Any:
        own = dist2.new_group("threads", TIMEOUT, "cpu")
        rank = own.rank()
        return run_all(own, lambda f: f(rank))

    of_threads = polyrank.run_ranks(as_thread, world_size)
    for rank in range(world_size):
        own = {name: [t.on_rank(rank) for t in tensors] for name, tensors in in_lockstep.items()}
        assert differences(own, expected[rank]) == []
        assert differences(of_threads[rank], expected[rank]) == []
