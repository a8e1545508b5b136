"""Assert that a program gives each rank what it gives a rank that runs it alone.

    assert_as_alone(lambda x, y: x.add_(y), shared(4), distinct(4))

runs the function four times with plain tensors and once, in a mode, with LocalTensors; results and
arguments must be the same afterwards, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polyrank
import torch
from oracle.op_samples import clone_exactly
from oracle.rank_by_rank import assert_each_rank, each_rank, local_int
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RANKS = 4


@dataclass(frozen=True)
class Argument:
    """What an argument of the program is on each rank.

    Ranks with equal entries of `variant` hold `values[variant]` together.
    """

    values: Sequence[Any]
    variant: Sequence[int]

    def on_rank(self, rank: int) -> Any:
        """A fresh copy of the plain value that one rank has."""
        value = self.values[self.variant[rank]]
        return clone_exactly(value) if isinstance(value, Tensor) else value

    def on_all_ranks(self) -> Any:
        """The same as a LocalTensor or rank-dependent int; ranks that share are one cohort."""
        if not isinstance(self.values[0], Tensor):
            values = [self.values[v] for v in self.variant]
            return values[0] if len(set(values)) == 1 else local_int(values)
        with polyrank.maybe_disable_local_tensor_mode():
            copies = [clone_exactly(value).detach() for value in self.values]
        return polyrank.LocalTensor(
            {rank: copies[v] for rank, v in enumerate(self.variant)},
            requires_grad=self.values[0].requires_grad,
        )


def distinct(
    *shape: int,
    dtype: torch.dtype = torch.float32,
    requires_grad: bool = False,
    ranks: int = RANKS,
    seed: int = 0,
) -> Argument:
    """Other random values on each rank."""
    return _random(range(ranks), shape, dtype, requires_grad, seed)


def shared(
    *shape: int,
    dtype: torch.dtype = torch.float32,
    requires_grad: bool = False,
    ranks: int = RANKS,
    seed: int = 0,
) -> Argument:
    """The same random values on all ranks: one cohort."""
    return _random([0] * ranks, shape, dtype, requires_grad, seed)


def mixed(
    *shape: int,
    dtype: torch.dtype = torch.float32,
    requires_grad: bool = False,
    ranks: int = RANKS,
    seed: int = 0,
) -> Argument:
    """Two cohorts: even ranks and odd ranks."""
    return _random([rank % 2 for rank in range(ranks)], shape, dtype, requires_grad, seed)


def each(*values: Any) -> Argument:
    """These tensors or ints, one for each rank."""
    return Argument(values, range(len(values)))


def same(value: Any, ranks: int = RANKS) -> Argument:
    """The same tensor on all ranks."""
    return Argument([value], [0] * ranks)


def _random(
    variant: Sequence[int],
    shape: Sequence[int],
    dtype: torch.dtype,
    requires_grad: bool,
    seed: int,
) -> Argument:
    values = []
    for v in range(max(variant) + 1):
        generator = torch.Generator().manual_seed(1000 * seed + v)
        if dtype.is_floating_point or dtype.is_complex:
            value = torch.randn(shape, dtype=dtype, generator=generator)
        else:
            value = torch.randint(0, 10, shape, generator=generator).to(dtype)
        values.append(value.requires_grad_(requires_grad))
    return Argument(values, list(variant))


def run_alone(program: Callable[..., Any], *arguments: Argument) -> dict[int, Any]:
    """For each rank the program's result and the arguments as it left them."""

    def of_rank(rank: int) -> Any:
        own = [argument.on_rank(rank) for argument in arguments]
        return program(*own), own

    return each_rank(of_rank, len(arguments[0].variant) if arguments else RANKS)


def assert_as_alone(program: Callable[..., Any], *arguments: Argument, in_mode: bool = True) -> Any:
    """Assert it of one program; returns its result on all ranks, for further questions."""
    expected = run_alone(program, *arguments)
    own = [argument.on_all_ranks() for argument in arguments]
    if in_mode:
        with polyrank.LocalTensorMode(len(expected)):
            result = program(*own)
    else:
        result = program(*own)
    assert_each_rank((result, own), expected)
    return result
