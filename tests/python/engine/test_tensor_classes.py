"""Tensors of a program's own classes: refused where one program runs for all ranks."""

from __future__ import annotations

import polyrank
import pytest
import torch
from polyrank.errors import UnsupportedOpError, UsageError
from torch import nn


class NoDecay(nn.Parameter):
    pass


class Marked(torch.Tensor):
    pass


def test_subclasses_are_refused_by_name() -> None:
    with polyrank.lockstep(2):
        x = torch.ones(2)
        for make in (
            lambda: NoDecay(x),
            lambda: x.as_subclass(Marked),
            lambda: torch.Tensor._make_subclass(Marked, x),
        ):
            with pytest.raises(UnsupportedOpError, match=r"(NoDecay|Marked) is a class of tensors"):
                make()
        with pytest.raises(
            UnsupportedOpError, match="UninitializedParameter is a class of tensors"
        ):
            nn.LazyLinear(3)
        with pytest.raises(UsageError, match=r"If this was `type\(x\)\(...\)`"):
            type(x)([1.0, 2.0])
        assert isinstance(nn.Parameter(x), nn.Parameter)
    assert isinstance(NoDecay(torch.ones(2)), NoDecay)
    assert isinstance(torch.ones(2).as_subclass(Marked), Marked)


@pytest.mark.parametrize("world", ["threads", "processes"])
def test_other_worlds_have_them(world: str) -> None:
    assert polyrank.run_ranks(_class_of_parameter, 2, world=world) == ["NoDecay"] * 2


def _class_of_parameter() -> str:
    return type(NoDecay(torch.ones(1))).__name__
