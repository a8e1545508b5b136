"""`torch.default_generator`'s own methods in lockstep: of each rank's stream, as on threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import DivergenceError
from polyrank.numbers.rank_dependent_numbers import number_on_rank

WORLD_SIZE = 3
DEFAULT = torch.default_generator


def restored(seed: Any) -> list[Any]:
    torch.manual_seed(seed)
    state = DEFAULT.get_state()
    first = torch.rand(2)
    DEFAULT.set_state(state)
    return [first, torch.rand(2)]


def seeded(seed: Any) -> list[Any]:
    torch.manual_seed(1)
    assert DEFAULT.manual_seed(seed) is DEFAULT
    return [torch.rand(2), torch.initial_seed(), DEFAULT.initial_seed()]


def seed_of_the_result(seed: Any) -> list[Any]:
    return [torch.manual_seed(seed).initial_seed(), torch.random.initial_seed(), torch.rand(1)]


def across(seed: Any) -> list[Any]:
    torch.manual_seed(seed)
    state = torch.get_rng_state()
    found = [torch.rand(2)]
    DEFAULT.set_state(state)
    found.append(torch.rand(2))
    torch.set_rng_state(DEFAULT.get_state())
    return [*found, torch.rand(2), torch.equal(DEFAULT.get_state(), torch.get_rng_state())]


def cloned(seed: Any) -> list[Any]:
    torch.manual_seed(seed)
    torch.rand(3)
    clone = DEFAULT.clone_state()
    return [torch.rand(2), torch.rand(2, generator=clone)]


def of_another_generator(_: Any) -> list[Any]:
    other = torch.Generator()
    other.manual_seed(5)
    state = other.get_state()
    first = torch.rand(2, generator=other)
    other.set_state(state)
    return [first, torch.rand(2, generator=other), other.initial_seed()]


PROGRAMS = (restored, seeded, seed_of_the_result, across, cloned, of_another_generator)


def on_rank(value: Any, rank: int) -> Any:
    if isinstance(value, polyrank.LocalTensor):
        return value.on_rank(rank).tolist()
    return value.tolist() if isinstance(value, torch.Tensor) else number_on_rank(value, rank)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("by_rank", [False, True])
def test_is_what_each_rank_alone_has(program: Callable[[Any], list[Any]], by_rank: bool) -> None:
    def run() -> list[Any]:
        return program(40 + dist.get_rank() if by_rank else 40)

    alone = polyrank.run_ranks(run, WORLD_SIZE)
    with polyrank.lockstep(WORLD_SIZE):
        if by_rank and program is cloned:
            with pytest.raises(DivergenceError, match="differ"):
                run()
            return
        together = run()
        for rank in range(WORLD_SIZE):
            found = [on_rank(value, rank) for value in together]
            assert found == [on_rank(value, rank) for value in alone[rank]]


def test_a_new_seed_is_all_ranks() -> None:
    with polyrank.lockstep(WORLD_SIZE):
        torch.manual_seed(dist.get_rank())
        seed = DEFAULT.seed()
        first = torch.rand(2)
        torch.manual_seed(seed)
        assert first.reconcile().tolist() == torch.rand(2).reconcile().tolist()
