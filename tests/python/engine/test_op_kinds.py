"""Each kind of operator gives each rank what that rank alone computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from oracle.as_alone import Argument, assert_as_alone, distinct, mixed, same, shared
from oracle.rank_by_rank import num_cohorts

if TYPE_CHECKING:
    from collections.abc import Callable

# Operand pairs whose cohorts differ in every way that matters.
PAIRS = {
    "distinct": (distinct(4, 3), distinct(4, 3, seed=1)),
    "shared": (shared(4, 3), shared(4, 3, seed=1)),
    "mixed": (mixed(4, 3), mixed(4, 3, seed=1)),
    "shared_and_distinct": (shared(4, 3), distinct(4, 3, seed=1)),
    "distinct_and_shared": (distinct(4, 3), shared(4, 3, seed=1)),
    "mixed_and_distinct": (mixed(4, 3), distinct(4, 3, seed=1)),
}
pairs = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())


def _augmented(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x += y
    x[0] -= 1
    x[:, 1] *= y[:, 2]
    return x


PROGRAMS: dict[str, Callable[..., Any]] = {
    "functional": torch.add,
    "functional with a scalar": lambda x, y: torch.add(x, 2.5) - y * 3,
    "in-place": lambda x, y: x.mul_(y),
    "in-place on a view": lambda x, y: x[1:3].add_(y[:2]),
    "setitem": lambda x, y: x.__setitem__((slice(None), 1), y[:, 0]),
    "augmented assignment": _augmented,
    "out=": lambda x, y: torch.add(x, y, out=torch.empty_like(x)),
    "out= of an operand": lambda x, y: torch.add(x, y, out=x),
    "out= that is resized": lambda x, y: torch.add(x, y, out=torch.empty(0)),
    "view": lambda x, y: (x.view(3, 4), x.t(), x[None], y.expand(2, 4, 3), x.diagonal()),
    "multi-output": lambda x, y: (torch.aminmax(x), torch.sort(x + y), torch.topk(y, 2)),
    "list argument": lambda x, y: torch.cat([x, y, x], dim=1),
    "list of views": lambda x, y: torch.stack([*x.unbind(0), *y.unbind(0)]),
    "list result": lambda x, y: [*torch.split(x, 3), *torch.chunk(y, 2), *torch.unbind(x)],
    "optional tensors": torch.nn.functional.linear,
    "optional tensors given": lambda x, y: torch.nn.functional.linear(x, y, y[:, 0]),
    "list of optional tensors": lambda _, y: y[:, torch.tensor([2, 0])],
    "comparison": lambda x, y: (x > y, x.eq(x), torch.where(x > y, x, y)),
    "reduction": lambda x, y: (x.sum(), y.mean(0), x.norm(), torch.linalg.vector_norm(y)),
    "matmul": lambda x, y: x @ y.t(),
    "0-dim operand": lambda x, y: x * y.sum() + 1,
    "einsum": lambda x, y: torch.einsum("ij,kj->ik", x, y),
    "factory like": lambda x, y: (torch.zeros_like(x), torch.ones_like(y), x.new_full((2,), 7)),
    "copy between": lambda x, y: x.copy_(y),
    "swap": lambda x, y: (x.clone(), x.copy_(y), y.zero_()),
}


@pairs
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_each_rank_gets_its_own_result(
    program: Callable[..., Any], pair: tuple[Argument, Argument]
) -> None:
    assert_as_alone(program, *pair)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_works_outside_of_a_mode(program: Callable[..., Any]) -> None:
    if program is PROGRAMS["out= that is resized"]:
        pytest.skip("writes into a tensor that is plain outside of a mode")
    assert_as_alone(program, *PAIRS["mixed_and_distinct"], in_mode=False)


@pairs
def test_ops_that_return_numbers(pair: tuple[Argument, Argument]) -> None:
    def program(x: torch.Tensor, y: torch.Tensor) -> Any:
        return (
            x.dim(),
            x.numel(),
            x.size(),
            x.stride(),
            x.storage_offset(),
            x.is_contiguous(),
            x.is_floating_point(),
            torch.equal(x, x),
            torch.allclose(y, y),
            torch.is_same_size(x, y),
            torch.result_type(x, y),
            torch.can_cast(x.dtype, y.dtype),
            x.shape == y.shape,
            x.element_size(),
            x.is_complex(),
            len(x),
        )

    assert_as_alone(program, *pair)


@pytest.mark.parametrize("make", [distinct, shared, mixed])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32, torch.complex64])
def test_dtype_conversions(make: Callable[..., Argument], dtype: torch.dtype) -> None:
    assert_as_alone(lambda x: (x.to(dtype), x.type(dtype), x.double(), x.bool()), make(5))
    assert_as_alone(lambda x: x.to(torch.float32) is x, make(5))


def test_device_conversions() -> None:
    def program(x: torch.Tensor) -> Any:
        return x.cpu() is x, x.to("cpu") is x, x.to("meta"), x.device, x.is_cuda

    assert_as_alone(program, distinct(3))
    assert_as_alone(lambda x: torch.empty_like(x, device="meta"), mixed(3))


def test_out_of_another_partition_takes_the_results() -> None:
    for target in (shared(3), mixed(3), distinct(3)):
        for operand in (shared(3, seed=1), mixed(3, seed=1), distinct(3, seed=1)):
            assert_as_alone(lambda x, out: torch.exp(x, out=out), operand, target)


def test_out_that_is_overwritten_whole_takes_over_the_cohorts_of_the_operands() -> None:
    result = assert_as_alone(lambda x, out: torch.exp(x, out=out), shared(3), distinct(3))
    assert num_cohorts(result) == 1


def test_what_an_out_form_writes_beside_its_out_arguments_is_read() -> None:
    def program(x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> Any:
        out = (torch.empty_like(x), torch.empty(3), torch.empty(3))
        return torch.native_batch_norm(x, None, None, mean, variance, True, 0.1, 1e-5, out=out)

    assert_as_alone(program, shared(4, 3), distinct(3), mixed(3))


def test_operator_registered_after_a_mode_was_used() -> None:
    with polyrank.LocalTensorMode(2):
        torch.ones(2) + 1
    with torch.library._scoped_library("polyrank_tests", "FRAGMENT") as library:
        library.define("triple(Tensor x) -> Tensor")
        library.impl("triple", lambda x: x * 3, "CPU")
        assert_as_alone(torch.ops.polyrank_tests.triple, distinct(3))
        assert_as_alone(torch.ops.polyrank_tests.triple, mixed(3), in_mode=False)


def test_python_custom_op() -> None:
    @torch.library.custom_op("polyrank_tests::add_into", mutates_args={"x"})
    def add_into(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.add_(y)
        return x * 2

    assert_as_alone(add_into, shared(3), distinct(3, seed=1))
    assert_as_alone(add_into, mixed(3), shared(3, seed=1), in_mode=False)


@torch.library.custom_op("polyrank_tests::reduced", mutates_args=())
def _reduced(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    dist.all_reduce(y)
    return y


@torch.library.custom_op("polyrank_tests::gathered", mutates_args=())
def _gathered(x: torch.Tensor) -> torch.Tensor:
    output = torch.empty(dist.get_world_size() * x.numel())
    dist.all_gather_into_tensor(output, x)
    return output


@torch.library.custom_op("polyrank_tests::ranked", mutates_args=())
def _ranked(x: torch.Tensor) -> torch.Tensor:
    return x * 0 + dist.get_rank()


@torch.library.custom_op("polyrank_tests::drawn", mutates_args=())
def _drawn(x: torch.Tensor) -> torch.Tensor:
    return x * 0 + torch.rand(2)


def in_python_operators() -> list[torch.Tensor]:
    """Results of operators whose functions ask for the rank, draw, and launch collectives."""
    rank = dist.get_rank()
    x = torch.ones(2) * rank
    torch.manual_seed(rank)
    results = [_reduced(x), _gathered(x), _ranked(x), _drawn(x)]
    with torch.library._scoped_library("polyrank_tests", "FRAGMENT") as library:
        library.define("impl_reduced(Tensor x) -> Tensor")
        library.impl("impl_reduced", lambda x: _reduced(x) + dist.get_rank(), "CPU")
        results.append(torch.ops.polyrank_tests.impl_reduced(x))
    return results


def test_operators_of_python_run_for_all_ranks_at_once() -> None:
    with polyrank.lockstep(4):
        together = in_python_operators()
    for rank, alone in enumerate(polyrank.run_ranks(in_python_operators, 4, world="processes")):
        for own, expected in zip(together, alone, strict=True):
            assert torch.equal(own.on_rank(rank), expected)  # type: ignore[attr-defined]


def test_an_operator_of_python_that_needs_one_rank_s_values_is_refused(
    lockstep: polyrank.LocalTensorMode,
) -> None:
    @torch.library.custom_op("polyrank_tests::by_numpy", mutates_args=())
    def by_numpy(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.numpy() + 1)

    with pytest.raises(polyrank.DivergenceError):
        by_numpy(torch.ones(2) * dist.get_rank())


def test_an_error_of_the_operator_is_that_error() -> None:
    x, y = distinct(3).on_all_ranks(), distinct(4).on_all_ranks()
    with polyrank.LocalTensorMode(4), pytest.raises(RuntimeError, match="size of tensor a"):
        x + y


def test_an_operator_that_fails_on_one_rank_is_a_divergence() -> None:
    index = polyrank.LocalTensor({0: torch.tensor([0]), 1: torch.tensor([5])})
    with polyrank.LocalTensorMode(2), pytest.raises(polyrank.DivergenceError, match="rank 1"):
        torch.arange(3)[index]


def test_indexing_with_tensors_that_differ() -> None:
    index = distinct(3, dtype=torch.int64, seed=3)
    assert_as_alone(lambda x, i: x[i % 4], shared(4, 2), index)
    assert_as_alone(lambda x, i: x.index_select(0, i % 4), distinct(4, 2), index)
    assert_as_alone(lambda x, i: x.index_put_((i % 4,), torch.tensor(1.0)), shared(4, 2), index)
    assert_as_alone(lambda x, i: x.scatter_add_(0, i % 4, torch.ones(3)), shared(4), index)
    assert_as_alone(lambda x, i: torch.gather(x, 0, i % 4), mixed(4), index)


def test_a_scalar_kept_in_a_tensor() -> None:
    assert_as_alone(lambda x: x + torch.tensor(2.0), distinct(3))
    assert_as_alone(lambda x: torch.tensor([1.0, 2.0, 3.0]).add_(x), distinct(3))
    assert_as_alone(lambda x: torch.full((2, 2), 3.0) @ x, same(torch.eye(2)))


def test_writes_that_a_schema_does_not_declare(lockstep: polyrank.LocalTensorMode) -> None:
    # FSDP2's copy into the all-gather's buffer: each rank writes a place of its own.
    import torch.distributed.fsdp._fully_shard

    output = torch.zeros(4)
    value = polyrank.rank_map(lambda rank: torch.tensor([float(rank + 1)]))
    rank = dist.get_rank()
    mine, whole = torch.ops.fsdp.all_gather_copy_in([value], output, [1], 1, rank)
    for r in range(4):
        assert mine.on_rank(r).tolist() == [r + 1]
        assert whole.on_rank(r).tolist() == [r + 1 if i == r else 0 for i in range(4)]
        assert torch.equal(output.on_rank(r), whole.on_rank(r))
