"""Collectives of random programs: the call in lockstep, and a naive loop over the ranks' tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh


@dataclass(frozen=True)
class Family:
    """Disjoint groups of one size that act together, and how a program makes them."""

    kind: str  # "world", "mesh", "subgroups", "new_group"
    groups: tuple[tuple[int, ...], ...]
    mesh_dim: int = 0

    @property
    def group_size(self) -> int:
        return len(self.groups[0])

    def covers(self, world_size: int) -> bool:
        """Whether each rank is in a group."""
        return len(self.groups) * self.group_size == world_size

    def make(self) -> dist.ProcessGroup:
        """The process group that stands for the family in lockstep."""
        if self.kind == "world":
            return dist.group.WORLD
        if self.kind == "mesh":
            shape = (len(self.groups), self.group_size)
            mesh = init_device_mesh("cpu", shape if self.mesh_dim == 1 else shape[::-1])
            return mesh.get_group(self.mesh_dim)
        if self.kind == "subgroups":
            return dist.new_subgroups_by_enumeration([list(group) for group in self.groups])[0]
        (group,) = self.groups
        # In the simulator it may be NON_GROUP_MEMBER, and then it runs no step on it.
        return dist.new_group(list(group), sort_ranks=False)

    def differs_in_simulator(self, world_size: int) -> bool:
        """Whether LocalTensorMode acts on other groups: docs/differences.md, "Groups"."""
        group = next((group for group in self.groups if 0 in group), None)
        if group is None or group != tuple(sorted(group)):
            return True
        size, stride = len(group), group[1] if len(group) > 1 else 1
        if group != tuple(range(0, size * stride, stride)) or world_size % (size * stride):
            return True
        offsets = [base + i for base in range(0, world_size, size * stride) for i in range(stride)]
        return {tuple(offset + r for r in group) for offset in offsets} != set(self.groups)

    @property
    def is_contiguous(self) -> bool:
        """Whether each group's ranks follow each other."""
        return all(g == tuple(range(g[0], g[0] + len(g))) for g in self.groups)


# The tensor of the step, the process group, its size and the root's group rank -> a new tensor, or
# None if it wrote to the first.
Call = Callable[[Tensor, dist.ProcessGroup, int, int], Tensor | None]
# The members' tensors in the order of the group, and the root's group rank -> what each gets.
Naive = Callable[[list[Tensor], int], list[Tensor]]


@dataclass(frozen=True)
class Collective:
    """One collective: `is_in_place` writes to the step's tensor, others give one more.

    `outside` is what a rank that is in no group gets from the latter.
    """

    call: Call
    naive: Naive
    is_in_place: bool
    outside: Callable[[Tensor, int], Tensor] | None = None
    has_root: bool = False
    differs: Callable[[Family, int], bool] = lambda family, root: False

    def run(
        self, tensors: list[Tensor], which: int, group: dist.ProcessGroup, size: int, root: int
    ) -> None:
        """Call it through torch.distributed."""
        made = self.call(tensors[which % len(tensors)], group, size, root % size)
        if made is not None:
            tensors.append(made)

    def run_naively(
        self, tensors: Sequence[list[Tensor]], which: int, family: Family, root: int
    ) -> None:
        """Do the same to the tensors of each rank.

        Raises:
            ValueError: the members' tensors do not fit together.
        """
        inputs = [own[which % len(own)] for own in tensors]
        results: dict[int, Tensor] = {}
        for group in family.groups:
            members = [inputs[rank] for rank in group]
            if any(t.shape != members[0].shape or t.numel() == 0 for t in members):
                raise ValueError("members hold tensors of other shapes")
            if self.is_in_place and not all(t.is_contiguous() for t in members):
                raise ValueError("memory that gloo refuses, or takes in another order")
            given = self.naive([t.clone() for t in members], root % family.group_size)
            results |= dict(zip(group, given, strict=True))
        for rank, own in enumerate(tensors):
            if self.is_in_place:
                if rank in results:
                    inputs[rank].copy_(results[rank])
            elif rank in results:
                own.append(results[rank].clone(memory_format=torch.contiguous_format))
            elif self.outside is not None:
                own.append(self.outside(inputs[rank], family.group_size))
            else:
                raise ValueError("a rank outside of all groups gets nothing that is defined")

    def differs_in_simulator(self, family: Family, root: int, world_size: int) -> bool:
        """Whether docs/differences.md says that LocalTensorMode gets it wrong."""
        return family.differs_in_simulator(world_size) or self.differs(
            family, root % family.group_size
        )


def _fold(op: str, tensors: list[Tensor]) -> Tensor:
    folds = {"sum": torch.add, "avg": torch.add, "product": torch.mul}
    folds |= {"min": torch.minimum, "max": torch.maximum}
    folded = reduce(folds[op], tensors)
    if op != "avg":
        return folded
    rounding = None if folded.is_floating_point() else "trunc"
    return torch.div(folded, len(tensors), rounding_mode=rounding)


def _divided(tensors: list[Tensor]) -> None:
    if tensors[0].shape[0] % len(tensors):
        raise ValueError("rows that do not divide by the group size")


