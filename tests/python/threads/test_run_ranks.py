"""Each rank a thread: what it has for itself, and what it shares."""

from __future__ import annotations

import time

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import RanksFailedError
from torch.distributed import distributed_c10d


def test_results_come_by_rank_and_ranks_are_plain_ints() -> None:
    def program(factor: int) -> int:
        assert type(dist.get_rank()) is int
        assert dist.get_world_size() == 4
        return dist.get_rank() * factor

    assert polyrank.run_ranks(program, 4, 10) == [0, 10, 20, 30]


def test_ranks_may_branch_on_their_rank() -> None:
    def program() -> list[float]:
        x = torch.full((2,), float(dist.get_rank()))
        if dist.get_rank() == 0:
            dist.send(x + 7, dst=1)
        elif dist.get_rank() == 1:
            dist.recv(x, src=0)
        dist.all_reduce(x)
        return x.tolist()

    assert polyrank.run_ranks(program, 3) == [[9.0, 9.0]] * 3


@pytest.mark.parametrize("backend", ["gloo", "nccl", None])
def test_programs_may_make_the_default_group_with_any_backend(backend: str | None) -> None:
    def program() -> int:
        dist.init_process_group(backend)
        rank = dist.get_rank()
        dist.destroy_process_group()
        assert not dist.is_initialized()
        dist.init_process_group(backend, rank=rank, world_size=2)
        return dist.get_rank()

    assert polyrank.run_ranks(program, 2) == [0, 1]


def test_groups_of_ranks_are_their_own_and_the_process_keeps_its() -> None:
    of_process = distributed_c10d._world

    def program() -> tuple[bool, int]:
        low, high = dist.new_group([0, 1]), dist.new_group([2, 3])
        mine = low if dist.get_rank() < 2 else high
        x = torch.ones(1)
        dist.all_reduce(x, group=mine)
        return dist.get_rank(mine) == dist.get_rank() % 2, int(x.item())

    assert polyrank.run_ranks(program, 4) == [(True, 2)] * 4
    assert distributed_c10d._world is of_process
    assert not dist.is_initialized()


def test_each_rank_draws_its_own_random_numbers() -> None:
    def program() -> torch.Tensor:
        torch.manual_seed(dist.get_rank())
        first = torch.rand(2)
        dist.barrier()  # other ranks draw meanwhile
        return torch.cat([first, torch.rand(2)])

    for rank, drawn in enumerate(polyrank.run_ranks(program, 3)):
        torch.manual_seed(rank)
        assert torch.equal(drawn, torch.cat([torch.rand(2), torch.rand(2)]))


def test_ranks_start_with_the_state_of_the_process() -> None:
    torch.manual_seed(3)
    drawn = polyrank.run_ranks(lambda: torch.rand(2), 2)
    torch.manual_seed(3)
    expected = torch.rand(2)
    assert torch.equal(drawn[0], expected)
    assert torch.equal(drawn[1], expected)


def test_sleeping_ranks_let_others_run_and_are_not_accused() -> None:
    order: list[int] = []

    def program() -> None:
        if dist.get_rank() == 0:
            time.sleep(0.05)
        order.append(dist.get_rank())
        dist.barrier()

    polyrank.run_ranks(program, 2)
    assert order == [1, 0]


def test_asynchronous_work_and_futures() -> None:
    def program() -> float:
        x = torch.ones(1) + dist.get_rank()
        work = dist.all_reduce(x, async_op=True)
        assert work is not None
        while not work.is_completed():
            pass
        assert work.is_success()
        y = torch.ones(1)
        future = dist.all_reduce(y, async_op=True).get_future()
        return float(x.item() + future.value()[0].item())

    assert polyrank.run_ranks(program, 2) == [5.0, 5.0]


def test_batches_of_messages_and_any_source() -> None:
    def program() -> list[float]:
        rank, size = dist.get_rank(), dist.get_world_size()
        received = torch.empty(1)
        works = dist.batch_isend_irecv(
            [
                dist.P2POp(dist.isend, torch.full((1,), float(rank)), (rank + 1) % size),
                dist.P2POp(dist.irecv, received, (rank - 1) % size),
            ]
        )
        for work in works:
            work.wait()
        if rank == 0:
            values = []
            for _ in range(size - 1):
                any_value = torch.empty(1)
                source = dist.recv(any_value)
                assert any_value.item() == source
                values.append(any_value.item())
            return sorted(values)
        dist.send(torch.full((1,), float(rank)), dst=0)
        return [received.item()]

    assert polyrank.run_ranks(program, 3) == [[1.0, 2.0], [0.0], [1.0]]


