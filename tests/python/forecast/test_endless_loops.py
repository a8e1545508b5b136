"""A loop that reads until a value changes never ends in a forecast: the line is told while it runs."""

from __future__ import annotations

import warnings

import polyrank
import pytest
import torch

READS = 2000  # as kReadsOfLoop of virtual_gpu/reads.h


def wait_for_loss(rounds: int) -> None:
    loss = torch.ones((), device="cuda")
    while loss.item() > 0.5:
        loss = loss * 0.99
        rounds -= 1
        if rounds == 0:
            return


def test_a_line_that_reads_without_end_is_told_once() -> None:
    with (
        polyrank.forecast(world_size=8, rank=5),
        pytest.warns(UserWarning, match="never ends") as told,
    ):
        wait_for_loss(2 * READS)
    (message,) = [str(one.message) for one in told if "never ends" in str(one.message)]
    assert message.startswith("rank 5: ")
    assert "test_endless_loops.py:16 has read a GPU's data 2,000 times (item())" in message
    assert "given the same (1.0)" in message
    assert "--steps K" in message
    assert told[0].filename.endswith("test_endless_loops.py")


def test_a_line_that_reads_less_often_is_not() -> None:
    with polyrank.forecast(), warnings.catch_warnings():
        warnings.simplefilter("error")
        wait_for_loss(READS - 1)
        with pytest.raises(UserWarning, match=r"rank 0: .* never ends"):
            wait_for_loss(1)
