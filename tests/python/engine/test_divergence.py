"""What ranks disagree on never silently becomes one rank's value."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import polyrank
import pytest
import torch
import torch.distributed as dist
from oracle.as_alone import Argument, assert_as_alone, distinct, each, mixed, shared
from oracle.rank_by_rank import assert_each_rank, local, num_cohorts, same_on, value_on_rank
from torch import Tensor


def number_on_each_rank(*values: float | bool) -> Tensor:
    return local({rank: torch.tensor(value) for rank, value in enumerate(values)})


def test_item_of_equal_values_is_that() -> None:
    assert number_on_each_rank(2.5, 2.5).item() == 2.5
    assert type(number_on_each_rank(7, 7).item()) is int
    assert number_on_each_rank(True, True).item() is True


def test_item_of_ints_that_differ_is_a_rank_dependent_int() -> None:
    x = number_on_each_rank(4, 5, 4).item()
    assert isinstance(x, torch.SymInt)
    assert [value_on_rank(x, rank) for rank in range(3)] == [4, 5, 4]


def test_tolist() -> None:
    assert same_on(3, torch.arange(4.0).view(2, 2)).tolist() == [[0, 1], [2, 3]]
    rows = local({0: torch.tensor([[1, 2], [3, 4]]), 1: torch.tensor([[1, 9], [3, 4]])}).tolist()
    assert [[value_on_rank(v, 0) for v in row] for row in rows] == [[1, 2], [3, 4]]
    assert [[value_on_rank(v, 1) for v in row] for row in rows] == [[1, 9], [3, 4]]
    assert type(rows[0][0]) is int
    assert isinstance(rows[0][1], torch.SymInt)


def test_tolist_of_floats_that_differ_is_a_divergence() -> None:
    with pytest.raises(polyrank.DivergenceError):
        local({0: torch.zeros(2), 1: torch.ones(2)}).tolist()


FLOATS = (1.5, 2.5, 1.5, 1.5)


def test_item_of_floats_that_differ_names_op_ranks_and_values() -> None:
    with pytest.raises(polyrank.DivergenceError) as error:
        number_on_each_rank(*FLOATS).item()
    message = str(error.value)
    for part in ("0,2-3", "1.5", "2.5"):
        assert part in message
    assert "item()" in message


@pytest.mark.parametrize("function", [bool, float, complex, lambda x: f"{x:.2f}"])
def test_numbers_that_differ_are_a_divergence(function: Any) -> None:
    with pytest.raises(polyrank.DivergenceError):
        function(number_on_each_rank(0.0, 1.0))


def test_int_of_ints_that_differ_is_a_divergence() -> None:
    with pytest.raises(polyrank.DivergenceError):
        int(number_on_each_rank(1, 2))


def _sign_of(x: Tensor) -> str:
    if x > 0:
        return "positive"
    return "negative"


def _count_down(x: Tensor) -> Tensor:
    while (x > 0).any():
        x = x - 1
    return x


def test_branch_on_tensors_that_differ_is_a_divergence() -> None:
    x = number_on_each_rank(-1.0, 1.0)
    with pytest.raises(polyrank.DivergenceError):
        _sign_of(x)
    with pytest.raises(polyrank.DivergenceError):
        _count_down(x)


def test_branch_on_different_numbers_of_the_same_truth_is_taken() -> None:
    x = number_on_each_rank(1.0, 2.0)
    assert bool(x > 0)
    assert not x < 0


def test_ops_that_return_bools() -> None:
    x, y = distinct(3).on_all_ranks(), distinct(3).on_all_ranks()
    assert torch.equal(x, y)
    assert torch.allclose(x, y)
    z = x.clone()
    z._local_tensors[2].add_(1)
    for compare in (torch.equal, torch.allclose):
        with pytest.raises(polyrank.DivergenceError):
            compare(x, z)
    assert not torch.equal(x, x + 1)


def test_numpy_of_equal_values() -> None:
    array = same_on(2, torch.arange(3)).numpy()
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [0, 1, 2]


def test_an_array_shares_the_memory_that_all_ranks_have() -> None:
    x = same_on(2, torch.zeros(3))
    array = x.view(3, 1).numpy()
    array[0] = 5.0
    x.add_(1)
    assert x.on_rank(1).tolist() == [6, 1, 1]
    assert array.tolist() == [[6], [1], [1]]


def test_ranks_do_not_part_in_memory_that_an_array_shares() -> None:
    x = same_on(2, torch.zeros(3))
    own = local({0: torch.zeros(3), 1: torch.ones(3)})
    part = x.numpy()[1:]
    for write in (lambda: x.add_(own), lambda: x._local_tensors[1], lambda: x[:2].copy_(own[:2])):
        with pytest.raises(polyrank.DivergenceError, match="a numpy array shares"):
            write()
    assert (part == 0).all()
    del part
    x.add_(own)
    assert x.on_rank(1).tolist() == [1, 1, 1]


def test_a_collective_writes_to_what_an_array_shares() -> None:
    with polyrank.lockstep(2):
        x = torch.ones(3)
        array = x.numpy()
        dist.all_reduce(x)
        assert array.tolist() == [2, 2, 2]


def test_an_array_of_memories_that_hold_the_same_can_not_be_written() -> None:
    array = local({0: torch.ones(2), 1: torch.ones(2)}).numpy()
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2.0


def test_an_array_of_what_requires_grad_is_pytorchs_error() -> None:
    x = same_on(2, torch.ones(2), requires_grad=True)
    with pytest.raises(RuntimeError, match="requires grad"):
        x.numpy()
    assert x.numpy(force=True).tolist() == [1, 1]


@pytest.mark.parametrize("function", [lambda x: x.numpy(), np.asarray, lambda x: x.reconcile()])
def test_arrays_that_differ_are_a_divergence(function: Any) -> None:
    with pytest.raises(polyrank.DivergenceError) as error:
        function(local({0: torch.zeros(2), 1: torch.ones(2)}))
    assert "0" in str(error.value)
    assert "1" in str(error.value)


def test_reconcile_compares_values_that_no_history_knows_to_be_equal() -> None:
    x = local({0: torch.ones(2), 1: torch.ones(2)})
    plain = x.reconcile()
    assert type(plain) is torch.Tensor
    assert plain.tolist() == [1, 1]
    plain.add_(1)
    assert x.on_rank(0).tolist() == [1, 1]
    assert polyrank.reconcile(x).tolist() == [1, 1]


def test_reconcile_keeps_requires_grad_and_drops_history() -> None:
    x = same_on(2, torch.ones(2), requires_grad=True)
    assert x.reconcile().requires_grad
    assert (x * 2).reconcile().is_leaf


def test_items_in_a_program_that_uses_them() -> None:
    def program(x: Tensor, n: Tensor) -> Any:
        count = n.item()
        return x[:count], torch.zeros(count), count * 2 + 1, x.narrow(0, 0, count)

    counts = each(*[torch.tensor(n) for n in (0, 1, 2, 3)])
    assert_as_alone(program, shared(4), counts)
    assert_as_alone(program, distinct(4), Argument(counts.values[:2], [0, 1, 0, 1]))


@pytest.mark.parametrize("sizes", [(2, 3), (0, 3), (3, 0), (0, 0, 1)])
def test_shape_that_differs_where_it_must_agree(sizes: tuple[int, ...]) -> None:
    x = local({rank: torch.zeros(size) for rank, size in enumerate(sizes)})
    for function in (
        len,
        list,
        lambda t: t.unbind(0),
        lambda t: t.tolist(),
        lambda t: t.unsqueeze(0).unbind(1),
        lambda t: int(t.numel()),
    ):
        with pytest.raises(polyrank.DivergenceError):
            function(x)


def test_lists_of_different_lengths_are_told_with_the_ranks_of_each() -> None:
    x = local({0: torch.zeros(0), 1: torch.zeros(0), 2: torch.zeros(2)})
    with pytest.raises(polyrank.DivergenceError, match="0 on ranks 0 but 2 on ranks 2"):
        x.unbind(0)


# --- repr --------------------------------------------------------------------------------------


def test_repr_shows_cohorts() -> None:
    text = repr(mixed(2, ranks=8).on_all_ranks())
    assert "0,2,4,6" in text
    assert "1,3,5,7" in text
    assert text.count("tensor(") == 2


def test_repr_of_eight_distinct_ranks_shows_each() -> None:
    x = local(lambda rank: torch.tensor([float(rank)]), 8)
    text = repr(x)
    for rank in range(8):
        assert f"[{rank}.]" in text


def test_repr_of_many_ranks_is_short() -> None:
    uniform = same_on(100_000, torch.ones(3))
    assert len(repr(uniform)) < 300
    assert "0-99999" in repr(uniform)
    ones = [torch.full((2,), float(i)) for i in range(100)]
    x = local({rank: ones[rank // 1000] for rank in range(100_000)})
    assert num_cohorts(x) == 100
    assert len(repr(x)) < 3000


def test_repr_of_a_parameter_and_of_history() -> None:
    x = mixed(2, requires_grad=True).on_all_ranks()
    assert "requires_grad" in repr(x)
    assert "MulBackward" in repr(x * 2)


def test_repr_runs_no_operator_that_others_see() -> None:
    x = distinct(2).on_all_ranks()
    with polyrank.LocalTensorMode(4):
        repr(x), str(x), f"{x}"
    assert num_cohorts(x) == 4


def test_no_handler_of_the_programs_errors_takes_a_divergence_for_one() -> None:
    assert issubclass(polyrank.DivergenceError, polyrank.Error)
    assert not issubclass(polyrank.DivergenceError, Exception)
    assert_each_rank(number_on_each_rank(1, 2), {0: torch.tensor(1), 1: torch.tensor(2)})
    with pytest.raises(polyrank.DivergenceError), contextlib.suppress(Exception):
        number_on_each_rank(1.0, 2.0).item()
