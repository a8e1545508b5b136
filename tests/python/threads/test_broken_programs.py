"""Programs that hang or disagree: each is found at once, and its error says who did what."""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.rank_threads import RanksFailedError

ODD = 3  # the rank that does something else, of 4


def is_odd() -> bool:
    return dist.get_rank() == ODD


def another_collective() -> None:
    x = torch.ones(4)
    if is_odd():
        dist.broadcast(x, src=0)
    else:
        dist.all_reduce(x)


def another_numel() -> None:
    dist.all_reduce(torch.ones(5 if is_odd() else 4))


def another_shape() -> None:
    dist.all_reduce(torch.ones(2, 2) if is_odd() else torch.ones(4))


def another_dtype() -> None:
    dist.all_reduce(torch.ones(4, dtype=torch.float64 if is_odd() else torch.float32))


def another_reduce_op() -> None:
    dist.all_reduce(torch.ones(4), op=dist.ReduceOp.MAX if is_odd() else dist.ReduceOp.SUM)


def another_root() -> None:
    dist.broadcast(torch.ones(4), src=1 if is_odd() else 0)


def a_call_left_out() -> None:
    if not is_odd():
        dist.all_reduce(torch.ones(4))
    dist.barrier()


def groups_in_another_order() -> None:
    groups = [dist.new_group([0, 1, 2, 3]) for _ in range(2)]
    for group in reversed(groups) if is_odd() else groups:
        dist.all_reduce(torch.ones(4), group=group)


def everyone_receives_first() -> None:
    rank, size = dist.get_rank(), dist.get_world_size()
    dist.recv(torch.empty(1), src=(rank - 1) % size)
    dist.send(torch.ones(1), dst=(rank + 1) % size)


def a_message_of_another_size() -> None:
    if dist.get_rank() == 0:
        dist.send(torch.ones(5), dst=ODD)
    elif is_odd():
        dist.recv(torch.empty(4), src=0)


def pieces_of_another_size() -> None:
    sizes = [2, 1, 1, 1] if is_odd() else [1, 1, 1, 1]
    x = torch.ones(sum(sizes))
    dist.all_to_all_single(torch.empty(4), x, [1, 1, 1, 1], sizes)


def a_rank_that_returns_early() -> None:
    for _ in range(2 if is_odd() else 3):
        dist.all_reduce(torch.ones(4))


def a_group_that_the_rank_is_not_in() -> None:
    group = dist.new_group([0, 1, 2])
    if is_odd():
        member = polyrank.rank_threads.torch_globals.rank_globals()
        assert member is not None
        polyrank._C.ThreadsBackend(member.rank_thread, "1:other", [0, 1, 2])
    else:
        dist.barrier(group=group)


# The program, the error, and what it must say.
BROKEN: dict[Callable[[], None], tuple[type[Exception], list[str]]] = {
    another_collective: (
        polyrank.CollectiveMismatchError,
        ["ranks 0-2: all_reduce(sum) float32[4]", "rank 3: broadcast(root 0) float32[4]"],
    ),
    another_numel: (polyrank.CollectiveMismatchError, ["rank 3: all_reduce(sum) float32[5]"]),
    another_shape: (polyrank.CollectiveMismatchError, ["rank 3: all_reduce(sum) float32[2, 2]"]),
    another_dtype: (polyrank.CollectiveMismatchError, ["rank 3: all_reduce(sum) float64[4]"]),
    another_reduce_op: (polyrank.CollectiveMismatchError, ["rank 3: all_reduce(max)"]),
    another_root: (polyrank.CollectiveMismatchError, ["rank 3: broadcast(root 1)"]),
    a_call_left_out: (polyrank.CollectiveMismatchError, ["rank 3: barrier"]),
    groups_in_another_order: (
        polyrank.DeadlockError,
        ["ranks 0-2 wait in all_reduce(sum) float32[4]", "Cycle: rank 0 -> rank 3 -> rank 0."],
    ),
    everyone_receives_first: (
        polyrank.DeadlockError,
        ["Cycle: rank 0 -> rank 3 -> rank 2 -> rank 1 -> rank 0."],
    ),
    a_message_of_another_size: (
        polyrank.CollectiveMismatchError,
        ["rank 0: send float32[5]", "rank 3: recv float32[4]"],
    ),
    pieces_of_another_size: (
        polyrank.CollectiveMismatchError,
        ["rank 3 sends 2 elements to rank 0, which expects 1."],
    ),
    a_rank_that_returns_early: (
        polyrank.DeadlockError,
        ["rank 3 has returned", "Rank 0 waits for rank 3, which has returned."],
    ),
    a_group_that_the_rank_is_not_in: (polyrank.UsageError, ["rank 3 is not in group"]),
}


@pytest.mark.parametrize("program", BROKEN, ids=lambda program: program.__name__)
def test_is_found_and_named(program: Callable[[], None]) -> None:
    error_type, phrases = BROKEN[program]
    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(program, 4)
    first = caught.value.exceptions[0]
    assert isinstance(first, error_type)
    for phrase in phrases:
        assert phrase in str(first)


@pytest.mark.parametrize("program", BROKEN, ids=lambda program: program.__name__)
def test_says_the_same_on_every_run(program: Callable[[], None]) -> None:
    def messages(seed: int) -> list[str]:
        with pytest.raises(RanksFailedError) as caught:
            polyrank.run_ranks(program, 4, schedule="random", seed=seed)
        return [str(error) for error in caught.value.exceptions]

    assert messages(1) == messages(1)


def test_says_where_in_the_program() -> None:
    with pytest.raises(RanksFailedError, match=r"test_broken_programs\.py:\d+"):
        polyrank.run_ranks(another_numel, 4)


def test_what_nobody_answered_is_reported_at_the_end() -> None:
    def program() -> None:
        if dist.get_rank() == 0:
            dist.send(torch.ones(2), dst=1, tag=7)
            dist.all_reduce(torch.ones(1), async_op=True)

    with pytest.warns(UserWarning) as caught:
        polyrank.run_ranks(program, 2)
    text = str(caught[0].message)
    assert 'rank 0: send float32[2] (tag 7 in group "world") was never received' in text
    assert "rank 0: all_reduce(sum) float32[1]" in text
    assert "was never joined by all members" in text
