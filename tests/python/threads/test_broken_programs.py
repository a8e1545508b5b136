"""Programs that hang or disagree: each is found at once, and its error says who did what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.any_world.failed_ranks import RanksFailedError
from torch import nn
from torch._C import _distributed_c10d as _c10d
from torch.distributed.algorithms.join import Join

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from broken_programs import PROGRAMS  # noqa: E402


def a_group_that_the_rank_is_not_in() -> None:
    group = dist.new_group([0, 1, 2])
    if dist.get_rank() == 3:
        member = polyrank.rank_threads.rank_globals.rank_globals()
        assert member is not None
        polyrank._C.ThreadsBackend(member.rank_thread, "1:other", [0, 1, 2])
    else:
        dist.barrier(group=group)


WORLDS = ["threads", "processes"]

MISMATCH, DEADLOCK = polyrank.CollectiveMismatchError, polyrank.DeadlockError

# By program: the first error, and what it must say.
SAYS: dict[str, tuple[type[Exception], list[str]]] = {
    "another_collective": (
        MISMATCH,
        ["ranks 0-2: all_reduce(sum) float32[4]", "rank 3: broadcast(root 0) float32[4]"],
    ),
    "another_numel": (MISMATCH, ["rank 3: all_reduce(sum) float32[5]"]),
    "another_shape": (MISMATCH, ["rank 3: all_reduce(sum) float32[2, 2]"]),
    "another_dtype": (MISMATCH, ["rank 3: all_reduce(sum) float64[4]"]),
    "another_reduce_op": (MISMATCH, ["rank 3: all_reduce(max)"]),
    "another_root": (MISMATCH, ["rank 3: broadcast(root 1)"]),
    "gradients_in_another_order": (
        MISMATCH,
        ["ranks 0-2: all_reduce(sum) float32[4]", "rank 3: all_reduce(sum) float32[6]"],
    ),
    "pieces_of_another_size": (MISMATCH, ["rank 3 sends 2 elements to rank 0, which expects 1."]),
    "an_object_list_of_another_length": (MISMATCH, ["rank 3: broadcast(root 0) int64[1]"]),
    "a_call_left_out": (MISMATCH, ["rank 3: barrier"]),
    "a_metric_on_rank_0_only": (
        DEADLOCK,
        ["rank 0 waits in all_gather float32[1]", "ranks 1-3 have returned"],
    ),
    "fewer_batches": (
        DEADLOCK,
        ["rank 3 has returned", "Rank 0 waits for rank 3, which has returned."],
    ),
    "fewer_batches_with_ddp": (DEADLOCK, ["ranks 0-2 wait in", "rank 3 has returned"]),
    "early_stopping_by_the_own_loss": (DEADLOCK, ["launch #2", "rank 3 has returned"]),
    "a_checkpoint_that_some_ranks_see": (
        MISMATCH,
        ["ranks 0-2: broadcast(root 0) int64[1]", "rank 3: barrier"],
    ),
    "a_barrier_in_finally": (
        MISMATCH,
        ["ranks 0-2: all_reduce(sum) float32[4]", "rank 3: barrier"],
    ),
    "a_rank_that_raises": (ValueError, ["bad sample"]),
    "one_rank_validates_while_others_train": (MISMATCH, ["rank 3: all_reduce(sum) float32[1]"]),
    "a_layer_that_one_rank_skips": (DEADLOCK, ["launch #2", "rank 3 has returned"]),
    "full_tensor_on_rank_0_only": (
        MISMATCH,
        ["rank 0: all_gather float32[2, 2]", "ranks 1-3: barrier"],
    ),
    "groups_in_another_order": (
        DEADLOCK,
        ["ranks 0-2 wait in all_reduce(sum) float32[4]", "Cycle: rank 0 -> rank 3 -> rank 0."],
    ),
    "a_group_made_by_its_members_only": (
        MISMATCH,
        ["All ranks must make the same groups in the same order."],
    ),
    "each_pair_makes_its_own_group": (
        MISMATCH,
        ["is made with ranks 0,3 by some and with ranks 1-2 by others"],
    ),
    "a_group_of_others": (DEADLOCK, ["rank 3 waits in all_reduce", "ranks 0-2 have returned"]),
    "a_collective_amid_messages": (
        DEADLOCK,
        ["rank 3 waits in recv float32[1]", "Cycle: rank 0 -> rank 3 -> rank 0."],
    ),
    "everyone_receives_first": (
        DEADLOCK,
        ["Cycle: rank 0 -> rank 3 -> rank 2 -> rank 1 -> rank 0."],
    ),
    "stages_that_wait_for_a_skip_connection": (DEADLOCK, ["Cycle: rank 1 -> rank 2 -> rank 1."]),
    "a_message_of_another_size": (
        MISMATCH,
        ["rank 0: send float32[5]", "rank 3: recv float32[4]"],
    ),
    "a_message_of_another_dtype": (MISMATCH, ["rank 0: send int32[4]", "rank 3: recv float32[4]"]),
    "another_tag": (
        DEADLOCK,
        ["rank 3 waits in recv float32[1] (tag 2", "rank 0, which has returned"],
    ),
    "a_message_from_nobody": (DEADLOCK, ["Nobody sends what rank 3 waits to receive"]),
    "a_key_that_nobody_sets": (DEADLOCK, ["address of the parameter server"]),
    "a_group_that_the_rank_is_not_in": (polyrank.UsageError, ["rank 3 is not in group"]),
}

BROKEN = {name: program for name, (program, _) in PROGRAMS.items()}
BROKEN["a_group_that_the_rank_is_not_in"] = a_group_that_the_rank_is_not_in


@pytest.mark.filterwarnings("ignore:Running all_reduce on global rank 3")
@pytest.mark.parametrize(
    ("name", "world"),
    [*((name, "threads") for name in BROKEN), *((name, "processes") for name in PROGRAMS)],
)
def test_is_found_and_named(name: str, world: str) -> None:
    error_type, phrases = SAYS[name]
    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(BROKEN[name], 4, world=world)
    first = caught.value.exceptions[0]
    assert isinstance(first, error_type)
    for phrase in phrases:
        assert phrase in str(first)


@pytest.mark.filterwarnings("ignore:Running all_reduce on global rank 3")
@pytest.mark.parametrize("name", BROKEN)
def test_says_the_same_on_every_run(name: str) -> None:
    def messages(seed: int) -> list[str]:
        with pytest.raises(RanksFailedError) as caught:
            polyrank.run_ranks(BROKEN[name], 4, schedule="random", seed=seed)
        return [str(error) for error in caught.value.exceptions]

    assert messages(1) == messages(1)


@pytest.mark.parametrize("world", WORLDS)
def test_says_where_in_the_program(world: str) -> None:
    with pytest.raises(RanksFailedError, match=r"broken_programs\.py:\d+"):
        polyrank.run_ranks(BROKEN["another_numel"], 4, world=world)


@pytest.mark.parametrize("world", WORLDS)
def test_what_nobody_answered_is_reported_at_the_end(world: str) -> None:
    def program() -> None:
        if dist.get_rank() == 0:
            dist.send(torch.ones(2), dst=1, tag=7)
            dist.all_reduce(torch.ones(1), async_op=True)

    with pytest.warns(UserWarning) as caught:
        polyrank.run_ranks(program, 2, world=world)
    text = str(caught[0].message)
    assert 'rank 0: send float32[2] (tag 7 in group "world") was never received' in text
    assert "rank 0: all_reduce(sum) float32[1]" in text
    assert "was never joined by all members" in text
    assert '(launch #0 of group "world") was never waited for' in text


@pytest.mark.parametrize("world", WORLDS)
def test_works_that_nobody_waits_for_and_tensors_written_in_flight_are_reported(world: str) -> None:
    def program() -> None:
        kept = dist.all_reduce(torch.ones(2), async_op=True)
        x = torch.ones(3)
        works: Any = [dist.all_reduce(x, async_op=True)]
        x.add_(1)
        batch = [dist.P2POp(dist.isend, torch.ones(1), (dist.get_rank() + 1) % 3)]
        batch += [dist.P2POp(dist.irecv, torch.ones(1), (dist.get_rank() - 1) % 3)]
        works += dist.batch_isend_irecv(batch)
        while not works[-1].is_completed():
            pass
        for work in works:
            work.wait()
        assert kept is not None

    with pytest.warns(UserWarning) as caught:
        polyrank.run_ranks(program, 3, world=world)
    lines = str(caught[0].message).splitlines()
    assert len(lines) == 4
    assert 'ranks 0-2: all_reduce(sum) float32[2] (launch #0 of group "world")' in lines[1]
    assert "was never waited for  " + __file__ in lines[1]
    assert "float32[3]" in lines[2] and "its tensor was written before the wait" in lines[2]


@pytest.mark.parametrize("world", WORLDS)
def test_what_torch_launches_for_itself_is_not_the_programs_to_wait_for(world: str) -> None:
    """DistributedDataParallel's launches in Join, of which a program has no Works."""

    def program() -> None:
        model = nn.parallel.DistributedDataParallel(nn.Linear(2, 1))
        with Join([model]):
            for _ in range(1 + dist.get_rank()):
                model(torch.ones(1, 2)).sum().backward()
        if dist.get_rank() == 0:
            dist.all_reduce(torch.ones(2), async_op=True)
        else:
            dist.group.WORLD.allreduce([torch.ones(2)])

    with pytest.warns(UserWarning) as caught:
        polyrank.run_ranks(program, 2, world=world)
    (text,) = (str(one.message) for one in caught if "not complete" in str(one.message))
    lines = [line for line in text.splitlines() if "float32" in line]
    assert len(lines) == 2
    for rank, line in enumerate(lines):
        assert line.startswith(f"  rank {rank}: all_reduce(sum) float32[2]")
        assert "was never waited for  " + __file__ in line


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    ("kind", "num_tensors"),
    [("scatter", 0), ("scatter", 2), ("gather", 0), ("gather", 4), ("all_to_all", 2)],
)
def test_lists_of_another_length_than_the_group(kind: str, num_tensors: int, world: str) -> None:
    def program() -> None:
        group = dist.group.WORLD
        x, many = torch.ones(1), [torch.ones(1) for _ in range(num_tensors)]
        assert group is not None
        if kind == "scatter":
            lists = [] if dist.get_rank() else [many]
            group.scatter([x], lists, _c10d.ScatterOptions()).wait()
        elif kind == "gather":
            lists = [] if dist.get_rank() else [many]
            group.gather(lists, [x], _c10d.GatherOptions()).wait()
        else:
            group.alltoall(many, many, dist.AllToAllOptions()).wait()

    with pytest.raises(polyrank.CollectiveError, match=f"a list of {num_tensors} .* 3 ranks"):
        try:
            polyrank.run_ranks(program, 3, world=world)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
