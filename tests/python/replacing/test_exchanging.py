"""What exchanges what a function runs: the parts that the rows' own test does not meet."""

from __future__ import annotations

import ctypes
import math
import random
import time
from collections.abc import Callable
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C
from polyrank.replacing.attribute import Attribute
from polyrank.replacing.bound_method import BoundMethod
from polyrank.replacing.built_in_function import BuiltInFunction

Target = Attribute | BoundMethod | BuiltInFunction


def test_what_is_no_function_of_c_code_is_refused() -> None:
    with pytest.raises(polyrank.UsageError, match="is no built-in function or method"):
        _C.ExchangedFunction(lambda: None)
    switch = _C.NameSwitch()
    switch.add_bound_method(len, print)
    with pytest.raises(polyrank.UsageError, match="is no bound method"):
        switch.run()


def put(target: Target, own: Callable[..., Any]) -> None:
    """Exchange one for ours."""
    switch = _C.NameSwitch()
    target.add_ours(switch, target.prepared(own))
    switch.run()


def put_back(target: Target) -> None:
    """Put theirs back."""
    switch = _C.NameSwitch()
    target.add_theirs(switch)
    switch.run()


def test_arguments_results_and_errors_pass_through() -> None:
    def own(*args: float, **kwargs: float) -> float:
        if not args:
            raise KeyError("ours")
        return BUILT_IN.original(*args, **kwargs) + 1  # type: ignore[no-any-return]

    BUILT_IN = BuiltInFunction(math.hypot)
    put(BUILT_IN, own)
    try:
        assert math.hypot(3.0, 4.0) == 6.0
        with pytest.raises(KeyError, match="ours"):
            math.hypot()
    finally:
        put_back(BUILT_IN)
    assert math.hypot(3.0, 4.0) == 5.0


def test_tables_of_functions_find_them_whatever_is_in_place() -> None:
    function, other = torch.special.expit, torch.special.exp2
    built_in = BuiltInFunction(function)
    before = {function: "made before", other: "other"}
    put(built_in, lambda *args: args)
    try:
        assert before[function] == "made before"
        assert function == function
        assert function != other
        meanwhile = {function: "made meanwhile"}
    finally:
        put_back(built_in)
    assert meanwhile[function] == "made meanwhile"


def test_tables_of_functions_find_them_on_ranks_that_are_threads() -> None:
    before = {time.sleep: "made before"}

    def on_rank() -> dict[object, str]:
        assert before[time.sleep] == "made before"
        return {time.sleep: "made on a rank"}

    for made in polyrank.run_ranks(on_rank, 2):
        assert made[time.sleep] == "made on a rank"


class Counter:
    """An object with a method."""

    def __init__(self) -> None:
        self.number = 0

    def add(self, number: int = 1, *, twice: bool = False) -> int:
        self.number += number * (1 + twice)
        return self.number


def test_a_bound_method_is_exchanged_for_its_object_alone() -> None:
    mine, other = Counter(), Counter()
    held = mine.add
    place = BoundMethod(held)
    put(place, lambda *args, **kwargs: -place.original(*args, **kwargs))
    assert held(2, twice=True) == -4
    assert other.add() == 1
    put_back(place)
    assert held() == 5


def test_generators_of_the_program_are_its_own() -> None:
    """One that all ranks share is seeded and drawn from while another is seeded by rank."""
    shared, generator = random.Random(3), torch.Generator()
    expected = random.Random(3).random()
    with polyrank.lockstep(2):
        random.seed(dist.get_rank())
        assert shared.random() == expected
        with pytest.raises(polyrank.DivergenceError, match="Python's random was seeded"):
            random.random()
        # A generator from before, of torch's own class.
        with pytest.raises(polyrank.DivergenceError, match=r"a torch\.Generator was seeded"):
            generator.manual_seed(dist.get_rank())
        assert type(generator) is torch.Generator


def test_a_class_that_is_no_sequence_stays_none() -> None:
    is_sequence = ctypes.pythonapi.PySequence_Check

    class Before(torch.Tensor):
        """A class of tensors."""

    class Indexed(torch.Tensor):
        """One that Python's own rules make a sequence."""

        def __getitem__(self, index: object) -> object:
            return index

    x = torch.tensor(1.0)
    place = Attribute(torch.Tensor, "__getitem__")
    put(place, lambda self, index: (self, index))
    assert x[5] == (x, 5)
    assert not is_sequence(ctypes.py_object(x))

    class Within(torch.Tensor):
        """A class that is made meanwhile."""

    put_back(place)
    assert torch.ones(2)[1] == 1
    for kind in (torch.Tensor, torch.nn.Parameter, Before, Within):
        assert not is_sequence(ctypes.py_object(x.as_subclass(kind))), kind
    assert is_sequence(ctypes.py_object(x.as_subclass(Indexed)))


def test_lists_with_tensors_in_them_are_data_after_a_mode_as_before() -> None:
    with polyrank.lockstep(2):
        assert torch.tensor([torch.tensor(1.0), 2.0]).tolist() == [1.0, 2.0]
    assert torch.tensor([torch.tensor(1.0), 2.0]).tolist() == [1.0, 2.0]
    with pytest.raises(TypeError):
        torch.zeros(2).view(torch.tensor([1, 2]))
