"""Programs that call each collective as a method of a process group, in any world.

A program gets the group, a function that makes this rank's tensor (all ranks' in lockstep), and a
dtype; it returns tensors. Sums are exact in any order, or of two terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from collectives.sweep import draw

Make = Callable[[Callable[[int], torch.Tensor]], torch.Tensor]
Program = Callable[["Case"], list[torch.Tensor]]

DTYPES = [torch.float32, torch.bfloat16, torch.int64]
REDUCE_OPS = ["SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR"]


class Case:
    """What a program works with."""

    def __init__(self, group: dist.ProcessGroup, make: Make, dtype: torch.dtype) -> None:
        self.group: Any = group
        self.make = make
        self.dtype = dtype
        self.size = group.size()
        self.rank: Any = group.rank()
        self.is_lockstep = isinstance(self.rank, torch.SymInt)

    def values(self, *shape: int, salt: int = 0) -> torch.Tensor:
        """Numbers that differ between ranks and positions."""
        return self.make(lambda rank: draw(rank + 100 * salt, shape, self.dtype, self.size == 2))

    def zeros(self, *shape: int) -> torch.Tensor:
        """What a collective is to overwrite."""
        return self.make(lambda rank: torch.zeros(shape, dtype=self.dtype))

    def on_root_only(self, tensor: torch.Tensor, root: int) -> torch.Tensor:
        """Zeros elsewhere, where gloo leaves partial sums."""
        is_root = torch.zeros((), dtype=torch.int64) + self.rank == root
        return torch.where(is_root, tensor, torch.zeros_like(tensor))


def _with_op(options: Any, op: Any) -> Any:
    options.reduceOp = op
    return options


def _reductions(name: str) -> dict[str, Program]:
    op = getattr(dist.ReduceOp, name)

    def allreduce(case: Case) -> list[torch.Tensor]:
        t = case.values(2, 3)
        case.group.allreduce([t], _with_op(dist.AllreduceOptions(), op)).wait()
        return [t]

    def reduce(case: Case) -> list[torch.Tensor]:
        results = []
        for root in range(case.size):
            t = case.values(5, salt=root)
            options = _with_op(dist.ReduceOptions(), op)
            options.rootRank = root
            case.group.reduce([t], options).wait()
            results.append(case.on_root_only(t, root))
        return results

    def reduce_scatter(case: Case) -> list[torch.Tensor]:
        out = case.zeros(3)
        pieces = [case.values(3, salt=i) for i in range(case.size)]
        case.group.reduce_scatter([out], [pieces], _with_op(dist.ReduceScatterOptions(), op)).wait()
        return [out]

    def reduce_scatter_base(case: Case) -> list[torch.Tensor]:
        out = case.zeros(2, 2)
        options = _with_op(dist.ReduceScatterOptions(), op)
        case.group._reduce_scatter_base(out, case.values(2 * case.size, 2), options).wait()
        return [out]

    def allreduce_coalesced(case: Case) -> list[torch.Tensor]:
        tensors = [case.values(3), case.values(2, 2, salt=1)]
        options = _with_op(dist.AllreduceCoalescedOptions(), op)
        case.group.allreduce_coalesced(tensors, options).wait()
        return tensors

    runs = (allreduce, reduce, reduce_scatter, reduce_scatter_base, allreduce_coalesced)
    return {f"{run.__name__} {name}": run for run in runs}


def broadcast(case: Case) -> list[torch.Tensor]:
    tensors = [case.values(2, 2, salt=i) for i in range(case.size)]
    for root, t in enumerate(tensors):
        options = dist.BroadcastOptions()
        options.rootRank = root
        case.group.broadcast([t], options).wait()
    return tensors


def allgather(case: Case) -> list[torch.Tensor]:
    out = [case.zeros(2, 3) for _ in range(case.size)]
    case.group.allgather([out], [case.values(2, 3)]).wait()
    return out


def allgather_base(case: Case) -> list[torch.Tensor]:
    out = case.zeros(2 * case.size, 3)
    case.group._allgather_base(out, case.values(2, 3)).wait()
    return [out]


def allgather_coalesced(case: Case) -> list[torch.Tensor]:
    out = [[case.zeros(2), case.zeros(3)] for _ in range(case.size)]
    case.group.allgather_coalesced(out, [case.values(2), case.values(3, salt=1)]).wait()
    return [t for of_member in out for t in of_member]


def allgather_into_tensor_coalesced(case: Case) -> list[torch.Tensor]:
    out = [case.zeros(2 * case.size), case.zeros(3 * case.size)]
    inputs = [case.values(2), case.values(3, salt=1)]
    case.group.allgather_into_tensor_coalesced(out, inputs).wait()
    return out


def gather(case: Case) -> list[torch.Tensor]:
    results = []
    for root in range(case.size):
        out = [case.zeros(3) for _ in range(case.size)]
        options = dist.GatherOptions()
        options.rootRank = root
        lists = [out] if case.is_lockstep or case.rank == root else []
        case.group.gather(lists, [case.values(3, salt=root)], options).wait()
        results += out
    return results


def scatter(case: Case) -> list[torch.Tensor]:
    results = []
    for root in range(case.size):
        out = case.zeros(3)
        pieces = [case.values(3, salt=i) for i in range(case.size)]
        options = dist.ScatterOptions()
        options.rootRank = root
        lists = [pieces] if case.is_lockstep or case.rank == root else []
        case.group.scatter([out], lists, options).wait()
        results.append(out)
    return results


def alltoall_base(case: Case) -> list[torch.Tensor]:
    out = case.zeros(2 * case.size, 2)
    case.group.alltoall_base(out, case.values(2 * case.size, 2), [], []).wait()
    return [out]


def alltoall(case: Case) -> list[torch.Tensor]:
    out = [case.zeros(2) for _ in range(case.size)]
    case.group.alltoall(out, [case.values(2, salt=i) for i in range(case.size)]).wait()
    return out


def send_and_recv(case: Case) -> list[torch.Tensor]:
    out, t = case.zeros(3), case.values(3)
    after, before = (case.rank + 1) % case.size, (case.rank - 1) % case.size
    works = [case.group.send([t], after, 5), case.group.recv([out], before, 5)]
    for work in works:
        work.wait()
    return [out]


def part(case: Case) -> list[torch.Tensor]:
    # The group of the pair that this rank is in, twice, and the whole afterwards.
    first = case.rank // 2 * 2
    results = []
    for _ in range(2):
        pair = case.group.split_group([first, first + 1])
        t = case.values(4, salt=3)
        pair.allreduce([t]).wait()
        results += [t, case.make(lambda rank: torch.zeros(1)) + pair.rank()]
    whole = case.values(4)
    case.group.allreduce([whole]).wait()
    return [*results, whole]


def barrier(case: Case) -> list[torch.Tensor]:
    case.group.barrier().wait()
    return []


MOVES: list[Program] = [
    broadcast,
    allgather,
    allgather_base,
    allgather_coalesced,
    allgather_into_tensor_coalesced,
    gather,
    scatter,
    alltoall_base,
    alltoall,
    send_and_recv,
    part,
    barrier,
]


def applies(op: str, dtype: torch.dtype) -> bool:
    """Whether gloo and we fold that dtype with the reduce op, and alike."""
    is_float = dtype.is_floating_point
    return not is_float if op.startswith("B") else is_float or op != "AVG"


def programs(dtype: torch.dtype) -> dict[str, Program]:
    """All programs that a dtype can run."""
    found = {run.__name__: run for run in MOVES}
    for op in REDUCE_OPS:
        if applies(op, dtype):
            found |= _reductions(op)
    return found


def run_all(group: dist.ProcessGroup, make: Make) -> dict[str, list[torch.Tensor]]:
    """What each program gives, on this rank or all."""
    return {
        f"{name} {dtype}": run(Case(group, make, dtype))
        for dtype in DTYPES
        for name, run in programs(dtype).items()
    }
