"""Operators on symmetric memory: values in lockstep, and what they move."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.fake_collectives import CollectiveOp, collective_ops
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

WORLD_SIZE = 4
OPS: Any = torch.ops.symm_mem


def name() -> str:
    return dist.group.WORLD.group_name  # type: ignore[union-attr,no-any-return]


def per_rank(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape) + dist.get_rank()


def sum_of_ranks(shape: tuple[int, ...]) -> torch.Tensor:
    count = float(torch.Size(shape).numel())
    return sum(torch.arange(count).reshape(shape) + rank for rank in range(WORLD_SIZE))  # type: ignore[return-value]


ALL_REDUCES = {
    "one_shot_all_reduce": lambda x: OPS.one_shot_all_reduce(x, "sum", name()),
    "one_shot_all_reduce_out": lambda x: OPS.one_shot_all_reduce_out(
        x, "sum", name(), torch.empty_like(x)
    ),
    "multimem_one_shot_all_reduce": lambda x: OPS.multimem_one_shot_all_reduce(x, "sum", name()),
    "multimem_one_shot_all_reduce_out": lambda x: OPS.multimem_one_shot_all_reduce_out(
        x, "sum", name(), torch.empty_like(x)
    ),
    "two_shot_all_reduce_": lambda x: OPS.two_shot_all_reduce_(x, "sum", name()),
    "multimem_all_reduce_": lambda x: OPS.multimem_all_reduce_(x, "sum", name()),
}


@pytest.mark.parametrize("operator", ALL_REDUCES)
def test_an_all_reduce_sums_over_the_ranks(operator: str) -> None:
    with polyrank.lockstep(WORLD_SIZE):
        x = per_rank((2, 3))
        result: Any = ALL_REDUCES[operator](x)
        assert len(result.cohorts()) == 1
        assert torch.equal(result.on_rank(3), sum_of_ranks((2, 3)))
        is_in_place = operator.endswith("_")
        kept: Any = x
        assert torch.equal(kept.on_rank(1), result.on_rank(1)) == is_in_place


def test_gathers_scatters_and_broadcasts() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        x = per_rank((2,))
        gathered = OPS._low_contention_all_gather(x, name())
        out = OPS.multimem_all_gather_out(x, name(), torch.empty(2 * WORLD_SIZE))
        for result in (gathered, out):
            assert result.on_rank(2).tolist() == [0, 1, 1, 2, 2, 3, 3, 4]
        scattered = OPS._low_contention_reduce_scatter(per_rank((4,)), "sum", name())
        assert [scattered.on_rank(r).tolist() for r in range(4)] == [[6], [10], [14], [18]]
        exchanged = OPS.nvshmem_all_to_all(per_rank((4,)) * 10, torch.empty(4), name())
        assert exchanged.on_rank(2).tolist() == [20, 30, 40, 50]
        assert OPS.nvshmem_broadcast(x, 3, name()).on_rank(0).tolist() == [3, 4]


def test_what_does_not_run_in_lockstep_says_so() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        x = per_rank((4,))
        with pytest.raises(polyrank.UnsupportedOpError, match="does not run in lockstep"):
            OPS.one_shot_all_reduce_copy(x, x, "sum", name())
        with pytest.raises(polyrank.UnsupportedOpError, match="does not run in lockstep"):
            OPS.fused_matmul_reduce_scatter(x, x, "sum", 0, name())


def arguments_of(func: Any, x: torch.Tensor) -> tuple[Any, ...]:
    """One value for each argument, by its type."""
    values: dict[str, Any] = {
        "Tensor": x,
        "List[Tensor]": [x] * WORLD_SIZE,
        "int": 1,
        "List[int]": [0],
        "Optional[int]": None,
        "bool": False,
    }
    texts = {"group_name": name(), "reduce_op": "sum"}
    return tuple(texts.get(a.name, values.get(str(a.type))) for a in func._schema.arguments)


SIZED = sorted((op for op in collective_ops if op.namespace == "symm_mem"), key=str)


def test_every_operator_with_a_group_is_sized() -> None:
    assert len(SIZED) >= 21  # newer torches have more


@pytest.mark.parametrize("func", SIZED, ids=str)
def test_group_and_bytes_of_fake_tensors_on_a_gpu(func: Any) -> None:
    with polyrank.fake_world(WORLD_SIZE):
        x = FakeTensor(FakeTensorMode(), torch.zeros(16, device="meta")[:8], torch.device("cuda"))
        arguments = arguments_of(func, x)
        assert CollectiveOp.get_process_group(func, arguments) is dist.group.WORLD
        # A storage of 64 bytes, half of which the tensor holds.
        size = CollectiveOp.get_comm_tensor_size(func, x, arguments)
        assert size == (64 * WORLD_SIZE if isinstance(arguments[0], list) else 64)
        assert CollectiveOp.payload_bytes(func, x, arguments) > 0
        with pytest.raises(TypeError):
            CollectiveOp.get_work(func, x)


@pytest.mark.parametrize("operator", ["one_shot_all_reduce", "_low_contention_all_gather"])
def test_a_trace_has_them_in_the_fake_world(operator: str) -> None:
    with polyrank.fake_world(WORLD_SIZE), FakeTensorMode(), polyrank.trace() as t:
        x = torch.zeros(8)
        func = getattr(OPS, operator).default
        func(*arguments_of(func, x))
    (launch,) = t.launches
    assert (launch["operator"], launch["input_bytes"]) == (f"symm_mem::{operator}", 32)
