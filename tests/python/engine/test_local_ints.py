"""Ints that differ between ranks: arithmetic, comparison, and what Python does with them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import polyrank
import pytest
import torch
from oracle.rank_by_rank import assert_each_rank, local_int, value_on_rank
from torch.distributed._local_tensor import LocalIntNode as Theirs

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = (7, -3, 0, 12)
OTHERS = (2, 5, -4, 3)

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "sym_max": torch.sym_max,
    "sym_min": torch.sym_min,
    "sym_sum": lambda a, b: torch.sym_sum([a, b, a]),
}
binary = pytest.mark.parametrize("function", BINARY.values(), ids=BINARY.keys())


def rank_values(value: Any) -> list[Any]:
    return [value_on_rank(value, rank) for rank in range(4)]


@binary
def test_arithmetic(function: Callable[[Any, Any], Any]) -> None:
    x, y = local_int(VALUES), local_int(OTHERS)
    assert rank_values(function(x, y)) == [
        function(a, b) for a, b in zip(VALUES, OTHERS, strict=True)
    ]
    assert rank_values(function(x, 5)) == [function(a, 5) for a in VALUES]
    assert rank_values(function(5, y)) == [function(5, b) for b in OTHERS]
    assert rank_values(function(x, -3)) == [function(a, -3) for a in VALUES]


def test_negation_and_absolute() -> None:
    assert rank_values(-local_int(VALUES)) == [-a for a in VALUES]
    assert rank_values(abs(local_int(VALUES))) == [abs(a) for a in VALUES]


def test_results_that_agree_are_plain() -> None:
    x = local_int(VALUES)
    assert rank_values(x - x) == [0] * 4
    assert int(x - x) == 0
    assert int(x * 0 + 3) == 3
    assert (x - x) == 0


def test_true_division_gives_floats() -> None:
    quotient = local_int((4, 2)) / local_int((2, 1))
    assert float(quotient) == 2.0
    with pytest.raises(polyrank.DivergenceError):
        float(local_int((4, 3)) / 2)


def test_division_by_zero_on_one_rank() -> None:
    with pytest.raises(polyrank.DivergenceError, match="division by zero on rank 2"):
        local_int(VALUES) // local_int((1, 1, 0, 1))


def test_int_of_what_differs_is_a_divergence_that_says_so() -> None:
    with pytest.raises(polyrank.DivergenceError) as error:
        int(local_int((5, 5, 6, 5)))
    message = str(error.value)
    assert "0-1,3" in message
    assert "5" in message
    assert "6" in message


def test_index_and_range_need_agreement() -> None:
    with pytest.raises(polyrank.DivergenceError):
        range(local_int(VALUES))
    with pytest.raises(polyrank.DivergenceError):
        [1, 2, 3][local_int((0, 1))]


def test_repr_is_short() -> None:
    x = local_int({rank: rank % 2 for rank in range(100_000)})
    assert len(repr(x)) < 500
    assert len(str(local_int({rank: rank for rank in range(100_000)}))) < 2000


# --- Comparison -------------------------------------------------------------------------------

COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
comparisons = pytest.mark.parametrize("compare", COMPARISONS)


@comparisons
def test_comparison_that_agrees_is_that(compare: Callable[[Any, Any], Any]) -> None:
    x = local_int(VALUES)
    assert bool(compare(x, 100)) is compare(0, 100)
    assert bool(compare(x, x)) is compare(0, 0)
    assert bool(compare(100, x)) is compare(100, 0)


@comparisons
def test_if_on_a_comparison_that_differs_is_a_divergence(
    compare: Callable[[Any, Any], Any],
) -> None:
    with pytest.raises(polyrank.DivergenceError) as error:
        bool(compare(local_int((0, 1, 2, 3)), 1))
    assert "threads" in str(error.value)


def test_comparison_that_differs_can_be_kept_and_combined() -> None:
    x = local_int((0, 1, 2, 3))
    is_first = x == 0
    assert isinstance(is_first, torch.SymBool)
    with pytest.raises(polyrank.DivergenceError):
        bool(is_first)
    assert bool(torch.sym_not(torch.sym_not(x < 9)))
    with pytest.raises(polyrank.DivergenceError):
        bool(torch.sym_not(is_first))


def test_numbers_on_a_subset_of_ranks() -> None:
    total = local_int({1: 10, 2: 20}) + local_int({0: 1, 1: 2, 2: 3})
    assert [value_on_rank(total, rank) for rank in (1, 2)] == [12, 23]


def _only_on_rank_0(rank: int | torch.SymInt) -> str:
    if rank == 0:
        return "first"
    return "other"


@pytest.mark.usefixtures("lockstep")
def test_if_rank_is_zero_names_the_threads_world() -> None:
    rank = torch.distributed.get_rank()
    with pytest.raises(polyrank.DivergenceError, match="threads") as error:
        _only_on_rank_0(rank)
    assert "0" in str(error.value)


def test_comparison_asked_by_torch_means_on_all_ranks() -> None:
    # A frame of torch's own code, which tests sizes for equality to choose fast paths.
    namespace: dict[str, Any] = {"__name__": "torch.some_module"}
    exec("def equal(a, b): return a == b\ndef unequal(a, b): return a != b", namespace)
    x = local_int((0, 1, 2, 3))
    assert bool(namespace["equal"](x, 1)) is False
    assert bool(namespace["unequal"](x, 1)) is True
    assert bool(namespace["equal"](x, local_int((0, 1, 2, 3)))) is True
    assert bool(namespace["unequal"](x, local_int((0, 1, 2, 3)))) is False


def test_torch_functions_compare_sizes_without_divergence() -> None:
    x = polyrank.LocalTensor({0: torch.ones(2, 3), 1: torch.ones(1, 3)})
    with polyrank.LocalTensorMode(2):
        loss = torch.nn.functional.mse_loss(x, torch.zeros_like(x))
        norm = torch.nn.functional.layer_norm(x, (3,))
    assert_each_rank(loss, {0: torch.tensor(1.0), 1: torch.tensor(1.0)})
    assert norm.dim() == 2


def test_nodes_compared_directly_keep_the_meaning_of_pytorch() -> None:
    x, y = polyrank.LocalIntNode({0: 1, 1: 2}), polyrank.LocalIntNode({0: 1, 1: 3})
    theirs_x, theirs_y = Theirs({0: 1, 1: 2}), Theirs({0: 1, 1: 3})
    for name in ("eq", "ne"):
        for other, their_other in ((y, theirs_y), (x, theirs_x)):
            ours, theirs = getattr(x, name)(other), getattr(theirs_x, name)(their_other)
            assert _as_bool(ours) is _as_bool(theirs)


def _as_bool(value: Any) -> bool:
    return value if isinstance(value, bool) else bool(torch.SymBool(value))


def test_sizes_compare_equal_rank_by_rank() -> None:
    x = polyrank.LocalTensor({0: torch.ones(2, 3), 1: torch.ones(1, 3)})
    assert bool(x.shape[0] == x.clone().shape[0])
    assert bool(x.shape[0] != x.shape[0]) is False


# --- LocalIntNode as PyTorch's -----------------------------------------------------------------


def test_node_of_equal_values_is_constant() -> None:
    node = polyrank.LocalIntNode({0: 4, 1: 4})
    assert int(torch.SymInt(node)) == 4


def test_node_has_the_names_of_pytorch() -> None:
    node = polyrank.LocalIntNode({0: 4, 1: 5})
    missing = [
        name for name in vars(Theirs) if not name.startswith("__") and not hasattr(node, name)
    ]
    assert not missing
    assert dict(node._local_ints) == {0: 4, 1: 5}


@pytest.mark.parametrize("name", ["add", "sub", "mul", "floordiv", "mod", "sym_max", "sym_min"])
def test_node_arithmetic_is_that_of_pytorch(name: str) -> None:
    values, others = dict(enumerate(VALUES)), dict(enumerate(OTHERS))
    theirs = getattr(Theirs(values), name)(Theirs(others))
    ours = getattr(polyrank.LocalIntNode(values), name)(polyrank.LocalIntNode(others))
    assert dict(ours._local_ints) == theirs._local_ints
    assert not ours.is_symbolic()
    assert ours.is_int()
    assert ours.maybe_as_int() is None


def test_many_ranks_with_few_values_cost_little() -> None:
    x = local_int({rank: rank % 3 for rank in range(100_000)})
    y = x * 2 + 1
    assert value_on_rank(y, 99_998) == 2 * (99_998 % 3) + 1
