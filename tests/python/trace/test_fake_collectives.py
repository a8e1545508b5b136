"""`polyrank.fake_collectives` against PyTorch's module of that name, over drawn arguments."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from polyrank import fake_collectives as ours
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributed._tools import fake_collectives as theirs
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

WORLD_SIZE = 4
Call = tuple[Any, Any, tuple[Any, ...], dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def group() -> Iterator[None]:
    dist.init_process_group("fake", rank=1, world_size=WORLD_SIZE, store=FakeStore())
    yield
    dist.destroy_process_group()


class Seen(TorchDispatchMode):
    """Collects the collectives that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in ours.collective_ops:
            self.calls.append((func, result, args, kwargs or {}))
        return result


@st.composite
def tensors(draw: st.DrawFn, size: int | None = None) -> torch.Tensor:
    """One dimension, sometimes a view of a larger storage."""
    size = draw(st.integers(0, 5)) * WORLD_SIZE if size is None else size
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]))
    before = draw(st.integers(0, 3))
    return torch.zeros(before + size + draw(st.integers(0, 3)), dtype=dtype)[before : before + size]


@st.composite
def lists(draw: st.DrawFn) -> list[torch.Tensor]:
    base = draw(tensors())
    return [base if draw(st.booleans()) else torch.zeros_like(base) for _ in range(WORLD_SIZE)]


def name() -> str:
    return dist.group.WORLD.group_name  # type: ignore[union-attr,no-any-return]


def _scatter(x: torch.Tensor, outs: list[torch.Tensor]) -> None:
    dist.scatter(x, outs, src=1)


def _receive_from_any(x: torch.Tensor) -> None:
    with contextlib.suppress(RuntimeError):  # of the fake group's Work, which knows no source
        dist.recv(x)


