"""Tensors on memory of NumPy arrays and files, which the program sees besides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polyrank
import pytest
import torch
import torch.distributed as dist

MAKERS: list[Callable[[Any], torch.Tensor]] = [torch.from_numpy, torch.as_tensor, torch.asarray]


@pytest.mark.parametrize("make", MAKERS)
def test_an_array_has_what_is_written_to_its_tensor(make: Callable[[Any], torch.Tensor]) -> None:
    with polyrank.lockstep(2):
        array = np.array([1.0, 2.0])
        tensor = make(array)
        tensor += 5
        dist.all_reduce(tensor)
        assert array.tolist() == [12.0, 14.0]
        gathered = np.zeros(2)
        own = torch.ones(1, dtype=torch.float64) * dist.get_rank()
        dist.all_gather_into_tensor(make(gathered), own)
        assert gathered.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("part", [slice(None), slice(1, None)])
def test_ranks_do_not_part_in_an_array(make: Callable[[Any], torch.Tensor], part: slice) -> None:
    with polyrank.lockstep(2):
        array = np.ones(3)
        tensor = make(array[part])
        with pytest.raises(polyrank.DivergenceError, match="a numpy array shares"):
            tensor += dist.get_rank()
        assert array.tolist() == [1.0, 1.0, 1.0]


def test_they_part_where_nobody_else_has_it() -> None:
    with polyrank.lockstep(2) as mode:
        tensor = torch.from_numpy(np.ones(4)[1:])
        tensor += dist.get_rank()
        with mode.disable():
            assert tensor.on_rank(1).tolist() == [2.0, 2.0, 2.0]  # type: ignore[attr-defined]


def test_nor_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    with polyrank.lockstep(2):
        tensor = torch.from_file(str(file), shared=True, size=2)
        tensor.fill_(3)
        with pytest.raises(polyrank.DivergenceError):
            tensor += dist.get_rank()
    assert np.fromfile(file, dtype=np.float32).tolist() == [3.0, 3.0]
