"""Generators of virtual GPUs: each has a stream, which a seed, a state or a fork sets."""

from __future__ import annotations

from collections.abc import Callable

import polyrank
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F


def _cpu_rand(seed: int) -> list[float]:
    return torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize(
    "seed", [torch.manual_seed, torch.cuda.manual_seed, torch.cuda.manual_seed_all]
)
def test_a_seed_starts_the_cpus_stream_of_that_seed(seed: Callable[[int], object]) -> None:
    seed(7)
    assert torch.rand(3, device="cuda").tolist() == _cpu_rand(7)
    assert torch.cuda.initial_seed() == 7


@pytest.mark.parametrize("seed", [2**63 + 5, 2**64 - 1, -3])
def test_seeds_are_of_64_bits(seed: int) -> None:
    with polyrank.lockstep(2):
        torch.cuda.manual_seed_all(seed)
        drawn = torch.rand(3, device="cuda")
    assert drawn.reconcile().tolist() == _cpu_rand(seed)


def test_cpu_and_gpus_draw_from_streams_of_their_own() -> None:
    torch.manual_seed(3)
    first = torch.rand(3, device="cuda")
    assert torch.rand(3, device="cuda:1").tolist() == first.tolist()
    assert torch.rand(3).tolist() == first.tolist()
    torch.cuda.manual_seed(4)
    torch.rand(2)
    assert torch.rand(3, device="cuda").tolist() == _cpu_rand(4)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: F.dropout(x),
        lambda x: torch.nn.functional.dropout2d(x.view(1, 3, 2, 2)),
        torch.rand_like,
        lambda x: torch.empty_like(x).normal_(),
        torch.bernoulli,
        lambda x: torch.multinomial(x, 2),
        lambda x: torch.randperm(5, device=x.device),
        lambda x: torch.randint(9, (3,), device=x.device),
        lambda x: F.rrelu(x, training=True),
        lambda x: F.gumbel_softmax(x),
        lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5),
        lambda x: torch.nn.init.trunc_normal_(torch.empty_like(x)),
        lambda x: torch.poisson(x),
        lambda x: torch.distributions.Gamma(x + 1, x + 1).sample(),
    ],
)
def test_draws_are_a_cpus_and_leave_the_cpus_stream_alone(draw: Callable[[Tensor], Tensor]) -> None:
    x = torch.full((3, 4), 0.3)
    torch.manual_seed(2)
    expected = draw(x)
    torch.manual_seed(2)
    torch.cuda.manual_seed(2)
    state = torch.get_rng_state()
    drawn = draw(x.cuda())
    assert torch.equal(drawn.cpu(), expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_states_are_taken_and_given_back() -> None:
    state = torch.cuda.get_rng_state(1)
    first = torch.rand(3, device="cuda:1")
    torch.cuda.set_rng_state(state, 1)
    assert torch.equal(torch.rand(3, device="cuda:1"), first)
    with torch.random.fork_rng():
        torch.rand(3, device="cuda:1")
        after_fork = torch.rand(3, device="cuda:1")
    torch.rand(3, device="cuda:1")
    assert torch.equal(torch.rand(3, device="cuda:1"), after_fork)
    assert len(torch.cuda.get_rng_state_all()) == 2


def test_a_generator_of_ones_own() -> None:
    generator = torch.Generator(device="cuda").manual_seed(9)
    assert torch.rand(3, generator=generator, device="cuda").tolist() == _cpu_rand(9)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator"):
        torch.rand(3, generator=torch.Generator(), device="cuda")
    with pytest.raises(RuntimeError, match="no offset"):
        generator.get_offset()
