"""Programs of collectives that run unchanged in real processes and in lockstep.

A program gets `make`, which turns a function of the rank into this rank's tensor (all ranks'
tensors in lockstep), and the process groups; it returns tensors. Values are small integers, so
that sums are exact in any order of summation and results can be compared bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch.distributed.device_mesh import init_device_mesh

WORLD_SIZE = 4

Make = Callable[[Callable[[int], torch.Tensor]], torch.Tensor]
Groups = dict[str, dist.ProcessGroup]
Program = Callable[[Make, Groups], list[torch.Tensor]]

PROGRAMS: dict[str, Program] = {}
# Those that gloo refuses in some of the supported versions of torch, and which.
REFUSED_BY_SOME = {"all_to_all_single of pieces of rows": "2.14 and later"}


@dataclass
class Suite:
    """Programs of one world, and how it makes its groups."""

    programs: dict[str, Program]
    make_groups: Callable[[], Groups]


def add(name: str, program: Program) -> None:
    """Give a program its name."""
    assert name not in PROGRAMS, name
    PROGRAMS[name] = program


def make_groups() -> Groups:
    """Groups of each kind, as programs make them."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    return {
        "world": dist.group.WORLD,
        "dp": mesh.get_group("dp"),
        "tp": mesh.get_group("tp"),
        "irregular": dist.new_subgroups_by_enumeration([[0, 3], [1, 2]])[0],
        "halves": dist.new_subgroups(2)[0],
        "strided": dist.new_subgroups_by_enumeration([[0, 2], [1, 3]])[0],
        "unsorted": dist.new_group([2, 0, 3, 1], sort_ranks=False),
        "alone": dist.new_group([0, 3]),
        "alone_without_0": dist.new_group([1, 2, 3]),
    }


GROUP_SIZES = {
    "world": 4,
    "dp": 2,
    "tp": 2,
    "irregular": 2,
    "halves": 2,
    "strided": 2,
    "unsorted": 4,
    "alone": 2,
    "alone_without_0": 3,
}
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTS = [torch.uint8, torch.int8, torch.int32, torch.int64]
COMPLEX = [torch.complex64, torch.complex128]


