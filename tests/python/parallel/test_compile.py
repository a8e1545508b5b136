"""torch.compile in lockstep: functions run uncompiled, with the right values."""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
import torch.distributed as dist

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


def test_fullgraph_is_refused_with_the_reason(lockstep: polyrank.LocalTensorMode) -> None:
    compiled = torch.compile(lambda x: x + 1, backend="eager", fullgraph=True)
    with pytest.raises(RuntimeError, match="dispatch mode present"):
        compiled(torch.ones(2))


def test_outside_of_the_mode_functions_are_compiled(lockstep: polyrank.LocalTensorMode) -> None:
    graphs = []

    def keep(graph: torch.fx.GraphModule, _: object) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    compiled = torch.compile(lambda x: x + 1, backend=keep)
    assert isinstance(compiled(torch.ones(2)), polyrank.LocalTensor)
    assert not graphs
    with torch.utils._python_dispatch._disable_current_modes():
        assert torch.equal(
            torch.compile(lambda x: x + 1, backend=keep)(torch.ones(2)), torch.full((2,), 2.0)
        )
    assert len(graphs) == 1