def test_objects() -> None:
    def program() -> list[object]:
        gathered: list[object] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, {"rank": dist.get_rank(), "x": "y" * dist.get_rank()})
        objects = [("from", dist.get_rank())]
        dist.broadcast_object_list(objects, src=1)
        return [*gathered, *objects]

    expected = [{"rank": 0, "x": ""}, {"rank": 1, "x": "y"}, ("from", 1)]
    assert polyrank.run_ranks(program, 2) == [expected, expected]


def test_a_rank_that_raises_is_named_first() -> None:
    def program() -> None:
        if dist.get_rank() == 2:
            raise FileNotFoundError("data.bin")
        dist.barrier()

    with pytest.raises(
        RanksFailedError, match=r"first rank 2: FileNotFoundError: data\.bin"
    ) as caught:
        polyrank.run_ranks(program, 3)
    first, *others = caught.value.exceptions
    assert isinstance(first, FileNotFoundError)
    assert first.__notes__ == ["raised on rank 2"]
    assert len(others) == 2
    for error in others:
        assert isinstance(error, polyrank.CollectiveError)
        assert "rank 2 failed, so the run ends: FileNotFoundError: data.bin" in str(error)


@pytest.mark.parametrize("world_size", [0, -1, 2**20 + 1, "many", True])
@pytest.mark.parametrize("world", ["threads", "processes"])
def test_there_must_be_ranks(world_size: int, world: str) -> None:
    with pytest.raises(polyrank.UsageError, match="must be a whole number from 1 to 1,048,576"):
        polyrank.run_ranks(lambda: None, world_size, world=world)


def test_there_must_be_such_a_schedule() -> None:
    with pytest.raises(polyrank.UsageError, match="there are 'in_turn' and 'random'"):
        polyrank.run_ranks(lambda: None, 1, schedule="fair")


def test_own_modules_are_a_list() -> None:
    with pytest.raises(polyrank.UsageError, match="must be a list of packages' names"):
        polyrank.run_ranks(dist.get_rank, 2, own_modules="json")


def test_programs_that_ask_for_another_world() -> None:
    with pytest.raises(RanksFailedError, match="asks for a world of 3 ranks, but 2 run"):
        polyrank.run_ranks(lambda: dist.init_process_group("gloo", world_size=3, rank=0), 2)


def test_one_world_at_a_time() -> None:
    with pytest.raises(RanksFailedError, match="ranks run in this process already"):
        polyrank.run_ranks(lambda: polyrank.run_ranks(dist.get_rank, 2), 2)
    with (
        polyrank.lockstep(world_size=2),
        pytest.raises(polyrank.UsageError, match="called in lockstep"),
    ):
        polyrank.run_ranks(dist.get_rank, 2)
    assert polyrank.run_ranks(dist.get_rank, 2) == [0, 1]


def test_a_world_may_be_made_again_after_an_error() -> None:
    def program() -> None:
        if dist.get_rank() == 0:
            raise ValueError("once")
        dist.barrier()

    for _ in range(3):
        with pytest.raises(RanksFailedError):
            polyrank.run_ranks(program, 2)
        assert not dist.is_initialized()


def test_a_group_object_of_another_rank_is_refused() -> None:
    shared: list[dist.ProcessGroup] = []

    def program() -> None:
        shared[:] = [dist.new_group([0, 1])]
        dist.barrier()
        dist.all_reduce(torch.ones(1), group=shared[0])

    with pytest.raises(RanksFailedError) as caught:
        polyrank.run_ranks(program, 2)
    first = caught.value.exceptions[0]
    # torch.distributed fails while it logs the error, since the group is not this rank's.
    assert "rank 0 used rank 1's object of group" in f"{first} {first.__context__}"


def test_an_error_whose_text_raises_ends_its_rank() -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def program() -> None:
        if dist.get_rank() == 1:
            raise UnprintableError
        dist.barrier()

    with pytest.raises(RanksFailedError, match="UnprintableError") as caught:
        polyrank.run_ranks(program, 2)
    assert isinstance(caught.value.exceptions[0], UnprintableError)


def test_remote_calls_are_refused_where_ranks_are_threads_of_one_process() -> None:
    with pytest.raises(RanksFailedError) as failed:
        polyrank.run_ranks(
            lambda: torch.distributed.rpc.init_rpc("worker", rank=0, world_size=2), 2
        )
    assert failed.group_contains(polyrank.UnsupportedOpError, match="--world processes")
