"""dist2 in the worlds of one process: the same program, whatever backend it names."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import dist2

TIMEOUT = timedelta(seconds=20)


def sum_of_pairs() -> tuple[torch.Tensor, dist.ProcessGroup]:
    """All ranks' sum, then that of pairs of neighbours."""
    group: Any = dist2.new_group("gloo", TIMEOUT, "cpu")
    x = torch.ones(2) * (group.rank() + 1)
    group.allreduce([x]).wait()
    first = group.rank() // 2 * 2
    pair = group.split_group([first, first + 1])
    y = torch.ones(2) * group.rank()
    pair.allreduce([y]).wait()
    return torch.cat([x[:1], y[:1]]), group


EXPECTED = [[10, 1], [10, 1], [10, 5], [10, 5]]


def test_in_lockstep() -> None:
    with polyrank.lockstep(4):
        result, group = sum_of_pairs()
        assert [result.on_rank(rank).tolist() for rank in range(4)] == EXPECTED
        assert group.name() == "custom"
        group.shutdown()
        with pytest.raises(polyrank.CollectiveError, match="used after it was shut down"):
            group.allreduce([torch.ones(2)])


def test_threads() -> None:
    def program() -> list[float]:
        result, group = sum_of_pairs()
        group.shutdown()
        with pytest.raises(polyrank.CollectiveError, match="after the group was shut down"):
            group.allreduce([torch.ones(2)])
        return result.tolist()

    assert polyrank.run_ranks(program, 4) == EXPECTED


def test_ranks_that_are_threads_have_current_groups_of_their_own() -> None:
    def program() -> bool:
        group = dist2.new_group("threads", TIMEOUT, "cpu")
        with dist2.process_group(group):
            group.barrier().wait()  # all are in the block now
            return dist2.current_process_group() is group

    assert polyrank.run_ranks(program, 3) == [True, True, True]


def test_one_rank_alone() -> None:
    with polyrank.fake_world(4, rank=3) as world:
        result, group = sum_of_pairs()
        assert result.tolist() == [16, 6]  # every rank did what rank 3 did
        assert [group.rank() for _ in world.as_ranks([0, 2])] == [0, 2]
        group.shutdown()
        with pytest.raises(polyrank.CollectiveError, match="after the group was shut down"):
            group.allreduce([torch.ones(2)])
    with pytest.raises(ValueError, match="RANK"):
        dist2.new_group("gloo", TIMEOUT, "cpu")


def test_a_trace_has_the_launches_of_groups_as_values() -> None:
    with polyrank.lockstep(4), polyrank.trace() as t:
        sum_of_pairs()
    assert [(launch["kind"], launch["group"]["size"]) for launch in t.launches] == [
        ("all_reduce", 4),
        ("all_reduce", 2),
    ]


def test_merging_groups_of_threads() -> None:
    def program() -> float:
        group: Any = dist2.new_group("threads", TIMEOUT, "cpu")
        part = group.split_group([group.rank()])
        store = dist.PrefixStore("merge", group.get_group_store())
        merged = part.merge_remote_group(store, 3)
        x = torch.ones(1)
        merged.allreduce([x]).wait()
        return x.item()

    assert polyrank.run_ranks(program, 3) == [3, 3, 3]


def test_a_rank_registers_backends_of_its_own() -> None:
    def program() -> int:
        dist2.register_backend(
            "worlds_test.own", lambda store, rank, world_size, *_: dist.ProcessGroup(store, rank, 7)
        )
        return dist2.new_group("worlds_test.own", TIMEOUT, "cpu").size()

    assert polyrank.run_ranks(program, 3) == [7, 7, 7]
    with pytest.raises(ValueError, match="not registered"):
        dist2.new_group("worlds_test.own", TIMEOUT, "cpu")


def test_a_fake_group_in_lockstep_is_refused() -> None:
    with polyrank.lockstep(2), pytest.raises(polyrank.UsageError, match="here ranks run in"):
        dist2.new_group("fake", TIMEOUT, "cpu")
