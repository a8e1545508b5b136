"""What only some ranks raise is a branch in which ranks part; what all raise is the program's error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy, embedding

Call = Callable[[Any], Any]

# Each raises where the number is 2 or more, and nowhere else.
CALLS: dict[str, Call] = {
    "select": lambda n: torch.ones(2)[n],
    "view": lambda n: torch.ones(2).view(n + 1, -1),
    "broadcast": lambda n: torch.ones(2) + torch.ones(n + 1),
    "gather": lambda n: torch.ones(2).gather(0, torch.tensor([0]) + n),
    "index_put": lambda n: torch.ones(2).index_put_((torch.tensor([0]) + n,), torch.ones(1)),
    "embedding": lambda n: embedding(torch.tensor([0]) + n, torch.ones(2, 3)),
    "loss": lambda n: cross_entropy(torch.ones(1, 2), torch.tensor([0]) + n),
    "cholesky": lambda n: torch.linalg.cholesky(torch.eye(2) * (1.5 - n)),
    "zeros": lambda n: torch.zeros(1 - n),
    "item": lambda n: torch.ones(1 + n // 2).item(),
    "float": lambda n: float(torch.ones(1 + n // 2)),
    "reshape": lambda n: torch.ones(2 + n // 2).reshape(2, 1),
    "unflatten": lambda n: torch.ones(2 + n // 2).unflatten(0, (2, 1)),
    "batch": lambda n: cross_entropy(torch.ones(1 + n // 2, 2), torch.tensor([0])),
    "backward": lambda n: (2 * torch.ones(1 + n // 2, requires_grad=True)).backward(),
    "state_dict": lambda n: torch.nn.PReLU().load_state_dict({"weight": torch.ones(1 + n // 2)}),
    "sqrt": lambda n: math.sqrt(1 - n),
    "factorial": lambda n: math.factorial(1 - n),
    "shift": lambda n: 1 << (1 - n),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_error_on_some_ranks_is_no_branch_of_all(name: str) -> None:
    with polyrank.lockstep(4), pytest.raises(polyrank.DivergenceError, match=r"ranks 2-3"):
        try:
            CALLS[name](dist.get_rank())
        except Exception:  # noqa: BLE001 - ranks 0 and 1 have none
            pytest.fail("all ranks went the way of some")


@pytest.mark.parametrize("name", CALLS)
def test_an_error_on_all_ranks_is_the_programs(name: str) -> None:
    call = CALLS[name]
    with pytest.raises(Exception) as alone:
        call(2)
    with polyrank.lockstep(4):
        try:
            call(dist.get_rank() + 2)
        except Exception as error:  # noqa: BLE001
            assert isinstance(error, type(alone.value))
        else:
            pytest.fail("it did not raise")


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_raised_where_no_rank_raises(name: str) -> None:
    with polyrank.lockstep(2):
        CALLS[name](dist.get_rank())


def test_errors_of_several_types_are_a_divergence() -> None:
    # gamma(0) is a ValueError, gamma(172) an OverflowError
    with polyrank.lockstep(2), pytest.raises(polyrank.DivergenceError, match="several types"):
        math.gamma(172 * dist.get_rank())


def test_a_divergence_within_a_handler_of_all_errors_ends_the_program() -> None:
    def program() -> str:
        try:
            return "first" if dist.get_rank() == 0 else "other"
        except Exception:  # noqa: BLE001
            return "neither"

    assert polyrank.run_ranks(program, 2) == ["first", "other"]
    with polyrank.lockstep(2), pytest.raises(polyrank.DivergenceError):
        program()
