"""Seeds that differ between ranks: of torch each rank's own; of Python and numpy nobody draws."""
# ruff: noqa: NPY002 (programs draw so; names are replaced while a mode is on)

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import DivergenceError

DRAWS: dict[str, tuple[Callable[[object], object], Callable[[], object]]] = {
    "random": (lambda seed: random.seed(seed), lambda: random.random()),
    "randint": (lambda seed: random.seed(seed), lambda: random.randint(0, 9)),
    "shuffle": (lambda seed: random.seed(seed), lambda: random.shuffle([1, 2])),
    "getstate": (lambda seed: random.seed(seed), lambda: random.getstate()),
    "numpy": (lambda seed: np.random.seed(seed), lambda: np.random.rand()),
    "permutation": (lambda seed: np.random.seed(seed), lambda: np.random.permutation(4)),
    "get_state": (lambda seed: np.random.seed(seed), lambda: np.random.get_state()),
}


@pytest.mark.parametrize("how", DRAWS)
def test_who_seeds_by_rank_draws_nothing_until_the_next_seed(
    how: str, lockstep: polyrank.LocalTensorMode
) -> None:
    seed, draw = DRAWS[how]
    for of_rank in (dist.get_rank(), 7 + 3 * dist.get_rank()):
        seed(of_rank)
        with pytest.raises(
            DivergenceError, match=r"seeded with a number that differs .*torch\.rand"
        ):
            draw()
    seed(5)
    draw()


def test_a_seed_that_ranks_share_draws_as_without_a_mode() -> None:
    random.seed(3)
    np.random.seed(3)
    expected = [random.random(), np.random.rand()]
    with polyrank.lockstep(4):
        random.seed(3 + dist.get_rank() * 0)
        np.random.seed(3)
        assert [random.random(), np.random.rand()] == expected


def test_a_seed_by_rank_is_forgotten_with_its_mode() -> None:
    with polyrank.lockstep(2):
        random.seed(dist.get_rank())
    random.random()
    with polyrank.lockstep(2):
        random.random()


GENERATORS: dict[str, Callable[[object], object]] = {
    "Random": random.Random,
    "default_rng": lambda seed: np.random.default_rng(seed),
    "default_rng of a list": lambda seed: np.random.default_rng([seed, 1]),
    "RandomState": np.random.RandomState,
    "Generator": lambda seed: torch.Generator().manual_seed(seed),
    "Generator on a device": lambda seed: torch.Generator(device="cpu").manual_seed(seed),
}


@pytest.mark.parametrize("how", GENERATORS)
def test_a_generator_of_the_programs_own_has_one_seed(
    how: str, lockstep: polyrank.LocalTensorMode
) -> None:
    with pytest.raises(DivergenceError, match="threads world"):
        GENERATORS[how](dist.get_rank())
    GENERATORS[how](3)


def test_generators_are_pytorchs(lockstep: polyrank.LocalTensorMode) -> None:
    generator = torch.Generator().manual_seed(5)
    drawn = torch.rand(3, generator=generator)
    assert isinstance(torch.default_generator, torch.Generator)
    assert isinstance(generator, torch.Generator)
    assert not isinstance(5, torch.Generator)
    with polyrank.enabled_local_tensor_mode().disable():  # type: ignore[union-attr]
        expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
    assert torch.equal(drawn.on_rank(2), expected)  # type: ignore[attr-defined]


def test_torch_has_a_stream_a_rank(lockstep: polyrank.LocalTensorMode) -> None:
    torch.manual_seed(dist.get_rank())
    drawn = torch.rand(2)
    assert len(drawn.cohorts()) == 4  # type: ignore[attr-defined]
