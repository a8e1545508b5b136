"""Each rank draws from the random stream that this rank alone would have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
from oracle.as_alone import Argument, assert_as_alone, distinct, mixed, shared
from oracle.rank_by_rank import (
    assert_each_rank,
    each_rank,
    local_int,
    num_cohorts,
    ranks_in_cohorts,
)
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

DRAWS: dict[str, Callable[[Tensor], Any]] = {
    "rand": lambda _: torch.rand(5),
    "randn": lambda _: torch.randn(3, 2),
    "randint": lambda _: torch.randint(0, 100, (7,)),
    "randperm": lambda _: torch.randperm(9),
    "rand_like": torch.rand_like,
    "randn_like": torch.randn_like,
    "randint_like": lambda x: torch.randint_like(x, 9),
    "normal": lambda x: (torch.normal(x, 2.0), torch.normal(0.0, 1.0, (3,))),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "multinomial": lambda x: torch.multinomial(x.exp(), 2),
    "poisson": lambda x: torch.poisson(x.exp()),
    "dropout": lambda x: functional.dropout(x, 0.4, training=True),
    "dropout in place": lambda x: functional.dropout(x, 0.4, training=True, inplace=True),
    "alpha_dropout": lambda x: functional.alpha_dropout(x, 0.4, training=True),
    "feature_dropout": lambda x: functional.dropout1d(x[None], 0.4, training=True),
    "rrelu": lambda x: functional.rrelu(x, training=True),
    "gumbel_softmax": functional.gumbel_softmax,
    "uniform_": lambda x: x.uniform_(),
    "normal_": lambda x: x[1:].normal_(),
    "random_": lambda x: x.random_(0, 50),
    "exponential_": lambda x: x.exponential_(),
    "geometric_": lambda x: x.geometric_(0.3),
    "log_normal_": lambda x: x.log_normal_(),
    "cauchy_": lambda x: x.cauchy_(),
    "bernoulli_": lambda x: x.bernoulli_(0.5),
    "init": torch.nn.init.kaiming_uniform_,
    "attention": lambda x: functional.scaled_dot_product_attention(
        x[None], x[None], x[None], dropout_p=0.3
    ),
    "several": lambda x: (torch.rand(3), torch.randn(3), torch.rand(2), x.uniform_(), x.sum()),
    "distribution": lambda x: torch.distributions.Normal(x, 1.0).sample((2,)),
}
draws = pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())


def run_with_seeds(draw: Callable[[Tensor], Any], x: Argument, seeds: list[int]) -> Any:
    """Draws with seeds of the ranks, checks each rank against itself alone; returns the result."""

    def program(x: Tensor, seed: int) -> Any:
        torch.manual_seed(seed)
        return draw(x), torch.rand(3)  # the second shows that each stream went on as far

    return assert_as_alone(program, x, Argument(seeds, range(4)))


@draws
@pytest.mark.parametrize("make", [shared, mixed, distinct])
def test_each_rank_draws_as_if_alone(
    draw: Callable[[Tensor], Any], make: Callable[..., Argument]
) -> None:
    run_with_seeds(draw, make(4, 4), [3, 4, 5, 6])
    run_with_seeds(draw, make(4, 4), [3, 4, 3, 4])
    run_with_seeds(draw, make(4, 4), [7, 7, 7, 7])


@draws
def test_ranks_with_one_state_stay_one_cohort(draw: Callable[[Tensor], Any]) -> None:
    results = run_with_seeds(draw, shared(4, 4), [7, 7, 7, 7])
    for result in torch.utils._pytree.tree_leaves(results):
        assert num_cohorts(result) == 1


def test_ranks_with_equal_seeds_share_a_cohort() -> None:
    drawn, _ = run_with_seeds(lambda _: torch.rand(3), shared(2), [3, 4, 3, 4])
    assert ranks_in_cohorts(drawn) == [[0, 2], [1, 3]]


def test_state_in_which_a_mode_is_entered() -> None:
    torch.manual_seed(5)
    torch.rand(3)
    expected = each_rank(lambda _: torch.rand(4), 4)
    with polyrank.LocalTensorMode(4):
        assert_each_rank(torch.rand(4), expected)


def test_streams_that_parted_and_never_meet() -> None:
    def program(size: int) -> Any:
        torch.manual_seed(1)
        first = torch.rand(size)  # ranks draw different amounts
        return first, torch.rand(2)

    assert_as_alone(program, Argument([3, 5, 3, 8], range(4)))


def test_equal_states_after_seeding_again_are_one_cohort() -> None:
    with polyrank.LocalTensorMode(4):
        torch.manual_seed(local_int((1, 2, 3, 4)))
        assert num_cohorts(torch.rand(2)) == 4
        torch.manual_seed(9)
        assert num_cohorts(torch.rand(2)) == 1


def test_streams_that_drew_the_same_amount_of_distinct_operands_stay_together() -> None:
    x = distinct(4).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        torch.manual_seed(1)
        functional.dropout(x, 0.5)
        assert num_cohorts(torch.rand(3)) == 1


def test_dropout_cohorts() -> None:
    x = shared(8, 8).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        torch.manual_seed(1)
        assert num_cohorts(functional.dropout(x, 0.5)) == 1
        torch.manual_seed(local_int((1, 2, 1, 2)))
        assert num_cohorts(functional.dropout(x, 0.5)) == 2
        torch.manual_seed(local_int((1, 2, 3, 4)))
        assert num_cohorts(functional.dropout(x, 0.5)) == 4
        assert num_cohorts(functional.dropout(x, 0.5, training=False)) == 1


def test_get_and_set_state() -> None:
    def program(seed: int) -> Any:
        torch.manual_seed(seed)
        torch.rand(2)
        state = torch.get_rng_state()
        first = torch.rand(3)
        torch.set_rng_state(state)
        return state, first, torch.rand(3)

    assert_as_alone(program, Argument([3, 4, 3, 5], range(4)))
    assert_as_alone(program, Argument([3, 3, 3, 3], range(4)))


def test_plain_state_is_set_on_all_ranks() -> None:
    torch.manual_seed(8)
    state = torch.get_rng_state()
    expected = torch.rand(3)
    with polyrank.LocalTensorMode(4):
        torch.manual_seed(local_int((1, 2, 3, 4)))
        torch.set_rng_state(state)
        drawn = torch.rand(3)
    assert num_cohorts(drawn) == 1
    assert_each_rank(drawn, dict.fromkeys(range(4), expected))


def test_fork_rng() -> None:
    def program(seed: int) -> Any:
        torch.manual_seed(seed)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(77)
            inside = torch.rand(2)
        return inside, torch.rand(2)

    assert_as_alone(program, Argument([3, 4, 3, 5], range(4)))


def test_initial_seed() -> None:
    def program(seed: int) -> Any:
        torch.manual_seed(seed)
        torch.rand(1)
        return torch.initial_seed()

    assert_as_alone(program, Argument([3, 4, 3, 5], range(4)))
    with polyrank.LocalTensorMode(4):
        torch.manual_seed(6)
        assert int(torch.initial_seed()) == 6


def test_generator_of_the_program() -> None:
    # One generator object: each rank alone would have its own, in the same state.
    def program(x: Tensor) -> Any:
        generator = torch.Generator().manual_seed(4)
        first = torch.rand(3, generator=generator)
        return first, x.normal_(generator=generator), torch.randn(2, generator=generator)

    assert_as_alone(program, shared(4))
    assert_as_alone(program, distinct(4))
    assert_as_alone(program, mixed(4))


def test_random_op_outside_of_a_mode_draws_the_same_on_all_ranks() -> None:
    def program(x: Tensor) -> Any:
        return x.uniform_(), functional.dropout(x, 0.5)

    assert_as_alone(program, distinct(6), in_mode=False)


def test_after_the_mode_the_program_goes_on_as_the_lowest_rank() -> None:
    def program(seed: int) -> Any:
        torch.manual_seed(seed)
        return torch.rand(3)

    expected = each_rank(lambda rank: (program(5 + rank), torch.rand(2))[1], 2)
    with polyrank.LocalTensorMode(2):
        torch.manual_seed(local_int((5, 6)))
        torch.rand(3)
    assert torch.equal(torch.rand(2), expected[0])


def test_random_ops_in_training_with_seeds_of_the_ranks() -> None:
    def program(x: Tensor, w: Tensor, seed: int) -> Any:
        torch.manual_seed(seed)
        hidden = functional.dropout(torch.relu(x @ w), 0.5)
        loss = (hidden * torch.rand_like(hidden)).sum()
        return loss, torch.autograd.grad(loss, [x, w])

    arguments = (distinct(4, 3, requires_grad=True), shared(3, 5, requires_grad=True, seed=1))
    assert_as_alone(program, *arguments, Argument([3, 4, 3, 5], range(4)))


def test_functional_dropout_modules_and_native_dropout() -> None:
    module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Dropout2d(0.2))

    def program(x: Tensor, seed: int) -> Any:
        torch.manual_seed(seed)
        return module(x[None]), torch.native_dropout(x, 0.5, True)

    assert_as_alone(program, mixed(3, 4, 4), Argument([1, 1, 2, 2], range(4)))


def test_seed_of_another_world_is_refused() -> None:
    with polyrank.LocalTensorMode(2), pytest.raises(polyrank.UsageError, match="rank"):
        torch.manual_seed(local_int({7: 1, 8: 2}))


@pytest.mark.parametrize("function", [torch.seed])
def test_nondeterministic_seed_is_the_same_on_no_two_calls(function: Callable[[], int]) -> None:
    with polyrank.LocalTensorMode(2):
        function()
        first = torch.rand(4)
        function()
        assert not torch.equal(first.on_rank(0), torch.rand(4).on_rank(0))
