"""Lockstep programs side by side, with messages between them."""

import threading
from collections.abc import Iterator

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import LocalIntNode, LocalRunnerMode, LocalTensorMode
from torch import nn
from torch.distributed._local_tensor import _c10d
from torch.testing._internal.distributed.fake_pg import FakeStore

WORLD_SIZE = 6
STAGES = 3
PER_STAGE = WORLD_SIZE // STAGES


@pytest.fixture(autouse=True)
def _groups() -> Iterator[None]:
    dist.init_process_group("fake", rank=0, world_size=WORLD_SIZE, store=FakeStore())
    yield
    dist.destroy_process_group()


def ranks_of(stage: int) -> frozenset[int]:
    return frozenset(range(PER_STAGE * stage, PER_STAGE * (stage + 1)))


def test_messages_go_from_stage_to_stage() -> None:
    received = {}

    def stage(index: int) -> None:
        with LocalTensorMode(ranks_of(index)):
            rank = dist.get_rank()
            value = torch.full((2,), rank)
            if index > 0:
                before = torch.zeros(2, dtype=torch.int64)
                dist.recv(before, rank - PER_STAGE)
                value = value + 10 * before
            if index < STAGES - 1:
                dist.send(value, rank + PER_STAGE)
            received.update({r: value.on_rank(r).tolist() for r in ranks_of(index)})

    with LocalRunnerMode(WORLD_SIZE, STAGES, stage):
        pass
    assert received == {0: [0] * 2, 1: [1] * 2, 2: [2] * 2, 3: [13] * 2, 4: [24] * 2, 5: [135] * 2}


def test_a_pipeline_with_gradients_equals_the_whole_model() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 4, dtype=torch.float64) for _ in range(STAGES)]
    batches = [torch.randn(3, 4, dtype=torch.float64) for _ in range(PER_STAGE)]
    whole = nn.Sequential(*layers)
    torch.stack([whole(batch).square().mean() for batch in batches]).mean().backward()
    expected = [layer.weight.grad for layer in layers]
    gradients: dict[int, torch.Tensor] = {}

    def stage(index: int) -> None:
        layer = nn.Linear(4, 4, dtype=torch.float64)
        layer.load_state_dict(layers[index].state_dict())
        ranks = ranks_of(index)
        data_parallel = [list(ranks_of(other)) for other in range(STAGES)]
        with LocalTensorMode(ranks) as mode:
            group, _ = dist.new_subgroups_by_enumeration(data_parallel)
            rank = dist.get_rank()
            with torch.no_grad():
                for name, parameter in list(layer.named_parameters()):
                    own = nn.Parameter(mode.rank_map(lambda _, p=parameter: p.detach().clone()))
                    setattr(layer, name, own)
            x = mode.rank_map(lambda r: batches[r % PER_STAGE].clone())
            if index > 0:
                dist.recv(x, rank - PER_STAGE)
            x.requires_grad_()
            y = layer(x)
            if index < STAGES - 1:
                dist.send(y.detach(), rank + PER_STAGE)
                upstream = torch.empty_like(y)
                dist.recv(upstream, rank + PER_STAGE)
                y.backward(upstream)
            else:
                y.square().mean().backward()
            if index > 0:
                dist.send(x.grad, rank - PER_STAGE)
            dist.all_reduce(layer.weight.grad, op=dist.ReduceOp.AVG, group=group)
            gradients[index] = layer.weight.grad.reconcile()

    with LocalRunnerMode(WORLD_SIZE, STAGES, stage):
        pass
    for index in range(STAGES):
        torch.testing.assert_close(gradients[index], expected[index])


def test_a_receive_may_be_launched_before_it_is_waited_for() -> None:
    seen = []

    def stage(index: int) -> None:
        with LocalTensorMode(ranks_of(index)):
            rank = dist.get_rank()
            if index == 0:
                out = torch.zeros(1, dtype=torch.int64)
                works = [dist.irecv(out, rank + PER_STAGE, tag=7)]
                other = torch.zeros(1, dtype=torch.int64)
                works.append(dist.irecv(other, rank + PER_STAGE, tag=8))
                for work in works:
                    work.wait()
                seen.append((out.on_rank(1).item(), other.on_rank(1).item()))
            elif index == 1:
                dist.send(torch.full((1,), rank), rank - PER_STAGE, tag=8)
                dist.send(torch.full((1,), 10 * rank), rank - PER_STAGE, tag=7)

    with LocalRunnerMode(WORLD_SIZE, STAGES, stage):
        pass
    assert seen == [(30, 3)]


