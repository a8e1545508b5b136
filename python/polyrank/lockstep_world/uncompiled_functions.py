"""`torch.compile` in lockstep: functions run as they are, with each rank's values.

A graph would hold the shapes of one rank, and ranks may differ. PyTorch skips compiled functions under
a mode by itself, and then for good, and refuses those with `fullgraph=True`; so it is told to run them
eagerly, as by `torch.compiler.set_stance("force_eager")`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from polyrank.replacing.row import Row, with_original

__all__ = ["ROWS"]


def _eager(stance: Any) -> Any:
    return dataclasses.replace(stance, stance="force_eager")


def _cond(
    _original: Callable[..., Any],
    pred: Any,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """`torch.cond`: one of two functions, with gradients as of any other call."""
    return (true_fn if pred else false_fn)(*operands)


ROWS = (
    Row(
        "torch._dynamo.eval_frame",
        "_stance",
        _eager,
        "skips compiled functions for good, and refuses them with fullgraph=True",
        is_attribute=True,
    ),
    Row(
        "torch._higher_order_ops.cond",
        "cond",
        with_original(_cond),
        "traces both functions for gradients, with one rank's values",
    ),
)