def _all_reduce(op: str) -> Collective:
    def call(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> None:
        dist.all_reduce(x, getattr(dist.ReduceOp, op.upper()), group=group)

    return Collective(call, lambda own, root: [_fold(op, own)] * len(own), is_in_place=True)


def _reduce(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> None:
    dist.reduce(x, group=group, group_dst=root)


def _naive_reduce(own: list[Tensor], root: int) -> list[Tensor]:
    return [_fold("sum", own) if i == root else t for i, t in enumerate(own)]


def _broadcast(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> None:
    dist.broadcast(x, group=group, group_src=root)


def _all_gather_into(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    result = torch.zeros(size * x.shape[0], x.shape[1], dtype=x.dtype)
    dist.all_gather_into_tensor(result, x.contiguous(), group=group)
    return result


def _all_gather(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    pieces = [torch.zeros(x.shape, dtype=x.dtype) for _ in range(size)]
    dist.all_gather(pieces, x.contiguous(), group=group)
    return torch.cat(pieces)


def _gather(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    pieces = [torch.zeros(x.shape, dtype=x.dtype) for _ in range(size)]
    dist.gather(x.contiguous(), pieces, group=group, group_dst=root)
    return torch.cat(pieces)


def _naive_gather(own: list[Tensor], root: int) -> list[Tensor]:
    gathered = torch.cat(own)
    return [gathered if i == root else torch.zeros_like(gathered) for i in range(len(own))]


def _reduce_scatter(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    result = torch.zeros(x.shape[0] // size, x.shape[1], dtype=x.dtype)
    dist.reduce_scatter_tensor(result, x.contiguous(), group=group)
    return result


def _naive_reduce_scatter(own: list[Tensor], root: int) -> list[Tensor]:
    _divided(own)
    return list(_fold("sum", own).chunk(len(own)))


def _scatter(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    result = torch.zeros(x.shape, dtype=x.dtype)
    dist.scatter(result, [x * (i + 1) for i in range(size)], group=group, group_src=root)
    return result


def _all_to_all(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    result = torch.zeros(x.shape, dtype=x.dtype)
    dist.all_to_all_single(result, x.contiguous(), group=group)
    return result


def _naive_all_to_all(own: list[Tensor], root: int) -> list[Tensor]:
    _divided(own)
    return [torch.cat([t.chunk(len(own))[i] for t in own]) for i in range(len(own))]


def _uneven_all_to_all(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    rank: Any = dist.get_rank(group)
    sizes = [(rank + i + root) % 3 for i in range(size)]  # member i sends j what j sends i
    result = torch.zeros(sum(sizes), x.shape[1], dtype=x.dtype)
    dist.all_to_all_single(result, x[:1].repeat(sum(sizes), 1), sizes, sizes, group=group)
    return result


def _naive_uneven(own: list[Tensor], root: int) -> list[Tensor]:
    size = len(own)
    return [
        torch.cat([own[j][:1].repeat((i + j + root) % 3, 1) for j in range(size)])
        for i in range(size)
    ]


def _functional_all_reduce(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    return funcol.wait_tensor(funcol.all_reduce(x, "avg", group))


def _functional_gather(x: Tensor, group: dist.ProcessGroup, size: int, root: int) -> Tensor:
    return funcol.wait_tensor(funcol.all_gather_tensor(x.contiguous(), 0, group))


def _gathered(own: list[Tensor], root: int) -> list[Tensor]:
    return [torch.cat(own)] * len(own)


def _zeros(rows_of: Callable[[int, int], int]) -> Callable[[Tensor, int], Tensor]:
    return lambda x, size: torch.zeros(rows_of(x.shape[0], size), x.shape[1], dtype=x.dtype)


def _always(family: Family, root: int) -> bool:
    return True


_SAME = _zeros(lambda rows, size: rows)
_TIMES = _zeros(lambda rows, size: rows * size)
_PART = _zeros(lambda rows, size: rows // size)

COLLECTIVES: dict[str, Collective] = {
    **{f"all_reduce {op}": _all_reduce(op) for op in ("sum", "avg", "product", "min", "max")},
    "reduce": Collective(_reduce, _naive_reduce, is_in_place=True, differs=_always),
    "broadcast": Collective(
        _broadcast,
        lambda own, root: [own[root]] * len(own),
        is_in_place=True,
        differs=lambda family, root: root != 0 and not family.is_contiguous,
    ),
    "all_gather_into_tensor": Collective(_all_gather_into, _gathered, False, _TIMES),
    "all_gather": Collective(
        _all_gather, _gathered, False, _TIMES, differs=lambda family, root: len(family.groups) > 1
    ),
    "gather": Collective(_gather, _naive_gather, False, _TIMES, differs=_always),
    "reduce_scatter_tensor": Collective(_reduce_scatter, _naive_reduce_scatter, False, _PART),
    "scatter": Collective(
        _scatter,
        lambda own, root: [own[root] * (i + 1) for i in range(len(own))],
        False,
        _SAME,
        differs=lambda family, root: root != 0,
    ),
    "all_to_all_single": Collective(_all_to_all, _naive_all_to_all, False, _SAME),
    "uneven all_to_all_single": Collective(
        _uneven_all_to_all, _naive_uneven, False, differs=_always
    ),
    "functional all_reduce": Collective(
        _functional_all_reduce, lambda own, root: [_fold("avg", own)] * len(own), False
    ),
    "functional all_gather": Collective(_functional_gather, _gathered, False),
}
