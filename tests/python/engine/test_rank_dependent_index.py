"""Ranks choose among pieces and elements by ints that differ, as ordinary programs write it."""

from __future__ import annotations

from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from oracle.as_alone import assert_as_alone, each, shared
from torch import Tensor
from torch.utils import _pytree as pytree

RANKS = each(0, 1, 2, 3)


def test_pieces_of_a_tensor() -> None:
    def program(x: Tensor, rank: int) -> Any:
        return (
            x.chunk(4)[rank],
            torch.chunk(x, 3, dim=1)[rank % 3],
            x.split(3)[rank],
            torch.split(x, [1, 2, 3, 4], dim=-2)[rank],
            x.tensor_split(4)[rank - 4],
            torch.unbind(x)[rank],
            x.unbind(dim=1)[rank % 2],
            x.split_with_sizes([4, 3, 2, 1])[-1 - rank],
        )

    assert_as_alone(program, shared(10, 3), RANKS)
    assert_as_alone(program, each(*[torch.randn(10, 3) for _ in range(4)]), RANKS)


def test_pieces_are_views_that_autograd_knows() -> None:
    def program(x: Tensor, rank: int) -> Any:
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(
            x.chunk(4)[rank].square().sum() + x.unbind()[rank].sum(), x
        )
        written = x.detach()
        written.chunk(4)[rank].mul_(3)
        return gradient, written, x

    assert_as_alone(program, shared(10, 3), RANKS)


def test_pieces_of_tensors_whose_sizes_differ() -> None:
    def program(x: Tensor, rank: int) -> Any:
        return x.split(2)[rank % 2], x.chunk(2)[(rank + 1) % 2]

    assert_as_alone(program, each(*[torch.randn(3 + rank, 2) for rank in range(4)]), RANKS)


def test_pieces_are_a_tuple(lockstep: polyrank.LocalTensorMode) -> None:
    pieces = torch.arange(8).chunk(4)
    assert isinstance(pieces, tuple)
    assert len(pieces[1:3]) == 2
    assert type(pytree.tree_map(lambda piece: piece + 1, pieces)) is tuple
    with pytest.raises(IndexError, match="out of range"):
        pieces[4]
    with pytest.raises(IndexError, match="rank 0 asks for piece 4 of 4; valid: -4 to 3"):
        pieces[dist.get_rank() + 4]
    with pytest.raises(polyrank.DivergenceError, match="ranks 2-3, and none on ranks 0-1"):
        pieces[dist.get_rank() + 2]


def test_ranks_with_shorter_tensors_have_fewer_pieces(lockstep: polyrank.LocalTensorMode) -> None:
    rank = dist.get_rank()
    for x in (torch.arange(8)[: rank + 1], polyrank.rank_map(lambda i: torch.arange(8)[: i + 1])):
        assert torch.cat(x.split(2)).sum().tolist() == x.sum().tolist()
        assert len(x[:1].split(2)) == 1
        assert torch.equal(x.split(2)[rank // 2][-1], x[-1])
        for use in (len, list, lambda pieces: pieces[1], lambda pieces: pieces[-1]):
            for pieces in (x.split(2), torch.chunk(x, 2), x.split(split_size=2), x.chunk(chunks=2)):
                with pytest.raises(polyrank.DivergenceError, match="another number of pieces"):
                    use(pieces)


def test_plain_tensors_are_indexed_too() -> None:
    data = torch.arange(12.0).view(4, 3)
    with polyrank.lockstep(world_size=4):
        rank = dist.get_rank()
        chosen = data[rank]
        corner = data[..., rank % 3][rank]
        rows = data[rank : rank + 1]
        by_tensor = data[torch.tensor(rank), 1:]
        own = polyrank.rank_map(lambda _: data.clone())
        own[rank, 0] = -1.0
        with pytest.raises(polyrank.DivergenceError, match="plain tensor"):
            data[rank] = 0.0
    for r in range(4):
        assert torch.equal(chosen.on_rank(r), data[r])
        assert corner.on_rank(r) == data[r, r % 3]
        assert torch.equal(rows.on_rank(r), data[r : r + 1])
        assert torch.equal(by_tensor.on_rank(r), data[r, 1:])
        assert (own.on_rank(r)[:, 0] == -1).tolist() == [i == r for i in range(4)]
    assert torch.equal(data, torch.arange(12.0).view(4, 3))


def test_tensors_of_numbers_that_differ(lockstep: polyrank.LocalTensorMode) -> None:
    rank = dist.get_rank()
    half = rank * 0.5
    weight = torch.tensor([half, 1.0], requires_grad=True)
    assert weight.requires_grad
    flags = torch.tensor([rank == 2, True])
    like = weight.detach().new_tensor([[rank, 1]])
    for r in range(4):
        assert weight.on_rank(r).tolist() == [r * 0.5, 1.0]
        assert flags.on_rank(r).tolist() == [r == 2, True]
        assert like.on_rank(r).tolist() == [[float(r), 1.0]]
    with pytest.raises(RuntimeError, match="Could not infer dtype of object"):
        torch.tensor([object()])


def test_ranks_as_programs_take_them_apart(lockstep: polyrank.LocalTensorMode) -> None:
    rank = dist.get_rank()
    row, column = divmod(rank, 2)
    quotient, remainder = divmod(7, rank + 1)
    for r in range(4):
        parts = (row, column, quotient, remainder, ~rank)
        numbers = [torch.tensor(n).on_rank(r).item() for n in parts]
        assert numbers == [*divmod(r, 2), *divmod(7, r + 1), ~r]
    assert f"rank {rank:02d}" == "rank LocalIntNode({0: 00, 1: 01, 2: 02, 3: 03})"


def test_pytorch_has_its_own_functions_back() -> None:
    before = (torch.tensor, torch.chunk, torch.Tensor.__getitem__, torch.Tensor.chunk)
    with polyrank.LocalTensorMode(2):
        assert type(before[1](torch.zeros(4), 2)) is not tuple
    assert (torch.tensor, torch.chunk, torch.Tensor.__getitem__, torch.Tensor.chunk) == before
    assert "__getitem__" not in vars(torch.Tensor)
    assert type(torch.zeros(4).chunk(2)) is tuple
    assert not hasattr(torch.SymInt, "__divmod__")


def test_tensors_of_lists_that_have_tensors_in_them() -> None:
    def program(x: Tensor, rank: int) -> Any:
        return (
            torch.tensor([x.sum(), 1]),
            torch.tensor([x.sum(), rank]),
            torch.tensor([[x[0], 2], [rank, 4]]),
            torch.tensor([x[1].double(), 1.0]),
            torch.tensor([x[1].long(), True]),
            torch.tensor((x[1] > 0, False)),
            torch.as_tensor([x[:1].sum(), rank]),
            x.double().new_tensor([x.sum(), rank]),
        )

    assert_as_alone(program, shared(3), RANKS)
    assert_as_alone(program, each(*[torch.arange(3) + rank for rank in range(4)]), RANKS)
    assert_as_alone(program, each(*[torch.randn(rank + 2) for rank in range(4)]), RANKS)