def test_pytorch_way_of_naming_the_ranks_that_take_part() -> None:
    # The mode is over all ranks, and a node says who sends to whom.
    results = {}

    def stage(index: int) -> None:
        with LocalTensorMode(WORLD_SIZE):
            value = torch.full((1,), index + 1)
            out = torch.zeros(1, dtype=torch.int64)
            own, next_ones = sorted(ranks_of(index)), sorted(ranks_of(index + 1))
            if index < STAGES - 1:
                peers = torch.SymInt(LocalIntNode(dict(zip(own, next_ones, strict=True))))
                _c10d.local_p2p_op(peers, value, dist.isend)
            if index > 0:
                before = sorted(ranks_of(index - 1))
                peers = torch.SymInt(LocalIntNode(dict(zip(own, before, strict=True))))
                _c10d.wait_all(_c10d.local_p2p_op(peers, out, dist.irecv))
            results[index] = [out.on_rank(rank).item() for rank in range(WORLD_SIZE)]

    polyrank.install()
    try:
        with LocalRunnerMode(WORLD_SIZE, STAGES, stage):
            pass
    finally:
        polyrank.uninstall()
    assert results == {0: [0] * 6, 1: [0, 0, 1, 1, 0, 0], 2: [0, 0, 0, 0, 2, 2]}


def test_each_thread_has_modes_and_streams_of_its_own() -> None:
    drawn = {}

    def stage(index: int) -> None:
        assert polyrank.local_tensor_mode() is None
        with LocalTensorMode(ranks_of(index)):
            torch.manual_seed(index)
            first = torch.rand(1)
            if index == 0:
                dist.recv(torch.zeros(1, dtype=torch.int64), dist.get_rank() + PER_STAGE)
            elif index == 1:
                dist.send(torch.zeros(1, dtype=torch.int64), dist.get_rank() - PER_STAGE)
            drawn[index] = [*first.reconcile().tolist(), *torch.rand(1).reconcile().tolist()]

    with LocalRunnerMode(WORLD_SIZE, STAGES, stage):
        pass
    for index in range(STAGES):
        torch.manual_seed(index)
        assert drawn[index] == [*torch.rand(1).tolist(), *torch.rand(1).tolist()]
    assert dist.get_rank() == 0  # PyTorch's own answer is back


def test_a_deadlock_is_found() -> None:
    def stage(index: int) -> None:
        with LocalTensorMode(ranks_of(index)):
            if index < STAGES - 1:
                dist.recv(torch.zeros(1), dist.get_rank() + PER_STAGE)

    with (
        pytest.raises(polyrank.DeadlockError) as error,
        LocalRunnerMode(WORLD_SIZE, STAGES, stage),
    ):
        pass
    text = str(error.value)
    assert "no runner can proceed" in text
    assert "runner 0 waits for the message of rank 2 to rank 0 (tag 0" in text
    assert "test_local_runner_mode.py:" in text
    assert "runner 2 has returned" in text


def test_the_first_failure_ends_the_run() -> None:
    def stage(index: int) -> None:
        with LocalTensorMode(ranks_of(index)):
            if index == 2:
                raise KeyError("the cause")
            dist.recv(torch.zeros(1), dist.get_rank() + PER_STAGE)

    with pytest.raises(KeyError, match="the cause"), LocalRunnerMode(WORLD_SIZE, STAGES, stage):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("runner")]


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def test_a_failure_whose_text_cannot_be_had_ends_the_run() -> None:
    def stage(index: int) -> None:
        with LocalTensorMode(ranks_of(index)):
            if index == 2:
                raise _Unprintable
            dist.recv(torch.zeros(1), dist.get_rank() + PER_STAGE)

    with pytest.raises(_Unprintable), LocalRunnerMode(WORLD_SIZE, STAGES, stage):
        pass


def test_objects_go_between_threads() -> None:
    got = []

    def run(index: int) -> None:
        runner = LocalRunnerMode.current()
        runner._assert_holds_run_lock()
        if index == 0:
            runner._wait_recv(1, 0, got.append)
            runner._wait_recv(-1, 0, got.append)
        else:
            runner._signal_send(index, 0, f"from {index}")

    with LocalRunnerMode(3, 3, run):
        pass
    assert got == ["from 1", "from 2"]


def test_misuse() -> None:
    with pytest.raises(polyrank.UsageError, match="not enabled"):
        LocalRunnerMode.current()
    with pytest.raises(polyrank.UsageError, match="must be a whole number from 1"):
        LocalRunnerMode(0, 1, print)
    with pytest.raises(polyrank.UsageError, match="concurrency=0"):
        LocalRunnerMode(2, 0, print)
    with (
        LocalRunnerMode(2, 1, lambda _: None),
        pytest.raises(polyrank.UsageError, match="already running"),
        LocalRunnerMode(2, 1, lambda _: None),
    ):
        pass
