"""Sends and receives where all ranks run one line."""

from __future__ import annotations

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C
from torch.distributed.device_mesh import init_device_mesh

pytestmark = pytest.mark.usefixtures("world4")


def own_rank() -> torch.Tensor:
    return polyrank.rank_map(lambda rank: torch.tensor([float(rank)]))


def by_rank(tensor: torch.Tensor) -> list[float]:
    return [tensor.on_rank(rank).item() for rank in range(4)]


def test_ring() -> None:
    out, rank = torch.zeros(1), dist.get_rank()
    dist.send(own_rank(), (rank + 1) % 4)
    source = dist.recv(out, (rank - 1) % 4)
    assert by_rank(out) == [3, 0, 1, 2]
    assert source.node._local_ints == {0: 3, 1: 0, 2: 1, 3: 2}


def test_exchange_with_a_neighbour_of_each_group_of_a_mesh() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    group, out = mesh.get_group("tp"), torch.zeros(1)
    peer = dist.get_global_rank(group, 1 - dist.get_rank(group))
    dist.send(own_rank(), peer, group=group)
    dist.recv(out, peer, group=group)
    assert by_rank(out) == [1, 0, 3, 2]


def test_receives_before_sends_in_a_batch() -> None:
    out, rank = torch.zeros(1), dist.get_rank()
    works = dist.batch_isend_irecv(
        [
            dist.P2POp(dist.irecv, out, (rank + 1) % 4),
            dist.P2POp(dist.isend, own_rank(), (rank - 1) % 4),
        ]
    )
    assert len(works) == 2  # as of gloo, a Work for each
    assert all(work.wait() for work in works)
    assert by_rank(out) == [1, 2, 3, 0]


def test_a_receive_that_no_send_can_meet() -> None:
    with pytest.raises(polyrank.DeadlockError, match=r"rank 0 waits in recv\(src=3, tag=0\)"):
        dist.recv(torch.zeros(1), (dist.get_rank() - 1) % 4)


def test_a_rank_that_would_send_to_itself() -> None:
    with pytest.raises(polyrank.UnsupportedOpError, match=r"rank 2 sends to itself.*threads world"):
        dist.isend(torch.ones(1), 2)


def test_tensors_on_the_ranks_that_act() -> None:
    mode = polyrank.local_tensor_mode()
    assert mode is not None
    with mode.disable():
        sent = polyrank.LocalTensor({0: torch.tensor([7.0])})
        out = polyrank.LocalTensor({1: torch.tensor([0.0])})
    dist.isend(sent, 1)
    dist.irecv(out, 0).wait()
    assert out.on_rank(1).item() == 7


def test_functional_operators() -> None:
    mode = polyrank.local_tensor_mode()
    assert mode is not None
    with mode.disable():
        sent = polyrank.LocalTensor({0: torch.tensor([7.0])})
        out = polyrank.LocalTensor({1: torch.tensor([0.0])})
    functional, world = torch.ops._c10d_functional, dist.group.WORLD.group_name
    functional.isend(sent, 1, 0, world)
    functional.wait_tensor(functional.irecv(out, 0, 0, world))
    assert out.on_rank(1).item() == 7
    functional.batch_p2p_ops(["irecv", "isend"], [0, 1], [0, 0], [out, sent * 2], world)
    assert out.on_rank(1).item() == 14
    with pytest.raises(polyrank.DeadlockError, match="rank 1 waits"):
        functional.irecv(out, 0, 0, world)


def test_launches_are_counted() -> None:
    dist.send(own_rank(), (dist.get_rank() + 1) % 4)
    assert [(row["kind"], row["bytes"], row["rank_launches"]) for row in _C.report()] == [
        ("send", 4, 4)
    ]


def test_messages_of_one_run_do_not_reach_the_next() -> None:
    dist.send(own_rank(), (dist.get_rank() + 1) % 4)
    _C.clear_process_groups()
    with pytest.raises(polyrank.DeadlockError):
        dist.recv(torch.zeros(1), (dist.get_rank() - 1) % 4)
