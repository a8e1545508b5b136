"""Sums that depend on their order: by collective, dtype, size and group."""

from __future__ import annotations

import torch
import torch.distributed as dist
from collectives.programs import Groups, Make, Program, Suite

SIZES = [1, 2, 3, 7, 64, 1001, 65_537]
# Beyond what gloo sends at a time, 1 MiB, on 2 ranks and on 3.
LARGE = 1_300_003
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64]
PROGRAMS: dict[str, Program] = {}


def drawn(rank: int, size: int, dtype: torch.dtype) -> torch.Tensor:
    """Values of very different sizes, so that each order of adding them has a sum of its own."""
    generator = torch.Generator().manual_seed(1000 * rank + size % 1000)
    exponents = torch.randint(-6, 6, (size,), generator=generator).double()
    values = torch.randn(size, generator=generator, dtype=torch.float64) * 2**exponents
    if dtype.is_complex:
        return torch.complex(values, values.flip(0)).to(dtype)
    return values.to(dtype)


def all_reduce(
    size: int, dtype: torch.dtype, op: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM
) -> Program:
    def run(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(lambda rank: drawn(rank, size, dtype))
        dist.all_reduce(t, op)
        return [t]

    return run


def of_nans(size: int, op: dist.ReduceOp.RedOpType, dtype: torch.dtype) -> Program:
    """The least, or largest, of members that hold NaN here and there."""

    def with_nans(rank: int) -> torch.Tensor:
        t = drawn(rank, size, dtype)
        return torch.where(drawn(rank + 99, size, dtype) > 2, torch.nan, t)

    def run(make: Make, groups: Groups) -> list[torch.Tensor]:
        t = make(with_nans)
        dist.all_reduce(t, op)
        return [t.nan_to_num(12345.0)]  # equal to itself

    return run


def coalesced(make: Make, groups: Groups) -> list[torch.Tensor]:
    sizes = (5, 33, 1)
    tensors = [make(lambda rank, n=n: drawn(rank, n, torch.float32)) for n in sizes]
    with dist._coalescing_manager():
        for tensor in tensors:
            dist.all_reduce(tensor)
    return tensors


def reduce_scatter(size: int, *, as_list: bool) -> Program:
    def run(make: Make, groups: Groups) -> list[torch.Tensor]:
        num = dist.get_world_size()
        out = make(lambda rank: torch.zeros(size))
        if as_list:
            inputs = [
                make(lambda rank, i=i: drawn(rank + 50 * i, size, torch.float32))
                for i in range(num)
            ]
            dist.reduce_scatter(out, inputs)
        else:
            whole = make(lambda rank: drawn(rank, size * num, torch.float32))
            dist.reduce_scatter_tensor(out, whole)
        return [out]

    return run


def reduce(size: int) -> Program:
    def run(make: Make, groups: Groups) -> list[torch.Tensor]:
        root = dist.get_world_size() - 1
        t = make(lambda rank: drawn(rank, size, torch.float32))
        before = t.clone()
        dist.reduce(t, root)
        # What the others hold afterwards is not defined.
        is_root = make(lambda rank: torch.tensor(rank == root))
        return [torch.where(is_root, t, before)]

    return run


def upper_ranks(make: Make, groups: Groups) -> list[torch.Tensor]:
    t = make(lambda rank: drawn(rank, 101, torch.float32))
    dist.all_reduce(t, group=groups["all but the first"])
    return [t]


for dtype in DTYPES:
    for size in SIZES:
        PROGRAMS[f"all_reduce {size} {dtype}"] = all_reduce(size, dtype)
PROGRAMS["all_reduce large"] = all_reduce(LARGE, torch.float32)
PROGRAMS["all_reduce product"] = all_reduce(101, torch.float32, dist.ReduceOp.PRODUCT)
for size in (1, 64, 1001):
    for dtype in (torch.float32, torch.bfloat16):
        PROGRAMS[f"max of NaN {size} {dtype}"] = of_nans(size, dist.ReduceOp.MAX, dtype)
        PROGRAMS[f"min of NaN {size} {dtype}"] = of_nans(size, dist.ReduceOp.MIN, dtype)
PROGRAMS["coalesced"] = coalesced
for size in (1, 33, 1001):
    PROGRAMS[f"reduce {size}"] = reduce(size)
    PROGRAMS[f"reduce_scatter {size}"] = reduce_scatter(size, as_list=False)
    PROGRAMS[f"reduce_scatter of a list {size}"] = reduce_scatter(size, as_list=True)
PROGRAMS["upper_ranks"] = upper_ranks


def make_groups() -> Groups:
    """The default group, and one of most ranks where there are enough."""
    num = dist.get_world_size()
    return {"all but the first": dist.new_group(range(min(1, num - 2), num))}


SUITE = Suite(PROGRAMS, make_groups)
