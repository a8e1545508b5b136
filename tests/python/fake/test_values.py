"""What a rank reads that others would have sent: derived, said by the program, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode


@pytest.fixture
def world() -> Iterator[polyrank.fake.FakeWorld]:
    with polyrank.fake_world(8, 3) as fake_world:
        yield fake_world


def test_objects_are_this_ranks_own(world: Any) -> None:
    gathered: list[Any] = [None] * 8
    dist.all_gather_object(gathered, {"batches": 7})
    assert gathered == [{"batches": 7}] * 8
    broadcast = ["own", 3]
    dist.broadcast_object_list(broadcast, src=0)
    assert broadcast == ["own", 3]
    scattered: list[Any] = [None]
    dist.scatter_object_list(scattered, [f"for {rank}" for rank in range(8)], src=0)
    assert scattered == ["for 3"]
    dist.scatter_object_list(scattered, None, src=0)
    assert scattered == [None]
    dist.send_object_list([{"x": 1}, "y"], dst=4)
    received: list[Any] = [None, None]
    assert dist.recv_object_list(received, src=2) == 2
    assert received == [{"x": 1}, "y"]


def test_a_later_message_of_the_size_of_the_sizes_does_no_harm(world: Any) -> None:
    dist.send_object_list(["a"], dst=4)
    dist.send(torch.tensor([1 << 40]), dst=4)
    received: list[Any] = [None]
    dist.recv_object_list(received, src=2)
    assert received == ["a"]


def test_the_program_can_say_what_comes(world: Any) -> None:
    world.expect(torch.full((2,), 5.0), tag=1)
    buffer = torch.full((2,), 77.0)
    dist.recv(buffer, src=2, tag=1)
    assert buffer.tolist() == [5, 5]
    world.expect_objects([{"shape": (2, 3)}])
    received: list[Any] = [None]
    dist.recv_object_list(received, src=2)
    assert received == [{"shape": (2, 3)}]


def test_what_nobody_knows_is_zeros_or_none(world: Any) -> None:
    buffer = torch.full((2,), 77.0)
    dist.recv(buffer, src=2)
    assert buffer.tolist() == [0, 0]
    dist.scatter(buffer.fill_(77), src=0)
    assert buffer.tolist() == [0, 0]
    received: list[Any] = ["untouched"]
    dist.recv_object_list(received, src=2)
    assert received == [None]


def test_or_refused() -> None:
    with polyrank.fake_world(8, 3, values="refuse"):
        with pytest.raises(polyrank.CollectiveError, match="this rank sent none like it"):
            dist.recv(torch.zeros(2), src=2)
        with pytest.raises(polyrank.CollectiveError, match="what group rank 0 scatters"):
            dist.scatter(torch.zeros(2), src=0)
        with pytest.raises(polyrank.CollectiveError, match="a message of 1 objects"):
            dist.recv_object_list([None], src=2)
        with pytest.raises(polyrank.CollectiveError, match="what group rank 0 scatters"):
            dist.scatter_object_list([None], None, src=0)
        work = dist.irecv(torch.zeros(2), src=2)
        dist.send(torch.ones(2), dst=4)
        assert work is not None
        work.wait()


def test_the_tokens_of_a_mixture_of_experts_fill_their_places(world: Any) -> None:
    counts = torch.tensor([0, 5, 1, 3, 0, 2, 4, 1])
    incoming = torch.empty_like(counts)
    dist.all_to_all_single(incoming, counts)
    assert incoming.tolist() == [3] * 8
    tokens = torch.arange(16.0)
    received = torch.empty(24)
    dist.all_to_all_single(received, tokens, incoming.tolist(), counts.tolist())
    assert received.tolist() == [6, 7, 8] * 8


def test_what_a_real_group_refuses_is_refused(world: Any) -> None:
    one = torch.ones(2)
    with pytest.raises(
        polyrank.CollectiveError, match=r'"world" \(ranks 0-7\), rank 3: all_gather'
    ):
        dist.all_gather_into_tensor(torch.ones(9), one)
    with pytest.raises(polyrank.CollectiveError, match="must have one dtype"):
        dist.all_gather_into_tensor(torch.ones(16, dtype=torch.float64), one)
    with pytest.raises(polyrank.CollectiveError, match="not contiguous"):
        dist.all_reduce(torch.ones(2, 3)[:, ::2])
    with pytest.raises(polyrank.CollectiveError, match="pieces of together"):
        dist.all_to_all_single(torch.ones(8), torch.ones(8), None, [2] * 8)
    with pytest.raises(polyrank.CollectiveError, match="works on the bits"):
        dist.all_reduce(one, dist.ReduceOp.BAND)


def test_errors_of_functional_collectives_are_the_same(world: Any) -> None:
    group = dist.group.WORLD
    assert group is not None
    with pytest.raises(polyrank.CollectiveError, match="works on the bits"):
        torch.ops._c10d_functional.all_reduce(torch.ones(2), "band", group.group_name)


@pytest.mark.parametrize("device", ["cpu", "cuda", "xpu", "meta"])
def test_tensors_without_values(world: Any, device: str) -> None:
    with FakeTensorMode():
        x = torch.ones(16, device=device)
        dist.all_reduce(x)
        whole = x.new_empty(128)
        dist.all_gather_into_tensor(whole, x)
        dist.reduce_scatter_tensor(x, whole)
        dist.all_to_all_single(x, x.clone())
        dist.send(x, dst=2)
        dist.recv(x, src=2)
        group = dist.group.WORLD
        assert group is not None
        gathered = torch.ops._c10d_functional.all_gather_into_tensor(x, 8, group.group_name)
        assert torch.ops._c10d_functional.wait_tensor(gathered).shape == (128,)
        assert x.device.type == device


def test_works_and_futures(world: Any) -> None:
    x = torch.ones(2)
    work = dist.all_reduce(x, async_op=True)
    assert work is not None
    assert work.is_completed()
    assert work.wait()
    assert work.get_future().value()[0] is not None
    assert work.result()[0].tolist() == [8, 8]
    with dist._coalescing_manager(async_ops=True) as coalesced:
        dist.all_reduce(x)
        dist.all_reduce(x)
    coalesced.wait()
    assert x.tolist() == [512, 512]
    with pytest.raises(polyrank.CollectiveError, match="no key"):
        polyrank.fake.FakeStore().get("of another rank")


def test_after_shutdown_a_launch_is_an_error(world: Any) -> None:
    group = dist.new_group([3, 4])
    group.shutdown()
    with pytest.raises(polyrank.CollectiveError, match="after the group was shut down"):
        dist.all_reduce(torch.ones(1), group=group)


@pytest.mark.parametrize(
    ("world_size", "rank", "message"),
    [
        (0, 0, "world_size=0; it must be a whole number from 1 to 1,048,576"),
        (2**40, 0, "world_size=1099511627776; it must be"),
        (4, 4, "rank=4; it must be one of the 4 ranks, 0 to 3"),
        (4, -1, "rank=-1; it must be one of"),
        (4, 0.0, "rank=0.0; it must be one of"),
        (4.0, 0, "world_size=4.0; it must be a whole number"),
    ],
)
def test_a_world_and_its_rank_are_checked(world_size: Any, rank: int, message: str) -> None:
    with (
        pytest.raises(polyrank.UsageError, match=message),
        polyrank.fake_world(world_size, rank=rank),
    ):
        pass
