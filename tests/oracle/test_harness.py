"""The oracle itself: it must see what is wrong, and its samples must differ between ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
from oracle.as_alone import assert_as_alone, distinct, shared
from oracle.known_gaps import GAPS, OF_SUBCLASSES, UNINITIALIZED
from oracle.op_check import SampleCheck, ways
from oracle.op_samples import clone_exactly, first_dtype, rank_samples
from oracle.rank_by_rank import assert_each_rank, each_rank, local, local_int, tensor_difference
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db

if TYPE_CHECKING:
    from collections.abc import Callable

DIFFERENT: dict[str, tuple[Tensor, Tensor]] = {
    "values": (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0000002])),
    "sign of zero": (torch.tensor([0.0]), torch.tensor([-0.0])),
    "NaN for a number": (torch.tensor([float("nan")]), torch.tensor([1.0])),
    "dtype": (torch.tensor([1]), torch.tensor([1.0])),
    "shape": (torch.ones(2), torch.ones(2, 1)),
    "strides": (torch.ones(2, 2), torch.ones(2, 2).t()),
    "device": (torch.ones(2), torch.ones(2, device="meta")),
    "layout": (torch.eye(2), torch.eye(2).to_sparse()),
    "conjugate bit": (torch.ones(2) + 0j, (torch.ones(2) + 0j).conj()),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_difference_is_seen(pair: tuple[Tensor, Tensor]) -> None:
    assert tensor_difference(*pair) is not None


def test_equal_tensors_are_equal() -> None:
    for tensor in (torch.tensor([float("nan"), -0.0]), torch.ones(0, 3), torch.ones(2, 3).t()):
        assert tensor_difference(tensor, clone_exactly(tensor)) is None


def test_difference_on_one_rank_is_seen() -> None:
    x = local(lambda rank: torch.tensor(float(rank)), 3)
    expected = each_rank(lambda rank: torch.tensor(float(rank)), 3)
    assert_each_rank(x, expected)
    expected[2] = torch.tensor(5.0)
    with pytest.raises(AssertionError, match="rank 2"):
        assert_each_rank(x, expected)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [(1, 2), (True, 1), ("a", "b"), ([1, 2], [1]), (local_int((1, 2)), 1), (1.0, torch.ones(()))],
)
def test_other_values_are_compared(actual: Any, expected: Any) -> None:
    with pytest.raises(AssertionError):
        assert_each_rank(actual, {0: expected, 1: expected})


def test_a_program_that_knows_that_it_is_simulated_is_caught() -> None:
    def program(x: Tensor) -> Tensor:
        return x + 1 if isinstance(x, polyrank.LocalTensor) else x

    with pytest.raises(AssertionError):
        assert_as_alone(program, distinct(3))


def test_a_write_that_is_missing_is_caught() -> None:
    def program(x: Tensor) -> None:
        if not isinstance(x, polyrank.LocalTensor):
            x.add_(1)

    with pytest.raises(AssertionError):
        assert_as_alone(program, shared(3))


def test_each_rank_has_the_callers_random_state_and_gives_it_back() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    drawn = each_rank(lambda _: torch.rand(2), 3)
    assert all(torch.equal(tensor, expected) for tensor in drawn.values())
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).view(3, 4).t()[1:],
        torch.ones(3, 1).expand(3, 4),
        torch.arange(4.0).add(1j).conj(),
        torch.arange(4.0).add(1j).conj().imag,
        torch.ones(3, requires_grad=True),
        torch.eye(3).to_sparse(),
    ],
)
def test_exact_clones(tensor: Tensor) -> None:
    copy = clone_exactly(tensor)
    assert tensor_difference(copy, tensor) is None
    assert copy.requires_grad == tensor.requires_grad
    if tensor.layout == torch.strided:
        assert copy.storage_offset() == tensor.storage_offset()
        assert copy.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()


def failures_of_sample(of_leaf: Callable[[Tensor], Tensor]) -> list[str]:
    """What is found wrong with a program that is given the first leaf of a sample."""
    op = next(op for op in op_db if op.name == "add")
    sample = next(iter(rank_samples(op, torch.float32, 1)))
    check = SampleCheck(lambda leaves: of_leaf(leaves[0]), sample, backward=False)
    return [failure for way in ways(sample) if (failure := check.failure(way)) is not None]


def test_memory_that_the_program_never_wrote_is_no_difference() -> None:
    assert not failures_of_sample(torch.empty_like)


def test_memory_that_only_ranks_together_never_wrote_is_a_difference() -> None:
    def program(x: Tensor) -> Tensor:
        return torch.empty_like(x) if isinstance(x, polyrank.LocalTensor) else torch.zeros_like(x)

    assert "expected values" in failures_of_sample(program)[0]


def test_samples_differ_between_ranks() -> None:
    equal, total = 0, 0
    for op in op_db[::20]:
        if not op.supported_dtypes("cpu"):
            continue
        for sample in rank_samples(op, first_dtype(op), 3):
            tensors = [sample.leaves[i] for i in sample.tensor_leaves]
            tensors = [t for t in tensors if t[0].numel() > 1 and t[0].layout == torch.strided]
            total += bool(tensors)
            equal += bool(tensors) and all(torch.equal(t[0], t[1]) for t in tensors)
    assert total > 40
    assert equal <= 0.1 * total


def test_gaps_name_operators_that_exist() -> None:
    names = {op.full_name for op in op_db}
    assert {gap.op for gap in GAPS} <= names
    assert {op for _, op in OF_SUBCLASSES} <= names
    assert names >= UNINITIALIZED
    assert len({(gap.check, gap.op) for gap in GAPS}) == len(GAPS)
    assert all(gap.reason for gap in GAPS)
