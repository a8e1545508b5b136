"""Whatever operator on DTensors passes on PyTorch's simulator passes here, rank by rank the same.

Both run PyTorch's own test class. An operator for which DTensor itself has a gap fails on both; what
it gave before that is compared all the same, and the test is then skipped with PyTorch's error.

Quick: the operators of `QUICK`. POLYRANK_SWEEP=1: all, with more samples and placements.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import polyrank
import pytest
import torch
from oracle.dtensor_op_program import Limits, Outcome, first_difference, outcome_of
from oracle.known_gaps import UNINITIALIZED
from torch.testing._internal.common_methods_invocations import op_db

if TYPE_CHECKING:
    from torch.testing._internal.opinfo.core import OpInfo

SWEEP = os.environ.get("POLYRANK_SWEEP") == "1"
LIMITS = Limits(samples=8, placements=24) if SWEEP else Limits(samples=2, placements=4)

# What models are made of, and one or two of each way in which DTensor treats an operator. All of
# them pass on PyTorch's simulator.
QUICK = {
    "add",
    "addmm",
    "argmax",
    "bmm",
    "cat",
    "cumsum",
    "einsum",
    "empty_like",
    "expand",
    "gather",
    "index_select",
    "linalg.vector_norm",
    "masked_fill",
    "matmul",
    "max.reduction_with_dim",
    "mean",
    "nn.functional.embedding",
    "nn.functional.gelu",
    "nn.functional.layer_norm",
    "nn.functional.linear",
    "permute",
    "reshape",
    "scatter",
    "softmax",
    "split",
    "std",
    "sum",
    "topk",
    "tril",
    "where",
}


def _tested() -> list[OpInfo]:
    ops = [op for op in op_db if torch.float32 in op.supported_dtypes("cpu")]
    return [op for op in ops if SWEEP or op.full_name in QUICK]


@pytest.mark.parametrize("op", [pytest.param(op, id=op.full_name) for op in _tested()])
def test_each_rank_holds_what_it_holds_on_pytorchs_simulator(op: OpInfo) -> None:
    values = op.full_name not in UNINITIALIZED
    expected = outcome_of(op, LIMITS, compare_values=values)
    polyrank.install()
    try:
        actual = outcome_of(op, LIMITS, compare_values=values)
    finally:
        polyrank.uninstall()
    difference = first_difference(actual, expected, values=values)
    assert difference is None, difference
    assert expected.error is None or SWEEP, f"QUICK is for what DTensor can do: {expected.error}"
    if expected.error is not None:
        pytest.skip(f"DTensor can't on PyTorch's simulator either: {expected.error}")


def test_differences_between_outcomes_are_found() -> None:
    op = next(op for op in op_db if op.full_name == "mul")
    expected = outcome_of(op, Limits(samples=1, placements=2), compare_values=True)
    assert expected.results
    assert first_difference(expected, expected, values=True) is None
    shorter = Outcome(expected.results[:-1], expected.places[:-1], error="it stopped")
    assert "it stopped" in str(first_difference(shorter, expected, values=True))
    changed = [{**result, 3: result[3] + 1} for result in expected.results]
    assert "rank 3" in str(
        first_difference(Outcome(changed, expected.places), expected, values=True)
    )
