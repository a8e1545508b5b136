"""torch.compile in lockstep: functions run uncompiled, with the right values."""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch._higher_order_ops import associative_scan, while_loop
from torch._higher_order_ops.map import map as control_flow_map
from torch._higher_order_ops.wrap import wrap
from torch.nn.attention.flex_attention import flex_attention

Function = Callable[[torch.Tensor], torch.Tensor]


def _all_reduced(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    dist.all_reduce(y)
    return y + 1


FUNCTIONS: dict[str, Function] = {
    "pointwise": lambda x: (x * 2 + x).relu().sum(0),
    "rank": lambda x: x * dist.get_rank(),
    "factory": lambda x: torch.ones(2) + x,
    "collective": _all_reduced,
    "in_place": lambda x: x.clone().mul_(3)[1:],
}


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_compiled_function_gives_what_the_function_gives(
    name: str, backend: str, lockstep: polyrank.LocalTensorMode
) -> None:
    x = polyrank.rank_map(lambda rank: torch.arange(6.0).reshape(3, 2) - rank)
    compiled = torch.compile(FUNCTIONS[name], backend=backend)
    got, expected = compiled(x), FUNCTIONS[name](x)
    assert isinstance(got, polyrank.LocalTensor)
    for rank in range(4):
        assert torch.equal(got.on_rank(rank), expected.on_rank(rank))  # type: ignore[attr-defined]


def test_gradients_through_a_compiled_module(lockstep: polyrank.LocalTensorMode) -> None:
    linear = torch.nn.Linear(2, 3)
    x = polyrank.rank_map(lambda rank: torch.full((4, 2), float(rank)))
    torch.compile(linear, backend="aot_eager")(x).sum().backward()
    gradient = linear.weight.grad
    assert isinstance(gradient, polyrank.LocalTensor)
    assert torch.equal(gradient.on_rank(3), torch.full((3, 2), 12.0))


def test_a_function_with_fullgraph_runs_as_any_other(lockstep: polyrank.LocalTensorMode) -> None:
    compiled = torch.compile(_all_reduced, backend="eager", fullgraph=True)
    x = polyrank.rank_map(lambda rank: torch.full((2,), float(rank)))
    assert torch.equal(compiled(x).reconcile(), torch.full((2,), 13.0))  # type: ignore[attr-defined]


# What takes functions: PyTorch compiles and traces these when they are called eagerly.
TAKES_FUNCTIONS: dict[str, Function] = {
    "cond": lambda x: torch.cond((x * 0).sum() > 1, torch.sin, torch.square, (x,)),
    "cond of the size": lambda x: torch.cond(len(x) == 2, torch.sin, torch.square, (x,)),
    "while_loop": lambda x: while_loop(
        lambda i, _: i < 3, lambda i, x: (i + 1, x * 2 + i), (torch.tensor(0), x)
    )[1],
    "map": lambda x: control_flow_map(lambda row: row * row, x),
    "associative_scan": lambda x: associative_scan(torch.mul, x, 0, combine_mode="generic"),
    "wrap": lambda x: wrap(lambda y: y + torch.ones(2), x),
    "flex_attention": lambda x: flex_attention(
        *[x.reshape(1, 1, 2, 1).expand(1, 2, 2, 16)] * 3,
        score_mod=lambda score, _batch, _head, i, j: score + (i - j),
    ).sum((0, 1)),
}


@pytest.mark.parametrize("name", TAKES_FUNCTIONS)
def test_what_takes_functions_gives_what_each_rank_alone_gives(name: str) -> None:
    def of_rank(rank: int) -> torch.Tensor:
        return torch.arange(2.0) + rank

    with polyrank.lockstep(3):
        together = TAKES_FUNCTIONS[name](polyrank.rank_map(of_rank))
    assert isinstance(together, polyrank.LocalTensor)
    for rank in range(3):
        alone = TAKES_FUNCTIONS[name](of_rank(rank))
        assert torch.equal(together.on_rank(rank), alone)


def test_gradients_through_cond(lockstep: polyrank.LocalTensorMode) -> None:
    x = polyrank.rank_map(lambda rank: torch.full((3,), float(rank))).requires_grad_()
    torch.cond((x * 0).sum() > 1, torch.sin, torch.square, (x,)).sum().backward()
    assert isinstance(x.grad, polyrank.LocalTensor)
    assert torch.equal(x.grad.on_rank(3), torch.full((3,), 6.0))


def test_ranks_that_would_take_different_functions_are_told(
    lockstep: polyrank.LocalTensorMode,
) -> None:
    x = polyrank.rank_map(lambda rank: torch.full((3,), float(rank)))
    with pytest.raises(polyrank.DivergenceError, match="False on rank 0, True on ranks 1-3"):
        torch.cond(x.sum() > 1, torch.sin, torch.square, (x,))
    with pytest.raises(polyrank.DivergenceError, match="True on rank 0, False on ranks 1-3"):
        while_loop(lambda x: x.sum() < 3, lambda x: (x + 1,), (x,))


def test_outside_of_the_mode_functions_are_compiled() -> None:
    graphs = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(lambda x: x + torch.tensor(1.0), backend=keep, fullgraph=True)
    with polyrank.lockstep(4):
        assert isinstance(compiled(torch.ones(2)), polyrank.LocalTensor)
        assert not graphs
    assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 2.0))
    assert len(graphs) == 1
