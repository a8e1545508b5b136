"""Each collective, dtype and kind of group as a program of its own, for a world of any size.

A program runs unchanged in real gloo processes and in lockstep, as those of programs.py do. Sums
are exact in any order: their terms are small integers, or there are two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from collectives.programs import Groups, Make, Program, Suite
from torch.distributed.device_mesh import init_device_mesh

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTS = [torch.uint8, torch.int8, torch.int32, torch.int64]
DTYPES = [*FLOATS, *INTS]
QUICK_DTYPES = [torch.float32, torch.bfloat16, torch.int64]
REDUCE_OPS = ("SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR")

# A collective on one group, in one dtype.
Collective = Callable[["Setting"], list[torch.Tensor]]


class Setting:
    """What a collective of the sweep works with."""

    def __init__(self, make: Make, group: dist.ProcessGroup, size: int, dtype: torch.dtype) -> None:
        self.make = make
        self.group = group
        self.size = size
        self.dtype = dtype
        self.rank: Any = dist.get_rank(group)  # -1 for who is not in the group
        self.is_lockstep = isinstance(self.rank, torch.SymInt)

    def values(self, *shape: int, salt: int = 0) -> torch.Tensor:
        """Numbers that differ between ranks and positions."""
        return self.make(lambda rank: draw(rank + 100 * salt, shape, self.dtype, self.size == 2))

    def zeros(self, *shape: int) -> torch.Tensor:
        """What a collective is to overwrite."""
        return self.make(lambda rank: torch.zeros(shape, dtype=self.dtype))

    def on_root(self, value: Any, root: int) -> Any:
        """A list that PyTorch takes on the root alone; in lockstep all ranks give it."""
        return value if self.is_lockstep or self.rank == root else None

    def of_root(self, tensor: torch.Tensor, root: int) -> torch.Tensor:
        """Zeros on ranks besides the root, where gloo leaves partial sums."""
        is_root = torch.zeros((), dtype=torch.int64) + self.rank == root
        return torch.where(is_root, tensor, torch.zeros_like(tensor))


def draw(seed: int, shape: tuple[int, ...], dtype: torch.dtype, is_wide: bool) -> torch.Tensor:
    """Integers 1..3, or any numbers of the dtype where they may be wide."""
    generator = torch.Generator().manual_seed(seed)
    if is_wide and dtype.is_floating_point:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return torch.randint(1, 4, shape, generator=generator).to(dtype)


# --- Reductions -------------------------------------------------------------------------------


def reductions(op_name: str) -> dict[str, Collective]:
    """The collectives that fold values, with one reduce op."""
    op = getattr(dist.ReduceOp, op_name)

    def all_reduce(case: Setting) -> list[torch.Tensor]:
        t = case.values(2, 3)
        dist.all_reduce(t, op, group=case.group)
        return [t]

    def reduce(case: Setting) -> list[torch.Tensor]:
        results = []
        for root in range(case.size):
            t = case.values(5, salt=root)
            dist.reduce(t, op=op, group=case.group, group_dst=root)
            results.append(case.of_root(t, root))
        return results

    def reduce_scatter(case: Setting) -> list[torch.Tensor]:
        out = case.zeros(3)
        pieces = [case.values(3, salt=i) for i in range(case.size)]
        dist.reduce_scatter(out, pieces, op, group=case.group)
        return [out]

    def reduce_scatter_tensor(case: Setting) -> list[torch.Tensor]:
        out = case.zeros(2, 2)
        dist.reduce_scatter_tensor(out, case.values(2 * case.size, 2), op, group=case.group)
        return [out]

    def all_reduce_coalesced(case: Setting) -> list[torch.Tensor]:
        tensors = [case.values(3), case.values(2, 2, salt=1)]
        dist.all_reduce_coalesced(tensors, op, group=case.group)
        return tensors

    runs = (all_reduce, reduce, reduce_scatter, reduce_scatter_tensor, all_reduce_coalesced)
    return {f"{run.__name__} {op_name}": run for run in runs}


# --- What moves values ------------------------------------------------------------------------


def broadcast(case: Setting) -> list[torch.Tensor]:
    tensors = [case.values(2, 2, salt=i) for i in range(case.size)]
    for root, t in enumerate(tensors):
        dist.broadcast(t, group=case.group, group_src=root)
    return tensors


def all_gather(case: Setting) -> list[torch.Tensor]:
    out = [case.zeros(2, 3) for _ in range(case.size)]
    dist.all_gather(out, case.values(2, 3), group=case.group)
    return out


def all_gather_into_tensor(case: Setting) -> list[torch.Tensor]:
    out = case.zeros(2 * case.size, 3)
    work = dist.all_gather_into_tensor(out, case.values(2, 3), group=case.group, async_op=True)
    if work is not None:
        work.wait()
    return [out]


def all_gather_coalesced(case: Setting) -> list[torch.Tensor]:
    out = [[case.zeros(2), case.zeros(3)] for _ in range(case.size)]
    dist.all_gather_coalesced(out, [case.values(2), case.values(3, salt=1)], group=case.group)
    return [t for of_member in out for t in of_member]


def gather(case: Setting) -> list[torch.Tensor]:
    results = []
    for root in range(case.size):
        out = [case.zeros(3) for _ in range(case.size)]
        t = case.values(3, salt=root)
        dist.gather(t, case.on_root(out, root), group=case.group, group_dst=root)
        results += out
    return results


def scatter(case: Setting) -> list[torch.Tensor]:
    results = []
    for root in range(case.size):
        out = case.zeros(3)
        pieces = [case.values(3, salt=i) for i in range(case.size)]
        dist.scatter(out, case.on_root(pieces, root), group=case.group, group_src=root)
        results.append(out)
    return results


def all_to_all_single(case: Setting) -> list[torch.Tensor]:
    out = case.zeros(2 * case.size, 2)
    dist.all_to_all_single(out, case.values(2 * case.size, 2), group=case.group)
    return [out]


def all_to_all(case: Setting) -> list[torch.Tensor]:
    out = [case.zeros(2) for _ in range(case.size)]
    dist.all_to_all(out, [case.values(2, salt=i) for i in range(case.size)], group=case.group)
    return out


def uneven_all_to_all_single(case: Setting) -> list[torch.Tensor]:
    # Member g sends (g + 2 i) % 3 rows to member i.
    sent = [(case.rank + 2 * i) % 3 for i in range(case.size)]
    received = [(i + 2 * case.rank) % 3 for i in range(case.size)]
    full = case.values(2 * case.size, 2)
    out = torch.zeros(sum(received), 2, dtype=case.dtype)
    dist.all_to_all_single(out, full[: sum(sent)], received, sent, group=case.group)
    return [out]


def send_and_receive(case: Setting) -> list[torch.Tensor]:
    if case.size == 1:
        return []
    out, t = case.zeros(3), case.values(3)
    after, before = (case.rank + 1) % case.size, (case.rank - 1) % case.size
    works = [
        dist.isend(t, group=case.group, group_dst=after),
        dist.irecv(out, group=case.group, group_src=before),
    ]
    for work in works:
        if work is not None:
            work.wait()
    return [out]


def batch_of_messages(case: Setting) -> list[torch.Tensor]:
    if case.size == 1 or (not case.is_lockstep and case.rank < 0):
        return [case.zeros(2), case.zeros(3)]
    outs = [case.zeros(2), case.zeros(3)]
    sent = [case.values(2), case.values(3, salt=1)]
    after, before = (case.rank + 1) % case.size, (case.rank - 1) % case.size
    messages = [
        dist.P2POp(dist.irecv, outs[0], group=case.group, group_peer=before, tag=1),
        dist.P2POp(dist.isend, sent[0], group=case.group, group_peer=after, tag=1),
        dist.P2POp(dist.irecv, outs[1], group=case.group, group_peer=after, tag=2),
        dist.P2POp(dist.isend, sent[1], group=case.group, group_peer=before, tag=2),
    ]
    for work in dist.batch_isend_irecv(messages):
        work.wait()
    return outs


MOVES: dict[str, Collective] = {
    run.__name__: run
    for run in (
        broadcast,
        all_gather,
        all_gather_into_tensor,
        all_gather_coalesced,
        gather,
        scatter,
        all_to_all_single,
        all_to_all,
        uneven_all_to_all_single,
        send_and_receive,
        batch_of_messages,
    )
}


# --- Functional collectives, with their gradients -----------------------------------------------


def gradient(case: Setting, run: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
    """What `run` gives, and its gradient for weights that differ between ranks."""
    t = case.values(2 * case.size, 2).requires_grad_()
    result = run(t)
    weights = case.values(4 * case.size * case.size, salt=7)[: result.numel()].view(result.shape)
    (grad,) = torch.autograd.grad((result * weights).sum(), t)
    return [(result * 1).detach(), grad]  # the product waits for the result


def all_gather_autograd(case: Setting) -> list[torch.Tensor]:
    return gradient(case, lambda t: funcol.all_gather_tensor_autograd(t, 0, case.group))


def reduce_scatter_autograd(case: Setting) -> list[torch.Tensor]:
    return gradient(case, lambda t: funcol.reduce_scatter_tensor_autograd(t, "sum", 0, case.group))


def all_to_all_autograd(case: Setting) -> list[torch.Tensor]:
    sizes = [2] * case.size
    return gradient(case, lambda t: funcol.all_to_all_single_autograd(t, sizes, sizes, case.group))


def uneven_all_to_all_autograd(case: Setting) -> list[torch.Tensor]:
    sent = [(case.rank + 2 * i) % 3 for i in range(case.size)]
    received = [(i + 2 * case.rank) % 3 for i in range(case.size)]
    t = case.values(2 * case.size, 2)[: sum(sent)].clone().requires_grad_()
    result = funcol.all_to_all_single_autograd(t, received, sent, case.group)
    weights = case.values(2 * case.size, 2, salt=7)[: sum(received)]
    (grad,) = torch.autograd.grad((result * weights).sum(), t)
    return [(result * 1).detach(), grad]  # the product waits for the result


def shard_dim_all_to_all(case: Setting) -> list[torch.Tensor]:
    t = case.values(2, 3 * case.size)
    name = case.group.group_name
    return [torch.ops._dtensor.shard_dim_alltoall(t, 0, 1, name)]


AUTOGRAD: dict[str, Collective] = {
    run.__name__: run
    for run in (
        all_gather_autograd,
        reduce_scatter_autograd,
        all_to_all_autograd,
        uneven_all_to_all_autograd,
        shard_dim_all_to_all,
    )
}


# --- Groups -----------------------------------------------------------------------------------


def groups_of(world_size: int) -> dict[str, int]:
    """The kinds of groups in a world of that size, and the size of each."""
    sizes = {"world": world_size, "unsorted": world_size}
    if world_size > 2:
        sizes["alone"] = 2
        sizes["alone_unsorted"] = world_size - 1
    if world_size == 4:
        sizes |= {"contiguous": 2, "strided": 2, "irregular": 2, "dp": 2, "tp": 2, "slice": 2}
    return sizes


def make_groups(world_size: int) -> Groups:
    """Those groups; `slice` is a dimension of a slice of a mesh of three dimensions."""
    groups: dict[str, Any] = {
        "world": dist.group.WORLD,
        "unsorted": dist.new_group([*range(1, world_size), 0], sort_ranks=False),
    }
    if world_size > 2:
        groups["alone"] = dist.new_group([0, world_size - 1])
        groups["alone_unsorted"] = dist.new_group([*range(world_size - 1, 0, -1)], sort_ranks=False)
    if world_size == 4:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        deep = init_device_mesh("cpu", (2, 1, 2), mesh_dim_names=("a", "b", "c"))
        groups |= {
            "contiguous": dist.new_subgroups(2)[0],
            "strided": dist.new_subgroups_by_enumeration([[0, 2], [1, 3]])[0],
            "irregular": dist.new_subgroups_by_enumeration([[0, 3], [1, 2]])[0],
            "dp": mesh.get_group("dp"),
            "tp": mesh.get_group("tp"),
            "slice": deep["a", "c"].get_group("c"),
        }
    return groups


def applies(op_name: str, dtype: torch.dtype) -> bool:
    """Whether gloo and we fold that dtype with the reduce op, and alike (averages of ints differ)."""
    is_float = dtype.is_floating_point
    return not is_float if op_name.startswith("B") else is_float or op_name != "AVG"


def _program(run: Collective, group_name: str, size: int, dtype: torch.dtype) -> Program:
    return lambda make, groups: run(Setting(make, groups[group_name], size, dtype))


# What takes part in the gradients and in shard_dim_alltoall must be in the group.
_NOT_FOR_PART_OF_THE_WORLD = frozenset({"alone", "alone_unsorted"})


def suite(world_size: int, dtypes: list[torch.dtype]) -> Suite:
    """The programs of a world of that size."""
    programs: dict[str, Program] = {}

    def add(name: str, run: Collective, dtype: torch.dtype, group: str, size: int) -> None:
        programs[f"{name} {dtype} on {group}"] = _program(run, group, size, dtype)

    for group, size in groups_of(world_size).items():
        for dtype in dtypes:
            for op in REDUCE_OPS:
                for name, run in reductions(op).items() if applies(op, dtype) else ():
                    add(name, run, dtype, group, size)
            for name, run in MOVES.items():
                add(name, run, dtype, group, size)
        for name, run in AUTOGRAD.items():
            if group not in _NOT_FOR_PART_OF_THE_WORLD:
                add(name, run, torch.float64, group, size)
    return Suite(programs, lambda: make_groups(world_size))
