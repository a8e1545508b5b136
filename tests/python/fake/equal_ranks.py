"""Programs whose ranks all do the same with the same values: what the fake world assumes.

`SUITE` is run by real gloo processes (collectives/gloo_processes.py) and by each rank in a fake
world, with the same results.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from collectives.programs import Groups, Make, Program, Suite, make_groups

WORLD_SIZE = 4
GROUPS = ("world", "dp", "tp", "unsorted", "strided")

Tensors = list[torch.Tensor]


def ramp(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Small numbers: their sums and products are exact in any order."""
    return (torch.arange(torch.Size(shape).numel()) % 5 - 2).to(dtype).reshape(shape)


def _all_reduce(op: dist.ReduceOp, dtype: torch.dtype) -> Callable[[dist.ProcessGroup], Tensors]:
    def run(group: dist.ProcessGroup) -> Tensors:
        x = ramp(3, 2, dtype=dtype)
        dist.all_reduce(x, op, group)
        return [x]

    return run


def _rooted(group: dist.ProcessGroup) -> Tensors:
    size = dist.get_world_size(group)
    root = size - 1
    is_root = dist.get_rank(group) == root
    same, sum_at_root = ramp(4), ramp(4)
    dist.broadcast(same, group=group, group_src=root)
    dist.reduce(sum_at_root, group=group, group_dst=root)
    gathered = [torch.zeros(4) for _ in range(size)] if is_root else None
    dist.gather(ramp(4), gathered, group=group, group_dst=root)
    at_root = [sum_at_root, *(gathered or [])]
    if hasattr(dist, "gather_single"):  # not in every supported torch
        at_root.append(torch.zeros(size, 4))
        dist.gather_single(ramp(4), at_root[-1] if is_root else None, group=group, group_dst=root)
    # What reduce() leaves on the others is gloo's scratch.
    return [same, *(at_root if is_root else [])]


def _all_gather(group: dist.ProcessGroup) -> Tensors:
    size = dist.get_world_size(group)
    whole, listed = torch.zeros(2 * size, 3), [torch.zeros(2, 3) for _ in range(size)]
    dist.all_gather_into_tensor(whole, ramp(2, 3), group=group)
    dist.all_gather(listed, ramp(2, 3), group=group)
    return [whole, *listed]


def _reduce_scatter(group: dist.ProcessGroup) -> Tensors:
    size = dist.get_world_size(group)
    piece, of_list = torch.zeros(2, 3), torch.zeros(3)
    dist.reduce_scatter_tensor(piece, ramp(2 * size, 3), group=group)
    dist.reduce_scatter(of_list, [ramp(3) + i for i in range(size)], group=group)
    return [piece, of_list]


def _all_to_all(group: dist.ProcessGroup) -> Tensors:
    size = dist.get_world_size(group)
    even = torch.zeros(2 * size)
    dist.all_to_all_single(even, ramp(2 * size), group=group)
    return [even]


def _mixture_of_experts(group: dist.ProcessGroup) -> Tensors:
    """Counts sent ahead, then as many rows."""
    size = dist.get_world_size(group)
    counts = torch.arange(size) + 1
    incoming = torch.zeros_like(counts)
    dist.all_to_all_single(incoming, counts, group=group)
    tokens = ramp(int(counts.sum()), 2)
    received = tokens.new_zeros(int(incoming.sum()), 2)
    dist.all_to_all_single(received, tokens, incoming.tolist(), counts.tolist(), group=group)
    return [incoming, received]


def _objects(group: dist.ProcessGroup) -> Tensors:
    size = dist.get_world_size(group)
    is_root = dist.get_rank(group) == 0
    gathered: list[dict[str, int] | None] = [None] * size
    dist.all_gather_object(gathered, {"batch": 7}, group=group)
    broadcast = [{"batch": 9}]
    dist.broadcast_object_list(broadcast, group=group, group_src=1)
    at_root: list[int | None] | None = [None] * size if is_root else None
    dist.gather_object(11, at_root, group=group, group_dst=0)
    counts = [one["batch"] for one in (*gathered, *broadcast) if one is not None]
    return [torch.tensor([*counts, *(at_root or [])])]


def _ring(group: dist.ProcessGroup) -> Tensors:
    """Each sends to the next and receives from the one before, which sent the same."""
    size, rank = dist.get_world_size(group), dist.get_rank(group)
    buffer = torch.zeros(3)
    works = [
        dist.irecv(buffer, group=group, group_src=(rank - 1) % size),
        dist.isend(ramp(3) + 1, group=group, group_dst=(rank + 1) % size),
    ]
    for work in works:
        assert work is not None
        work.wait()
    batched = torch.zeros(2)
    operations = [
        dist.P2POp(dist.irecv, batched, group=group, group_peer=(rank - 1) % size),
        dist.P2POp(dist.isend, ramp(2) - 1, group=group, group_peer=(rank + 1) % size),
    ]
    for work in dist.batch_isend_irecv(operations):
        work.wait()
    return [buffer, batched]


def _functional(group: dist.ProcessGroup) -> Tensors:
    size = dist.get_world_size(group)
    return [
        functional.wait_tensor(tensor)
        for tensor in (
            functional.all_reduce(ramp(3), "sum", group),
            functional.all_gather_tensor(ramp(2, 3), 0, group),
            functional.reduce_scatter_tensor(ramp(2 * size), "sum", 0, group),
            functional.all_to_all_single(ramp(size, 2), None, None, group),
        )
    ]


def _asynchronous(group: dist.ProcessGroup) -> Tensors:
    x = ramp(4)
    work = dist.all_reduce(x, group=group, async_op=True)
    assert work is not None
    work.wait()
    dist.barrier(group)
    return [x]


_OPS = {
    "sum": dist.ReduceOp.SUM,
    "product": dist.ReduceOp.PRODUCT,
    "min": dist.ReduceOp.MIN,
    "max": dist.ReduceOp.MAX,
}
_BITWISE = {"band": dist.ReduceOp.BAND, "bor": dist.ReduceOp.BOR, "bxor": dist.ReduceOp.BXOR}
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.int64, torch.int8, torch.uint8)

_CALLS: dict[str, Callable[[dist.ProcessGroup], Tensors]] = {
    **{
        f"all_reduce_{name}_{dtype}": _all_reduce(op, dtype)
        for name, op in _OPS.items()
        for dtype in _DTYPES
    },
    **{f"all_reduce_{name}": _all_reduce(op, torch.int32) for name, op in _BITWISE.items()},
    "all_gather": _all_gather,
    "all_to_all": _all_to_all,
    "asynchronous": _asynchronous,
    "functional": _functional,
    "mixture_of_experts": _mixture_of_experts,
    "objects": _objects,
    "reduce_scatter": _reduce_scatter,
    "ring": _ring,
    "rooted": _rooted,
}


def _on(group_name: str, call: Callable[[dist.ProcessGroup], Tensors]) -> Program:
    def program(make: Make, groups: Groups) -> Tensors:
        return call(groups[group_name])

    return program


PROGRAMS: dict[str, Program] = {
    f"{name}_on_{group}": _on(group, call) for name, call in _CALLS.items() for group in GROUPS
}
SUITE = Suite(PROGRAMS, make_groups)
