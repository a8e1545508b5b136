"""Collectives against a loop over ranks, for any world, groups, sizes and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import hypothesis.strategies as st
import polyrank
import torch
import torch.distributed as dist
from hypothesis import given
from polyrank import _C

F = torch.ops._c10d_functional
DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.uint8,
    torch.int8,
    torch.int32,
    torch.int64,
    torch.bool,
]
FOLDS = {
    "sum": torch.add,
    "product": torch.mul,
    "min": torch.minimum,
    "max": torch.maximum,
    "band": torch.bitwise_and,
    "bor": torch.bitwise_or,
    "bxor": torch.bitwise_xor,
}
Tensors = list[torch.Tensor]


@dataclass
class Case:
    """What each rank holds, and which groups run."""

    groups: list[list[int]]
    tensors: Tensors  # by rank
    equal_ranks: list[int]  # rank -> a rank that holds the same tensor

    @property
    def world_size(self) -> int:
        return len(self.tensors)

    def group_of(self, rank: int) -> list[int]:
        return next((group for group in self.groups if rank in group), [])

    def local(self) -> torch.Tensor:
        tensors = [tensor.clone() for tensor in self.tensors]
        return polyrank.LocalTensor(
            {rank: tensors[same] for rank, same in enumerate(self.equal_ranks)}
        )


@st.composite
def groups_of_ranks(draw: st.DrawFn) -> tuple[int, list[list[int]]]:
    """A world size and a family of groups: any disjoint ones of one size, in any order."""
    group_size = draw(st.integers(1, 5))
    num_groups = draw(st.integers(1, 3))
    world_size = group_size * num_groups + draw(st.integers(0, 2))
    ranks = draw(st.permutations(range(world_size)))
    groups = [list(ranks[i * group_size : (i + 1) * group_size]) for i in range(num_groups)]
    if draw(st.booleans()):
        groups = sorted(sorted(group) for group in groups)
    return world_size, groups


@st.composite
def cases(draw: st.DrawFn, *, rows_per_member: bool = False) -> Case:
    world_size, groups = draw(groups_of_ranks())
    rows = draw(st.integers(0, 2)) * (len(groups[0]) if rows_per_member else 1)
    shape = (rows, *draw(st.lists(st.integers(0, 3), max_size=2)))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    equal_ranks: list[int] = []
    for rank in range(world_size):
        same = draw(st.integers(0, rank))
        equal_ranks.append(equal_ranks[same] if same < rank else rank)
    values = [torch.randn(shape, generator=generator) * 4 for _ in range(world_size)]
    tensors = [values[same].to(dtype) for same in equal_ranks]
    return Case(groups, tensors, equal_ranks)


def register(case: Case) -> str:
    """Makes the groups known as one family; the name of one of them."""
    names = [f"test{i}" for i in range(len(case.groups))]
    _C.clear_process_groups()
    for name, members in zip(names, case.groups, strict=True):
        _C.register_process_group(name, members, case.world_size, "")
    for name in names:
        _C.register_group_family(name, names)
    return names[-1]


def check(case: Case, result: torch.Tensor, expected: dict[int, torch.Tensor]) -> None:
    for rank, tensor in expected.items():
        got = result.on_rank(rank)
        assert got.dtype == tensor.dtype and got.shape == tensor.shape, rank
        assert torch.equal(got.nan_to_num(), tensor.nan_to_num()), (rank, case.groups)


def folded(op: str, tensors: Tensors) -> torch.Tensor:
    return reduce(FOLDS[op], tensors)


def reduce_ops(dtype: torch.dtype) -> list[str]:
    return [op for op in FOLDS if not (op.startswith("b") and dtype.is_floating_point)]


@given(cases(), st.data())
def test_all_reduce(case: Case, data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(reduce_ops(case.tensors[0].dtype)))
    name, local = register(case), case.local()
    expected = {
        rank: folded(op, [case.tensors[member] for member in case.group_of(rank)] or [own])
        for rank, own in enumerate(case.tensors)
    }
    check(case, F.all_reduce(local, op, name), expected)
    check(case, local, dict(enumerate(case.tensors)))  # functional: the input stays
    F.all_reduce_(local, op, name)
    check(case, local, expected)


@given(cases())
def test_members_that_hold_the_same_are_one_cohort(case: Case) -> None:
    name, local = register(case), case.local()
    result = F.all_reduce(local, "max", name)
    tuples = {
        tuple(case.equal_ranks[member] for member in group)
        if (group := case.group_of(rank))
        else (-1, case.equal_ranks[rank])
        for rank in range(case.world_size)
    }
    assert len(result.cohorts()) == len(tuples)


@given(cases())
def test_all_gather(case: Case) -> None:
    name, local = register(case), case.local()
    expected = {
        rank: torch.cat([case.tensors[member] for member in group])
        for rank in range(case.world_size)
        if (group := case.group_of(rank))
    }
    check(case, F.all_gather_into_tensor(local, len(case.groups[0]), name), expected)


@given(cases(rows_per_member=True), st.data())
def test_reduce_scatter(case: Case, data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(reduce_ops(case.tensors[0].dtype)))
    name, local = register(case), case.local()
    size = len(case.groups[0])
    expected = {
        rank: folded(op, [case.tensors[member] for member in group]).tensor_split(size)[i]
        for group in case.groups
        for i, rank in enumerate(group)
    }
    check(case, F.reduce_scatter_tensor(local, op, size, name), expected)


@given(cases(), st.data())
def test_broadcast(case: Case, data: st.DataObject) -> None:
    root = data.draw(st.integers(0, len(case.groups[0]) - 1))
    name, local = register(case), case.local()
    expected = {
        rank: case.tensors[group[root]] if (group := case.group_of(rank)) else own
        for rank, own in enumerate(case.tensors)
    }
    check(case, F.broadcast(local, root, name), expected)
    F.broadcast_(local, root, name)
    check(case, local, expected)
    local.copy_(local.logical_not())  # no two cohorts share memory
    negated = {rank: tensor.logical_not().to(tensor.dtype) for rank, tensor in expected.items()}
    check(case, local, negated)


@given(cases(rows_per_member=True))
def test_all_to_all_single(case: Case) -> None:
    name, local = register(case), case.local()
    size = len(case.groups[0])
    rows = case.tensors[0].shape[0] // size
    expected = {
        rank: torch.cat([case.tensors[member].tensor_split(size)[i] for member in group])
        for group in case.groups
        for i, rank in enumerate(group)
    }
    result = F.all_to_all_single(local, [rows] * size, [rows] * size, name)
    check(case, result, expected)


@given(st.integers(1, 5), st.data())
def test_all_to_all_single_with_split_sizes_of_each_rank(size: int, data: st.DataObject) -> None:
    sends = [[data.draw(st.integers(0, 3)) for _ in range(size)] for _ in range(size)]
    tensors = [torch.arange(sum(s)) + 100 * rank for rank, s in enumerate(sends)]
    with polyrank.lockstep(world_size=size):

        def ints(values: list[int]) -> int | torch.SymInt:
            same = len(set(values)) == 1
            node = polyrank.LocalIntNode(dict(enumerate(values)))
            return values[0] if same else torch.SymInt(node)

        input_sizes = [ints([sends[rank][to] for rank in range(size)]) for to in range(size)]
        output_sizes = [
            ints([sends[source][rank] for rank in range(size)]) for source in range(size)
        ]
        local = polyrank.rank_map(lambda rank: tensors[rank].clone())
        name = dist.group.WORLD.group_name
        result = F.all_to_all_single(local, output_sizes, input_sizes, name)
        for rank in range(size):
            pieces = [tensors[source].split(sends[source])[rank] for source in range(size)]
            assert torch.equal(result.on_rank(rank), torch.cat(pieces))