def small(rank: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Values 1..3 that differ between ranks and positions."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 7 + rank * 5) % 3 + 1).reshape(shape).to(dtype)


# --- Reductions, in each dtype ----------------------------------------------------------------


def _all_reduce(op: dist.ReduceOp, dtype: torch.dtype) -> Program:
    def run(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: small(rank, 2, 3, dtype=dtype))
        dist.all_reduce(t, op)
        return [t]

    return run


def _reduce_scatter(op: dist.ReduceOp, dtype: torch.dtype) -> Program:
    def run(make: Make, groups: Groups) -> list[torch.Tensor]:
        out = make(lambda rank: torch.zeros(2, dtype=dtype))
        dist.reduce_scatter_tensor(out, make(lambda rank: small(rank, 8, dtype=dtype)), op)
        return [out]

    return run


for _op in ("SUM", "MIN", "MAX", "PRODUCT", "AVG", "BAND", "BOR", "BXOR"):
    for _dtype in (
        INTS
        if _op.startswith("B")
        else FLOATS
        if _op == "AVG"
        else [*FLOATS, *INTS, *(COMPLEX if _op == "SUM" else [])]
    ):
        add(f"all_reduce {_op} {_dtype}", _all_reduce(getattr(dist.ReduceOp, _op), _dtype))
        if not _dtype.is_complex:
            program = _reduce_scatter(getattr(dist.ReduceOp, _op), _dtype)
            add(f"reduce_scatter_tensor {_op} {_dtype}", program)


def _all_reduce_bool(op: dist.ReduceOp) -> Program:
    def run(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: torch.tensor([rank % 2 == 0, rank < 9, rank > 9]))
        dist.all_reduce(t, op)
        return [t]

    return run


for _op in ("MIN", "MAX", "PRODUCT", "BAND", "BOR", "BXOR"):
    add(f"all_reduce {_op} bool", _all_reduce_bool(getattr(dist.ReduceOp, _op)))


# --- Each collective on each kind of group ----------------------------------------------------


def _on_group(group_name: str) -> dict[str, Program]:
    size = GROUP_SIZES[group_name]

    def all_reduce(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: small(rank, 3))
        work = dist.all_reduce(t, group=groups[group_name], async_op=True)
        if work is not None:
            assert work.wait() and work.is_completed()
        return [t]

    def all_gather(make: Make, groups: Groups) -> list[torch.Tensor]:
        out = [make(lambda rank: torch.zeros(2, 3)) for _ in range(size)]
        dist.all_gather(out, make(lambda rank: small(rank, 2, 3)), group=groups[group_name])
        return out

    def all_gather_into_tensor(make: Make, groups: Groups) -> list[torch.Tensor]:
        out = make(lambda rank: torch.zeros(2 * size, 3))
        t = make(lambda rank: small(rank, 2, 3))
        dist.all_gather_into_tensor(out, t, group=groups[group_name])
        return [out]

    def reduce_scatter(make: Make, groups: Groups) -> list[torch.Tensor]:
        out = make(lambda rank: torch.zeros(3))
        pieces = [make(lambda rank, i=i: small(rank + i, 3)) for i in range(size)]
        dist.reduce_scatter(out, pieces, group=groups[group_name])
        return [out]

    def reduce_scatter_tensor(make: Make, groups: Groups) -> list[torch.Tensor]:
        out = make(lambda rank: torch.zeros(1, 2))
        t = make(lambda rank: small(rank, size, 2))
        dist.reduce_scatter_tensor(out, t, group=groups[group_name])
        return [out]

    def broadcast(make: Make, groups: Groups) -> list[torch.Tensor]:
        tensors = [make(lambda rank: small(rank, 2)) for _ in range(size)]
        for root, t in enumerate(tensors):
            dist.broadcast(t, group=groups[group_name], group_src=root)
        return tensors

    def all_to_all_single(make: Make, groups: Groups) -> list[torch.Tensor]:
        out = make(lambda rank: torch.zeros(2 * size, 2))
        t = make(lambda rank: small(rank, 2 * size, 2) + 10 * rank)
        dist.all_to_all_single(out, t, group=groups[group_name])
        return [out]

    def all_reduce_coalesced(make: Make, groups: Groups) -> list[torch.Tensor]:
        tensors = [make(lambda rank: small(rank, 3)), make(lambda rank: small(rank, 2, 2))]
        dist.all_reduce_coalesced(tensors, group=groups[group_name])
        return tensors

    return {
        name: program
        for name, program in locals().items()
        if callable(program) and name not in ("size", "group_name")
    }


for _group in GROUP_SIZES:
    for _name, _program in _on_group(_group).items():
        add(f"{_name} on {_group}", _program)


# --- Functional collectives -------------------------------------------------------------------


def _functional_on_group(group_name: str) -> dict[str, Program]:
    size = GROUP_SIZES[group_name]

    def wait(tensor: torch.Tensor) -> torch.Tensor:
        return funcol.wait_tensor(tensor)

    def all_reduce(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: small(rank, 3))
        return [wait(funcol.all_reduce(t, "sum", groups[group_name])), t]

    def all_gather(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: small(rank, 2, 3))
        return [wait(funcol.all_gather_tensor(t, dim, groups[group_name])) for dim in (0, 1)]

    def reduce_scatter(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: small(rank, 2 * size, size))
        group = groups[group_name]
        return [wait(funcol.reduce_scatter_tensor(t, "sum", dim, group)) for dim in (0, 1)]

    def broadcast(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: small(rank, 3))
        return [wait(funcol.broadcast(t, 1, groups[group_name]))]

    def all_to_all(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: small(rank, 2 * size, 2))
        sizes = [2] * size
        return [wait(funcol.all_to_all_single(t, sizes, sizes, groups[group_name]))]

    def coalesced(make: Make, groups: Groups) -> list[torch.Tensor]:
        tensors = [make(lambda rank: small(rank, size)), make(lambda rank: small(rank, size, 2))]
        group = groups[group_name]
        return [
            wait(t)
            for results in (
                funcol.all_reduce_coalesced(tensors, "sum", group),
                funcol.all_gather_into_tensor_coalesced(tensors, group),
                funcol.reduce_scatter_tensor_coalesced(tensors, "sum", [0, 0], group),
            )
            for t in results
        ]

    return {
        name: program
        for name, program in locals().items()
        if callable(program) and name not in ("size", "group_name", "wait")
    }


for _group in ("world", "dp", "tp", "irregular", "strided"):
    for _name, _program in _functional_on_group(_group).items():
        add(f"functional {_name} on {_group}", _program)


# --- Shapes and memory ------------------------------------------------------------------------


def _shapes(make: Make, groups: Groups) -> list[torch.Tensor]:
    tensors = [make(lambda rank: small(rank, 0)), make(lambda rank: small(rank))]
    for t in tensors:
        dist.all_reduce(t)
    return tensors


def _view_of_shared_memory(make: Make, groups: Groups) -> list[torch.Tensor]:
    base = make(lambda rank: small(rank, 4, 4))
    dist.all_reduce(base[1:3], group=groups["tp"])
    dist.broadcast(base[:, 3].contiguous(), src=0)
    return [base]


def _places_that_differ(make: Make, groups: Groups) -> list[torch.Tensor]:
    """All ranks get the same, and each writes it to another row of what all hold alike."""
    tensors = [make(lambda rank: torch.arange(6.0).reshape(2, 3)) for _ in range(2)]
    reduced, sent = (tensor.narrow(0, dist.get_rank() % 2, 1) for tensor in tensors)
    dist.all_reduce(reduced, group=groups["world"])
    dist.broadcast(sent, 1, group=groups["world"])
    return tensors


def _in_place_all_gather(make: Make, groups: Groups) -> list[torch.Tensor]:
    out = make(lambda rank: torch.zeros(4, 2) + rank)
    dist.all_gather_into_tensor(out, make(lambda rank: small(rank, 1, 2)))
    dist.all_reduce(out, group=groups["dp"])
    return [out]


def _uneven_reduce_scatter(make: Make, groups: Groups) -> list[torch.Tensor]:
    out = make(lambda rank: torch.zeros(rank + 1))
    pieces = [make(lambda rank, i=i: small(rank, i + 1)) for i in range(WORLD_SIZE)]
    dist.reduce_scatter(out, pieces)
    return [out]


def _even_split_sizes(make: Make, groups: Groups) -> list[torch.Tensor]:
    out = make(lambda rank: torch.zeros(4))
    t = make(lambda rank: small(rank, 4) + 10 * rank)
    dist.all_to_all_single(out, t, [1] * 4, [1] * 4)
    return [out]


def _pieces_of_rows(make: Make, groups: Groups) -> list[torch.Tensor]:
    flat = make(lambda rank: torch.zeros(2, 4))
    dist.all_to_all_single(flat, make(lambda rank: small(rank, 2, 4)))
    return [flat]


def _barriers(make: Make, groups: Groups) -> list[torch.Tensor]:
    dist.barrier()
    work = dist.barrier(group=groups["tp"], async_op=True)
    work.wait()
    return []


def _chain(make: Make, groups: Groups) -> list[torch.Tensor]:
    t = make(lambda rank: small(rank, 4))
    dist.all_reduce(t, group=groups["tp"])
    gathered = make(lambda rank: torch.zeros(8))
    dist.all_gather_into_tensor(gathered, t * 2, group=groups["dp"])
    mine = make(lambda rank: torch.zeros(4))
    dist.reduce_scatter_tensor(mine, gathered, group=groups["halves"])
    dist.broadcast(mine, src=3)
    return [t, gathered, mine]


add("empty and 0-dim", _shapes)
add("view of shared memory", _view_of_shared_memory)
add("the same into places that differ", _places_that_differ)
add("all_gather, then all_reduce, of one tensor", _in_place_all_gather)
add("reduce_scatter of an uneven list", _uneven_reduce_scatter)
add("all_to_all_single with even split sizes", _even_split_sizes)
add("all_to_all_single of pieces of rows", _pieces_of_rows)
add("barriers", _barriers)
add("chain", _chain)
