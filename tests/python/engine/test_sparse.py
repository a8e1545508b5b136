"""Sparse tensors in lockstep: each rank has those that it alone would have, or writing is refused."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from oracle.as_alone import distinct, mixed, shared
from polyrank.rank_text.taken_for_one import showing
from torch import Tensor, nn

RANKS = 4
makers = pytest.mark.parametrize("make", [shared, mixed, distinct])


def _sparse_embedding(x: Tensor) -> nn.Embedding:
    embedding = nn.Embedding.from_pretrained(
        torch.arange(12.0).reshape(4, 3), freeze=False, sparse=True
    )
    for ids in ([1, 2, 1], [2, 0, 2]):
        (embedding(torch.tensor(ids)) * x).sum().backward()
    return embedding


def _trained(make: Callable[[Any], torch.optim.Optimizer]) -> Callable[[Tensor], Tensor]:
    def train(x: Tensor) -> Tensor:
        embedding = nn.Embedding.from_pretrained(
            torch.arange(12.0).reshape(4, 3), freeze=False, sparse=True
        )
        optimizer = make(list(embedding.parameters()))
        for _ in range(3):
            optimizer.zero_grad()
            (embedding(torch.tensor([1, 2, 1])).sin() * x).sum().backward()
            optimizer.step()
        return embedding.weight.detach()

    return train


def _gradient(x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    torch.sparse.mm(leaf.to_sparse(), x).pow(2).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def _shared_with_a_detached_one(x: Tensor) -> Tensor:
    sparse = x.to_sparse()
    sparse.detach().mul_(2)
    return sparse


def _saved(x: Tensor) -> Tensor:
    file = io.BytesIO()
    torch.save(x.to_sparse(), file)
    file.seek(0)
    loaded = torch.load(file)
    assert loaded.is_coalesced()
    return loaded  # type: ignore[no-any-return]


PROGRAMS: dict[str, Callable[[Tensor], Tensor]] = {
    "to_sparse": lambda x: x.to_sparse(),
    "there and back": lambda x: x.to_sparse().to_dense(),
    "COO times dense": lambda x: torch.sparse.mm(x.to_sparse(), x),
    "values": lambda x: x.to_sparse().values(),
    "indices": lambda x: x.to_sparse().indices(),
    "sum": lambda x: torch.sparse.sum(x.to_sparse(), 0),
    "softmax": lambda x: torch.sparse.softmax(x.to_sparse(), 1),
    "arithmetic": lambda x: x.to_sparse() * 2 + x.to_sparse(),
    "added to dense": lambda x: x + x.to_sparse(),
    "coalesced": lambda x: torch.sparse_coo_tensor([[0, 0, 2]], x[0, :3], (4,)).coalesce(),
    "in place by a number": lambda x: x.to_sparse().mul_(2),
    "in place by another": lambda x: x.to_sparse().add_(x.to_sparse()),
    "in place through an alias": _shared_with_a_detached_one,
    "gradient of an embedding": lambda x: _sparse_embedding(x).weight.grad,  # type: ignore[dict-item, return-value]
    "gradient through to_sparse": _gradient,
    "SGD": _trained(lambda p: torch.optim.SGD(p, 0.1)),
    "SparseAdam": _trained(lambda p: torch.optim.SparseAdam(p, 0.1)),
    "Adagrad": _trained(lambda p: torch.optim.Adagrad(p, 0.1)),
    "deepcopy": lambda x: copy.deepcopy(x.to_sparse()),
    "saved and loaded": _saved,
}


def _half_zero(make: Any) -> Any:
    argument = make(3, 3)
    return argument.on_all_ranks(), [
        torch.where(argument.on_rank(rank) > 0, argument.on_rank(rank), 0.0)
        for rank in range(RANKS)
    ]


@makers
@pytest.mark.parametrize("name", PROGRAMS)
def test_each_rank_has_what_it_alone_would_have(name: str, make: Callable[..., Any]) -> None:
    x, alone = _half_zero(make)
    with polyrank.LocalTensorMode(RANKS):
        result = PROGRAMS[name](torch.where(x > 0, x, 0.0))
    for rank in range(RANKS):
        expected = PROGRAMS[name](alone[rank])
        own = result if not isinstance(result, polyrank.LocalTensor) else result.on_rank(rank)
        assert own.layout == expected.layout == result.layout
        assert own.shape == expected.shape
        if own.layout == torch.strided:
            assert torch.equal(own, expected)
        else:
            assert torch.equal(own.to_dense(), expected.to_dense())


def test_what_holds_the_same_is_one_cohort(lockstep: polyrank.LocalTensorMode) -> None:
    sparse: Any = torch.eye(3).to_sparse() * 2
    assert len(sparse.cohorts()) == 1
    assert sparse._nnz() == 3
    assert torch.equal(sparse.reconcile().to_dense(), torch.eye(3) * 2)
    with showing():
        assert "2., 2., 2." in str(sparse)


WRITES: dict[str, Callable[[Any, Tensor], object]] = {
    "sparse": lambda sparse, x: sparse.add_(x.to_sparse()),
    "a number by rank": lambda sparse, _: sparse.mul_(dist.get_rank()),
    "its values": lambda sparse, x: sparse._values().mul_(x[0]),
    "a rank's tensor": lambda sparse, _: sparse._local_tensors[1],
}


@pytest.mark.parametrize("what", WRITES)
def test_writing_what_differs_is_refused(what: str, lockstep: polyrank.LocalTensorMode) -> None:
    sparse: Any = torch.eye(4).to_sparse()
    x = polyrank.rank_map(lambda rank: torch.eye(4) * rank)
    with pytest.raises(polyrank.UnsupportedOpError, match=r"`a = a \* b`.*threads world"):
        WRITES[what](sparse, x)
    assert torch.equal(sparse.reconcile().to_dense(), torch.eye(4))


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr])
def test_compressed_layouts_are_refused(
    layout: torch.layout, lockstep: polyrank.LocalTensorMode
) -> None:
    blocks = (2, 2) if layout == torch.sparse_bsr else None
    with pytest.raises(polyrank.UnsupportedOpError, match=r"COO form.*to_dense.*threads world"):
        torch.eye(4).to_sparse(layout=layout, blocksize=blocks)


def test_shapes_that_differ_are_refused(lockstep: polyrank.LocalTensorMode) -> None:
    x = polyrank.rank_map(lambda rank: torch.ones(rank + 1))
    with pytest.raises(polyrank.UnsupportedOpError, match="sparse tensors of different shapes"):
        x.to_sparse()


def summed_over_ranks() -> list[Any]:
    """Sums of all and of two ranks each, and the words of what backends do not do."""
    rank = dist.get_rank()
    dense = torch.arange(9.0).reshape(3, 3) * torch.as_tensor(rank + 1)
    dense[1] = 0
    pairs, _ = dist.new_subgroups(2)
    results: list[Any] = []
    for group in (dist.group.WORLD, pairs):
        sparse = dense.to_sparse()
        dist.all_reduce(sparse, group=group)
        results.append(sparse.to_dense())
    try:
        dist.all_reduce(dense.to_sparse(), op=dist.ReduceOp.MAX)
    except polyrank.CollectiveError as error:
        results.append(str(error).partition(": ")[2])
    return results


def test_a_sum_over_ranks_is_that_of_threads_and_processes() -> None:
    with polyrank.lockstep(RANKS):
        together = summed_over_ranks()
    for world in ("threads", "processes"):
        for rank, alone in enumerate(polyrank.run_ranks(summed_over_ranks, RANKS, world=world)):
            for own, expected in zip(together[:2], alone[:2], strict=True):
                assert torch.equal(own.on_rank(rank), expected)
            assert together[2] == alone[2]
            assert "sum sparse (COO) tensors" in together[2]