F: Any = torch.ops._c10d_functional
A: Any = torch.ops._c10d_functional_autograd
# One program for each operator that PyTorch's module knows the size of; `x` is a tensor, `list_` one
# of WORLD_SIZE tensors.
PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "broadcast_": lambda x, list_: dist.broadcast(x, 1),
    "allreduce_": lambda x, list_: dist.all_reduce(x),
    "reduce_": lambda x, list_: dist.reduce(x, 1),
    "send": lambda x, list_: dist.send(x, 0),
    "recv_": lambda x, list_: dist.recv(x, 0),
    "recv_any_source_": lambda x, list_: _receive_from_any(x),
    "allgather_": lambda x, list_: dist.all_gather(list_, torch.zeros_like(list_[0])),
    "reduce_scatter_": lambda x, list_: dist.reduce_scatter(torch.zeros_like(list_[0]), list_),
    "_reduce_scatter_base_": lambda x, list_: dist.reduce_scatter_tensor(
        x.new_zeros(x.numel() // WORLD_SIZE), x
    ),
    "_allgather_base_": lambda x, list_: dist.all_gather_into_tensor(
        x.new_zeros(x.numel() * WORLD_SIZE), x
    ),
    "gather_": lambda x, list_: dist.gather(torch.zeros_like(list_[0]), list_, dst=1),
    "scatter_": lambda x, list_: _scatter(torch.zeros_like(list_[0]), list_),
    "alltoall_": lambda x, list_: dist.all_to_all([torch.zeros_like(t) for t in list_], list_),
    "alltoall_base_": lambda x, list_: dist.all_to_all_single(torch.zeros_like(x), x),
    "broadcast": lambda x, list_: F.broadcast(x, 1, name()),
    "all_reduce": lambda x, list_: F.all_reduce(x, "sum", name()),
    "all_reduce_": lambda x, list_: F.all_reduce_(x, "sum", name()),
    "all_reduce_coalesced": lambda x, list_: F.all_reduce_coalesced(list_, "sum", name()),
    "all_reduce_coalesced_": lambda x, list_: F.all_reduce_coalesced_(list_, "sum", name()),
    "all_gather_into_tensor": lambda x, list_: F.all_gather_into_tensor(x, WORLD_SIZE, name()),
    "all_gather_into_tensor_coalesced": lambda x, list_: F.all_gather_into_tensor_coalesced(
        list_, WORLD_SIZE, name()
    ),
    "reduce_scatter_tensor": lambda x, list_: F.reduce_scatter_tensor(x, "sum", WORLD_SIZE, name()),
    "reduce_scatter_tensor_coalesced": lambda x, list_: F.reduce_scatter_tensor_coalesced(
        list_, "sum", WORLD_SIZE, name()
    ),
    "all_to_all_single": lambda x, list_: F.all_to_all_single(
        x, [x.numel() // WORLD_SIZE] * WORLD_SIZE, [x.numel() // WORLD_SIZE] * WORLD_SIZE, name()
    ),
    "broadcast_functional_": lambda x, list_: F.broadcast_(x, 1, name()),
    "batch_p2p_ops": lambda x, list_: F.batch_p2p_ops(
        ["isend", "irecv"], [0, 0], [0, 0], list_[:2], name()
    ),
    "shard_dim_alltoall": lambda x, list_: torch.ops._dtensor.shard_dim_alltoall(
        x.repeat(WORLD_SIZE).reshape(WORLD_SIZE, -1), 0, 1, name()
    ),
}
# Autograd's operators decompose below the mode: their answers are asked for directly.
AUTOGRAD: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "all_gather_into_tensor": lambda x: (x, WORLD_SIZE, name()),
    "reduce_scatter_tensor": lambda x: (x, "sum", WORLD_SIZE, name()),
    "all_to_all_single": lambda x: (
        x,
        [x.numel() // WORLD_SIZE] * WORLD_SIZE,
        [x.numel() // WORLD_SIZE] * WORLD_SIZE,
        name(),
    ),
}


def calls_of(program: Callable[[Any, Any], Any], x: Any, list_: Any) -> list[Call]:
    with Seen() as seen:
        program(x, list_)
    return [call for call in seen.calls if call[0] not in ours.sync_ops]


def check_agreement(call: Call) -> None:
    func, result, args, kwargs = call
    if func in theirs.collective_ops:
        assert ours.CollectiveOp.get_process_group(
            func, args, kwargs
        ) is theirs.CollectiveOp.get_process_group(func, args)
        assert ours.CollectiveOp.get_comm_tensor_size(
            func, result, args, kwargs
        ) == theirs.CollectiveOp.get_comm_tensor_size(func, result, args, kwargs)
    assert ours.CollectiveOp.payload_bytes(func, result, args, kwargs) >= 0
    if func in theirs.CollectiveOp.WK | theirs.CollectiveOp.WK_ARG_1 and isinstance(
        theirs.CollectiveOp.get_work(func, result), theirs.FakeWork
    ):
        work = ours.CollectiveOp.get_work(func, result)
        assert work.seq_id == theirs.CollectiveOp.get_work(func, result).seq_id


@pytest.mark.parametrize("program", PROGRAMS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_groups_sizes_and_works_agree_with_pytorchs(program: str, data: st.DataObject) -> None:
    calls = calls_of(PROGRAMS[program], data.draw(tensors()), data.draw(lists()))
    assert calls
    for call in calls:
        check_agreement(call)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", ["meta", "fake"])
def test_tensors_without_values_agree_too(program: str, kind: str) -> None:
    with FakeTensorMode() if kind == "fake" else torch.device("meta"):
        x = torch.zeros(12)[4:]
        list_ = [torch.zeros(8)[:4] for _ in range(WORLD_SIZE)]
        calls = calls_of(PROGRAMS[program], x, list_)
        for call in calls:
            check_agreement(call)
    assert calls


@pytest.mark.parametrize("device", ["cuda", "xpu", "mps"])
@pytest.mark.parametrize("operator", AUTOGRAD)
def test_fake_tensors_of_devices_that_are_not_there_agree(operator: str, device: str) -> None:
    mode = FakeTensorMode()
    x = FakeTensor(mode, torch.zeros(12, device="meta")[4:], torch.device(device))
    result = FakeTensor(mode, torch.zeros(32, device="meta"), torch.device(device))
    check_agreement((getattr(F, operator).default, result, AUTOGRAD[operator](x), {}))


@pytest.mark.parametrize("operator", AUTOGRAD)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_autograds_operators_agree(operator: str, data: st.DataObject) -> None:
    func = getattr(A, operator).default
    args = AUTOGRAD[operator](data.draw(tensors()))
    result = data.draw(tensors())
    check_agreement((func, result, args, {}))


def test_every_operator_that_pytorch_knows_is_tried() -> None:
    tried = {program.replace("_functional", "") for program in PROGRAMS}
    # A barrier and waits have no size; PyTorch refuses to size the next three.
    left_out = {"barrier", "monitored_barrier_", "wait_tensor", "wait_tensors", "isend", "irecv"}
    left_out |= {"reduce_scatter_tensor_out", "all_gather_into_tensor_out"}
    known = {func._schema.name.split("::")[1] for func in theirs.collective_ops}
    assert known - left_out == tried


def test_sets_are_pytorchs_and_those_that_it_leaves_out() -> None:
    for name_, theirs_ in vars(theirs.CollectiveOp).items():
        if isinstance(theirs_, set):
            found = getattr(ours.CollectiveOp, name_)
            # isend and irecv return a tensor and no Work, unlike PyTorch's set says.
            expected = {
                func
                for func in theirs_
                if name_ != "WK_ARG_1" or func not in (F.isend.default, F.irecv.default)
            }
            assert expected <= found, name_
            assert not (found - expected) & (theirs.collective_ops - _unsized(name_)), name_
    assert theirs.collective_ops <= ours.collective_ops
    assert theirs.sync_ops == ours.sync_ops


def _unsized(set_name: str) -> set[Any]:
    """Operators that PyTorch lists as collectives and puts into no set of that sort."""
    if set_name.startswith("PG"):
        return {
            torch.ops.c10d.monitored_barrier_.default,
            F.reduce_scatter_tensor_out.default,
        }
    return {F.isend.default, F.irecv.default, F.reduce_scatter_tensor_out.default}


def test_out_variants_are_sized_though_pytorch_cant() -> None:
    x, out = torch.zeros(4), torch.zeros(20)[:16]
    args: tuple[Any, ...] = (x, WORLD_SIZE, name())
    func = F.all_gather_into_tensor_out.default
    op = ours.CollectiveOp
    assert op.get_comm_tensor_size(func, out, args, {"out": out}) == 80
    assert op.payload_bytes(func, out, args, {"out": out}) == 64
    assert op.get_process_group(func, args, {"out": out}) is dist.group.WORLD


def test_payload_is_what_the_tensors_hold() -> None:
    x = torch.zeros(16)[:4]
    ((func, result, args, kwargs),) = calls_of(PROGRAMS["allreduce_"], x, None)
    op = ours.CollectiveOp
    assert op.get_comm_tensor_size(func, result, args, kwargs) == 64
    assert op.payload_bytes(func, result, args, kwargs) == 16
    cost = op.cost(func, result, args, kwargs)
    assert (cost.algorithm, cost.steps, cost.wire_bytes) == ("ring", 6, 24)
    tree = op.cost(func, result, args, kwargs, algorithm="tree")
    assert (tree.steps, tree.wire_bytes) == (4, 32)
    assert "Thakur" in tree.source
    with pytest.raises(polyrank.UsageError, match="no star all_reduce"):
        op.cost(func, result, args, kwargs, algorithm="star")


@pytest.mark.parametrize("func", [torch.ops.aten.add.Tensor, None, F.wait_tensor.default])
def test_what_is_no_collective_or_has_no_group_is_a_type_error(func: Any) -> None:
    for ask in (
        lambda: ours.CollectiveOp.get_process_group(func, (torch.zeros(1),)),
        lambda: ours.CollectiveOp.get_comm_tensor_size(func, None, (torch.zeros(1),), {}),
        lambda: ours.CollectiveOp.get_work(func, None),
        lambda: ours.CollectiveOp.payload_bytes(func, None, (torch.zeros(1),)),
    ):
        with pytest.raises(TypeError) as error:
            ask()
        assert isinstance(error.value, polyrank.UsageError)


_anything = st.recursive(
    st.none() | st.integers() | st.booleans() | st.text(max_size=3) | st.just("0") | tensors(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    func=st.sampled_from(sorted(ours.collective_ops, key=str)),
    result=_anything,
    args=st.lists(_anything, max_size=6),
)
def test_any_arguments_give_an_answer_or_an_error(func: Any, result: Any, args: list[Any]) -> None:
    op = ours.CollectiveOp
    for ask in (
        lambda: op.get_process_group(func, args).size() == WORLD_SIZE,
        lambda: op.get_comm_tensor_size(func, result, args) >= 0,
        lambda: op.payload_bytes(func, result, args) >= 0,
        lambda: op.get_work(func, result).is_completed(),
    ):
        try:
            is_right = ask()
        except (TypeError, RuntimeError, ValueError):
            continue
        assert is_right


def test_sum_tensors_counts_a_storage_each_time() -> None:
    x = torch.zeros(4)
    nested = {"a": [x, (x[:1], 3)], "b": torch.zeros(2)}
    assert ours.CollectiveOp.sum_tensors(nested) == theirs.CollectiveOp.sum_tensors(nested) == 40


def test_fake_works_are_complete_and_have_numbers_of_their_own() -> None:
    state = random.getstate()
    works = [ours.FakeWork() for _ in range(100)]
    assert len({work.seq_id for work in works}) == 100
    assert works[0].wait() and works[0].get_future().done()
    boxed = works[0].boxed()
    assert ours.FakeWork.unbox(boxed).seq_id == works[0].seq_id
    first, work = ours.create_fakework(("argument",))
    assert first == "argument" and theirs.FakeWork.unbox(work).seq_id > works[-1].seq_id
    assert theirs.FakeWork.unbox(ours.create_fakework((), return_first_arg=False)).wait()
    assert random.getstate() == state


def test_coalesced_operators_run_on_meta_tensors() -> None:
    x = torch.zeros(8, device="meta")
    world: Any = dist.group.WORLD
    with Seen() as seen:
        world.allreduce_coalesced([x, x], dist.AllreduceCoalescedOptions())
        world.allgather_coalesced([[x, x]] * WORLD_SIZE, [x, x])
        world.allgather_into_tensor_coalesced([x.new_zeros(32)], [x])
        world.reduce_scatter_tensor_coalesced([x.new_zeros(2)], [x])
    works = [ours.CollectiveOp.get_work(func, result) for func, result, _, _ in seen.calls]
    sizes = [ours.CollectiveOp.get_comm_tensor_size(*call) for call in seen.calls]
    assert sizes == [64, 256, 128, 32]
    assert len({work.seq_id for work in works}) == 4
    assert all(work.wait() for work in works)
    assert torch.ops.c10d.check_for_nan(x) is None


@pytest.mark.parametrize("program", ["gather", "scatter"])
def test_ranks_that_are_not_the_root_know_the_payload(program: str) -> None:
    x = torch.zeros(4)
    if program == "gather":
        ((func, result, args, kwargs),) = calls_of(lambda x, _: dist.gather(x, dst=0), x, None)
    else:
        ((func, result, args, kwargs),) = calls_of(lambda x, _: dist.scatter(x, src=0), x, None)
    op = ours.CollectiveOp
    assert op.payload_bytes(func, result, args, kwargs) == 16 * WORLD_SIZE
    assert op.cost(func, result, args, kwargs).wire_bytes > 0
