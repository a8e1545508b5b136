"""A rank that traces or compiles waits for others, which run as if nobody did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polyrank
import torch
import torch.distributed as dist
from torch import nn
from torch._functorch import eager_transforms
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx


class Waiting(nn.Module):
    """Lets the others run in the middle of its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> Any:
        first = self.linear(x)
        dist.barrier()
        dist.barrier()
        return self.linear(first) + x


def meanwhile(others: Callable[[], Any]) -> Any:
    dist.barrier()
    seen = others()
    dist.barrier()
    return seen


def uses_of_a_compiled_function() -> list[Any]:
    """What a module and a function that is compiled give, and how often it is compiled."""
    compiled = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    double = torch.compile(lambda x: nn.functional.relu(x * 2), backend=backend)
    return [nn.Identity()(torch.ones(1)).item(), double(torch.ones(1)).item(), len(compiled)]


def test_others_run_while_one_rank_traces() -> None:
    def program() -> Any:
        if dist.get_rank() > 0:
            return meanwhile(uses_of_a_compiled_function)
        return [node.op for node in torch.fx.symbolic_trace(Waiting()).graph.nodes]

    call = nn.Module.__call__
    traced, *others = polyrank.run_ranks(program, 3)
    assert traced == ["placeholder", "call_module", "call_module", "call_function", "output"]
    assert others == [[1.0, 2.0, 1]] * 2
    assert nn.Module.__call__ is call


def test_all_ranks_trace_at_once_and_then_compile() -> None:
    def program() -> Any:
        if dist.get_rank() == 1:
            dist.barrier()  # begins, and ends, while rank 0 traces
        torch.fx.symbolic_trace(Waiting())
        if dist.get_rank() == 0:
            dist.barrier()
        return uses_of_a_compiled_function()

    assert polyrank.run_ranks(program, 2) == [[1.0, 2.0, 1]] * 2


def test_one_ranks_stance_and_nesting_are_no_others() -> None:
    def program() -> Any:
        if dist.get_rank() == 0:
            with torch.compiler.set_stance("force_eager"):
                return meanwhile(uses_of_a_compiled_function)[2]
        if dist.get_rank() == 1:

            def waiting(x: torch.Tensor) -> torch.Tensor:
                meanwhile(lambda: None)
                return x * 3

            return torch.func.jvp(waiting, (torch.ones(1),), (torch.ones(1),))[1].item()
        return meanwhile(
            lambda: [eager_transforms.JVP_NESTING, uses_of_a_compiled_function()[2]],
        )

    assert polyrank.run_ranks(program, 3) == [0, 3.0, [0, 1]]


def test_one_ranks_make_fx_is_no_others() -> None:
    def program() -> Any:
        if dist.get_rank() > 0:
            return meanwhile(lambda: [get_proxy_mode(), *uses_of_a_compiled_function()])

        def waiting(x: torch.Tensor) -> torch.Tensor:
            meanwhile(lambda: None)
            return x * 3

        *_, last, _ = make_fx(waiting)(torch.ones(1)).graph.nodes
        return str(last.target)

    assert polyrank.run_ranks(program, 2) == ["aten.mul.Tensor", [None, 1.0, 2.0, 1]]


def test_one_ranks_compiling_is_no_others() -> None:
    def program() -> list[bool]:
        seen = []

        def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
            dist.barrier()
            dist.barrier()
            return graph.forward

        if dist.get_rank() == 0:
            torch.compile(lambda x: x + 1, backend=backend)(torch.ones(1))
        else:
            dist.barrier()  # the other one compiles
            seen.append(torch.compiler.is_compiling())
            dist.barrier()
        return [*seen, torch.compiler.is_compiling()]

    assert polyrank.run_ranks(program, 2) == [[False], [False, False]]


def test_a_reset_is_the_ranks_own() -> None:
    """What others have compiled stays, which they may be about to run."""

    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    def program() -> list[int]:
        compiled = []

        def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
            compiled.append(graph)
            return graph.forward

        f = torch.compile(double, backend=backend)
        counts = []
        for _ in range(2):
            f(torch.ones(1))
            counts.append(len(compiled))
            if dist.get_rank() == 1:
                torch._dynamo.reset()
            dist.barrier()
        f(torch.ones(1))
        return [*counts, len(compiled)]

    assert polyrank.run_ranks(program, 3) == [[1, 1, 1], [1, 2, 3], [1, 1, 1]]
    torch._dynamo.reset()
