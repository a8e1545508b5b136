"""`data_ptr()` in lockstep tells memory apart as a process's pointers do, and is no pointer."""

from __future__ import annotations

import ctypes
from typing import Any

import polyrank
import pytest
import torch
from polyrank import LocalTensorMode
from polyrank.errors import UnsupportedOpError


def answers(x: torch.Tensor) -> list[bool]:
    """What a program may ask; once with a rank's tensor, once with a LocalTensor."""
    same, later, other = x.view(2, 3).t(), x[2:], x.clone()
    parameter = torch.nn.Parameter(x)
    pointers = {x.data_ptr(): "x", other.data_ptr(): "other"}
    x.detach().mul_(3)
    other.add_(1)
    return [
        x.data_ptr() == same.data_ptr(),
        x.data_ptr() == later.data_ptr(),
        later.data_ptr() == x[2:4].data_ptr(),
        x.data_ptr() == other.data_ptr(),
        parameter.data_ptr() == x.data_ptr(),
        x.untyped_storage().data_ptr() == later.untyped_storage().data_ptr(),
        x.untyped_storage().data_ptr() == x.data_ptr(),
        x.data_ptr() == 0,
        x.data_ptr() > 0,
        bool(x.data_ptr()),
        x[:0].data_ptr() == 0,
        torch.ones(2, device="meta").data_ptr() == 0,
        pointers.get(same.data_ptr()) == "x",
        later.data_ptr() in pointers,
    ]


def test_answers_are_those_of_a_process() -> None:
    expected = answers(torch.arange(6.0))
    with LocalTensorMode(4):
        assert answers(torch.arange(6.0)) == expected
        assert answers(polyrank.rank_map(lambda rank: torch.arange(6.0) * rank)) == expected


def test_ranks_that_part_keep_their_addresses() -> None:
    with LocalTensorMode(4):
        x, y = torch.zeros(3), torch.zeros(3)
        before = x.data_ptr(), y.data_ptr()
        x += polyrank.rank_map(lambda rank: torch.tensor(float(rank)))
        assert (x.data_ptr(), y.data_ptr()) == before
        y.data = x
        assert y.data_ptr() == before[0]


def test_freed_memory_is_at_0() -> None:
    with LocalTensorMode(4):
        x = torch.zeros(3)
        x.untyped_storage().resize_(0)
        assert x.untyped_storage().data_ptr() == 0


def test_the_memory_of_a_plain_tensor_has_its_pointer() -> None:
    plain = torch.arange(4.0)
    with LocalTensorMode(4):
        assert plain.view(2, 2).data_ptr() == plain.data_ptr()
        assert plain[1:].data_ptr() == plain.data_ptr() + 4


@pytest.mark.parametrize(
    "read",
    [
        lambda x: int(x.data_ptr()),
        lambda x: x.data_ptr() + 4,
        lambda x: x.data_ptr() % 16 == 0,
        lambda x: x.data_ptr() > 5,
        lambda x: hex(x.data_ptr()),
        lambda x: x[polyrank.rank_map(lambda rank: torch.tensor(rank)).item() :].data_ptr(),
        lambda x: (x._local_tensors[1], x.data_ptr()),
    ],
)
def test_what_ranks_may_disagree_about_is_refused(read: Any) -> None:
    with LocalTensorMode(4):
        x = torch.arange(6.0)
        with pytest.raises(UnsupportedOpError, match=r"no single data pointer.*on_rank"):
            read(x)


def test_memory_that_some_ranks_share_with_another_tensor_has_no_address() -> None:
    with LocalTensorMode(2):
        x = polyrank.LocalTensor({0: torch.zeros(2, 3), 1: torch.zeros(3, 2).t()})
        y = x.contiguous()  # rank 0's own tensor, and a copy on rank 1
        with pytest.raises(UnsupportedOpError, match="no single data pointer"):
            assert x.data_ptr() == y.data_ptr()


def test_no_other_library_takes_an_address_for_memory() -> None:
    with LocalTensorMode(4), pytest.raises((TypeError, UnsupportedOpError)):
        ctypes.c_void_p(torch.zeros(3).data_ptr())
