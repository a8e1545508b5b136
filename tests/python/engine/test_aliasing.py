"""A write changes just the ranks that it should, in every alias of the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, mixed, shared
from oracle.rank_by_rank import num_cohorts, ranks_in_cohorts, same_on
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "view": lambda x: x.view(6, 4),
    "reshape": lambda x: x.reshape(2, 12),
    "narrow": lambda x: x.narrow(0, 1, 2),
    "select": lambda x: x.select(1, 3),
    "slice": lambda x: x[::2, 1:],
    "transpose": lambda x: x.t(),
    "expand": lambda x: x[:, :1].expand(4, 5),
    "as_strided": lambda x: x.as_strided((3, 2), (2, 7), 1),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "unbind": lambda x: x.unbind(0)[2],
    "split": lambda x: x.split(2)[1],
    "unfold": lambda x: x.unfold(0, 2, 1),
    "diagonal": lambda x: x.diagonal(),
    "view_as_dtype": lambda x: x.view(torch.int32),
    "alias": torch.ops.aten.alias,
    "chain": lambda x: x.t()[1:].detach().unbind(0)[0][1:],
    "set_": lambda x: torch.empty(0).set_(x),
    "set_ of a storage": lambda x: torch.empty(0).set_(x.untyped_storage(), 2, (3, 2), (6, 1)),
}
views = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
writers = pytest.mark.parametrize("make", [shared, mixed, distinct])


@views
@writers
def test_write_to_the_base_is_seen_in_a_view(
    view: Callable[[Tensor], Tensor], make: Callable[..., Argument]
) -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        before, sibling = view(x), x[1]
        x.mul_(y)
        return before, view(x), sibling

    assert_as_alone(program, shared(4, 6), make(6, seed=1))
    if view not in (VIEWS["set_"], VIEWS["set_ of a storage"]):  # they write a plain tensor there
        assert_as_alone(program, mixed(4, 6), make(6, seed=1), in_mode=False)


@views
@writers
def test_write_to_a_view_is_seen_in_base_and_siblings(
    view: Callable[[Tensor], Tensor], make: Callable[..., Argument]
) -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        sibling, target = x.t()[2:], view(x)
        target.copy_(y.sum().to(target.dtype))
        return x, sibling, target, view(x)

    if view is VIEWS["expand"] or view is VIEWS["unfold"]:
        pytest.skip("its elements share memory: it can't be written")
    assert_as_alone(program, shared(4, 6), make(3, seed=1))
    assert_as_alone(program, mixed(4, 6), make(3, seed=1))


def test_split_leaves_the_cohorts_of_other_storages() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        other = x.clone()
        x[1].add_(y)
        return x, other

    written, other = assert_as_alone(program, shared(4, 6), distinct(6))
    assert num_cohorts(written) == 4
    assert num_cohorts(other) == 1


def test_write_with_equal_operands_splits_nothing() -> None:
    written = assert_as_alone(lambda x, y: x.t()[1:].add_(y), shared(4, 6), shared(4, seed=1))
    assert num_cohorts(written) == 1


def test_write_with_a_coarser_operand_keeps_the_partition() -> None:
    written = assert_as_alone(lambda x, y: x.add_(y), distinct(4, 6), mixed(6))
    assert num_cohorts(written) == 4
    written = assert_as_alone(lambda x, y: x.add_(y), mixed(4, 6), shared(6))
    assert ranks_in_cohorts(written) == [[0, 2], [1, 3]]


def test_split_splits_all_views_at_once() -> None:
    x = shared(4, 6).on_all_ranks()
    view, detached = x.view(24), x.detach()
    view[3:5].copy_(mixed(2).on_all_ranks())
    assert [num_cohorts(t) for t in (x, view, detached)] == [2, 2, 2]
    detached[0].copy_(distinct(6).on_all_ranks())
    assert [num_cohorts(t) for t in (x, view, detached)] == [4, 4, 4]


def test_a_view_made_by_only_some_cohorts_aliases_on_just_those() -> None:
    # contiguous() is an alias where the strides are contiguous already, and else a copy.
    def program(x: Tensor, y: Tensor) -> Any:
        again = x.contiguous()
        again.add_(y)
        return x, again

    plain = [torch.arange(6.0).view(2, 3), torch.arange(6.0).view(3, 2).t()]
    strides = Argument(plain, [0, 1, 0, 1])
    assert_as_alone(program, strides, shared(2, 3))
    assert_as_alone(program, strides, distinct(2, 3))


def test_reshape_that_is_a_view_on_some_ranks_only() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        flat = x.reshape(-1)
        x.add_(y)
        flat.mul_(2)
        x[0] = 5
        return x, flat, x.reshape(-1)

    plain = [torch.arange(6.0).view(2, 3), torch.arange(6.0).view(3, 2).t()]
    for variant in ([0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]):
        assert_as_alone(program, Argument(plain, variant), shared(2, 3))
        assert_as_alone(program, Argument(plain, variant), mixed(2, 3))


def test_gradients_where_only_some_ranks_view() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        x = x.detach().requires_grad_()
        loss = ((x * 2).contiguous() * y).sin().sum() + (x.t().reshape(3, 2) ** 3).flatten().sum()
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        return gradient.detach(), torch.autograd.grad(gradient.square().sum(), x)

    plain = [torch.arange(6.0).view(2, 3), torch.arange(6.0).view(3, 2).t()]
    assert_as_alone(program, Argument(plain, [0, 1, 0, 1]), mixed(2, 3))


def test_freed_and_regrown_storage() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        view = x[1:]
        num_bytes = x.untyped_storage().nbytes()
        x.untyped_storage().resize_(0)
        freed = x.untyped_storage().nbytes()
        x.untyped_storage().resize_(num_bytes)
        x.copy_(y)
        return x, view, num_bytes, freed, x.untyped_storage().nbytes()

    for make in (shared, mixed, distinct):
        for target in (shared, mixed, distinct):
            assert_as_alone(program, target(4, 6), make(4, 6, seed=1))


def test_resize_of_one_of_two_aliases() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        view = x[:2]
        x.resize_(5, 6)
        x.zero_()
        x[:4].add_(y)
        view.mul_(3)
        return x, view

    assert_as_alone(program, shared(4, 6), distinct(4, 6))
    assert_as_alone(program, distinct(4, 6), shared(4, 6))


def test_set_joins_the_other_storage() -> None:
    def program(x: Tensor, y: Tensor, z: Tensor) -> Any:
        old = x[1:]
        x.set_(y)
        x.add_(z)
        old.zero_()
        return x, y, old

    for make in (shared, mixed, distinct):
        assert_as_alone(program, shared(4, 6), make(3, seed=1), distinct(3, seed=2))
        assert_as_alone(program, distinct(4, 6), make(3, seed=1), shared(3, seed=2))


def test_data_assignment() -> None:
    def program(x: Tensor, y: Tensor, z: Tensor) -> Any:
        view = x[:2]
        x.data = y
        x.add_(z)
        view.fill_(7)
        return x, y, view

    for make in (shared, mixed, distinct):
        assert_as_alone(program, make(4, 6), shared(3, seed=1), distinct(3, seed=2))


def test_swap_tensors() -> None:
    def program(x: Tensor, y: Tensor) -> Any:
        torch.utils.swap_tensors(x, y)
        x.add_(1)
        return x, y

    assert_as_alone(program, shared(4), distinct(2, 3))


def test_handing_out_a_rank_splits_just_that_rank() -> None:
    x = same_on(4, torch.zeros(3))
    view = x[1:]
    x._local_tensors[2].fill_(5)
    assert ranks_in_cohorts(x) == [[0, 1, 3], [2]]
    assert x.on_rank(2).tolist() == [5, 5, 5]
    assert x.on_rank(3).tolist() == [0, 0, 0]
    assert view.on_rank(2).tolist() == [5, 5]


def test_a_rank_that_was_handed_out_stays_live() -> None:
    x = same_on(4, torch.zeros(3))
    handed_out = x._local_tensors[1]
    x.add_(1)
    assert handed_out.tolist() == [1, 1, 1]
    x.add_(distinct(3).on_all_ranks())
    assert torch.equal(handed_out, x.on_rank(1))
    handed_out.fill_(9)
    assert x.on_rank(1).tolist() == [9, 9, 9]
    assert x.on_rank(0).tolist() != [9, 9, 9]


def test_reading_splits_nothing() -> None:
    x = same_on(4, torch.zeros(3))
    x.on_rank(2)
    x.cohorts()
    repr(x)
    x.reconcile()
    assert num_cohorts(x) == 1


def test_shared_memory_with_the_tensors_that_it_was_made_of() -> None:
    plain = [torch.zeros(3), torch.zeros(3)]
    x = polyrank.LocalTensor(dict(enumerate(plain)))
    x.add_(1)
    assert [t.tolist() for t in plain] == [[1, 1, 1], [1, 1, 1]]
    plain[1].fill_(4)
    assert x.on_rank(1).tolist() == [4, 4, 4]
    assert x.on_rank(0).tolist() == [1, 1, 1]


def test_making_a_local_tensor_of_one_tensor_keeps_writes_to_it_off_other_ranks() -> None:
    x = same_on(4, torch.zeros(3))
    x.add_(distinct(3).on_all_ranks())
    for rank in range(4):
        assert torch.equal(x.on_rank(rank), distinct(3).on_rank(rank))


def test_on_rank_and_cohorts_share_memory_and_refuse_writes() -> None:
    x = shared(3).on_all_ranks()
    for tensor in (x.on_rank(0), x.cohorts()[0].tensor):
        with pytest.raises((polyrank.Error, RuntimeError)):
            tensor.add_(1)
        with pytest.raises((polyrank.Error, RuntimeError)):
            tensor[0] = 1
        with pytest.raises((polyrank.Error, RuntimeError)):
            torch.exp(torch.ones(3), out=tensor)
    seen = x.on_rank(1)
    x.zero_()
    assert seen.tolist() == [0, 0, 0]


def test_is_set_to_and_storage_identity() -> None:
    x = mixed(4, 6).on_all_ranks()
    view, copy = x[1:], x.clone()
    assert view.untyped_storage()._cdata == x.untyped_storage()._cdata
    assert copy.untyped_storage()._cdata != x.untyped_storage()._cdata
    assert view._is_view()
    assert view._base is x
    assert x.is_set_to(x.view(4, 6))
    assert not x.is_set_to(copy)


def test_a_plain_tensor_on_the_storage_of_a_local_tensor_never_reads_wild_memory() -> None:
    x = distinct(4).on_all_ranks()
    with pytest.raises((polyrank.Error, RuntimeError)):
        torch.empty(0).set_(x.untyped_storage(), 0, (4,), (1,)).sum()


def test_overlap_checks_still_work() -> None:
    x = distinct(4).on_all_ranks()
    with pytest.raises(RuntimeError, match="memory location"):
        x[:1].expand(4).add_(1)
    with pytest.raises(RuntimeError, match="memory location"):
        torch.add(x[:-1], 1, out=x[1:])
